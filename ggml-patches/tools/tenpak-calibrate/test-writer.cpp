// What texts of a model's own are made of: openings, chance, UTF-8.

#include "openings.h"
#include "sampling.h"

#include <cmath>
#include <cstdio>
#include <set>
#include <string>
#include <vector>

// An opening decides the kind of a document and leaves the rest to the model.
static const size_t MAX_OPENING_BYTES = 100;

static const size_t MIN_OPENINGS = 300;

static int failures = 0;

static void check(bool right, const std::string & wrong) {
    if (!right) {
        fprintf(stderr, "%s\n", wrong.c_str());
        failures++;
    }
}

static void test_openings() {
    std::set<std::string> seen;
    for (const auto & opening : all_openings()) {
        const std::string text = opening.text;
        check(!text.empty(), "an opening is empty");
        check(text.size() <= MAX_OPENING_BYTES, "is too long: " + text);
        check(valid_utf8(text) == text, "is no UTF-8: " + text);
        // A space belongs to the next token in most vocabularies.
        check(text.empty() || text.back() != ' ', "ends with a space: " + text);
        check(text.empty() || (text[0] != ' ' && text[0] != '\n') || opening.kind == opening_kind::CODE,
              "begins with space: " + text);
        check(seen.insert(text).second, "is there twice: " + text);
    }
    check(seen.size() >= MIN_OPENINGS, "there are too few openings");
}

static void test_random_numbers() {
    random_numbers random(1, 2);
    check(random.next() == random_numbers(1, 2).next(), "numbers of the same seed differ");
    std::set<uint64_t> firsts;
    for (uint64_t seed = 0; seed < 100; seed++) {
        for (uint64_t number = 0; number < 100; number++) {
            firsts.insert(random_numbers(seed, number).next());
        }
    }
    check(firsts.size() == 100 * 100, "numbers of different seeds are the same");
    for (int i = 0; i < 1000; i++) {
        const double u = random.uniform();
        check(u >= 0 && u < 1 && random.below(7) < 7, "a number is out of its range");
    }
}

static void test_sample() {
    // Probabilities 1/8, 0, 5/8 and 2/8.
    const std::vector<float> logits = { std::log(1.0f), -INFINITY, std::log(5.0f), std::log(2.0f) };
    const auto at = [&](double uniform) { return sample(logits.data(), logits.size(), uniform); };
    check(at(0) == 0 && at(0.12) == 0, "the first token should be drawn");
    check(at(0.13) == 2 && at(0.74) == 2, "the third token should be drawn");
    check(at(0.76) == 3 && at(std::nextafter(1.0, 0.0)) == 3, "the last token should be drawn");
    for (float bad : { NAN, INFINITY, -INFINITY }) {
        const std::vector<float> wrong(4, bad);
        check(sample(wrong.data(), wrong.size(), 0.5) == -1, "logits that are no numbers give a token");
    }
    const std::vector<float> one_nan = { 0, NAN, 0 };
    check(sample(one_nan.data(), one_nan.size(), 0.5) == -1, "a NaN among the logits is not seen");
}

static void test_valid_utf8() {
    const std::pair<const char *, const char *> cases[] = {
        { "", "" },
        { "a\xc3\xa4\xe2\x82\xac\xf0\x9f\x98\x80", "a\xc3\xa4\xe2\x82\xac\xf0\x9f\x98\x80" },
        { "cut \xe2\x82", "cut " },
        { "cut \xf0\x9f\x98", "cut " },
        { "\x80 alone", " alone" },
        { "\xc3(", "(" },
        { "overlong \xc0\x80 \xe0\x80\x80 \xf0\x80\x80\x80", "overlong   " },
        { "surrogate \xed\xa0\x80.", "surrogate ." },
        { "beyond \xf4\x90\x80\x80.", "beyond ." },
        { "\xed\x9f\xbf\xee\x80\x80\xef\xbf\xbf\xf4\x8f\xbf\xbf", "\xed\x9f\xbf\xee\x80\x80\xef\xbf\xbf\xf4\x8f\xbf\xbf" },
    };
    for (const auto & [text, valid] : cases) {
        check(valid_utf8(text) == valid, "wrong bytes of `" + std::string(text) + "` were dropped");
    }
    check(valid_utf8(std::string("a\0b", 3)) == "ab", "a zero was not dropped");
}

int main() {
    test_openings();
    test_random_numbers();
    test_sample();
    test_valid_utf8();
    printf("%zu openings\n", all_openings().size());
    return failures != 0;
}
