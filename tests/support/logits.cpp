// The most likely next token and its logit after each of the given tokens, by a GGUF file in llama.cpp: for models
// without a tokenizer, which its programs give no text to.
//
//   logits MODEL.gguf ID...

#include "llama.h"

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <vector>

int main(int argc, char ** argv) {
    if (argc < 3) {
        fprintf(stderr, "give MODEL.gguf ID...\n");
        return 2;
    }
    std::vector<llama_token> ids;
    for (int i = 2; i < argc; i++) {
        ids.push_back(atoi(argv[i]));
    }
    const int n = ids.size();

    llama_backend_init();
    llama_model * model = llama_model_load_from_file(argv[1], llama_model_default_params());
    if (!model) {
        return 1;
    }
    llama_context_params params = llama_context_default_params();
    params.n_ctx = params.n_batch = params.n_ubatch = n;
    llama_context * context = llama_init_from_model(model, params);
    if (!context) {
        return 1;
    }

    llama_batch batch = llama_batch_init(n, 0, 1);
    for (int i = 0; i < n; i++) {
        batch.token[i]     = ids[i];
        batch.pos[i]       = i;
        batch.n_seq_id[i]  = 1;
        batch.seq_id[i][0] = 0;
        batch.logits[i]    = true;
    }
    batch.n_tokens = n;
    if (llama_decode(context, batch) != 0) {
        fprintf(stderr, "llama_decode failed\n");
        return 1;
    }
    const int vocabulary = llama_vocab_n_tokens(llama_model_get_vocab(model));
    for (int i = 0; i < n; i++) {
        const float * logits = llama_get_logits_ith(context, i);
        const float * best   = std::max_element(logits, logits + vocabulary);
        printf("%d %.5f\n", (int) (best - logits), *best);
    }
    llama_batch_free(batch);
    llama_free(context);
    llama_model_free(model);
    return 0;
}
