#version 450

// Trellis blocks to D_TYPE, a stretch of 32768 weights for each workgroup.

#include "dequant_head.glsl"
#include "tenpak-tables.glsl"

#define TENPAK_THREADS 64
#define TENPAK_RESULTS 1
layout(local_size_x = TENPAK_THREADS, local_size_y = 1, local_size_z = 1) in;

layout (binding = 0) readonly buffer A {A_TYPE data_a[];};
layout (binding = 1) writeonly buffer D {D_TYPE data_b[];};

#include "tenpak_decode.glsl"

void main() {
    const uint lane    = gl_LocalInvocationIndex % TENPAK_LANES;
    const uint team    = gl_LocalInvocationIndex / TENPAK_LANES;
    const uint stretch = 32768 / TENPAK_LEN;
    const uint end     = min((gl_WorkGroupID.x + 1) * stretch, p.nel / TENPAK_LEN);

    tenpak_init();
    for (uint first = gl_WorkGroupID.x * stretch; first < end; first += TENPAK_THREADS / TENPAK_LANES) {
        const uint  block           = min(first + team, end - 1);
        const float w[TENPAK_STEPS] = tenpak_weights(tenpak_load(block, lane), lane);
        if (first + team < end) {
            [[unroll]] for (uint r = 0; r < TENPAK_STEPS; r++) {
                data_b[block * TENPAK_LEN + TENPAK_APART(lane, r)] = D_TYPE(w[r]);
            }
        }
    }
}
