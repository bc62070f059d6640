#include "tenpak-lanes.h"

#if defined(__x86_64__) && defined(__GNUC__) && (defined(__clang__) || __GNUC__ >= 11)

#include "ggml-impl.h"
#include "tenpak-transpose.h"

// A word is one value as a float or, where BF16 is multiplied in pairs, two of BF16 that follow each other. The lanes of a vector
// are columns, the last of which may be none:
//
//   group    columns of two vectors, or of one at the end, with all their values: word | column of the group
//   panel    rows of the matrix and some of their values: row | word. What the next panel is made of is fetched into the second
//            cache meanwhile: a step of a few columns waits for memory otherwise
//   tile     the sums of some rows of a panel and of a group, which stay in registers while words go by: 24 of AVX-512's 32
//            registers, 12 of AVX2's 16
//
// A thread makes a panel, multiplies it with one group after the other, and goes on with the next words of the same rows. Sums wait
// meanwhile, group | row | column, and are transposed when all words are through. All threads pack the groups into the work buffer;
// panels and sums of each are behind them.
#define PANEL_ROWS  96
#define PANEL_DEPTH 256

// From a row of a panel to the next: without the space between them, too many begin in the same lines of the first cache.
#define PANEL_STRIDE (PANEL_DEPTH + 16)

// Columns that one panel is multiplied with. More take another of the same weights.
#define SUM_COLUMNS 512

#define PRIVATE_FLOATS (PANEL_ROWS * (PANEL_STRIDE + SUM_COLUMNS))

// Rows and words are multiples of so many.
#define STEP 16

// Fewer columns than these are left to ggml.
#define MIN_COLUMNS 4

// Chunks of rows for each thread, if there are as many: threads are not equally fast.
#define CHUNKS 4

// Bytes of a line of the caches.
#define LINE 64

// Rows of a matrix from one of their words on; none without data.
struct rows {
    const char * data;
    size_t       row_bytes;
    size_t       word_bytes; // in the matrix: of its value, or of two
};

#define LANES           16
#define VECTOR          __m512
#define TILE_ROWS       12
#define TARGET          __attribute__((target("avx512f")))
#define NAME(name)      name##_avx512
#define ZERO            _mm512_setzero_ps
#define LOAD            _mm512_loadu_ps
#define STORE           _mm512_storeu_ps
#define ALL_LANES       _mm512_set1_ps
#define MULTIPLY_ADD    _mm512_fmadd_ps
#define HALVES          __m256i
#define LOAD_HALVES     _mm256_loadu_si256
#define FROM_F16        _mm512_cvtph_ps
#define FROM_BF16(w)    _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(w), 16))

TARGET __attribute__((always_inline)) static inline void transpose_avx512(__m512 v[16]) {
    __m512i words[16];
    for (int i = 0; i < 16; i++) {
        words[i] = _mm512_castps_si512(v[i]);
    }
    tenpak_transpose(words);
    for (int i = 0; i < 16; i++) {
        v[i] = _mm512_castsi512_ps(words[i]);
    }
}

#define WORD_VALUES     1
#define WORDS_OF        _mm512_loadu_ps
#include "tenpak-lanes.inc"

// Pairs of BF16: words of the matrix are copied as floats would be.
#define LANES           16
#define VECTOR          __m512
#define TILE_ROWS       12
#define TARGET          __attribute__((target("avx512f,avx512bf16")))
#define NAME(name)      name##_pairs
#define ZERO            _mm512_setzero_ps
#define LOAD            _mm512_loadu_ps
#define STORE           _mm512_storeu_ps
#define ALL_LANES       _mm512_set1_ps
#define MULTIPLY_ADD(w, x, sum) _mm512_dpbf16_ps(sum, (__m512bh) (w), (__m512bh) (x))
#define WORD_VALUES     2
#define WORDS_OF(p)     ((__m512) _mm512_cvtne2ps_pbh(_mm512_loadu_ps((p) + 16), _mm512_loadu_ps(p)))
#define transpose_pairs transpose_avx512
#include "tenpak-lanes.inc"

#define LANES           8
#define VECTOR          __m256
#define TILE_ROWS       6
#define TARGET          __attribute__((target("avx2,fma,f16c")))
#define NAME(name)      name##_avx2
#define ZERO            _mm256_setzero_ps
#define LOAD            _mm256_loadu_ps
#define STORE           _mm256_storeu_ps
#define ALL_LANES       _mm256_set1_ps
#define MULTIPLY_ADD    _mm256_fmadd_ps
#define HALVES          __m128i
#define LOAD_HALVES     _mm_loadu_si128
#define FROM_F16        _mm256_cvtph_ps
#define FROM_BF16(w)    _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(w), 16))

TARGET __attribute__((always_inline)) static inline void transpose_avx2(__m256 v[8]) {
    __m256 t[8];
    for (int i = 0; i < 8; i += 2) {
        t[i]     = _mm256_unpacklo_ps(v[i], v[i + 1]);
        t[i + 1] = _mm256_unpackhi_ps(v[i], v[i + 1]);
    }
    for (int i = 0; i < 8; i += 4) {
        v[i]     = _mm256_shuffle_ps(t[i], t[i + 2], 0x44);
        v[i + 1] = _mm256_shuffle_ps(t[i], t[i + 2], 0xee);
        v[i + 2] = _mm256_shuffle_ps(t[i + 1], t[i + 3], 0x44);
        v[i + 3] = _mm256_shuffle_ps(t[i + 1], t[i + 3], 0xee);
    }
    for (int i = 0; i < 4; i++) {
        t[i]     = _mm256_permute2f128_ps(v[i], v[i + 4], 0x20);
        t[i + 4] = _mm256_permute2f128_ps(v[i], v[i + 4], 0x31);
    }
    for (int i = 0; i < 8; i++) {
        v[i] = t[i];
    }
}

#define WORD_VALUES     1
#define WORDS_OF        _mm256_loadu_ps
#include "tenpak-lanes.inc"

struct kernels {
    int64_t lanes;
    int64_t word_values;
    void (*pack_groups)(const struct ggml_compute_params *, const struct ggml_tensor *);
    void (*multiply_rows)(struct ggml_tensor *, const float *, int64_t, int64_t, int64_t, float *);
};

static const struct kernels AVX2   = { 8, 1, pack_groups_avx2, multiply_rows_avx2 };
static const struct kernels AVX512 = { 16, 1, pack_groups_avx512, multiply_rows_avx512 };
static const struct kernels PAIRS  = { 16, 2, pack_groups_pairs, multiply_rows_pairs };

// Intel's processors have the instruction too, but with it products are slower than with floats (Emerald Rapids: .7 times as fast).
bool tenpak_has_bf16_pairs(void) {
    return __builtin_cpu_supports("avx512bf16") && __builtin_cpu_is("amd");
}

// What multiplies a node; NULL if nothing here does.
static const struct kernels * kernels_for(const struct ggml_tensor * dst) {
    const struct ggml_tensor * matrix  = dst->src[0];
    const struct ggml_tensor * columns = dst->src[1];
    const bool has_floats = matrix->type == GGML_TYPE_F32 || matrix->type == GGML_TYPE_F16 || matrix->type == GGML_TYPE_BF16;
    if (!has_floats || columns->type != GGML_TYPE_F32 || matrix->ne[0] % STEP != 0 || matrix->ne[1] % STEP != 0
        || matrix->ne[2] * matrix->ne[3] != 1 || matrix->nb[0] != ggml_type_size(matrix->type) || ggml_nrows(columns) < MIN_COLUMNS
        || !ggml_is_contiguous(columns) || !ggml_is_contiguous(dst)) {
        return NULL;
    }
    if (__builtin_cpu_supports("avx512f")) {
        const bool in_pairs = matrix->type == GGML_TYPE_BF16 && matrix->ne[0] % (2 * STEP) == 0;
        return in_pairs && tenpak_has_bf16_pairs() ? &PAIRS : &AVX512;
    }
    // Processors with AVX2 have F16C, for which older Clangs cannot ask.
    return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") ? &AVX2 : NULL;
}

// Words of the packed groups, of which the last vector is filled.
static int64_t packed_words(const struct kernels * kernels, const struct ggml_tensor * dst) {
    return dst->src[0]->ne[0] / kernels->word_values * GGML_PAD(ggml_nrows(dst->src[1]), kernels->lanes);
}

// Rows of a chunk.
static int64_t chunk_rows(int64_t n_rows, int n_threads) {
    const int64_t wanted = n_rows / (CHUNKS * n_threads);
    return wanted >= PANEL_ROWS ? PANEL_ROWS : wanted >= PANEL_ROWS / 2 ? PANEL_ROWS / 2 : STEP;
}

size_t tenpak_lanes_work_bytes(const struct ggml_tensor * dst, int n_threads) {
    const struct kernels * kernels = kernels_for(dst);
    return kernels ? sizeof(float) * (packed_words(kernels, dst) + n_threads * PRIVATE_FLOATS) + LINE : 0;
}

bool tenpak_multiply_by_lanes(const struct ggml_compute_params * params, struct ggml_tensor * dst) {
    const struct kernels * kernels = params->use_ref ? NULL : kernels_for(dst);
    if (kernels == NULL) {
        return false;
    }
    const int64_t n_rows = dst->src[0]->ne[1];
    const int64_t rows   = chunk_rows(n_rows, params->nth);
    kernels->pack_groups(params, dst->src[1]);
    if (params->ith == 0) {
        ggml_threadpool_chunk_set(params->threadpool, params->nth);
    }
    ggml_barrier(params->threadpool);
    float * space = (float *) params->wdata + packed_words(kernels, dst);
    space = (float *) GGML_PAD((uintptr_t) space, LINE) + params->ith * PRIVATE_FLOATS;
    for (int64_t first = params->ith * rows; first < n_rows;) {
        const int64_t next = ggml_threadpool_chunk_add(params->threadpool, 1) * rows;
        kernels->multiply_rows(dst, params->wdata, first, MIN(rows, n_rows - first), next, space);
        first = next;
    }
    return true;
}

#else

bool tenpak_has_bf16_pairs(void) {
    return false;
}

size_t tenpak_lanes_work_bytes(const struct ggml_tensor * dst, int n_threads) {
    (void) dst;
    (void) n_threads;
    return 0;
}

bool tenpak_multiply_by_lanes(const struct ggml_compute_params * params, struct ggml_tensor * dst) {
    (void) params;
    (void) dst;
    return false;
}

#endif
