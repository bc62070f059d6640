// Products of BF16 and F16 matrices by the tile instructions of processors with AMX-BF16.

#pragma once

#include "ggml-cpu-impl.h"
#include "ggml.h"

#ifdef __cplusplus
extern "C" {
#endif

// Whether the processor has these instructions and the system lets the process use them.
bool tenpak_has_amx_bf16(void);

// Computes a node MUL_MAT of one BF16 or F16 matrix and several columns of F32; sums are F32. Columns for BF16 are rounded to BF16, as ggml
// does. Those for F16 keep 16 bits, where ggml leaves 11; the matrix is taken as it is. Returns false and does nothing for other nodes, in
// ggml's reference mode, and where the processor or the system has no AMX-BF16. Every thread of a node calls it. A result depends
// neither on the threads nor on the other columns.
bool tenpak_multiply_by_tiles(const struct ggml_compute_params * params, struct ggml_tensor * dst);

// Bytes of the work buffer that such a node needs for so many threads; 0 for other nodes.
size_t tenpak_tiles_work_bytes(const struct ggml_tensor * dst, int n_threads);

#ifdef __cplusplus
}
#endif
