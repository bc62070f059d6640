#version 450

// Rows of trellis blocks, 2048 weights of one for each workgroup.

#extension GL_EXT_control_flow_attributes : enable

#include "types.glsl"
#include "generic_binary_head.glsl"
#include "tenpak-tables.glsl"

#define TENPAK_THREADS 64
#define TENPAK_RESULTS 1
layout(local_size_x = TENPAK_THREADS, local_size_y = 1, local_size_z = 1) in;

#include "tenpak_decode.glsl"

void main() {
    const uint lane    = gl_LocalInvocationIndex % TENPAK_LANES;
    const uint team    = gl_LocalInvocationIndex / TENPAK_LANES;
    const uint stretch = 2048 / TENPAK_LEN;
    const uint start   = gl_WorkGroupID.x * stretch;
    const uint end     = min(start + stretch, p.ne00 / TENPAK_LEN);

    tenpak_init();
    for (uint z = gl_WorkGroupID.z; z < p.ne11 * p.ne12; z += gl_NumWorkGroups.z) {
        const uint i11 = z / p.ne12;
        const uint i12 = z % p.ne12;
        for (uint i10 = gl_WorkGroupID.y; i10 < p.ne10; i10 += gl_NumWorkGroups.y) {
            const uint i01 = data_b[get_boffset() + i10 * p.nb10 + i11 * p.nb11 + i12 * p.nb12];
            const uint row = get_aoffset() + i01 * p.nb01 + i11 * p.nb02 + i12 * p.nb03;
            const uint out_row = get_doffset() + i10 * p.nb21 + i11 * p.nb22 + i12 * p.nb23;
            for (uint first = start; first < end; first += TENPAK_THREADS / TENPAK_LANES) {
                const uint  block           = min(first + team, end - 1);
                const float w[TENPAK_STEPS] = tenpak_weights(tenpak_load(row + block, lane), lane);
                if (first + team < end) {
                    [[unroll]] for (uint r = 0; r < TENPAK_STEPS; r++) {
                        data_d[out_row + block * TENPAK_LEN + TENPAK_APART(lane, r)] = D_TYPE(w[r]);
                    }
                }
            }
        }
    }
}
