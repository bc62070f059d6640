#include "swaps.h"

#include "ggml-cpp.h"
#include "gguf.h"
#include "mean-divergence.h"
#include "progress.h"
#include "rehearsal.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <fstream>
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
        default: GGML_ABORT("no float");
    }
    return data;
}

static bool is_float(ggml_type type) {
    return type == GGML_TYPE_F32 || type == GGML_TYPE_F16 || type == GGML_TYPE_BF16;
}

// The quantized weights of a file that the model has too, as floats.
class other_weights {
  public:
    other_weights(const sensitivity_meter & meter, const std::string & path) {
        ggml_context *   raw    = nullptr;
        gguf_init_params params = { /*no_alloc =*/ false, &raw };
        gguf.reset(gguf_init_from_file(path.c_str(), params));
        context.reset(raw);
        if (!gguf) {
            throw std::runtime_error(path + ": cannot be read as a GGUF file");
        }
        for (const auto & site : meter.sites) {
            types[site.weight] = site.type;
        }
        for (auto * t = ggml_get_first_tensor(raw); t; t = ggml_get_next_tensor(raw, t)) {
            const auto type = types.find(t->name);
            if (ggml_is_quantized(t->type) && type != types.end() && is_float(type->second)) {
                tensors.push_back(t);
            }
        }
    }

    std::vector<ggml_tensor *> tensors;

    std::vector<uint8_t> values(const ggml_tensor * t) const { return converted(t, types.at(t->name)); }

  private:
    gguf_context_ptr                 gguf;
    ggml_context_ptr                 context;
    std::map<std::string, ggml_type> types;
};

// Of the divergences of single tokens this share is left out where weights are compared with noise, the largest of either. Noise does
// to a token in a thousand what it does to no other, and two such tokens were a quarter of a mean.
static const double LEFT_OUT = 0.02;

static mean_divergence mean_of(const std::vector<double> & of_tokens) {
    return mean_without_largest(of_tokens, LEFT_OUT * of_tokens.size());
}

void measure_swaps(sensitivity_meter & meter, const std::string & path, const chunk_runner & run, int64_t n_chunks,
                   int64_t n_tokens) {
    const other_weights others(meter, path);
    if (others.tensors.empty()) {
        throw std::runtime_error(path + ": has no quantized weight that the model has as floats");
    }
    std::map<std::string, std::vector<uint8_t>> values;
    for (const auto * t : others.tensors) {
        values[t->name] = others.values(t);
    }
    std::map<std::string, mean_divergence> costs;
    for (int64_t chunk = 0; chunk < n_chunks; chunk++) {
        meter.base_of(run, chunk, n_tokens, n_tokens / 2);
        for (auto & [weight, data] : values) {
            costs[weight].add(meter.swapped({ { weight, data.data() } }));
        }
    }
    for (const auto & [weight, cost] : costs) {
        printf("%s\t%g\t%g\n", weight.c_str(), cost.mean(), cost.error());
    }
}

std::map<std::string, tried_weight> read_tried(const std::string & path, const sensitivity_meter & meter) {
    std::ifstream                       file(path);
    std::map<std::string, tried_weight> tried;
    std::string                         kind;
    while (const auto line = read_noise_of_use(file, path, meter)) {
        if (!(file >> kind)) {
            break;
        }
        tried_weight & weight    = tried[meter.sites[line->site].weight];
        weight.noise[line->site] = line->noise;
        weight.kind              = kind;
    }
    if (!file.eof()) {
        throw std::runtime_error(path + ": has no lines of a name, `product` or `rows`, a number and a kind");
    }
    return tried;
}

void measure_kinds(sensitivity_meter & meter, const std::string & path, const std::map<std::string, tried_weight> & tried,
                   const chunk_runner & run, int64_t n_chunks, int64_t n_tokens, FILE * out) {
    const other_weights                               others(meter, path);
    std::map<std::string, std::vector<ggml_tensor *>> kinds;
    size_t                                            n_weights = 0;
    for (auto * t : others.tensors) {
        const auto weight = tried.find(t->name);
        if (weight != tried.end()) {
            kinds[weight->second.kind].push_back(t);
            n_weights++;
        }
    }
    if (kinds.empty()) {
        return;
    }
    const auto    start = std::chrono::steady_clock::now();
    const double  runs  = n_chunks * (1.0 + 2 * kinds.size());
    double        done  = 0;
    progress_line line;
    const auto    tell = [&](bool last) {
        const double took = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
        const double left = took * (runs / done - 1);
        line.show("trial of " + std::to_string(n_weights) + " weights: " + std::to_string((int) (100 * done / runs)) +
                      " %, " + human_seconds(left) + " left",
                  last, last);
    };
    struct of_tokens {
        std::vector<double> weights;
        std::vector<double> noise;
    };
    std::map<std::string, of_tokens> divergences;
    // All of them stay: to make those of a head anew takes longer than to run it.
    std::map<std::string, std::vector<uint8_t>> values;
    for (const auto & [kind, tensors] : kinds) {
        for (auto * t : tensors) {
            values[t->name] = others.values(t);
        }
    }
    for (int64_t chunk = 0; chunk < n_chunks; chunk++) {
        meter.base_of(run, chunk, n_tokens, n_tokens / 2);
        done += 1;
        for (const auto & [kind, tensors] : kinds) {
            sensitivity_swaps        swaps;
            std::map<size_t, double> noise;
            for (auto * t : tensors) {
                swaps[t->name] = values.at(t->name).data();
                noise.insert(tried.at(t->name).noise.begin(), tried.at(t->name).noise.end());
            }
            append(divergences[kind].weights, meter.swapped(swaps));
            append(divergences[kind].noise, meter.perturbed(shares_of(noise, meter), chunk));
            done += 2;
            tell(false);
        }
    }
    tell(true);
    for (const auto & [kind, of] : divergences) {
        const auto weights = mean_of(of.weights);
        const auto noise   = mean_of(of.noise);
        fprintf(out, "%s\t%g\t%g\t%g\t%g\n", kind.c_str(), weights.mean(), weights.error(), noise.mean(), noise.error());
    }
}
