// Runs a model over text and sums x x^T over the inputs x of its linear layers.
//
//   discover   one graph, in which the collector finds the inputs
//   plan       windows: consecutive inputs (experts, where one input has many) whose sums fit --memory
//   collect    for every window all chunks of the text; graphs are cancelled after the last node that the window needs
//   write      every window into its place in the file

#include "arg.h"
#include "collector.h"
#include "common.h"
#include "gram-file.h"
#include "gram.h"
#include "hash/hash.h"
#include "llama.h"
#include "model-file.h"
#include "options.h"
#include "output.h"
#include "progress.h"
#include "rehearsal.h"
#include "sensitivities.h"
#include "speed.h"
#include "swaps.h"
#include "trace.h"
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
#if !defined(_WIN32)
#include <sys/resource.h>
#endif

static size_t free_memory(ggml_backend_dev_t device) {
    size_t free;
    size_t total;
    ggml_backend_dev_memory(device, &free, &total);
    if (ggml_backend_dev_type(device) != GGML_BACKEND_DEVICE_TYPE_CPU) {
        return free;
    }
    // For Linux, ggml answers what the machine has.
    std::ifstream info("/proc/meminfo");
    std::string   key;
    size_t        kilobytes;
    while (info >> key >> kilobytes) {
        if (key == "MemAvailable:") {
            return std::min(free, kilobytes * 1024);
        }
        info.ignore(100, '\n');
    }
    return free;
}

// largest resident size of this process so far
static size_t peak_memory() {
#if defined(_WIN32)
    return 0;
#else
    rusage usage;
    getrusage(RUSAGE_SELF, &usage);
#if defined(__APPLE__)
    return usage.ru_maxrss;
#else
    return (size_t) usage.ru_maxrss * 1024;
#endif
#endif
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

// Windows of consecutive matrices that are not in the file yet.
static std::vector<std::vector<window_part>> plan_windows(const collector & c, const gram_engine & engine,
                                                          const gram_file & file, size_t memory) {
    std::vector<std::vector<window_part>> windows;

    const size_t scratch = engine.scratch_bytes();
    size_t       room    = 0;
    for (size_t i = 0; i < c.inputs.size(); i++) {
        const auto & input = c.inputs[i];
        const size_t bytes = collector::bytes(input);
        if (bytes + scratch > memory) {
            throw std::runtime_error(string_format("%s of memory are too little: the %" PRId64
                                                   " columns of `%s` need --memory %zuM",
                                                   human_bytes(memory).c_str(), input.columns, input.name.c_str(),
                                                   ((bytes + scratch) >> 20) + 1));
        }
        for (int64_t m = 0; m < input.matrices; m++) {
            if (file.has(i, m)) {
                continue;
            }
            if (windows.empty() || bytes > room) {
                windows.emplace_back();
                room = memory - scratch;
            }
            room -= bytes;
            auto & parts = windows.back();
            if (!parts.empty() && parts.back().input == i && parts.back().last == m - 1) {
                parts.back().last = m;
            } else {
                parts.push_back({ i, m, m });
            }
        }
    }
    return windows;
}

// Tokens that show which nodes a graph has: they are the same for any number of tokens.
static const int64_t FEW_TOKENS = 64;

// Chunks of text through the model.
class runner {
  public:
    runner(llama_context * ctx, std::vector<llama_token> tokens, int64_t n_ctx, int64_t n_seq)
        : ctx(ctx), tokens(std::move(tokens)), n_ctx(n_ctx), n_seq(n_seq), batch(ctx) {
        const llama_vocab * vocab = llama_model_get_vocab(llama_get_model(ctx));
        add_bos                   = llama_vocab_get_add_bos(vocab);
        bos                       = llama_vocab_bos(vocab);
    }

    int64_t n_chunks() const { return tokens.size() / n_ctx; }

    // Runs so many tokens of the first chunk that they make one graph. For sums it then runs, if there are larger ones, a whole batch,
    // so that the memory that llama.cpp takes is known; without sums a few tokens do, whose nodes are the same.
    void discover(collector & c, bool for_sums) {
        const int64_t of_graph = std::min<int64_t>(n_ctx, llama_n_ubatch(ctx));
        const int64_t n_tokens = for_sums ? of_graph : std::min(of_graph, FEW_TOKENS);
        run(0, 1, n_tokens, c);
        c.end_discovery();
        if (for_sums && n_tokens < n_seq * n_ctx) {
            run(0, c);
        }
    }

    // runs chunks, independent of each other, up to n_seq of them; returns how many
    int64_t run(int64_t first, collector & c) {
        const int64_t n = std::min(n_seq, n_chunks() - first);
        run(first, n, n_ctx, c);
        return n;
    }

    // runs the first n_tokens of a chunk, those after n_skipped as outputs; what the context remembers of former tokens stays where
    // it is
    void run_again(int64_t chunk, int64_t n_tokens, int64_t n_skipped) {
        if (auto * memory = llama_get_memory(ctx)) {
            llama_memory_clear(memory, /*data =*/ false);
        }
        fill(chunk, 1, n_tokens, n_skipped);
        const int status = llama_process(ctx, LLAMA_PROCESS_TYPE_DECODE, batch.get());
        if (status != 0) {
            throw std::runtime_error(string_format("llama.cpp cannot run the model (status %d)", status));
        }
    }

    // how often each token is in the text
    std::vector<float> counts() const {
        std::vector<float> counts(llama_vocab_n_tokens(llama_model_get_vocab(llama_get_model(ctx))));
        for (llama_token token : tokens) {
            counts[token]++;
        }
        return counts;
    }

    // its chunks for what runs some again
    chunks_of_text again() {
        return { [this](int64_t chunk, int64_t n, int64_t skipped) { run_again(chunk, n, skipped); }, n_chunks() };
    }

  private:
    llama_context *          ctx;
    std::vector<llama_token> tokens;
    int64_t                  n_ctx;
    int64_t                  n_seq;
    common_batch             batch;
    bool                     add_bos;
    llama_token              bos;

    // the first n_tokens of n chunks
    void run(int64_t first, int64_t n, int64_t n_tokens, collector & c) {
        const llama_model * model = llama_get_model(ctx);
        if (auto * memory = llama_get_memory(ctx)) {
            llama_memory_clear(memory, true);
        }
        // All are outputs, or the last layer would skip tokens.
        fill(first, n, n_tokens, 0);
        if (llama_model_has_encoder(model)) {
            process(LLAMA_PROCESS_TYPE_ENCODE, c);
        }
        if (llama_model_has_decoder(model)) {
            process(LLAMA_PROCESS_TYPE_DECODE, c);
        }
    }

    void fill(int64_t first, int64_t n, int64_t n_tokens, int64_t n_skipped) {
        batch.clear();
        for (int64_t seq = 0; seq < n; seq++) {
            for (int64_t i = 0; i < n_tokens; i++) {
                const llama_token token = tokens[(first + seq) * n_ctx + i];
                batch.add(add_bos && i == 0 ? bos : token, i, seq, i >= n_skipped);
            }
        }
    }

    void process(llama_process_type type, collector & c) {
        c.start_graph();
        const int status = llama_process(ctx, type, batch.get());
        if (!c.error().empty()) {
            throw std::runtime_error(c.error());
        }
        if (status != 0) {
            throw std::runtime_error(string_format("llama.cpp cannot run the model (status %d)", status));
        }
        llama_synchronize(ctx);
    }
};

static void collect_all(runner & run, collector & c, gram_engine & engine, gram_file & file, int64_t n_ctx,
                        const std::vector<std::vector<window_part>> & windows) {
    // work of a token in a pass: the model up to the last input, and the sums
    std::vector<double> work;
    for (const auto & parts : windows) {
        work.push_back(c.model_work[parts.back().input]);
        for (const auto & part : parts) {
            work.back() += c.sums_work[part.input] * (part.last - part.first + 1) / c.inputs[part.input].matrices;
        }
    }
    double all = 0;
    for (double w : work) {
        all += w * run.n_chunks();
    }
    const auto    start = std::chrono::steady_clock::now();
    progress_line line;
    double        done = 0;
    for (size_t w = 0; w < windows.size(); w++) {
        c.start_window(engine, windows[w]);
        for (int64_t chunk = 0; chunk < run.n_chunks();) {
            const bool    first = chunk == 0;
            const int64_t n     = run.run(chunk, c);
            chunk += n;
            done  += n * work[w];
            const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
            line.show(string_format("pass %zu of %zu: %" PRId64 " of %" PRId64 " tokens, %3.0f %%, %s left", w + 1,
                                    windows.size(), chunk * n_ctx, run.n_chunks() * n_ctx, 100 * done / all,
                                    human_seconds(seconds * (all / done - 1)).c_str()),
                      first, chunk == run.n_chunks());
        }
        c.end_window(file);
    }
}

static void measure_all(sensitivity_meter & meter, const chunks_of_text & text, gram_file & file,
                        const std::map<std::string, std::string> & input_of, int64_t n_tokens, double seconds) {
    const auto    start = std::chrono::steady_clock::now();
    progress_line line;
    const auto    tell = [&](double done) {
        const double took = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
        line.show(string_format("sensitivities of %zu weights: %3.0f %%, %s left", meter.sites.size(), 100 * done,
                                human_seconds(took * (1 / done - 1)).c_str()),
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
static std::string text_name(const own_params & own, const common_params & params) {
    std::string name = own.text_name;
    if (name.empty()) {
        name = std::filesystem::path(params.prompt_file).filename().string();
        name += params.parse_special ? ", special tokens parsed" : "";
    }
    return own.parts == 1 ? name : name + string_format(", part %" PRId64 " of %" PRId64, own.part, own.parts);
}

static void run(int argc, char ** argv) {
    own_params          own;
    std::vector<char *> args = take_own(argc, argv, own);
    if (!own.speed.empty()) {
        const auto is_threads = [](const char * arg) { return strcmp(arg, "-t") == 0 || strcmp(arg, "--threads") == 0; };
        const auto given      = std::find_if(args.begin(), args.end(), is_threads);
        const bool has_value  = given != args.end() && given + 1 != args.end();
        print_speed(parse_float(own.speed), has_value ? parse_count("-t", given[1]) : common_cpu_get_num_math());
        return;
    }

    common_params params;
    params.n_ctx    = 512;
    params.escape   = false;
    params.out_file = "";
    common_init();
    if (!common_params_parse(args.size(), args.data(), params, LLAMA_EXAMPLE_IMATRIX,
                             [](int, char **) { fputs(USAGE, stdout); })) {
        exit(1);
    }
    if (!own.texts.empty()) {
        write_texts(params, own.texts);
        return;
    }
    if (!own.tokenize.empty()) {
        write_ids(params, own.tokenize);
        return;
    }
    if (!own.trace.empty()) {
        write_trace(params, own.trace);
        return;
    }
    const std::string & out = params.out_file;
    if (params.model.path.empty() || params.prompt_file.empty() || (out.empty() && (own.swap.empty() || !own.swap_kinds.empty()))) {
        throw std::runtime_error("-m BASE.gguf, -f TEXT and -o OUT are needed; see --help");
    }
    if (params.n_ctx <= 0) {
        throw std::runtime_error("-c: a chunk needs at least one token");
    }
    if (!out.empty()) {
        check_output(out, { params.model.path, params.prompt_file });
    }
    const auto        start       = std::chrono::steady_clock::now();
    const file_stamp  model_stamp(params.model.path);
    const file_stamp  text_stamp(params.prompt_file);
    const std::string text_sha256 = file_sha256(params.prompt_file);

    // Chunks are run together up to the physical batch.
    const int64_t n_ctx = params.n_ctx;
    const int64_t n_seq = std::max<int64_t>(1, params.n_ubatch / n_ctx);

    params.n_parallel = n_seq;
    params.n_ctx      = n_seq * n_ctx;
    params.n_batch    = n_seq * n_ctx;
    params.n_ubatch   = std::min(params.n_ubatch, params.n_batch);
    params.warmup     = false;

    // Weights stay as they are in the file, whatever the processor would like better: without copies in AMX's or other
    // orders a model takes the memory of its file, and the sums are those of the ordinary products.
    params.no_extra_bufts = true;

    const model_file base = read_model_file(params.model.path);
    collector        c(base.weights);
    params.cb_eval           = on_node;
    node_observer observer   = [&](ggml_tensor * t, bool ask) { return c.on_node(t, ask); };
    params.cb_eval_user_data = &observer;

    llama_backend_init();
    llama_numa_init(params.numa);
    auto init = common_init_from_params(params);
    if (!init->model() || !init->context()) {
        throw std::runtime_error(params.model.path + ": llama.cpp cannot load it; its messages are above");
    }
    llama_context *     ctx   = init->context();
    const llama_model * model = init->model();
    check_vocabulary(model, params.model.path);
    if (n_ctx > llama_model_n_ctx_train(model)) {
        fprintf(stderr, "note: the model was trained with %d tokens of context\n", llama_model_n_ctx_train(model));
    }

    // Text beyond what any tokenizer needs for the tokens wanted is left out.
    const std::string text  = params.prompt.substr(0, 64 * (own.skip + own.tokens) + 64);
    auto              tokens = common_tokenize(ctx, text, true, params.parse_special);
    const bool    is_trial = !own.swap_kinds.empty();
    const int64_t n_needed = own.skip + (is_trial ? 2 : 1) * n_ctx;
    if ((is_trial || !own.noise.empty()) && (int64_t) tokens.size() < n_needed) {
        fprintf(stderr, "note: no %s on %s: of its %zu tokens too few are left\n", is_trial ? "trial" : "rehearsal",
                params.prompt_file.c_str(), tokens.size());
        output_file file(out);
        file.clear();
        file.finish();
        return;
    }
    tokens.erase(tokens.begin(), tokens.begin() + std::min<int64_t>(own.skip, tokens.size()));
    if ((int64_t) tokens.size() < n_ctx) {
        throw std::runtime_error(string_format("%s: is too short: %zu tokens, and a chunk has %" PRId64,
                                               params.prompt_file.c_str(), tokens.size(), n_ctx));
    }
    if ((int64_t) tokens.size() < own.tokens) {
        fprintf(stderr, "note: %s has %zu tokens only\n", params.prompt_file.c_str(), tokens.size());
    }
    const int64_t all_chunks = std::min<int64_t>(own.tokens, tokens.size()) / n_ctx;
    if (all_chunks == 0) {
        throw std::runtime_error(string_format("--tokens %" PRId64 ": is less than a chunk of %" PRId64, own.tokens, n_ctx));
    }
    if (all_chunks < own.parts) {
        throw std::runtime_error(string_format("--part %" PRId64 "/%" PRId64 ": there are %" PRId64 " chunks of %" PRId64 " tokens only",
                                               own.part, own.parts, all_chunks, n_ctx));
    }
    const int64_t first_chunk = all_chunks * (own.part - 1) / own.parts;
    const int64_t n_chunks    = all_chunks * own.part / own.parts - first_chunk;
    tokens.erase(tokens.begin(), tokens.begin() + first_chunk * n_ctx);
    tokens.resize(n_chunks * n_ctx);

    runner runner(ctx, std::move(tokens), n_ctx, n_seq);
    runner.discover(c, own.swap.empty() && own.noise.empty());
    if (c.inputs.empty()) {
        throw std::runtime_error(params.model.path + ": no linear layer was found");
    }
    for (const auto & [type, bytes] : c.buffers) {
        fprintf(stderr, "weights in %s: %s\n", type.c_str(), human_bytes(bytes).c_str());
    }
    const size_t without_sums = peak_memory();

    ggml_backend_dev_t device = ggml_backend_dev_by_type(GGML_BACKEND_DEVICE_TYPE_GPU);
    if (!device || params.n_gpu_layers == 0) {
        device = ggml_backend_dev_by_type(GGML_BACKEND_DEVICE_TYPE_CPU);
    }
    int64_t columns = 0;
    for (const auto & input : c.inputs) {
        columns = std::max(columns, input.columns);
    }
    gram_engine engine(device, params.cpuparams_batch.n_threads, columns, params.n_ubatch, c.weight_type);

    gram_header header;
    header.architecture = meta(model, "general.architecture");
    header.model_name   = meta(model, "general.name");
    header.model_sha256 = base.sha256;
    header.text_name    = text_name(own, params);
    header.text_sha256  = text_sha256;
    header.tokens       = n_chunks * n_ctx;
    header.context      = n_ctx;
    header.inputs       = c.inputs;
    header.weights      = c.users;

    // Tokens of a chunk that are looked at together, in one graph.
    const int64_t n_together = std::min<int64_t>({ n_ctx, llama_n_ubatch(ctx), 512 });

    // Predictions are those of decoders.
    const bool        predicts = llama_model_has_decoder(model) && !llama_model_has_encoder(model) && llama_n_ubatch(ctx) >= 64;
    sensitivity_meter meter(base.weights, ctx);
    if (predicts) {
        meter.n_tokens = std::min(n_ctx, FEW_TOKENS);
        meter.run      = [&] { runner.run_again(0, meter.n_tokens, 0); };
        observer       = [&](ggml_tensor * t, bool ask) { return meter.on_node(t, ask); };
        meter.trace();
        observer = [&](ggml_tensor * t, bool ask) { return c.on_node(t, ask); };
    }
    if (!own.swap.empty()) {
        if (!meter.on_host()) {
            throw std::runtime_error("--swap: the model has to be in the host's memory: give -ngl 0 and --no-op-offload");
        }
        observer              = [&](ggml_tensor * t, bool ask) { return meter.on_node(t, ask); };
        const chunk_runner run_chunk = runner.again().run;
        if (!own.swap_kinds.empty()) {
            output_file file(out);
            file.clear();
            measure_kinds(meter, own.swap, read_tried(own.swap_kinds, meter), run_chunk, n_chunks, n_together, file.stream());
            file.finish();
        } else {
            measure_swaps(meter, own.swap, run_chunk, n_chunks, n_together);
        }
        return;
    }
    if (!own.noise.empty()) {
        observer = [&](ggml_tensor * t, bool ask) { return meter.on_node(t, ask); };
        const auto         noise     = read_noise(own.noise, meter);
        const chunk_runner run_chunk = runner.again().run;
        output_file        file(out);
        file.clear();
        rehearse(meter, noise, run_chunk, n_chunks, n_together, file.stream());
        file.finish();
        return;
    }
    header.sites = meter.names();
    header.vectors = { { "token.counts", llama_vocab_n_tokens(llama_model_get_vocab(model)) } };
    if (!header.sites.empty()) {
        const int64_t n = header.sites.size();
        header.vectors.insert(header.vectors.end(), { { "sensitivity.divergence", n }, { "sensitivity.error", n },
                                                      { "sensitivity.energy", n }, { "sensitivity.curve", 2 * CURVE.size() } });
    }
    gram_file file(out, header);

    const size_t memory  = own.memory ? own.memory : free_memory(device) / 2;
    const auto   windows = plan_windows(c, engine, file, memory);
    fprintf(stderr, "%zu weights with %zu inputs; %" PRId64 " chunks of %" PRId64 " tokens; passes left: %zu of up to %s\n",
            c.users.size(), c.inputs.size(), n_chunks, n_ctx, windows.size(), human_bytes(memory).c_str());
    const auto before = std::chrono::steady_clock::now();
    collect_all(runner, c, engine, file, n_ctx, windows);
    const size_t with_sums = peak_memory();
    file.write("token.counts", runner.counts());
    if (!header.sites.empty() && !file.has("sensitivity.divergence")) {
        const double took   = std::chrono::duration<double>(std::chrono::steady_clock::now() - before).count();
        const double budget = own.budget >= 0 ? own.budget * 60 : own.budget_of_sums * took;
        observer            = [&](ggml_tensor * t, bool ask) { return meter.on_node(t, ask); };
        measure_all(meter, runner.again(), file, { c.users.begin(), c.users.end() }, n_together, budget);
    }
    model_stamp.check();
    text_stamp.check();
    file.finish();

    const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
    fprintf(stderr, "%s: %s, of them %s for the sums at %.0f GFLOP/s; peak memory %s, of them %s for the sums\n",
            out.c_str(), human_seconds(seconds).c_str(), human_seconds(engine.seconds).c_str(),
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
