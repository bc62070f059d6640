#include "text-runner.h"

#include "collector.h"

#include <algorithm>
#include <stdexcept>

text_runner::text_runner(llama_context * ctx, std::vector<llama_token> tokens, int64_t n_ctx, int64_t n_seq)
    : n_ctx(n_ctx), ctx(ctx), tokens(std::move(tokens)), n_seq(n_seq), batch(ctx) {
    const llama_vocab * vocab = llama_model_get_vocab(llama_get_model(ctx));
    add_bos                   = llama_vocab_get_add_bos(vocab);
    bos                       = llama_vocab_bos(vocab);
}

void text_runner::discover(collector & c, bool for_sums) {
    const int64_t of_graph = std::min<int64_t>(n_ctx, llama_n_ubatch(ctx));
    const int64_t n_tokens = for_sums ? of_graph : std::min(of_graph, FEW_TOKENS);
    run(0, 1, n_tokens, c);
    c.end_discovery();
    if (for_sums && n_tokens < n_seq * n_ctx) {
        run(0, c);
    }
}

int64_t text_runner::run(int64_t first, collector & c) {
    const int64_t n = std::min(n_seq, n_chunks() - first);
    run(first, n, n_ctx, c);
    return n;
}

void text_runner::run_again(int64_t chunk, int64_t n_tokens, int64_t n_skipped) {
    if (auto * memory = llama_get_memory(ctx)) {
        llama_memory_clear(memory, /*data =*/ false);
    }
    fill(chunk, 1, n_tokens, n_skipped);
    const int status = llama_process(ctx, LLAMA_PROCESS_TYPE_DECODE, batch.get());
    if (status != 0) {
        throw std::runtime_error(string_format("llama.cpp cannot run the model (status %d)", status));
    }
}

std::vector<float> text_runner::counts() const {
    std::vector<float> counts(llama_vocab_n_tokens(llama_model_get_vocab(llama_get_model(ctx))));
    for (llama_token token : tokens) {
        counts[token]++;
    }
    return counts;
}

chunks_of_text text_runner::again() {
    return { [this](int64_t chunk, int64_t n, int64_t skipped) { run_again(chunk, n, skipped); }, n_chunks() };
}

void text_runner::run(int64_t first, int64_t n, int64_t n_tokens, collector & c) {
    const llama_model * model = llama_get_model(ctx);
    if (auto * memory = llama_get_memory(ctx)) {
        llama_memory_clear(memory, true);
    }
    // All are outputs, or the last layer would skip tokens.
    fill(first, n, n_tokens, 0);
    if (llama_model_has_encoder(model)) {
        process(LLAMA_PROCESS_TYPE_ENCODE, c);
    }
    if (llama_model_has_decoder(model)) {
        process(LLAMA_PROCESS_TYPE_DECODE, c);
    }
}

void text_runner::fill(int64_t first, int64_t n, int64_t n_tokens, int64_t n_skipped) {
    batch.clear();
    for (int64_t seq = 0; seq < n; seq++) {
        for (int64_t i = 0; i < n_tokens; i++) {
            const llama_token token = tokens[(first + seq) * n_ctx + i];
            batch.add(add_bos && i == 0 ? bos : token, i, seq, i >= n_skipped);
        }
    }
}

void text_runner::process(llama_process_type type, collector & c) {
    c.start_graph();
    const int status = llama_process(ctx, type, batch.get());
    if (!c.error().empty()) {
        throw std::runtime_error(c.error());
    }
    if (status != 0) {
        throw std::runtime_error(string_format("llama.cpp cannot run the model (status %d)", status));
    }
    llama_synchronize(ctx);
}
