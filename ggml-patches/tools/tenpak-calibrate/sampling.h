// Tokens by chance: what is drawn depends on a seed, a number and logits, and on nothing else.

#pragma once

#include <cstdint>
#include <string>

// SplitMix64 (Steele, Lea, Flood 2014). Generators of another seed or number have nothing in common.
class random_numbers {
  public:
    random_numbers(uint64_t seed, uint64_t number);

    uint64_t next();

    // from 0 to below 1
    double uniform();

    // from 0 to below n
    uint64_t below(uint64_t n);

  private:
    uint64_t state;
};

// the token that the probabilities softmax(logits) give for a uniform value in [0, 1); -1 if the logits are no numbers
int32_t sample(const float * logits, int32_t n, double uniform);

// text without the bytes that are no UTF-8, and without zeros
std::string valid_utf8(const std::string & text);
