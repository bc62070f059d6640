// Products of F32, BF16 and F16 matrices by AVX-512 or AVX2, where the tiles of tenpak-tiles.h take none.

#pragma once

#include "ggml-cpu-impl.h"
#include "ggml.h"

#ifdef __cplusplus
extern "C" {
#endif

// Computes a node MUL_MAT of one F32, BF16 or F16 matrix and several columns of F32; sums are F32. Columns for BF16 are rounded to BF16,
// as ggml does, where tenpak_has_bf16_pairs(); nothing else is rounded before. Returns false and does nothing for other nodes, in
// ggml's reference mode and on processors without AVX2. Every thread of a node calls it. A result depends neither on the threads nor on
// the other columns.
bool tenpak_multiply_by_lanes(const struct ggml_compute_params * params, struct ggml_tensor * dst);

// Whether the processor multiplies BF16 in pairs, two values in a lane, faster than floats.
bool tenpak_has_bf16_pairs(void);

// Bytes of the work buffer that such a node needs for so many threads; 0 for other nodes.
size_t tenpak_lanes_work_bytes(const struct ggml_tensor * dst, int n_threads);

#ifdef __cplusplus
}
#endif
