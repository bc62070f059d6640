// Trellis types, and the symbols of a block in the registers of the threads that share it.
//
// How a trellis block is shared: LANES / 8 threads have eight lanes each; thread k has the lanes 4 k .. 4 k + 3 of both halves
// of the lanes, l0 .. l3 of the first and m0 .. m3 of the second. Two kinds of registers hold eight lanes, lowest bits first:
//
//   nibbles   one word, l0 m0 l1 m1 l2 m2 l3 m3
//   Bytes     two words, l0 m0 l1 m1 and l2 m2 l3 m3
#pragma once

#include "tenpak-words.cuh"

namespace tenpak {

template <const tenpak_trellis & LAYOUT, const tenpak_code & CODE> struct Trellis {
    // for constants in functions of the device, which cannot read LAYOUT and CODE themselves
    static TENPAK_CONSTANT tenpak_trellis layout() { return LAYOUT; }
    static TENPAK_CONSTANT tenpak_code    code() { return CODE; }

    static constexpr int BITS2   = CODE.bits[0] + CODE.bits[1]; // of two symbols
    static constexpr bool ALIKE  = CODE.bits[0] == CODE.bits[1];
    static constexpr int LEN     = LAYOUT.len;
    static constexpr int BYTES   = LAYOUT.bytes;
    static constexpr int STEPS   = LAYOUT.steps;
    static constexpr int LANES   = LAYOUT.lanes;
    static constexpr int PLANES  = LAYOUT.n_planes;
    static constexpr int THREADS = LANES / 8; // that share a block

    static constexpr float UNIT = LAYOUT.unit;
};

template <class T> constexpr bool is_trellis = false;
template <const tenpak_trellis & LAYOUT, const tenpak_code & CODE> constexpr bool is_trellis<Trellis<LAYOUT, CODE>> = true;

using T2    = Trellis<tenpak_t2, tenpak_code_2>;
using T25   = Trellis<tenpak_t25, tenpak_code_25>;
using T35   = Trellis<tenpak_t35, tenpak_code_35>;
using T3    = Trellis<tenpak_t3, tenpak_code_3>;
using T4    = Trellis<tenpak_t4, tenpak_code_4>;
using T5    = Trellis<tenpak_t5, tenpak_code_5>;
using T2_64 = Trellis<tenpak_t2_64, tenpak_code_2>;
using T25_64 = Trellis<tenpak_t25_64, tenpak_code_25>;
using T35_64 = Trellis<tenpak_t35_64, tenpak_code_35>;
using T3_64 = Trellis<tenpak_t3_64, tenpak_code_3>;
using T4_64 = Trellis<tenpak_t4_64, tenpak_code_4>;
using T5_64 = Trellis<tenpak_t5_64, tenpak_code_5>;

// What a thread loads of a block: of every plane a byte for each of its lanes.
template <class T> struct Share {
    Word l[T::PLANES], m[T::PLANES];
    Word scale_history; // the block's first two bytes
};

// Four numbers of 4 bits as bytes.
TENPAK_DEVICE Word spread_nibbles(Word x) {
    x = (x | x << 8) & 0x00ff00ffu;
    return (x | x << 4) & 0x0f0f0f0fu;
}

// The share of thread k of a block.
template <class T> TENPAK_DEVICE Share<T> load_share(Pointer block, Word k) {
    constexpr tenpak_trellis layout = T::layout();
    const Pointer bytes = block + k * 4u, nibbles = block + k * 2u; // of planes of 8 bits and of 4
    Share<T> share;
    share.scale_history = load16(block, 0);
#pragma unroll
    for (int p = 0; p < T::PLANES; p++) {
        const int first = TENPAK_TRELLIS_QS + layout.planes[p].offset;
        if (layout.planes[p].width == 4 && T::LANES == 32) { // of a byte, one half is in either half of the lanes
            share.l[p] = load32_even(bytes, first);
            share.m[p] = share.l[p] >> 4;
        } else if (layout.planes[p].width == 2) { // bytes have a lane of every four
            const Word all = load32_even(block, first);
            share.l[p]     = all >> (2u * k);
            share.m[p]     = all >> (2u * k + T::LANES / 4u);
        } else if (layout.planes[p].width == 8) {
            share.l[p] = load32_even(bytes, first);
            share.m[p] = load32_even(bytes, first + T::LANES / 2);
        } else {
            share.l[p] = spread_nibbles(load16(nibbles, first));
            share.m[p] = spread_nibbles(load16(nibbles, first + T::LANES / 4));
        }
    }
    return share;
}

// Bits of a symbol as they lie in a plane: from `place` of the lane's bits there, from `first` in the symbol.
struct Piece {
    int plane, place, first, bits;
};

// Piece n of the symbol of a step; one of no bits where there are fewer.
TENPAK_CONSTANT Piece piece(const tenpak_trellis & layout, int step, int n) {
    for (int p = 0; p < layout.n_planes; p++) {
        int place = 0;
        for (int f = 0; f < layout.planes[p].n_fields; f++) {
            const tenpak_field at = layout.planes[p].fields[f];
            if (at.step == step && n-- == 0) {
                return { p, place, at.first, at.bits };
            }
            place += at.bits;
        }
    }
    return { 0, 0, 0, 0 };
}

// A piece as nibbles.
template <class T> TENPAK_DEVICE Word nibbles_of(const Share<T> & share, Piece at) {
    constexpr tenpak_trellis layout = T::layout();
    if (layout.planes[at.plane].width == 4 && T::LANES == 32) {
        return shifted(share.l[at.plane], at.place - at.first) & ((1u << at.bits) - 1) * 0x11111111u << at.first;
    }
    const Word     l = shifted(share.l[at.plane], at.place - at.first), m = shifted(share.m[at.plane], at.place - at.first - 4);
    const uint32_t mask = ((1u << at.bits) - 1) * 0x01010101u << at.first;
    return at.bits == 4 ? select<0x0f0f0f0f>(l, m) : (l & mask) | (m & mask << 4);
}

template <class T, int STEP> TENPAK_DEVICE Word symbols_of(const Share<T> & share) {
    constexpr Piece first = piece(T::layout(), STEP, 0), second = piece(T::layout(), STEP, 1);
    static_assert(piece(T::layout(), STEP, 2).bits == 0, "a symbol is in two pieces at most");
    return second.bits == 0 ? nibbles_of(share, first) : nibbles_of(share, first) | nibbles_of(share, second);
}

// The symbols of a step as nibbles. The step is known when the function is compiled: loops over steps are unrolled.
template <class T> TENPAK_DEVICE Word symbols(const Share<T> & share, int step) {
    switch (step) {
        case 0:  return symbols_of<T, 0>(share);
        case 1:  return symbols_of<T, 1>(share);
        case 2:  return symbols_of<T, 2>(share);
        case 3:  return symbols_of<T, 3>(share);
        case 4:  return symbols_of<T, 4>(share);
        case 5:  return symbols_of<T, 5>(share);
        case 6:  return symbols_of<T, 6>(share);
        default: return symbols_of<T, 7>(share);
    }
}

} // namespace tenpak
