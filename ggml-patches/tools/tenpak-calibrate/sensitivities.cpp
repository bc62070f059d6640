#include "sensitivities.h"

#include "mean-divergence.h"

#include <algorithm>
#include <chrono>
#include <cmath>

const std::vector<double> CURVE = { 0.0003, 0.001, 0.003, 0.01, 0.03, 0.1, 0.3 };

// Relative error of the sites of a group: of the size that types of 3 to 4 bits make.
static const size_t LEVEL_IN_CURVE = 3;
static const double LEVEL          = CURVE[LEVEL_IN_CURVE];

// Multiples of it are spread evenly, modulo 1.
static const double GOLDEN = 0.6180339887;

// Of a chunk, for sites one by one.
static const int64_t LEAST_TOKENS = 64;
static const int64_t SKIPPED      = 16;

// Some text is far more sensitive than other. Noise at all sites at once takes one run instead of one for every group, so that
// its level is found on more of it: so many further chunks in a round, if there are as many, all tokens of each. The second half of
// them counts, as in llama-perplexity, however little time there is: predictions with little before them diverge more. One chunk is
// enough for no time at all, and more than one takes a quarter of the time at most.
static const int64_t CHUNKS_OF_LEVEL = 4;
static const double  SHARE_OF_LEVEL  = 0.25;

// No further round begins when standard errors are so small a share of the sensitivities: a mix of Qwen2.5-Coder-1.5B
// lost half a percent by a share of .084, and chunks of text differ by more.
static const double SMALL_ERROR = 0.1;

static std::vector<mean_divergence> means_of(const std::vector<std::vector<double>> & all) {
    std::vector<mean_divergence> means;
    for (const auto & of_tokens : all) {
        means.push_back(mean_of_few(of_tokens));
    }
    return means;
}

// The sum of standard errors over that of means, with all tokens.
static double error_of(const std::vector<std::vector<double>> & all) {
    double errors = 0;
    double means  = 0;
    for (const auto & of_tokens : all) {
        const auto one = mean_without_largest(of_tokens, 0);
        errors += one.error();
        means += one.mean();
    }
    return errors / means;
}

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

sensitivities measure_sensitivities(sensitivity_meter & meter, const chunks_of_text & text, int64_t n_tokens,
                                    const std::map<std::string, std::string> & input_of, double seconds,
                                    const std::function<void(double)> & tell) {
    const auto start   = std::chrono::steady_clock::now();
    const auto elapsed = [&] { return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count(); };

    const auto                       groups = groups_of(meter.sites, input_of);
    std::vector<std::vector<double>> of_groups(groups.size()); // divergences of tokens
    std::vector<std::vector<double>> of_curve(CURVE.size());
    mean_divergence                  at_level; // at LEVEL, on further chunks
    std::set<size_t>                 all;
    for (size_t i = 0; i < meter.sites.size(); i++) {
        all.insert(i);
    }
    const auto noise_at = [](const std::set<size_t> & sites, double error) {
        std::map<size_t, double> errors;
        for (size_t site : sites) {
            errors[site] = error;
        }
        return errors;
    };

    // A round takes about half a run for every group.
    int64_t n_alone = std::min(n_tokens, LEAST_TOKENS);
    uint64_t   n_picked = 0;
    const auto pick     = [&] { return (int64_t) (fmod(GOLDEN * n_picked++, 1.0) * text.n); };

    meter.base_of(text.run, 0, n_alone, std::min(SKIPPED, n_alone - 1));
    const double before = elapsed();
    meter.base_of(text.run, 0, n_alone, std::min(SKIPPED, n_alone - 1));
    const double  of_token        = (elapsed() - before) / n_alone;
    const double  runs            = 0.6 * groups.size() + 1 + CURVE.size();
    const double  most_of_level   = SHARE_OF_LEVEL * seconds / (2.0 * n_tokens * of_token);
    const int64_t n_of_level      = std::max<int64_t>(1, std::min({ CHUNKS_OF_LEVEL, text.n, (int64_t) most_of_level }));
    const double  tokens_of_level = 2.0 * n_of_level * n_tokens;
    n_alone = std::max(n_alone, std::min(n_tokens / 2, (int64_t) ((seconds / of_token - tokens_of_level) / runs)));

    double longest = 0;
    for (uint64_t number = 0;; number++) {
        const double began = elapsed();
        double       done  = 0; // tokens that this round has run
        const auto   step  = [&](double n) {
            done += n;
            // of this round, and of the rounds that there is time for
            const double of_round = done / (runs * n_alone + tokens_of_level);
            const double took     = number == 0 ? elapsed() / of_round : longest;
            const double rounds   = std::max(floor(seconds / took), number + 1.0);
            tell(std::min((number + of_round) / rounds, 1.0));
        };
        meter.base_of(text.run, pick(), n_alone, std::min(SKIPPED, n_alone - 1));
        for (size_t g = 0; g < groups.size(); g++) {
            append(of_groups[g], meter.perturbed(noise_at(groups[g], LEVEL), number));
            step(0.6 * n_alone);
        }
        for (size_t i = 0; i < CURVE.size(); i++) {
            append(of_curve[i], meter.perturbed(noise_at(all, CURVE[i]), number));
            step(n_alone);
        }
        meter.runs_suffixes = false;
        for (int64_t c = 0; c < n_of_level; c++) {
            meter.base_of(text.run, pick(), n_tokens, n_tokens / 2);
            at_level.add(meter.perturbed(noise_at(all, LEVEL), number));
            step(2 * n_tokens);
        }
        meter.runs_suffixes = true;
        longest = std::max(longest, elapsed() - began);
        if (elapsed() + longest > seconds || error_of(of_groups) <= SMALL_ERROR) {
            break;
        }
    }

    const auto    alone    = means_of(of_groups);
    const auto    together = means_of(of_curve);
    sensitivities result;
    result.divergence.resize(meter.sites.size());
    result.error.resize(meter.sites.size());
    const double level = at_level.mean() / together[LEVEL_IN_CURVE].mean();
    double       sum   = 0;
    for (size_t g = 0; g < groups.size(); g++) {
        for (size_t site : groups[g]) {
            result.divergence[site] = level * alone[g].mean() / LEVEL / groups[g].size();
            result.error[site]      = level * alone[g].error() / LEVEL / groups[g].size();
            sum += result.divergence[site];
        }
    }
    for (const auto & site : meter.sites) {
        result.energy.push_back(site.energy);
    }
    for (size_t i = 0; i < CURVE.size(); i++) {
        result.curve.push_back(sum * CURVE[i]);
        result.curve.push_back(level * together[i].mean());
    }
    return result;
}
