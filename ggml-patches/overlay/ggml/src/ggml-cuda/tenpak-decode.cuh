// Blocks of the trellis types decoded: a value is the sum of four lookups, two of each nibble of the hash. Where bit 3 of a nibble is set,
// prmt gives the sign of the byte in place of the byte, and the signs of values are 0, so one half of a table of 16 is silent without
// a mask.
#pragma once

#include "tenpak-hashes.cuh"

namespace tenpak {

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

// ---- What kernels read of a type and of a block ----

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

} // namespace tenpak
