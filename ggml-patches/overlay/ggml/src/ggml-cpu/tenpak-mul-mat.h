// Products of matrices of our types in ggml-cpu.c: rows are multiplied with many columns together, by tenpak_multiply.
// Results are those of vec_dot, to the bit.

#pragma once

#include "ggml-cpu-impl.h"
#include "ggml.h"

// For a product of one matrix of ours and several columns (an expert's, in MUL_MAT_ID), a chunk becomes a tile of rows with
// all columns; if there are fewer tiles than threads, chunks are smaller, so that every thread has one. Other products keep
// their chunks.
void tenpak_choose_chunks(const struct ggml_compute_params * params, const struct ggml_tensor * dst,
                          int64_t n_rows, int64_t n_columns, int64_t * row_chunks, int64_t * column_chunks);

// Multiplies rows first_row to end_row of `matrix` with columns first_column to end_column, if the matrix is of a type of
// ours; returns whether it did. `matrix` is the data of one matrix of dst->src[0]. `mapping` is NULL, or in MUL_MAT_ID what
// ggml's mmid_row_mapping holds of every column: the expert's place with its token, and the token.
bool tenpak_multiply_chunk(const struct ggml_compute_params * params, struct ggml_tensor * dst,
                           const void * matrix, const int32_t * mapping,
                           int64_t first_row, int64_t end_row, int64_t first_column, int64_t end_column);
