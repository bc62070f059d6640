// The sensitivities of all weights, measured within a time.

#pragma once

#include "sensitivity.h"

#include <functional>
#include <map>
#include <string>
#include <vector>

// see docs/calibration.md, `sensitivity.*`
struct sensitivities {
    std::vector<float> divergence; // by site: nats for an error of 1 of the site's energy
    std::vector<float> error;      // of these: standard error
    std::vector<float> energy;
    std::vector<float> curve;      // pairs: the sum of what the sites' errors say, and the divergence when all have them
};

// errors of all sites at once, of their energies, at which the curve is measured
extern const std::vector<double> CURVE;

// The chunks of a text.
struct chunks_of_text {
    chunk_runner run;
    int64_t      n;
};

// meter:      that has its sites
// n_tokens:   of a chunk at most
// input_of:   of weights, what they are multiplied with: weights of one input are measured together
// seconds:    at most, if that is enough to measure every group once on few tokens
// tell:       done of all, 0 to 1
sensitivities measure_sensitivities(sensitivity_meter & meter, const chunks_of_text & text, int64_t n_tokens,
                                    const std::map<std::string, std::string> & input_of, double seconds,
                                    const std::function<void(double)> & tell);
