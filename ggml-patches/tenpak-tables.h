// The constants of tenpak-gguf's tensor types, for decoders in C, C++ and CUDA. Generated from src/types by
//     cargo run --example render_header tables > ggml-patches/tenpak-tables.h
// docs/FORMAT.md defines the types; its sections are named here. ggml-patches/device/reference.c decodes with these tables.
#pragma once

#include <stdint.h>

// What stands before every table. A file that includes this one may define it before: C++ as `static constexpr`, so that
// templates take the constants; CUDA as `static constexpr __device__`, so that kernels read the tables too.
#ifndef TENPAK_TABLE
#define TENPAK_TABLE static const
#endif

// ---- Trellis types ----

// A trellis code (section 4). The window holds the newest symbol in its lowest bits. The hash of a window is the XOR of the
// columns of its set bits, and the value of a hash h is v0[h & 15] + v1[h >> 4] - TENPAK_ZERO_POINT.
typedef struct {
    int     bits[2];     // bits of the symbols of even and of odd weights of a block
    int     window;      // bits in the window
    int     period;      // bits after which the columns repeat, doubled: columns[b + period] = columns[b] << 1
    uint8_t columns[16]; // by bit of the window, lowest first; 0 beyond the window
    uint8_t v0[16];      // by the low four bits of the hash
    uint8_t v1[16];      // by the high four bits of the hash
    float   sigma;       // standard deviation of the values when symbols are uniform: for encoders (section 11)
} tenpak_code;

#define TENPAK_ZERO_POINT 64      // what the sums of v0 and v1 are too large by

// The code of t2 and t2_64.
TENPAK_TABLE tenpak_code tenpak_code_2 = {
    { 2, 2 }, 16, 8,
    { 46, 164, 9, 98, 244, 78, 46, 97, 92, 72, 18, 196, 232, 156, 92, 194 },
    { 53, 31, 25, 39, 27, 37, 23, 63, 41, 17, 43, 15, 0, 37, 34, 11 },
    { 38, 18, 16, 25, 28, 46, 36, 50, 41, 48, 62, 29, 22, 36, 31, 1 },
    21.263f,
};

// The code of t25 and t25_64.
TENPAK_TABLE tenpak_code tenpak_code_25 = {
    { 2, 3 }, 15, 5,
    { 151, 96, 69, 115, 237, 46, 192, 138, 230, 218, 92, 128, 20, 204, 180, 0 },
    { 30, 13, 31, 52, 26, 33, 35, 22, 42, 46, 0, 21, 16, 38, 45, 63 },
    { 12, 16, 1, 53, 24, 28, 51, 41, 31, 24, 32, 40, 39, 64, 20, 36 },
    21.242f,
};

// The code of t3 and t3_64.
TENPAK_TABLE tenpak_code tenpak_code_3 = {
    { 3, 3 }, 15, 6,
    { 3, 36, 20, 237, 183, 212, 6, 72, 40, 218, 110, 168, 12, 144, 80, 0 },
    { 62, 34, 18, 37, 36, 26, 43, 20, 49, 53, 27, 41, 24, 12, 31, 0 },
    { 1, 34, 20, 37, 29, 42, 63, 42, 23, 35, 27, 52, 18, 47, 32, 12 },
    20.475f,
};

// The code of t35 and t35_64.
TENPAK_TABLE tenpak_code tenpak_code_35 = {
    { 4, 3 }, 16, 7,
    { 178, 176, 138, 9, 61, 115, 8, 100, 96, 20, 18, 122, 230, 16, 200, 192 },
    { 13, 0, 64, 30, 33, 39, 44, 54, 21, 27, 36, 37, 42, 48, 24, 18 },
    { 46, 1, 20, 36, 11, 23, 16, 62, 26, 39, 35, 30, 28, 41, 51, 32 },
    20.337f,
};

// The code of t4 and t4_64.
TENPAK_TABLE tenpak_code tenpak_code_4 = {
    { 4, 4 }, 16, 8,
    { 126, 139, 186, 65, 24, 144, 155, 15, 252, 22, 116, 130, 48, 32, 54, 30 },
    { 22, 26, 41, 38, 33, 32, 35, 19, 25, 29, 62, 9, 0, 45, 49, 16 },
    { 31, 24, 55, 48, 15, 37, 43, 28, 45, 26, 1, 32, 63, 35, 40, 21 },
    19.616f,
};

// The code of t5 and t5_64.
TENPAK_TABLE tenpak_code tenpak_code_5 = {
    { 5, 5 }, 15, 5,
    { 17, 142, 246, 10, 250, 34, 28, 236, 20, 244, 68, 56, 216, 40, 232, 0 },
    { 61, 20, 26, 41, 24, 48, 31, 17, 9, 29, 34, 0, 22, 39, 36, 43 },
    { 1, 29, 37, 41, 20, 45, 23, 39, 48, 34, 31, 55, 33, 64, 15, 27 },
    18.324f,
};

// Some bits of the symbol of one step, as they lie in a plane (section 3).
typedef struct {
    int step;  // which symbol of the lane
    int first; // the lowest of its bits that is here
    int bits;  // how many bits
} tenpak_field;

// A plane: one number of `width` bits for each lane. Lane j of a plane of 8 bits is byte j. Of a plane of 4 bits with 16 lanes it
// is the low half of byte j / 2 if j is even, else the high half; with 32 lanes the low half of byte j if j < 16, else the high half
// of byte j - 16. Of a plane of 2 bits it is the bits from 2 (j / 4) on of byte j % 4. The fields fill a number from its lowest bit.
typedef struct {
    int          offset; // first byte of the plane in `qs`
    int          width;  // bits for a lane: 8, 4 or 2
    int          n_fields;
    tenpak_field fields[7];
} tenpak_plane;

// The layout of a trellis type (sections 2 and 3). Symbol i = steps * j + t is that of lane j and step t. The history byte
// holds the symbols before symbol 0, the newest lowest.
typedef struct {
    int          len;   // weights of a block
    int          bytes; // bytes of a block
    int          steps; // symbols of a lane
    int          lanes;
    float        unit;  // 1 / sqrt(len), the normalisation of the rotation
    int          n_planes;
    tenpak_plane planes[5];
} tenpak_trellis;

// Places in a block of a trellis type, in bytes.
#define TENPAK_TRELLIS_D 0        // scale code
#define TENPAK_TRELLIS_HISTORY 1  // history
#define TENPAK_TRELLIS_QS 2       // planes

TENPAK_TABLE tenpak_trellis tenpak_t2 = {
    256, 66, 8, 32, 0.0625f, 2, {
        { 0, 8, 4, { { 7, 0, 2 }, { 6, 0, 2 }, { 5, 0, 2 }, { 4, 0, 2 } } },
        { 32, 8, 4, { { 3, 0, 2 }, { 2, 0, 2 }, { 1, 0, 2 }, { 0, 0, 2 } } },
    },
};

TENPAK_TABLE tenpak_trellis tenpak_t3 = {
    256, 98, 8, 32, 0.0625f, 3, {
        { 0, 8, 3, { { 7, 0, 3 }, { 6, 0, 3 }, { 5, 0, 2 } } },
        { 32, 8, 3, { { 1, 0, 3 }, { 0, 0, 3 }, { 4, 0, 2 } } },
        { 64, 8, 4, { { 3, 0, 3 }, { 2, 0, 3 }, { 4, 2, 1 }, { 5, 2, 1 } } },
    },
};

TENPAK_TABLE tenpak_trellis tenpak_t4 = {
    256, 130, 8, 32, 0.0625f, 4, {
        { 0, 8, 2, { { 7, 0, 4 }, { 6, 0, 4 } } },
        { 32, 8, 2, { { 1, 0, 4 }, { 0, 0, 4 } } },
        { 64, 8, 2, { { 3, 0, 4 }, { 2, 0, 4 } } },
        { 96, 8, 2, { { 5, 0, 4 }, { 4, 0, 4 } } },
    },
};

TENPAK_TABLE tenpak_trellis tenpak_t2_64 = {
    64, 18, 4, 16, 0.125f, 1, {
        { 0, 8, 4, { { 3, 0, 2 }, { 2, 0, 2 }, { 1, 0, 2 }, { 0, 0, 2 } } },
    },
};

TENPAK_TABLE tenpak_trellis tenpak_t3_64 = {
    64, 26, 4, 16, 0.125f, 2, {
        { 0, 8, 3, { { 3, 0, 3 }, { 2, 0, 3 }, { 1, 0, 2 } } },
        { 16, 4, 2, { { 0, 0, 3 }, { 1, 2, 1 } } },
    },
};

TENPAK_TABLE tenpak_trellis tenpak_t4_64 = {
    64, 34, 4, 16, 0.125f, 2, {
        { 0, 8, 2, { { 3, 0, 4 }, { 2, 0, 4 } } },
        { 16, 8, 2, { { 1, 0, 4 }, { 0, 0, 4 } } },
    },
};

TENPAK_TABLE tenpak_trellis tenpak_t25 = {
    256, 82, 8, 32, 0.0625f, 3, {
        { 0, 8, 3, { { 7, 0, 3 }, { 6, 0, 2 }, { 5, 0, 3 } } },
        { 32, 8, 3, { { 4, 0, 2 }, { 3, 0, 3 }, { 1, 0, 3 } } },
        { 64, 4, 2, { { 2, 0, 2 }, { 0, 0, 2 } } },
    },
};

TENPAK_TABLE tenpak_trellis tenpak_t35 = {
    256, 114, 8, 32, 0.0625f, 4, {
        { 0, 8, 3, { { 7, 0, 3 }, { 6, 0, 4 }, { 5, 0, 1 } } },
        { 32, 8, 3, { { 4, 0, 4 }, { 5, 1, 2 }, { 3, 0, 2 } } },
        { 64, 8, 2, { { 2, 0, 4 }, { 0, 0, 4 } } },
        { 96, 4, 2, { { 1, 0, 3 }, { 3, 2, 1 } } },
    },
};

TENPAK_TABLE tenpak_trellis tenpak_t25_64 = {
    64, 22, 4, 16, 0.125f, 2, {
        { 0, 8, 3, { { 3, 0, 3 }, { 2, 0, 2 }, { 1, 0, 3 } } },
        { 16, 2, 1, { { 0, 0, 2 } } },
    },
};

TENPAK_TABLE tenpak_trellis tenpak_t35_64 = {
    64, 30, 4, 16, 0.125f, 3, {
        { 0, 8, 3, { { 3, 0, 3 }, { 2, 0, 4 }, { 1, 0, 1 } } },
        { 16, 4, 1, { { 0, 0, 4 } } },
        { 24, 2, 1, { { 1, 1, 2 } } },
    },
};

TENPAK_TABLE tenpak_trellis tenpak_t5 = {
    256, 162, 8, 32, 0.0625f, 5, {
        { 0, 8, 2, { { 7, 0, 5 }, { 6, 0, 3 } } },
        { 32, 8, 2, { { 5, 0, 4 }, { 4, 0, 4 } } },
        { 64, 8, 2, { { 3, 0, 4 }, { 2, 0, 4 } } },
        { 96, 8, 2, { { 1, 0, 4 }, { 0, 0, 4 } } },
        { 128, 8, 7, { { 6, 3, 2 }, { 5, 4, 1 }, { 4, 4, 1 }, { 3, 4, 1 }, { 2, 4, 1 }, { 1, 4, 1 }, { 0, 4, 1 } } },
    },
};

TENPAK_TABLE tenpak_trellis tenpak_t5_64 = {
    64, 42, 4, 16, 0.125f, 3, {
        { 0, 8, 2, { { 3, 0, 5 }, { 2, 0, 3 } } },
        { 16, 8, 2, { { 1, 0, 4 }, { 0, 0, 4 } } },
        { 32, 4, 3, { { 2, 3, 2 }, { 1, 4, 1 }, { 0, 4, 1 } } },
    },
};

// X(name, code): every trellis type; tenpak_NAME is its layout and tenpak_code_CODE its code.
#define TENPAK_FOR_EACH_TRELLIS(X) \
    X(t2, 2) \
    X(t3, 3) \
    X(t4, 4) \
    X(t2_64, 2) \
    X(t3_64, 3) \
    X(t4_64, 4) \
    X(t25, 25) \
    X(t35, 35) \
    X(t25_64, 25) \
    X(t35_64, 35) \
    X(t5, 5) \
    X(t5_64, 5)

// The scale of code c is the f32 whose bits are (c << TENPAK_SCALE_SHIFT) + TENPAK_SCALE_BITS; of code 0 it is 0 (section 5).
#define TENPAK_SCALE_SHIFT 20
#define TENPAK_SCALE_BITS 0x32800000

// Element i of the rotation changes its sign if bit i % 64 of word i / 64 is set (section 6).
TENPAK_TABLE uint64_t tenpak_signs[4] = { 0x34b33c87808eb7b0, 0x8f007a6b78eecf27, 0x7fe585d0c206316c, 0x2372c2990f3d44d9 };

// Places in a block of activations a8 or a8_64, in bytes (section 8). Element i = steps * j + t of a block is
// the i8 at TENPAK_A8_QS + lanes * t + j, with the steps and lanes of the weights.
#define TENPAK_A8_D 0             // scale, f32
#define TENPAK_A8_SUM 4           // sum of the quants, i32
#define TENPAK_A8_QS 8            // quants, i8; the block has as many as its weights

// ---- Types with codes of 4 bits (section 15) ----

// The layout of such a type. Code i of a block is the low half of byte `qs` + i for i < len / 2, else the high half of byte
// `qs` + i - len / 2. Products take the integer of a code, which is too large by a zero point.
typedef struct {
    int      len;   // weights of a block
    int      bytes; // bytes of a block
    int      qs;    // first byte of the codes
    uint16_t integers[16];
} tenpak_codes4;

// g4_128: a weight is (code - zero) * d, with an unsigned byte as zero point. The d is a binary16 in which exponent 31
// is one like the others.
#define TENPAK_G4_D 0             // scale, binary16
#define TENPAK_G4_ZERO 2          // zero point

TENPAK_TABLE tenpak_codes4 tenpak_g4_128 = {
    128, 67, 3,
    { 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15 },
};

// nf4_64: a weight is tenpak_nf4[code] * d. A d that is infinite or NaN counts as 0. In products the zero point of the
// integers is NF4_ZERO and their unit d * (1 / NF4_UNIT), in f32.
#define TENPAK_NF4_D 0            // scale, f32
#define TENPAK_NF4_ZERO 8192      // the integer of weight 0
#define TENPAK_NF4_UNIT 8191.0f   // the integer of weight 1, less the zero point

TENPAK_TABLE tenpak_codes4 tenpak_nf4_64 = {
    64, 36, 4,
    { 1, 2489, 3891, 4957, 5862, 6679, 7446, 8192, 8844, 9510, 10208, 10960, 11802, 12800, 14114, 16383 },
};

TENPAK_TABLE float tenpak_nf4[16] = {
    -1.0f, -0.6961928f, -0.52507305f, -0.3949175f,
    -0.28444138f, -0.18477343f, -0.091050036f, 0.0f,
    0.0795803f, 0.1609302f, 0.2461123f, 0.33791524f,
    0.44070983f, 0.562617f, 0.72295684f, 1.0f,
};

// X(name): every type with codes of 4 bits; tenpak_NAME is its layout.
#define TENPAK_FOR_EACH_CODES4(X) \
    X(g4_128) \
    X(nf4_64)

// Places in a block of activations q8_64, in bytes. Quant i is the i8 at TENPAK_Q8_QS + i.
#define TENPAK_Q8_LEN 64          // activations of a block
#define TENPAK_Q8_BYTES 72        // bytes of a block
#define TENPAK_Q8_D 0             // scale, f32
#define TENPAK_Q8_SUM 4           // sum of the quants, i32
#define TENPAK_Q8_QS 8            // quants, i8

// ---- Types whose weights have codes of their own (section 16) ----

// Some bits of one number of a group of four weights.
typedef struct {
    int number; // 0 to 3: the code of the weight that is kept as the nth; TENPAK_DIRECT_PATTERN: the pattern
    int first;  // the lowest of its bits that is here
    int bits;   // how many bits
} tenpak_direct_field;

// A part of the codes: `width` bits for each of 64 groups. Those of group j begin in byte j % (8 * width) of the part, at bit
// j / (8 * width) * width. The fields fill them from the lowest on.
typedef struct {
    int                 offset; // first byte of the part in the codes
    int                 width;  // bits for a group: 8, 4, 2 or 1
    int                 n_fields;
    tenpak_direct_field fields[4];
} tenpak_direct_part;

// The layout of such a type. A block begins with the scale code (section 5), slots and codes. Weight i = 4 * j + t is kept if bit t of the
// pattern of group j is set, and then it is the level of its code times the scale; else it is 0.
typedef struct {
    int                len;   // weights of a block
    int                bytes; // bytes of a block
    int                slots; // of TENPAK_DIRECT_SLOT_BYTES each, from byte TENPAK_DIRECT_SLOTS on
    int                codes; // first byte of the codes
    int8_t             levels[16];
    uint8_t            patterns[8];
    int                n_parts;
    tenpak_direct_part parts[3];
} tenpak_direct;

#define TENPAK_DIRECT_PATTERN 4   // the number of a group that is its pattern

// Places in a block, in bytes. What a slot's value is added to is the weight of its index.
#define TENPAK_DIRECT_D 0         // scale code
#define TENPAK_DIRECT_SLOTS 1     // slots
#define TENPAK_DIRECT_SLOT_BYTES 3
#define TENPAK_DIRECT_SLOT_INDEX 0 // u8
#define TENPAK_DIRECT_SLOT_VALUE 1 // binary16 in which exponent 31 is one like the others

TENPAK_TABLE tenpak_direct tenpak_o4 = {
    256, 132, 1, 4,
    { -61, -46, -36, -28, -21, -15, -9, -3, 3, 9, 15, 21, 28, 36, 46, 61 },
    { 15, 15, 15, 15, 15, 15, 15, 15 },
    2, {
        { 0, 8, 2, { { 0, 0, 4 }, { 1, 0, 4 } } },
        { 64, 8, 2, { { 2, 0, 4 }, { 3, 0, 4 } } },
    },
};

TENPAK_TABLE tenpak_direct tenpak_o4x2 = {
    256, 135, 2, 7,
    { -61, -46, -36, -28, -21, -15, -9, -3, 3, 9, 15, 21, 28, 36, 46, 61 },
    { 15, 15, 15, 15, 15, 15, 15, 15 },
    2, {
        { 0, 8, 2, { { 0, 0, 4 }, { 1, 0, 4 } } },
        { 64, 8, 2, { { 2, 0, 4 }, { 3, 0, 4 } } },
    },
};

TENPAK_TABLE tenpak_direct tenpak_o3 = {
    256, 100, 1, 4,
    { -62, -39, -22, -7, 7, 22, 39, 62 },
    { 15, 15, 15, 15, 15, 15, 15, 15 },
    2, {
        { 0, 8, 4, { { 0, 0, 2 }, { 1, 0, 2 }, { 2, 0, 2 }, { 3, 0, 2 } } },
        { 64, 4, 4, { { 0, 2, 1 }, { 1, 2, 1 }, { 2, 2, 1 }, { 3, 2, 1 } } },
    },
};

TENPAK_TABLE tenpak_direct tenpak_o3x2 = {
    256, 103, 2, 7,
    { -62, -39, -22, -7, 7, 22, 39, 62 },
    { 15, 15, 15, 15, 15, 15, 15, 15 },
    2, {
        { 0, 8, 4, { { 0, 0, 2 }, { 1, 0, 2 }, { 2, 0, 2 }, { 3, 0, 2 } } },
        { 64, 4, 4, { { 0, 2, 1 }, { 1, 2, 1 }, { 2, 2, 1 }, { 3, 2, 1 } } },
    },
};

TENPAK_TABLE tenpak_direct tenpak_s34 = {
    256, 113, 0, 1,
    { -63, -49, -39, -31, -24, -18, -12, -6, 6, 12, 18, 24, 31, 39, 49, 63 },
    { 14, 13, 11, 7, 14, 14, 14, 14 },
    3, {
        { 0, 8, 2, { { 0, 0, 4 }, { 1, 0, 4 } } },
        { 64, 4, 1, { { 2, 0, 4 } } },
        { 96, 2, 1, { { 4, 0, 2 } } },
    },
};

TENPAK_TABLE tenpak_direct tenpak_s24 = {
    256, 89, 0, 1,
    { -51, -40, -33, -27, -22, -17, -12, -7, 7, 12, 17, 22, 27, 33, 40, 51 },
    { 3, 5, 9, 6, 10, 12, 3, 3 },
    3, {
        { 0, 8, 2, { { 0, 0, 4 }, { 1, 0, 4 } } },
        { 64, 2, 1, { { 4, 0, 2 } } },
        { 80, 1, 1, { { 4, 2, 1 } } },
    },
};

// X(name): every such type; tenpak_NAME is its layout.
#define TENPAK_FOR_EACH_DIRECT(X) \
    X(o4) \
    X(o4x2) \
    X(o3) \
    X(o3x2) \
    X(s34) \
    X(s24)

// Activations q8 are blocks as those of a8, without rotation: quant i = 4 * j + t is the i8 at TENPAK_A8_QS + 64 * t + j.
