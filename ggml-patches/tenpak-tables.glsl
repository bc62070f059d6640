// The constants of tenpak-gguf's types T2, T3 and T4, for shaders. Generated from src/types by
//     cargo run --example render_header shaders > ggml-patches/tenpak-tables.glsl
// docs/FORMAT.md defines the types; its sections are named here. These are macros only: C++ reads the list from this file too.

// X(NAME, name, weights of a block): every type that shaders are compiled for.
#define TENPAK_FOR_EACH_SHADER_TYPE(X) \
    X(T2, t2, 256) \
    X(T3, t3, 256) \
    X(T4, t4, 256) \
    X(T2_64, t2_64, 64) \
    X(T3_64, t3_64, 64) \
    X(T4_64, t4_64, 64)

// Places in a block, in bytes (section 3).
#define TENPAK_D 0                // scale code
#define TENPAK_HISTORY 1          // lane -1 of the first plane
#define TENPAK_QS 2               // planes

// The scale of code c is the float of bits (c << TENPAK_SCALE_SHIFT) + TENPAK_SCALE_BITS; of code 0 it is 0 (section 5).
#define TENPAK_SCALE_SHIFT 20
#define TENPAK_SCALE_BITS 0x32800000

// Element i of the rotation changes its sign if bit i % 32 of word i / 32 of these 8 is set (section 6).
#define TENPAK_SIGNS 0x808eb7b0u, 0x34b33c87u, 0x78eecf27u, 0x8f007a6bu, 0xc206316cu, 0x7fe585d0u, 0x0f3d44d9u, 0x2372c299u

// ---- Codes (section 4) ----

// A shader defines TENPAK_NAME, for one NAME of the list, before it includes this file.
//
// The hash of a window is the XOR of the columns of its set bits, the newest symbol in its lowest ones. The value of a hash h is
// v0[h & 15] + v1[h >> 4] - TENPAK_ZERO_POINT.

#define TENPAK_ZERO_POINT 64

#if defined(TENPAK_T2) || defined(TENPAK_T2_64)
#define TENPAK_BITS 2             // bits of a symbol
#define TENPAK_WINDOW_BITS 16
#define TENPAK_COLUMNS 46, 164, 9, 98, 244, 78, 46, 97, 92, 72, 18, 196, 232, 156, 92, 194
#define TENPAK_V0 53, 31, 25, 39, 27, 37, 23, 63, 41, 17, 43, 15, 0, 37, 34, 11
#define TENPAK_V1 38, 18, 16, 25, 28, 46, 36, 50, 41, 48, 62, 29, 22, 36, 31, 1
#endif

#if defined(TENPAK_T3) || defined(TENPAK_T3_64)
#define TENPAK_BITS 3             // bits of a symbol
#define TENPAK_WINDOW_BITS 15
#define TENPAK_COLUMNS 3, 36, 20, 237, 183, 212, 6, 72, 40, 218, 110, 168, 12, 144, 80, 0
#define TENPAK_V0 62, 34, 18, 37, 36, 26, 43, 20, 49, 53, 27, 41, 24, 12, 31, 0
#define TENPAK_V1 1, 34, 20, 37, 29, 42, 63, 42, 23, 35, 27, 52, 18, 47, 32, 12
#endif

#if defined(TENPAK_T4) || defined(TENPAK_T4_64)
#define TENPAK_BITS 4             // bits of a symbol
#define TENPAK_WINDOW_BITS 16
#define TENPAK_COLUMNS 126, 139, 186, 65, 24, 144, 155, 15, 252, 22, 116, 130, 48, 32, 54, 30
#define TENPAK_V0 22, 26, 41, 38, 33, 32, 35, 19, 25, 29, 62, 9, 0, 45, 49, 16
#define TENPAK_V1 31, 24, 55, 48, 15, 37, 43, 28, 45, 26, 1, 32, 63, 35, 40, 21
#endif

// ---- Layouts (section 3) ----

// Symbol i = TENPAK_STEPS * j + t is that of lane j and step t.
//
// TENPAK_FOR_EACH_PLANE: X(plane, first byte in qs, bits of a lane).
//
// TENPAK_FOR_EACH_RUN: X(plane, first bit, bits, place): these bits of a lane in a plane are those at `place` in the string of all
// symbols of the lane, in which the newest symbol is the lowest.

#ifdef TENPAK_T2
#define TENPAK_LEN 256            // weights of a block
#define TENPAK_BYTES 66           // bytes of a block
#define TENPAK_STEPS 8            // symbols of a lane
#define TENPAK_LANES 32
#define TENPAK_UNIT 0.0625        // 1 / sqrt(TENPAK_LEN)
#define TENPAK_PLANES 2
#define TENPAK_FOR_EACH_PLANE(X) \
    X(0, 0, 8) \
    X(1, 32, 8)

#define TENPAK_FOR_EACH_RUN(X) \
    X(0, 0, 8, 0) \
    X(1, 0, 8, 8)
#endif

#ifdef TENPAK_T3
#define TENPAK_LEN 256            // weights of a block
#define TENPAK_BYTES 98           // bytes of a block
#define TENPAK_STEPS 8            // symbols of a lane
#define TENPAK_LANES 32
#define TENPAK_UNIT 0.0625        // 1 / sqrt(TENPAK_LEN)
#define TENPAK_PLANES 3
#define TENPAK_FOR_EACH_PLANE(X) \
    X(0, 0, 8) \
    X(1, 32, 8) \
    X(2, 64, 8)

#define TENPAK_FOR_EACH_RUN(X) \
    X(0, 0, 8, 0) \
    X(1, 0, 6, 18) \
    X(1, 6, 2, 9) \
    X(2, 0, 6, 12) \
    X(2, 6, 1, 11) \
    X(2, 7, 1, 8)
#endif

#ifdef TENPAK_T4
#define TENPAK_LEN 256            // weights of a block
#define TENPAK_BYTES 130          // bytes of a block
#define TENPAK_STEPS 8            // symbols of a lane
#define TENPAK_LANES 32
#define TENPAK_UNIT 0.0625        // 1 / sqrt(TENPAK_LEN)
#define TENPAK_PLANES 4
#define TENPAK_FOR_EACH_PLANE(X) \
    X(0, 0, 8) \
    X(1, 32, 8) \
    X(2, 64, 8) \
    X(3, 96, 8)

#define TENPAK_FOR_EACH_RUN(X) \
    X(0, 0, 8, 0) \
    X(1, 0, 8, 24) \
    X(2, 0, 8, 16) \
    X(3, 0, 8, 8)
#endif

#ifdef TENPAK_T2_64
#define TENPAK_LEN 64             // weights of a block
#define TENPAK_BYTES 18           // bytes of a block
#define TENPAK_STEPS 4            // symbols of a lane
#define TENPAK_LANES 16
#define TENPAK_UNIT 0.125         // 1 / sqrt(TENPAK_LEN)
#define TENPAK_PLANES 1
#define TENPAK_FOR_EACH_PLANE(X) \
    X(0, 0, 8)

#define TENPAK_FOR_EACH_RUN(X) \
    X(0, 0, 8, 0)
#endif

#ifdef TENPAK_T3_64
#define TENPAK_LEN 64             // weights of a block
#define TENPAK_BYTES 26           // bytes of a block
#define TENPAK_STEPS 4            // symbols of a lane
#define TENPAK_LANES 16
#define TENPAK_UNIT 0.125         // 1 / sqrt(TENPAK_LEN)
#define TENPAK_PLANES 2
#define TENPAK_FOR_EACH_PLANE(X) \
    X(0, 0, 8) \
    X(1, 16, 4)

#define TENPAK_FOR_EACH_RUN(X) \
    X(0, 0, 8, 0) \
    X(1, 0, 3, 9) \
    X(1, 3, 1, 8)
#endif

#ifdef TENPAK_T4_64
#define TENPAK_LEN 64             // weights of a block
#define TENPAK_BYTES 34           // bytes of a block
#define TENPAK_STEPS 4            // symbols of a lane
#define TENPAK_LANES 16
#define TENPAK_UNIT 0.125         // 1 / sqrt(TENPAK_LEN)
#define TENPAK_PLANES 2
#define TENPAK_FOR_EACH_PLANE(X) \
    X(0, 0, 8) \
    X(1, 16, 8)

#define TENPAK_FOR_EACH_RUN(X) \
    X(0, 0, 8, 0) \
    X(1, 0, 8, 8)
#endif
