// Sums of x x^T over tokens, of which only the lower triangle is computed and kept.
//
//   add(tokens):  stage = tokens transposed: [columns][tokens]
//                 for every band of rows, for every run of columns up to the diagonal:
//                     sums[band][run] += stage[band] * stage[run]^T        (ggml_mul_mat, then ggml_add)
//
// Values are F32, or BF16 where the products of the model round to that anyway and the device has instructions for that: H is
// then that of the inputs which the model multiplies with. Sums are F32.
//
// What is added at a time, and so every rounding, depends on the batches of tokens only and not on what else is
// collected: equal bytes in any window.

#pragma once

#include "ggml-backend.h"
#include "ggml-cpp.h"

#include <cstdint>
#include <functional>
#include <vector>

// Whether a device has fast products of a type, in which columns are rounded to it: tiles of AMX or pairs in AVX-512's lanes for BF16.
bool has_products_of(ggml_backend_dev_t device, ggml_type type);

// Computes on one backend.
class gram_engine {
  public:
    // device: where the sums are kept and the products computed; columns: of the largest matrix;
    // tokens: that are added at a time at most; type: of the weights that the inputs are multiplied with
    gram_engine(ggml_backend_dev_t device, int n_threads, int64_t columns, int64_t tokens, ggml_type type);

    // bytes that the engine takes, those of matrices apart
    size_t scratch_bytes() const;

    // operations and seconds so far
    double flops   = 0;
    double seconds = 0;

  private:
    friend class gram_matrix;

    // sums += rows^T rows; false if a value is not finite
    bool add(ggml_backend_buffer * sums, int64_t columns, const float * const * rows, int64_t n_rows);

    ggml_backend_ptr        backend;
    ggml_type               type;    // of the transposed tokens
    ggml_backend_buffer_ptr stage;   // transposed tokens
    ggml_backend_buffer_ptr widened; // those of a band as F32, if they are not
    ggml_backend_buffer_ptr product; // of one band and run
    std::vector<uint8_t>    context; // of the graph
    std::vector<uint8_t>    staged;  // what goes to a device without host memory
    int64_t                 max_columns;
    int64_t                 max_tokens;
    int                     n_threads;
    bool                    is_host;
};

class gram_matrix {
  public:
    // depth: tokens to be gathered before they are added, for matrices that get few at a time; 0 for none
    gram_matrix(gram_engine & engine, int64_t columns, int64_t depth);

    // bytes that a matrix takes
    static size_t bytes(int64_t columns, int64_t depth);

    // takes tokens; false if a value is not finite
    bool push(const std::vector<const float *> & rows);

    // adds what was gathered; false if a value is not finite
    bool flush();

    int64_t tokens() const { return n_tokens; }

    // calls write(values, n) with the lower triangle by rows, in pieces
    void read(const std::function<void(const float *, size_t)> & write) const;

  private:
    bool add(const std::vector<const float *> & rows);

    gram_engine & engine;

    int64_t columns;
    int64_t depth;
    int64_t n_tokens = 0;

    ggml_backend_buffer_ptr sums; // bands, one after the other
    std::vector<float>      gathered;
};
