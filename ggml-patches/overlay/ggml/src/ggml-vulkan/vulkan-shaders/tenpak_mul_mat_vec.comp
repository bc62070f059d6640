#version 450

// A matrix of trellis blocks times 1 to 8 columns, or one matrix of several that experts have: NUM_ROWS rows in a workgroup. The
// activations are rotated here, in f32, once for these rows.

#extension GL_EXT_shader_explicit_arithmetic_types_int32 : require

#include "tenpak-tables.glsl"
#define QUANT_K TENPAK_LEN

#include "mul_mat_vec_base.glsl"

#define TENPAK_THREADS BLOCK_SIZE
#define TENPAK_RESULTS NUM_COLS
#include "tenpak_decode.glsl"

layout(local_size_x_id = 0, local_size_y = 1, local_size_z = 1) in;

void main() {
    const uint first_row = NUM_ROWS * (gl_WorkGroupID.x + gl_NumWorkGroups.x * gl_WorkGroupID.z);
    if (first_row >= p.stride_d) {
        return;
    }
    const uint num_rows = min(NUM_ROWS, p.stride_d - first_row);
    const uint lane     = gl_LocalInvocationIndex % TENPAK_LANES;
    const uint team     = gl_LocalInvocationIndex / TENPAK_LANES;
    const uint blocks   = p.ncols / TENPAK_LEN;
    uint a_offset, b_offset, d_offset;
    get_offsets(a_offset, b_offset, d_offset);
    tenpak_init();

    FLOAT_TYPE temp[NUM_COLS][NUM_ROWS];
    [[unroll]] for (uint j = 0; j < NUM_COLS; j++) {
        [[unroll]] for (uint n = 0; n < NUM_ROWS; n++) {
            temp[j][n] = FLOAT_TYPE(0);
        }
    }

    for (uint first = 0; first < blocks; first += BLOCK_SIZE / TENPAK_LANES) {
        // Behind the end of a row the activations are zeros, and the weights those of any block; so are rows behind the last.
        const bool inside = first + team < blocks;
        const uint block  = inside ? first + team : 0;

        tenpak_lane lanes[NUM_ROWS];
        [[unroll]] for (uint n = 0; n < NUM_ROWS; n++) {
            lanes[n] = tenpak_load(a_offset + (first_row + min(n, num_rows - 1)) * blocks + block, lane);
            lanes[n].scale *= TENPAK_UNIT;
        }

        for (uint j = 0; j < NUM_COLS; j++) {
            const uint b = j * p.batch_stride_b + b_offset + block * TENPAK_LEN;
            float v[TENPAK_STEPS];
            [[unroll]] for (uint r = 0; r < TENPAK_STEPS; r++) {
                v[r] = inside ? tenpak_signed(data_b[b + TENPAK_APART(lane, r)], lane, r) : 0.0;
            }
            tenpak_transform_activations(v, j);
        }

        for (uint r = 0; r < TENPAK_STEPS; r++) {
            float w[NUM_ROWS];
            [[unroll]] for (uint n = 0; n < NUM_ROWS; n++) {
                w[n] = lanes[n].scale * tenpak_value(lanes[n], r);
            }
            [[unroll]] for (uint j = 0; j < NUM_COLS; j++) {
                const float x = tenpak_second[j][TENPAK_AT(TENPAK_TOGETHER, r)];
                [[unroll]] for (uint n = 0; n < NUM_ROWS; n++) {
                    temp[j][n] = fma(w[n], x, temp[j][n]);
                }
            }
        }
    }

    if (num_rows == NUM_ROWS) {
        reduce_result(temp, d_offset, first_row, NUM_ROWS, gl_LocalInvocationIndex);
    } else {
        reduce_result(temp, d_offset, first_row, num_rows, gl_LocalInvocationIndex);
    }
}
