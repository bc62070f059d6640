// Words, the instructions for them, and tables of eight bytes: what decoding blocks of tenpak-gguf's weight types is made of, over the
// constants of tenpak-tables.h.
//
// Nothing here or in the files that include only this knows of grids, streams or ggml. tests/cuda_decode.rs compiles all kernels for
// the host, over functions that stand in for CUDA's, and compares bits.
#pragma once

#define TENPAK_TABLE static constexpr __device__
#define TENPAK_CONSTANT constexpr __host__ __device__
#define TENPAK_DEVICE static __device__ __forceinline__
#define TENPAK_MEMBER __device__ __forceinline__

#include "tenpak-tables.h"

namespace tenpak {

// ---- Instructions ----

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

// x >> right; to the left if that is less than 0.
TENPAK_DEVICE Word shifted(Word x, int right) {
    return right >= 0 ? x >> right : x << -right;
}

TENPAK_DEVICE Word if_zero(Word x, Word then, Word otherwise) {
    return x == 0 ? then : otherwise;
}

// ---- Loads ----

using Pointer = const uint8_t *;

TENPAK_DEVICE Word load16(Pointer at, int offset) {
    return __ldg((const uint16_t *) (at + offset));
}

// Four bytes at an even address.
TENPAK_DEVICE Word load32_even(Pointer at, int offset) {
    return load16(at, offset) + load16(at, offset + 2) * 65536u;
}

TENPAK_DEVICE Word load32(Pointer at, int offset) {
    return __ldg((const uint32_t *) (at + offset));
}

// Words from any address on. One at a multiple of four bytes from there is made of the two aligned words that hold it.
struct Words {
    Pointer  low, high;
    uint32_t shift;

    explicit TENPAK_MEMBER Words(Pointer at)
        : low((Pointer) ((uintptr_t) at & ~(uintptr_t) 3)), high((Pointer) (((uintptr_t) at + 3) & ~(uintptr_t) 3)), shift((uintptr_t) at % 4 * 8) {}

    TENPAK_MEMBER Word at(int offset) const { return __funnelshift_r(load32(low, offset), load32(high, offset), shift); }
};

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

TENPAK_DEVICE Word lookup(Table8 table, Word selector) {
    return prmt(table.low, table.high, selector);
}

// ---- Scales ----

// A scale code of 8 bits.
TENPAK_DEVICE float scale_of(uint32_t code) {
    return code == 0 ? 0.0f : __uint_as_float((code << TENPAK_SCALE_SHIFT) + TENPAK_SCALE_BITS);
}

// A binary16 without infinities and NaN.
TENPAK_DEVICE float finite_float16(uint32_t bits) {
    const uint32_t exponent = bits >> 10 & 31, mantissa = bits & 1023;
    const float    value    = exponent == 0 ? (float) mantissa * 5.9604644775390625e-8f // 2^-24
                                            : __uint_as_float((exponent + 112) << 23 | mantissa << 13);
    return bits >> 15 & 1 ? -value : value;
}

} // namespace tenpak
