// The tensor types of tenpak-gguf. Generated from the registry in src/types/registry.rs by
//     cargo run --example render_header > ggml-patches/tenpak.h
#pragma once

#include <stddef.h>
#include <stdint.h>

// X(NAME, name, id, weights per block, bytes per block, activation NAME)
#define TENPAK_FOR_EACH_WEIGHT(X) \
    X(T2, t2, 512, 256, 66, A8) \
    X(T3, t3, 513, 256, 98, A8) \
    X(T4, t4, 514, 256, 130, A8) \
    X(T2_64, t2_64, 515, 64, 18, A8_64) \
    X(T3_64, t3_64, 516, 64, 26, A8_64) \
    X(T4_64, t4_64, 517, 64, 34, A8_64) \
    X(G4_128, g4_128, 520, 128, 67, Q8_64) \
    X(NF4_64, nf4_64, 521, 64, 36, Q8_64) \
    X(T25, t25, 523, 256, 82, A8) \
    X(T35, t35, 524, 256, 114, A8) \
    X(T25_64, t25_64, 525, 64, 22, A8_64) \
    X(T35_64, t35_64, 526, 64, 30, A8_64) \
    X(O4, o4, 527, 256, 132, Q8) \
    X(O4X2, o4x2, 528, 256, 135, Q8) \
    X(O3, o3, 530, 256, 100, Q8) \
    X(O3X2, o3x2, 531, 256, 103, Q8) \
    X(S34, s34, 532, 256, 113, Q8) \
    X(S24, s24, 533, 256, 89, Q8) \
    X(T5, t5, 534, 256, 162, A8) \
    X(T5_64, t5_64, 535, 64, 42, A8_64)

// X(NAME, name, id, values per block, bytes per block)
#define TENPAK_FOR_EACH_ACTIVATION(X) \
    X(A8, a8, 518, 256, 264) \
    X(A8_64, a8_64, 519, 64, 72) \
    X(Q8_64, q8_64, 522, 64, 72) \
    X(Q8, q8, 529, 256, 264)

// The lowest id, and one above the highest.
#define TENPAK_TYPE_BEGIN 512
#define TENPAK_TYPE_END 536

#ifdef __cplusplus
extern "C" {
#endif

// x and y are rows of whole blocks; k, n and n_per_row count weights. Activation blocks are aligned to 4 bytes.
// Quantizing without calibration; imatrix is not used and may be NULL.
#define TENPAK_DECLARE_WEIGHT(NAME, name, ...) \
    void   tenpak_##name##_to_float  (const void * x, float * y, int64_t k); \
    void   tenpak_##name##_from_float(const float * x, void * y, int64_t k); \
    void   tenpak_##name##_vec_dot   (int n, float * s, size_t bs, const void * x, size_t bx, \
                                      const void * y, size_t by, int nrc); \
    size_t tenpak_##name##_quantize  (const float * x, void * y, int64_t nrows, int64_t n_per_row, \
                                      const float * imatrix);
#define TENPAK_DECLARE_ACTIVATION(NAME, name, ...) \
    void   tenpak_##name##_from_float(const float * x, void * y, int64_t k);

TENPAK_FOR_EACH_WEIGHT(TENPAK_DECLARE_WEIGHT)
TENPAK_FOR_EACH_ACTIVATION(TENPAK_DECLARE_ACTIVATION)

// out[c][r] = dot product of row r and column c: the same results as vec_dot, but rows are decoded once for all
// columns. Row r is at x + r * row_bytes. NULL for types that are not weights of tenpak-gguf.
typedef void (*tenpak_multiply_t)(int64_t n, int64_t rows, const void * x, size_t row_bytes,
                                  int64_t n_columns, const void * const * columns, float * const * out);
tenpak_multiply_t tenpak_multiply(int type);

// Rows that are decoded together: a multiple of these is best.
#define TENPAK_TILE 32

#undef TENPAK_DECLARE_WEIGHT
#undef TENPAK_DECLARE_ACTIVATION

#ifdef __cplusplus
}
#endif
