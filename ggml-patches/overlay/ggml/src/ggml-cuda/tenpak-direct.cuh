// Types whose weights have codes of their own: with slots for outliers (O4, O3), or with some weights of every four left out (S34, S24).
//
// Four threads share a block. Thread k has the groups 16 q + 4 k .. 16 q + 4 k + 3 of every quarter q of a block: what a part of the codes
// says of these four groups is in the four bytes of one word, all of it or some of the bits. A word of four values is the group's four
// weights in order, too large by the zero point of the trellis types, and so are the quants: in the order of elements.
#pragma once

#include "tenpak-floats.cuh"
#include "tenpak-products.cuh"

namespace tenpak {

template <const tenpak_direct & LAYOUT> struct Direct {
    // for constants in functions of the device, which cannot read LAYOUT themselves
    static TENPAK_CONSTANT tenpak_direct layout() { return LAYOUT; }

    static constexpr int  LEN      = LAYOUT.len;
    static constexpr int  BYTES    = LAYOUT.bytes;
    static constexpr int  SLOTS    = LAYOUT.slots;
    static constexpr int  PARTS    = LAYOUT.n_parts;
    static constexpr int  THREADS  = 4; // that share a block
    static constexpr int  QUARTERS = 4;
    static constexpr bool ALIGNED  = LAYOUT.bytes % 4 == 0 && LAYOUT.codes % 4 == 0; // words of codes
    static constexpr bool SPARSE   = LAYOUT.patterns[0] != 15;
};

using O4   = Direct<tenpak_o4>;
using O4X2 = Direct<tenpak_o4x2>;
using O3   = Direct<tenpak_o3>;
using O3X2 = Direct<tenpak_o3x2>;
using S34  = Direct<tenpak_s34>;
using S24  = Direct<tenpak_s24>;

template <const tenpak_direct & LAYOUT> struct Activations<Direct<LAYOUT>> {
    static constexpr int  LEN     = LAYOUT.len;
    static constexpr int  THREADS = 32;
    static constexpr bool ROTATED = false;

    static TENPAK_CONSTANT int place(int i) { return i; }
};

// ---- Codes ----

// What a thread loads of a block.
template <class T> struct DirectShare {
    Word codes[T::PARTS][T::QUARTERS]; // words of a part; those with less than 8 bits for a group are of several quarters
    Word scale, slot;                  // of slot k the index and the value, 0 if there is none
};

// Words that a thread has of a part.
TENPAK_CONSTANT int words_of_part(int width) {
    return width < 4 ? 1 : width / 2;
}

template <class T> TENPAK_DEVICE DirectShare<T> load_direct(Pointer block, int k) {
    constexpr tenpak_direct layout = T::layout();
    static_assert(TENPAK_DIRECT_SLOT_BYTES == 3 && TENPAK_DIRECT_SLOT_INDEX == 0 && TENPAK_DIRECT_SLOT_VALUE == 1, "slots in words");
    DirectShare<T> share = {};
    share.scale = __ldg(block + TENPAK_DIRECT_D);
    if (k < T::SLOTS) { share.slot = Words(block + TENPAK_DIRECT_SLOTS - 1 + TENPAK_DIRECT_SLOT_BYTES * k).at(0) >> 8; }
    const Pointer codes = block + layout.codes + 4 * k;
    const Words   words(codes);
#pragma unroll
    for (int p = 0; p < T::PARTS; p++) {
        const int width = layout.parts[p].width;
#pragma unroll
        for (int w = 0; w < words_of_part(width); w++) {
            const int at = layout.parts[p].offset + 16 * w - (width == 1 ? k / 2 * 8 : 0);
            share.codes[p][w] = T::ALIGNED ? load32(codes, at) : words.at(at);
            if (width == 1) { share.codes[p][w] >>= k / 2; } // 16 groups are two bits of the same bytes
        }
    }
    return share;
}

// The lowest bit of a quarter's groups in the bytes of a part.
TENPAK_CONSTANT int place_of_quarter(int width, int quarter) {
    return width == 1 ? 2 * quarter : quarter / words_of_part(width) * width;
}

// Bits of a part that go to other places together: by how many bits to the right, and where they are then.
struct Moved {
    int      right;
    uint32_t mask;
};

// What the fields of parts give to the codes of a group, 4 bits for each, and to its pattern.
struct Moves {
    Moved codes[3][4];
    Moved pattern[3];
};

TENPAK_CONSTANT Moves moves_of(const tenpak_direct & layout) {
    Moves moves = {};
    for (int p = 0; p < layout.n_parts; p++) {
        int place = 0;
        for (int n = 0; n < layout.parts[p].n_fields; n++) {
            const tenpak_direct_field at   = layout.parts[p].fields[n];
            const bool                code = at.number != TENPAK_DIRECT_PATTERN;
            const int                 to   = code ? 4 * at.number + at.first : at.first;
            Moved *                   move = code ? moves.codes[p] : &moves.pattern[p];
            while (move->mask != 0 && move->right != place - to) { move++; } // fields that move as far do so together
            move->right = place - to;
            move->mask |= ((1u << at.bits) - 1) << to;
            place += at.bits;
        }
    }
    return moves;
}

// The codes of two groups as nibbles, those of group 2 * pair of the quarter in the lower half.
template <class T> TENPAK_DEVICE Word codes_of_pair(const DirectShare<T> & share, int quarter, int pair) {
    constexpr tenpak_direct layout = T::layout();
    constexpr Moves         moves  = moves_of(T::layout());
    Word codes = 0;
#pragma unroll
    for (int p = 0; p < T::PARTS; p++) {
        const int  width = layout.parts[p].width;
        const Word bytes = prmt(share.codes[p][quarter % words_of_part(width)], 0, pair == 0 ? 0x4140u : 0x4342u);
#pragma unroll
        for (int n = 0; n < 4; n++) {
            const Moved move = moves.codes[p][n];
            if (move.mask != 0) { codes |= shifted(bytes, place_of_quarter(width, quarter) + move.right) & move.mask * 0x00010001u; }
        }
    }
    return codes;
}

// The patterns of the four groups of a quarter as bytes.
template <class T> TENPAK_DEVICE Word patterns_of(const DirectShare<T> & share, int quarter) {
    constexpr tenpak_direct layout = T::layout();
    constexpr Moves         moves  = moves_of(T::layout());
    Word patterns = 0;
#pragma unroll
    for (int p = 0; p < T::PARTS; p++) {
        const int   width = layout.parts[p].width;
        const Moved move  = moves.pattern[p];
        if (move.mask != 0) {
            const Word bytes = share.codes[p][quarter % words_of_part(width)];
            patterns |= shifted(bytes, place_of_quarter(width, quarter) + move.right) & move.mask * 0x01010101u;
        }
    }
    return patterns;
}

// ---- Values ----

// Levels as bytes that are too large by the zero point.
TENPAK_CONSTANT Table8 levels_table(const tenpak_direct & layout, int first) {
    uint8_t bytes[8] = {};
    for (int n = 0; n < 8; n++) { bytes[n] = layout.levels[first + n] + TENPAK_ZERO_POINT; }
    return table8(bytes);
}

// Bits of a code.
TENPAK_CONSTANT int code_bits(const tenpak_direct & layout) {
    int bits = 0;
    for (int p = 0; p < layout.n_parts; p++) {
        for (int n = 0; n < layout.parts[p].n_fields; n++) {
            const tenpak_direct_field at = layout.parts[p].fields[n];
            if (at.number == 0 && at.first + at.bits > bits) { bits = at.first + at.bits; }
        }
    }
    return bits;
}

// Entry p is a half of the selector by which prmt takes a group of pattern p from a word of the values that it keeps, and 4, the first byte
// of another word, where it keeps none. A half has two weights.
TENPAK_CONSTANT Table8 pattern_table(const tenpak_direct & layout, int half) {
    uint8_t bytes[8] = {};
    for (int p = 0; p < 8; p++) {
        int kept = 0;
        for (int t = 0; t < 4; t++) {
            const int of = layout.patterns[p] >> t & 1 ? kept++ : 4;
            if (t / 2 == half) { bytes[p] |= of << 4 * (t % 2); }
        }
    }
    return table8(bytes);
}

// The values of four codes, the lower half of a word of nibbles.
template <class T> TENPAK_DEVICE Word values_of_codes(Word codes) {
    constexpr Table8 A = levels_table(T::layout(), 0), B = levels_table(T::layout(), 8);
    static_assert(TENPAK_ZERO_POINT == 64, "levels are from -63 to 63, so that bit 7 of a byte is 0");
    return code_bits(T::layout()) < 4 ? lookup(A, codes) : lookup(A, codes) + lookup(B, codes ^ 0x8888u);
}

// The values of the four groups of a quarter.
template <class T> TENPAK_DEVICE void values_of_quarter(const DirectShare<T> & share, int quarter, Word * values) {
    constexpr Table8 LOW = pattern_table(T::layout(), 0), HIGH = pattern_table(T::layout(), 1);
    constexpr Word   NONE = TENPAK_ZERO_POINT * 0x01010101u;
    const Word       patterns = T::SPARSE ? patterns_of(share, quarter) * 0x11u : 0; // each of them twice
#pragma unroll
    for (int pair = 0; pair < 2; pair++) {
        const Word codes = codes_of_pair(share, quarter, pair);
        values[2 * pair]     = values_of_codes<T>(codes);
        values[2 * pair + 1] = values_of_codes<T>(codes >> 16);
        if (T::SPARSE) {
            const Word twice     = patterns >> 16 * pair;
            const Word selectors = select<0x00ff00ff>(lookup(LOW, twice), lookup(HIGH, twice));
            values[2 * pair]     = prmt(values[2 * pair], NONE, selectors);
            values[2 * pair + 1] = prmt(values[2 * pair + 1], NONE, selectors >> 16);
        }
    }
}

// ---- Products ----

template <const tenpak_direct & LAYOUT> constexpr bool two_ctas_of_many_columns<Direct<LAYOUT>> = true;

template <const tenpak_direct & LAYOUT> struct Decoder<Direct<LAYOUT>> {
    using T      = Direct<LAYOUT>;
    using Loaded = DirectShare<T>;

    TENPAK_MEMBER Loaded load(const uint8_t * block, int k) const { return load_direct<T>(block, k); }

    template <int COLUMNS>
    TENPAK_MEMBER void add(const Loaded & share, int k, const int8_t * quants, const Scaled * scaled, int64_t column_quants,
                           int64_t column_blocks, float * totals) const {
        Word v[4 * T::QUARTERS];
#pragma unroll
        for (int quarter = 0; quarter < T::QUARTERS; quarter++) { values_of_quarter<T>(share, quarter, v + 4 * quarter); }
        const float scale = scale_of(share.scale), value = finite_float16(share.slot >> 8);
#pragma unroll
        for (int c = 0; c < COLUMNS; c++) {
            const int8_t * of   = quants + c * column_quants;
            const Scaled   unit = scaled[c * column_blocks];
            Word           sum  = k == 0 ? (Word) (-TENPAK_ZERO_POINT * unit.sum) : 0u;
#pragma unroll
            for (int quarter = 0; quarter < T::QUARTERS; quarter++) {
                const uint4  q = *(const uint4 *) (of + 64 * quarter + 16 * k);
                const Word * w = v + 4 * quarter;
                sum = dot4(w[3], q.w, dot4(w[2], q.z, dot4(w[1], q.y, dot4(w[0], q.x, sum))));
            }
            totals[c] += scale * unit.scale * (float) (int) sum;
            if (T::SLOTS > 0) { totals[c] += value * unit.scale * (float) of[share.slot & 255]; }
        }
    }
};

// ---- Floats ----

template <const tenpak_direct & LAYOUT, class F> struct Floats<Direct<LAYOUT>, F> {
    using T = Direct<LAYOUT>;

    static constexpr int BLOCKS = WARP / T::THREADS; // of a warp

    TENPAK_DEVICE void write(const uint8_t * row, int first, int blocks, F * out, uint8_t * values) {
        const int            lane = threadIdx.x % WARP, k = lane % T::THREADS, mine = lane / T::THREADS;
        const DirectShare<T> share = load_direct<T>(row + (int64_t) min(first + mine, blocks - 1) * T::BYTES, k);
#pragma unroll
        for (int quarter = 0; quarter < T::QUARTERS; quarter++) {
            values_of_quarter<T>(share, quarter, (Word *) (values + mine * T::LEN + 64 * quarter + 16 * k));
        }
        __syncwarp();
        for (int at = 0; at < BLOCKS; at++) {
            const float scale = scale_of(__shfl_sync(0xffffffff, share.scale, at * T::THREADS));
            Word        slots[T::SLOTS + 1];
#pragma unroll
            for (int s = 0; s < T::SLOTS; s++) { slots[s] = __shfl_sync(0xffffffff, share.slot, at * T::THREADS + s); }
            if (first + at < blocks) {
                for (int i = lane; i < T::LEN; i += WARP) {
                    float x = multiply((float) (values[at * T::LEN + i] - TENPAK_ZERO_POINT), scale);
#pragma unroll
                    for (int s = 0; s < T::SLOTS; s++) {
                        if ((int) (slots[s] & 255) == i) { x = add(x, finite_float16(slots[s] >> 8)); }
                    }
                    store(out + (int64_t) (first + at) * T::LEN + i, x);
                }
            }
        }
        __syncwarp();
    }
};

} // namespace tenpak
