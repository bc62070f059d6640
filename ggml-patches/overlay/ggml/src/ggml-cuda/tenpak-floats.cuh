// Matrices and rows of the weight types as floats: for products with many columns, embeddings and conversions.
#pragma once

#include "tenpak-products.cuh"

namespace tenpak {

// ---- Matrices as floats ----

// The scale that rotated weights have besides their own: the greatest value is 64 * 60 * 16 = 61440, and all are exact but those of
// the scale codes 1, 3, 5 and 7, of weights below 2^-19, whose scale rounds to a subnormal number.
constexpr float ROTATED_SCALE = 16.0f;

// Two bytes of values as half2, less the zero point and times the scale.
TENPAK_DEVICE Word scaled_values(Word values, uint32_t selector, half2 scale) {
    const Word  bits = prmt(values, 0x64646464u, selector); // 1024 + value
    const half2 zero = __float2half2_rn(1024.0f + TENPAK_ZERO_POINT);
    const half2 x    = __hmul2(__hsub2(reinterpret_cast<const half2 &>(bits), zero), scale);
    return reinterpret_cast<const Word &>(x);
}

// Rotated weights of rows as f16, each row's in the order of quant_place. A block each by THREADS threads; grid (blocks, rows).
template <class T>
static __global__ void rotated_weights(const uint8_t * weights, int64_t row_bytes, int blocks, half * out) {
    const int       k = threadIdx.x % T::THREADS, block = blockIdx.x * (blockDim.x / T::THREADS) + threadIdx.x / T::THREADS;
    const int       b     = min(block, blocks - 1);
    const uint8_t * row   = weights + blockIdx.y * row_bytes;
    const Share<T>  share = load_share<T>(row + (int64_t) b * T::BYTES, k);
    const Tables<T> tables = load_tables<T>();
    Bytes h[T::STEPS];
    hashes<T>(tables, share, place_of(share, k), h);
    if (block >= blocks) { return; }
    const float scale  = scale_of(share.scale_history & 255) * ROTATED_SCALE;
    const half2 s      = __float2half2_rn(scale);
    half *      to     = out + ((int64_t) blockIdx.y * blocks + b) * T::LEN + k * 16;
#pragma unroll
    for (int t = 0; t < T::STEPS; t += 2) {
        const Bytes v[2] = { values_of<T>(tables, h[t]), values_of<T>(tables, h[t + 1]) };
#pragma unroll
        for (int i = 0; i < 2; i++) {
            const uint4 x = { scaled_values(v[i].a, 0x4140, s), scaled_values(v[i].a, 0x4342, s),
                              scaled_values(v[i].b, 0x4140, s), scaled_values(v[i].b, 0x4342, s) };
            *(uint4 *) (to + t / 2 * T::THREADS * 16 + i * 8) = x;
        }
    }
}

TENPAK_DEVICE void store(float * to, float x) { *to = x; }
TENPAK_DEVICE void store(half * to, float x) { *to = __float2half_rn(x); }
TENPAK_DEVICE void store(nv_bfloat16 * to, float x) { *to = __float2bfloat16_rn(x); }

// Weights as floats, the CPU's to the bit as f32: a warp has WARP / THREADS blocks, which lie in shared memory between decoding and
// the inverse rotation. `values` has WARP / THREADS * LEN bytes for each warp.
template <class T, class F> struct Floats {
    static constexpr int BLOCKS = WARP / T::THREADS; // of a warp

    TENPAK_DEVICE void write(const uint8_t * row, int first, int blocks, F * out, uint8_t * values) {
        const int      lane = threadIdx.x % WARP, k = lane % T::THREADS, mine = lane / T::THREADS;
        const int      b     = min(first + mine, blocks - 1);
        const Share<T> share = load_share<T>(row + (int64_t) b * T::BYTES, k);
        const Tables<T> tables = load_tables<T>();
        Bytes h[T::STEPS];
        hashes<T>(tables, share, place_of(share, k), h);
#pragma unroll
        for (int t = 0; t < T::STEPS; t++) {
            const Bytes v = values_of<T>(tables, h[t]);
            *(uint2 *) (values + mine * T::LEN + (t / 2 * T::THREADS + k) * 16 + t % 2 * 8) = make_uint2(v.a, v.b);
        }
        __syncwarp();
        constexpr int N    = T::STEPS, TOGETHER = WARP / T::LANES; // blocks that are rotated at a time
        const int     j    = lane % T::LANES;
        for (int at = lane / T::LANES; at < BLOCKS; at += TOGETHER) {
            const int code = __shfl_sync(0xffffffff, share.scale_history & 255, at * T::THREADS);
            int y[N];
#pragma unroll
            for (int t = 0; t < N; t++) { y[t] = values[at * T::LEN + quant_place<T>(N * j + t)] - TENPAK_ZERO_POINT; }
#pragma unroll
            for (int half = 1; half < N; half *= 2) {
#pragma unroll
                for (int t = 0; t < N; t++) {
                    if (!(t & half)) {
                        const int low = y[t], high = y[t + half];
                        y[t]        = low + high;
                        y[t + half] = low - high;
                    }
                }
            }
#pragma unroll
            for (int half = 1; half < T::LANES; half *= 2) {
#pragma unroll
                for (int t = 0; t < N; t++) {
                    const int other = __shfl_xor_sync(0xffffffff, y[t], half);
                    y[t] = j & half ? other - y[t] : y[t] + other;
                }
            }
            if (first + at < blocks) {
                const float scale = scale_of(code) * T::UNIT;
#pragma unroll
                for (int t = 0; t < N; t++) {
                    const int i = N * j + t;
                    store(out + (int64_t) (first + at) * T::LEN + i,
                          multiply((float) y[t], tenpak_signs[i / 64] >> i % 64 & 1 ? -scale : scale));
                }
            }
        }
        __syncwarp();
    }
};

// Rows as floats. Row r of the results is row ids[..] of the weights, as in ggml's get_rows, or row r where there are no ids.
struct Rows {
    const uint8_t * weights;
    int64_t         row_bytes, bytes2, bytes3;
    int             blocks; // of a row
    const int32_t * ids;
    int64_t         ids_s0, ids_s1, ids_s2;
    int             n1;         // of the results, i1
    int64_t         s0, s1, s2; // of the results, in elements: row, i1, i2
};

constexpr int FLOAT_WARPS = 4; // of a CTA

// Grid (rows, groups of blocks, i1 and i2).
template <class T, class F> static __global__ void rows_as_floats(Rows rows, F * out) {
    __shared__ alignas(8) uint8_t values[FLOAT_WARPS][Floats<T, F>::BLOCKS * T::LEN];
    const int64_t r = blockIdx.x;
    const int     warp = threadIdx.x / WARP, i1 = blockIdx.z % rows.n1, i2 = blockIdx.z / rows.n1;
    const int64_t from = rows.ids ? rows.ids[r * rows.ids_s0 + i1 * rows.ids_s1 + i2 * rows.ids_s2] : r;
    const uint8_t * row = rows.weights + from * rows.row_bytes + i1 * rows.bytes2 + i2 * rows.bytes3;
    F * to = out + r * rows.s0 + i1 * rows.s1 + i2 * rows.s2;
    for (int first = (blockIdx.y * FLOAT_WARPS + warp) * Floats<T, F>::BLOCKS; first < rows.blocks;
         first += gridDim.y * FLOAT_WARPS * Floats<T, F>::BLOCKS) {
        Floats<T, F>::write(row, first, rows.blocks, to, values[warp]);
    }
}

} // namespace tenpak
