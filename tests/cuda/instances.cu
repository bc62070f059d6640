// The kernels whose machine code scripts/check_cuda_build.sh looks at.
#include "tenpak-kernels.cuh"

namespace tenpak {

#define MULTIPLY(T, COLUMNS) template __global__ void multiply_columns<T, COLUMNS, COLUMNS == 1 || is_trellis<T>, Plain>(const Matrices, const Plain, const int8_t *, const Scaled *);
MULTIPLY(T2, 1)
MULTIPLY(T3, 1)
MULTIPLY(T4, 1)
MULTIPLY(T2_64, 1)
MULTIPLY(T3_64, 1)
MULTIPLY(T4_64, 1)
MULTIPLY(T25, 1)
MULTIPLY(T35, 1)
MULTIPLY(T25_64, 1)
MULTIPLY(T35_64, 1)
MULTIPLY(T5, 1)
MULTIPLY(T5_64, 1)
MULTIPLY(G4_128, 1)
MULTIPLY(NF4_64, 1)
MULTIPLY(O4, 1)
MULTIPLY(O4X2, 1)
MULTIPLY(O3, 1)
MULTIPLY(O3X2, 1)
MULTIPLY(S34, 1)
MULTIPLY(S24, 1)
MULTIPLY(T3, 4)
MULTIPLY(T3, 8)
MULTIPLY(S34, 8)

template __global__ void rotated_weights<T3>(const uint8_t *, int64_t, int, half *);
template __global__ void quantize_columns<T3>(Columns, int, int8_t *, Scaled *);
template __global__ void rows_as_floats<T3, float>(Rows, float *);
template __global__ void rows_as_floats<O4X2, float>(Rows, float *);

} // namespace tenpak
