#include "sensitivity.h"

#include "collector.h"
#include "ggml-backend.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <stdexcept>
#include <thread>

static ggml_tensor * root_of(ggml_tensor * t) {
    while (t->view_src) {
        t = t->view_src;
    }
    return t;
}

// Normal to four moments: the sum of four uniform values, from a counter.
static float normal(uint64_t seed, uint64_t i) {
    uint64_t z = seed + (i + 1) * 0x9E3779B97F4A7C15ull;
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9ull;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBull;
    z ^= z >> 31;
    const int sum = (int) (z & 0xffff) + (int) (z >> 16 & 0xffff) + (int) (z >> 32 & 0xffff) + (int) (z >> 48);
    return (sum - 131070) * (1.7320508f / 65536);
}

static void in_parallel(int64_t n, const std::function<void(int64_t, int64_t)> & work) {
    const int64_t            n_threads = std::max<int64_t>(1, std::min<int64_t>(std::thread::hardware_concurrency(), n));
    std::vector<std::thread> threads;
    for (int64_t i = 0; i < n_threads; i++) {
        threads.emplace_back([&, i] { work(n * i / n_threads, n * (i + 1) / n_threads); });
    }
    for (auto & thread : threads) {
        thread.join();
    }
}

// exp(x) for x from -87 to 0, to seven digits: such that compilers make vectors of it.
static inline float exp_below(float x) {
    const float t    = std::max(x, -87.0f) * 1.44269504f;
    const float n    = (float) (int) (t - 0.5f);
    const float y    = (t - n) * 0.693147181f; // -0.35 to 0.35
    const float p    = 1 + y * (1 + y * (0.5f + y * (1.0f / 6 + y * (1.0f / 24 + y * (1.0f / 120 + y / 720)))));
    const int   bits = ((int) n + 127) << 23;
    float       power;
    memcpy(&power, &bits, sizeof(power));
    return p * power;
}

static float most_of(const float * x, int64_t n) {
    static const int64_t LANES = 16; // each by itself, so that compilers make vectors of them
    float most[LANES];
    std::fill(most, most + LANES, x[0]);
    for (int64_t i = 0; i < n; i += LANES) {
        const int64_t lanes = std::min(LANES, n - i);
        for (int64_t j = 0; j < lanes; j++) {
            most[j] = std::max(most[j], x[i + j]);
        }
    }
    return *std::max_element(most, most + LANES);
}

// The divergence of predictions q from p, both as logits, in nats.
static double divergence(const float * p, const float * q, int64_t n) {
    static const int64_t LANES  = 16;
    static const int64_t PIECE  = 4096; // what is added in float
    const float          most_p = most_of(p, n);
    const float          most_q = most_of(q, n);
    double               sum_p = 0, sum_q = 0, sum_product = 0;
    for (int64_t first = 0; first < n; first += PIECE) {
        const int64_t last = std::min(first + PIECE, n);
        float         of_p[LANES] = {}, of_q[LANES] = {}, product[LANES] = {};
        for (int64_t i = first; i < last; i += LANES) {
            const int64_t lanes = std::min(LANES, last - i);
            for (int64_t j = 0; j < lanes; j++) {
                const float lp = p[i + j] - most_p;
                const float lq = q[i + j] - most_q;
                const float e  = exp_below(lp);
                of_p[j] += e;
                of_q[j] += exp_below(lq);
                product[j] += e * (lp - lq);
            }
        }
        for (int64_t j = 0; j < LANES; j++) {
            sum_p += of_p[j];
            sum_q += of_q[j];
            sum_product += product[j];
        }
    }
    return sum_product / sum_p + log(sum_q) - log(sum_p);
}

sensitivity_meter::sensitivity_meter(std::set<std::string> weights, llama_context * ctx)
    : weights(std::move(weights)), ctx(ctx) {}

bool sensitivity_meter::on_node(ggml_tensor * t, bool ask) {
    if (!ask) {
        const size_t node = tensors.size() - 1;
        const auto   site = site_of.find(node);
        if (now == phase::base && site != site_of.end()) {
            measure(t, site->second);
        }
        if (now == phase::base && saves(node + 1)) {
            save(node + 1);
        }
        if (now == phase::perturbed && cut == node + 1) {
            restore(cut);
        }
        if (now == phase::perturbed && site != site_of.end() && noisy.count(site->second)) {
            add_noise(t, site->second);
        }
        for (const auto & [weight, data] : swapped_data) {
            weight->data = data;
        }
        swapped_data.clear();
        return true;
    }
    const size_t node = tensors.size();
    tensors.push_back(t);
    if (now == phase::trace) {
        trace_node(t);
        return false;
    }
    if (node >= nodes.size() || nodes[node].op != t->op || nodes[node].name != t->name) {
        problem = "the graph is not the same in every run";
        return false;
    }
    if (node < cut) {
        t->flags &= ~GGML_TENSOR_FLAG_COMPUTE;
        return node + 1 == cut;
    }
    const auto site = site_of.find(node);
    if (now == phase::base) {
        return site != site_of.end() || saves(node + 1);
    }
    if (site == site_of.end()) {
        return false;
    }
    const auto swap = swaps ? swaps->find(sites[site->second].weight) : sensitivity_swaps::const_iterator();
    if (swaps && swap != swaps->end()) {
        const auto * root = (const uint8_t *) root_of(t->src[0])->data;
        for (auto * w = t->src[0]; w; w = w->view_src) {
            swapped_data.emplace(w, w->data);
        }
        for (const auto & [w, data] : swapped_data) {
            w->data = swap->second + ((uint8_t *) data - root);
        }
        return true;
    }
    return noisy.count(site->second) > 0;
}

void sensitivity_meter::trace_node(ggml_tensor * t) {
    const size_t node = nodes.size();
    nodes.push_back({ t->name, t->op, t->view_src ? 0 : ggml_nbytes(t), node });
    if (!t->view_src) {
        made_by[t] = node;
        is_host = is_host && t->buffer && ggml_backend_buffer_is_host(t->buffer);
    }
    const auto read = [&](ggml_tensor * s) {
        const auto made = made_by.find(root_of(s));
        if (made != made_by.end()) {
            nodes[made->second].last_use = node;
        }
    };
    read(t);
    for (auto * s : t->src) {
        if (s) {
            read(s);
        }
    }
    if (t->op != GGML_OP_MUL_MAT && t->op != GGML_OP_MUL_MAT_ID && t->op != GGML_OP_GET_ROWS) {
        return;
    }
    const ggml_tensor * weight = root_of(t->src[0]);
    const std::string   name   = weight_name(weight);
    if (!weights.count(name) || weight->ne[0] != t->src[0]->ne[0] || ggml_is_transposed(t->src[0]) ||
        t->type != GGML_TYPE_F32) {
        return;
    }
    const bool rows = t->op == GGML_OP_GET_ROWS;
    auto       same = std::find_if(sites.begin(), sites.end(),
                                   [&](const auto & site) { return site.weight == name && site.rows == rows; });
    site_of[node] = same - sites.begin();
    if (same != sites.end()) {
        return;
    }
    sites.push_back({ name, weight->type, rows });
    first_use.push_back(node);
    spread.push_back(1);
    shares.emplace_back();
    if (rows) {
        return;
    }
    // Of experts the mean: which rows a token gets is not known before it runs.
    auto &               share = shares.back();
    std::vector<uint8_t> data(ggml_row_size(weight->type, weight->ne[0]));
    std::vector<float>   row(weight->ne[0]);
    share.assign(weight->ne[1], 0);
    const auto * to_float = ggml_get_type_traits(weight->type);
    double       sum      = 0;
    for (int64_t i = 0; i < ggml_nrows(weight); i++) {
        ggml_backend_tensor_get(weight, data.data(), i * weight->nb[1], data.size());
        if (weight->type == GGML_TYPE_F32) {
            memcpy(row.data(), data.data(), data.size());
        } else {
            to_float->to_float(data.data(), row.data(), row.size());
        }
        float squares[8] = {};
        for (size_t c = 0; c + 8 <= row.size(); c += 8) {
            for (int j = 0; j < 8; j++) {
                squares[j] += row[c + j] * row[c + j];
            }
        }
        for (float s : squares) {
            share[i % weight->ne[1]] += s;
            sum += s;
        }
    }
    for (float & s : share) {
        s = sum > 0 ? s / sum : 0;
    }
}

// Cuts are where at most twice the least lives.
void sensitivity_meter::find_cuts() {
    if (!is_host) {
        return;
    }
    std::vector<int64_t> change(nodes.size() + 2);
    for (size_t i = 0; i < nodes.size(); i++) {
        change[i + 1] += nodes[i].bytes;
        change[nodes[i].last_use + 1] -= nodes[i].bytes;
    }
    std::vector<int64_t> lives(nodes.size());
    int64_t              sum = 0;
    for (size_t i = 0; i < nodes.size(); i++) {
        sum += change[i];
        lives[i] = sum;
    }
    const size_t begin = first_use.empty() ? 0 : first_use.front() + 1;
    const size_t end   = first_use.empty() ? 0 : *std::max_element(first_use.begin(), first_use.end());
    if (begin >= end) {
        return;
    }
    const int64_t least = *std::min_element(lives.begin() + begin, lives.begin() + end);
    for (size_t use : first_use) {
        for (size_t node = use; node > begin; node--) {
            if (lives[node] > 2 * least) {
                continue;
            }
            auto & at = live[node];
            if (at.empty()) {
                for (size_t i = 0; i < node; i++) {
                    if (nodes[i].bytes > 0 && nodes[i].last_use >= node) {
                        at.push_back(i);
                    }
                }
            }
            break;
        }
    }
}

void sensitivity_meter::trace() {
    evaluate(phase::trace, 0);
    made_by.clear();
    find_cuts();
}

std::vector<std::pair<std::string, bool>> sensitivity_meter::names() const {
    std::vector<std::pair<std::string, bool>> names;
    for (const auto & site : sites) {
        names.emplace_back(site.weight, site.rows);
    }
    return names;
}

bool sensitivity_meter::saves(size_t cut) const {
    return runs_suffixes && live.count(cut);
}

size_t sensitivity_meter::first_node(const std::set<size_t> & sites) const {
    if (!runs_suffixes) {
        return 0;
    }
    size_t first = nodes.size();
    for (size_t site : sites) {
        first = std::min(first, first_use[site]);
    }
    const auto after = live.upper_bound(first);
    return after == live.begin() ? 0 : std::prev(after)->first;
}

void sensitivity_meter::save(size_t cut) {
    for (size_t node : live[cut]) {
        auto & data = saved[{ cut, node }];
        data.resize(ggml_nbytes(tensors[node]));
        ggml_backend_tensor_get(tensors[node], data.data(), 0, data.size());
    }
}

void sensitivity_meter::restore(size_t cut) {
    for (size_t node : live[cut]) {
        const auto & data = saved[{ cut, node }];
        ggml_backend_tensor_set(tensors[node], data.data(), 0, data.size());
    }
}

void sensitivity_meter::evaluate(phase p, size_t first_node) {
    now = p;
    cut = first_node;
    tensors.clear();
    run();
    llama_synchronize(ctx);
    for (auto * t : tensors) {
        t->flags |= GGML_TENSOR_FLAG_COMPUTE;
    }
    if (!problem.empty()) {
        throw std::runtime_error(problem);
    }
}

void sensitivity_meter::base() {
    energies.clear();
    evaluate(phase::base, 0);
    const int64_t n_vocab = llama_vocab_n_tokens(llama_model_get_vocab(llama_get_model(ctx)));
    logits.assign(llama_get_logits(ctx), llama_get_logits(ctx) + (n_tokens - n_skipped) * n_vocab);
    for (auto & [site, values] : energies) {
        double & energy = sites[site].energy;
        if (energy == 0) {
            auto sorted = values;
            std::nth_element(sorted.begin(), sorted.begin() + sorted.size() / 2, sorted.end());
            energy = std::max(sorted[sorted.size() / 2], 1e-30f);
        }
        double sum = 0;
        for (float v : values) {
            sum += sqrt(v / energy);
        }
        spread[site] = sum / values.size();
    }
}

void sensitivity_meter::base_of(const chunk_runner & run_chunk, int64_t chunk, int64_t n_of_chunk, int64_t n_not_counted) {
    n_tokens  = n_of_chunk;
    n_skipped = n_not_counted;
    run       = [this, &run_chunk, chunk] { run_chunk(chunk, n_tokens, n_skipped); };
    base();
}

// The outputs of a site by token.
void sensitivity_meter::measure(const ggml_tensor * t, size_t site) {
    std::vector<float> values(t->ne[0]);
    for (int64_t row = 0; row < ggml_nrows(t); row++) {
        ggml_backend_tensor_get(t, values.data(), row * t->nb[1], ggml_row_size(t->type, t->ne[0]));
        double sum = 0;
        for (const double v : values) {
            sum += v * v;
        }
        energies[site].push_back(sum);
    }
}

void sensitivity_meter::add_noise(ggml_tensor * t, size_t site) {
    const int64_t      n     = t->ne[0];
    const double       noise = noisy.at(site);
    std::vector<float> deviation(n);
    if (!sites[site].rows) {
        for (int64_t i = 0; i < n; i++) {
            deviation[i] = sqrt(noise * sites[site].energy * shares[site][i]);
        }
    }
    in_parallel(ggml_nrows(t), [&](int64_t first, int64_t last) {
        std::vector<float> v(n);
        for (int64_t row = first; row < last; row++) {
            ggml_backend_tensor_get(t, v.data(), row * t->nb[1], n * sizeof(float));
            const uint64_t from = seed * 0xD1342543DE82EF95ull + site * 0x2545F4914F6CDD1Dull + (row << 32);
            double         sum  = 0;
            for (int64_t i = 0; i < n; i++) {
                sum += v[i] * v[i];
            }
            // Rows that are taken have errors in proportion to themselves. The errors of products grow with the inputs,
            // but less than they do: what is usual in a large input adds nothing to them.
            const double energy  = sites[site].energy;
            const float  of_row  = sites[site].rows ? sqrt(noise * sum / n) : sqrt(sqrt(sum / energy) / spread[site]);
            for (int64_t i = 0; i < n; i++) {
                v[i] += of_row * (sites[site].rows ? 1 : deviation[i]) * normal(from, i);
            }
            ggml_backend_tensor_set(t, v.data(), row * t->nb[1], n * sizeof(float));
        }
    });
}

std::vector<double> sensitivity_meter::diverged(size_t first_node) {
    evaluate(phase::perturbed, first_node);
    const int64_t       n_vocab = llama_vocab_n_tokens(llama_model_get_vocab(llama_get_model(ctx)));
    const float *       found   = llama_get_logits(ctx);
    std::vector<double> result(n_tokens - n_skipped);
    in_parallel(result.size(), [&](int64_t first, int64_t last) {
        for (int64_t i = first; i < last; i++) {
            result[i] = divergence(&logits[i * n_vocab], found + i * n_vocab, n_vocab);
        }
    });
    return result;
}

std::vector<double> sensitivity_meter::perturbed(const std::map<size_t, double> & errors, uint64_t s) {
    noisy = errors;
    seed  = s;
    std::set<size_t> places;
    for (const auto & [site, error] : errors) {
        places.insert(site);
    }
    auto result = diverged(first_node(places));
    noisy.clear();
    return result;
}

std::vector<double> sensitivity_meter::swapped(const sensitivity_swaps & others) {
    std::set<size_t> places;
    for (size_t i = 0; i < sites.size(); i++) {
        if (others.count(sites[i].weight)) {
            places.insert(i);
        }
    }
    swaps = &others;
    auto result = diverged(first_node(places));
    swaps = nullptr;
    return result;
}
