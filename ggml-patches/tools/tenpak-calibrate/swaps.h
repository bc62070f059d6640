// What each weight of another file of the same model costs, if it alone stands in for the model's.

#pragma once

#include "sensitivity.h"

#include <functional>
#include <string>

// path:      a GGUF file in one part, with weights that ggml turns into floats
// run:       has llama.cpp process so many tokens of a chunk
// n_chunks:  that are run
// Prints for every quantized weight of the file its name, the mean divergence in nats and its standard error.
void measure_swaps(sensitivity_meter & meter, const std::string & path, const std::function<void(int64_t, int64_t)> & run,
                   int64_t n_chunks, int64_t n_tokens);
