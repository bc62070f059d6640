// Measures how much the predictions of a model change by errors in its weights, docs/allocation.md.
//
//   trace       one graph: the sites where weights are used, and what lives at every node
//   base        the logits of some tokens, and what lives at the cuts, nodes where little does
//   perturbed   noise at some sites: the nodes before the last cut before them are left out, and what lives at the cut
//               is that of the base

#pragma once

#include "ggml.h"
#include "llama.h"

#include <cstdint>
#include <functional>
#include <map>
#include <set>
#include <string>
#include <utility>
#include <vector>

// A place where a weight is used: the products with it, or the rows that are taken from it.
struct sensitivity_site {
    std::string weight;
    ggml_type   type;
    bool        rows;
    double      energy = 0; // sum of squares of an output, the median over tokens
};

// has llama.cpp process so many tokens of a chunk, all but so many of the first as outputs
using chunk_runner = std::function<void(int64_t chunk, int64_t n_tokens, int64_t n_skipped)>;

// Weights by name, and other values for each, of its type and its extents.
using sensitivity_swaps = std::map<std::string, uint8_t *>;

class sensitivity_meter {
  public:
    // weights: names of those that may be perturbed
    sensitivity_meter(std::set<std::string> weights, llama_context * ctx);

    // see ggml_backend_sched_eval_callback
    bool on_node(ggml_tensor * t, bool ask);

    // has llama.cpp process n_tokens tokens, those after n_skipped as outputs
    std::function<void()> run;
    int64_t               n_tokens = 0;

    // tokens whose predictions do not count, as they have little before them
    int64_t n_skipped = 0;

    // whether base() saves what runs from a later node on need; for one run with noise at all sites it is not worth its memory
    bool runs_suffixes = true;

    // finds the sites
    void trace();

    std::vector<sensitivity_site> sites; // in the order of the graph

    // of the sites: weight, and whether rows of it are taken
    std::vector<std::pair<std::string, bool>> names() const;

    // runs the tokens as they are
    void base();

    // makes `run` that of the first n_of_chunk tokens of a chunk, of which all after the first n_not_counted count, and runs them as
    // they are; run_chunk has to stay
    void base_of(const chunk_runner & run_chunk, int64_t chunk, int64_t n_of_chunk, int64_t n_not_counted);

    // runs the tokens with noise at sites, each of this share of its energy, and gives the divergence of every prediction
    // that counts
    std::vector<double> perturbed(const std::map<size_t, double> & errors, uint64_t seed);

    // runs the tokens with other values of weights, which have to be in the host's memory
    std::vector<double> swapped(const sensitivity_swaps & swaps);

    // whether all nodes of the graph are in the host's memory
    bool on_host() const { return is_host; }

  private:
    // what a node was in the traced graph
    struct node_info {
        std::string name;
        ggml_op     op;
        size_t      bytes;    // that it makes; 0 for views
        size_t      last_use; // the last node that reads them
    };

    enum class phase { trace, base, perturbed };

    void                evaluate(phase p, size_t first_node);
    std::vector<double> diverged(size_t first_node);

    void   trace_node(ggml_tensor * t);
    void   find_cuts();
    size_t first_node(const std::set<size_t> & sites) const;
    bool   saves(size_t cut) const;
    void   save(size_t cut);
    void   restore(size_t cut);
    void   measure(const ggml_tensor * t, size_t site);
    void   add_noise(ggml_tensor * t, size_t site);

    const std::set<std::string> weights;
    llama_context * const       ctx;

    // the graph
    std::vector<node_info>                nodes;
    std::map<const ggml_tensor *, size_t> made_by; // while tracing
    std::map<size_t, size_t>              site_of; // of a node
    std::vector<size_t>                   first_use; // of a site: node
    std::vector<double>                   spread;    // of a site: the mean over tokens of an output's norm, in units of the median's
    std::vector<std::vector<float>>       shares;  // of the rows of a site's weight, of the squares of an output
    std::map<size_t, std::vector<size_t>> live;    // at a cut: nodes
    bool                                  is_host = true;

    // the run
    phase                                   now  = phase::trace;
    size_t                                  next = 0;  // node that is asked about next
    size_t                                  cut  = 0;  // nodes before are left out
    std::vector<ggml_tensor *>              tensors;   // of the nodes so far
    std::string                             problem;
    std::map<size_t, double>                noisy; // sites, and how large the noise is
    uint64_t                                seed  = 0;
    const sensitivity_swaps *               swaps = nullptr;
    std::map<ggml_tensor *, void *>         swapped_data; // weights, and the data that they had

    // the base
    std::vector<float>                                        logits;   // that count
    std::map<size_t, std::vector<float>>                      energies; // by site, of every token
    std::map<std::pair<size_t, size_t>, std::vector<uint8_t>> saved;    // by cut and node
};
