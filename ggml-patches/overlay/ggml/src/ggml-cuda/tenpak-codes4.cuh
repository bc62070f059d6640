// Types with codes of 4 bits.
#pragma once

#include "tenpak-floats.cuh"
#include "tenpak-products.cuh"

namespace tenpak {

struct G4_128 {
    static constexpr int LEN     = tenpak_g4_128.len;
    static constexpr int BYTES   = tenpak_g4_128.bytes;
    static constexpr int QS      = tenpak_g4_128.qs;
    static constexpr int THREADS = 4; // each has 16 bytes of codes: 16 weights of either block of activations
};

struct NF4_64 {
    static constexpr int LEN     = tenpak_nf4_64.len;
    static constexpr int BYTES   = tenpak_nf4_64.bytes;
    static constexpr int QS      = tenpak_nf4_64.qs;
    static constexpr int THREADS = 2; // each has 16 bytes of codes: 16 weights of either half
};

// ---- Activations ----

template <> struct Activations<G4_128> {
    static constexpr int  LEN     = TENPAK_Q8_LEN;
    static constexpr int  THREADS = 16;
    static constexpr bool ROTATED = false;

    static TENPAK_CONSTANT int place(int i) { return i; }
};

template <> struct Activations<NF4_64> {
    static constexpr int  LEN     = TENPAK_Q8_LEN;
    static constexpr int  THREADS = 16;
    static constexpr bool ROTATED = false;

    // a byte of codes has weights i and i + 32
    static TENPAK_CONSTANT int place(int i) { return i < 32 ? 2 * i : 2 * (i - 32) + 1; }
};

// ---- Products ----

template <> struct Decoder<G4_128> {
    struct Loaded {
        Word     codes[4];
        uint32_t scale, zero;
    };

    TENPAK_MEMBER Loaded load(const uint8_t * block, int k) const {
        Loaded loaded;
        loaded.scale = __ldg(block + TENPAK_G4_D) | __ldg(block + TENPAK_G4_D + 1) << 8;
        loaded.zero  = __ldg(block + TENPAK_G4_ZERO);
        const Words codes(block + G4_128::QS + 16 * k);
#pragma unroll
        for (int w = 0; w < 4; w++) { loaded.codes[w] = codes.at(4 * w); }
        return loaded;
    }

    template <int COLUMNS>
    TENPAK_MEMBER void add(const Loaded & loaded, int k, const int8_t * quants, const Scaled * scaled, int64_t column_quants,
                           int64_t column_blocks, float * totals) const {
        const float scale = finite_float16(loaded.scale);
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

// ---- Floats ----

template <class F> struct Floats<G4_128, F> {
    static constexpr int BLOCKS = 8;

    TENPAK_DEVICE void write(const uint8_t * row, int first, int blocks, F * out, uint8_t *) {
        for (int b = first; b < min(first + BLOCKS, blocks); b++) {
            const uint8_t * at    = row + (int64_t) b * G4_128::BYTES;
            const float     scale = finite_float16(at[TENPAK_G4_D] | at[TENPAK_G4_D + 1] << 8);
            for (int i = threadIdx.x % WARP; i < G4_128::LEN; i += WARP) {
                const int byte = at[G4_128::QS + i % (G4_128::LEN / 2)], code = i < G4_128::LEN / 2 ? byte & 15 : byte >> 4;
                store(out + (int64_t) b * G4_128::LEN + i, multiply((float) (code - at[TENPAK_G4_ZERO]), scale));
            }
        }
    }
};

template <class F> struct Floats<NF4_64, F> {
    static constexpr int BLOCKS = 8;

    TENPAK_DEVICE void write(const uint8_t * row, int first, int blocks, F * out, uint8_t *) {
        for (int b = first; b < min(first + BLOCKS, blocks); b++) {
            const uint8_t * at    = row + (int64_t) b * NF4_64::BYTES;
            const float     scale = nf4_scale(load32(at, TENPAK_NF4_D));
            for (int i = threadIdx.x % WARP; i < NF4_64::LEN; i += WARP) {
                const int byte = at[NF4_64::QS + i % (NF4_64::LEN / 2)], code = i < NF4_64::LEN / 2 ? byte & 15 : byte >> 4;
                store(out + (int64_t) b * NF4_64::LEN + i, multiply(tenpak_nf4[code], scale));
            }
        }
    }
};

} // namespace tenpak
