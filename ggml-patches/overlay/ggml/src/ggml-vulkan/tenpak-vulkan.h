// The tensor types of tenpak-gguf in ggml's Vulkan backend: what the hooks in its files call.
#pragma once

#include "tenpak-old-headers.h"
#include "vulkan-shaders/tenpak-tables.glsl"

// Whether there are pipelines for a type: ggml's lists of types end with this question.
static bool tenpak_vk_has_pipelines(ggml_type type) {
    switch ((int) type) {
#define TENPAK_CASE(NAME, ...) case GGML_TYPE_##NAME:
        TENPAK_FOR_EACH_SHADER_TYPE(TENPAK_CASE)
#undef TENPAK_CASE
            return true;
        default:
            return false;
    }
}

// Whether the operation reads a type of ours.
static bool tenpak_vk_reads(const ggml_tensor * op) {
    for (int i = 0; i < GGML_MAX_SRC; i++) {
        if (op->src[i] && op->src[i]->type >= TENPAK_TYPE_BEGIN) {
            return true;
        }
    }
    return false;
}

// Whether an operation that reads a type of ours runs on the device.
static bool tenpak_vk_supports(const vk_device & device, const ggml_tensor * op) {
    const ggml_tensor * weights = op->src[0];
    const ggml_tensor * x       = op->src[1];
    switch (op->op) {
        case GGML_OP_NONE:
        case GGML_OP_RESHAPE:
        case GGML_OP_VIEW:
        case GGML_OP_PERMUTE:
        case GGML_OP_TRANSPOSE:
            return true;
        case GGML_OP_GET_ROWS:
            return tenpak_vk_has_pipelines(weights->type) && op->type == GGML_TYPE_F32;
        case GGML_OP_MUL_MAT:
        case GGML_OP_MUL_MAT_ID:
            break;
        default:
            return false;
    }
    // Products add up in subgroups, and those of eight columns take 31 kB of shared memory in a workgroup of 64.
    if (!device->subgroup_arithmetic || device->properties.limits.maxComputeSharedMemorySize < 32 * 1024) {
        return false;
    }
    const uint64_t range = device->properties.limits.maxStorageBufferRange;
    if (!tenpak_vk_has_pipelines(weights->type) || !ggml_is_contiguous(weights) || ggml_nbytes(weights) > range ||
        x->type != GGML_TYPE_F32 || op->type != GGML_TYPE_F32) {
        return false;
    }
    bool few;
    if (op->op == GGML_OP_MUL_MAT) {
        if (weights->ne[3] != x->ne[3]) {
            return false;
        }
        few = op->ne[1] == 1 || (op->ne[1] <= mul_mat_vec_max_cols && x->ne[2] * x->ne[3] == 1);
    } else {
        const ggml_tensor * ids = op->src[2];
        if (!(device->mul_mat_id_s[GGML_TYPE_F16] || device->mul_mat_id_m[GGML_TYPE_F16] || device->mul_mat_id_l[GGML_TYPE_F16]) ||
            ggml_get_op_params_i32(op, 3) == GGML_PREC_F32 || ids->ne[3] != x->ne[3]) {
            return false;
        }
        few = ids->ne[1] <= 8;
    }
    // With more columns all of the matrix becomes a matrix of f16 in one buffer.
    const uint64_t as_f16 = sizeof(ggml_fp16_t) * ggml_nelements(weights);
    return few || as_f16 <= std::min(range, device->max_buffer_size);
}
