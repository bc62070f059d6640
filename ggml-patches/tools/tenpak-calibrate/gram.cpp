#include "gram.h"

#include "ggml.h"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstring>
#include <stdexcept>
#include <thread>

// Rows of a band and columns of a run: a product of 1 MB stays in the cache between ggml_mul_mat and ggml_add.
static const int64_t BAND = 256;
static const int64_t RUN  = 1024;

// Tokens and columns that are transposed at a time: lines of the cache are written whole.
static const int64_t TILE = 32;

// Values per thread below which a thread costs more than it brings.
static const int64_t VALUES_PER_THREAD = 1 << 17;

static int64_t n_bands(int64_t columns) {
    return (columns + BAND - 1) / BAND;
}

// columns that band b holds: up to the diagonal
static int64_t band_width(int64_t columns, int64_t b) {
    return std::min(columns, (b + 1) * BAND);
}

static int64_t band_rows(int64_t columns, int64_t b) {
    return std::min(BAND, columns - b * BAND);
}

// bytes before band b
static size_t band_offset(int64_t b) {
    return (size_t) BAND * BAND * (b * (b + 1) / 2) * sizeof(float);
}

static size_t sums_bytes(int64_t columns) {
    const int64_t last = n_bands(columns) - 1;
    return band_offset(last) + band_rows(columns, last) * columns * sizeof(float);
}

static size_t stage_bytes(ggml_type type, int64_t columns, int64_t depth) {
    return GGML_PAD(columns * depth * ggml_type_size(type), 4096);
}

// tensors of the graph of a flush: for every band itself and its rows of x, for every run the other rows, the target,
// the product and the sum
static size_t n_tensors(int64_t columns) {
    size_t n = 1;
    for (int64_t b = 0; b < n_bands(columns); b++) {
        n += 2 + 4 * ((band_width(columns, b) + RUN - 1) / RUN);
    }
    return n;
}

static size_t context_bytes(int64_t columns) {
    const size_t n = n_tensors(columns);
    return n * ggml_tensor_overhead() + ggml_graph_overhead_custom(n, false);
}

static bool has_bf16(ggml_backend_dev_t device) {
    if (ggml_backend_dev_type(device) != GGML_BACKEND_DEVICE_TYPE_CPU) {
        return false; // CUDA returns products of BF16 in BF16
    }
    auto * reg      = ggml_backend_dev_backend_reg(device);
    auto * features = (ggml_backend_get_features_t) ggml_backend_reg_get_proc_address(reg, "ggml_backend_get_features");
    if (features) {
        for (auto * f = features(reg); f->name; f++) {
            if (strcmp(f->name, "AVX512_BF16") == 0 && strcmp(f->value, "0") != 0) {
                return true;
            }
        }
    }
    return false;
}

gram_engine::gram_engine(ggml_backend_dev_t device, int n_threads) : n_threads(n_threads) {
    backend.reset(ggml_backend_dev_init(device, nullptr));
    if (!backend) {
        throw std::runtime_error(std::string("cannot start the backend ") + ggml_backend_dev_name(device));
    }
    auto * reg           = ggml_backend_dev_backend_reg(device);
    auto   set_n_threads = (ggml_backend_set_n_threads_t) ggml_backend_reg_get_proc_address(reg, "ggml_backend_set_n_threads");
    if (set_n_threads) {
        set_n_threads(backend.get(), n_threads);
    }
    is_host    = ggml_backend_buft_is_host(ggml_backend_get_default_buffer_type(backend.get()));
    stage_type = has_bf16(device) ? GGML_TYPE_BF16 : GGML_TYPE_F32;
    product.reset(ggml_backend_alloc_buffer(backend.get(), BAND * RUN * sizeof(float)));
    if (!product) {
        throw std::runtime_error("not enough memory");
    }
}

size_t gram_engine::matrix_bytes(int64_t columns, int64_t depth) const {
    return stage_bytes(stage_type, columns, depth) + sums_bytes(columns);
}

size_t gram_engine::scratch_bytes(int64_t columns) const {
    return BAND * RUN * sizeof(float) + context_bytes(columns) + BAND * columns * sizeof(float);
}

gram_matrix::gram_matrix(gram_engine & engine, int64_t columns, int64_t depth)
    : engine(engine), columns(columns), depth(depth) {
    const size_t bytes = engine.matrix_bytes(columns, depth);
    buffer.reset(ggml_backend_alloc_buffer(engine.backend.get(), bytes));
    if (!buffer) {
        throw std::runtime_error("not enough memory: give a smaller --memory");
    }
    ggml_backend_buffer_clear(buffer.get(), 0);
    if (engine.is_host) {
        stage = (uint8_t *) ggml_backend_buffer_get_base(buffer.get());
    } else {
        host_stage.resize(stage_bytes(engine.type(), columns, depth));
        stage = host_stage.data();
    }
}

// runs f(first, last) over pieces of 0..n, which begin at multiples of TILE
static void in_parallel(int n_threads, int64_t n, const std::function<void(int64_t, int64_t)> & f) {
    const int64_t tiles = (n + TILE - 1) / TILE;
    const int64_t parts = std::max<int64_t>(1, std::min<int64_t>(n_threads, tiles));
    auto          first = [&](int64_t part) { return std::min(n, part * tiles / parts * TILE); };

    std::vector<std::thread> threads;
    for (int64_t part = 1; part < parts; part++) {
        threads.emplace_back(f, first(part), first(part + 1));
    }
    f(first(0), first(1));
    for (auto & t : threads) {
        t.join();
    }
}

// nearest, ties to even, of finite values (inlined, which ggml_fp32_to_bf16 is not)
static uint16_t round_to(uint32_t bits, uint16_t) {
    return (bits + 0x7fff + ((bits >> 16) & 1)) >> 16;
}

static uint32_t round_to(uint32_t bits, uint32_t) {
    return bits;
}

// stage[c][at + t] = rows[t][c] as bits of T, BF16 or F32; false if a value is not finite
template <typename T>
static bool transpose(const float * const * rows, int64_t n_rows, int64_t c0, int64_t c1, T * stage, int64_t depth,
                      int64_t at) {
    uint32_t largest = 0; // magnitudes are ordered as their bits are
    for (int64_t c = c0; c < c1; c += TILE) {
        const int64_t n_c = std::min(TILE, c1 - c);
        for (int64_t t = 0; t < n_rows; t += TILE) {
            const int64_t n_t = std::min(TILE, n_rows - t);
            T             tile[TILE][TILE];
            for (int64_t i = 0; i < n_t; i++) {
                uint32_t bits[TILE];
                memcpy(bits, rows[t + i] + c, n_c * sizeof(float));
                for (int64_t j = 0; j < n_c; j++) {
                    largest    = std::max(largest, bits[j] & 0x7fffffff);
                    tile[i][j] = round_to(bits[j], T());
                }
            }
            for (int64_t j = 0; j < n_c; j++) {
                T * to = stage + (c + j) * depth + at + t;
                for (int64_t i = 0; i < n_t; i++) {
                    to[i] = tile[i][j];
                }
            }
        }
    }
    return largest < 0x7f800000;
}

bool gram_matrix::push(const std::vector<const float *> & rows) {
    std::atomic<bool> finite(true);
    for (size_t done = 0; done < rows.size();) {
        const int64_t n         = std::min<int64_t>(rows.size() - done, depth - n_staged);
        const int64_t n_threads = std::min<int64_t>(engine.n_threads, columns * n / VALUES_PER_THREAD);
        in_parallel(n_threads, columns, [&](int64_t c0, int64_t c1) {
            const float * const * from = rows.data() + done;

            const bool ok = engine.type() == GGML_TYPE_BF16 ?
                transpose(from, n, c0, c1, (uint16_t *) stage, depth, n_staged) :
                transpose(from, n, c0, c1, (uint32_t *) stage, depth, n_staged);
            if (!ok) {
                finite = false;
            }
        });
        done     += n;
        n_staged += n;
        n_tokens += n;
        if (n_staged == depth) {
            flush();
        }
    }
    return finite;
}

void gram_matrix::flush() {
    if (n_staged == 0) {
        return;
    }
    const auto      start = std::chrono::steady_clock::now();
    const ggml_type type  = engine.type();
    const size_t    row   = depth * ggml_type_size(type);
    for (int64_t c = 0; n_staged < depth && c < columns; c++) {
        memset(stage + c * row + n_staged * ggml_type_size(type), 0, (depth - n_staged) * ggml_type_size(type));
    }

    engine.context.resize(context_bytes(columns));
    ggml_init_params params = { engine.context.size(), engine.context.data(), /*no_alloc =*/ true };
    ggml_context_ptr ctx(ggml_init(params));
    ggml_cgraph *    graph = ggml_new_graph_custom(ctx.get(), n_tensors(columns), false);

    uint8_t *     base = (uint8_t *) ggml_backend_buffer_get_base(buffer.get());
    uint8_t *     sums = base + stage_bytes(type, columns, depth);
    ggml_tensor * x    = ggml_new_tensor_2d(ctx.get(), type, depth, columns);
    ggml_backend_tensor_alloc(buffer.get(), x, base);
    if (!engine.is_host) {
        ggml_backend_tensor_set(x, stage, 0, columns * row);
    }
    for (int64_t b = 0; b < n_bands(columns); b++) {
        const int64_t rows  = band_rows(columns, b);
        const int64_t width = band_width(columns, b);
        ggml_tensor * band  = ggml_new_tensor_2d(ctx.get(), GGML_TYPE_F32, width, rows);
        ggml_backend_tensor_alloc(buffer.get(), band, sums + band_offset(b));
        ggml_tensor * x_rows = ggml_view_2d(ctx.get(), x, depth, rows, row, b * BAND * row);
        for (int64_t c = 0; c < width; c += RUN) {
            const int64_t n      = std::min(RUN, width - c);
            ggml_tensor * x_run  = ggml_view_2d(ctx.get(), x, depth, n, row, c * row);
            ggml_tensor * target = ggml_view_2d(ctx.get(), band, n, rows, band->nb[1], c * sizeof(float));
            ggml_tensor * xx     = ggml_mul_mat(ctx.get(), x_run, x_rows);
            ggml_backend_tensor_alloc(engine.product.get(), xx, ggml_backend_buffer_get_base(engine.product.get()));
            ggml_tensor * sum = ggml_add_inplace(ctx.get(), target, xx);
            for (auto * view : { x_run, target, sum }) {
                ggml_backend_view_init(view);
            }
            ggml_build_forward_expand(graph, sum);
        }
        ggml_backend_view_init(x_rows);
    }
    if (ggml_backend_graph_compute(engine.backend.get(), graph) != GGML_STATUS_SUCCESS) {
        throw std::runtime_error("the backend failed");
    }
    engine.flops   += (double) columns * (columns + 1) * n_staged;
    engine.seconds += std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
    n_staged = 0;
}

void gram_matrix::read(const std::function<void(const float *, size_t)> & write) const {
    uint8_t * sums = (uint8_t *) ggml_backend_buffer_get_base(buffer.get()) + stage_bytes(engine.type(), columns, depth);

    std::vector<float> values;
    for (int64_t b = 0; b < n_bands(columns); b++) {
        const int64_t rows  = band_rows(columns, b);
        const int64_t width = band_width(columns, b);
        values.resize(rows * width);

        ggml_init_params params = { ggml_tensor_overhead(), nullptr, /*no_alloc =*/ true };
        ggml_context_ptr ctx(ggml_init(params));
        ggml_tensor *    band = ggml_new_tensor_2d(ctx.get(), GGML_TYPE_F32, width, rows);
        ggml_backend_tensor_alloc(buffer.get(), band, sums + band_offset(b));
        ggml_backend_tensor_get(band, values.data(), 0, values.size() * sizeof(float));
        for (int64_t i = 0; i < rows; i++) {
            write(values.data() + i * width, b * BAND + i + 1);
        }
    }
}
