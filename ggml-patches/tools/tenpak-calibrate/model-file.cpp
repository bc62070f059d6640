#include "model-file.h"

#include "ggml-cpp.h"
#include "gguf.h"
#include "hash/hash.h"
#include "llama.h"

#include <algorithm>
#include <fstream>
#include <map>
#include <stdexcept>

// Bytes of every tensor that identify a model.
static const size_t IDENTIFYING_BYTES = 4096;

// Adds what tells the tensors of a part from others, by name; returns the number of parts.
static int read_part(const std::string & path, model_file & model, std::map<std::string, std::string> & tensors) {
    ggml_context *   raw    = nullptr;
    gguf_init_params params = { /*no_alloc =*/ true, &raw };
    gguf_context_ptr gguf(gguf_init_from_file(path.c_str(), params));
    if (!gguf) {
        throw std::runtime_error(path + ": cannot be read as a GGUF file");
    }
    ggml_context_ptr ctx(raw);
    std::ifstream    file(path, std::ios::binary);
    for (auto * t = ggml_get_first_tensor(raw); t; t = ggml_get_next_tensor(raw, t)) {
        const int64_t id = gguf_find_tensor(gguf.get(), t->name);

        std::string about = std::string(t->name) + " " + ggml_type_name(t->type);
        for (int64_t extent : t->ne) {
            about += " " + std::to_string(extent);
        }
        std::string bytes(std::min(IDENTIFYING_BYTES, ggml_nbytes(t)), 0);
        file.seekg(gguf_get_data_offset(gguf.get()) + gguf_get_tensor_offset(gguf.get(), id));
        file.read(&bytes[0], bytes.size());
        tensors[t->name] = about + "\n" + bytes;
        if (t->ne[1] > 1) {
            model.weights.insert(t->name);
        }
    }
    if (!file) {
        throw std::runtime_error(path + ": ends too early; fetch it again");
    }
    const int64_t count = gguf_find_key(gguf.get(), "split.count");
    return count < 0 ? 1 : gguf_get_val_u16(gguf.get(), count);
}

model_file read_model_file(const std::string & path) {
    model_file                         model;
    std::map<std::string, std::string> tensors;

    const int n_parts = read_part(path, model, tensors);
    for (int i = 1; i < n_parts; i++) {
        char prefix[4096];
        char name[4096];
        if (!llama_split_prefix(prefix, sizeof(prefix), path.c_str(), 0, n_parts)) {
            throw std::runtime_error(path + ": is not named as the first part of a split model");
        }
        llama_split_path(name, sizeof(name), prefix, i, n_parts);
        read_part(name, model, tensors);
    }
    std::string all;
    for (const auto & [name, about] : tensors) {
        all += hash_sha256_hex(about.data(), about.size());
    }
    model.sha256 = hash_sha256_hex(all.data(), all.size());
    return model;
}
