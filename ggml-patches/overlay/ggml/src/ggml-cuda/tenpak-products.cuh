// Products of matrices of the weight types with up to eight columns. Block integers are exact; sums of f32 over blocks are in another
// order than the CPU's.
#pragma once

#include "tenpak-activations.cuh"

namespace tenpak {

// ---- Blocks of weights ----

struct Histories {
    uint64_t handed[256];
};

template <class T> TENPAK_CONSTANT Histories histories() {
    Histories result = {};
    for (uint32_t history = 0; history < 256; history++) {
        result.handed[history] = handed_by_history<T>(history);
    }
    return result;
}

static __device__ constexpr Histories histories_2 = histories<T2>();
static __device__ constexpr Histories histories_25 = histories<T25>();
static __device__ constexpr Histories histories_35 = histories<T35>();
static __device__ constexpr Histories histories_3 = histories<T3>();
static __device__ constexpr Histories histories_4 = histories<T4>();
static __device__ constexpr Histories histories_5 = histories<T5>();

template <class T> TENPAK_DEVICE Place place_of(const Share<T> & share, Word k) {
    const Histories & table   = T::BITS2 == 4 ? histories_2 : T::BITS2 == 5 ? histories_25 : T::BITS2 == 6 ? histories_3
                              : T::BITS2 == 7 ? histories_35 : T::BITS2 == 8 ? histories_4 : histories_5;
    const uint32_t    history = share.scale_history >> 8;
    if (T::BITS2 <= 5) { // six or seven bytes
        const uint2 handed = __ldg((const uint2 *) &table.handed[history]);
        return { k, { handed.x, handed.y } };
    }
    return { k, { __ldg((const uint32_t *) &table.handed[history]), 0 } };
}

static __device__ constexpr Unknown unknown_2 = unknown_of<T2>();
static __device__ constexpr Unknown unknown_25 = unknown_of<T25>();
static __device__ constexpr Unknown unknown_35 = unknown_of<T35>();
static __device__ constexpr Unknown unknown_3 = unknown_of<T3>();
static __device__ constexpr Unknown unknown_4 = unknown_of<T4>();
static __device__ constexpr Unknown unknown_5 = unknown_of<T5>();

// CTAs have one row of threads, but the compiler does not know that, and so keeps the words in registers that differ by thread: only
// these go into prmt without a move.
template <class T> TENPAK_DEVICE Tables<T> load_tables() {
    const Unknown * from    = T::BITS2 == 4 ? &unknown_2 : T::BITS2 == 5 ? &unknown_25 : T::BITS2 == 6 ? &unknown_3
                            : T::BITS2 == 7 ? &unknown_35 : T::BITS2 == 8 ? &unknown_4 : &unknown_5;
    const size_t    address = __cvta_generic_to_global(from + threadIdx.y);
    Unknown         words;
    asm volatile("ld.global.v4.u32 { %0, %1, %2, %3 }, [%4];"
        : "=r"(words.low[0]), "=r"(words.low[1]), "=r"(words.low[2]), "=r"(words.low[3]) : "l"(address));
    asm volatile("ld.global.v4.u32 { %0, %1, %2, %3 }, [%4];"
        : "=r"(words.low[4]), "=r"(words.low[5]), "=r"(words.shift4), "=r"(words.second) : "l"(address + 16));
    asm volatile("ld.global.v4.u32 { %0, %1, %2, %3 }, [%4];"
        : "=r"(words.shift3), "=r"(words.shift2), "=r"(words.few), "=r"(words.odd_b) : "l"(address + 32));
    return Tables<T>(words);
}

TENPAK_DEVICE float scale_of(uint32_t code) {
    return code == 0 ? 0.0f : __uint_as_float((code << TENPAK_SCALE_SHIFT) + TENPAK_SCALE_BITS);
}

// A thread's part in products with blocks of a type. `load` reads thread k's share of a block, and `add` adds to totals[c] its product
// with column c: `quants` and `scaled` are those of column 0 for this block, and the next column's are column_quants and
// column_blocks further.
template <class T> struct Decoder {
    using Loaded = Share<T>;

    Tables<T> tables;

    TENPAK_MEMBER Decoder() : tables(load_tables<T>()) {}

    TENPAK_MEMBER Loaded load(const uint8_t * block, int k) const { return load_share<T>(block, k); }

    template <int COLUMNS>
    TENPAK_MEMBER void add(const Loaded & share, int k, const int8_t * quants, const Scaled * scaled, int64_t column_quants,
                           int64_t column_blocks, float * totals) const {
        Bytes h[T::STEPS];
        hashes<T>(tables, share, place_of(share, k), h);
        Word sums[COLUMNS];
#pragma unroll
        for (int c = 0; c < COLUMNS; c++) {
            // the zero point goes off once a block
            sums[c] = k == 0 ? (Word) (-TENPAK_ZERO_POINT * scaled[c * column_blocks].sum) : 0u;
        }
#pragma unroll
        for (int t = 0; t < T::STEPS; t += 2) {
            Bytes v0, v1;
            if (COLUMNS > 1) {
                v0 = values_of<T>(tables, h[t]);
                v1 = values_of<T>(tables, h[t + 1]);
            }
#pragma unroll
            for (int c = 0; c < COLUMNS; c++) {
                const uint4 q = *(const uint4 *) (quants + c * column_quants + (t / 2 * T::THREADS + k) * 16);
                if (COLUMNS > 1) {
                    sums[c] = dot4(v0.b, q.y, dot4(v0.a, q.x, sums[c]));
                    sums[c] = dot4(v1.b, q.w, dot4(v1.a, q.z, sums[c]));
                } else {
                    sums[c] = dot_step<T>(tables, h[t], q.x, q.y, sums[c]);
                    sums[c] = dot_step<T>(tables, h[t + 1], q.z, q.w, sums[c]);
                }
            }
        }
        const float scale = scale_of(share.scale_history & 255);
#pragma unroll
        for (int c = 0; c < COLUMNS; c++) {
            totals[c] += scale * scaled[c * column_blocks].scale * (float) (int) sums[c];
        }
    }
};

// A binary16 without infinities and NaN.
TENPAK_DEVICE float g4_scale(uint32_t bits) {
    const uint32_t exponent = bits >> 10 & 31, mantissa = bits & 1023;
    const float    value    = exponent == 0 ? (float) mantissa * 5.9604644775390625e-8f // 2^-24
                                            : __uint_as_float((exponent + 112) << 23 | mantissa << 13);
    return bits >> 15 & 1 ? -value : value;
}

TENPAK_DEVICE Word load32(const uint8_t * at, int offset) {
    return __ldg((const uint32_t *) (at + offset));
}

// Four bytes anywhere, from the two aligned words that hold them.
TENPAK_DEVICE Word load32_anywhere(const uint8_t * at) {
    const uintptr_t  address = (uintptr_t) at;
    const uint32_t * low     = (const uint32_t *) (address & ~(uintptr_t) 3);
    const uint32_t * high    = (const uint32_t *) ((address + 3) & ~(uintptr_t) 3);
    return __funnelshift_r(__ldg(low), __ldg(high), (uint32_t) (address & 3) * 8);
}

template <> struct Decoder<G4_128> {
    struct Loaded {
        Word     codes[4];
        uint32_t scale, zero;
    };

    TENPAK_MEMBER Loaded load(const uint8_t * block, int k) const {
        Loaded loaded;
        loaded.scale = __ldg(block + TENPAK_G4_D) | __ldg(block + TENPAK_G4_D + 1) << 8;
        loaded.zero  = __ldg(block + TENPAK_G4_ZERO);
#pragma unroll
        for (int w = 0; w < 4; w++) { loaded.codes[w] = load32_anywhere(block + G4_128::QS + 16 * k + 4 * w); }
        return loaded;
    }

    template <int COLUMNS>
    TENPAK_MEMBER void add(const Loaded & loaded, int k, const int8_t * quants, const Scaled * scaled, int64_t column_quants,
                           int64_t column_blocks, float * totals) const {
        const float scale = g4_scale(loaded.scale);
#pragma unroll
        for (int c = 0; c < COLUMNS; c++) {
            const uint4 * q    = (const uint4 *) (quants + c * column_quants + 16 * k);
            const uint4   low  = q[0], high = q[TENPAK_Q8_LEN / 16];
            const Scaled  s0   = scaled[c * column_blocks], s1 = scaled[c * column_blocks + 1];
            Word          sum0 = k == 0 ? (Word) (-(int) loaded.zero * s0.sum) : 0u;
            Word          sum1 = k == 0 ? (Word) (-(int) loaded.zero * s1.sum) : 0u;
            const Word    q0[4] = { low.x, low.y, low.z, low.w }, q1[4] = { high.x, high.y, high.z, high.w };
#pragma unroll
            for (int w = 0; w < 4; w++) {
                sum0 = dot4(loaded.codes[w] & 0x0f0f0f0fu, q0[w], sum0);
                sum1 = dot4(loaded.codes[w] >> 4 & 0x0f0f0f0fu, q1[w], sum1);
            }
            totals[c] += scale * s0.scale * (float) (int) sum0 + scale * s1.scale * (float) (int) sum1;
        }
    }
};

// The integers of NF4 as two numbers of 7 bits, 128 high + low.
TENPAK_CONSTANT Table8 nf4_table(const tenpak_codes4 & type, int first, int shift) {
    uint8_t bytes[8] = {};
    for (int n = 0; n < 8; n++) { bytes[n] = type.integers[first + n] >> shift & 127; }
    return table8(bytes);
}

TENPAK_DEVICE float nf4_scale(uint32_t bits) {
    return (bits & 0x7f800000u) == 0x7f800000u ? 0.0f : __uint_as_float(bits);
}

template <> struct Decoder<NF4_64> {
    struct Loaded {
        Word     codes[4];
        uint32_t scale;
    };

    TENPAK_MEMBER Loaded load(const uint8_t * block, int k) const {
        Loaded loaded;
        loaded.scale = load32(block, TENPAK_NF4_D);
#pragma unroll
        for (int w = 0; w < 4; w++) { loaded.codes[w] = load32(block, NF4_64::QS + 16 * k + 4 * w); }
        return loaded;
    }

    template <int COLUMNS>
    TENPAK_MEMBER void add(const Loaded & loaded, int k, const int8_t * quants, const Scaled * scaled, int64_t column_quants,
                           int64_t column_blocks, float * totals) const {
        constexpr Table8 A = nf4_table(tenpak_nf4_64, 0, 0), B = nf4_table(tenpak_nf4_64, 8, 0);
        constexpr Table8 C = nf4_table(tenpak_nf4_64, 0, 7), D = nf4_table(tenpak_nf4_64, 8, 7);
        const float      unit = nf4_scale(loaded.scale) * (1.0f / TENPAK_NF4_UNIT);
        Word low[8], high[8];
#pragma unroll
        for (int w = 0; w < 4; w++) {
            const Word codes = loaded.codes[w], flipped = codes ^ 0x88888888u;
            low[2 * w]      = lookup(A, codes) + lookup(B, flipped);
            low[2 * w + 1]  = lookup(A, codes >> 16) + lookup(B, flipped >> 16);
            high[2 * w]     = lookup(C, codes) + lookup(D, flipped);
            high[2 * w + 1] = lookup(C, codes >> 16) + lookup(D, flipped >> 16);
        }
#pragma unroll
        for (int c = 0; c < COLUMNS; c++) {
            const uint4 * q     = (const uint4 *) (quants + c * column_quants + 32 * k);
            const uint4   first = q[0], second = q[1];
            const Word    of[8] = { first.x, first.y, first.z, first.w, second.x, second.y, second.z, second.w };
            const Scaled  s     = scaled[c * column_blocks];
            Word          sum = k == 0 ? (Word) (-TENPAK_NF4_ZERO * s.sum) : 0u, above = 0;
#pragma unroll
            for (int w = 0; w < 8; w++) {
                sum   = dot4(low[w], of[w], sum);
                above = dot4(high[w], of[w], above);
            }
            totals[c] += unit * s.scale * (float) (int) (sum + above * 128u);
        }
    }
};

// ---- Matrix times few columns ----

// The matrices and results of a product. Matrix (i2, i3) of the results is that of the weights (i2 / r2, i3 / r3). With ids, i2 is
// a place of an expert in a column's list and i3 the column (ggml's mul_mat_id): the expert is ids[i2 ids_s0 + i3 ids_s1].
struct Matrices {
    const uint8_t * weights;
    const uint8_t * gate; // of gated products; shaped like the weights
    int64_t         row_bytes, bytes2, bytes3;
    int             rows, blocks; // of a matrix, of a row
    int             r2, r3;
    const int32_t * ids;
    int64_t         ids_s0, ids_s1;
    int             n2;      // columns of activations of a token, with ids
    float *         out;
    int64_t         s1, s2, s3; // of the results, in elements: column, i2, i3
};

// What becomes of the product of a row: here it is the result. A gated one gets that of the gate's row too.
struct Plain {
    static constexpr bool GATED = false;

    TENPAK_MEMBER float operator()(float product, float, int64_t) const { return product; }
};

constexpr int WARPS_OF_CTA = 4;

// CTAs that a multiprocessor is to hold. With one column 64 registers are left for a thread, which is just enough; T2 and the totals of
// a gate need 72 each, both 80, and more columns more: eight of T25 more than three CTAs leave.
template <class T> constexpr int ctas_of_sm(int columns, bool gated) {
    return columns > 4 ? 3 - std::is_same<T, T25>::value : columns > 1 ? 5 : 8 - gated - std::is_same<T, T2>::value;
}

// Bytes after the Scaled of activations that threads without a block may read.
constexpr int QUANTS_SLACK = 2 * WARPS_OF_CTA * WARP * 64;

// Sums over the threads of a row: all WARPS of its warps have them afterwards.
template <int COLUMNS, int WARPS> TENPAK_DEVICE void add_up(float * totals) {
#pragma unroll
    for (int c = 0; c < COLUMNS; c++) {
#pragma unroll
        for (int half = WARP / 2; half > 0; half /= 2) { totals[c] += __shfl_xor_sync(0xffffffff, totals[c], half); }
    }
    if (WARPS > 1) {
        __shared__ float sums[WARPS_OF_CTA][COLUMNS];
        __syncthreads(); // what was here before has been read
        if (threadIdx.x % WARP == 0) {
#pragma unroll
            for (int c = 0; c < COLUMNS; c++) { sums[threadIdx.x / WARP][c] = totals[c]; }
        }
        __syncthreads();
#pragma unroll
        for (int c = 0; c < COLUMNS; c++) {
            totals[c] = 0.0f;
#pragma unroll
            for (int w = 0; w < WARPS; w++) { totals[c] += sums[threadIdx.x / (WARPS * WARP) * WARPS + w][c]; }
        }
    }
}

// WARPS of a CTA's warps share a row. Grid (groups of WARPS_OF_CTA / WARPS rows, i2, i3).
template <class T, int COLUMNS, int WARPS, class Finish>
static __global__ void __launch_bounds__(WARPS_OF_CTA * WARP, ctas_of_sm<T>(COLUMNS, Finish::GATED))
multiply_columns(const Matrices m, const Finish finish, const int8_t * quants, const Scaled * scaled) {
    constexpr int PER_BLOCK = T::LEN / Activations<T>::LEN; // blocks of activations
    constexpr int STRIDE    = WARPS * WARP / T::THREADS;    // blocks at a time
    constexpr int ROWS      = WARPS_OF_CTA / WARPS;         // at a time
    constexpr int MATRICES  = Finish::GATED ? 2 : 1;
    const int     group = threadIdx.x / (WARPS * WARP), thread = threadIdx.x % (WARPS * WARP);
    const int     i2 = blockIdx.y, i3 = blockIdx.z;
    const int     k = thread % T::THREADS, mine = thread / T::THREADS;
    const int64_t blocks = (int64_t) m.blocks * PER_BLOCK; // of a column

    int64_t matrix = 0, column = 0, bias = 0;
    if (m.ids) {
        wait_for_kernel_before(); // which may be the one that chooses experts
        const int64_t expert = m.ids[i2 * m.ids_s0 + i3 * m.ids_s1];
        matrix = expert * m.bytes2;
        column = (int64_t) i3 * m.n2 + (m.n2 == 1 ? 0 : i2 % m.n2);
        bias   = expert * m.rows;
    } else if (i2 + i3 > 0) {
        matrix = (m.r2 == 1 ? i2 : i2 / m.r2) * m.bytes2 + (m.r3 == 1 ? i3 : i3 / m.r3) * m.bytes3;
        column = ((int64_t) i3 * gridDim.y + i2) * COLUMNS;
        bias   = i2 * m.s2 + i3 * m.s3;
    }
    const int               row     = blockIdx.x * ROWS + group;
    const int64_t           first_at = matrix + min(row, m.rows - 1) * m.row_bytes + (int64_t) mine * T::BYTES;
    const Decoder<T>        decoder = {};
    typename Decoder<T>::Loaded loaded = {};
    if (mine < m.blocks) { loaded = decoder.load((Finish::GATED ? m.gate : m.weights) + first_at, k); } // weights are there before the kernel before has ended

    wait_for_kernel_before();
    let_kernel_after_start();
    quants += (column * blocks + mine * PER_BLOCK) * Activations<T>::LEN;
    scaled += column * blocks + mine * PER_BLOCK;

    // The gate's matrix comes first: its sums wait in `gates` while the others are formed.
    float totals[COLUMNS] = {}, gates[COLUMNS] = {};
#pragma unroll 1
    for (int which = MATRICES - 1; which >= 0; which--) {
        const uint8_t * at = (which == 1 ? m.gate : m.weights) + first_at;
        const int8_t *  q  = quants;
        const Scaled *  s  = scaled;
        // threads of a warp stay together, since they exchange words: what those without a block compute is left out
        for (int first = 0; first < m.blocks; first += STRIDE) {
            const bool here = first + mine < m.blocks;
            if ((first > 0 || which < MATRICES - 1) && here) { loaded = decoder.load(at, k); }
            float parts[COLUMNS] = {};
            decoder.template add<COLUMNS>(loaded, k, q, s, blocks * Activations<T>::LEN, blocks, parts);
#pragma unroll
            for (int c = 0; c < COLUMNS; c++) { totals[c] += here ? parts[c] : 0.0f; }
            at += STRIDE * T::BYTES;
            q += STRIDE * T::LEN;
            s += STRIDE * PER_BLOCK;
        }
        if (which == 1) {
#pragma unroll
            for (int c = 0; c < COLUMNS; c++) {
                gates[c]  = totals[c];
                totals[c] = 0.0f;
            }
        }
    }
    add_up<COLUMNS, WARPS>(totals);
    if (Finish::GATED) { add_up<COLUMNS, WARPS>(gates); }
    if (thread == 0 && row < m.rows) {
        float * out = m.out + i2 * m.s2 + i3 * m.s3 + row;
#pragma unroll
        for (int c = 0; c < COLUMNS; c++) { out[c * m.s1] = finish(totals[c], gates[c], bias + row); }
    }
}

} // namespace tenpak
