#include "speed.h"

#include "ggml-backend.h"
#include "ggml-cpp.h"
#include "gram.h"

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <stdexcept>
#include <vector>

// Weights of a matrix: more than caches hold together with the tokens, as those of models are.
static const int64_t COLUMNS = 2048;
static const int64_t ROWS    = 8192;

// Tokens that are read together, and documents that are written together.
static const int64_t MANY = 512;
static const int64_t FEW  = 16;

// Each is measured for so many seconds, and at least so often.
static const double SECONDS = 0.15;
static const size_t TIMES   = 3;

static double seconds_since(std::chrono::steady_clock::time_point start) {
    return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

static double median(std::vector<double> values) {
    std::nth_element(values.begin(), values.begin() + values.size() / 2, values.end());
    return values[values.size() / 2];
}

// operations a second of products of a matrix with n tokens
static double products(ggml_type type, int64_t n, int n_threads) {
    ggml_backend_ptr backend(ggml_backend_init_by_type(GGML_BACKEND_DEVICE_TYPE_CPU, nullptr));
    auto * registry   = ggml_backend_dev_backend_reg(ggml_backend_get_device(backend.get()));
    auto   set_threads = (ggml_backend_set_n_threads_t) ggml_backend_reg_get_proc_address(registry, "ggml_backend_set_n_threads");
    if (set_threads) {
        set_threads(backend.get(), n_threads);
    }
    ggml_init_params params = { 16 * ggml_tensor_overhead() + ggml_graph_overhead(), nullptr, /*no_alloc =*/ true };
    ggml_context_ptr ctx(ggml_init(params));
    ggml_tensor *    weights = ggml_new_tensor_2d(ctx.get(), type, COLUMNS, ROWS);
    ggml_tensor *    tokens  = ggml_new_tensor_2d(ctx.get(), GGML_TYPE_F32, COLUMNS, n);
    ggml_cgraph *    graph   = ggml_new_graph(ctx.get());
    ggml_build_forward_expand(graph, ggml_mul_mat(ctx.get(), weights, tokens));
    ggml_backend_buffer_ptr buffer(ggml_backend_alloc_ctx_tensors(ctx.get(), backend.get()));
    if (!buffer) {
        throw std::runtime_error("--speed: there is no memory for a matrix");
    }
    ggml_backend_buffer_clear(buffer.get(), 0);
    std::vector<double> seconds;
    const auto          start = std::chrono::steady_clock::now();
    while (seconds.size() < TIMES || seconds_since(start) < SECONDS) {
        const auto began = std::chrono::steady_clock::now();
        ggml_backend_graph_compute(backend.get(), graph);
        seconds.push_back(seconds_since(began));
    }
    return 2.0 * COLUMNS * ROWS * n / median(seconds);
}

// operations a second of the sums
static double sums(ggml_type type, int n_threads) {
    gram_engine engine(ggml_backend_dev_by_type(GGML_BACKEND_DEVICE_TYPE_CPU), n_threads, COLUMNS, MANY, type);
    gram_matrix matrix(engine, COLUMNS, 0);

    const std::vector<float>   zeros(COLUMNS);
    std::vector<const float *> rows(MANY, zeros.data());
    std::vector<double>        rates;
    const auto                 start = std::chrono::steady_clock::now();
    while (rates.size() < TIMES || seconds_since(start) < SECONDS) {
        engine.flops   = 0;
        engine.seconds = 0;
        matrix.push(rows);
        rates.push_back(engine.flops / engine.seconds);
    }
    return median(rates);
}

void print_speed(ggml_type type, int n_threads) {
    ggml_backend_load_all(); // where backends are modules
    if (!ggml_backend_dev_by_type(GGML_BACKEND_DEVICE_TYPE_CPU)) {
        throw std::runtime_error("--speed: ggml has no CPU backend");
    }
    printf("speed %.4g %.4g %.4g\n", products(type, MANY, n_threads), products(type, FEW, n_threads), sums(type, n_threads));
}
