// The tensor types of tenpak-gguf in ggml's CUDA backend: which kernels do an operation, with which grids and buffers.

#include "tenpak.cuh"

#if !defined(GGML_USE_HIP) && !defined(GGML_USE_MUSA)

#include "tenpak-kernels.cuh"
#include "unary.cuh"

#include <mutex>
#include <unordered_map>

namespace tenpak {

// Columns up to which weights are multiplied as they are decoded; more go through f16 and cuBLAS.
constexpr int FEW = 8;

// Bytes of rotated weights in f16 that are made and multiplied at a time: the caches of large cards hold them.
constexpr size_t ROTATED_BYTES = 32 << 20;

// Calls f(T()) for the type's description, which has the name that tenpak.h gives the type; false for types that are not ours.
template <class F> static bool with_type(ggml_type type, F && f) {
    switch (type) {
#define TENPAK_CASE(NAME, ...) case GGML_TYPE_##NAME: f(NAME()); return true;
        TENPAK_FOR_EACH_WEIGHT(TENPAK_CASE)
#undef TENPAK_CASE
        default: return false;
    }
}

static int ceil_div(int64_t n, int64_t by) {
    return (int) ((n + by - 1) / by);
}

// Launches a kernel that may start before the one before it has ended, where ggml's own kernels do.
template <class... P, class... A>
static void start(void (*kernel)(P...), dim3 grid, int threads, cudaStream_t stream, const A &... args) {
    ggml_cuda_kernel_launch(kernel, ggml_cuda_kernel_launch_params(grid, dim3(threads, 1, 1), 0, stream), static_cast<P>(args)...);
}

// ---- Matrix times few columns ----

// What a fused product does with its result: adds a bias, and multiplies by the activated product with the gate's matrix.
template <bool GATE> struct Fused {
    static constexpr bool GATED = GATE;

    const float * bias;
    const float * gate_bias;
    ggml_glu_op   op;
    float         limit;

    TENPAK_MEMBER float operator()(float x, float gate, int64_t i) const {
        x += bias ? bias[i] : 0.0f;
        if (!GATE) {
            return x;
        }
        gate += gate_bias ? gate_bias[i] : 0.0f;
        switch (op) {
            case GGML_GLU_OP_SWIGLU:       return x * ggml_cuda_op_silu_single(gate);
            case GGML_GLU_OP_GEGLU:        return x * ggml_cuda_op_gelu_single(gate);
            case GGML_GLU_OP_SWIGLU_OAI:   return ggml_cuda_op_swiglu_oai_single(gate, x);
            case GGML_GLU_OP_SWIGLU_CLAMP: return ggml_cuda_op_swiglu_clamp_single(gate, x, limit);
            default:                       return x * gate;
        }
    }
};

// Activations of all columns of src1 as quants.
struct Quantized {
    ggml_cuda_pool_alloc<char> buffer; // none if they are a context's last ones
    const int8_t *             quants = nullptr;
    const Scaled *             scaled = nullptr;
};

// The last activations that were quantized in a context. Several matrices often multiply the same tensor (query, key, value), and as
// long as one graph is computed its memory keeps what it holds until all of them have: ggml gives it to no other tensor before.
struct Last {
    static constexpr size_t BYTES = 1 << 20; // more are not kept

    char *              buffer = nullptr;
    const ggml_tensor * tensor = nullptr;
    int                 order  = 0; // of the quants; see order_of
};

static std::mutex                                                 last_lock;
static std::unordered_map<const ggml_backend_cuda_context *, Last> last_of_context;

static Last & last_of(const ggml_backend_cuda_context & ctx) {
    std::lock_guard<std::mutex> lock(last_lock);
    return last_of_context[&ctx];
}

// Types with the same order of quants have the same number here.
template <class T> static constexpr int order_of() {
    if constexpr (is_trellis<T>) {
        return T::LEN;
    } else {
        return -T::LEN;
    }
}

static Columns columns_of(const ggml_tensor * src1) {
    const int64_t size = sizeof(float);
    return { (const float *) src1->data, (int64_t) src1->nb[1] / size, (int64_t) src1->nb[2] / size, (int64_t) src1->nb[3] / size,
             (int) src1->ne[1], (int) src1->ne[2] };
}

// The second and third dimension of a grid end here.
constexpr int64_t MAX_GRID = 65535;

template <class T> static void quantize(ggml_backend_cuda_context & ctx, const ggml_tensor * src1, Quantized & to) {
    using A = Activations<T>;
    constexpr int THREADS = 128;
    const int64_t k = src1->ne[0], n = ggml_nrows(src1), blocks = k / A::LEN;
    const size_t  size = n * (k + blocks * sizeof(Scaled)) + QUANTS_SLACK;
    // inputs and views may change while a graph is computed, and other streams run beside the first
    const bool keep = size <= Last::BYTES && src1->op != GGML_OP_NONE && !src1->view_src && ctx.curr_stream_no == 0;
    Last &     last = last_of(ctx);
    char *     buffer;
    if (keep) {
        if (!last.buffer) { CUDA_CHECK(cudaMalloc(&last.buffer, Last::BYTES)); }
        buffer = last.buffer;
    } else {
        buffer = to.buffer.alloc(ctx.pool(), size);
    }
    to.quants = (const int8_t *) buffer;
    to.scaled = (const Scaled *) (buffer + n * k);
    if (keep && last.tensor == src1 && last.order == order_of<T>()) {
        return;
    }
    start(quantize_columns<T>, dim3(ceil_div(blocks, THREADS / A::THREADS), n), THREADS, ctx.stream(), columns_of(src1), (int) blocks,
          (int8_t *) buffer, (Scaled *) (buffer + n * k));
    if (keep) {
        last.tensor = src1;
        last.order  = order_of<T>();
    }
}

// Warps that share a row: as many as fill the device where rows are few, but not more than find work in a row.
template <class T> static int warps_of_a_row(int64_t rows, int64_t blocks) {
    static const char * forced = getenv("TENPAK_CUDA_WARPS"); // for measurements
    if (forced) { return atoi(forced) < 2 ? 1 : atoi(forced) < 4 ? 2 : 4; }
    const int64_t sms = ggml_cuda_info().devices[ggml_cuda_get_device()].nsm;
    int warps = 1;
    while (warps < 4 && rows * warps < 16 * sms && blocks * T::THREADS >= 2 * warps * WARP) { warps *= 2; }
    return warps;
}

template <class T, int COLUMNS, int WARPS, class F>
static void launch_warps(const Matrices & m, int n2, int n3, const F & finish, const Quantized & a, cudaStream_t stream) {
    start(multiply_columns<T, COLUMNS, WARPS, F>, dim3(ceil_div(m.rows, WARPS_OF_CTA / m.warps), n2, n3), WARPS_OF_CTA * WARP, stream, m, finish,
          a.quants, a.scaled);
}

// Kernels are compiled for the warps that share a row where registers are few, and for one column; others are told.
template <class T, int COLUMNS, class F>
static void launch(Matrices & m, int n2, int n3, const F & finish, const Quantized & a, cudaStream_t stream) {
    m.warps = warps_of_a_row<T>((int64_t) m.rows * n2 * n3, m.blocks);
    if constexpr (COLUMNS > 1 && !is_trellis<T>) {
        launch_warps<T, COLUMNS, 0>(m, n2, n3, finish, a, stream);
    } else {
        switch (m.warps) {
            case 1:  launch_warps<T, COLUMNS, 1>(m, n2, n3, finish, a, stream); break;
            case 2:  launch_warps<T, COLUMNS, 2>(m, n2, n3, finish, a, stream); break;
            default: launch_warps<T, COLUMNS, 4>(m, n2, n3, finish, a, stream); break;
        }
    }
}

template <class T> static void launch_columns(int columns, Matrices & m, int n2, int n3, const Quantized & a, cudaStream_t stream) {
    switch (columns) {
        case 1: launch<T, 1>(m, n2, n3, Plain(), a, stream); break;
        case 2: launch<T, 2>(m, n2, n3, Plain(), a, stream); break;
        case 3: launch<T, 3>(m, n2, n3, Plain(), a, stream); break;
        case 4: launch<T, 4>(m, n2, n3, Plain(), a, stream); break;
        case 5: launch<T, 5>(m, n2, n3, Plain(), a, stream); break;
        case 6: launch<T, 6>(m, n2, n3, Plain(), a, stream); break;
        case 7: launch<T, 7>(m, n2, n3, Plain(), a, stream); break;
        case 8: launch<T, 8>(m, n2, n3, Plain(), a, stream); break;
        default: GGML_ABORT("more columns than kernels");
    }
}

static bool fits_a_grid(const ggml_tensor * src1, const ggml_tensor * dst) {
    return ggml_nrows(src1) <= MAX_GRID && dst->ne[2] <= MAX_GRID && dst->ne[3] <= MAX_GRID;
}

template <class T> static Matrices matrices_of(const ggml_tensor * src0, const ggml_tensor * dst) {
    Matrices m = {};
    m.weights   = (const uint8_t *) src0->data;
    m.gate      = m.weights;
    m.row_bytes = src0->nb[1];
    m.bytes2    = src0->nb[2];
    m.bytes3    = src0->nb[3];
    m.rows      = src0->ne[1];
    m.blocks    = src0->ne[0] / T::LEN;
    m.out       = (float *) dst->data;
    m.s1        = dst->nb[1] / sizeof(float);
    m.s2        = dst->nb[2] / sizeof(float);
    m.s3        = dst->nb[3] / sizeof(float);
    return m;
}

template <class T>
static void multiply_few(ggml_backend_cuda_context & ctx, const ggml_tensor * src0, const ggml_tensor * src1, ggml_tensor * dst) {
    Quantized a;
    quantize<T>(ctx, src1, a);
    Matrices m = matrices_of<T>(src0, dst);
    m.r2 = dst->ne[2] / src0->ne[2];
    m.r3 = dst->ne[3] / src0->ne[3];
    launch_columns<T>(src1->ne[1], m, dst->ne[2], dst->ne[3], a, ctx.stream());
}

// ---- Matrix times many columns ----

// In the rotated space, where weights are integers times the scale of their block and exact as f16.
template <class T>
static void multiply_many(ggml_backend_cuda_context & ctx, const ggml_tensor * src0, const ggml_tensor * src1, ggml_tensor * dst) {
    cudaStream_t  stream = ctx.stream();
    constexpr int THREADS = 128;
    const int64_t k = src0->ne[0], rows = src0->ne[1], blocks = k / T::LEN, n = src1->ne[1];

    ggml_cuda_pool_alloc<half> columns(ctx.pool(), ggml_nrows(src1) * k);
    for (int64_t first = 0; first < ggml_nrows(src1); first += MAX_GRID) {
        Columns from = columns_of(src1);
        from.first = first;
        rotate_columns<T><<<dim3(ceil_div(blocks, THREADS / T::LANES), std::min(ggml_nrows(src1) - first, MAX_GRID)), THREADS, 0, stream>>>(
            from, blocks, columns.ptr + first * k);
    }
    CUDA_CHECK(cudaGetLastError());

    const int64_t chunk = std::min({ rows, MAX_GRID / 256 * 256, std::max<int64_t>(256, ROTATED_BYTES / sizeof(half) / k / 256 * 256) });
    ggml_cuda_pool_alloc<half> weights(ctx.pool(), chunk * k);
    const float alpha = 1.0f / ROTATED_SCALE, beta = 0.0f;
    for (int64_t i3 = 0; i3 < src0->ne[3]; i3++) {
        for (int64_t i2 = 0; i2 < src0->ne[2]; i2++) {
            const uint8_t * matrix = (const uint8_t *) src0->data + i2 * src0->nb[2] + i3 * src0->nb[3];
            for (int64_t first = 0; first < rows; first += chunk) {
                const int64_t count = std::min(chunk, rows - first);
                rotated_weights<T><<<dim3(ceil_div(blocks, THREADS / T::THREADS), count), THREADS, 0, stream>>>(
                    matrix + first * src0->nb[1], src0->nb[1], blocks, weights.ptr);
                CUDA_CHECK(cudaGetLastError());
                const int64_t r2 = dst->ne[2] / src0->ne[2], r3 = dst->ne[3] / src0->ne[3];
                for (int64_t j3 = i3 * r3; j3 < (i3 + 1) * r3; j3++) {
                    for (int64_t j2 = i2 * r2; j2 < (i2 + 1) * r2; j2++) {
                        float * out = (float *) ((char *) dst->data + j2 * dst->nb[2] + j3 * dst->nb[3]) + first;
                        CUBLAS_CHECK(cublasGemmEx(ctx.cublas_handle(), CUBLAS_OP_T, CUBLAS_OP_N, count, n, k, &alpha, weights.ptr, CUDA_R_16F, k,
                                                  columns.ptr + (j3 * dst->ne[2] + j2) * n * k, CUDA_R_16F, k, &beta, out, CUDA_R_32F,
                                                  dst->nb[1] / sizeof(float), CUBLAS_COMPUTE_32F, CUBLAS_GEMM_DEFAULT_TENSOR_OP));
                    }
                }
            }
        }
    }
}

// ---- Rows as floats ----

template <class T, class F> static void launch_rows(const Rows & rows, int64_t n, int n12, F * out, cudaStream_t stream) {
    const int groups = std::min<int64_t>(ceil_div(rows.blocks, FLOAT_WARPS * Floats<T, F>::BLOCKS), MAX_GRID);
    rows_as_floats<T, F><<<dim3(n, groups, n12), FLOAT_WARPS * WARP, 0, stream>>>(rows, out);
    CUDA_CHECK(cudaGetLastError());
}

template <class T, class F> static void contiguous_to_float(const void * x, F * y, int64_t k, cudaStream_t stream) {
    // one row of all blocks: blocks decode alone
    const Rows rows = { (const uint8_t *) x, 0, 0, 0, (int) (k / T::LEN), nullptr, 0, 0, 0, 1, 0, 0, 0 };
    launch_rows<T, F>(rows, 1, 1, y, stream);
}

} // namespace tenpak

void tenpak_cuda_begin_graph(ggml_backend_cuda_context & ctx) {
    tenpak::last_of(ctx).tensor = nullptr;
}

void tenpak_cuda_free(const ggml_backend_cuda_context & ctx) {
    std::lock_guard<std::mutex> lock(tenpak::last_lock);
    const auto last = tenpak::last_of_context.find(&ctx);
    if (last != tenpak::last_of_context.end()) {
        if (last->second.buffer) { CUDA_CHECK(cudaFree(last->second.buffer)); }
        tenpak::last_of_context.erase(last);
    }
}

bool tenpak_cuda_is_ours(ggml_type type) {
    return tenpak::with_type(type, [](auto) {});
}

bool tenpak_cuda_supports(const ggml_tensor * op) {
    if (!tenpak_cuda_is_ours(op->src[0]->type) || op->type != GGML_TYPE_F32) {
        return false;
    }
    return op->op == GGML_OP_GET_ROWS || op->src[1]->type == GGML_TYPE_F32;
}

bool tenpak_cuda_mul_mat(ggml_backend_cuda_context & ctx, const ggml_tensor * src0, const ggml_tensor * src1, ggml_tensor * dst) {
    bool done = false;
    tenpak::with_type(src0->type, [&](auto t) {
        using T = decltype(t);
        GGML_ASSERT(src1->type == GGML_TYPE_F32 && dst->type == GGML_TYPE_F32);
        if (src1->ne[1] <= tenpak::FEW && tenpak::fits_a_grid(src1, dst)) {
            tenpak::multiply_few<T>(ctx, src0, src1, dst);
            done = true;
        } else if constexpr (tenpak::is_trellis<T>) {
            tenpak::multiply_many<T>(ctx, src0, src1, dst);
            done = true;
        }
    });
    return done;
}

bool tenpak_cuda_does_mul_mat_id(const ggml_tensor * dst) {
    return tenpak_cuda_is_ours(dst->src[0]->type) && dst->ne[2] <= tenpak::FEW;
}

bool tenpak_cuda_mul_mat_id(ggml_backend_cuda_context & ctx, ggml_tensor * dst) {
    return tenpak_cuda_does_mul_mat_id(dst) && tenpak_cuda_mul_mat_vec(ctx, dst->src[0], dst->src[1], dst->src[2], dst, nullptr);
}

bool tenpak_cuda_fuses(const ggml_tensor * dst) {
    const bool few = dst->op == GGML_OP_MUL_MAT ? dst->ne[1] == 1 : dst->ne[2] <= tenpak::FEW;
    return few && dst->src[1]->type == GGML_TYPE_F32 && dst->type == GGML_TYPE_F32 && tenpak::fits_a_grid(dst->src[1], dst);
}

bool tenpak_cuda_mul_mat_vec(ggml_backend_cuda_context & ctx, const ggml_tensor * src0, const ggml_tensor * src1, const ggml_tensor * ids,
                             ggml_tensor * dst, const ggml_cuda_mm_fusion_args_host * fusion) {
    return tenpak::with_type(src0->type, [&](auto t) {
        using T = decltype(t);
        tenpak::Quantized a;
        tenpak::quantize<T>(ctx, src1, a);
        tenpak::Matrices m = tenpak::matrices_of<T>(src0, dst);
        int n2 = dst->ne[2], n3 = dst->ne[3];
        if (ids) {
            m.ids    = (const int32_t *) ids->data;
            m.ids_s0 = ids->nb[0] / sizeof(int32_t);
            m.ids_s1 = ids->nb[1] / sizeof(int32_t);
            m.n2     = src1->ne[1];
            m.s3     = m.s2; // the results of a token are a matrix of theirs, those of an expert a column of it
            m.s2     = m.s1;
            n2       = dst->ne[1];
            n3       = dst->ne[2];
        } else {
            m.r2 = dst->ne[2] / src0->ne[2];
            m.r3 = dst->ne[3] / src0->ne[3];
        }
        if (!fusion) {
            tenpak::launch<T, 1>(m, n2, n3, tenpak::Plain(), a, ctx.stream());
            return;
        }
        GGML_ASSERT(!fusion->x_scale && !fusion->gate_scale);
        const auto data = [](const ggml_tensor * tensor) { return tensor ? (const float *) tensor->data : nullptr; };
        const float * bias = data(fusion->x_bias), * gate_bias = data(fusion->gate_bias);
        if (fusion->gate) {
            m.gate = (const uint8_t *) fusion->gate->data;
            tenpak::launch<T, 1>(m, n2, n3, tenpak::Fused<true>{ bias, gate_bias, fusion->glu_op, fusion->glu_limit }, a, ctx.stream());
        } else {
            tenpak::launch<T, 1>(m, n2, n3, tenpak::Fused<false>{ bias, nullptr, fusion->glu_op, 0.0f }, a, ctx.stream());
        }
    });
}

template <class F>
bool tenpak_cuda_get_rows(
        const void * src0, ggml_type type, const int32_t * ids, F * dst, int64_t ne00, size_t nb01, size_t nb02, size_t nb03,
        int64_t ne10, int64_t ne11, int64_t ne12, size_t nb10, size_t nb11, size_t nb12, size_t nb1, size_t nb2, size_t nb3,
        cudaStream_t stream) {
    return tenpak::with_type(type, [&](auto t) {
        using T = decltype(t);
        const int64_t n = ne11 * ne12;
        GGML_ASSERT(n <= tenpak::MAX_GRID);
        const tenpak::Rows rows = { (const uint8_t *) src0, (int64_t) nb01, (int64_t) nb02, (int64_t) nb03, (int) (ne00 / T::LEN), ids,
                                    (int64_t) (nb10 / sizeof(int32_t)), (int64_t) (nb11 / sizeof(int32_t)), (int64_t) (nb12 / sizeof(int32_t)),
                                    (int) ne11, (int64_t) (nb1 / sizeof(F)), (int64_t) (nb2 / sizeof(F)), (int64_t) (nb3 / sizeof(F)) };
        tenpak::launch_rows<T, F>(rows, ne10, n, dst, stream);
    });
}

template <class F> to_t_cuda_t<F> tenpak_get_to_float_cuda(ggml_type type) {
    to_t_cuda_t<F> result = nullptr;
    tenpak::with_type(type, [&](auto t) { result = tenpak::contiguous_to_float<decltype(t), F>; });
    return result;
}

#else // the kernels are written for NVIDIA's instructions; with HIP and MUSA, tenpak-devices.cpp leaves our types to the CPU

void tenpak_cuda_begin_graph(ggml_backend_cuda_context &) {}
void tenpak_cuda_free(const ggml_backend_cuda_context &) {}
bool tenpak_cuda_supports(const ggml_tensor *) { return false; }
bool tenpak_cuda_is_ours(ggml_type) { return false; }
bool tenpak_cuda_mul_mat(ggml_backend_cuda_context &, const ggml_tensor *, const ggml_tensor *, ggml_tensor *) { return false; }
bool tenpak_cuda_does_mul_mat_id(const ggml_tensor *) { return false; }
bool tenpak_cuda_mul_mat_id(ggml_backend_cuda_context &, ggml_tensor *) { return false; }
bool tenpak_cuda_fuses(const ggml_tensor *) { return false; }

bool tenpak_cuda_mul_mat_vec(ggml_backend_cuda_context &, const ggml_tensor *, const ggml_tensor *, const ggml_tensor *, ggml_tensor *,
                             const ggml_cuda_mm_fusion_args_host *) {
    return false;
}

template <class F>
bool tenpak_cuda_get_rows(const void *, ggml_type, const int32_t *, F *, int64_t, size_t, size_t, size_t, int64_t, int64_t, int64_t, size_t,
                          size_t, size_t, size_t, size_t, size_t, cudaStream_t) {
    return false;
}

template <class F> to_t_cuda_t<F> tenpak_get_to_float_cuda(ggml_type) {
    return nullptr;
}

#endif

// ggml reads rows of integers with the same function; weights are none.
template <>
bool tenpak_cuda_get_rows<int32_t>(const void *, ggml_type, const int32_t *, int32_t *, int64_t, size_t, size_t, size_t, int64_t, int64_t,
                                   int64_t, size_t, size_t, size_t, size_t, size_t, size_t, cudaStream_t) {
    return false;
}

#define TENPAK_INSTANTIATE(F)                                                                                                        \
    template bool tenpak_cuda_get_rows<F>(const void *, ggml_type, const int32_t *, F *, int64_t, size_t, size_t, size_t, int64_t,   \
                                          int64_t, int64_t, size_t, size_t, size_t, size_t, size_t, size_t, cudaStream_t);           \
    template to_t_cuda_t<F> tenpak_get_to_float_cuda<F>(ggml_type);
TENPAK_INSTANTIATE(float)
TENPAK_INSTANTIATE(half)
TENPAK_INSTANTIATE(nv_bfloat16)
