#include "sensitivities.h"

#include <algorithm>
#include <chrono>
#include <cmath>

const std::vector<double> CURVE = { 0.0003, 0.001, 0.003, 0.01, 0.03, 0.1, 0.3 };

// Relative error of the sites of a group: of the size that types of 3 to 4 bits make.
static const double LEVEL = 0.01;

// Of a chunk.
static const int64_t LEAST_TOKENS = 64;

// Sites whose weights share an input, together. Values are apart: they are few, and more depends on them.
static std::vector<std::set<size_t>> groups_of(const std::vector<sensitivity_site> &      sites,
                                               const std::map<std::string, std::string> & input_of) {
    std::map<std::string, size_t> group_of;
    std::vector<std::set<size_t>> groups;
    for (size_t i = 0; i < sites.size(); i++) {
        const auto & site  = sites[i];
        const auto   input = input_of.find(site.weight);
        std::string  key   = site.weight + (site.rows ? " rows" : "");
        if (!site.rows && input != input_of.end() && site.weight.find("attn_v.") == std::string::npos) {
            key = "input of " + input->second;
        }
        const auto found = group_of.emplace(key, groups.size());
        if (found.second) {
            groups.emplace_back();
        }
        groups[found.first->second].insert(i);
    }
    return groups;
}

sensitivities measure_sensitivities(sensitivity_meter & meter, const std::function<void(int64_t, int64_t)> & run,
                                    int64_t n_chunks, int64_t n_tokens,
                                    const std::map<std::string, std::string> & input_of, double seconds,
                                    const std::function<void(double)> & tell) {
    const auto start   = std::chrono::steady_clock::now();
    const auto elapsed = [&] { return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count(); };

    const auto           groups = groups_of(meter.sites, input_of);
    std::vector<mean_divergence> alone(groups.size());
    std::vector<mean_divergence> together(CURVE.size());
    std::set<size_t>     all;
    for (size_t i = 0; i < meter.sites.size(); i++) {
        all.insert(i);
    }

    // A round takes about half a run for every group.
    int64_t chunk  = 0;
    meter.n_tokens = std::min(n_tokens, LEAST_TOKENS);
    meter.run      = [&] { run(chunk, meter.n_tokens); };
    meter.base();
    const double before = elapsed();
    meter.base();
    const double of_token = (elapsed() - before) / meter.n_tokens;
    const double round    = (0.6 * groups.size() + CURVE.size() + 1) * of_token;
    const int64_t fitting = (int64_t) (seconds / round);
    meter.n_tokens        = std::max(meter.n_tokens, std::min(n_tokens, fitting));

    double longest = 0;
    for (uint64_t number = 0;; number++) {
        const double began = elapsed();
        chunk = (int64_t) (fmod(number * 0.6180339887, 1.0) * n_chunks); // spread over the text
        meter.base();
        for (size_t g = 0; g < groups.size(); g++) {
            alone[g].add(meter.perturbed(groups[g], LEVEL, number));
            // of this round, and of the rounds that there is time for
            const double of_round = (g + 1.0) / (groups.size() + CURVE.size());
            const double took     = number == 0 ? elapsed() / of_round : longest;
            const double rounds   = std::max(floor(seconds / took), number + 1.0);
            tell((number + of_round) / rounds);
        }
        for (size_t i = 0; i < CURVE.size(); i++) {
            together[i].add(meter.perturbed(all, CURVE[i], number));
        }
        longest = std::max(longest, elapsed() - began);
        if (elapsed() + longest > seconds) {
            break;
        }
    }

    sensitivities result;
    result.divergence.resize(meter.sites.size());
    result.error.resize(meter.sites.size());
    double sum = 0;
    for (size_t g = 0; g < groups.size(); g++) {
        for (size_t site : groups[g]) {
            result.divergence[site] = alone[g].mean() / LEVEL / groups[g].size();
            result.error[site]      = alone[g].error() / LEVEL / groups[g].size();
            sum += result.divergence[site];
        }
    }
    for (const auto & site : meter.sites) {
        result.energy.push_back(site.energy);
    }
    for (size_t i = 0; i < CURVE.size(); i++) {
        result.curve.push_back(sum * CURVE[i]);
        result.curve.push_back(together[i].mean());
    }
    return result;
}
