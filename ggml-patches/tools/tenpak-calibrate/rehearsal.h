// What a mix of types does before there is a file of it: noise of the sizes that the errors of its weights are expected to have.

#pragma once

#include "sensitivity.h"

#include <cstdio>
#include <map>
#include <string>

// Lines of a file: the name of a weight, `product` or `rows`, and the noise in its outputs as a share of their squares. By site.
std::map<size_t, double> read_noise(const std::string & path, const sensitivity_meter & meter);

// Writes the mean divergence in nats with noise at these sites, and its standard error. Of a chunk the second half of n_tokens tokens
// counts, as in llama-perplexity.
void rehearse(sensitivity_meter & meter, const std::map<size_t, double> & noise, const chunk_runner & run, int64_t n_chunks,
              int64_t n_tokens, FILE * out);
