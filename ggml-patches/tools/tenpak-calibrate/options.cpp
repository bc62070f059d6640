#include "options.h"

#include <cctype>
#include <cstring>
#include <functional>
#include <map>
#include <stdexcept>

const char * const USAGE =
    "usage: llama-tenpak-calibrate -m BASE.gguf -f TEXT -o OUT.gram.gguf [options]\n"
    "       llama-tenpak-calibrate -m BASE.gguf --write-text OUT.txt [--write-text OTHER.txt ...] [options]\n"
    "       llama-tenpak-calibrate --speed TYPE [-t N]\n"
    "       llama-tenpak-calibrate -m BASE.gguf --tokenize TEXTS -o IDS\n"
    "       llama-tenpak-calibrate -m BASE.gguf --trace IDS -o OUT.gguf\n"
    "\n"
    "Runs a model over text and writes, for every input x of its linear layers, the sum of x x^T over tokens:\n"
    "what `tenpak-gguf convert --calibration` weighs errors with. Or lets the model write such a text, or shows what\n"
    "`tenpak-gguf convert --verify` compares with the model's own folder.\n"
    "\n"
    "  -m FILE             the model in F32, F16 or BF16 (or any type that llama.cpp runs)\n"
    "  -f FILE             text, unlike the one that the result is judged on\n"
    "  -o FILE             file to write; while it is incomplete it is FILE.part, and a second run goes on with it\n"
    "  --tokens N          tokens of the text to use, from its start (default: 131072)\n"
    "  -c, --ctx-size N    tokens of a chunk; chunks are independent of each other (default: 512)\n"
    "  --memory SIZE       memory for the sums beside the model, such as 8G or 500M; what does not fit is collected\n"
    "                      in further passes over the text (default: half of what is free)\n"
    "  --part I/N          one of N equal parts of these tokens, for N machines; `tenpak-gguf calibrate --merge` adds up\n"
    "  --parse-special     tokens such as <|im_end|> in the text are tokens, as they are in a text of --write-text\n"
    "  --swap FILE         instead: what each quantized weight of FILE costs, a GGUF file of the same model, if it alone\n"
    "                      stands in for the model's; a line for each: name, mean KL divergence in nats, standard error\n"
    "  --swap-kinds FILE   of --swap: instead of each weight those of a kind together, beside noise, into the file of -o, both\n"
    "                      without the fiftieth of the tokens that diverges most; FILE has a line for each use of a\n"
    "                      weight: its name, `product` or `rows`, the noise, and its kind\n"
    "  --noise FILE        instead: what noise in the outputs of weights costs, all together, as a mean KL divergence in nats\n"
    "                      with its standard error, into the file of -o; FILE has a line for each use of a weight: its name,\n"
    "                      `product` or `rows`, and the noise: of products the sum of squares of an output's, of rows the share\n"
    "                      of a row's squares\n"
    "  --skip N            leaves out so many tokens at the start of the text\n"
    "  --text-name NAME    what the result calls the text (default: the name of the file)\n"
    "  --write-text FILE   a text of --tokens tokens that the model writes; if it is given again, all texts are written at the\n"
    "                      same time, and --tokens and --seed are those of the text before them\n"
    "  --seed N            of that text (default: 1)\n"
    "  --speed TYPE        instead: how many operations this machine does in a second, for weights in f32, f16 or bf16:\n"
    "                      products with 512 tokens and with 16, the sums\n"
    "  --budget MINUTES    at most for the sensitivities of the weights, after the sums (default: half of what these took;\n"
    "                      0: on as little text as possible; none: the sums alone)\n"
    "  --tokenize FILE     the ids of texts, each ended by a zero byte: a line for each\n"
    "  --trace FILE        of these ids: what goes into the first block, what comes out of each, and the logits\n"
    "  -t, --threads N     threads (default: one for each core)\n"
    "  -ngl N              layers on the GPU; the sums are then kept and computed there too\n"
    "\n"
    "and the options of other llama.cpp programs for loading a model (see llama-completion --help).\n";

// "8G": powers of 1024, as free and top count memory
static size_t parse_size(const std::string & text) {
    size_t       used  = 0;
    double       value = 0;
    const char * units = "KMGT";
    try {
        value = std::stod(text, &used);
    } catch (const std::exception &) {
    }
    std::string unit = text.substr(used);
    if (!unit.empty() && (unit.back() == 'B' || unit.back() == 'b')) {
        unit.pop_back();
    }
    const char * at = unit.size() == 1 ? strchr(units, toupper(unit[0])) : nullptr;
    if (used == 0 || value <= 0 || (!unit.empty() && !at)) {
        throw std::runtime_error("--memory " + text + ": is not a size; write 8G or 500M");
    }
    for (int i = 0; at && i <= at - units; i++) {
        value *= 1024;
    }
    return (size_t) value;
}

int64_t parse_count(const std::string & option, const std::string & value) {
    size_t  used = 0;
    int64_t n    = 0;
    try {
        n = std::stoll(value, &used);
    } catch (const std::exception &) {
    }
    if (n <= 0 || used != value.size()) {
        throw std::runtime_error(option + " " + value + ": is not a number above zero");
    }
    return n;
}

// "2/8": the first of 8 is 1/8, the last 8/8
static void parse_part(const std::string & value, own_params & own) {
    const size_t slash = value.find('/');
    if (slash != std::string::npos) {
        own.part  = parse_count("--part", value.substr(0, slash));
        own.parts = parse_count("--part", value.substr(slash + 1));
    }
    if (slash == std::string::npos || own.part > own.parts) {
        throw std::runtime_error("--part " + value + ": is not a part such as 2/8; the first of 8 is 1/8, the last 8/8");
    }
}

static void set_budget(const std::string & value, own_params & own) {
    own.sensitivities = value != "none";
    if (!own.sensitivities) {
        return;
    }
    size_t used = 0;
    double n    = -1;
    try {
        n = std::stod(value, &used);
    } catch (const std::exception &) {
    }
    if (n >= 0 && used == value.size()) {
        own.budget = n;
    } else {
        throw std::runtime_error("--budget " + value + ": is neither a number of minutes nor none");
    }
}

ggml_type parse_float(const std::string & value) {
    for (ggml_type type : { GGML_TYPE_F32, GGML_TYPE_F16, GGML_TYPE_BF16 }) {
        if (value == ggml_type_name(type)) {
            return type;
        }
    }
    throw std::runtime_error("--speed " + value + ": is none of f32, f16, bf16");
}

// a text that is asked for takes the options that are given by now, and those after it
static void want_text(const std::string & path, own_params & own) {
    for (const auto & other : own.texts) {
        if (other.path == path) {
            throw std::runtime_error("--write-text " + path + ": is asked for twice");
        }
    }
    own.texts.push_back({ path, own.tokens, own.seed });
}

static void set_tokens(int64_t n, own_params & own) {
    (own.texts.empty() ? own.tokens : own.texts.back().tokens) = n;
}

static void set_seed(int64_t seed, own_params & own) {
    (own.texts.empty() ? own.seed : own.texts.back().seed) = seed;
}

std::vector<char *> take_own(int argc, char ** argv, own_params & own) {
    const std::map<std::string, std::function<void(const std::string &)>> options = {
        { "--budget", [&](const std::string & value) { set_budget(value, own); } },
        { "--memory", [&](const std::string & value) { own.memory = parse_size(value); } },
        { "--noise", [&](const std::string & value) { own.noise = value; } },
        { "--part", [&](const std::string & value) { parse_part(value, own); } },
        { "--seed", [&](const std::string & value) { set_seed(parse_count("--seed", value), own); } },
        { "--speed", [&](const std::string & value) { own.speed = value; } },
        { "--skip", [&](const std::string & value) { own.skip = parse_count("--skip", value); } },
        { "--swap", [&](const std::string & value) { own.swap = value; } },
        { "--swap-kinds", [&](const std::string & value) { own.swap_kinds = value; } },
        { "--text-name", [&](const std::string & value) { own.text_name = value; } },
        { "--tokens", [&](const std::string & value) { set_tokens(parse_count("--tokens", value), own); } },
        { "--tokenize", [&](const std::string & value) { own.tokenize = value; } },
        { "--trace", [&](const std::string & value) { own.trace = value; } },
        { "--write-text", [&](const std::string & value) { want_text(value, own); } },
    };
    std::vector<char *> rest;
    for (int i = 0; i < argc; i++) {
        const auto option = options.find(argv[i]);
        if (option == options.end()) {
            rest.push_back(argv[i]);
            continue;
        }
        if (i + 1 == argc) {
            throw std::runtime_error(option->first + ": needs a value");
        }
        option->second(argv[++i]);
    }
    return rest;
}
