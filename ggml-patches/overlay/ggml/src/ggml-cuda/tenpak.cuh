// The tensor types of tenpak-gguf in ggml's CUDA backend: what the hooks in its files call. Every function says whether it has done
// the operation, so that a hook is one line.
#pragma once

#include "common.cuh"
#include "convert.cuh"

// What is kept of one product for the next is given up when a graph begins, and with the context.
void tenpak_cuda_begin_graph(ggml_backend_cuda_context & ctx);
void tenpak_cuda_free(const ggml_backend_cuda_context & ctx);

// Whether the operation multiplies by weights of ours, or reads rows of them, and this backend does it.
bool tenpak_cuda_supports(const ggml_tensor * op);

// Whether a type is one of ours: ggml's own kernels of quantized types must not be asked.
bool tenpak_cuda_is_ours(ggml_type type);

// MUL_MAT: false for what cuBLAS does over tenpak_get_to_float_cuda, and for types that are not ours.
bool tenpak_cuda_mul_mat(ggml_backend_cuda_context & ctx, const ggml_tensor * src0, const ggml_tensor * src1, ggml_tensor * dst);

// MUL_MAT_ID of few tokens, without waiting for the device; false otherwise.
bool tenpak_cuda_does_mul_mat_id(const ggml_tensor * dst);
bool tenpak_cuda_mul_mat_id(ggml_backend_cuda_context & ctx, ggml_tensor * dst);

// A product of one column, or of experts for few tokens, with what ggml fuses into it: a gate's product and its activation, biases.
bool tenpak_cuda_fuses(const ggml_tensor * dst);
bool tenpak_cuda_mul_mat_vec(ggml_backend_cuda_context & ctx, const ggml_tensor * src0, const ggml_tensor * src1, const ggml_tensor * ids,
                             ggml_tensor * dst, const ggml_cuda_mm_fusion_args_host * fusion);

// GET_ROWS into F; the arguments are those of get_rows_cuda.
template <class F>
bool tenpak_cuda_get_rows(
    const void * src0, ggml_type type, const int32_t * ids, F * dst, int64_t ne00, size_t nb01, size_t nb02, size_t nb03,
    int64_t ne10, int64_t ne11, int64_t ne12, size_t nb10, size_t nb11, size_t nb12, size_t nb1, size_t nb2, size_t nb3,
    cudaStream_t stream);

// Conversion of contiguous weights of ours to F; NULL for types that are not.
template <class F> to_t_cuda_t<F> tenpak_get_to_float_cuda(ggml_type type);
