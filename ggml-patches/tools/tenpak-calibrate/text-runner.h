// Chunks of text through a model.

#pragma once

#include "common.h"
#include "llama.h"
#include "sensitivities.h"

#include <cstdint>
#include <vector>

class collector;

// Tokens that show which nodes a graph has: they are the same for any number of tokens.
const int64_t FEW_TOKENS = 64;

class text_runner {
  public:
    // tokens of whole chunks of n_ctx, of which the context runs n_seq together
    text_runner(llama_context * ctx, std::vector<llama_token> tokens, int64_t n_ctx, int64_t n_seq);

    // tokens of a chunk
    const int64_t n_ctx;

    int64_t n_chunks() const { return tokens.size() / n_ctx; }

    // Runs so many tokens of the first chunk that they make one graph. For sums it then runs, if there are larger ones, a whole batch,
    // so that the memory that llama.cpp takes is known; without sums a few tokens do, whose nodes are the same.
    void discover(collector & c, bool for_sums);

    // runs chunks, independent of each other, up to n_seq of them; returns how many
    int64_t run(int64_t first, collector & c);

    // runs the first n_tokens of a chunk, those after n_skipped as outputs; what the context remembers of former tokens stays where
    // it is
    void run_again(int64_t chunk, int64_t n_tokens, int64_t n_skipped);

    // how often each token is in the text
    std::vector<float> counts() const;

    // its chunks for what runs some again
    chunks_of_text again();

  private:
    // the first n_tokens of n chunks
    void run(int64_t first, int64_t n, int64_t n_tokens, collector & c);
    void fill(int64_t first, int64_t n, int64_t n_tokens, int64_t n_skipped);
    void process(llama_process_type type, collector & c);

    llama_context *          ctx;
    std::vector<llama_token> tokens;
    int64_t                  n_seq;
    common_batch             batch;
    bool                     add_bos;
    llama_token              bos;
};
