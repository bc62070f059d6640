#include "trace.h"

#include "ggml-backend.h"
#include "ggml-cpp.h"
#include "gguf.h"
#include "llama-cpp.h"
#include "output.h"

#include <algorithm>
#include <cstdio>
#include <cstring>
#include <fstream>
#include <stdexcept>

// Bytes of a weight that are widened at a time.
static const int64_t WIDENED_BYTES = 64 << 20;

// llama.cpp's names of what comes out of a block, and of what is computed in the first.
static const char * BLOCK_OUTPUT = "l_out-";
static const char * FIRST_BLOCK  = "-0";

static bool ends_with(const std::string & text, const std::string & end) {
    return text.size() >= end.size() && text.compare(text.size() - end.size(), end.size(), end) == 0;
}

static void check_paths(const common_params & params, const std::string & input) {
    if (params.model.path.empty() || params.out_file.empty()) {
        throw std::runtime_error("-m BASE.gguf and -o OUT are needed; see --help");
    }
    check_output(params.out_file, { params.model.path, input });
}

static llama_model_ptr load(const common_params & params, llama_model_params how) {
    llama_backend_init();
    llama_numa_init(params.numa);
    llama_model_ptr model(llama_model_load_from_file(params.model.path.c_str(), how));
    if (!model) {
        throw std::runtime_error(params.model.path + ": llama.cpp cannot load it; its messages are above");
    }
    return model;
}

void write_ids(const common_params & params, const std::string & texts) {
    check_paths(params, texts);
    llama_model_params how = llama_model_default_params();
    how.vocab_only         = true;
    const auto model = load(params, how);
    std::ifstream in(texts, std::ios::binary);
    std::string   ids;
    std::string   text;
    while (std::getline(in, text, '\0')) {
        std::string between;
        for (llama_token id : common_tokenize(llama_model_get_vocab(model.get()), text, false, /*parse_special =*/ true)) {
            ids += between + std::to_string(id);
            between = " ";
        }
        ids += '\n';
    }
    if (!in.eof()) {
        throw std::runtime_error(texts + ": cannot be read");
    }
    output_file out(params.out_file);
    out.clear();
    out.write(ids.data(), ids.size());
    out.finish();
}

// A column for each id, of one of the tensors that are looked at.
struct rows {
    std::string        name;
    int64_t            columns;
    std::vector<float> values;
};

// Looks at a graph while it is computed.
class tracer {
  public:
    tracer(int64_t columns, int64_t n_ids, int n_threads);

    std::vector<rows> found;

    // see ggml_backend_sched_eval_callback
    bool on_node(ggml_tensor * t, bool ask);

  private:
    // of what goes into a block and comes out
    bool        is_stream(const ggml_tensor * t) const;
    std::string name_of(const ggml_tensor * t) const;
    void        multiply_again(ggml_tensor * t);
    void        keep(const std::string & name, const ggml_tensor * t);

    int64_t          columns;
    int64_t          n_ids;
    bool             in_blocks = false;
    ggml_backend_ptr backend;
};

tracer::tracer(int64_t columns, int64_t n_ids, int n_threads)
    : columns(columns), n_ids(n_ids), backend(ggml_backend_init_by_type(GGML_BACKEND_DEVICE_TYPE_CPU, nullptr)) {
    auto * reg = ggml_backend_dev_backend_reg(ggml_backend_get_device(backend.get()));
    auto   set = (ggml_backend_set_n_threads_t) ggml_backend_reg_get_proc_address(reg, "ggml_backend_set_n_threads");
    if (set) {
        set(backend.get(), n_threads);
    }
}

static bool is_narrow_product(const ggml_tensor * t) {
    return (t->op == GGML_OP_MUL_MAT || t->op == GGML_OP_MUL_MAT_ID) &&
           (t->src[0]->type == GGML_TYPE_F16 || t->src[0]->type == GGML_TYPE_BF16);
}

bool tracer::is_stream(const ggml_tensor * t) const {
    return t->type == GGML_TYPE_F32 && t->ne[0] == columns && t->ne[1] == n_ids && t->ne[2] * t->ne[3] == 1;
}

// What a node is called in a trace; empty if it is not in it.
std::string tracer::name_of(const ggml_tensor * t) const {
    const std::string name = t->name;
    if (!is_stream(t)) {
        return "";
    }
    if (!in_blocks) {
        return "embeddings"; // the last that is called so is what goes into the first block
    }
    const bool is_output = name.compare(0, strlen(BLOCK_OUTPUT), BLOCK_OUTPUT) == 0;
    const auto number    = is_output ? name.substr(strlen(BLOCK_OUTPUT)) : "";
    const bool is_number = !number.empty() && number.find_first_not_of("0123456789") == std::string::npos;
    return is_number ? "block." + number : "";
}

bool tracer::on_node(ggml_tensor * t, bool ask) {
    if (ask) {
        in_blocks = in_blocks || ends_with(t->name, FIRST_BLOCK);
        return is_narrow_product(t) || !name_of(t).empty();
    }
    if (is_narrow_product(t)) {
        multiply_again(t);
    }
    const std::string name = name_of(t);
    if (!name.empty()) {
        keep(name, t);
    }
    return true;
}

// A tensor of another graph as one that is given: what it was computed from is none of this graph's.
static ggml_tensor * given(ggml_context * ctx, const ggml_tensor * t) {
    ggml_tensor * leaf = ggml_new_tensor(ctx, t->type, GGML_MAX_DIMS, t->ne);
    memcpy(leaf->nb, t->nb, sizeof(leaf->nb));
    leaf->data   = t->data;
    leaf->buffer = t->view_src ? t->view_src->buffer : t->buffer;
    return leaf;
}

// The product of a weight of 16 bits, to which ggml rounded the other factor, from F32 factors.
void tracer::multiply_again(ggml_tensor * t) {
    ggml_tensor * w     = t->src[0];
    const int64_t step  = std::max<int64_t>(1, WIDENED_BYTES / (w->ne[0] * w->ne[2] * w->ne[3] * (int64_t) sizeof(float)));
    for (int64_t first = 0; first < w->ne[1]; first += step) {
        const int64_t    n      = std::min(step, w->ne[1] - first);
        ggml_init_params params = { /*mem_size =*/ 16 * ggml_tensor_overhead() + ggml_graph_overhead(), nullptr, /*no_alloc =*/ true };
        ggml_context_ptr ctx(ggml_init(params));
        ggml_tensor *    part = ggml_view_4d(ctx.get(), given(ctx.get(), w), w->ne[0], n, w->ne[2], w->ne[3], w->nb[1], w->nb[2],
                                             w->nb[3], first * w->nb[1]);
        ggml_tensor *    wide = ggml_cast(ctx.get(), part, GGML_TYPE_F32);
        ggml_tensor *    x    = given(ctx.get(), t->src[1]);
        ggml_tensor * product = t->op == GGML_OP_MUL_MAT ? ggml_mul_mat(ctx.get(), wide, x) :
                                                           ggml_mul_mat_id(ctx.get(), wide, x, given(ctx.get(), t->src[2]));
        ggml_cgraph * graph = ggml_new_graph(ctx.get());
        ggml_build_forward_expand(graph, product);
        ggml_backend_buffer_ptr buffer(ggml_backend_alloc_ctx_tensors(ctx.get(), backend.get()));
        if (!buffer || ggml_backend_graph_compute(backend.get(), graph) != GGML_STATUS_SUCCESS) {
            throw std::runtime_error(std::string("`") + w->name + "`: there is no memory for a part of it as F32");
        }
        for (int64_t row = 0; row < ggml_nrows(t); row++) {
            const int64_t i1 = row % t->ne[1];
            const int64_t i2 = row / t->ne[1] % t->ne[2];
            const int64_t i3 = row / t->ne[1] / t->ne[2];
            memcpy((char *) t->data + i1 * t->nb[1] + i2 * t->nb[2] + i3 * t->nb[3] + first * sizeof(float),
                   (const float *) product->data + row * n, n * sizeof(float));
        }
    }
}

void tracer::keep(const std::string & name, const ggml_tensor * t) {
    auto at = std::find_if(found.begin(), found.end(), [&](const rows & r) { return r.name == name; });
    if (at == found.end()) {
        at = found.insert(at, { name, columns, std::vector<float>(columns * n_ids) });
    }
    for (int64_t i = 0; i < n_ids; i++) {
        memcpy(&at->values[i * columns], (const char *) t->data + i * t->nb[1], columns * sizeof(float));
    }
}

static bool on_node(ggml_tensor * t, bool ask, void * user_data) {
    return ((tracer *) user_data)->on_node(t, ask);
}

static std::vector<llama_token> read_ids(const std::string & path, int32_t n_tokens) {
    std::ifstream            in(path);
    std::vector<llama_token> ids;
    for (llama_token id; in >> id;) {
        if (id < 0 || id >= n_tokens) {
            throw std::runtime_error(path + ": " + std::to_string(id) + " is no id of this model, which has " + std::to_string(n_tokens));
        }
        ids.push_back(id);
    }
    if (ids.empty() || !in.eof()) {
        throw std::runtime_error(path + ": there are no ids, or something else");
    }
    return ids;
}

static void write_rows(const std::string & path, const std::vector<rows> & all, int64_t n_ids) {
    gguf_context_ptr gguf(gguf_init_empty());
    ggml_init_params params = { all.size() * ggml_tensor_overhead(), nullptr, /*no_alloc =*/ true };
    ggml_context_ptr ctx(ggml_init(params));
    gguf_set_val_str(gguf.get(), "general.type", "trace");
    for (const auto & r : all) {
        ggml_tensor * t = ggml_new_tensor_2d(ctx.get(), GGML_TYPE_F32, r.columns, n_ids);
        ggml_set_name(t, r.name.c_str());
        t->data = (void *) r.values.data();
        gguf_add_tensor(gguf.get(), t);
    }
    output_file out(path);
    out.clear();
    if (!gguf_write_to_file_ptr(gguf.get(), out.stream(), /*only_meta =*/ false)) {
        throw std::runtime_error(path + ": cannot be written (is the disk full?)");
    }
    out.finish();
}

void write_trace(common_params params, const std::string & ids_path) {
    check_paths(params, ids_path);
    params.devices        = { nullptr };
    params.n_gpu_layers   = 0;
    params.no_extra_bufts = true; // data of weights is as in the file
    const auto model   = load(params, common_model_params_to_llama(params));
    const int  n_vocab = llama_vocab_n_tokens(llama_model_get_vocab(model.get()));
    const auto ids     = read_ids(ids_path, n_vocab);

    tracer trace(llama_model_n_embd(model.get()), ids.size(), params.cpuparams_batch.n_threads);
    params.n_ctx = params.n_batch = params.n_ubatch = ids.size();
    params.n_outputs_max     = ids.size();
    params.n_parallel        = 1;
    params.cache_type_k      = GGML_TYPE_F32;
    params.cache_type_v      = GGML_TYPE_F32;
    params.flash_attn_type   = LLAMA_FLASH_ATTN_TYPE_DISABLED;
    params.no_op_offload     = true;
    params.cb_eval           = on_node;
    params.cb_eval_user_data = &trace;
    llama_context_ptr ctx(llama_init_from_model(model.get(), common_context_params_to_llama(params)));
    if (!ctx) {
        throw std::runtime_error(params.model.path + ": llama.cpp cannot make a context for it; its messages are above");
    }
    common_batch batch(ctx.get());
    for (size_t i = 0; i < ids.size(); i++) {
        batch.add(ids[i], i, 0, true);
    }
    const int status = llama_process(ctx.get(), LLAMA_PROCESS_TYPE_DECODE, batch.get());
    if (status != 0) {
        throw std::runtime_error(string_format("llama.cpp cannot run the model (status %d)", status));
    }
    const float * logits = llama_get_logits(ctx.get());
    if (!logits) {
        throw std::runtime_error(params.model.path + ": llama.cpp computes no logits with it");
    }
    trace.found.push_back({ "logits", n_vocab, std::vector<float>(logits, logits + ids.size() * n_vocab) });
    write_rows(params.out_file, trace.found, ids.size());
}
