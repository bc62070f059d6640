#include "mean-divergence.h"

#include <algorithm>
#include <cmath>

void mean_divergence::add(const std::vector<double> & of_tokens) {
    for (double value : of_tokens) {
        sum += value;
        squares += value * value;
        n++;
    }
}

double mean_divergence::error() const {
    return sqrt(std::max(squares / n - mean() * mean(), 0.0) / n);
}

void append(std::vector<double> & to, const std::vector<double> & values) {
    to.insert(to.end(), values.begin(), values.end());
}

mean_divergence mean_without_largest(std::vector<double> of_tokens, size_t n_left_out) {
    if (std::all_of(of_tokens.begin(), of_tokens.end(), [](double value) { return std::isfinite(value); })) {
        std::sort(of_tokens.begin(), of_tokens.end());
        of_tokens.resize(of_tokens.size() - n_left_out);
    }
    mean_divergence mean;
    mean.add(of_tokens);
    return mean;
}

static const size_t LEFT_OUT        = 3;
static const size_t ONE_LEFT_OUT_OF = 20;

mean_divergence mean_of_few(const std::vector<double> & of_tokens) {
    return mean_without_largest(of_tokens, std::min(LEFT_OUT, of_tokens.size() / ONE_LEFT_OUT_OF));
}
