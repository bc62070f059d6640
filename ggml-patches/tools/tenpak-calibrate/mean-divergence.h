// Means of the divergences of single tokens.

#pragma once

#include <cstddef>
#include <vector>

// The mean of divergences.
struct mean_divergence {
    double sum     = 0;
    double squares = 0;
    double n       = 0;

    void   add(const std::vector<double> & of_tokens);
    double mean() const { return sum / n; }
    double error() const; // standard error
};

// Adds the divergences of more tokens.
void append(std::vector<double> & to, const std::vector<double> & values);

// The mean without so many of the largest values; where one is not finite, the mean of all, so that it says so.
mean_divergence mean_without_largest(std::vector<double> of_tokens, size_t n_left_out);

// The mean without the largest three, or of fewer than sixty tokens without a twentieth. Noise does to a token in a thousand what it
// does to no other, mostly to two or three beside each other, and chance decides whether the few tokens that there is time for have such
// a place. Of many tokens three are next to nothing.
mean_divergence mean_of_few(const std::vector<double> & of_tokens);
