#include "sampling.h"

#include <algorithm>
#include <cmath>
#include <vector>

static const uint64_t GOLDEN = 0x9e3779b97f4a7c15;

static uint64_t mix(uint64_t x) {
    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9;
    x = (x ^ (x >> 27)) * 0x94d049bb133111eb;
    return x ^ (x >> 31);
}

random_numbers::random_numbers(uint64_t seed, uint64_t number) : state(mix(mix(seed + GOLDEN) + number)) {}

uint64_t random_numbers::next() {
    state += GOLDEN;
    return mix(state);
}

double random_numbers::uniform() {
    return (next() >> 11) * 0x1p-53;
}

uint64_t random_numbers::below(uint64_t n) {
    return (uint64_t) (uniform() * n);
}

int32_t sample(const float * logits, int32_t n, double uniform) {
    float largest = -INFINITY;
    for (int32_t i = 0; i < n; i++) {
        largest = std::max(largest, logits[i]);
    }
    std::vector<float> weights(n);
    double             sum = 0;
    for (int32_t i = 0; i < n; i++) {
        weights[i] = std::exp(logits[i] - largest);
        sum += weights[i];
    }
    if (!std::isfinite(sum)) {
        return -1;
    }
    double  left  = uniform * sum;
    int32_t token = -1;
    for (int32_t i = 0; i < n && left >= 0; i++) {
        if (weights[i] > 0) {
            left -= weights[i];
            token = i; // the last one that can be, if rounding leaves a rest
        }
    }
    return token;
}

// bytes of the character that begins at a place; 0 if none does (Unicode 15, table 3-7)
static size_t character_at(const std::string & text, size_t at) {
    const auto   byte  = [&](size_t i) { return at + i < text.size() ? (uint8_t) text[at + i] : 0; };
    const auto   tail  = [&](size_t i) { return (byte(i) & 0xc0) == 0x80; };
    const uint32_t first = byte(0) << 8 | byte(1);
    if (byte(0) < 0x80) {
        return byte(0) == 0 ? 0 : 1; // programs take a file with zeros for no text
    }
    if (byte(0) >= 0xc2 && byte(0) <= 0xdf) {
        return tail(1) ? 2 : 0;
    }
    if ((first >= 0xe0a0 && first < 0xeda0) || (first >= 0xee80 && first < 0xefc0)) {
        return tail(1) && tail(2) ? 3 : 0;
    }
    if (first >= 0xf090 && first < 0xf490) {
        return tail(1) && tail(2) && tail(3) ? 4 : 0;
    }
    return 0;
}

std::string valid_utf8(const std::string & text) {
    std::string valid;
    for (size_t i = 0; i < text.size();) {
        const size_t n = character_at(text, i);
        valid.append(text, i, n);
        i += std::max<size_t>(n, 1);
    }
    return valid;
}
