#include "tenpak-tiles.h"

#if defined(__x86_64__) && defined(__linux__) && defined(__GNUC__) && (defined(__clang__) || __GNUC__ >= 11)

#include "ggml-impl.h"
#include "tenpak-transpose.h"

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
//
// F16 has eleven bits where BF16 has eight, so that a matrix of F16 is the sum of two of BF16, high and low, without loss. Its columns
// are the sum of two as well, which keeps 16 bits of a value. Three products are added: of the low rows and the high columns, of both
// high ones, of the high rows and the low columns. The packed low columns follow all the high ones; the rows are taken apart into a
// buffer of each thread behind the columns:
//
//   16 rows | 32 values | tile of the high parts, tile of the low parts
//
// In these a pair of values is one of the first 16 and one of the last 16 of the 32. Where there are more than two groups of columns
// the buffer has a band of rows; otherwise it has a chunk of 32 rows, which stays in the first cache.
#define TILE       16   // rows of a tile of the matrix, columns of a tile of columns
#define DEPTH      32   // values of a row or of a column
#define TILE_BYTES 1024
#define CHUNK      128  // values of a row in a chunk

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

// The upper halves of 16 floats and of 16 more, in pairs.
AMX_CALL __m512i paired(__m512 a, __m512 b) {
    const __m512i upper = _mm512_set1_epi32((int) 0xffff0000);
    return _mm512_or_si512(_mm512_srli_epi32(_mm512_castps_si512(a), 16), _mm512_and_si512(_mm512_castps_si512(b), upper));
}

// What is left of floats without their upper halves, which are BF16 values.
AMX_CALL __m512 rest(__m512 a) {
    const __m512i upper = _mm512_set1_epi32((int) 0xffff0000);
    return _mm512_sub_ps(a, _mm512_castsi512_ps(_mm512_and_si512(_mm512_castps_si512(a), upper)));
}

AMX_CALL void store_pairs(__m512i v[16], int64_t n, uint32_t * packed) {
    tenpak_transpose(v);
    for (int64_t pair = 0; pair < DEPTH / 2; pair++) {
        _mm512_mask_storeu_epi32(packed + pair * n, (__mmask16) ((1u << n) - 1), v[pair]);
    }
}

// Packs 32 values of n columns, which are `stride` values apart.
AMX static void pack(const float * columns, int64_t stride, int64_t n, uint32_t * packed) {
    __m512i v[16];
    for (int64_t c = 0; c < TILE; c++) {
        const float * column = columns + (c < n ? c : 0) * stride;
        v[c] = (__m512i) _mm512_cvtne2ps_pbh(_mm512_loadu_ps(column + 16), _mm512_loadu_ps(column));
    }
    store_pairs(v, n, packed);
}

// The same for a matrix of F16: high and low parts.
AMX static void pack_apart(const float * columns, int64_t stride, int64_t n, uint32_t * high, uint32_t * low) {
    __m512i v[16], w[16];
    for (int64_t c = 0; c < TILE; c++) {
        const float * column = columns + (c < n ? c : 0) * stride;
        const __m512  a = _mm512_loadu_ps(column), b = _mm512_loadu_ps(column + 16);
        v[c] = paired(a, b);
        w[c] = paired(rest(a), rest(b));
    }
    store_pairs(v, n, high);
    store_pairs(w, n, low);
}

// Takes rows of F16 apart, a multiple of 16, into blocks of 16 rows that are `block` bytes apart.
AMX_CALL void take_apart(const char * rows, size_t row_bytes, int64_t n_rows, int64_t depth, char * apart, size_t block) {
    for (int64_t first = 0; first < n_rows; first += TILE, apart += block) {
        char * tile = apart;
        for (int64_t k = 0; k < depth; k += DEPTH, tile += 2 * TILE_BYTES) {
            for (int64_t row = 0; row < TILE; row++) {
                const __m256i * from = (const __m256i *) (rows + (first + row) * row_bytes + 2 * k);
                const __m512    a = _mm512_cvtph_ps(_mm256_loadu_si256(from)), b = _mm512_cvtph_ps(_mm256_loadu_si256(from + 1));
                _mm_prefetch((const char *) from + FETCHED_AHEAD, _MM_HINT_T0);
                _mm512_storeu_si512(tile + 64 * row, paired(a, b));
                _mm512_storeu_si512(tile + TILE_BYTES + 64 * row, paired(rest(a), rest(b)));
            }
        }
    }
    __asm__ volatile("" ::: "memory"); // GCC 12 does not know that _tile_loadd reads memory
}

// Stores 16 rows of n columns.
AMX static void store(const float * tile, int64_t n, char * out, size_t stride) {
    __m512i v[16];
    for (int i = 0; i < 16; i++) {
        v[i] = _mm512_loadu_si512(tile + 16 * i);
    }
    tenpak_transpose(v);
    for (int64_t c = 0; c < n; c++) {
        _mm512_storeu_si512(out + c * stride, v[c]);
    }
}

// Where the tiles of a matrix are.
struct rows {
    const char * data;
    size_t       stride; // from a row of a tile to the next
    size_t       step;   // from a tile to the next 32 values
    size_t       block;  // from a tile to the next 16 rows
    bool         apart;  // whether a tile of low parts follows every tile
    char *       chunk;  // where rows of F16 are taken apart on the way, or null
};

// Where the packed columns are.
struct columns {
    const uint32_t * groups[2];
    int64_t          n[2]; // columns of the groups
    size_t           low;  // from a high part to the low one
};

// Adds the products of the tiles 4 and 5 of rows with the tiles 6 and 7 of columns.
AMX_CALL void add_products(bool two_rows, bool two_groups) {
    _tile_dpbf16ps(0, 4, 6);
    if (two_rows) {
        _tile_dpbf16ps(1, 5, 6);
    }
    if (two_groups) {
        _tile_dpbf16ps(2, 4, 7);
        if (two_rows) {
            _tile_dpbf16ps(3, 5, 7);
        }
    }
}

AMX_CALL void load_rows(const char * tile, size_t block, size_t stride, bool two_rows) {
    _tile_loadd(4, tile, stride);
    if (two_rows) {
        _tile_loadd(5, tile + block, stride);
    }
}

AMX_CALL void load_columns(const struct columns * x, int64_t pair, size_t offset, bool two_groups) {
    _tile_loadd(6, x->groups[0] + offset + pair * x->n[0], 4 * x->n[0]);
    if (two_groups) {
        _tile_loadd(7, x->groups[1] + offset + pair * x->n[1], 4 * x->n[1]);
    }
}

// Multiplies 16 rows, or 32, with one group of columns, or two.
AMX_CALL void multiply_tiles(const struct rows * m, int64_t depth, bool two_rows, const struct columns * x, bool two_groups,
                             char * const out[2], size_t out_stride) {
    const int64_t * n = x->n;
    _tile_zero(0);
    _tile_zero(1);
    _tile_zero(2);
    _tile_zero(3);
    const int64_t n_rows = two_rows ? 2 * TILE : TILE;
    const bool    apart  = m->apart || m->chunk;
    const size_t  block  = m->chunk ? CHUNK / DEPTH * 2 * TILE_BYTES : m->block;
    const size_t  stride = m->chunk ? 64 : m->stride;
    for (int64_t k = 0; k < depth; k += DEPTH) {
        const char * at = m->data + k / DEPTH * m->step;
        if (m->chunk) {
            if (k % CHUNK == 0) {
                take_apart(at, m->stride, n_rows, MIN(CHUNK, depth - k), m->chunk, block);
            }
            at = m->chunk + k % CHUNK / DEPTH * 2 * TILE_BYTES;
        }
        load_columns(x, k / 2, 0, two_groups);
        if (apart) {
            load_rows(at + TILE_BYTES, block, stride, two_rows);
            add_products(two_rows, two_groups);
        } else {
            for (int64_t row = 0; row < n_rows; row++) {
                _mm_prefetch(at + row * stride + FETCHED_AHEAD, _MM_HINT_T0);
            }
        }
        load_rows(at, block, stride, two_rows);
        add_products(two_rows, two_groups);
        if (apart) {
            load_columns(x, k / 2, x->low, two_groups);
            add_products(two_rows, two_groups);
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

AMX_CALL void multiply_some_rows(struct rows m, int64_t n_rows, int64_t depth, const uint32_t * packed, int64_t n_columns, char * out,
                                 size_t out_stride) {
    for (int64_t column = 0; column < n_columns; column += 2 * TILE) {
        const struct columns x = { { packed + column * depth / 2, packed + (column + TILE) * depth / 2 },
                                   { MIN(TILE, n_columns - column), MIN(TILE, n_columns - column - TILE) },
                                   n_columns * depth / 2 };
        struct rows          some = m;
        for (int64_t row = 0; row < n_rows; row += 2 * TILE, some.data += 2 * m.block) {
            char * const to[2] = { out + column * out_stride + 4 * row, out + (column + TILE) * out_stride + 4 * row };
            if (x.n[1] > 0) {
                if (n_rows - row >= 2 * TILE) {
                    multiply_tiles(&some, depth, true, &x, true, to, out_stride);
                } else {
                    multiply_tiles(&some, depth, false, &x, true, to, out_stride);
                }
            } else if (n_rows - row >= 2 * TILE) {
                multiply_tiles(&some, depth, true, &x, false, to, out_stride);
            } else {
                multiply_tiles(&some, depth, false, &x, false, to, out_stride);
            }
        }
    }
}

// Multiplies rows of BF16, or of F16 by way of the buffer.
AMX static void multiply_rows(const struct ggml_tensor * matrix, int64_t row, int64_t n_rows, const uint32_t * packed,
                              int64_t n_columns, char * apart, char * out, size_t out_stride) {
    const int64_t depth     = matrix->ne[0];
    const size_t  row_bytes = matrix->nb[1];
    const char *  rows      = (const char *) matrix->data + row * row_bytes;
    struct rows   m         = { rows, row_bytes, 2 * DEPTH, TILE * row_bytes, false, NULL };
    if (matrix->type == GGML_TYPE_BF16) {
        multiply_some_rows(m, n_rows, depth, packed, n_columns, out, out_stride);
    } else if (n_columns <= 2 * TILE) {
        m.chunk = apart;
        multiply_some_rows(m, n_rows, depth, packed, n_columns, out, out_stride);
    } else {
        m = (struct rows) { apart, 64, 2 * TILE_BYTES, depth / DEPTH * 2 * TILE_BYTES, true, NULL };
        take_apart(rows, row_bytes, n_rows, depth, apart, m.block);
        multiply_some_rows(m, n_rows, depth, packed, n_columns, out, out_stride);
    }
}

// Bytes of a row of a band.
static int64_t band_bytes(const struct ggml_tensor * matrix) {
    return matrix->type == GGML_TYPE_F16 ? 4 * matrix->ne[0] : (int64_t) matrix->nb[1];
}

// Rows of a band: as many pairs of tiles as fit, or one. A chunk is no larger.
static int64_t band_rows(const struct ggml_tensor * matrix) {
    return MAX(1, BAND_BYTES / (2 * TILE * band_bytes(matrix))) * 2 * TILE;
}

AMX static void multiply(const struct ggml_compute_params * params, struct ggml_tensor * dst) {
    const struct ggml_tensor * matrix  = dst->src[0];
    const struct ggml_tensor * columns = dst->src[1];
    const int64_t depth     = matrix->ne[0];
    const int64_t n_columns = ggml_nrows(columns);
    uint32_t *    packed    = params->wdata;
    const int64_t low       = n_columns * depth / 2;
    char *        apart     = (char *) (packed + 2 * low) + params->ith * band_rows(matrix) * band_bytes(matrix);

    // Each thread packs some of the pieces of 32 values of a group.
    const int64_t steps  = depth / DEPTH;
    const int64_t pieces = (n_columns + TILE - 1) / TILE * steps;
    for (int64_t piece = pieces * params->ith / params->nth; piece < pieces * (params->ith + 1) / params->nth; piece++) {
        const int64_t column = piece / steps * TILE;
        const int64_t k      = piece % steps * DEPTH;
        const int64_t n      = MIN(TILE, n_columns - column);
        uint32_t *    to     = packed + column * depth / 2 + k / 2 * n;
        const float * from   = (const float *) columns->data + column * depth + k;
        if (matrix->type == GGML_TYPE_F16) {
            pack_apart(from, depth, n, to, to + low);
        } else {
            pack(from, depth, n, to);
        }
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
    const int64_t band  = band_rows(matrix);
    for (int64_t row = pairs * params->ith / params->nth * 2 * TILE; row < end; row += band) {
        multiply_rows(matrix, row, MIN(band, end - row), packed, n_columns, apart, (char *) dst->data + 4 * row, dst->nb[1]);
    }

    __asm__ volatile("" : : "m"(before));
    if (before.palette == 0) {
        _tile_release();
    } else {
        _tile_loadconfig(&before);
    }
}

static bool takes(const struct ggml_tensor * dst) {
    const struct ggml_tensor * matrix  = dst->src[0];
    const struct ggml_tensor * columns = dst->src[1];
    return (matrix->type == GGML_TYPE_BF16 || matrix->type == GGML_TYPE_F16) && columns->type == GGML_TYPE_F32
        && matrix->ne[0] % DEPTH == 0 && matrix->ne[1] % TILE == 0 && matrix->ne[2] * matrix->ne[3] == 1
        && matrix->nb[0] == 2 && ggml_nrows(columns) >= MIN_COLUMNS
        && ggml_is_contiguous(columns) && ggml_is_contiguous(dst) && tenpak_has_amx_bf16();
}

size_t tenpak_tiles_work_bytes(const struct ggml_tensor * dst, int n_threads) {
    if (!takes(dst)) {
        return 0;
    }
    const struct ggml_tensor * matrix = dst->src[0];
    const int64_t              n      = ggml_nelements(dst->src[1]);
    return matrix->type == GGML_TYPE_F16 ? 4 * n + n_threads * band_rows(matrix) * band_bytes(matrix) : 2 * n;
}

bool tenpak_multiply_by_tiles(const struct ggml_compute_params * params, struct ggml_tensor * dst) {
    const bool is_ours = !params->use_ref && takes(dst);
    if (is_ours) {
        multiply(params, dst);
    }
    return is_ours;
}

#else

bool tenpak_has_amx_bf16(void) {
    return false;
}

size_t tenpak_tiles_work_bytes(const struct ggml_tensor * dst, int n_threads) {
    (void) dst;
    (void) n_threads;
    return 0;
}

bool tenpak_multiply_by_tiles(const struct ggml_compute_params * params, struct ggml_tensor * dst) {
    (void) params;
    (void) dst;
    return false;
}

#endif
