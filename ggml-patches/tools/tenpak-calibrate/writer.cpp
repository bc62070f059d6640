#include "writer.h"

#include "../../src/llama-ext.h"
#include "chat.h"
#include "llama-cpp.h"
#include "openings.h"
#include "output.h"
#include "progress.h"
#include "sampling.h"

#include <algorithm>
#include <chrono>
#include <cinttypes>
#include <cstdio>
#include <cstring>
#include <deque>
#include <fstream>
#include <map>
#include <memory>
#include <stdexcept>
#include <thread>

// Places at most. More make a step little faster for each, and more documents end where the text does.
static const int64_t MAX_PLACES = 64;

// A product with so many columns takes as long as one with a few less, so that a text takes a multiple of so many places, if its
// documents still have more than half of the tokens that they may have.
static const int64_t COLUMNS     = 16;
static const double  LITTLE_MORE = 1.8;

// What the keys and values of all places may take where half of the model's size is less.
static const double MIN_CACHE_BYTES = 1e9;

// Bytes of a key or a value.
static const double CACHE_TYPE_BYTES = 2;

// llama.cpp gives every sequence a multiple of so many tokens.
static const int64_t CACHE_STEP = 256;

// Separates documents.
static const char * BLANK_LINE = "\n\n";

// An opening as this model takes it.
struct beginning {
    std::string              text;
    std::vector<llama_token> tokens; // with the BOS token, if the model has one
};

struct document {
    random_numbers           random;
    std::string              text;
    std::vector<llama_token> next; // tokens to be run
    int64_t                  n_run = 0;
};

// The day in templates that ask for today's: a text is not to depend on it.
static const char * FIXED_DAY = "{%- macro strftime_now(format) -%}1 Jan 2026{%- endmacro -%}";

// What the user says in the model's own template, or null if it has none that works.
class chat_template {
  public:
    explicit chat_template(const llama_model * model) {
        const char * source = llama_model_chat_template(model, nullptr);
        if (!source) {
            return;
        }
        const bool asks_day = strstr(source, "strftime_now") != nullptr;
        try {
            templates = common_chat_templates_init(model, asks_day ? std::string(FIXED_DAY) + source : "");
            apply("A question");
        } catch (const std::exception & e) {
            fprintf(stderr, "note: the model's chat template does not work (%s)\n", e.what());
            templates.reset();
        }
    }

    bool works() const { return templates != nullptr; }

    std::string apply(const std::string & question) const {
        if (!templates) {
            return "User: " + question + "\n\nAssistant:";
        }
        common_chat_msg message;
        message.role    = "user";
        message.content = question;
        common_chat_templates_inputs inputs;
        inputs.messages = { message };
        inputs.now      = {};
        return common_chat_templates_apply(templates.get(), inputs).prompt;
    }

  private:
    common_chat_templates_ptr templates{ nullptr, {} };
};

using openings_by_kind = std::map<opening_kind, std::vector<beginning>>;

// The openings that the vocabulary has tokens for and that leave half of a chunk to the model.
static openings_by_kind choose_openings(const llama_model * model, int64_t n_ctx) {
    const llama_vocab * vocab   = llama_model_get_vocab(model);
    const bool          add_bos = llama_vocab_get_add_bos(vocab);
    const chat_template chat(model);

    openings_by_kind kinds;
    size_t           n_chosen = 0;
    for (const auto & opening : all_openings()) {
        beginning b;
        b.text   = opening.kind == opening_kind::CHAT ? chat.apply(opening.text) : opening.text;
        b.tokens = common_tokenize(vocab, b.text, false, true);
        if (add_bos) {
            b.tokens.insert(b.tokens.begin(), llama_vocab_bos(vocab));
        }
        const bool is_known = std::none_of(b.tokens.begin(), b.tokens.end(), [&](llama_token token) {
            return llama_vocab_get_attr(vocab, token) & LLAMA_TOKEN_ATTR_UNKNOWN;
        });
        if (is_known && !b.tokens.empty() && (int64_t) b.tokens.size() <= n_ctx / 2) {
            kinds[opening.kind].push_back(b);
            n_chosen++;
        }
    }
    fprintf(stderr, "%zu of %zu openings; questions in %s\n", n_chosen, all_openings().size(),
            chat.works() ? "the model's chat template" : "plain text");
    return kinds;
}

// Openings in an order by the seed, with every kind spread evenly, so that each part of the text has all kinds; if there are
// none, one without words.
static std::vector<beginning> in_order(openings_by_kind kinds, const llama_vocab * vocab, int64_t n_ctx, uint64_t seed) {
    std::vector<std::pair<double, beginning>> placed;
    for (auto & [kind, beginnings] : kinds) {
        random_numbers random(seed, UINT64_MAX - (uint64_t) kind);
        for (size_t i = 0; i < beginnings.size(); i++) {
            std::swap(beginnings[i], beginnings[i + random.below(beginnings.size() - i)]);
            placed.emplace_back((i + 0.5) / beginnings.size(), beginnings[i]);
        }
    }
    std::stable_sort(placed.begin(), placed.end(), [](const auto & a, const auto & b) { return a.first < b.first; });
    std::vector<beginning> all;
    for (auto & [place, b] : placed) {
        all.push_back(b);
    }
    if (all.empty()) {
        const llama_token bos = llama_vocab_bos(vocab);
        const llama_token eos = llama_vocab_eos(vocab);
        if (n_ctx < 2 || (bos == LLAMA_TOKEN_NULL && eos == LLAMA_TOKEN_NULL)) {
            throw std::runtime_error("the model can begin no text: its vocabulary has no tokens for any opening, or -c is "
                                     "too small for them; give a text (-f)");
        }
        all.push_back({ "", { bos == LLAMA_TOKEN_NULL ? eos : bos } });
    }
    return all;
}

// How many documents of a text grow at a time at most: as many as fill it when each is as long as it may be, or a few more.
static int64_t useful_places(const wanted_text & wanted, int64_t n_ctx) {
    const int64_t n     = (wanted.tokens + n_ctx - 1) / n_ctx;
    const int64_t whole = (n + COLUMNS - 1) / COLUMNS * COLUMNS;
    return whole <= LITTLE_MORE * n ? whole : n;
}

// How many documents are written at a time: it depends on the model and on what is wanted, not on the machine.
static int64_t choose_places(const llama_model * model, int64_t n_ctx, const std::vector<wanted_text> & wanted) {
    const double head_bytes = CACHE_TYPE_BYTES * llama_model_n_embd(model) / std::max(1, llama_model_n_head(model));
    const double bytes      = 2 * head_bytes * llama_model_n_head_kv(model) * llama_model_n_layer(model) * n_ctx;
    const double allowed    = std::max(MIN_CACHE_BYTES, 0.5 * llama_model_size(model));
    int64_t      n_useful   = 0;
    for (const auto & text : wanted) {
        n_useful += useful_places(text, n_ctx);
    }
    return std::max<int64_t>(1, std::min<int64_t>(std::min(MAX_PLACES, n_useful), allowed / std::max(bytes, 1.0)));
}

// A text and its documents.
class growing_text {
  public:
    growing_text(const wanted_text & wanted, std::vector<beginning> beginnings)
        : wanted(wanted), beginnings(std::move(beginnings)), target(wanted.tokens) {}

    const wanted_text wanted;

    int64_t n_growing = 0; // documents that have a place

    bool is_complete() const { return complete; }

    // tokens so far, those of openings too, and how many they are to be
    int64_t n_tokens() const { return n_written; }
    int64_t n_to_write() const { return std::max(target, n_written); }

    document & begin() {
        const size_t      number = documents.size();
        const beginning & b      = beginnings[number % beginnings.size()];
        documents.push_back(std::make_unique<document>(document{ random_numbers(wanted.seed, number), b.text, b.tokens }));
        n_written += b.tokens.size();
        n_growing++;
        return *documents.back();
    }

    void add(document & d, llama_token token, const llama_vocab * vocab) {
        d.text += common_token_to_piece(vocab, token, true);
        d.next = { token };
        n_written++;
    }

    // Writes the file as soon as the tokenizer finds as many tokens in it as are wanted, which may be fewer than the model has
    // written; after that the text is complete.
    void finish_if_enough(const llama_vocab * vocab) {
        if ((int64_t) documents.size() > wanted.tokens) {
            throw std::runtime_error("the model ends every document at once: give a text (-f)");
        }
        if (n_written < target) {
            return;
        }
        const std::string text  = all_documents();
        const int64_t     found = common_tokenize(vocab, text, false, true).size();
        if (found < wanted.tokens) {
            target = n_written + wanted.tokens - found;
            return;
        }
        output_file file(wanted.path);
        file.clear();
        file.write(text.data(), text.size());
        file.finish();
        summary = string_format("%s: %zu documents, %s, %" PRId64 " tokens", wanted.path.c_str(), documents.size(),
                                human_bytes(text.size()).c_str(), n_written);
        complete = true;
    }

    // what the complete text is
    const std::string & about() const { return summary; }

  private:
    const std::vector<beginning>           beginnings;
    std::vector<std::unique_ptr<document>> documents;
    int64_t                                n_written = 0;
    int64_t                                target; // of n_written
    bool                                   complete = false;
    std::string                            summary;

    // as they are now
    std::string all_documents() const {
        std::string all;
        for (const auto & d : documents) {
            std::string one = valid_utf8(d->text);
            one.erase(one.find_last_not_of('\n') + 1);
            all += one + BLANK_LINE;
        }
        all.pop_back();
        return all;
    }
};

// Where a document grows: a sequence of the context.
struct place {
    growing_text * text = nullptr; // there is none
    document *     doc  = nullptr;
};

class text_writer {
  public:
    text_writer(llama_context * ctx, std::deque<growing_text> & texts, int64_t n_ctx, int64_t n_places, int n_threads)
        : ctx(ctx), vocab(llama_model_get_vocab(llama_get_model(ctx))), texts(texts), n_ctx(n_ctx), n_threads(n_threads),
          batch(ctx), places(n_places) {}

    // every document gets a token
    void step() {
        fill_places();
        batch.clear();
        std::vector<drawn> all;
        for (size_t p = 0; p < places.size(); p++) {
            if (!places[p].text) {
                continue;
            }
            document & d = *places[p].doc;
            for (size_t i = 0; i < d.next.size(); i++) {
                const bool    is_last = i + 1 == d.next.size();
                const int32_t index   = batch.add(d.next[i], d.n_run++, p, is_last);
                if (is_last) {
                    all.push_back({ p, index, -1 });
                }
            }
        }
        const int status = llama_process(ctx, LLAMA_PROCESS_TYPE_DECODE, batch.get());
        if (status != 0) {
            throw std::runtime_error(string_format("llama.cpp cannot run the model (status %d)", status));
        }
        draw(all);
        for (const auto & one : all) {
            place & at = places[one.place];
            at.text->add(*at.doc, one.token, vocab);
            if (llama_vocab_is_eog(vocab, one.token) || at.doc->n_run + 1 >= n_ctx) {
                leave(one.place);
            }
        }
        for (auto & text : texts) {
            if (!text.is_complete()) {
                text.finish_if_enough(vocab);
            }
        }
        for (size_t p = 0; p < places.size(); p++) {
            if (places[p].text && places[p].text->is_complete()) {
                leave(p);
            }
        }
    }

  private:
    // A token that is drawn from the logits of a document.
    struct drawn {
        size_t      place;
        int32_t     output; // of the batch
        llama_token token;
    };

    llama_context *             ctx;
    const llama_vocab *         vocab;
    std::deque<growing_text> & texts;
    const int64_t               n_ctx;
    const int                   n_threads;

    common_batch       batch;
    std::vector<place> places;

    // Every text has places side by side, since llama.cpp runs sequences together that are next to each other: the first text as many
    // as it can use, the next as many of those that are left. Then it takes those of the texts before it, once these are complete.
    void fill_places() {
        size_t begin = 0;
        for (auto & text : texts) {
            const size_t end = std::min(begin + useful_places(text.wanted, n_ctx), places.size());
            fill_some(text, begin, end);
            fill_some(text, 0, begin);
            begin = end;
        }
    }

    void fill_some(growing_text & text, size_t begin, size_t end) {
        for (size_t p = begin; p < end; p++) {
            if (!places[p].text && !text.is_complete() && text.n_growing < useful_places(text.wanted, n_ctx)) {
                places[p] = { &text, &text.begin() };
            }
        }
    }

    void leave(size_t p) {
        llama_memory_seq_rm(llama_get_memory(ctx), p, -1, -1);
        places[p].text->n_growing--;
        places[p] = {};
    }

    void draw(std::vector<drawn> & all) {
        const int32_t              n_vocab = llama_vocab_n_tokens(vocab);
        std::vector<const float *> logits;
        for (const auto & one : all) {
            logits.push_back(llama_get_logits_ith(ctx, one.output));
        }
        const auto draw_some = [&](size_t first) {
            for (size_t i = first; i < all.size(); i += n_threads) {
                all[i].token = sample(logits[i], n_vocab, places[all[i].place].doc->random.uniform());
            }
        };
        std::vector<std::thread> threads;
        for (int i = 1; i < n_threads; i++) {
            threads.emplace_back(draw_some, i);
        }
        draw_some(0);
        for (auto & t : threads) {
            t.join();
        }
        if (std::any_of(all.begin(), all.end(), [](const drawn & one) { return one.token < 0; })) {
            throw std::runtime_error("the model's logits are not finite: it is damaged, or its type is too narrow for it "
                                     "(use F32 or BF16)");
        }
    }
};

void check_vocabulary(const llama_model * model, const std::string & path) {
    if (llama_vocab_type(llama_model_get_vocab(model)) == LLAMA_VOCAB_TYPE_NONE) {
        throw std::runtime_error(path + ": has no vocabulary, so that it writes and reads no text: convert it with its "
                                 "tokenizer, or quantize it without a calibration");
    }
}

// Refuses models that write no text, with what to do.
static void check_writes(const llama_model * model, const std::string & path) {
    check_vocabulary(model, path);
    if (llama_model_has_encoder(model) || !llama_model_has_decoder(model) || llama_model_is_diffusion(model)) {
        throw std::runtime_error(path + ": is no model that writes text token by token: give a text (-f)");
    }
}

// Steps until all texts are complete.
static void write_all(text_writer & writer, const std::deque<growing_text> & texts) {
    const auto    start = std::chrono::steady_clock::now();
    progress_line line;
    bool          is_complete = false;
    for (bool first = true; !is_complete; first = false) {
        writer.step();
        int64_t n_tokens = 0, n_to_write = 0;
        is_complete      = true;
        for (const auto & text : texts) {
            n_tokens += text.n_tokens();
            n_to_write += text.n_to_write();
            is_complete = is_complete && text.is_complete();
        }
        const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
        const double done    = (double) n_tokens / n_to_write;
        line.show(string_format("writing text: %" PRId64 " of %" PRId64 " tokens, %3.0f %%, %s left", n_tokens, n_to_write,
                                100 * done, human_seconds(seconds * (1 / done - 1)).c_str()),
                  first, is_complete);
    }
}

void write_texts(common_params params, const std::vector<wanted_text> & wanted) {
    if (params.model.path.empty()) {
        throw std::runtime_error("-m BASE.gguf is needed; see --help");
    }
    for (const auto & text : wanted) {
        check_output(text.path, { params.model.path });
    }
    const int64_t n_ctx  = params.n_ctx;
    params.n_parallel    = MAX_PLACES;
    params.n_ctx         = MAX_PLACES * n_ctx;
    params.n_outputs_max = MAX_PLACES;
    // as for the sums: a model takes the memory of its file
    params.no_extra_bufts = true;

    llama_backend_init();
    llama_numa_init(params.numa);
    const auto    start = std::chrono::steady_clock::now();
    auto          init  = common_init_from_params(params, /*model_only =*/ true);
    llama_model * model = init->model();
    if (!model) {
        throw std::runtime_error(params.model.path + ": llama.cpp cannot load it; its messages are above");
    }
    check_writes(model, params.model.path);
    const openings_by_kind    openings = choose_openings(model, n_ctx);
    std::deque<growing_text> texts;
    for (const auto & text : wanted) {
        texts.emplace_back(text, in_order(openings, llama_model_get_vocab(model), n_ctx, text.seed));
    }

    const int64_t n_places = choose_places(model, n_ctx, wanted);
    params.n_parallel      = n_places;
    params.n_ctx           = n_places * GGML_PAD(n_ctx, CACHE_STEP);
    params.n_batch         = n_places * n_ctx;
    params.n_ubatch        = std::min(params.n_ubatch, params.n_batch);
    params.n_outputs_max   = n_places;
    const bool on_cpu = params.n_gpu_layers == 0 || llama_model_n_devices(model) == 0;
    if (on_cpu && params.flash_attn_type == LLAMA_FLASH_ATTN_TYPE_AUTO) {
        // Of one token for each document, it is slower there than products and a softmax.
        params.flash_attn_type = LLAMA_FLASH_ATTN_TYPE_DISABLED;
    }
    llama_context_ptr ctx(llama_init_from_model(model, common_context_params_to_llama(params)));
    if (!ctx || !llama_get_memory(ctx.get())) {
        throw std::runtime_error(params.model.path + ": llama.cpp cannot generate with it: give a text (-f)");
    }
    text_writer writer(ctx.get(), texts, n_ctx, n_places, params.cpuparams.n_threads);
    write_all(writer, texts);

    const double seconds  = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
    int64_t      n_tokens = 0;
    for (const auto & text : texts) {
        fprintf(stderr, "%s\n", text.about().c_str());
        n_tokens += text.n_tokens();
    }
    fprintf(stderr, "%" PRId64 " tokens in %s (%.0f a second), %" PRId64 " documents at a time\n", n_tokens,
            human_seconds(seconds).c_str(), n_tokens / seconds, n_places);
    ctx.reset();
    llama_backend_free();
}
