// Runs a model over text and sums x x^T over the inputs x of its linear layers.
//
//   discover   one graph, in which the collector finds the inputs
//   plan       windows: consecutive inputs (experts, where one input has many) whose sums fit --memory
//   collect    for every window all chunks of the text; graphs are cancelled after the last node that the window needs
//   write      every window into its place in the file
//
// Then it measures sensitivities, as long as --budget says. Other options have it write a text, or find out what weights of another
// file or noise do to the model's predictions, instead.

#include "arg.h"
#include "collector.h"
#include "common.h"
#include "gram-file.h"
#include "gram.h"
#include "hash/hash.h"
#include "llama.h"
#include "memory.h"
#include "model-file.h"
#include "options.h"
#include "output.h"
#include "progress.h"
#include "rehearsal.h"
#include "sensitivities.h"
#include "speed.h"
#include "swaps.h"
#include "text-runner.h"
#include "trace.h"
#include "windows.h"
#include "writer.h"

#include <algorithm>
#include <chrono>
#include <cinttypes>
#include <clocale>
#include <csignal>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <functional>
#include <map>
#include <stdexcept>

#if defined(__GLIBC__)
#include <malloc.h>
#endif

using steady_time = std::chrono::steady_clock::time_point;

static steady_time now() {
    return std::chrono::steady_clock::now();
}

static double seconds_since(steady_time start) {
    return std::chrono::duration<double>(now() - start).count();
}

static std::string file_sha256(const std::string & path) {
    std::ifstream     file(path, std::ios::binary);
    const std::string bytes{ std::istreambuf_iterator<char>(file), {} };
    return hash_sha256_hex(bytes.data(), bytes.size());
}

// Looks at the nodes of graphs: the collector, then the meter of sensitivities.
using node_observer = std::function<bool(ggml_tensor *, bool)>;

static bool on_node(ggml_tensor * t, bool ask, void * user_data) {
    return (*(node_observer *) user_data)(t, ask);
}

// What a run was asked for.
struct wanted {
    own_params    own;
    common_params params;
    int64_t       n_ctx; // tokens of a chunk
    int64_t       n_seq; // chunks that are run together, up to the physical batch

    const std::string & model() const { return params.model.path; }
    const std::string & text() const { return params.prompt_file; }
    const std::string & out() const { return params.out_file; }

    bool is_trial() const { return !own.swap_kinds.empty(); }
    bool makes_sums() const { return own.swap.empty() && own.noise.empty(); }
};

static void print_speed_of(const own_params & own, const std::vector<char *> & args) {
    const auto is_threads = [](const char * arg) { return strcmp(arg, "-t") == 0 || strcmp(arg, "--threads") == 0; };
    const auto given      = std::find_if(args.begin(), args.end(), is_threads);
    const bool has_value  = given != args.end() && given + 1 != args.end();
    print_speed(parse_float(own.speed), has_value ? parse_count("-t", given[1]) : common_cpu_get_num_math());
}

// Does what needs no linear layers; false if something else is asked for.
static bool does_without(common_params & params, const own_params & own) {
    if (!own.texts.empty()) {
        write_texts(params, own.texts);
    } else if (!own.tokenize.empty()) {
        write_ids(params, own.tokenize);
    } else if (!own.trace.empty()) {
        write_trace(params, own.trace);
    } else {
        return false;
    }
    return true;
}

static void check(const wanted & w) {
    const bool prints = !w.own.swap.empty() && !w.is_trial();
    if (w.model().empty() || w.text().empty() || (w.out().empty() && !prints)) {
        throw std::runtime_error("-m BASE.gguf, -f TEXT and -o OUT are needed; see --help");
    }
    if (w.params.n_ctx <= 0) {
        throw std::runtime_error("-c: a chunk needs at least one token");
    }
    if (!w.out().empty()) {
        check_output(w.out(), { w.model(), w.text() });
    }
}

// Chunks are run together up to the physical batch.
static void set_context(wanted & w) {
    auto & params = w.params;
    w.n_ctx       = params.n_ctx;
    w.n_seq       = std::max<int64_t>(1, params.n_ubatch / w.n_ctx);

    params.n_parallel = w.n_seq;
    params.n_ctx      = w.n_seq * w.n_ctx;
    params.n_batch    = w.n_seq * w.n_ctx;
    params.n_ubatch   = std::min(params.n_ubatch, params.n_batch);
    params.warmup     = false;

    // Weights stay as they are in the file, whatever the processor would like better: without copies in AMX's or other
    // orders a model takes the memory of its file, and the sums are those of the ordinary products.
    params.no_extra_bufts = true;
}

// All tokens of the text, but what is beyond those wanted by any tokenizer.
static std::vector<llama_token> tokenized(const wanted & w, llama_context * ctx) {
    const std::string text = w.params.prompt.substr(0, 64 * (w.own.skip + w.own.tokens) + 64);
    return common_tokenize(ctx, text, true, w.params.parse_special);
}

// Whether what is kept back is enough to try or rehearse on; sums have an error of their own.
static bool is_enough(const wanted & w, size_t n_tokens) {
    const int64_t needed = w.own.skip + (w.is_trial() ? 2 : 1) * w.n_ctx;
    return (!w.is_trial() && w.own.noise.empty()) || (int64_t) n_tokens >= needed;
}

// The tokens that this run reads: whole chunks, those of its part.
static std::vector<llama_token> chosen(const wanted & w, std::vector<llama_token> tokens) {
    const auto & own   = w.own;
    const auto   n_ctx = w.n_ctx;
    tokens.erase(tokens.begin(), tokens.begin() + std::min<int64_t>(own.skip, tokens.size()));
    if ((int64_t) tokens.size() < n_ctx) {
        throw std::runtime_error(string_format("%s: is too short: %zu tokens, and a chunk has %" PRId64, w.text().c_str(),
                                               tokens.size(), n_ctx));
    }
    if ((int64_t) tokens.size() < own.tokens) {
        fprintf(stderr, "note: %s has %zu tokens only\n", w.text().c_str(), tokens.size());
    }
    const int64_t n_chunks = std::min<int64_t>(own.tokens, tokens.size()) / n_ctx;
    if (n_chunks == 0) {
        throw std::runtime_error(string_format("--tokens %" PRId64 ": is less than a chunk of %" PRId64, own.tokens, n_ctx));
    }
    if (n_chunks < own.parts) {
        throw std::runtime_error(string_format("--part %" PRId64 "/%" PRId64 ": there are %" PRId64 " chunks of %" PRId64 " tokens only",
                                               own.part, own.parts, n_chunks, n_ctx));
    }
    const auto first = tokens.begin() + n_chunks * (own.part - 1) / own.parts * n_ctx;
    const auto last  = tokens.begin() + n_chunks * own.part / own.parts * n_ctx;
    return { first, last };
}

// where the sums are kept and computed
static ggml_backend_dev_t device_of(const common_params & params) {
    ggml_backend_dev_t gpu = ggml_backend_dev_by_type(GGML_BACKEND_DEVICE_TYPE_GPU);
    return gpu && params.n_gpu_layers != 0 ? gpu : ggml_backend_dev_by_type(GGML_BACKEND_DEVICE_TYPE_CPU);
}

// makes a file under its own name, with what `write` writes
static void make_file(const std::string & path, const std::function<void(FILE *)> & write) {
    output_file file(path);
    file.clear();
    write(file.stream());
    file.finish();
}

// What noise, or other values of weights, do to the predictions on the text, n_tokens of a chunk together.
static void measure_instead(const wanted & w, sensitivity_meter & meter, text_runner & text, int64_t n_tokens) {
    const chunk_runner run      = text.again().run;
    const int64_t      n_chunks = text.n_chunks();
    if (!w.own.noise.empty()) {
        const auto noise = read_noise(w.own.noise, meter);
        make_file(w.out(), [&](FILE * file) { rehearse(meter, noise, run, n_chunks, n_tokens, file); });
        return;
    }
    if (!meter.on_host()) {
        throw std::runtime_error("--swap: the model has to be in the host's memory: give -ngl 0 and --no-op-offload");
    }
    if (w.is_trial()) {
        const auto tried = read_tried(w.own.swap_kinds, meter);
        make_file(w.out(), [&](FILE * file) { measure_kinds(meter, w.own.swap, tried, run, n_chunks, n_tokens, file); });
    } else {
        measure_swaps(meter, w.own.swap, run, n_chunks, n_tokens);
    }
}

static void measure_all(sensitivity_meter & meter, const chunks_of_text & text, gram_file & file,
                        const std::map<std::string, std::string> & input_of, int64_t n_tokens, double seconds) {
    const auto    start = now();
    progress_line line;
    const auto    tell = [&](double done) {
        line.show(string_format("sensitivities of %zu weights: %3.0f %%, %s left", meter.sites.size(), 100 * done,
                                human_seconds(seconds_since(start) * (1 / done - 1)).c_str()),
                  false, false);
    };
    const auto s = measure_sensitivities(meter, text, n_tokens, input_of, seconds, tell);
    line.show(string_format("sensitivities of %zu weights: 100 %%", meter.sites.size()), true, true);
    file.write("sensitivity.error", s.error);
    file.write("sensitivity.energy", s.energy);
    file.write("sensitivity.curve", s.curve);
    file.write("sensitivity.divergence", s.divergence); // the last: it says that all are there
}

static std::string meta(const llama_model * model, const char * key) {
    char      value[1024];
    const int n = llama_model_meta_val_str(model, key, value, sizeof(value));
    return n < 0 ? "" : value;
}

// Another name where special tokens of the text were parsed: the sums are others, and no run may go on with those.
static std::string text_name(const wanted & w) {
    std::string name = w.own.text_name;
    if (name.empty()) {
        name = std::filesystem::path(w.text()).filename().string();
        name += w.params.parse_special ? ", special tokens parsed" : "";
    }
    return w.own.parts == 1 ? name : name + string_format(", part %" PRId64 " of %" PRId64, w.own.part, w.own.parts);
}

static gram_header header_of(const wanted & w, const llama_model * model, const model_file & base, const collector & c,
                             const sensitivity_meter & meter, int64_t n_chunks) {
    gram_header header;
    header.architecture = meta(model, "general.architecture");
    header.model_name   = meta(model, "general.name");
    header.model_sha256 = base.sha256;
    header.text_name    = text_name(w);
    header.text_sha256  = file_sha256(w.text());
    header.tokens       = n_chunks * w.n_ctx;
    header.context      = w.n_ctx;
    header.inputs       = c.inputs;
    header.weights      = c.users;
    header.sites        = meter.names();
    header.vectors      = { { "token.counts", llama_vocab_n_tokens(llama_model_get_vocab(model)) } };
    if (!header.sites.empty()) {
        const int64_t n = header.sites.size();
        header.vectors.insert(header.vectors.end(), { { "sensitivity.divergence", n }, { "sensitivity.error", n },
                                                      { "sensitivity.energy", n }, { "sensitivity.curve", 2 * CURVE.size() } });
    }
    return header;
}

static void run(int argc, char ** argv) {
    wanted              w;
    std::vector<char *> args = take_own(argc, argv, w.own);
    if (!w.own.speed.empty()) {
        print_speed_of(w.own, args);
        return;
    }
    common_params & params = w.params;
    params.n_ctx           = 512;
    params.escape          = false;
    params.out_file        = "";
    common_init();
    if (!common_params_parse(args.size(), args.data(), params, LLAMA_EXAMPLE_IMATRIX,
                             [](int, char **) { fputs(USAGE, stdout); })) {
        exit(1);
    }
    if (does_without(params, w.own)) {
        return;
    }
    check(w);
    const auto       start = now();
    const file_stamp model_stamp(w.model());
    const file_stamp text_stamp(w.text());
    set_context(w);

    const model_file base = read_model_file(w.model());
    collector        c(base.weights);
    node_observer    observer;
    params.cb_eval           = on_node;
    params.cb_eval_user_data = &observer;

    llama_backend_init();
    llama_numa_init(params.numa);
    auto init = common_init_from_params(params);
    if (!init->model() || !init->context()) {
        throw std::runtime_error(w.model() + ": llama.cpp cannot load it; its messages are above");
    }
    llama_context *     ctx   = init->context();
    const llama_model * model = init->model();
    check_vocabulary(model, w.model());
    if (w.n_ctx > llama_model_n_ctx_train(model)) {
        fprintf(stderr, "note: the model was trained with %d tokens of context\n", llama_model_n_ctx_train(model));
    }

    auto tokens = tokenized(w, ctx);
    if (!is_enough(w, tokens.size())) {
        fprintf(stderr, "note: no %s on %s: of its %zu tokens too few are left\n", w.is_trial() ? "trial" : "rehearsal",
                w.text().c_str(), tokens.size());
        make_file(w.out(), [](FILE *) {});
        return;
    }
    text_runner text(ctx, chosen(w, std::move(tokens)), w.n_ctx, w.n_seq);
    const auto  collects = [&](ggml_tensor * t, bool ask) { return c.on_node(t, ask); };
    observer             = collects;
    text.discover(c, w.makes_sums());
    if (c.inputs.empty()) {
        throw std::runtime_error(w.model() + ": no linear layer was found");
    }
    for (const auto & [type, bytes] : c.buffers) {
        fprintf(stderr, "weights in %s: %s\n", type.c_str(), human_bytes(bytes).c_str());
    }
    const size_t without_sums = peak_memory();

    const auto  device = device_of(params);
    const auto  widest = std::max_element(c.inputs.begin(), c.inputs.end(), [](auto & a, auto & b) { return a.columns < b.columns; });
    gram_engine engine(device, params.cpuparams_batch.n_threads, widest->columns, params.n_ubatch, c.weight_type);

    // Tokens of a chunk that are looked at together, in one graph.
    const int64_t n_together = std::min<int64_t>({ w.n_ctx, llama_n_ubatch(ctx), 512 });

    // Predictions are those of decoders.
    const bool        predicts = llama_model_has_decoder(model) && !llama_model_has_encoder(model) && llama_n_ubatch(ctx) >= 64;
    const bool        is_asked = w.own.sensitivities || !w.makes_sums();
    sensitivity_meter meter(base.weights, ctx);
    const auto        measures = [&](ggml_tensor * t, bool ask) { return meter.on_node(t, ask); };
    if (predicts && is_asked) {
        meter.n_tokens = std::min(w.n_ctx, FEW_TOKENS);
        meter.run      = [&] { text.run_again(0, meter.n_tokens, 0); };
        observer       = measures;
        meter.trace();
    }
    if (!w.makes_sums()) {
        observer = measures;
        measure_instead(w, meter, text, n_together);
        return;
    }
    observer = collects;
    const gram_header header = header_of(w, model, base, c, meter, text.n_chunks());
    gram_file         file(w.out(), header);

    const size_t memory  = w.own.memory ? w.own.memory : free_memory(device) / 2;
    const auto   windows = plan_windows(c, engine, file, memory);
    fprintf(stderr, "%zu weights with %zu inputs; %" PRId64 " chunks of %" PRId64 " tokens; passes left: %zu of up to %s\n",
            c.users.size(), c.inputs.size(), text.n_chunks(), w.n_ctx, windows.size(), human_bytes(memory).c_str());
    const auto before = now();
    collect_all(text, c, engine, file, windows);
    const size_t with_sums = peak_memory();
    file.write("token.counts", text.counts());
    if (!header.sites.empty() && !file.has("sensitivity.divergence")) {
        const double budget = w.own.budget >= 0 ? w.own.budget * 60 : seconds_since(before) / 2;
        observer            = measures;
        measure_all(meter, text.again(), file, { c.users.begin(), c.users.end() }, n_together, budget);
    }
    model_stamp.check();
    text_stamp.check();
    file.finish();

    fprintf(stderr, "%s: %s, of them %s for the sums at %.0f GFLOP/s; peak memory %s, of them %s for the sums\n", w.out().c_str(),
            human_seconds(seconds_since(start)).c_str(), human_seconds(engine.seconds).c_str(),
            engine.flops / std::max(engine.seconds, 1e-9) / 1e9, human_bytes(peak_memory()).c_str(),
            human_bytes(with_sums - without_sums).c_str());
    llama_backend_free();
}

int main(int argc, char ** argv) {
    std::setlocale(LC_NUMERIC, "C");
#if defined(__GLIBC__)
    mallopt(M_MMAP_THRESHOLD, 1 << 17); // the sums of a window go back to the system before the next
#endif
#if defined(SIGXFSZ)
    signal(SIGXFSZ, SIG_IGN); // a file that must not grow further is an error of the write
#endif
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "-h") == 0 || strcmp(argv[i], "--help") == 0) {
            fputs(USAGE, stdout);
            return 0;
        }
    }
    try {
        run(argc, argv);
    } catch (const std::exception & e) {
        fprintf(stderr, "error: %s\n", e.what());
        return 1;
    }
    return 0;
}
