// Products of matrices of the weight types with up to eight columns. Block integers are exact; sums of f32 over blocks are in another
// order than the CPU's.
#pragma once

#include "tenpak-activations.cuh"

namespace tenpak {

// ---- Blocks of weights ----

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

// ---- Matrix times few columns ----

// The matrices and results of a product. Matrix (i2, i3) of the results is that of the weights (i2 / r2, i3 / r3). With ids, i2 is
// a place of an expert in a column's list and i3 the column (ggml's mul_mat_id): the expert is ids[i2 ids_s0 + i3 ids_s1].
struct Matrices {
    const uint8_t * weights;
    const uint8_t * gate; // of gated products; shaped like the weights
    int64_t         row_bytes, bytes2, bytes3;
    int             rows, blocks; // of a matrix, of a row
    int             warps;        // that share a row, if the kernel is compiled for any number
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

// Types of which eight columns need more registers than three CTAs leave.
template <class T> constexpr bool two_ctas_of_many_columns = std::is_same<T, T25>::value;

// CTAs that a multiprocessor is to hold. With one column 64 registers are left for a thread, which is just enough; T2 and the totals of
// a gate need 72 each, both 80, and more columns more.
template <class T> constexpr int ctas_of_sm(int columns, bool gated) {
    return columns > 4 ? 3 - two_ctas_of_many_columns<T> : columns > 1 ? 5 : 8 - gated - std::is_same<T, T2>::value;
}

// Bytes after the Scaled of activations that threads without a block may read.
constexpr int QUANTS_SLACK = 2 * WARPS_OF_CTA * WARP * 64;

// Sums over the threads of a row: all of its warps have them afterwards.
template <int COLUMNS> TENPAK_DEVICE void add_up(float * totals, int warps) {
#pragma unroll
    for (int c = 0; c < COLUMNS; c++) {
#pragma unroll
        for (int half = WARP / 2; half > 0; half /= 2) { totals[c] += __shfl_xor_sync(0xffffffff, totals[c], half); }
    }
    if (warps > 1) {
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
            for (int w = 0; w < warps; w++) { totals[c] += sums[threadIdx.x / (warps * WARP) * warps + w][c]; }
        }
    }
}

// WARPS of a CTA's warps share a row, or with 0 as many as the matrices say. Grid (groups of WARPS_OF_CTA / warps rows, i2, i3).
template <class T, int COLUMNS, int WARPS, class Finish>
static __global__ void __launch_bounds__(WARPS_OF_CTA * WARP, ctas_of_sm<T>(COLUMNS, Finish::GATED))
multiply_columns(const Matrices m, const Finish finish, const int8_t * quants, const Scaled * scaled) {
    constexpr int PER_BLOCK = T::LEN / Activations<T>::LEN; // blocks of activations
    constexpr int MATRICES  = Finish::GATED ? 2 : 1;
    const int     warps  = WARPS > 0 ? WARPS : m.warps;
    const int     stride = warps * WARP / T::THREADS; // blocks at a time
    const int     group = threadIdx.x / (warps * WARP), thread = threadIdx.x % (warps * WARP);
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
    const int               row     = blockIdx.x * (WARPS_OF_CTA / warps) + group;
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
        for (int first = 0; first < m.blocks; first += stride) {
            const bool here = first + mine < m.blocks;
            if ((first > 0 || which < MATRICES - 1) && here) { loaded = decoder.load(at, k); }
            float parts[COLUMNS] = {};
            decoder.template add<COLUMNS>(loaded, k, q, s, blocks * Activations<T>::LEN, blocks, parts);
#pragma unroll
            for (int c = 0; c < COLUMNS; c++) { totals[c] += here ? parts[c] : 0.0f; }
            at += stride * T::BYTES;
            q += stride * T::LEN;
            s += stride * PER_BLOCK;
        }
        if (which == 1) {
#pragma unroll
            for (int c = 0; c < COLUMNS; c++) {
                gates[c]  = totals[c];
                totals[c] = 0.0f;
            }
        }
    }
    add_up<COLUMNS>(totals, warps);
    if (Finish::GATED) { add_up<COLUMNS>(gates, warps); }
    if (thread == 0 && row < m.rows) {
        float * out = m.out + i2 * m.s2 + i3 * m.s3 + row;
#pragma unroll
        for (int c = 0; c < COLUMNS; c++) { out[c * m.s1] = finish(totals[c], gates[c], bias + row); }
    }
}

} // namespace tenpak
