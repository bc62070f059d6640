// Whether llama.cpp loads GGUF files and evaluates two tokens by each: a line for each that fails, with llama.cpp's error,
// and the number of the others at the end. LIST has their paths, a line each.
//
//   loads LIST

#include "llama.h"

#include <cstdio>
#include <fstream>
#include <string>

static std::string errors;

static bool evaluates(const std::string & path) {
    llama_model * model = llama_model_load_from_file(path.c_str(), llama_model_default_params());
    if (!model) {
        return false;
    }
    llama_context_params params = llama_context_default_params();
    params.n_ctx           = 64;
    params.n_threads       = 1;
    params.n_threads_batch = 1;
    llama_context * context = llama_init_from_model(model, params);
    llama_token ids[2] = { 5, 9 };
    const bool done = context && llama_decode(context, llama_batch_get_one(ids, 2)) == 0;
    llama_free(context);
    llama_model_free(model);
    return done;
}

int main(int argc, char ** argv) {
    llama_log_set(
        [](ggml_log_level level, const char * text, void *) {
            if (level >= GGML_LOG_LEVEL_ERROR) {
                errors += text;
            }
        },
        nullptr);
    llama_backend_init();
    int loaded = 0;
    std::ifstream list(argc > 1 ? argv[1] : "");
    for (std::string path; std::getline(list, path);) {
        errors.clear();
        if (evaluates(path)) {
            loaded++;
        } else {
            printf("%s: %s\n", path.c_str(), errors.c_str());
        }
        fflush(stdout);
    }
    printf("%d loaded\n", loaded);
}
