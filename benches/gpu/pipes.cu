// Rates of the instructions that decoding a block is made of, in operations of a thread a clock and multiprocessor, and
// the bandwidth of reading and copying. They decide which of two decoders a card gets: byte shuffles in registers or tables
// in shared memory.
//
//     nvcc -O3 -arch=native -o pipes pipes.cu && ./pipes
//
// Prints CSV: name, value, unit.
#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cuda_runtime.h>
#include <vector>

#define CHECK(call)                                                                                                   \
    do {                                                                                                              \
        cudaError_t result_ = (call);                                                                                 \
        if (result_ != cudaSuccess) {                                                                                 \
            fprintf(stderr, "error: %s: %s\n", #call, cudaGetErrorString(result_));                                   \
            exit(1);                                                                                                  \
        }                                                                                                             \
    } while (0)

constexpr int THREADS = 1024; // eight warps a scheduler
constexpr int CHAINS = 4;     // independent results in flight in each thread
constexpr int REPEATS = 256;  // of a step, between two looks at the clock
constexpr int UNROLL = 16;

// A step of each chain `x` with operands `a` and `b` that the compiler knows nothing of; `volatile` keeps every one.
struct Prmt {
    static constexpr int OPERATIONS = 1;
    static __device__ void step(uint32_t & x, uint32_t a, uint32_t b) {
        asm volatile("prmt.b32 %0, %0, %1, %2;" : "+r"(x) : "r"(a), "r"(b));
    }
};
struct Lop3 { // the majority of three bits, which does not simplify over steps
    static constexpr int OPERATIONS = 1;
    static __device__ void step(uint32_t & x, uint32_t a, uint32_t b) {
        asm volatile("lop3.b32 %0, %0, %1, %2, 0xe8;" : "+r"(x) : "r"(a), "r"(b));
    }
};
struct Shf {
    static constexpr int OPERATIONS = 1;
    static __device__ void step(uint32_t & x, uint32_t a, uint32_t b) {
        asm volatile("shf.l.wrap.b32 %0, %0, %1, %2;" : "+r"(x) : "r"(a), "r"(b));
    }
};
struct Imad {
    static constexpr int OPERATIONS = 1;
    static __device__ void step(uint32_t & x, uint32_t a, uint32_t b) {
        asm volatile("mad.lo.u32 %0, %0, %1, %2;" : "+r"(x) : "r"(a), "r"(b));
    }
};
struct Ffma {
    static constexpr int OPERATIONS = 1;
    static __device__ void step(uint32_t & x, uint32_t a, uint32_t b) {
        asm volatile("fma.rn.f32 %0, %0, %1, %2;" : "+r"(x) : "r"(a), "r"(b));
    }
};
struct Dp4a {
    static constexpr int OPERATIONS = 1;
    static __device__ void step(uint32_t & x, uint32_t a, uint32_t b) {
        asm volatile("dp4a.s32.s32 %0, %1, %2, %0;" : "+r"(x) : "r"(a), "r"(b));
    }
};
struct Lds { // each lane in a bank of its own; memory holds the address that was read
    static constexpr int OPERATIONS = 1;
    static __device__ void step(uint32_t & x, uint32_t, uint32_t) {
        asm volatile("ld.shared.u32 %0, [%0];" : "+r"(x));
    }
};
struct Shfl {
    static constexpr int OPERATIONS = 1;
    static __device__ void step(uint32_t & x, uint32_t, uint32_t) {
        asm volatile("shfl.sync.bfly.b32 %0, %0, 1, 0x1f, 0xffffffff;" : "+r"(x));
    }
};
// Two instructions on different values: what runs beside what.
template <class A, class B> struct Beside {
    static constexpr int OPERATIONS = 2;
    static __device__ void step(uint32_t & x, uint32_t a, uint32_t b) { A::step(x, a, b); }
    static __device__ void second(uint32_t & x, uint32_t a, uint32_t b) { B::step(x, a, b); }
};

// One block a multiprocessor. `clocks` gets the clocks of each block, `out` what keeps the results alive.
template <class T> __global__ void __launch_bounds__(THREADS) measure(uint32_t a, uint32_t b, uint64_t * clocks, uint32_t * out) {
    __shared__ uint32_t memory[THREADS];
    const uint32_t own = uint32_t(__cvta_generic_to_shared(&memory[threadIdx.x]));
    memory[threadIdx.x] = own;
    uint32_t x[CHAINS], y[CHAINS];
    for (int i = 0; i < CHAINS; i++) x[i] = y[i] = own; // a valid address where a step reads memory
    __syncthreads();
    const uint64_t start = clock64();
    for (int r = 0; r < REPEATS; r++) {
#pragma unroll
        for (int u = 0; u < UNROLL; u++) {
#pragma unroll
            for (int i = 0; i < CHAINS; i++) {
                T::step(x[i], a, b);
                if constexpr (T::OPERATIONS == 2) T::second(y[i], a, b);
            }
        }
    }
    __syncthreads();
    const uint64_t end = clock64();
    uint32_t all = 0;
    for (int i = 0; i < CHAINS; i++) all ^= x[i] + y[i];
    out[blockIdx.x * THREADS + threadIdx.x] = all;
    if (threadIdx.x == 0) clocks[blockIdx.x] = end - start;
}

template <class T> void rate(const char * name, int multiprocessors, uint64_t * clocks, uint32_t * out) {
    std::vector<uint64_t> times;
    for (int run = 0; run < 5; run++) {
        measure<T><<<multiprocessors, THREADS>>>(0x01030205, 0x03020106, clocks, out);
        CHECK(cudaGetLastError());
        CHECK(cudaDeviceSynchronize());
        std::vector<uint64_t> found(multiprocessors);
        CHECK(cudaMemcpy(found.data(), clocks, multiprocessors * sizeof(uint64_t), cudaMemcpyDeviceToHost));
        times.insert(times.end(), found.begin(), found.end());
    }
    std::nth_element(times.begin(), times.begin() + times.size() / 2, times.end());
    const double operations = double(THREADS) * CHAINS * REPEATS * UNROLL * T::OPERATIONS;
    printf("%s,%.1f,per clock and SM\n", name, operations / double(times[times.size() / 2]));
    fflush(stdout);
}

constexpr int READ_BLOCKS = 8; // a multiprocessor
constexpr int READ_THREADS = 256;
constexpr int READ_AHEAD = 4; // loads in flight in each thread

// `count` is whole rounds of all threads.
__global__ void read(const uint4 * from, size_t count, uint32_t * out) {
    uint32_t all = 0;
    const size_t step = size_t(gridDim.x) * blockDim.x;
    for (size_t i = size_t(blockIdx.x) * blockDim.x + threadIdx.x; i < count; i += READ_AHEAD * step) {
        uint4 v[READ_AHEAD];
#pragma unroll
        for (int k = 0; k < READ_AHEAD; k++) v[k] = from[i + k * step];
#pragma unroll
        for (int k = 0; k < READ_AHEAD; k++) all ^= v[k].x ^ v[k].y ^ v[k].z ^ v[k].w;
    }
    if (all == 0x12345678) *out = all; // the memory holds zeros
}

// Gigabytes a second: the best of ten.
template <class Call> double bandwidth(size_t bytes, Call call) {
    cudaEvent_t start, end;
    CHECK(cudaEventCreate(&start));
    CHECK(cudaEventCreate(&end));
    float least = 1e30f;
    for (int run = 0; run < 10; run++) {
        CHECK(cudaEventRecord(start));
        call();
        CHECK(cudaGetLastError());
        CHECK(cudaEventRecord(end));
        CHECK(cudaEventSynchronize(end));
        float ms;
        CHECK(cudaEventElapsedTime(&ms, start, end));
        least = std::min(least, ms);
    }
    return double(bytes) / least / 1e6;
}

int main() {
    cudaDeviceProp card;
    CHECK(cudaGetDeviceProperties(&card, 0));
    const int sms = card.multiProcessorCount;
    int khz = 0;
    CHECK(cudaDeviceGetAttribute(&khz, cudaDevAttrClockRate, 0));
    printf("multiprocessors,%d,\ncapability,%d.%d,\nclock,%.0f,MHz\nL2,%.1f,MB\n", sms, card.major, card.minor, khz / 1e3, card.l2CacheSize / 1e6);

    uint64_t * clocks;
    uint32_t * out;
    CHECK(cudaMalloc(&clocks, sms * sizeof(uint64_t)));
    CHECK(cudaMalloc(&out, size_t(sms) * THREADS * sizeof(uint32_t)));
    rate<Prmt>("PRMT", sms, clocks, out);
    rate<Lop3>("LOP3", sms, clocks, out);
    rate<Shf>("SHF", sms, clocks, out);
    rate<Imad>("IMAD", sms, clocks, out);
    rate<Ffma>("FFMA", sms, clocks, out);
    rate<Dp4a>("IDP4A", sms, clocks, out);
    rate<Lds>("LDS", sms, clocks, out);
    rate<Shfl>("SHFL", sms, clocks, out);
    rate<Beside<Prmt, Lop3>>("PRMT beside LOP3", sms, clocks, out);
    rate<Beside<Prmt, Imad>>("PRMT beside IMAD", sms, clocks, out);
    rate<Beside<Prmt, Dp4a>>("PRMT beside IDP4A", sms, clocks, out);
    rate<Beside<Prmt, Lds>>("PRMT beside LDS", sms, clocks, out);
    rate<Beside<Imad, Lds>>("IMAD beside LDS", sms, clocks, out);
    rate<Beside<Lds, Shfl>>("LDS beside SHFL", sms, clocks, out);

    size_t free, total;
    CHECK(cudaMemGetInfo(&free, &total));
    const size_t round = size_t(sms) * READ_BLOCKS * READ_THREADS * READ_AHEAD * sizeof(uint4); // of the whole card
    const size_t bytes = std::min<size_t>(free / 4, size_t(4) << 30) / round * round;
    uint4 *from, *to;
    CHECK(cudaMalloc(&from, bytes));
    CHECK(cudaMalloc(&to, bytes));
    CHECK(cudaMemset(from, 0, bytes));
    printf("read,%.0f,GB/s\n", bandwidth(bytes, [&] { read<<<sms * READ_BLOCKS, READ_THREADS>>>(from, bytes / sizeof(uint4), out); }));
    printf("copy,%.0f,GB/s\n", bandwidth(2 * bytes, [&] { CHECK(cudaMemcpyAsync(to, from, bytes, cudaMemcpyDeviceToDevice)); }));
    return 0;
}
