// Times the CUDA kernels of the weight types by themselves and checks their products with the decoder of
// ggml-patches/device/reference.c:
//
//   nvcc -std=c++17 -O3 -arch=native -I ggml-patches -I ggml-patches/overlay/ggml/src/ggml-cuda -o kernels benches/gpu/kernels.cu ggml-patches/device/reference.c
//   ./kernels [ROWS COLUMNS]
//
// For every type: products with 1, 4 and 8 columns by warps that share a row, quantization of one column, and weights as f16.
// Matrices alternate among as many as exceed the caches. Medians of 20 runs, each timed by events. Exits with 1
// if a product is wrong.

#include "tenpak-kernels.cuh"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <vector>

// device/reference.c
#define TENPAK_TO_FLOAT(name, ...) extern "C" void tenpak_reference_##name##_to_float(const uint8_t *, float *);
TENPAK_FOR_EACH_TRELLIS(TENPAK_TO_FLOAT)
TENPAK_FOR_EACH_CODES4(TENPAK_TO_FLOAT)
TENPAK_FOR_EACH_DIRECT(TENPAK_TO_FLOAT)

using namespace tenpak;

#define CHECK(call)                                                                        \
    do {                                                                                   \
        cudaError_t error = call;                                                          \
        if (error != cudaSuccess) {                                                        \
            printf("%s:%d: %s\n", __FILE__, __LINE__, cudaGetErrorString(error));          \
            exit(1);                                                                       \
        }                                                                                  \
    } while (0)

static uint64_t state = 1;
static uint32_t draw() {
    uint64_t z = state += 0x9e3779b97f4a7c15;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9;
    z = (z ^ z >> 27) * 0x94d049bb133111eb;
    return (uint32_t) (z >> 32);
}

template <class F> static double median_us(int runs, F f) {
    std::vector<float> times;
    cudaEvent_t start, stop;
    CHECK(cudaEventCreate(&start));
    CHECK(cudaEventCreate(&stop));
    for (int i = 0; i < runs + 3; i++) {
        CHECK(cudaEventRecord(start));
        const int launches = f(i);
        CHECK(cudaEventRecord(stop));
        CHECK(cudaEventSynchronize(stop));
        float ms;
        CHECK(cudaEventElapsedTime(&ms, start, stop));
        if (i >= 3) { times.push_back(ms * 1000 / launches); }
    }
    CHECK(cudaGetLastError());
    std::sort(times.begin(), times.end());
    return times[times.size() / 2];
}

typedef void (*to_float_t)(const uint8_t *, float *);

// Blocks of scales that are plausible, and any codes.
static void fill(std::vector<uint8_t> & data, const char * name, int bytes) {
    for (auto & b : data) { b = draw(); }
    for (size_t at = 0; at < data.size(); at += bytes) {
        if (name[0] == 'g') { data[at + 1] = 0x20 | (draw() & 3); data[at + 2] = draw() & 15; }
        else if (name[0] == 'n') { float d = 0.01f + (draw() & 255) * 1e-4f; memcpy(&data[at], &d, 4); }
        else { data[at] = 120 + draw() % 16; }
    }
}

static bool wrong = false;

struct Card {
    double bandwidth; // of a copy, in bytes a second
};

template <class T, int COLUMNS, int WARPS>
static void run(const Matrices & m, const int8_t * quants, const Scaled * scaled) {
    constexpr int ROWS = WARPS_OF_CTA / WARPS;
    multiply_columns<T, COLUMNS, WARPS, Plain><<<(m.rows + ROWS - 1) / ROWS, WARPS_OF_CTA * WARP>>>(m, Plain(), quants, scaled);
}

template <class T> static void bench(const char * name, to_float_t to_float, int rows, int k, const Card & card) {
    using A = Activations<T>;
    const int    blocks = k / T::LEN, a_blocks = k / A::LEN;
    const size_t row_bytes = (size_t) blocks * T::BYTES, bytes = row_bytes * rows;
    const int    copies = std::max<int>(2, (256 << 20) / bytes);
    std::vector<uint8_t> data(bytes);
    fill(data, name, T::BYTES);
    uint8_t * weights;
    CHECK(cudaMalloc(&weights, bytes * copies + 64));
    for (int c = 0; c < copies; c++) { CHECK(cudaMemcpy(weights + c * bytes, data.data(), bytes, cudaMemcpyHostToDevice)); }
    const int columns = 8;
    std::vector<float> x((size_t) k * columns);
    for (auto & v : x) { v = ((int) (draw() & 0xffff) - 32768) / 16384.0f + ((int) (draw() & 0xffff) - 32768) / 32768.0f; }
    float * x_d; int8_t * quants; Scaled * scaled; float * out; half * floats;
    CHECK(cudaMalloc(&x_d, x.size() * 4));
    CHECK(cudaMemcpy(x_d, x.data(), x.size() * 4, cudaMemcpyHostToDevice));
    CHECK(cudaMalloc(&quants, x.size() + QUANTS_SLACK));
    CHECK(cudaMalloc(&scaled, sizeof(Scaled) * a_blocks * columns + QUANTS_SLACK));
    CHECK(cudaMalloc(&out, (size_t) rows * columns * 4));
    CHECK(cudaMalloc(&floats, (size_t) rows * k * 2));
    const Columns from = { x_d, k, 0, 0, columns, 1 };
    const auto quantize = [&](int n) {
        quantize_columns<T><<<dim3((a_blocks + 128 / A::THREADS - 1) / (128 / A::THREADS), n), 128>>>(from, a_blocks, quants, scaled);
    };
    quantize(columns);
    CHECK(cudaGetLastError());
    Matrices m = {};
    m.row_bytes = row_bytes; m.rows = rows; m.blocks = blocks; m.r2 = m.r3 = 1; m.out = out; m.s1 = rows;

    // errors beside the products in double of the weights as floats, against the size of the terms
    double worst = 0;
    const auto check = [&](int n) {
        std::vector<float> got((size_t) rows * n), w(T::LEN);
        CHECK(cudaMemcpy(got.data(), out, got.size() * 4, cudaMemcpyDeviceToHost));
        for (int r = 0; r < rows; r += std::max(1, rows / 16)) {
            for (int c = 0; c < n; c++) {
                double sum = 0, size = 0;
                for (int b = 0; b < blocks; b++) {
                    to_float(&data[r * row_bytes + (size_t) b * T::BYTES], w.data());
                    for (int i = 0; i < T::LEN; i++) {
                        const double t = (double) w[i] * x[(size_t) c * k + b * T::LEN + i];
                        sum += t; size += t * t;
                    }
                }
                worst = std::max(worst, std::fabs(got[(size_t) c * rows + r] - sum) / std::sqrt(size));
            }
        }
    };
    printf("%-7s", name);
    const double weights_n = (double) rows * k;
    const int launches = std::min(copies, 8);
    const auto time = [&](auto launch, int n) {
        CHECK(cudaMemset(out, 0xff, (size_t) rows * columns * 4));
        m.weights = m.gate = weights;
        launch();
        CHECK(cudaDeviceSynchronize());
        check(n);
        const double us = median_us(20, [&](int i) {
            for (int l = 0; l < launches; l++) { m.weights = m.gate = weights + bytes * ((i * launches + l) % copies); launch(); }
            return launches;
        });
        printf(" %7.2f (%4.2f, %3.0f%%)", us, weights_n / us * 1e-6, 100 * bytes / us * 1e6 / card.bandwidth);
    };
    time([&] { run<T, 1, 1>(m, quants, scaled); }, 1);
    time([&] { run<T, 1, 2>(m, quants, scaled); }, 1);
    time([&] { run<T, 1, 4>(m, quants, scaled); }, 1);
    printf(" |");
    time([&] { run<T, 4, 1>(m, quants, scaled); }, 4);
    time([&] { run<T, 8, 1>(m, quants, scaled); }, 8);
    printf(" | %5.2f", median_us(20, [&](int) { for (int l = 0; l < 8; l++) { quantize(1); } return 8; }));
    if constexpr (is_trellis<T>) {
        const double us = median_us(20, [&](int i) {
            rotated_weights<T><<<dim3((blocks + 128 / T::THREADS - 1) / (128 / T::THREADS), rows), 128>>>(weights + bytes * (i % copies), row_bytes, blocks, floats);
            return 1;
        });
        printf(" | %7.2f (%4.2f)", us, weights_n / us * 1e-6);
    }
    // 8-bit activations leave 0.01 to 0.02
    printf(" | error %.4f%s\n", worst, worst < 0.05 ? "" : ": WRONG");
    wrong = wrong || !(worst < 0.05);
    fflush(stdout);
    for (void * p : { (void *) weights, (void *) x_d, (void *) quants, (void *) scaled, (void *) out, (void *) floats }) { CHECK(cudaFree(p)); }
}

int main(int argc, char ** argv) {
    cudaDeviceProp properties;
    CHECK(cudaGetDeviceProperties(&properties, 0));
    Card card;
    {
        const size_t n = 1 << 30;
        void * a; void * b;
        CHECK(cudaMalloc(&a, n));
        CHECK(cudaMalloc(&b, n));
        card.bandwidth = 2.0 * n / (median_us(10, [&](int) { cudaMemcpyAsync(a, b, n, cudaMemcpyDeviceToDevice); return 1; }) * 1e-6);
        CHECK(cudaFree(a));
        CHECK(cudaFree(b));
    }
    printf("%s, %d SMs, copy %.0f GB/s\n", properties.name, properties.multiProcessorCount, card.bandwidth * 1e-9);
    std::vector<std::pair<int, int>> shapes = { { 4096, 4096 }, { 14336, 4096 }, { 4096, 14336 }, { 1024, 4096 } };
    if (argc == 3) { shapes = { { atoi(argv[1]), atoi(argv[2]) } }; }
    for (auto [rows, k] : shapes) {
        printf("\n%d x %d: us (T weights/s, share of copy); 1 column by 1, 2, 4 warps a row | 4, 8 columns by 1 | quantize | as f16\n", rows, k);
#define BENCH(NAME, name) bench<NAME>(#name, tenpak_reference_##name##_to_float, rows, k, card);
        BENCH(T2, t2) BENCH(T3, t3) BENCH(T4, t4) BENCH(T3_64, t3_64) BENCH(G4_128, g4_128) BENCH(NF4_64, nf4_64)
        BENCH(O4, o4) BENCH(O3, o3) BENCH(S34, s34) BENCH(S24, s24)
    }
    return wrong;
}
