// What a mix of types does before there is a file of it: noise of the sizes that the errors of its weights are expected to have.

#pragma once

#include "sensitivity.h"

#include <cstdio>
#include <istream>
#include <map>
#include <optional>
#include <string>

// What a line of a file begins with: the name of a weight, `product` or `rows`, and noise: of products the sum of squares of an output's
// noise, the mean over tokens; of rows the share of a row's squares.
struct noise_of_use {
    size_t site;
    double noise;
};

// The same noise as shares of the energy of sites, which the meter knows when it has run the model as it is.
std::map<size_t, double> shares_of(const std::map<size_t, double> & noise, const sensitivity_meter & meter);

// Nothing where no such line follows. path: the file, for errors
std::optional<noise_of_use> read_noise_of_use(std::istream & file, const std::string & path, const sensitivity_meter & meter);

// All lines of a file, by site.
std::map<size_t, double> read_noise(const std::string & path, const sensitivity_meter & meter);

// Writes the mean divergence in nats with noise at these sites, and its standard error. Of a chunk the second half of n_tokens tokens
// counts, as in llama-perplexity.
void rehearse(sensitivity_meter & meter, const std::map<size_t, double> & noise, const chunk_runner & run, int64_t n_chunks,
              int64_t n_tokens, FILE * out);
