// Activations for products with the weight types: rotated, and as quants of 8 bits or as f16.
//
// Activations of a product with few columns are quants of 8 bits: for each column K quants, in the order in which the threads of
// a block of weights read them (quant_place), and for each block a Scaled.
#pragma once

#include "tenpak-decode.cuh"

#include <cuda_bf16.h>
#include <cuda_fp16.h>

#include <type_traits>

namespace tenpak {

constexpr int WARP = 32;

// What all quants of a block of activations share.
struct Scaled {
    float   scale;
    int32_t sum; // of the quants
};

// ---- Kernels one after another ----

// From Hopper on a kernel may start before the one before it has ended. It may read weights meanwhile, since no kernel writes these.
TENPAK_DEVICE void wait_for_kernel_before() {
#if __CUDA_ARCH__ >= 900
    cudaGridDependencySynchronize();
#endif
}

TENPAK_DEVICE void let_kernel_after_start() {
#if __CUDA_ARCH__ >= 900
    cudaTriggerProgrammaticLaunchCompletion();
#endif
}

// ---- f32 as on the CPU: rounded once, subnormals kept, whatever the compiler's options ----

TENPAK_DEVICE float add(float x, float y) {
    float sum;
    asm("add.rn.f32 %0, %1, %2;" : "=f"(sum) : "f"(x), "f"(y));
    return sum;
}

TENPAK_DEVICE float subtract(float x, float y) {
    float difference;
    asm("sub.rn.f32 %0, %1, %2;" : "=f"(difference) : "f"(x), "f"(y));
    return difference;
}

TENPAK_DEVICE float multiply(float x, float y) {
    float product;
    asm("mul.rn.f32 %0, %1, %2;" : "=f"(product) : "f"(x), "f"(y));
    return product;
}

TENPAK_DEVICE float divide(float x, float y) {
    float quotient;
    asm("div.rn.f32 %0, %1, %2;" : "=f"(quotient) : "f"(x), "f"(y));
    return quotient;
}

// ---- Activations ----

// How a type's activations are made: threads that share a block, elements of each, rotation, and where element i stands.
template <class T> struct Activations {
    static constexpr int  LEN     = T::LEN;
    static constexpr int  THREADS = T::LANES;
    static constexpr bool ROTATED = true;

    static TENPAK_CONSTANT int place(int i) { return quant_place<T>(i); }
};

// Signs, scale 1 / sqrt(LEN) and the Walsh-Hadamard transform of LEN elements, of which thread j of THREADS has `x`, LEN / THREADS
// in order. Sums are formed in the order of docs/FORMAT.md, section 8.
template <int LEN, int THREADS> TENPAK_DEVICE void rotate(float * x, int j) {
    constexpr int   N    = LEN / THREADS;
    constexpr float UNIT = LEN == 256 ? 0.0625f : 0.125f;
#pragma unroll
    for (int t = 0; t < N; t++) {
        const int i = N * j + t;
        x[t] = multiply(x[t], tenpak_signs[i / 64] >> i % 64 & 1 ? -UNIT : UNIT);
    }
#pragma unroll
    for (int half = 1; half < N; half *= 2) {
#pragma unroll
        for (int t = 0; t < N; t++) {
            if (!(t & half)) {
                const float low = x[t], high = x[t + half];
                x[t]        = add(low, high);
                x[t + half] = subtract(low, high);
            }
        }
    }
#pragma unroll
    for (int half = 1; half < THREADS; half *= 2) {
#pragma unroll
        for (int t = 0; t < N; t++) {
            const float other = __shfl_xor_sync(0xffffffff, x[t], half);
            x[t] = j & half ? subtract(other, x[t]) : add(x[t], other);
        }
    }
}

// Where the columns of matrices of activations are: column i1 of matrix (i2, i3) is at x + i1 s1 + i2 s2 + i3 s3, in elements. The columns
// of all matrices are counted through, and a kernel has those from `first`.
struct Columns {
    const float * x;
    int64_t       s1, s2, s3;
    int           n1, n2; // columns of a matrix, matrices i2
    int           first = 0;

    __device__ const float * column(int of_kernel) const {
        const int c = first + of_kernel;
        return x + c % n1 * s1 + c / n1 % n2 * s2 + c / n1 / n2 * s3;
    }
};

// A block of activations and the thread of those that share it.
struct BlockThread {
    int b, j;
};

template <class A> TENPAK_DEVICE BlockThread block_of_thread() {
    return { (int) (blockIdx.x * (blockDim.x / A::THREADS) + threadIdx.x / A::THREADS), (int) (threadIdx.x % A::THREADS) };
}

// The elements of this thread, rotated if the type's are; 0 after the last block. Column blockIdx.y.
template <class A> TENPAK_DEVICE void load_activations(const Columns & columns, int blocks, float * x) {
    constexpr int N = A::LEN / A::THREADS;
    const auto [b, j] = block_of_thread<A>();
    let_kernel_after_start();
    wait_for_kernel_before();
    const float * from = columns.column(blockIdx.y) + (int64_t) b * A::LEN + N * j;
#pragma unroll
    for (int t = 0; t < N; t++) { x[t] = b < blocks ? from[t] : 0.0f; }
    if (A::ROTATED) { rotate<A::LEN, A::THREADS>(x, j); }
}

// One block of activations each by THREADS threads; grid (blocks of a column, columns).
template <class T> static __global__ void quantize_columns(Columns columns, int blocks, int8_t * quants, Scaled * scaled) {
    using A = Activations<T>;
    constexpr int N = A::LEN / A::THREADS;
    const auto [b, j] = block_of_thread<A>();
    const int  c      = blockIdx.y;
    float      x[N];
    load_activations<A>(columns, blocks, x);

    // the greatest bits of a magnitude are those of the greatest magnitude, or show infinity or NaN
    uint32_t peak = 0;
#pragma unroll
    for (int t = 0; t < N; t++) { peak = max(peak, __float_as_uint(x[t]) & 0x7fffffffu); }
#pragma unroll
    for (int half = 1; half < A::THREADS; half *= 2) { peak = max(peak, __shfl_xor_sync(0xffffffff, peak, half)); }
    const bool  finite  = peak < 0x7f800000u;
    const float scale   = finite ? divide(__uint_as_float(peak), 127.0f) : __uint_as_float(0x7fc00000u);
    const float inverse = finite && __float_as_uint(scale) >= 0x00800000u ? divide(127.0f, __uint_as_float(peak)) : 0.0f;

    int sum = 0, q[N];
#pragma unroll
    for (int t = 0; t < N; t++) {
        q[t] = finite ? __float2int_rn(multiply(x[t], inverse)) : 0;
        sum += q[t];
    }
#pragma unroll
    for (int half = 1; half < A::THREADS; half *= 2) { sum += __shfl_xor_sync(0xffffffff, sum, half); }
    if (b >= blocks) { return; }
    const int64_t at = (int64_t) c * blocks + b;
#pragma unroll
    for (int t = 0; t < N; t++) { quants[at * A::LEN + A::place(N * j + t)] = q[t]; }
    if (j == 0) { scaled[at] = { scale, sum }; }
}

// Rotated activations as f16, in the order of quant_place; the grid is that of quantize_columns.
template <class T> static __global__ void rotate_columns(Columns columns, int blocks, half * out) {
    using A = Activations<T>;
    constexpr int N = A::LEN / A::THREADS;
    const auto [b, j] = block_of_thread<A>();
    const int  c      = blockIdx.y;
    float      x[N];
    load_activations<A>(columns, blocks, x);
    if (b >= blocks) { return; }
#pragma unroll
    for (int t = 0; t < N; t++) {
        out[((int64_t) c * blocks + b) * T::LEN + quant_place<T>(N * j + t)] = __float2half_rn(x[t]);
    }
}

} // namespace tenpak
