// The sums of gram_matrix, those off the diagonal too, against sums in doubles.

#include "gram.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <random>
#include <vector>

// Of sqrt(H[i][i] H[j][j]): each of 300 additions in F32 rounds by up to 6e-8 of it, up or down (2e-7 seen).
static const double MAX_ERROR = 2e-6;

// One, a band less and more than one, a run and more.
static const int64_t COLUMNS[] = { 1, 127, 129, 1100, 1200 };

// All tokens of a matrix; the engine adds MAX_TOKENS at a time.
static const int64_t TOKENS[]   = { 1, 256, 300 };
static const int64_t MAX_TOKENS = 256;

// As a batch for one matrix, and as few at a time that an expert gathers.
static const int64_t DEPTHS[] = { 0, 64, 256 };
static const int64_t FEW      = 77;

static int failures = 0;

static void check(bool right, const char * wrong, int64_t columns, int64_t tokens, int64_t depth) {
    if (!right) {
        fprintf(stderr, "%s: %d columns, %d tokens, depth %d\n", wrong, (int) columns, (int) tokens, (int) depth);
        failures++;
    }
}

// all tokens of x; false if a value is not finite
static bool add(gram_matrix & matrix, const std::vector<float> & x, int64_t columns, int64_t depth) {
    const int64_t tokens = x.size() / columns;
    const int64_t step   = depth == 0 ? tokens : FEW;
    bool          finite = true;
    for (int64_t first = 0; first < tokens; first += step) {
        std::vector<const float *> rows;
        for (int64_t t = first; t < std::min(first + step, tokens); t++) {
            rows.push_back(x.data() + t * columns);
        }
        finite &= matrix.push(rows);
    }
    finite &= matrix.flush();
    return finite;
}

// inputs that have something in common, of sizes that differ
static std::vector<float> inputs(std::mt19937 & random, int64_t columns, int64_t tokens) {
    std::normal_distribution<float> normal;
    std::vector<float>              x;
    for (int64_t t = 0; t < tokens; t++) {
        const float common = normal(random);
        for (int64_t c = 0; c < columns; c++) {
            x.push_back((common + normal(random)) * (1 + c % 7));
        }
    }
    return x;
}

// lower triangle of the sum of x x^T, by rows
static std::vector<double> sums_of(const std::vector<float> & x, int64_t columns) {
    std::vector<double> sums(columns * (columns + 1) / 2);
    for (auto token = x.begin(); token != x.end(); token += columns) {
        size_t k = 0;
        for (int64_t i = 0; i < columns; i++) {
            for (int64_t j = 0; j <= i; j++) {
                sums[k++] += (double) token[i] * token[j];
            }
        }
    }
    return sums;
}

// largest difference of the two triangles
static double error_of(const std::vector<float> & got, const std::vector<double> & sums, int64_t columns) {
    const auto sum   = [&](int64_t i, int64_t j) { return sums[i * (i + 1) / 2 + j]; };
    double     worst = 0;
    for (int64_t i = 0; i < columns; i++) {
        for (int64_t j = 0; j <= i; j++) {
            const double error = std::fabs(got[i * (i + 1) / 2 + j] - sum(i, j)) / std::sqrt(sum(i, i) * sum(j, j));
            worst              = error <= worst ? worst : error; // a NaN too
        }
    }
    return worst;
}

// The sums of inputs that weights of a type are multiplied with
static void test(ggml_backend_dev_t device, ggml_type type) {
    const auto   widest = *std::max_element(std::begin(COLUMNS), std::end(COLUMNS));
    gram_engine  engine(device, 2, widest, MAX_TOKENS, type);
    std::mt19937 random(1);
    double       worst = 0;
    for (int64_t columns : COLUMNS) {
        for (int64_t tokens : TOKENS) {
            auto x = inputs(random, columns, tokens);
            if (has_products_of(device, type)) {
                std::vector<ggml_bf16_t> rounded(x.size());
                ggml_fp32_to_bf16_row_ref(x.data(), rounded.data(), x.size());
                ggml_bf16_to_fp32_row(rounded.data(), x.data(), x.size());
            }
            const auto sums = sums_of(x, columns);
            for (int64_t depth : DEPTHS) {
                gram_matrix matrix(engine, columns, depth);
                check(add(matrix, x, columns, depth), "finite values are said not to be", columns, tokens, depth);
                check(matrix.tokens() == tokens, "another number of tokens", columns, tokens, depth);
                std::vector<float> got;
                matrix.read([&](const float * values, size_t n) { got.insert(got.end(), values, values + n); });
                const double error = got.size() == sums.size() ? error_of(got, sums, columns) : INFINITY;
                check(error <= MAX_ERROR, "other sums", columns, tokens, depth);
                worst = std::max(worst, error);
            }
            x.back() = NAN;
            for (int64_t depth : DEPTHS) {
                gram_matrix matrix(engine, columns, depth);
                check(!add(matrix, x, columns, depth), "a NaN is said to be finite", columns, tokens, depth);
            }
        }
    }
    printf("sums of x x^T beside weights of %s within %.1e of doubles\n", ggml_type_name(type), worst);
}

int main() {
    auto * device = ggml_backend_dev_by_type(GGML_BACKEND_DEVICE_TYPE_CPU);
    test(device, GGML_TYPE_F32);
    test(device, GGML_TYPE_BF16);
    return failures != 0;
}
