// What weights of another file of the same model cost, if they stand in for the model's.

#pragma once

#include "sensitivity.h"

#include <cstdio>
#include <map>
#include <string>

// Both write a line for what they swap: its name, the mean divergence in nats and its standard error. Of a chunk the second half of
// n_tokens tokens counts.
//
// path:      a GGUF file in one part, with weights that ggml turns into floats
// n_chunks:  that are run

// each quantized weight of the file alone, on standard output
void measure_swaps(sensitivity_meter & meter, const std::string & path, const chunk_runner & run, int64_t n_chunks,
                   int64_t n_tokens);

// A weight that is swapped together with those of its kind.
struct tried_weight {
    std::map<size_t, double> noise; // by site, as in rehearsal.h: what is expected to cost as much
    std::string              kind;
};

// The weights of each kind together: beside what they cost what their noise does. A line has both divergences, each
// with its error, and each without its largest tokens. There is none if no weight is floats in the model.
void measure_kinds(sensitivity_meter & meter, const std::string & path, const std::map<std::string, tried_weight> & tried,
                   const chunk_runner & run, int64_t n_chunks, int64_t n_tokens, FILE * out);

// Lines of a file, one for each use of a weight: its name, `product` or `rows`, its noise, its kind.
std::map<std::string, tried_weight> read_tried(const std::string & path, const sensitivity_meter & meter);
