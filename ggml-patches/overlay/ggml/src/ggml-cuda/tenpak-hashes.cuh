// The hashes of a block's windows, from symbols. The hash is linear over bits, so it is made of lookups of three bits each, and what a
// lane hands to the next one is a few bytes.
#pragma once

#include "tenpak-symbols.cuh"

namespace tenpak {

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

// ---- Tables ----

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

// ---- From lane to lane ----

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

// ---- Recurrences ----

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

} // namespace tenpak
