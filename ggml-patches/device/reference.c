// Decoding and products of every weight type, from the tables of tenpak-tables.h and nothing else: where code for a device
// starts, and what its results are compared with, bit for bit. Plain loops in the order of docs/FORMAT.md.
//
// C99 and C++. Floats are IEEE 754 and must not be contracted or reordered (no -ffast-math, -ffp-contract=off).
// tests/device_reference.rs compares all of it with the golden files.

#include "../tenpak-tables.h"

#include <math.h>
#include <string.h>

enum { MAX_LEN = 256, TOTALS = 8 };

#ifdef __cplusplus
extern "C" {
#endif

static float f32_of_bits(uint32_t bits) {
    float value;
    memcpy(&value, &bits, sizeof(value));
    return value;
}

static float f32_at(const uint8_t * bytes) {
    float value;
    memcpy(&value, bytes, sizeof(value));
    return value;
}

// A binary16 without infinities and NaN: exponent 31 is an exponent like the others.
static float f16_at(const uint8_t * bytes) {
    const int   bits     = bytes[0] | bytes[1] << 8;
    const int   exponent = bits >> 10 & 31;
    const int   mantissa = bits & 1023;
    const float value    = exponent == 0 ? ldexpf((float) mantissa, -24) : ldexpf((float) (1024 + mantissa), exponent - 25);
    return bits >> 15 ? -value : value;
}

static int32_t i32_at(const uint8_t * bytes) {
    int32_t value;
    memcpy(&value, bytes, sizeof(value));
    return value;
}

static float scale_of(uint32_t code) {
    return code == 0 ? 0.0f : f32_of_bits((code << TENPAK_SCALE_SHIFT) + TENPAK_SCALE_BITS);
}

// ---- Trellis types ----

static float trellis_scale(const uint8_t * block) {
    return scale_of(block[TENPAK_TRELLIS_D]);
}

// The first bit of a lane in a plane.
static int place_in_plane(int width, int lanes, int lane) {
    if (width == 4 && lanes == 32) {
        return lane % 16 * 8 + lane / 16 * 4;
    }
    return width == 2 ? lane % 4 * 8 + lane / 4 * 2 : lane * width;
}

// The symbols of a block, in order: every field of every plane is some bits of a symbol of each lane.
static void unpack(const tenpak_trellis * t, const uint8_t * block, uint32_t * symbols) {
    memset(symbols, 0, t->len * sizeof(*symbols));
    for (int p = 0; p < t->n_planes; p++) {
        const tenpak_plane * plane = &t->planes[p];
        for (int lane = 0; lane < t->lanes; lane++) {
            const int place  = place_in_plane(plane->width, t->lanes, lane);
            uint32_t  number = block[TENPAK_TRELLIS_QS + plane->offset + place / 8] >> place % 8;
            for (int f = 0; f < plane->n_fields; f++) {
                const tenpak_field field = plane->fields[f];
                symbols[t->steps * lane + field.step] |= (number & ((1u << field.bits) - 1)) << field.first;
                number >>= field.bits;
            }
        }
    }
}

// The values of a block before scale and rotation, in order: each is that of the window that ends with its symbol.
static void reconstruct(const tenpak_trellis * t, const tenpak_code * code, const uint8_t * block, int32_t * r) {
    uint32_t symbols[MAX_LEN];
    unpack(t, block, symbols);
    uint32_t window = block[TENPAK_TRELLIS_HISTORY];
    for (int i = 0; i < t->len; i++) {
        window = (window << code->bits[i % 2] | symbols[i]) & ((1u << code->window) - 1);
        uint8_t hash = 0;
        for (int b = 0; b < code->window; b++) {
            hash ^= window >> b & 1 ? code->columns[b] : 0;
        }
        r[i] = code->v0[hash & 15] + code->v1[hash >> 4] - TENPAK_ZERO_POINT;
    }
}

// Weights: the inverse rotation of the values, times the scale. Sums are integers, so their order does not matter.
static void trellis_to_float(const tenpak_trellis * t, const tenpak_code * code, const uint8_t * block, float * w) {
    int32_t y[MAX_LEN];
    reconstruct(t, code, block, y);
    for (int half = 1; half < t->len; half *= 2) {
        for (int i = 0; i < t->len; i++) {
            if (!(i & half)) {
                const int32_t low = y[i], high = y[i + half];
                y[i]        = low + high;
                y[i + half] = low - high;
            }
        }
    }
    const float scale = trellis_scale(block) * t->unit;
    for (int i = 0; i < t->len; i++) {
        const float sign = tenpak_signs[i / 64] >> i % 64 & 1 ? -1.0f : 1.0f;
        w[i] = (float) y[i] * (sign * scale);
    }
}

// The product of rows of n blocks: in each block an exact integer, and one chain of f32 sums over the blocks.
static float trellis_dot(const tenpak_trellis * t, const tenpak_code * code, int n, const uint8_t * w, const uint8_t * a) {
    float total = 0.0f;
    for (int b = 0; b < n; b++, w += t->bytes, a += TENPAK_A8_QS + t->len) {
        int32_t r[MAX_LEN];
        reconstruct(t, code, w, r);
        const int8_t * q       = (const int8_t *) (a + TENPAK_A8_QS);
        int32_t        integer = 0;
        for (int i = 0; i < t->len; i++) {
            integer += r[i] * q[t->lanes * (i % t->steps) + i / t->steps];
        }
        total += (trellis_scale(w) * f32_at(a + TENPAK_A8_D)) * (float) integer;
    }
    return total;
}

#define TRELLIS(name, code)                                                                              \
    void tenpak_reference_##name##_to_float(const uint8_t * block, float * w) {                          \
        trellis_to_float(&tenpak_##name, &tenpak_code_##code, block, w);                                 \
    }                                                                                                    \
    float tenpak_reference_##name##_dot(int n_blocks, const uint8_t * w, const uint8_t * a) {            \
        return trellis_dot(&tenpak_##name, &tenpak_code_##code, n_blocks, w, a);                         \
    }
TENPAK_FOR_EACH_TRELLIS(TRELLIS)

// ---- Types with codes of 4 bits ----

// The code of weight i.
static int code4(const tenpak_codes4 * t, const uint8_t * block, int i) {
    const int half = t->len / 2;
    return i < half ? block[t->qs + i] & 15 : block[t->qs + i - half] >> 4;
}

static float g4_128_scale(const uint8_t * block) {
    return f16_at(block + TENPAK_G4_D);
}

static float g4_128_weight(const uint8_t * block, int code) {
    return (float) (code - block[TENPAK_G4_ZERO]) * g4_128_scale(block);
}

static float g4_128_unit(const uint8_t * block) {
    return g4_128_scale(block);
}

static int g4_128_zero(const uint8_t * block) {
    return block[TENPAK_G4_ZERO];
}

static float nf4_64_scale(const uint8_t * block) {
    const float d = f32_at(block + TENPAK_NF4_D);
    return isfinite(d) ? d : 0.0f;
}

static float nf4_64_weight(const uint8_t * block, int code) {
    return tenpak_nf4[code] * nf4_64_scale(block);
}

static float nf4_64_unit(const uint8_t * block) {
    return nf4_64_scale(block) * (1.0f / TENPAK_NF4_UNIT);
}

static int nf4_64_zero(const uint8_t * block) {
    (void) block;
    return TENPAK_NF4_ZERO;
}

// The part of a product that one block of activations makes, added to the totals. `first` is the first weight that it meets.
static void add_codes4(const tenpak_codes4 * t, const uint8_t * w, int first, float unit, int zero, const uint8_t * a, float * totals) {
    const int8_t * q = (const int8_t *) (a + TENPAK_Q8_QS);
    int32_t sums[TOTALS] = { -zero * i32_at(a + TENPAK_Q8_SUM) };
    for (int i = 0; i < TENPAK_Q8_LEN; i++) {
        sums[i / 4 % TOTALS] += t->integers[code4(t, w, first + i)] * q[i];
    }
    const float scale = unit * f32_at(a + TENPAK_Q8_D);
    for (int l = 0; l < TOTALS; l++) {
        totals[l] += scale * (float) sums[l];
    }
}

#define CODES4(name)                                                                                     \
    void tenpak_reference_##name##_to_float(const uint8_t * block, float * w) {                          \
        for (int i = 0; i < tenpak_##name.len; i++) {                                                    \
            w[i] = name##_weight(block, code4(&tenpak_##name, block, i));                                \
        }                                                                                                \
    }                                                                                                    \
    float tenpak_reference_##name##_dot(int n_blocks, const uint8_t * w, const uint8_t * a) {            \
        const tenpak_codes4 * t = &tenpak_##name;                                                        \
        float T[TOTALS] = { 0 };                                                                         \
        for (int b = 0; b < n_blocks; b++, w += t->bytes) {                                              \
            for (int first = 0; first < t->len; first += TENPAK_Q8_LEN, a += TENPAK_Q8_BYTES) {          \
                add_codes4(t, w, first, name##_unit(w), name##_zero(w), a, T);                           \
            }                                                                                            \
        }                                                                                                \
        return ((T[0] + T[4]) + (T[2] + T[6])) + ((T[1] + T[5]) + (T[3] + T[7]));                        \
    }
TENPAK_FOR_EACH_CODES4(CODES4)

// ---- Types whose weights have codes of their own ----

// Codes and pattern of group j.
static void group_numbers(const tenpak_direct * t, const uint8_t * block, int j, int * numbers) {
    memset(numbers, 0, (TENPAK_DIRECT_PATTERN + 1) * sizeof(*numbers));
    for (int p = 0; p < t->n_parts; p++) {
        const tenpak_direct_part * part  = &t->parts[p];
        const int                  bytes = 8 * part->width;
        int bits = block[t->codes + part->offset + j % bytes] >> j / bytes * part->width;
        for (int f = 0; f < part->n_fields; f++) {
            const tenpak_direct_field field = part->fields[f];
            numbers[field.number] |= (bits & ((1 << field.bits) - 1)) << field.first;
            bits >>= field.bits;
        }
    }
}

// The levels of a block, 0 for weights that are not kept.
static void direct_levels(const tenpak_direct * t, const uint8_t * block, int32_t * r) {
    for (int j = 0; j < t->len / 4; j++) {
        int numbers[TENPAK_DIRECT_PATTERN + 1];
        group_numbers(t, block, j, numbers);
        const int kept = t->patterns[numbers[TENPAK_DIRECT_PATTERN]];
        for (int i = 0, n = 0; i < 4; i++) {
            r[4 * j + i] = kept >> i & 1 ? t->levels[numbers[n++]] : 0;
        }
    }
}

static const uint8_t * slot_of(const uint8_t * block, int slot) {
    return block + TENPAK_DIRECT_SLOTS + slot * TENPAK_DIRECT_SLOT_BYTES;
}

static void direct_to_float(const tenpak_direct * t, const uint8_t * block, float * w) {
    int32_t r[MAX_LEN];
    direct_levels(t, block, r);
    for (int i = 0; i < t->len; i++) {
        w[i] = (float) r[i] * scale_of(block[TENPAK_DIRECT_D]);
    }
    for (int s = 0; s < t->slots; s++) {
        const uint8_t * slot = slot_of(block, s);
        w[slot[TENPAK_DIRECT_SLOT_INDEX]] += f16_at(slot + TENPAK_DIRECT_SLOT_VALUE);
    }
}

// The quant of weight i in a block of activations.
static int32_t quant_of(const uint8_t * a, int i) {
    return ((const int8_t *) (a + TENPAK_A8_QS))[64 * (i % 4) + i / 4];
}

static float direct_dot(const tenpak_direct * t, int n, const uint8_t * w, const uint8_t * a) {
    float total = 0.0f;
    for (int b = 0; b < n; b++, w += t->bytes, a += TENPAK_A8_QS + t->len) {
        int32_t r[MAX_LEN];
        direct_levels(t, w, r);
        int32_t integer = 0;
        for (int i = 0; i < t->len; i++) {
            integer += r[i] * quant_of(a, i);
        }
        const float d    = f32_at(a + TENPAK_A8_D);
        float       term = (scale_of(w[TENPAK_DIRECT_D]) * d) * (float) integer;
        for (int s = 0; s < t->slots; s++) {
            const uint8_t * slot = slot_of(w, s);
            term += (f16_at(slot + TENPAK_DIRECT_SLOT_VALUE) * d) * (float) quant_of(a, slot[TENPAK_DIRECT_SLOT_INDEX]);
        }
        total += term;
    }
    return total;
}

#define DIRECT(name)                                                                                     \
    void tenpak_reference_##name##_to_float(const uint8_t * block, float * w) {                          \
        direct_to_float(&tenpak_##name, block, w);                                                       \
    }                                                                                                    \
    float tenpak_reference_##name##_dot(int n_blocks, const uint8_t * w, const uint8_t * a) {            \
        return direct_dot(&tenpak_##name, n_blocks, w, a);                                               \
    }
TENPAK_FOR_EACH_DIRECT(DIRECT)

#ifdef __cplusplus
}
#endif
