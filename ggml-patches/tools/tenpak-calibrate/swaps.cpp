#include "swaps.h"

#include "ggml-cpp.h"
#include "gguf.h"

#include <cstdio>
#include <map>
#include <stdexcept>

// The values of a tensor in the type that the model's weight has.
static std::vector<uint8_t> converted(const ggml_tensor * t, ggml_type type) {
    std::vector<float> values(ggml_nelements(t));
    ggml_get_type_traits(t->type)->to_float(t->data, values.data(), values.size());
    std::vector<uint8_t> data(ggml_row_size(type, values.size()));
    switch (type) {
        case GGML_TYPE_F32:  return { (const uint8_t *) values.data(), (const uint8_t *) (values.data() + values.size()) };
        case GGML_TYPE_F16:  ggml_fp32_to_fp16_row(values.data(), (ggml_fp16_t *) data.data(), values.size()); break;
        case GGML_TYPE_BF16: ggml_fp32_to_bf16_row(values.data(), (ggml_bf16_t *) data.data(), values.size()); break;
        default: throw std::runtime_error(std::string("-m: `") + t->name + "` is no float");
    }
    return data;
}

void measure_swaps(sensitivity_meter & meter, const std::string & path, const std::function<void(int64_t, int64_t)> & run,
                   int64_t n_chunks, int64_t n_tokens) {
    ggml_context *   raw    = nullptr;
    gguf_init_params params = { /*no_alloc =*/ false, &raw };
    gguf_context_ptr gguf(gguf_init_from_file(path.c_str(), params));
    ggml_context_ptr tensors(raw);
    if (!gguf) {
        throw std::runtime_error(path + ": cannot be read as a GGUF file");
    }
    std::map<std::string, ggml_type> types;
    for (const auto & site : meter.sites) {
        types[site.weight] = site.type;
    }
    std::map<std::string, std::vector<uint8_t>> swaps;
    for (auto * t = ggml_get_first_tensor(raw); t; t = ggml_get_next_tensor(raw, t)) {
        const auto type = types.find(t->name);
        if (ggml_is_quantized(t->type) && type != types.end()) {
            swaps[t->name] = converted(t, type->second);
        }
    }

    std::map<std::string, mean_divergence> costs;
    int64_t                                chunk = 0;
    meter.n_tokens  = n_tokens;
    meter.n_skipped = n_tokens / 2;
    meter.run       = [&] { run(chunk, n_tokens); };
    for (; chunk < n_chunks; chunk++) {
        meter.base();
        for (auto & [weight, data] : swaps) {
            costs[weight].add(meter.swapped({ weight, data.data() }));
        }
    }
    for (const auto & [weight, cost] : costs) {
        printf("%s\t%g\t%g\n", weight.c_str(), cost.mean(), cost.error());
    }
}
