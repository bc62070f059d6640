#include "rehearsal.h"

#include "progress.h"

#include <chrono>
#include <cmath>
#include <fstream>
#include <stdexcept>

std::map<size_t, double> read_noise(const std::string & path, const sensitivity_meter & meter) {
    std::map<std::string, size_t> site_of;
    for (size_t i = 0; i < meter.sites.size(); i++) {
        site_of[meter.sites[i].weight + (meter.sites[i].rows ? " rows" : " product")] = i;
    }
    std::ifstream            file(path);
    std::map<size_t, double> noise;
    std::string              weight, use;
    double                   share = 0;
    while (file >> weight >> use >> share) {
        const auto site = site_of.find(weight + " " + use);
        if (site == site_of.end()) {
            throw std::runtime_error(path + ": the model does not use `" + weight + "` as `" + use + "`");
        }
        if (!(share >= 0) || !std::isfinite(share)) {
            throw std::runtime_error(path + ": the noise of `" + weight + "` is no share of squares");
        }
        noise[site->second] = share;
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
        cost.add(meter.perturbed(noise, chunk));
        const double took = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
        const double done = (chunk + 1.0) / n_chunks;
        const bool   last = chunk + 1 == n_chunks;
        line.show("rehearsal of the mix: " + std::to_string((int) (100 * done)) + " %, " + human_seconds(took * (1 / done - 1)) +
                      " left",
                  last, last);
    }
    fprintf(out, "%g\t%g\n", cost.mean(), cost.error());
}
