// The ids that llama.cpp gives to texts with the vocabulary of a file: tokenize FILE, texts on standard input, each
// ended by a zero byte; a line of ids for each. Special tokens in a text count, and none is put around it.
#include "llama.h"

#include <cstdio>
#include <iterator>
#include <iostream>
#include <string>
#include <vector>

int main(int argc, char ** argv) {
    if (argc != 2) {
        return 2;
    }
    llama_log_set([](ggml_log_level level, const char * text, void *) {
        if (level >= GGML_LOG_LEVEL_ERROR) {
            fputs(text, stderr);
        }
    }, nullptr);
    llama_backend_init();
    auto params = llama_model_default_params();
    params.vocab_only = true;
    auto * model = llama_model_load_from_file(argv[1], params);
    if (!model) {
        return 1;
    }
    const auto * vocab = llama_model_get_vocab(model);
    std::string text;
    while (std::getline(std::cin, text, '\0')) {
        std::vector<llama_token> ids(text.size() + 2);
        const int count = llama_tokenize(vocab, text.data(), text.size(), ids.data(), ids.size(), false, true);
        if (count < 0) {
            return 1;
        }
        for (int i = 0; i < count; i++) {
            printf(i ? " %d" : "%d", ids[i]);
        }
        puts("");
    }
    llama_model_free(model);
}
