// The kernels of tenpak-kernels.cuh on the host, with names that tests/cuda_decode.rs finds: NAME_FUNCTION for every type.
#include "host.h"
#include "tenpak-kernels.cuh"

#include <sys/mman.h>
#include <unistd.h>

using namespace tenpak;

// A buffer of a device that ends where memory ends, but for the rest of 16 bytes: a kernel that reads further ends the test.
class Buffer {
    uint8_t * pages;
    size_t    size;

  public:
    uint8_t * at;

    explicit Buffer(size_t bytes) {
        const size_t page = sysconf(_SC_PAGESIZE), whole = (bytes + 15) / 16 * 16, used = (whole + page - 1) / page * page;
        size  = used + page;
        pages = (uint8_t *) mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        if (pages == MAP_FAILED || mprotect(pages + used, page, PROT_NONE) != 0) { abort(); }
        at = pages + used - whole;
    }

    Buffer(const uint8_t * from, size_t bytes) : Buffer(bytes) { memcpy(at, from, bytes); }

    Buffer(const Buffer &) = delete;

    ~Buffer() { munmap(pages, size); }
};

// What decoding alone gives, as every kernel does it: the values of blocks, and their products with quants, both too large by the zero
// point. Values and quants are in the order of quant_place.
template <class T>
static void decode_blocks(const uint8_t * blocks, int n, const int8_t * quants, uint8_t * values, uint32_t * integers) {
    const int k = threadIdx.x % T::THREADS, block = blockIdx.x * (blockDim.x / T::THREADS) + threadIdx.x / T::THREADS;
    const int b = min(block, n - 1);
    const Share<T>  share = load_share<T>(blocks + (int64_t) b * T::BYTES, k);
    const Tables<T> tables = load_tables<T>();
    Bytes h[T::STEPS];
    hashes<T>(tables, share, place_of(share, k), h);
    if (block >= n) { return; }
    for (int t = 0; t < T::STEPS; t++) {
        const int     at = b * T::LEN + (t / 2 * T::THREADS + k) * 16 + t % 2 * 8;
        const Bytes   v  = values_of<T>(tables, h[t]);
        const uint2   q  = *(const uint2 *) (quants + at);
        *(uint2 *) (values + at) = make_uint2(v.a, v.b);
        integers[b] = dot_step<T>(tables, h[t], q.x, q.y, integers[b]);
    }
}

// From the order of elements to that of quant_place, or back.
template <class A, class V> static std::vector<V> placed(const V * from, size_t n) {
    std::vector<V> to(n);
    for (size_t i = 0; i < n; i++) { to[i / A::LEN * A::LEN + A::place(i % A::LEN)] = from[i]; }
    return to;
}

template <class A, class V, class W> static void unplaced(const V * from, size_t n, W * to, W (*convert)(V)) {
    for (size_t i = 0; i < n; i++) { to[i] = convert(from[i / A::LEN * A::LEN + A::place(i % A::LEN)]); }
}

template <class V> static V same(V x) { return x; }

constexpr int THREADS = host::MAX_THREADS;

static int ceil_div(int n, int by) { return (n + by - 1) / by; }

template <class T> static void decode(const uint8_t * blocks, int n, const int8_t * quants, uint8_t * values, int32_t * integers) {
    std::vector<uint8_t>  v(n * T::LEN);
    std::vector<uint32_t> sums(n);
    const auto            q = placed<Activations<T>>(quants, n * T::LEN);
    const Buffer          weights(blocks, (size_t) n * T::BYTES);
    host::launch(ceil_div(n, THREADS / T::THREADS), THREADS, [&] { decode_blocks<T>(weights.at, n, q.data(), v.data(), sums.data()); });
    unplaced<Activations<T>, uint8_t, uint8_t>(v.data(), v.size(), values, same);
    for (int b = 0; b < n; b++) {
        for (int i = 0; i < T::LEN; i++) { sums[b] -= TENPAK_ZERO_POINT * quants[b * T::LEN + i]; }
        integers[b] = (int32_t) sums[b];
    }
}

template <class T>
static void quantize(const float * x, int blocks, int columns, int8_t * quants, Scaled * scaled) {
    using A = Activations<T>;
    std::vector<int8_t> q((size_t) columns * blocks * A::LEN);
    const Columns from = { x, (int64_t) blocks * A::LEN, 0, 0, columns, 1 };
    host::launch(dim3(ceil_div(blocks, THREADS / A::THREADS), columns), THREADS,
                 [&] { quantize_columns<T>(from, blocks, q.data(), scaled); });
    unplaced<A, int8_t, int8_t>(q.data(), q.size(), quants, same);
}

template <class T> static void rotated(const uint8_t * weights, int blocks, int rows, float * out) {
    std::vector<half> to((size_t) rows * blocks * T::LEN);
    const Buffer      copy(weights, (size_t) rows * blocks * T::BYTES);
    host::launch(dim3(ceil_div(blocks, THREADS / T::THREADS), rows), THREADS,
                 [&] { rotated_weights<T>(copy.at, (int64_t) blocks * T::BYTES, blocks, to.data()); });
    unplaced<Activations<T>, half, float>(to.data(), to.size(), out, __half2float);
}

template <class T> static void rotate(const float * x, int blocks, int columns, uint16_t * out) {
    std::vector<half> to((size_t) columns * blocks * T::LEN);
    const Columns from = { x, (int64_t) blocks * T::LEN, 0, 0, columns, 1 };
    host::launch(dim3(ceil_div(blocks, THREADS / T::LANES), columns), THREADS, [&] { rotate_columns<T>(from, blocks, to.data()); });
    unplaced<Activations<T>, half, uint16_t>(to.data(), to.size(), out, [](half h) { return h.bits; });
}

// Rows `ids` of ROWS rows, by a grid of few CTAs.
constexpr int ROWS = 5;

template <class T, class F> static void rows(const uint8_t * weights, int blocks, const int32_t * ids, int n, F * out) {
    const Buffer copy(weights, (size_t) ROWS * blocks * T::BYTES);
    const Rows rows = { copy.at, (int64_t) blocks * T::BYTES, 0, 0, blocks, ids, 1, 0, 0, 1, (int64_t) blocks * T::LEN, 0, 0 };
    host::launch(dim3(n, 2), FLOAT_WARPS * tenpak::WARP, [&] { rows_as_floats<T, F>(rows, out); });
}

// What becomes of a gated product here.
struct Difference {
    static constexpr bool GATED = true;

    const float * bias;

    float operator()(float product, float gate, int64_t i) const { return product - gate + bias[i]; }
};

constexpr int EXPERTS = 4;

// Products of `rows` rows with columns, by warps that share a row; with ids, of those of EXPERTS matrices with one column. With a gate,
// which has the shape of the weights, a result is the difference plus a bias.
template <class T, int COLUMNS, int WARPS>
static void multiply(const uint8_t * weights, int blocks, int rows, const int32_t * ids, int n, const uint8_t * gate, const float * bias,
                     const int8_t * quants, const Scaled * scaled, float * out) {
    using A = Activations<T>;
    // as tenpak.cu lays activations out
    const size_t k = (size_t) COLUMNS * blocks * T::LEN, n_scaled = k / A::LEN;
    const Buffer activations(k + n_scaled * sizeof(Scaled) + QUANTS_SLACK);
    const auto   q = placed<A>(quants, k);
    memcpy(activations.at, q.data(), k);
    memcpy(activations.at + k, scaled, n_scaled * sizeof(Scaled));
    const size_t bytes = (size_t) rows * blocks * T::BYTES * (ids ? EXPERTS : 1);
    const Buffer up(weights, bytes), gates(gate ? gate : weights, bytes);
    Matrices m = {};
    m.weights   = up.at;
    m.gate      = gates.at;
    m.row_bytes = (int64_t) blocks * T::BYTES;
    m.bytes2    = rows * m.row_bytes;
    m.rows      = rows;
    m.blocks    = blocks;
    m.warps     = WARPS > 0 ? WARPS : COLUMNS == 3 ? 1 : 4;
    m.r2 = m.r3 = 1;
    m.ids       = ids;
    m.ids_s0    = 1;
    m.n2        = 1;
    m.out       = out;
    m.s1 = m.s2 = rows;
    const dim3 grid(ceil_div(rows, WARPS_OF_CTA / m.warps), n);
    const auto launch = [&](auto finish) {
        host::launch(grid, THREADS, [&] {
            multiply_columns<T, COLUMNS, WARPS>(m, finish, (const int8_t *) activations.at, (const Scaled *) (activations.at + k));
        });
    };
    if constexpr (COLUMNS == 1 && WARPS == 2) { // ggml gates single columns
        if (gate) {
            launch(Difference{ bias });
            return;
        }
    }
    launch(Plain{});
}

#define OF_TRELLIS(name, T)                                                                                                            \
    extern "C" void name##_decode(const uint8_t * blocks, int n, const int8_t * quants, uint8_t * values, int32_t * integers) {        \
        decode<T>(blocks, n, quants, values, integers);                                                                                \
    }                                                                                                                                  \
    extern "C" void name##_rotated(const uint8_t * weights, int blocks, int n, float * out) { rotated<T>(weights, blocks, n, out); }   \
    extern "C" void name##_rotate(const float * x, int blocks, int columns, uint16_t * out) { rotate<T>(x, blocks, columns, out); }
OF_TRELLIS(t2, T2)
OF_TRELLIS(t3, T3)
OF_TRELLIS(t4, T4)
OF_TRELLIS(t2_64, T2_64)
OF_TRELLIS(t3_64, T3_64)
OF_TRELLIS(t4_64, T4_64)
OF_TRELLIS(t25, T25)
OF_TRELLIS(t35, T35)
OF_TRELLIS(t25_64, T25_64)
OF_TRELLIS(t35_64, T35_64)
OF_TRELLIS(t5, T5)
OF_TRELLIS(t5_64, T5_64)

#define MULTIPLY                                                                                                                       \
    const uint8_t * weights, int blocks, int rows, const int32_t * ids, int n, const uint8_t * gate, const float * bias,               \
        const int8_t * quants, const Scaled * scaled, float * out
#define MULTIPLIED weights, blocks, rows, ids, n, gate, bias, quants, scaled, out
#define OF_WEIGHTS(name, T)                                                                                                            \
    extern "C" void name##_quantize(const float * x, int blocks, int columns, int8_t * quants, Scaled * scaled) {                      \
        quantize<T>(x, blocks, columns, quants, scaled);                                                                               \
    }                                                                                                                                  \
    extern "C" void name##_multiply_1_column_1_warp(MULTIPLY) { multiply<T, 1, 1>(MULTIPLIED); }                                       \
    extern "C" void name##_multiply_1_column_2_warps(MULTIPLY) { multiply<T, 1, 2>(MULTIPLIED); }                                      \
    extern "C" void name##_multiply_1_column_4_warps(MULTIPLY) { multiply<T, 1, 4>(MULTIPLIED); }                                      \
    extern "C" void name##_multiply_3_columns_1_warp(MULTIPLY) { multiply<T, 3, is_trellis<T>>(MULTIPLIED); }                                      \
    extern "C" void name##_multiply_8_columns_4_warps(MULTIPLY) { multiply<T, 8, 4 * is_trellis<T>>(MULTIPLIED); }                                      \
    extern "C" void name##_rows_f32(const uint8_t * weights, int blocks, const int32_t * ids, int n, float * out) {                    \
        rows<T>(weights, blocks, ids, n, out);                                                                                         \
    }                                                                                                                                  \
    extern "C" void name##_rows_f16(const uint8_t * weights, int blocks, const int32_t * ids, int n, uint16_t * out) {                 \
        rows<T>(weights, blocks, ids, n, (half *) out);                                                                                \
    }                                                                                                                                  \
    extern "C" void name##_rows_bf16(const uint8_t * weights, int blocks, const int32_t * ids, int n, uint16_t * out) {                \
        rows<T>(weights, blocks, ids, n, (nv_bfloat16 *) out);                                                                         \
    }
OF_WEIGHTS(t2, T2)
OF_WEIGHTS(t3, T3)
OF_WEIGHTS(t4, T4)
OF_WEIGHTS(t2_64, T2_64)
OF_WEIGHTS(t3_64, T3_64)
OF_WEIGHTS(t4_64, T4_64)
OF_WEIGHTS(t25, T25)
OF_WEIGHTS(t35, T35)
OF_WEIGHTS(t25_64, T25_64)
OF_WEIGHTS(t35_64, T35_64)
OF_WEIGHTS(t5, T5)
OF_WEIGHTS(t5_64, T5_64)
OF_WEIGHTS(g4_128, G4_128)
OF_WEIGHTS(nf4_64, NF4_64)
OF_WEIGHTS(o4, O4)
OF_WEIGHTS(o4x2, O4X2)
OF_WEIGHTS(o3, O3)
OF_WEIGHTS(o3x2, O3X2)
OF_WEIGHTS(s34, S34)
OF_WEIGHTS(s24, S24)
