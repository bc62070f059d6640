// A warp on the host: tenpak-decode.cuh compiled as C++ runs its functions for 32 threads in lockstep, which is all that its tests need.
#pragma once

#include <cstdint>
#include <cstring>

namespace tenpak {

struct Word {
    uint32_t of[32];

    Word() = default;
    Word(uint32_t same) {
        for (uint32_t & word : of) { word = same; }
    }
};

template <class F> static inline Word each(F f) {
    Word result;
    for (int i = 0; i < 32; i++) { result.of[i] = f(i); }
    return result;
}

static inline Word operator^(const Word & x, const Word & y) { return each([&](int i) { return x.of[i] ^ y.of[i]; }); }
static inline Word operator&(const Word & x, const Word & y) { return each([&](int i) { return x.of[i] & y.of[i]; }); }
static inline Word operator|(const Word & x, const Word & y) { return each([&](int i) { return x.of[i] | y.of[i]; }); }
static inline Word operator+(const Word & x, const Word & y) { return each([&](int i) { return x.of[i] + y.of[i]; }); }
static inline Word operator*(const Word & x, uint32_t y) { return each([&](int i) { return x.of[i] * y; }); }
static inline Word operator<<(const Word & x, int n) { return each([&](int i) { return x.of[i] << n; }); }
static inline Word operator>>(const Word & x, int n) { return each([&](int i) { return x.of[i] >> n; }); }

static inline Word prmt(const Word & a, const Word & b, const Word & selector) {
    return each([&](int i) {
        const uint64_t bytes  = (uint64_t) b.of[i] << 32 | a.of[i];
        uint32_t       result = 0;
        for (int n = 0; n < 4; n++) {
            const uint32_t s = selector.of[i] >> 4 * n & 15, byte = bytes >> 8 * (s & 7) & 255;
            result |= (s & 8 ? (byte & 128 ? 255u : 0u) : byte) << 8 * n;
        }
        return result;
    });
}

static inline Word dot4(const Word & a, const Word & b, const Word & sum) {
    return each([&](int i) {
        uint32_t result = sum.of[i];
        for (int n = 0; n < 4; n++) { result += (int8_t) (a.of[i] >> 8 * n) * (int8_t) (b.of[i] >> 8 * n); }
        return result;
    });
}

template <int GROUP> static inline Word of_previous(const Word & word) {
    return each([&](int i) { return word.of[i / GROUP * GROUP + (i + GROUP - 1) % GROUP]; });
}

struct Pointer {
    const uint8_t * of[32];
};

static inline Pointer operator+(const Pointer & p, const Word & bytes) {
    Pointer result;
    for (int i = 0; i < 32; i++) { result.of[i] = p.of[i] + bytes.of[i]; }
    return result;
}

static inline Word load16(const Pointer & at, int offset) {
    return each([&](int i) { uint16_t x; memcpy(&x, at.of[i] + offset, sizeof(x)); return x; });
}

static inline Word if_zero(const Word & x, const Word & then, const Word & otherwise) {
    return each([&](int i) { return x.of[i] == 0 ? then.of[i] : otherwise.of[i]; });
}

} // namespace tenpak
