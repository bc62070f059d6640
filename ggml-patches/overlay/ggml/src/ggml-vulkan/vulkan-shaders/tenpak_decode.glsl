// Trellis blocks in shaders (docs/FORMAT.md of tenpak-gguf, sections 3 to 7): decoding, and the rotation. As many invocations as a
// block has lanes share it; each has a lane, TENPAK_STEPS values that follow one another.
//
// Before this file: the macros of tenpak-tables.glsl; `data_a`, the blocks as bytes; TENPAK_THREADS, the size of the workgroup, a
// multiple of the lanes; TENPAK_RESULTS, the transformed vectors that are kept at a time. All invocations of a workgroup call the functions with barriers together.

// What each half of a window adds to its hash: the low 8 bits by the low byte of an entry, the others by the byte above.
shared uint tenpak_hashes[256];
// The value of each hash.
shared float tenpak_values[256];

// Fills the tables; before anything is decoded.
void tenpak_init() {
    const uint columns[16] = uint[16](TENPAK_COLUMNS);
    const int  v0[16]      = int[16](TENPAK_V0);
    const int  v1[16]      = int[16](TENPAK_V1);
    for (uint i = gl_LocalInvocationIndex; i < 256; i += TENPAK_THREADS) {
        uint hash = 0;
        [[unroll]] for (int b = 0; b < 8; b++) {
            hash ^= bitfieldExtract(i, b, 1) * (columns[b] | columns[b + 8] << 8);
        }
        tenpak_hashes[i] = hash;
        tenpak_values[i] = float(v0[i & 15] + v1[i >> 4] - TENPAK_ZERO_POINT);
    }
    barrier();
}

// A lane of a block: its string of symbols, the string that ends before its first symbol, and the scale of the block.
struct tenpak_lane {
    uint  own;
    uint  before;
    float scale;
};

// Bits of the strings of earlier lanes that a window reaches into.
#define TENPAK_REACH (TENPAK_WINDOW_BITS - TENPAK_BITS)

// The lowest `limit` bits or more of the string of a lane. Before the first lane there is the history, lane -1 of the first plane, and
// zeros. `block` is the first byte of a block.
uint tenpak_string(const uint block, const int lane, const uint limit) {
    uint planes[TENPAK_PLANES];
#define TENPAK_LOAD_PLANE(plane, offset, width) \
    planes[plane] = 0; \
    if (lane >= (plane == 0 ? -1 : 0)) { \
        planes[plane] = uint(data_a[block + TENPAK_QS + offset + uint(lane * width >> 3)]); \
        planes[plane] = bitfieldExtract(planes[plane], lane * width & 7, width); \
    }
    TENPAK_FOR_EACH_PLANE(TENPAK_LOAD_PLANE)
    uint symbols = 0;
#define TENPAK_ADD_RUN(plane, first, bits, place) \
    if (place < limit) { \
        symbols |= bitfieldExtract(planes[plane], first, bits) << place; \
    }
    TENPAK_FOR_EACH_RUN(TENPAK_ADD_RUN)
    return symbols;
}

tenpak_lane tenpak_load(const uint index, const uint lane) {
    const uint  block = index * TENPAK_BYTES;
    const uint  code  = uint(data_a[block + TENPAK_D]);
    tenpak_lane l;
    l.own    = tenpak_string(block, int(lane), 32);
    l.before = tenpak_string(block, int(lane) - 1, TENPAK_REACH);
#if TENPAK_REACH > TENPAK_STEPS * TENPAK_BITS
    l.before |= tenpak_string(block, int(lane) - 2, TENPAK_REACH - TENPAK_STEPS * TENPAK_BITS) << TENPAK_STEPS * TENPAK_BITS;
#endif
    l.scale = code == 0 ? 0.0 : uintBitsToFloat((code << TENPAK_SCALE_SHIFT) + TENPAK_SCALE_BITS);
    return l;
}

// The value of the symbol of a step, before scale and rotation.
float tenpak_value(const tenpak_lane l, const uint step) {
    // The second shift is apart because a shift by all 32 bits has no meaning.
    const uint window = l.own >> TENPAK_BITS * (TENPAK_STEPS - 1 - step) | l.before << TENPAK_BITS * step << TENPAK_BITS;
    const uint low    = tenpak_hashes[window & 0xff];
    const uint high   = tenpak_hashes[bitfieldExtract(window, 8, TENPAK_WINDOW_BITS - 8)] >> 8;
    return tenpak_values[(low ^ high) & 0xff];
}

// ---- Rotation (section 6) ----

// The transform of a block takes sums and differences of elements whose places differ in one bit, for every bit. An invocation has
// TENPAK_STEPS elements at a time, and does the bits in which its places differ; its elements change twice, through memory:
//   apart      the places are lane + TENPAK_LANES * r, so that neighbours read neighbours
//   between    for the bits in the middle
//   together   TENPAK_STEPS * lane + r, as the lanes of weights are
#define TENPAK_APART(lane, r)    ((lane) + TENPAK_LANES * (r))
#define TENPAK_BETWEEN(lane, r)  ((lane) % TENPAK_STEPS + TENPAK_STEPS * (r) + TENPAK_STEPS * TENPAK_STEPS * ((lane) / TENPAK_STEPS))
#define TENPAK_TOGETHER(lane, r) (TENPAK_STEPS * (lane) + (r))
// What the other two leave for the one in the middle: 4 is two bits.
#define TENPAK_MIDDLE (TENPAK_LEN / (TENPAK_STEPS * TENPAK_STEPS))

// Elements lie so that invocations which are neighbours are in different banks, in all three.
#define TENPAK_PADDED(i) ((i) + (i) / 8)

// Place of an element of the block that the invocation has a part in.
#define TENPAK_AT(PLACES, r) \
    TENPAK_PADDED(gl_LocalInvocationIndex / TENPAK_LANES * TENPAK_LEN + PLACES(gl_LocalInvocationIndex % TENPAK_LANES, r))

shared float tenpak_first[TENPAK_PADDED(TENPAK_THREADS * TENPAK_STEPS)];
shared float tenpak_second[TENPAK_RESULTS][TENPAK_PADDED(TENPAK_THREADS * TENPAK_STEPS)];

// The sums and differences for the lowest bits of r; 2^bits is `places`.
void tenpak_butterflies(inout float v[TENPAK_STEPS], const uint places) {
    [[unroll]] for (uint apart = 1; apart < places; apart *= 2) {
        [[unroll]] for (uint r = 0; r < TENPAK_STEPS; r++) {
            if ((r & apart) == 0) {
                const float low = v[r], high = v[r + apart];
                v[r]         = low + high;
                v[r + apart] = low - high;
            }
        }
    }
}

// Elements change from places FROM to places TO, through an array of which nobody reads any more.
#define TENPAK_EXCHANGE(v, array, FROM, TO) \
    [[unroll]] for (uint r = 0; r < TENPAK_STEPS; r++) { array[TENPAK_AT(FROM, r)] = v[r]; } \
    barrier(); \
    [[unroll]] for (uint r = 0; r < TENPAK_STEPS; r++) { v[r] = array[TENPAK_AT(TO, r)]; }

// The transform of elements that lie apart. Those of the result lie together, and each invocation finds its own in
// tenpak_second[result] too.
void tenpak_transform_activations(inout float v[TENPAK_STEPS], const uint result) {
    tenpak_butterflies(v, TENPAK_STEPS);
    TENPAK_EXCHANGE(v, tenpak_first, TENPAK_APART, TENPAK_BETWEEN)
    tenpak_butterflies(v, TENPAK_MIDDLE);
    TENPAK_EXCHANGE(v, tenpak_second[result], TENPAK_BETWEEN, TENPAK_TOGETHER)
    tenpak_butterflies(v, TENPAK_STEPS);
    [[unroll]] for (uint r = 0; r < TENPAK_STEPS; r++) {
        tenpak_second[result][TENPAK_AT(TENPAK_TOGETHER, r)] = v[r];
    }
}

// The transform of elements that lie together; those of the result lie apart. Values of weights are integers, and so is all of this.
void tenpak_transform_weights(inout float v[TENPAK_STEPS]) {
    tenpak_butterflies(v, TENPAK_STEPS);
    TENPAK_EXCHANGE(v, tenpak_first, TENPAK_TOGETHER, TENPAK_BETWEEN)
    tenpak_butterflies(v, TENPAK_MIDDLE);
    TENPAK_EXCHANGE(v, tenpak_second[0], TENPAK_BETWEEN, TENPAK_APART)
    tenpak_butterflies(v, TENPAK_STEPS);
}

// x with the sign of element TENPAK_APART(lane, r).
float tenpak_signed(const float x, const uint lane, const uint r) {
    const uint signs[8] = uint[8](TENPAK_SIGNS);
    const uint bit      = lane + TENPAK_LANES * r % 32;
    return uintBitsToFloat(floatBitsToUint(x) ^ (signs[TENPAK_LANES * r / 32] << (31 - bit) & 0x80000000u));
}

// The weights of a lane's block at the places that are apart.
float[TENPAK_STEPS] tenpak_weights(const tenpak_lane l, const uint lane) {
    float w[TENPAK_STEPS];
    [[unroll]] for (uint r = 0; r < TENPAK_STEPS; r++) {
        w[r] = tenpak_value(l, r);
    }
    tenpak_transform_weights(w);
    [[unroll]] for (uint r = 0; r < TENPAK_STEPS; r++) {
        w[r] *= tenpak_signed(l.scale * TENPAK_UNIT, lane, r);
    }
    return w;
}
