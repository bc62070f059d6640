// The options of llama-tenpak-calibrate that no other program of llama.cpp has.

#pragma once

#include "ggml.h"

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

extern const char * const USAGE;

// A text that the model writes.
struct wanted_text {
    std::string path;   // path.part until it is complete
    int64_t     tokens; // that the model's tokenizer finds in it, special ones parsed
    int64_t     seed;
};

struct own_params {
    int64_t     tokens = 131072;
    size_t      memory = 0; // half of what is free
    double      budget = -1; // minutes for the sensitivities; without that, half of what the sums take
    bool        sensitivities = true; // are measured
    int64_t     part = 1, parts = 1; // of the chunks
    std::string swap;       // nothing is swapped
    std::string swap_kinds; // each weight alone
    std::string noise;      // none is made
    int64_t     skip       = 0; // tokens at the start of the text
    std::string text_name;  // that of the file
    std::string speed;      // is not measured
    std::string tokenize;   // no ids are written
    std::string trace;      // nothing is traced
    int64_t     seed = 1;

    std::vector<wanted_text> texts; // none is written
};

// a number above zero; option: that it is the value of
int64_t parse_count(const std::string & option, const std::string & value);

// the value of --speed
ggml_type parse_float(const std::string & value);

// takes our own options out of the arguments
std::vector<char *> take_own(int argc, char ** argv, own_params & own);
