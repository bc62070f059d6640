// Sums of x x^T over tokens, of which only the lower triangle is computed and kept.
//
//   push:   rows x of any number of tokens -> staging, transposed: [columns][depth], rounded to the staging type
//   flush:  for every band of rows, for every run of columns up to the diagonal:
//               sums[band][run] += staging[band] * staging[run]^T        (ggml_mul_mat, then ggml_add)
//
// The order of the additions depends on the depth only, not on what else is collected: equal bytes in any window.

#pragma once

#include "ggml-backend.h"
#include "ggml-cpp.h"

#include <cstdint>
#include <functional>
#include <vector>

// Computes on one backend; matrices of one engine share its scratch memory.
class gram_engine {
  public:
    // device: where the sums are kept and the products computed
    gram_engine(ggml_backend_dev_t device, int n_threads);

    // type of the staged values: BF16 where the processor multiplies it natively (1.6x F32, measured), else F32
    ggml_type type() const { return stage_type; }

    // bytes that a matrix takes
    size_t matrix_bytes(int64_t columns, int64_t depth) const;

    // bytes that the engine takes for matrices of up to so many columns
    size_t scratch_bytes(int64_t columns) const;

    // multiply-adds and seconds spent in flush
    double flops   = 0;
    double seconds = 0;

  private:
    friend class gram_matrix;

    ggml_backend_ptr        backend;
    ggml_backend_buffer_ptr product; // of one band and run
    std::vector<uint8_t>    context; // of the graph of a flush
    ggml_type               stage_type;
    int                     n_threads;
    bool                    is_host;
};

class gram_matrix {
  public:
    // depth: tokens that are multiplied at a time
    gram_matrix(gram_engine & engine, int64_t columns, int64_t depth);

    // adds tokens; false if a value is not finite
    bool push(const std::vector<const float *> & rows);

    // brings the sums up to date with all tokens pushed
    void flush();

    int64_t tokens() const { return n_tokens; }

    // calls write(values, n) with the lower triangle by rows, in pieces
    void read(const std::function<void(const float *, size_t)> & write) const;

  private:
    gram_engine & engine;

    int64_t columns;
    int64_t depth;
    int64_t n_staged = 0;
    int64_t n_tokens = 0;

    ggml_backend_buffer_ptr buffer; // staging, then the bands
    uint8_t *               stage;  // host memory in which tokens are transposed

    std::vector<uint8_t> host_stage; // of a device without host memory
};
