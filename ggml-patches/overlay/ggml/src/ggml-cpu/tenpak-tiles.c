#include "tenpak-bf16.h"

#if defined(__x86_64__) && defined(__linux__) && defined(__GNUC__) && (defined(__clang__) || __GNUC__ >= 11)

#include "ggml-impl.h"

#include <cpuid.h>
#include <immintrin.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

// Tiles are 16 rows of 64 bytes. Of a matrix a tile has 16 rows of 32 weights, as they lie in memory; of columns it has 32 values of
// 16 columns, a pair of values of each column in a row of the tile (Intel, Architecture Instruction Set Extensions Programming
// Reference, chapter 3, TDPBF16PS). Columns are packed so into the work buffer of the node:
//
//   group of 16 columns (the last may have fewer) | pair of values | column of the group: two BF16 values
//
// Tiles of the last group take what comes after a row for the columns that it lacks. Products of these are not stored.
#define TILE  16 // rows of a tile of the matrix, columns of a tile of columns
#define DEPTH 32 // values of a row or of a column

// Fewer columns than these are left to ggml.
#define MIN_COLUMNS 4

// Bytes of weights that one thread takes through all columns: they and a group of columns fit the second cache.
#define BAND_BYTES (1 << 20)

// So far ahead of a tile its rows are fetched: the processor's own prefetchers do not follow 32 rows at once.
#define FETCHED_AHEAD 256

#define AMX      __attribute__((target("amx-tile,amx-bf16,avx512f,avx512bw,avx512vl,avx512bf16")))
#define AMX_CALL AMX __attribute__((always_inline)) static inline

struct tile_configuration {
    uint8_t  palette;
    uint8_t  start_row;
    uint8_t  reserved[14];
    uint16_t bytes[16]; // of a row
    uint8_t  rows[16];
};

// The first call finds out what is constant for the process.
bool tenpak_has_amx_bf16(void) {
    static atomic_int known; // 0: not yet, 1: no, 2: yes
    int state = atomic_load_explicit(&known, memory_order_relaxed);
    if (state == 0) {
        enum { REQUEST_PERMISSION = 0x1023, TILE_DATA = 18 }; // of arch_prctl
        unsigned a, b, c, d, a1, b1, c1, d1;
        const bool has = __get_cpuid_count(7, 0, &a, &b, &c, &d) && __get_cpuid_count(7, 1, &a1, &b1, &c1, &d1)
            && (d >> 22 & 1) && (d >> 24 & 1)   // AMX-BF16, AMX-TILE
            && (b >> 16 & 1) && (b >> 30 & 1) && (b >> 31 & 1) && (a1 >> 5 & 1) // AVX512F, BW, VL, BF16
            && syscall(SYS_arch_prctl, REQUEST_PERMISSION, TILE_DATA) == 0;
        state = has ? 2 : 1;
        atomic_store_explicit(&known, state, memory_order_relaxed);
    }
    return state == 2;
}

// Transposes 16 x 16 words.
AMX_CALL void transpose(__m512i v[16]) {
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

// Packs 32 values of n columns, which are `stride` values apart.
AMX static void pack(const float * columns, int64_t stride, int64_t n, uint32_t * packed) {
    __m512i v[16];
    for (int64_t c = 0; c < TILE; c++) {
        const float * column = columns + (c < n ? c : 0) * stride;
        v[c] = (__m512i) _mm512_cvtne2ps_pbh(_mm512_loadu_ps(column + 16), _mm512_loadu_ps(column));
    }
    transpose(v);
    for (int64_t pair = 0; pair < DEPTH / 2; pair++) {
        _mm512_mask_storeu_epi32(packed + pair * n, (__mmask16) ((1u << n) - 1), v[pair]);
    }
}

// Stores 16 rows of n columns.
AMX static void store(const float * tile, int64_t n, char * out, size_t stride) {
    __m512i v[16];
    for (int i = 0; i < 16; i++) {
        v[i] = _mm512_loadu_si512(tile + 16 * i);
    }
    transpose(v);
    for (int64_t c = 0; c < n; c++) {
        _mm512_storeu_si512(out + c * stride, v[c]);
    }
}

// Multiplies 16 rows, or 32, with one group of columns, or two.
AMX_CALL void multiply_tiles(const char * rows, size_t row_bytes, int64_t depth, bool two_rows, const uint32_t * const groups[2],
                             const int64_t n[2], bool two_groups, char * const out[2], size_t out_stride) {
    const char * lower = rows + TILE * row_bytes;
    _tile_zero(0);
    _tile_zero(1);
    _tile_zero(2);
    _tile_zero(3);
    for (int64_t k = 0; k < depth; k += DEPTH) {
        for (int64_t row = 0; row < (two_rows ? 2 * TILE : TILE); row++) {
            _mm_prefetch(rows + row * row_bytes + 2 * k + FETCHED_AHEAD, _MM_HINT_T0);
        }
        _tile_loadd(4, rows + 2 * k, row_bytes);
        _tile_loadd(6, groups[0] + k / 2 * n[0], 4 * n[0]);
        _tile_dpbf16ps(0, 4, 6);
        if (two_rows) {
            _tile_loadd(5, lower + 2 * k, row_bytes);
            _tile_dpbf16ps(1, 5, 6);
        }
        if (two_groups) {
            _tile_loadd(7, groups[1] + k / 2 * n[1], 4 * n[1]);
            _tile_dpbf16ps(2, 4, 7);
            if (two_rows) {
                _tile_dpbf16ps(3, 5, 7);
            }
        }
    }
    float tile[TILE * TILE];
    _tile_stored(0, tile, 4 * TILE);
    store(tile, n[0], out[0], out_stride);
    if (two_rows) {
        _tile_stored(1, tile, 4 * TILE);
        store(tile, n[0], out[0] + 4 * TILE, out_stride);
    }
    if (two_groups) {
        _tile_stored(2, tile, 4 * TILE);
        store(tile, n[1], out[1], out_stride);
        if (two_rows) {
            _tile_stored(3, tile, 4 * TILE);
            store(tile, n[1], out[1] + 4 * TILE, out_stride);
        }
    }
}

AMX static void multiply_rows(const char * rows, size_t row_bytes, int64_t n_rows, int64_t depth, const uint32_t * packed,
                              int64_t n_columns, char * out, size_t out_stride) {
    for (int64_t column = 0; column < n_columns; column += 2 * TILE) {
        const int64_t          n[2]      = { MIN(TILE, n_columns - column), MIN(TILE, n_columns - column - TILE) };
        const uint32_t * const groups[2] = { packed + column * depth / 2, packed + (column + TILE) * depth / 2 };
        for (int64_t row = 0; row < n_rows; row += 2 * TILE) {
            const char * from  = rows + row * row_bytes;
            char * const to[2] = { out + column * out_stride + 4 * row, out + (column + TILE) * out_stride + 4 * row };
            if (n[1] > 0) {
                if (n_rows - row >= 2 * TILE) {
                    multiply_tiles(from, row_bytes, depth, true, groups, n, true, to, out_stride);
                } else {
                    multiply_tiles(from, row_bytes, depth, false, groups, n, true, to, out_stride);
                }
            } else if (n_rows - row >= 2 * TILE) {
                multiply_tiles(from, row_bytes, depth, true, groups, n, false, to, out_stride);
            } else {
                multiply_tiles(from, row_bytes, depth, false, groups, n, false, to, out_stride);
            }
        }
    }
}

AMX static void multiply(const struct ggml_compute_params * params, struct ggml_tensor * dst) {
    const struct ggml_tensor * matrix  = dst->src[0];
    const struct ggml_tensor * columns = dst->src[1];
    const int64_t depth     = matrix->ne[0];
    const int64_t n_columns = ggml_nrows(columns);
    uint32_t *    packed    = params->wdata;

    // Each thread packs some of the pieces of 32 values of a group.
    const int64_t steps  = depth / DEPTH;
    const int64_t pieces = (n_columns + TILE - 1) / TILE * steps;
    for (int64_t piece = pieces * params->ith / params->nth; piece < pieces * (params->ith + 1) / params->nth; piece++) {
        const int64_t column = piece / steps * TILE;
        const int64_t k      = piece % steps * DEPTH;
        const int64_t n      = MIN(TILE, n_columns - column);
        pack((const float *) columns->data + column * depth + k, depth, n, packed + column * depth / 2 + k / 2 * n);
    }
    ggml_barrier(params->threadpool);

    // ggml's own products with tiles keep their configuration for as long as a thread lives: it is put back.
    struct tile_configuration before, ours = { .palette = 1 };
    for (int t = 0; t < 8; t++) {
        ours.bytes[t] = 64;
        ours.rows[t]  = TILE;
    }
    _tile_storeconfig(&before);
    __asm__ volatile("" : "=m"(before) : "m"(ours)); // GCC takes the two for 8 bytes, as in 0003-amx.patch
    _tile_loadconfig(&ours);

    const int64_t pairs = (matrix->ne[1] / TILE + 1) / 2;
    const int64_t end   = MIN(matrix->ne[1], pairs * (params->ith + 1) / params->nth * 2 * TILE);
    const int64_t band  = MAX(1, BAND_BYTES / (2 * TILE * (int64_t) matrix->nb[1])) * 2 * TILE;
    for (int64_t row = pairs * params->ith / params->nth * 2 * TILE; row < end; row += band) {
        multiply_rows((const char *) matrix->data + row * matrix->nb[1], matrix->nb[1], MIN(band, end - row), depth, packed, n_columns,
                      (char *) dst->data + 4 * row, dst->nb[1]);
    }

    __asm__ volatile("" : : "m"(before));
    if (before.palette == 0) {
        _tile_release();
    } else {
        _tile_loadconfig(&before);
    }
}

bool tenpak_multiply_bf16(const struct ggml_compute_params * params, struct ggml_tensor * dst) {
    const struct ggml_tensor * matrix  = dst->src[0];
    const struct ggml_tensor * columns = dst->src[1];
    const bool takes = matrix->type == GGML_TYPE_BF16 && columns->type == GGML_TYPE_F32 && !params->use_ref
        && matrix->ne[0] % DEPTH == 0 && matrix->ne[1] % TILE == 0 && matrix->ne[2] * matrix->ne[3] == 1
        && matrix->nb[0] == 2 && ggml_nrows(columns) >= MIN_COLUMNS
        && ggml_is_contiguous(columns) && ggml_is_contiguous(dst) && tenpak_has_amx_bf16();
    if (takes) {
        multiply(params, dst);
    }
    return takes;
}

#else

bool tenpak_has_amx_bf16(void) {
    return false;
}

bool tenpak_multiply_bf16(const struct ggml_compute_params * params, struct ggml_tensor * dst) {
    (void) params;
    (void) dst;
    return false;
}

#endif
