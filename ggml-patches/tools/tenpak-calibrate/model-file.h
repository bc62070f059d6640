// What the file of a model says without being loaded.

#pragma once

#include <set>
#include <string>

struct model_file {
    std::set<std::string> weights; // tensors that can be multiplied with
    std::string           sha256;  // of name, type, extents and first bytes of every tensor; see docs/calibration.md
};

// path: a GGUF file, or the first part of a split one
model_file read_model_file(const std::string & path);
