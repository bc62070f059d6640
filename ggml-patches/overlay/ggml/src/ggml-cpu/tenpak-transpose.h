// 16 x 16 words in vectors of AVX-512.

#pragma once

#include <immintrin.h>

// Transposes them.
__attribute__((target("avx512f"), always_inline)) static inline void tenpak_transpose(__m512i v[16]) {
    __m512i t[16];
    for (int i = 0; i < 16; i += 2) {
        t[i]     = _mm512_unpacklo_epi32(v[i], v[i + 1]);
        t[i + 1] = _mm512_unpackhi_epi32(v[i], v[i + 1]);
    }
    for (int i = 0; i < 16; i += 4) {
        v[i]     = _mm512_unpacklo_epi64(t[i], t[i + 2]);
        v[i + 1] = _mm512_unpackhi_epi64(t[i], t[i + 2]);
        v[i + 2] = _mm512_unpacklo_epi64(t[i + 1], t[i + 3]);
        v[i + 3] = _mm512_unpackhi_epi64(t[i + 1], t[i + 3]);
    }
    for (int i = 0; i < 4; i++) {
        t[i]      = _mm512_shuffle_i32x4(v[i], v[i + 4], 0x88);
        t[i + 4]  = _mm512_shuffle_i32x4(v[i + 8], v[i + 12], 0x88);
        t[i + 8]  = _mm512_shuffle_i32x4(v[i], v[i + 4], 0xdd);
        t[i + 12] = _mm512_shuffle_i32x4(v[i + 8], v[i + 12], 0xdd);
    }
    for (int i = 0; i < 4; i++) {
        v[i]      = _mm512_shuffle_i32x4(t[i], t[i + 4], 0x88);
        v[i + 4]  = _mm512_shuffle_i32x4(t[i + 8], t[i + 12], 0x88);
        v[i + 8]  = _mm512_shuffle_i32x4(t[i], t[i + 4], 0xdd);
        v[i + 12] = _mm512_shuffle_i32x4(t[i + 8], t[i + 12], 0xdd);
    }
}
