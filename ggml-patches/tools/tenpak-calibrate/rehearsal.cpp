#include "rehearsal.h"

#include "mean-divergence.h"
#include "progress.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <fstream>
#include <stdexcept>

std::optional<noise_of_use> read_noise_of_use(std::istream & file, const std::string & path, const sensitivity_meter & meter) {
    std::string weight, use;
    double      share = 0;
    if (!(file >> weight >> use >> share)) {
        return std::nullopt;
    }
    const auto site = std::find_if(meter.sites.begin(), meter.sites.end(),
                                   [&](const auto & s) { return s.weight == weight && use == (s.rows ? "rows" : "product"); });
    if (site == meter.sites.end()) {
        throw std::runtime_error(path + ": the model does not use `" + weight + "` as `" + use + "`");
    }
    if (!(share >= 0) || !std::isfinite(share)) {
        throw std::runtime_error(path + ": the noise of `" + weight + "` is no sum of squares");
    }
    return noise_of_use{ (size_t) (site - meter.sites.begin()), share };
}

std::map<size_t, double> shares_of(const std::map<size_t, double> & noise, const sensitivity_meter & meter) {
    std::map<size_t, double> shares;
    for (const auto & [site, of_site] : noise) {
        shares[site] = meter.sites[site].rows ? of_site : of_site / meter.sites[site].energy;
    }
    return shares;
}

std::map<size_t, double> read_noise(const std::string & path, const sensitivity_meter & meter) {
    std::ifstream            file(path);
    std::map<size_t, double> noise;
    while (const auto line = read_noise_of_use(file, path, meter)) {
        noise[line->site] = line->noise;
    }
    if (!file.eof() || noise.empty()) {
        throw std::runtime_error(path + ": has no lines of a name, `product` or `rows`, and a number");
    }
    return noise;
}

void rehearse(sensitivity_meter & meter, const std::map<size_t, double> & noise, const chunk_runner & run, int64_t n_chunks,
              int64_t n_tokens, FILE * out) {
    const auto      start = std::chrono::steady_clock::now();
    progress_line   line;
    mean_divergence cost;
    meter.runs_suffixes = false;
    for (int64_t chunk = 0; chunk < n_chunks; chunk++) {
        meter.base_of(run, chunk, n_tokens, n_tokens / 2);
        cost.add(meter.perturbed(shares_of(noise, meter), chunk));
        const double took = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
        const double done = (chunk + 1.0) / n_chunks;
        const bool   last = chunk + 1 == n_chunks;
        line.show("rehearsal of the mix: " + std::to_string((int) (100 * done)) + " %, " + human_seconds(took * (1 / done - 1)) +
                      " left",
                  last, last);
    }
    fprintf(out, "%g\t%g\n", cost.mean(), cost.error());
}
