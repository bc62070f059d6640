#include "tenpak-mul-mat.h"

#include "ggml-cpu.h"
#include "ggml-impl.h"

// Columns of one call; their pointers are on the stack.
#define COLUMNS 512

// The function for products of a node, or NULL: ggml's reference mode uses vec_dot, so that test-backend-ops compares the two,
// and so does MUL_MAT with a matrix for each batch.
static tenpak_multiply_t multiply_of(const struct ggml_compute_params * params, const struct ggml_tensor * dst) {
    const struct ggml_tensor * weights = dst->src[0];
    if (params->use_ref || (dst->op == GGML_OP_MUL_MAT && weights->ne[2] * weights->ne[3] != 1)) {
        return NULL;
    }
    return tenpak_multiply(weights->type);
}

void tenpak_choose_chunks(const struct ggml_compute_params * params, const struct ggml_tensor * dst,
                          int64_t n_rows, int64_t n_columns, int64_t * row_chunks, int64_t * column_chunks) {
    if (n_columns > 1 && multiply_of(params, dst)) {
        *row_chunks    = MAX((n_rows + TENPAK_TILE - 1) / TENPAK_TILE, MIN(n_rows, params->nth));
        *column_chunks = 1;
    }
}

bool tenpak_multiply_chunk(const struct ggml_compute_params * params, struct ggml_tensor * dst,
                           const void * matrix, const int32_t * mapping,
                           int64_t first_row, int64_t end_row, int64_t first_column, int64_t end_column) {
    const tenpak_multiply_t multiply = multiply_of(params, dst);
    if (!multiply) {
        return false;
    }
    if (first_row >= end_row) {
        return true;
    }
    const struct ggml_tensor * src0 = dst->src[0];
    const struct ggml_tensor * src1 = dst->src[1];

    GGML_TENSOR_BINARY_OP_LOCALS

    // Activations that ggml quantized are in the work buffer, without gaps; others are where the operand is.
    const enum ggml_type activation = ggml_get_type_traits_cpu(src0->type)->vec_dot_type;
    const char *         columns    = src1->type == activation ? src1->data : params->wdata;
    const size_t         row_size   = ggml_row_size(activation, ne10);
    const bool           contiguous = ggml_is_contiguous(src1) || src1->type != activation;

    for (int64_t first = first_column; first < end_column; first += COLUMNS) {
        const int64_t n = MIN(COLUMNS, end_column - first);
        const void *  cols[COLUMNS];
        float *       outs[COLUMNS];
        for (int64_t c = 0; c < n; ++c) {
            const int64_t column = first + c;
            const int64_t i1     = mapping ? mapping[2*column]     : column % ne11;
            const int64_t i2     = mapping ? mapping[2*column + 1] : column / ne11 % ne12;
            const int64_t i3     = mapping ? 0                     : column / ne11 / ne12;
            const int64_t i11    = i1 % ne11; // experts of a token may share a column
            cols[c] = columns + (contiguous ? (i11 + (i2 + i3*ne12)*ne11)*row_size : i11*nb11 + i2*nb12 + i3*nb13);
            outs[c] = (float *) ((char *) dst->data + i1*nb1 + i2*nb2 + i3*nb3) + first_row;
        }
        multiply(ne00, end_row - first_row, (const char *) matrix + first_row*nb01, nb01, n, cols, outs);
    }
    return true;
}
