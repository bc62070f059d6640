// Products of BF16 matrices by the tile instructions of processors with AMX-BF16.

#pragma once

#include "ggml-cpu-impl.h"
#include "ggml.h"

#ifdef __cplusplus
extern "C" {
#endif

// Whether the processor has these instructions and the system lets the process use them.
bool tenpak_has_amx_bf16(void);

// Computes a node MUL_MAT of one BF16 matrix and several columns of F32, which it rounds to BF16 as ggml does; sums are F32. Returns
// false and does nothing for other nodes, in ggml's reference mode, and where the processor or the system has no AMX-BF16.
// Every thread of a node calls it. A result depends neither on the threads nor on the other columns.
bool tenpak_multiply_bf16(const struct ggml_compute_params * params, struct ggml_tensor * dst);

#ifdef __cplusplus
}
#endif
