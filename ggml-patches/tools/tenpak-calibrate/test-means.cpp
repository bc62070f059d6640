// Means of divergences: what is left out of them.

#include "mean-divergence.h"

#include <cmath>
#include <cstdio>
#include <limits>

static int failures = 0;

static void check(bool right, const char * wrong) {
    if (!right) {
        fprintf(stderr, "%s\n", wrong);
        failures++;
    }
}

// tokens whose divergence is 1, but for some beside each other with 100
static std::vector<double> with_large(size_t n, size_t n_large) {
    std::vector<double> of_tokens(n, 1);
    for (size_t i = 0; i < n_large; i++) {
        of_tokens[n / 2 + i] = 100;
    }
    return of_tokens;
}

static double mean_of(size_t n, size_t n_large) {
    return mean_of_few(with_large(n, n_large)).mean();
}

int main() {
    const std::vector<double> values = { 3, 100, 1, 2 };
    check(mean_without_largest(values, 0).mean() == 26.5, "nothing is left out, and the mean is another");
    check(mean_without_largest(values, 1).mean() == 2, "the largest value is not left out");
    check(std::fabs(mean_without_largest(values, 1).error() - sqrt(2.0) / 3) < 1e-12, "the standard error counts what is left out");
    std::vector<double> undefined = values;
    undefined.push_back(std::numeric_limits<double>::quiet_NaN());
    check(std::isnan(mean_without_largest(undefined, 2).mean()), "an undefined divergence does not show");

    check(mean_of(19, 1) > 6, "of 19 tokens one is left out");
    check(mean_of(57, 2) == 1 && mean_of(57, 3) > 2, "of 57 tokens not two are left out");
    check(mean_of(60, 3) == 1 && mean_of(60, 4) > 2, "of 60 tokens not three are left out");
    check(mean_of(3000, 3) == 1 && mean_of(3000, 4) > 1.03, "of 3000 tokens not three are left out");

    std::vector<double> all = values;
    append(all, { 5 });
    check(all.size() == 5 && all.back() == 5, "tokens are not appended");
    return failures > 0;
}
