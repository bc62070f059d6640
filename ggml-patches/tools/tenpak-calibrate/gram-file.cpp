#include "gram-file.h"

#include "gram.h"

#include <algorithm>
#include <stdexcept>

static const uint32_t VERSION = 2;

static size_t triangle(int64_t columns) {
    return (size_t) columns * (columns + 1) / 2;
}

static gguf_context_ptr make_gguf(const gram_header & h) {
    gguf_context_ptr gguf(gguf_init_empty());
    auto *           g = gguf.get();
    gguf_set_val_str(g, "general.type", "gram");
    gguf_set_val_str(g, "general.architecture", h.architecture.c_str());
    gguf_set_val_str(g, "general.name", h.model_name.c_str());
    gguf_set_val_u32(g, "gram.version", VERSION);
    gguf_set_val_str(g, "gram.model.sha256", h.model_sha256.c_str());
    gguf_set_val_str(g, "gram.text.name", h.text_name.c_str());
    gguf_set_val_str(g, "gram.text.sha256", h.text_sha256.c_str());
    gguf_set_val_u64(g, "gram.tokens", h.tokens);
    gguf_set_val_u32(g, "gram.context", h.context);
    std::vector<const char *> weights;
    std::vector<const char *> inputs;
    for (const auto & [weight, input] : h.weights) {
        weights.push_back(weight.c_str());
        inputs.push_back(input.c_str());
    }
    gguf_set_arr_str(g, "gram.weights", weights.data(), weights.size());
    gguf_set_arr_str(g, "gram.inputs", inputs.data(), inputs.size());
    std::vector<const char *> sites;
    std::vector<const char *> uses;
    for (const auto & [weight, rows] : h.sites) {
        sites.push_back(weight.c_str());
        uses.push_back(rows ? "rows" : "product");
    }
    gguf_set_arr_str(g, "sensitivity.weights", sites.data(), sites.size());
    gguf_set_arr_str(g, "sensitivity.uses", uses.data(), uses.size());

    const size_t     n_tensors = 2 * h.inputs.size() + h.vectors.size();
    ggml_init_params params    = { (n_tensors + 1) * ggml_tensor_overhead(), nullptr, /*no_alloc =*/ true };
    ggml_context_ptr ctx(ggml_init(params));
    for (const auto & input : h.inputs) {
        auto * gram = ggml_new_tensor_2d(ctx.get(), GGML_TYPE_F32, triangle(input.columns), input.matrices);
        ggml_set_name(gram, (input.name + ".in_gram").c_str());
        gguf_add_tensor(g, gram);
        auto * counts = ggml_new_tensor_2d(ctx.get(), GGML_TYPE_F32, 1, input.matrices);
        ggml_set_name(counts, (input.name + ".counts").c_str());
        gguf_add_tensor(g, counts);
    }
    for (const auto & [name, length] : h.vectors) {
        auto * vector = ggml_new_tensor_1d(ctx.get(), GGML_TYPE_F32, length);
        ggml_set_name(vector, name.c_str());
        gguf_add_tensor(g, vector);
    }
    return gguf;
}

// a value as it is shown in messages
static std::string show(const gguf_context * g, int64_t key) {
    switch (key < 0 ? GGUF_TYPE_COUNT : gguf_get_kv_type(g, key)) {
        case GGUF_TYPE_STRING: return gguf_get_val_str(g, key);
        case GGUF_TYPE_UINT32: return std::to_string(gguf_get_val_u32(g, key));
        case GGUF_TYPE_UINT64: return std::to_string(gguf_get_val_u64(g, key));
        case GGUF_TYPE_ARRAY:  return std::to_string(gguf_get_arr_n(g, key)) + " names";
        default:               return "nothing";
    }
}

// how the header of a part file differs from the one wanted
static std::string difference(const std::string & part, const gguf_context * wanted) {
    gguf_init_params params = { /*no_alloc =*/ true, /*ctx =*/ nullptr };
    gguf_context_ptr found(gguf_init_from_file(part.c_str(), params));
    if (!found) {
        return "it is damaged";
    }
    for (int64_t i = 0; i < gguf_get_n_kv(wanted); i++) {
        const char *      key = gguf_get_key(wanted, i);
        const std::string a   = show(found.get(), gguf_find_key(found.get(), key));
        const std::string b   = show(wanted, i);
        if (a != b) {
            return std::string("its ") + key + " is " + a + ", not " + b;
        }
    }
    return "it has other tensors";
}

gram_file::gram_file(const std::string & path, const gram_header & header)
    : file(path), gguf(make_gguf(header)), inputs(header.inputs) {
    for (const auto & input : inputs) {
        counts.emplace_back(input.matrices, UNFINISHED);
    }
    for (const auto & [name, length] : header.vectors) {
        values[name].assign(length, UNFINISHED);
    }
    std::vector<char> meta(gguf_get_meta_size(gguf.get()));
    gguf_get_meta_data(gguf.get(), meta.data());

    if (!file.is_empty()) {
        std::vector<char> found(meta.size());
        file.seek(0);
        if (file.read(found.data(), found.size()) != found.size() || found != meta) {
            throw std::runtime_error(file.part + ": is of another run (" + difference(file.part, gguf.get()) +
                                     "); give the same options to go on with it, or delete it to start over");
        }
        each_small([&](std::vector<float> & v) {
            const size_t bytes = v.size() * sizeof(float);
            if (file.read(v.data(), bytes) != bytes) {
                throw std::runtime_error(file.part + ": cannot be read, or ends too early; delete it to start over");
            }
        });
        return;
    }
    // The counts and vectors come first: a file that ends before its last is of no use, and its header is incomplete.
    each_small([&](std::vector<float> & v) { file.write(v.data(), v.size() * sizeof(float)); });
    const int64_t     last = gguf_get_n_tensors(gguf.get()) - 1;
    const size_t      end  = gguf_get_tensor_size(gguf.get(), last);
    const size_t      pad  = GGML_PAD(end, gguf_get_alignment(gguf.get())) - end;
    std::vector<char> zeros(pad);
    seek(last, end);
    file.write(zeros.data(), pad);
    file.seek(0);
    file.write(meta.data(), meta.size());
    file.flush();
}

// Calls at(values) with the file at the place of all counts and vectors.
void gram_file::each_small(const std::function<void(std::vector<float> &)> & at) {
    for (size_t i = 0; i < inputs.size(); i++) {
        seek(2 * i + 1, 0);
        at(counts[i]);
    }
    for (auto & [name, vector] : values) {
        seek(gguf_find_tensor(gguf.get(), name.c_str()), 0);
        at(vector);
    }
}

void gram_file::seek(int64_t tensor, size_t offset) {
    file.seek(gguf_get_meta_size(gguf.get()) + gguf_get_tensor_offset(gguf.get(), tensor) + offset);
}

void gram_file::write(size_t input, int64_t matrix, const gram_matrix & sums) {
    seek(2 * input, matrix * triangle(inputs[input].columns) * sizeof(float));
    sums.read([&](const float * values, size_t n) { file.write(values, n * sizeof(float)); });
    file.flush();
    counts[input][matrix] = sums.tokens();
    seek(2 * input + 1, matrix * sizeof(float));
    file.write(&counts[input][matrix], sizeof(float));
    file.flush();
}

void gram_file::write(const std::string & vector, const std::vector<float> & v) {
    const int64_t tensor = gguf_find_tensor(gguf.get(), vector.c_str());
    values.at(vector)    = v;
    seek(tensor, sizeof(float));
    file.write(v.data() + 1, (v.size() - 1) * sizeof(float));
    file.flush();
    seek(tensor, 0); // the first value says that the others are there
    file.write(v.data(), sizeof(float));
    file.flush();
}

void gram_file::finish() {
    file.finish();
}
