#include "gram.h"

#include "ggml.h"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstring>
#include <stdexcept>
#include <string>
#include <thread>

// Rows of a band and columns of a run: a product of 512 kB stays in the cache between ggml_mul_mat and ggml_add.
static const int64_t BAND = 128;
static const int64_t RUN  = 1024;

// Tokens and columns that are transposed at a time: lines of the cache are written whole.
static const int64_t TILE = 32;

// Values per thread below which a thread costs more than it brings.
static const int64_t VALUES_PER_THREAD = 1 << 17;

// Bytes for pages of the program, stacks of threads, lists of tokens, buffers of the file; 2 MB were measured.
static const size_t SMALL_THINGS = 4 << 20;

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

// tensors of the graph: x; for every band itself, its rows of x, and these as F32; for every run the other rows, the target,
// the product and the sum
static size_t n_tensors(int64_t columns) {
    size_t n = 1;
    for (int64_t b = 0; b < n_bands(columns); b++) {
        n += 4 + 4 * ((band_width(columns, b) + RUN - 1) / RUN);
    }
    return n;
}

static size_t context_bytes(int64_t columns) {
    const size_t n = n_tensors(columns);
    return n * ggml_tensor_overhead() + ggml_graph_overhead_custom(n, false);
}

static ggml_backend_buffer_ptr allocate(ggml_backend_t backend, size_t bytes) {
    ggml_backend_buffer_ptr buffer(ggml_backend_alloc_buffer(backend, bytes));
    if (!buffer) {
        throw std::runtime_error(std::to_string(bytes >> 20) + " MB cannot be had: give a smaller --memory");
    }
    ggml_backend_buffer_clear(buffer.get(), 0);
    return buffer;
}

// a tensor at a place in a buffer
static ggml_tensor * tensor_at(ggml_context * ctx, ggml_backend_buffer * buffer, size_t offset, int64_t ne0, int64_t ne1,
                               ggml_type type = GGML_TYPE_F32) {
    ggml_tensor * t = ggml_new_tensor_2d(ctx, type, ne0, ne1);
    ggml_backend_tensor_alloc(buffer, t, (uint8_t *) ggml_backend_buffer_get_base(buffer) + offset);
    return t;
}

static ggml_tensor * view(ggml_context * ctx, ggml_tensor * t, int64_t ne0, int64_t ne1, size_t offset) {
    ggml_tensor * v = ggml_view_2d(ctx, t, ne0, ne1, t->nb[1], offset);
    ggml_backend_view_init(v);
    return v;
}

bool has_products_of(ggml_backend_dev_t device, ggml_type type) {
    auto * reg      = ggml_backend_dev_backend_reg(device);
    auto   features = (ggml_backend_get_features_t) ggml_backend_reg_get_proc_address(reg, "ggml_backend_get_features");
    for (auto * feature = features ? features(reg) : nullptr; feature && feature->name; feature++) {
        const bool is_bf16 = strcmp(feature->name, "AMX_BF16") == 0 || strcmp(feature->name, "BF16_PAIRS") == 0;
        if (type == GGML_TYPE_BF16 && is_bf16) {
            return true;
        }
    }
    return false;
}

gram_engine::gram_engine(ggml_backend_dev_t device, int n_threads, int64_t columns, int64_t tokens, ggml_type type)
    : type(has_products_of(device, type) ? type : GGML_TYPE_F32), max_columns(columns), max_tokens(GGML_PAD(tokens, TILE)),
      n_threads(n_threads) {
    backend.reset(ggml_backend_dev_init(device, nullptr));
    if (!backend) {
        throw std::runtime_error(std::string("cannot start the backend ") + ggml_backend_dev_name(device));
    }
    auto * reg           = ggml_backend_dev_backend_reg(device);
    auto   set_n_threads = (ggml_backend_set_n_threads_t) ggml_backend_reg_get_proc_address(reg, "ggml_backend_set_n_threads");
    if (set_n_threads) {
        set_n_threads(backend.get(), n_threads);
    }
    is_host = ggml_backend_buft_is_host(ggml_backend_get_default_buffer_type(backend.get()));
    product = allocate(backend.get(), BAND * RUN * sizeof(float));
    stage   = allocate(backend.get(), max_columns * max_tokens * ggml_type_size(this->type));
    if (this->type != GGML_TYPE_F32) {
        widened = allocate(backend.get(), BAND * max_tokens * sizeof(float));
    }
    context.resize(context_bytes(max_columns));
    if (!is_host) {
        staged.resize(max_columns * max_tokens * ggml_type_size(this->type));
    }
}

size_t gram_engine::scratch_bytes() const {
    // and a band on its way to the file
    return SMALL_THINGS + (BAND * RUN + BAND * max_columns) * sizeof(float) + max_columns * max_tokens * ggml_type_size(type) +
           (widened ? ggml_backend_buffer_get_size(widened.get()) : 0) + context.size();
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

static void convert(uint32_t bits, uint32_t & to) {
    to = bits;
}

// to BF16, the nearest, of two the even one
static void convert(uint32_t bits, uint16_t & to) {
    to = (bits + 0x7fff + (bits >> 16 & 1)) >> 16;
}

// stage[c][t] = rows[t][c] for columns c0 to c1, zeros for tokens from n_rows to depth; false if a value is not finite. T: bits of
// F32 or of BF16
template <typename T>
static bool transpose(const float * const * rows, int64_t n_rows, int64_t c0, int64_t c1, void * to, int64_t depth) {
    T *      stage   = (T *) to;
    uint32_t largest = 0; // magnitudes are ordered as their bits are
    for (int64_t c = c0; c < c1; c += TILE) {
        const int64_t n_c = std::min(TILE, c1 - c);
        for (int64_t t = 0; t < depth; t += TILE) {
            uint32_t tile[TILE][TILE] = {};
            for (int64_t i = 0; i < std::min(TILE, n_rows - t); i++) {
                memcpy(tile[i], rows[t + i] + c, n_c * sizeof(float));
                for (int64_t j = 0; j < TILE; j++) {
                    largest = std::max(largest, tile[i][j] & 0x7fffffff);
                }
            }
            for (int64_t j = 0; j < n_c; j++) {
                T column[TILE];
                for (int64_t i = 0; i < TILE; i++) {
                    convert(tile[i][j], column[i]);
                }
                memcpy(stage + (c + j) * depth + t, column, sizeof(column));
            }
        }
    }
    // what is rounded to infinity is not finite either
    return largest < (sizeof(T) == sizeof(uint32_t) ? 0x7f800000 : 0x7f7f8000);
}

bool gram_engine::add(ggml_backend_buffer * sums, int64_t columns, const float * const * rows, int64_t n_rows) {
    const auto    start     = std::chrono::steady_clock::now();
    const int64_t depth     = GGML_PAD(n_rows, TILE);
    void *        to        = is_host ? ggml_backend_buffer_get_base(stage.get()) : staged.data();
    const auto    transpose = type == GGML_TYPE_F32 ? ::transpose<uint32_t> : ::transpose<uint16_t>;
    const int64_t n_useful  = std::min<int64_t>(n_threads, columns * depth / VALUES_PER_THREAD);
    std::atomic<bool> finite(true);
    in_parallel(n_useful, columns, [&](int64_t c0, int64_t c1) {
        if (!transpose(rows, n_rows, c0, c1, to, depth)) {
            finite = false;
        }
    });
    if (!finite) {
        return false;
    }
    ggml_init_params params = { context.size(), context.data(), /*no_alloc =*/ true };
    ggml_context_ptr ctx(ggml_init(params));
    ggml_cgraph *    graph = ggml_new_graph_custom(ctx.get(), n_tensors(columns), false);
    ggml_tensor *    x     = tensor_at(ctx.get(), stage.get(), 0, depth, columns, type);
    if (!is_host) {
        ggml_backend_tensor_set(x, staged.data(), 0, ggml_nbytes(x));
    }
    for (int64_t b = 0; b < n_bands(columns); b++) {
        const int64_t n_band = band_rows(columns, b);
        const int64_t width  = band_width(columns, b);
        ggml_tensor * band   = tensor_at(ctx.get(), sums, band_offset(b), width, n_band);
        ggml_tensor * x_band = view(ctx.get(), x, depth, n_band, b * BAND * x->nb[1]);
        if (type != GGML_TYPE_F32) {
            ggml_tensor * wide = ggml_cast(ctx.get(), x_band, GGML_TYPE_F32); // ggml multiplies with columns of F32
            ggml_backend_tensor_alloc(widened.get(), wide, ggml_backend_buffer_get_base(widened.get()));
            x_band = wide;
        }
        for (int64_t c = 0; c < width; c += RUN) {
            const int64_t n_run  = std::min(RUN, width - c);
            ggml_tensor * x_run  = view(ctx.get(), x, depth, n_run, c * x->nb[1]);
            ggml_tensor * target = view(ctx.get(), band, n_run, n_band, c * sizeof(float));
            ggml_tensor * xx     = ggml_mul_mat(ctx.get(), x_run, x_band);
            ggml_backend_tensor_alloc(product.get(), xx, ggml_backend_buffer_get_base(product.get()));
            ggml_tensor * sum = ggml_add_inplace(ctx.get(), target, xx);
            ggml_backend_view_init(sum);
            ggml_build_forward_expand(graph, sum);
        }
    }
    if (ggml_backend_graph_compute(backend.get(), graph) != GGML_STATUS_SUCCESS) {
        throw std::runtime_error("the backend failed");
    }
    flops   += (double) columns * (columns + 1) * n_rows;
    seconds += std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
    return true;
}

gram_matrix::gram_matrix(gram_engine & engine, int64_t columns, int64_t depth)
    : engine(engine), columns(columns), depth(depth), sums(allocate(engine.backend.get(), sums_bytes(columns))) {
    GGML_ASSERT(columns <= engine.max_columns);
    gathered.reserve(columns * depth);
}

size_t gram_matrix::bytes(int64_t columns, int64_t depth) {
    return sums_bytes(columns) + columns * depth * sizeof(float);
}

bool gram_matrix::push(const std::vector<const float *> & rows) {
    bool finite = true;
    n_tokens += rows.size();
    if (depth == 0) {
        return add(rows);
    }
    for (const float * row : rows) {
        gathered.insert(gathered.end(), row, row + columns);
        if ((int64_t) gathered.size() == columns * depth) {
            finite &= flush();
        }
    }
    return finite;
}

bool gram_matrix::add(const std::vector<const float *> & rows) {
    bool finite = true;
    for (size_t i = 0; i < rows.size(); i += engine.max_tokens) {
        const int64_t n = std::min<int64_t>(engine.max_tokens, rows.size() - i);
        finite &= engine.add(sums.get(), columns, rows.data() + i, n);
    }
    return finite;
}

bool gram_matrix::flush() {
    if (gathered.empty()) {
        return true;
    }
    std::vector<const float *> rows;
    for (size_t i = 0; i < gathered.size(); i += columns) {
        rows.push_back(gathered.data() + i);
    }
    const bool finite = add(rows);
    gathered.clear();
    return finite;
}

void gram_matrix::read(const std::function<void(const float *, size_t)> & write) const {
    std::vector<float> values;
    for (int64_t b = 0; b < n_bands(columns); b++) {
        const int64_t    rows   = band_rows(columns, b);
        const int64_t    width  = band_width(columns, b);
        ggml_init_params params = { ggml_tensor_overhead(), nullptr, /*no_alloc =*/ true };
        ggml_context_ptr ctx(ggml_init(params));
        values.resize(rows * width);
        ggml_backend_tensor_get(tensor_at(ctx.get(), sums.get(), band_offset(b), width, rows), values.data(), 0,
                                values.size() * sizeof(float));
        for (int64_t i = 0; i < rows; i++) {
            write(values.data() + i * width, b * BAND + i + 1);
        }
    }
}
