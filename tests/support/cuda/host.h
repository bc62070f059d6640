// CUDA on the host, as far as tenpak-kernels.cuh needs it: one CTA after another, whose threads are fibers that take turns where they
// wait for one another. tests/cuda_decode.rs compiles the kernels with it, their inline PTX turned into calls: `asm("add.rn.f32 %0,
// %1, %2;" : "=f"(sum) : "f"(x), "f"(y))` is `ptx_add_rn_f32(sum, x, y)`.
#pragma once

#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <ucontext.h>
#include <vector>

#define __CUDACC__ // after the standard's headers, which know the name too
#define __host__
#define __device__
#define __global__
#define __shared__ static // one CTA at a time
#define alignas(bytes) __attribute__((aligned(bytes))) // which may stand after `static`
#define __forceinline__ inline
#define __launch_bounds__(...)

// ---- Threads ----

struct dim3 {
    unsigned x, y, z;

    dim3(unsigned x = 1, unsigned y = 1, unsigned z = 1) : x(x), y(y), z(z) {}
};

inline dim3 gridDim, blockDim, blockIdx, threadIdx(0, 0, 0);

namespace host {

constexpr int WARP = 32, MAX_THREADS = 128, STACK = 64 << 10;

// Threads that wait for one another, over and over.
struct Barrier {
    int size, arrived;
};

struct Cta {
    ucontext_t scheduler, fibers[MAX_THREADS];
    char       stacks[MAX_THREADS][STACK];
    bool       ended[MAX_THREADS];
    Barrier    warps[MAX_THREADS / WARP], all;
    uint64_t   words[2][MAX_THREADS]; // that shuffles exchange, in turns
    int        shuffles[MAX_THREADS];
    long       progress;

    const std::function<void()> * kernel;
};

inline Cta cta;

inline void wait(Barrier & barrier) {
    const int generation = barrier.arrived++ / barrier.size;
    cta.progress++;
    while (barrier.arrived / barrier.size == generation) {
        swapcontext(&cta.fibers[threadIdx.x], &cta.scheduler);
    }
}

inline void fiber() {
    (*cta.kernel)();
    cta.ended[threadIdx.x] = true;
    cta.progress++;
}

inline void run_cta(int threads) {
    cta.all = { threads, 0 };
    for (Barrier & warp : cta.warps) { warp = { WARP, 0 }; }
    for (int t = 0; t < threads; t++) {
        cta.ended[t]    = false;
        cta.shuffles[t] = 0;
        getcontext(&cta.fibers[t]);
        cta.fibers[t].uc_stack.ss_sp   = cta.stacks[t];
        cta.fibers[t].uc_stack.ss_size = STACK;
        cta.fibers[t].uc_link          = &cta.scheduler;
        makecontext(&cta.fibers[t], fiber, 0);
    }
    for (bool running = true; running;) {
        const long before = cta.progress;
        running = false;
        for (int t = 0; t < threads; t++) {
            if (cta.ended[t]) { continue; }
            threadIdx.x = t;
            swapcontext(&cta.scheduler, &cta.fibers[t]);
            running = running || !cta.ended[t];
        }
        if (running && cta.progress == before) {
            fprintf(stderr, "threads wait for threads of their warp or CTA that have ended\n");
            abort();
        }
    }
}

// kernel<<<grid, threads>>>(...)
inline void launch(dim3 grid, int threads, const std::function<void()> & kernel) {
    gridDim    = grid;
    blockDim   = dim3(threads);
    cta.kernel = &kernel;
    for (blockIdx.z = 0; blockIdx.z < grid.z; blockIdx.z++) {
        for (blockIdx.y = 0; blockIdx.y < grid.y; blockIdx.y++) {
            for (blockIdx.x = 0; blockIdx.x < grid.x; blockIdx.x++) { run_cta(threads); }
        }
    }
}

} // namespace host

static inline void __syncthreads() { host::wait(host::cta.all); }

static inline void __syncwarp() { host::wait(host::cta.warps[threadIdx.x / host::WARP]); }

template <class V> static inline V __shfl_sync(unsigned, V value, int lane) {
    // a thread cannot be two shuffles ahead of another in its warp, so that its word before the last may go
    uint64_t * words = host::cta.words[host::cta.shuffles[threadIdx.x]++ % 2];
    memcpy(&words[threadIdx.x], &value, sizeof(value));
    __syncwarp();
    memcpy(&value, &words[threadIdx.x / host::WARP * host::WARP + lane % host::WARP], sizeof(value));
    return value;
}

template <class V> static inline V __shfl_xor_sync(unsigned mask, V value, int lanes) {
    return __shfl_sync(mask, value, (int) threadIdx.x % host::WARP ^ lanes);
}

// ---- Functions and types ----

struct alignas(8) uint2 {
    uint32_t x, y;
};

struct alignas(16) uint4 {
    uint32_t x, y, z, w;
};

static inline uint2 make_uint2(uint32_t x, uint32_t y) { return { x, y }; }

template <class V> static inline V min(V x, V y) { return x < y ? x : y; }
template <class V> static inline V max(V x, V y) { return x < y ? y : x; }
template <class V> static inline V __ldg(const V * at) { return *at; }

static inline uint32_t __float_as_uint(float x) {
    uint32_t bits;
    memcpy(&bits, &x, sizeof(bits));
    return bits;
}

static inline float __uint_as_float(uint32_t bits) {
    float x;
    memcpy(&x, &bits, sizeof(x));
    return x;
}

static inline int __float2int_rn(float x) { return (int) lrintf(x); }

static inline uint32_t __funnelshift_r(uint32_t low, uint32_t high, uint32_t shift) {
    return (uint32_t) (((uint64_t) high << 32 | low) >> (shift & 31));
}

static inline uint32_t __umulhi(uint32_t x, uint32_t y) { return (uint32_t) ((uint64_t) x * y >> 32); }

static inline int __dp4a(int x, int y, int sum) {
    uint32_t result = sum;
    for (int i = 0; i < 4; i++) { result += (int8_t) (x >> 8 * i) * (int8_t) (y >> 8 * i); }
    return (int) result;
}

struct half {
    uint16_t bits;
};

struct half2 {
    half x, y;
};

struct nv_bfloat16 {
    uint16_t bits;
};

static inline half half_of(double x) {
    const uint16_t sign = std::signbit(x) ? 0x8000 : 0;
    const double   size = fabs(x);
    if (!(size < 65520)) { return { (uint16_t) (sign | (std::isnan(x) ? 0x7fff : 0x7c00)) }; }
    if (size < 0x1p-14) { return { (uint16_t) (sign | (int) nearbyint(size * 0x1p24)) }; }
    const int exponent = std::ilogb(size);
    return { (uint16_t) (sign | ((exponent + 14) * 1024 + (int) nearbyint(std::ldexp(size, 10 - exponent)))) };
}

static inline float __half2float(half x) {
    const int    exponent = x.bits >> 10 & 31, mantissa = x.bits & 1023;
    const double size = exponent == 31 ? (mantissa ? NAN : INFINITY) : exponent == 0 ? mantissa * 0x1p-24 : std::ldexp(1024 + mantissa, exponent - 25);
    return (float) (x.bits >> 15 ? -size : size);
}

static inline half __float2half_rn(float x) { return half_of(x); }

static inline half2 __float2half2_rn(float x) { return { half_of(x), half_of(x) }; }

// In double the product and the difference of halves are exact.
static inline half times(half x, half y) { return half_of((double) __half2float(x) * __half2float(y)); }
static inline half minus(half x, half y) { return half_of((double) __half2float(x) - __half2float(y)); }

static inline half2 __hmul2(half2 x, half2 y) { return { times(x.x, y.x), times(x.y, y.y) }; }
static inline half2 __hsub2(half2 x, half2 y) { return { minus(x.x, y.x), minus(x.y, y.y) }; }

static inline nv_bfloat16 __float2bfloat16_rn(float x) {
    const uint32_t bits = __float_as_uint(x);
    return { std::isnan(x) ? (uint16_t) 0x7fff : (uint16_t) ((bits + 0x7fff + (bits >> 16 & 1)) >> 16) };
}

// ---- PTX ----

static inline void ptx_prmt_b32(uint32_t & result, uint32_t a, uint32_t b, uint32_t selector) {
    result = 0;
    for (int i = 0; i < 4; i++) {
        const uint32_t s = selector >> 4 * i & 15, byte = (s & 4 ? b : a) >> 8 * (s & 3) & 255;
        result |= (s & 8 ? byte >> 7 ? 255u : 0u : byte) << 8 * i;
    }
}

static inline void ptx_lop3_b32(uint32_t & result, uint32_t x, uint32_t y, uint32_t z, int table) {
    result = 0;
    for (int i = 0; i < 8; i++) { // where the bits of x, y and z are those of i
        if (table >> i & 1) { result |= (i & 4 ? x : ~x) & (i & 2 ? y : ~y) & (i & 1 ? z : ~z); }
    }
}

static inline void ptx_dp2a_lo_u32_u32(uint32_t & result, uint32_t x, uint32_t y, uint32_t sum) {
    result = sum + (x & 0xffff) * (y & 0xff) + (x >> 16) * (y >> 8 & 0xff);
}

static inline void ptx_add_rn_f32(float & result, float x, float y) { result = x + y; }
static inline void ptx_sub_rn_f32(float & result, float x, float y) { result = x - y; }
static inline void ptx_mul_rn_f32(float & result, float x, float y) { result = x * y; }
static inline void ptx_div_rn_f32(float & result, float x, float y) { result = x / y; }

static inline void ptx_ld_global_v4_u32(uint32_t & x, uint32_t & y, uint32_t & z, uint32_t & w, size_t address) {
    const uint4 words = *(const uint4 *) address;
    x = words.x, y = words.y, z = words.z, w = words.w;
}

static inline void ptx_ld_global_u32(uint32_t & x, size_t address) { x = *(const uint32_t *) address; }

static inline size_t __cvta_generic_to_global(const void * at) { return (size_t) at; }
