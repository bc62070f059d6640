// Decoding blocks of tenpak-gguf's weight types in the registers of a few threads, over the constants of tenpak-tables.h.
//
// Nothing here knows of grids, streams or ggml: what a thread computes is a function of some words of a block and of what its
// neighbour hands over. tests/cuda_decode.rs compiles it for the host, over functions that stand in for CUDA's, and compares bits.
//
// How a trellis block is shared: LANES / 8 threads have eight lanes each; thread k has the lanes 4 k .. 4 k + 3 of both halves
// of the lanes, l0 .. l3 of the first and m0 .. m3 of the second. Two kinds of registers hold eight lanes, lowest bits first:
//
//   nibbles   one word, l0 m0 l1 m1 l2 m2 l3 m3
//   Bytes     two words, l0 m0 l1 m1 and l2 m2 l3 m3
//
// prmt.b32 looks four nibbles of a word up in a table of eight bytes. The hash is linear over bits, so it is made of lookups of
// three bits each. A value is the sum of four lookups, two of each nibble of the hash: where bit 3 of a nibble is set, prmt gives
// the sign of the byte in place of the byte, and the signs of values are 0, so one half of a table of 16 is silent without a mask.
#pragma once

#define TENPAK_TABLE static constexpr __device__
#define TENPAK_CONSTANT constexpr __host__ __device__
#define TENPAK_DEVICE static __device__ __forceinline__
#define TENPAK_MEMBER __device__ __forceinline__
#define TENPAK_TABLES_OF_CUDA

#include "tenpak-tables.h"

namespace tenpak {

// ---- Words and instructions ----

using Word = uint32_t;

// Byte i of the result is byte s & 7 of b:a for nibble i, s, of the selector; or the sign of that byte, eight times, if s & 8.
TENPAK_DEVICE Word prmt(Word a, Word b, Word selector) {
    Word result;
    asm("prmt.b32 %0, %1, %2, %3;" : "=r"(result) : "r"(a), "r"(b), "r"(selector));
    return result;
}

// The bits of x where the mask is set, those of y elsewhere. The compiler makes two instructions of the formula.
template <uint32_t MASK> TENPAK_DEVICE Word select(Word x, Word y) {
    Word result;
    asm("lop3.b32 %0, %1, %2, %3, 0xca;" : "=r"(result) : "n"(MASK), "r"(x), "r"(y));
    return result;
}

// x >> 16 where multiplications are made, which have time while the other integer instructions are the limit. `second` is 0x100,
// which takes the second half of x.
TENPAK_DEVICE Word upper_half(Word x, uint32_t second) {
    Word result;
    asm("dp2a.lo.u32.u32 %0, %1, %2, %3;" : "=r"(result) : "r"(x), "r"(second), "r"(0));
    return result;
}

// x * factor >> 32: a shift to the right, also there, if the factor is a power of two that the compiler does not know.
TENPAK_DEVICE Word multiply_high(Word x, uint32_t factor) {
    return __umulhi(x, factor);
}

// sum + the products of the signed bytes of a and b.
TENPAK_DEVICE Word dot4(Word a, Word b, Word sum) {
    return (Word) __dp4a((int) a, (int) b, (int) sum);
}

// The word of the thread before, in a ring of GROUP threads.
template <int GROUP> TENPAK_DEVICE Word of_previous(Word word) {
    const int lane = threadIdx.x % 32;
    return __shfl_sync(0xffffffff, word, lane / GROUP * GROUP + (lane + GROUP - 1) % GROUP);
}

using Pointer = const uint8_t *;

TENPAK_DEVICE Word load16(Pointer at, int offset) {
    return __ldg((const uint16_t *) (at + offset));
}

TENPAK_DEVICE Word if_zero(Word x, Word then, Word otherwise) {
    return x == 0 ? then : otherwise;
}


// ---- Lookups ----

// A table of eight bytes, for prmt.
struct Table8 {
    uint32_t low, high;
};

TENPAK_CONSTANT Table8 table8(const uint8_t * bytes, int first = 0) {
    uint64_t word = 0;
    for (int n = 0; n < 8; n++) {
        word |= (uint64_t) bytes[first + n] << 8 * n;
    }
    return { (uint32_t) word, (uint32_t) (word >> 32) };
}

// The hash of a window.
TENPAK_CONSTANT uint8_t hash(const tenpak_code & code, uint32_t window) {
    uint8_t result = 0;
    for (int b = 0; b < 16; b++) {
        result ^= window >> b & 1 ? code.columns[b] : 0;
    }
    return result;
}

// Entry n is the hash of a window in which the three bits from `first` are n & mask.
TENPAK_CONSTANT Table8 hash_table(const tenpak_code & code, int first, uint32_t mask = 7) {
    uint8_t bytes[8] = {};
    for (uint32_t n = 0; n < 8; n++) {
        bytes[n] = hash(code, (n & mask) << first);
    }
    return table8(bytes);
}

// Entry n is the hash of a window with bit 0 of n at `first` and bit 1 of n at `second`.
TENPAK_CONSTANT Table8 table_of_bits(const tenpak_code & code, int first, int second) {
    uint8_t bytes[8] = {};
    for (uint32_t n = 0; n < 4; n++) {
        bytes[n] = hash(code, (n & 1) << first | (n >> 1) << second);
    }
    return table8(bytes);
}

TENPAK_DEVICE Word lookup(Table8 table, Word selector) {
    return prmt(table.low, table.high, selector);
}

// ---- Eight lanes ----

struct Bytes {
    Word a, b; // l0 m0 l1 m1 and l2 m2 l3 m3
};

TENPAK_DEVICE Bytes operator^(Bytes x, Bytes y) {
    return { x.a ^ y.a, x.b ^ y.b };
}

// Each byte doubled, modulo 256.
TENPAK_DEVICE Bytes twice(Bytes x) {
    return { (x.a << 1) & 0xfefefefeu, (x.b << 1) & 0xfefefefeu };
}

// ---- Trellis types ----

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

// Words that a kernel reads from memory: constants that the compiler knows it would move into registers before each use.
struct alignas(16) Unknown {
    uint32_t low[6]; // of the tables below, in order
    uint32_t shift4; // 1 << 28
    uint32_t second; // 0x100
    uint32_t shift3; // 1 << 29
    uint32_t shift2; // 1 << 30
    uint32_t few;    // of table_few
    uint32_t odd_b;  // of table_b of odd symbols
};

// Nibbles of symbols are looked up three bits at a time: the hashes of a newest symbol (table a), and of a symbol before one (table b,
// for even and for odd symbols). Symbols of T2 are looked up in pairs, which have four bits. T5 has no table b.
template <class T> TENPAK_CONSTANT Table8 table_b(int parity) {
    return hash_table(T::code(), T::BITS2 == 4 ? 4 : T::code().bits[1 - parity]);
}

// The hash of two bits: the fourth of two nibbles where all have four; for T35 what is left of the oldest symbol; for T5 the fourth
// and the fifth bit of a symbol.
template <class T> TENPAK_CONSTANT Table8 table_few() {
    return T::BITS2 == 7 ? hash_table(T::code(), T::code().period, 3) : table_of_bits(T::code(), 3, T::BITS2 == 10 ? 4 : 7);
}

// The tables of a type.
template <class T> struct Tables {
    Table8   a, b[2];      // as table_b says
    Table8   v0[2], v1[2]; // halves of the value tables
    Table8   few;          // as table_few says; bit 2 of an index has no say
    uint32_t shift4, shift3, shift2, second;

    TENPAK_MEMBER Tables(const Unknown & unknown) {
        constexpr Table8 A = hash_table(T::code(), 0), B0 = table_b<T>(0), B1 = table_b<T>(1);
        constexpr Table8 V00 = table8(T::code().v0), V01 = table8(T::code().v0, 8);
        constexpr Table8 V10 = table8(T::code().v1), V11 = table8(T::code().v1, 8);
        a      = { unknown.low[0], A.high };
        b[0]   = { unknown.low[1], B0.high };
        b[1]   = { T::ALIKE ? unknown.low[1] : unknown.odd_b, B1.high };
        v0[0]  = { unknown.low[2], V00.high };
        v0[1]  = { unknown.low[3], V01.high };
        v1[0]  = { unknown.low[4], V10.high };
        v1[1]  = { unknown.low[5], V11.high };
        shift4 = unknown.shift4;
        second = unknown.second;
        shift3 = unknown.shift3;
        shift2 = unknown.shift2;
        few    = { unknown.few, unknown.few };
    }
};

template <class T> TENPAK_CONSTANT Unknown unknown_of() {
    return { { hash_table(T::code(), 0).low, table_b<T>(0).low, table8(T::code().v0).low,
               table8(T::code().v0, 8).low, table8(T::code().v1).low, table8(T::code().v1, 8).low }, 1u << 28, 0x100, 1u << 29, 1u << 30,
             table_few<T>().low, table_b<T>(1).low };
}

// Nibbles of three bits looked up.
template <class T> TENPAK_DEVICE Bytes lookups(const Tables<T> & tables, Table8 table, Word nibbles) {
    return { lookup(table, nibbles), lookup(table, upper_half(nibbles, tables.second)) };
}

// The byte where bit 3 of a nibble is set, else 0. Bit 7 of the byte is 0, so that the table's own 0x80 does not show.
template <uint8_t BYTE, class T> TENPAK_DEVICE Bytes where_bit3(const Tables<T> & tables, Word nibbles) {
    static_assert(BYTE < 128, "bit 7 of the column of a fourth bit is 0");
    constexpr Table8 signs = { 0x80808080, 0x80808080 };
    return { lookup(signs, nibbles) & (BYTE * 0x01010101u), lookup(signs, upper_half(nibbles, tables.second)) & (BYTE * 0x01010101u) };
}

// Bit 3 of every nibble of x as bit 0, and that of y as bit 1.
template <class T> TENPAK_DEVICE Word fourth_bits(const Tables<T> & tables, Word x, Word y) {
    return (multiply_high(x, tables.shift3) & 0x11111111u) | (multiply_high(y, tables.shift2) & 0x22222222u);
}

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

// Four bytes at an even address.
TENPAK_DEVICE Word load32_even(Pointer at, int offset) {
    return load16(at, offset) + load16(at, offset + 2) * 65536u;
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

TENPAK_DEVICE Word shifted(Word x, int right) {
    return right >= 0 ? x >> right : x << -right;
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

// What a lane hands to the next one in its block are up to seven bytes, which are linear in its symbols. This is what the lane
// before the first hands over, whose symbols are the history byte: byte i is quantity i of the functions `hashes`.
struct Handed {
    Word low, high;
};

template <class T> TENPAK_CONSTANT uint64_t handed_by_history(uint32_t history) {
    constexpr int COUNT = 7;
    const uint32_t of_t2[COUNT]  = { history << 2, history << 4, history >> 6, history >> 4, history >> 2, history, history << 6 };
    const uint32_t of_t25[COUNT] = { history << 2 & 31, 0, history >> 3, history & 31, history >> 3, history };
    const uint32_t of_t3[COUNT]  = { history << 3, history << 3 & 511, history, history & 7 };
    const uint32_t of_t35[COUNT] = { history << 4, history << 4 & 511, history, history << 7 & 511 };
    const uint32_t of_t4[COUNT]  = { history << 4, history << 4 & 255, history };
    const uint32_t of_t5[COUNT]  = { history, history & 31 };
    uint64_t handed = 0;
    for (int i = 0; i < COUNT; i++) { // the windows whose hashes they are
        const uint32_t window = T::BITS2 == 4 ? of_t2[i] & 255 : T::BITS2 == 5 ? of_t25[i] : T::BITS2 == 6 ? of_t3[i]
                              : T::BITS2 == 7 ? of_t35[i] : T::BITS2 == 8 ? of_t4[i] : of_t5[i];
        handed |= (uint64_t) hash(T::code(), window) << 8 * i;
    }
    return handed;
}

// Thread k among those that share a block, and what the history hands to its first lane.
struct Place {
    Word   k;
    Handed history;
};

// Quantities x and y of the lane before every lane; they are the quantities 2 I and 2 I + 1.
struct Pair {
    Bytes x, y;
};

template <class T, int I> TENPAK_DEVICE Pair of_lane_before(const Place & place, Bytes x, Bytes y) {
    // bytes of a message: x of l3 and m3, y of l3 and m3
    const Word received = of_previous<T::THREADS>(prmt(x.b, y.b, 0x7632u));
    // the first thread gets the message of the last: what its l3 and m3 are there is before m0 and after the block
    const Word first   = prmt(received, I < 2 ? place.history.low : place.history.high, I % 2 == 0 ? 0x2504u : 0x2706u);
    const Word message = if_zero(place.k, first, received);
    return { { prmt(message, x.a, 0x5410u), prmt(x.a, x.b, 0x5432u) }, { prmt(message, y.a, 0x5432u), prmt(y.a, y.b, 0x5432u) } };
}

// The hashes of all steps. Below, a and b are the parts of a hash that come from the newest symbol and the one before it.

// Codes of 3 bits: hash[t] = a[t] ^ b[t-1] ^ 2 a[t-2] ^ 2 b[t-3] ^ 4 a[t-4]
template <class T> TENPAK_DEVICE void hashes_of_3_bits(const Tables<T> & tables, const Share<T> & share, const Place & place, Bytes * h) {
    constexpr int    S = T::STEPS;
    static_assert(T::code().window == 15 && T::code().period == 6, "the recurrence below");
    Bytes a[S], b[S], u[S], g[S]; // u = a[t] ^ b[t-1], g = u[t] ^ 2 a[t-2], hash = u[t] ^ 2 g[t-2]
#pragma unroll
    for (int t = 0; t < S; t++) {
        const Word nibbles = symbols<T>(share, t);
        a[t] = lookups(tables, tables.a, nibbles);
        b[t] = lookups(tables, tables.b[t % 2], nibbles);
        if (t >= 1) { u[t] = a[t] ^ b[t - 1]; }
        if (t >= 2) { g[t] = u[t] ^ twice(a[t - 2]); }
    }
    const Pair first  = of_lane_before<T, 0>(place, b[S - 1] ^ twice(g[S - 2]), b[S - 1] ^ twice(a[S - 2]));
    const Pair second = of_lane_before<T, 1>(place, g[S - 1], a[S - 1]);
    g[0] = a[0] ^ first.y;
    g[1] = u[1] ^ twice(second.y);
    h[0] = a[0] ^ first.x;
    h[1] = u[1] ^ twice(second.x);
#pragma unroll
    for (int t = 2; t < S; t++) {
        h[t] = u[t] ^ twice(g[t - 2]);
    }
}

// Codes of 4 bits: hash[t] = u[t] ^ 2 u[t-2], u[t] = a[t] ^ b[t-1]
template <class T> TENPAK_DEVICE void hashes_of_4_bits(const Tables<T> & tables, const Share<T> & share, const Place & place, Bytes * h) {
    constexpr int    S = T::STEPS;
    static_assert(T::code().window == 16 && T::code().period == 8, "the recurrence below");
    Word  nibbles[S];
    Bytes a[S], b[S], u[S]; // without the fourth bits of symbols but where those of two symbols do not meet in u
#pragma unroll
    for (int t = 0; t < S; t++) {
        nibbles[t] = symbols<T>(share, t);
        const Word three = nibbles[t] & 0x77777777u;
        a[t] = lookups(tables, tables.a, three);
        b[t] = lookups(tables, tables.b[t % 2], three);
        if (t >= 1) { u[t] = a[t] ^ b[t - 1] ^ lookups(tables, tables.few, fourth_bits(tables, nibbles[t], nibbles[t - 1])); }
    }
    a[0]     = a[0] ^ where_bit3<T::code().columns[3]>(tables, nibbles[0]);
    b[S - 1] = b[S - 1] ^ where_bit3<T::code().columns[7]>(tables, nibbles[S - 1]);
    const Pair first  = of_lane_before<T, 0>(place, b[S - 1] ^ twice(u[S - 2]), b[S - 1]);
    const Pair second = of_lane_before<T, 1>(place, u[S - 1], u[S - 1]);
    u[0] = a[0] ^ first.y;
    h[0] = a[0] ^ first.x;
    h[1] = u[1] ^ twice(second.x);
#pragma unroll
    for (int t = 2; t < S; t++) {
        h[t] = u[t] ^ twice(u[t - 2]);
    }
}

// Codes of 2 bits: hash[t] = u[t] ^ 2 u[t-4], u[t] = p[t] ^ q[t-2]; p and q are of pairs of symbols, of t and t - 1.
template <class T> TENPAK_DEVICE void hashes_of_2_bits(const Tables<T> & tables, const Share<T> & share, const Place & place, Bytes * h) {
    constexpr int    S = T::STEPS;
    constexpr Table8 SECOND = hash_table(T::code(), 2, 3), FOURTH = hash_table(T::code(), 6, 3); // by the symbol's age
    static_assert(T::code().window == 16 && T::code().period == 8, "the recurrence below");
    Word pairs[S];
#pragma unroll
    for (int t = 1; t < S; t += 2) { // in the planes the symbol before stands above
        constexpr tenpak_trellis layout = T::layout();
        static_assert(layout.planes[0].n_fields == 4 && layout.planes[0].fields[0].step == S - 1 && layout.planes[0].fields[3].step == S - 4, "four steps");
        const int plane = (S - 1 - t) / 4;
        pairs[t] = nibbles_of(share, { plane, (S - 1 - t) % 4 * 2, 0, 4 });
    }
    pairs[0] = pairs[1] >> 2 & 0x33333333u; // the symbol before is another lane's
#pragma unroll
    for (int t = 2; t < S; t += 2) {
        pairs[t] = select<0x33333333>(pairs[t + 1] >> 2, pairs[t - 1] << 2);
    }
    Bytes p[S], q[S], u[S]; // without the fourth bits of pairs but where those of two pairs do not meet in u
#pragma unroll
    for (int t = 0; t < S; t++) {
        const Word three = pairs[t] & 0x77777777u;
        p[t] = lookups(tables, tables.a, three);
        q[t] = lookups(tables, tables.b[t % 2], three);
        if (t >= 2) { u[t] = p[t] ^ q[t - 2] ^ lookups(tables, tables.few, fourth_bits(tables, pairs[t], pairs[t - 2])); }
    }
#pragma unroll
    for (int t = 0; t < 2; t++) {
        p[t]         = p[t] ^ where_bit3<T::code().columns[3]>(tables, pairs[t]);
        q[S - 2 + t] = q[S - 2 + t] ^ where_bit3<T::code().columns[7]>(tables, pairs[S - 2 + t]);
    }
    const Word last   = pairs[S - 1] & 0x33333333u;
    const Pair before = of_lane_before<T, 0>(place, q[S - 2] ^ lookups(tables, SECOND, last), q[S - 1]);
    const Bytes fourth = lookups(tables, FOURTH, last);
    u[0] = p[0] ^ before.x;
    u[1] = p[1] ^ before.y;
    u[2] = u[2] ^ of_lane_before<T, 3>(place, fourth, fourth).x; // q[0] lacks the symbol before
    const Pair first  = of_lane_before<T, 1>(place, u[S - 4], u[S - 3]);
    const Pair second = of_lane_before<T, 2>(place, u[S - 2], u[S - 1]);
    h[0] = u[0] ^ twice(first.x);
    h[1] = u[1] ^ twice(first.y);
    h[2] = u[2] ^ twice(second.x);
    h[3] = u[3] ^ twice(second.y);
#pragma unroll
    for (int t = 4; t < S; t++) {
        h[t] = u[t] ^ twice(u[t - 4]);
    }
}

// T25: hash[t] = u[t] ^ 2 g[t-2], g[t] = u[t] ^ 2 u[t-2], u[t] = a[t] ^ b[t-1]
template <class T> TENPAK_DEVICE void hashes_of_t25(const Tables<T> & tables, const Share<T> & share, const Place & place, Bytes * h) {
    constexpr int    S = T::STEPS;
    static_assert(T::code().window == 15 && T::code().period == 5, "the recurrence above");
    Bytes a[S], b[S], u[S], g[S];
#pragma unroll
    for (int t = 0; t < S; t++) {
        const Word nibbles = symbols<T>(share, t);
        a[t] = lookups(tables, tables.a, nibbles);
        b[t] = lookups(tables, tables.b[t % 2], nibbles);
        if (t >= 1) { u[t] = a[t] ^ b[t - 1]; }
    }
    const Pair newest = of_lane_before<T, 0>(place, b[S - 1], b[S - 1]);
    const Pair second = of_lane_before<T, 1>(place, u[S - 2], u[S - 1]);
    u[0] = a[0] ^ newest.x;
    g[0] = u[0] ^ twice(second.x);
    g[1] = u[1] ^ twice(second.y);
#pragma unroll
    for (int t = 2; t < S; t++) {
        g[t] = u[t] ^ twice(u[t - 2]);
    }
    const Pair older = of_lane_before<T, 2>(place, g[S - 2], g[S - 1]);
    h[0] = u[0] ^ twice(older.x);
    h[1] = u[1] ^ twice(older.y);
#pragma unroll
    for (int t = 2; t < S; t++) {
        h[t] = u[t] ^ twice(g[t - 2]);
    }
}

// T35: hash[t] = u[t] ^ 2 g[t-2], g[t] = u[t] ^ o[t-2], u[t] = a[t] ^ b[t-1]; o is the doubled hash of a symbol's lowest two bits
template <class T> TENPAK_DEVICE void hashes_of_t35(const Tables<T> & tables, const Share<T> & share, const Place & place, Bytes * h) {
    constexpr int    S = T::STEPS;
    static_assert(T::code().window == 16 && T::code().period == 7, "the recurrence above");
    Bytes a[S], b[S], o[S], u[S], g[S];
#pragma unroll
    for (int t = 0; t < S; t++) {
        const Word nibbles = symbols<T>(share, t), three = t % 2 == 0 ? nibbles & 0x77777777u : nibbles;
        a[t] = lookups(tables, tables.a, three);
        b[t] = lookups(tables, tables.b[t % 2], three);
        o[t] = lookups(tables, tables.few, three);
        if (t % 2 == 0) { // symbols of four bits
            a[t] = a[t] ^ where_bit3<T::code().columns[3]>(tables, nibbles);
            b[t] = b[t] ^ where_bit3<T::code().columns[6]>(tables, nibbles);
        }
        if (t >= 1) { u[t] = a[t] ^ b[t - 1]; }
        if (t >= 2) { g[t] = u[t] ^ o[t - 2]; }
    }
    const Pair first  = of_lane_before<T, 0>(place, b[S - 1] ^ twice(g[S - 2]), b[S - 1] ^ o[S - 2]);
    const Pair second = of_lane_before<T, 1>(place, g[S - 1], o[S - 1]);
    g[0] = a[0] ^ first.y;
    g[1] = u[1] ^ second.y;
    h[0] = a[0] ^ first.x;
    h[1] = u[1] ^ twice(second.x);
#pragma unroll
    for (int t = 2; t < S; t++) {
        h[t] = u[t] ^ twice(g[t - 2]);
    }
}

// T5: hash[t] = a[t] ^ 2 g[t-1], g[t] = a[t] ^ 2 a[t-1]
template <class T> TENPAK_DEVICE void hashes_of_t5(const Tables<T> & tables, const Share<T> & share, const Place & place, Bytes * h) {
    constexpr int    S = T::STEPS, LAST = T::PLANES - 1;
    static_assert(T::code().window == 15 && T::code().period == 5, "the recurrence above");
    // halves of the first plane and of the last, which has fifth bits
    const Word newest = nibbles_of(share, { 0, 0, 0, 4 }), older = nibbles_of(share, { 0, 4, 0, 4 });
    const Word fifth[2] = { nibbles_of(share, { LAST, 0, 0, 4 }), nibbles_of(share, { LAST, 4, 0, 4 }) };
    Bytes a[S], g[S];
#pragma unroll
    for (int t = 0; t < S; t++) {
        Word three, two; // the lowest bits of the symbols, and the others
        if (t == S - 1) {
            three = newest & 0x77777777u;
            two   = (multiply_high(newest, tables.shift3) & 0x11111111u) | (older << 1 & 0x22222222u);
        } else if (t == S - 2) {
            three = older >> 1 & 0x77777777u;
            two   = fifth[0] & 0x33333333u;
        } else {
            const int  n    = S - 3 - t; // place among the symbols with a nibble in a plane
            const Word four = nibbles_of(share, { 1 + n / 2, n % 2 * 4, 0, 4 });
            three = four & 0x77777777u;
            two   = (multiply_high(four, tables.shift3) & 0x11111111u) | (shifted(fifth[(n + 2) / 4], (n + 2) % 4 - 1) & 0x22222222u);
        }
        a[t] = lookups(tables, tables.a, three) ^ lookups(tables, tables.few, two);
        if (t >= 1) { g[t] = a[t] ^ twice(a[t - 1]); }
    }
    const Pair before = of_lane_before<T, 0>(place, g[S - 1], a[S - 1]);
    g[0] = a[0] ^ twice(before.y);
    h[0] = a[0] ^ twice(before.x);
#pragma unroll
    for (int t = 1; t < S; t++) {
        h[t] = a[t] ^ twice(g[t - 1]);
    }
}

template <class T> TENPAK_DEVICE void hashes(const Tables<T> & tables, const Share<T> & share, const Place & place, Bytes * h) {
    if constexpr (T::BITS2 == 4) {
        hashes_of_2_bits<T>(tables, share, place, h);
    } else if constexpr (T::BITS2 == 5) {
        hashes_of_t25<T>(tables, share, place, h);
    } else if constexpr (T::BITS2 == 6) {
        hashes_of_3_bits<T>(tables, share, place, h);
    } else if constexpr (T::BITS2 == 7) {
        hashes_of_t35<T>(tables, share, place, h);
    } else if constexpr (T::BITS2 == 8) {
        hashes_of_4_bits<T>(tables, share, place, h);
    } else {
        hashes_of_t5<T>(tables, share, place, h);
    }
}

// ---- Values ----

// Nibbles in the order in which values and activations stand: word 0 has the lanes l0 l2 m0 m2, word 1 has l1 l3 m1 m3.
struct Nibbles {
    Word low, high; // of the hashes
};

template <class T> TENPAK_DEVICE Nibbles split(const Tables<T> & tables, Bytes h) {
    return { select<0x0f0f0f0f>(h.a, h.b << 4), select<0x0f0f0f0f>(multiply_high(h.a, tables.shift4), h.b) };
}

// The products of the values of a step, too large by the zero point, with two words of quants.
template <class T> TENPAK_DEVICE Word dot_step(const Tables<T> & tables, Bytes h, Word q0, Word q1, Word sum) {
    const Nibbles n    = split(tables, h);
    const Word    low  = n.low ^ 0x88888888u, high = n.high ^ 0x88888888u;
    sum = dot4(lookup(tables.v0[0], n.low), q0, sum);
    sum = dot4(lookup(tables.v0[1], low), q0, sum);
    sum = dot4(lookup(tables.v1[0], n.high), q0, sum);
    sum = dot4(lookup(tables.v1[1], high), q0, sum);
    sum = dot4(lookup(tables.v0[0], upper_half(n.low, tables.second)), q1, sum);
    sum = dot4(lookup(tables.v0[1], upper_half(low, tables.second)), q1, sum);
    sum = dot4(lookup(tables.v1[0], upper_half(n.high, tables.second)), q1, sum);
    sum = dot4(lookup(tables.v1[1], upper_half(high, tables.second)), q1, sum);
    return sum;
}

// The values of a step, too large by the zero point, as bytes: word 0 of the lanes l0 l2 m0 m2, word 1 of l1 l3 m1 m3.
template <class T> TENPAK_DEVICE Bytes values_of(const Tables<T> & tables, Bytes h) {
    const Nibbles n    = split(tables, h);
    const Word    low  = n.low ^ 0x88888888u, high = n.high ^ 0x88888888u;
    return { lookup(tables.v0[0], n.low) + lookup(tables.v0[1], low) + (lookup(tables.v1[0], n.high) + lookup(tables.v1[1], high)),
             lookup(tables.v0[0], upper_half(n.low, tables.second)) + lookup(tables.v0[1], upper_half(low, tables.second)) + (lookup(tables.v1[0], upper_half(n.high, tables.second)) + lookup(tables.v1[1], upper_half(high, tables.second))) };
}

// Where element i of a block stands among its quants: 16 bytes for two steps of a thread, those of the threads in turn, and so on
// over the steps. A vector load of 16 bytes by each thread is contiguous over the threads of a block.
template <class T> TENPAK_CONSTANT int quant_place(int i) {
    const int lane = i / T::STEPS, t = i % T::STEPS, half = lane / (T::LANES / 2), k = lane % (T::LANES / 2) / 4, l = lane % 4;
    return (t / 2 * T::THREADS + k) * 16 + t % 2 * 8 + l % 2 * 4 + half * 2 + l / 2;
}

} // namespace tenpak
