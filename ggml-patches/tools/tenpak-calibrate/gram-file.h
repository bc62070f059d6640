// The file of the sums, docs/calibration.md. It has its final layout from the start, under the name of its part; what is
// finished is written into its place and then marked by its count. Complete, it gets its final name.

#pragma once

#include "gguf.h"
#include "ggml-cpp.h"
#include "output.h"

#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <utility>
#include <vector>

class gram_matrix;

// what the file says of one distinct input of linear layers
struct gram_input {
    std::string name;     // of the first weight that uses it
    int64_t     columns;
    int64_t     matrices; // experts, or 1
};

// what the file says of the whole
struct gram_header {
    std::string architecture;
    std::string model_name;
    std::string model_sha256;
    std::string text_name;
    std::string text_sha256;
    uint64_t    tokens;
    uint32_t    context;

    std::vector<gram_input>                          inputs;
    std::vector<std::pair<std::string, std::string>> weights; // and the name of its input
    std::vector<std::pair<std::string, bool>>        sites;   // weights that may have errors, and whether rows of them are taken
    std::vector<std::pair<std::string, int64_t>>     vectors; // names and lengths of further tensors
};

class gram_file {
  public:
    // starts the part of path, or goes on with one that has the same header; an error names what differs
    gram_file(const std::string & path, const gram_header & header);

    // whether a matrix is there already
    bool has(size_t input, int64_t matrix) const { return counts[input][matrix] >= 0; }

    void write(size_t input, int64_t matrix, const gram_matrix & sums);

    // whether a vector is there already
    bool has(const std::string & vector) const { return values.at(vector)[0] != UNFINISHED; }

    void write(const std::string & vector, const std::vector<float> & values);

    // gives the file its final name
    void finish();

  private:
    static constexpr float UNFINISHED = -1; // count of a matrix, or first value of a vector

    void each_small(const std::function<void(std::vector<float> &)> & at);
    void seek(int64_t tensor, size_t offset);

    output_file      file;
    gguf_context_ptr gguf;

    std::vector<gram_input>         inputs;
    std::vector<std::vector<float>> counts;

    std::map<std::string, std::vector<float>> values; // of vectors
};
