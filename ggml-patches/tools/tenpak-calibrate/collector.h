// Finds the inputs of linear layers in llama.cpp's graphs and sums x x^T over them, by the evaluation callback.

#pragma once

#include "gram-file.h"
#include "gram.h"

#include <cstdint>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

// Matrices first to last of an input.
struct window_part {
    size_t  input;
    int64_t first;
    int64_t last;
};

// the name of a weight, of a copy by the scheduler too
std::string weight_name(const ggml_tensor * weight);

class collector {
  public:
    // weights: names of the tensors that may be multiplied with
    explicit collector(std::set<std::string> weights);

    // --- discovery: run one graph ---

    // distinct inputs, in the order of the graph
    std::vector<gram_input> inputs;

    // weights and the names of their inputs: weights that multiply the same tensor share one, named after the first
    std::vector<std::pair<std::string, std::string>> users;

    // type of the weights, GGML_TYPE_COUNT if they differ
    ggml_type weight_type = GGML_TYPE_COUNT;

    // multiply-adds of a token, by input: of the model up to it, and of its sums
    std::vector<double> model_work;
    std::vector<double> sums_work;

    // bytes of the weights, by the type of the buffers that hold them
    std::map<std::string, size_t> buffers;

    void end_discovery() { discovering = false; }

    // --- windows: start, run all text, end ---

    // bytes of the sums of one matrix of an input
    static size_t bytes(const gram_input & input);

    // the next graphs are for these parts, in the order of the inputs, and end after the last of them
    void start_window(gram_engine & engine, const std::vector<window_part> & parts);

    // the sums to the file
    void end_window(gram_file & file);

    // --- graphs ---

    // before a batch is run
    void start_graph();

    // why a graph was cancelled before its time, or empty
    const std::string & error() const { return problem; }

    // see ggml_backend_sched_eval_callback; graphs are cut at the same nodes in every window, so that results are equal
    bool on_node(ggml_tensor * t, bool ask);

  private:
    struct window_sums {
        int64_t                                   first = 0;
        std::vector<std::unique_ptr<gram_matrix>> matrices;
    };

    const ggml_tensor * weight_of(const ggml_tensor * t) const;

    void discover(const std::string & name, const ggml_tensor * weight, const ggml_tensor * t);
    bool collect(const ggml_tensor * t, window_sums & sums);

    const std::set<std::string> weights;

    bool        discovering = true;
    bool        cancelled   = false;
    std::string problem;

    // inputs of this graph, by what tells them apart: where they begin, length, stride, matrices, choice of experts
    std::map<std::tuple<const void *, size_t, int64_t, size_t, int64_t, const void *>, std::string> known;

    std::map<std::string, size_t> owners; // first weights of inputs
    std::map<std::string, int>    uses;   // how often a graph uses a weight
    std::map<std::string, int>    used;   // and how often this one has
    double                        work_so_far = 0;

    std::map<size_t, window_sums> window;
    size_t                        last_input = SIZE_MAX;

    std::vector<uint8_t> data;    // of an input that is not in host memory
    std::vector<uint8_t> choice;  // of experts
    std::vector<float>   widened; // an input that is not F32
};
