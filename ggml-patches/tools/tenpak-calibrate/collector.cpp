#include "collector.h"

#include "ggml-backend.h"
#include "ggml.h"

#include <algorithm>
#include <cstring>
#include <stdexcept>

// Tokens that an expert gathers before they are added: a batch has few for each.
static const int64_t EXPERT_DEPTH = 256;

static int64_t depth(const gram_input & input) {
    return input.matrices == 1 ? 0 : EXPERT_DEPTH;
}

// "CUDA0#blk.0.attn_k.weight#0" to "blk.0.attn_k.weight": the scheduler names its copies so
std::string weight_name(const ggml_tensor * weight) {
    const std::string name  = weight->name;
    const size_t      begin = name.find('#');
    if (begin == std::string::npos) {
        return name;
    }
    return name.substr(begin + 1, name.find('#', begin + 1) - begin - 1);
}

static std::string not_finite(const std::string & name) {
    return "the input of `" + name + "` has values that are not finite: the model is damaged, or its type is too narrow "
           "for it (use F32 or BF16)";
}

// Whether a device rearranges what is loaded into buffers of a type, as ggml-cpu does for AMX (AMX) and for its interleaved
// products (CPU_REPACK). llama.cpp then reads the file into memory beside the pages of the file.
static bool is_rearranged(ggml_backend_buffer_type_t type) {
    ggml_backend_dev_t device = ggml_backend_buft_get_device(type);
    if (!device) {
        return false;
    }
    auto * extra_types = (ggml_backend_dev_get_extra_bufts_t) ggml_backend_reg_get_proc_address(
        ggml_backend_dev_backend_reg(device), "ggml_backend_dev_get_extra_bufts");
    for (auto * extra = extra_types ? extra_types(device) : nullptr; extra && *extra; extra++) {
        if (*extra == type) {
            return true;
        }
    }
    return false;
}

collector::collector(std::set<std::string> weights) : weights(std::move(weights)) {}

size_t collector::bytes(const gram_input & input) {
    return gram_matrix::bytes(input.columns, depth(input));
}

void collector::start_window(gram_engine & engine, const std::vector<window_part> & parts) {
    for (const auto & part : parts) {
        const auto & input = inputs[part.input];
        auto &       sums  = window[part.input];
        sums.first         = part.first;
        for (int64_t m = part.first; m <= part.last; m++) {
            sums.matrices.push_back(std::make_unique<gram_matrix>(engine, input.columns, depth(input)));
        }
        last_input = part.input;
    }
}

void collector::end_window(gram_file & file) {
    for (auto & [input, sums] : window) {
        for (size_t i = 0; i < sums.matrices.size(); i++) {
            if (!sums.matrices[i]->flush()) {
                throw std::runtime_error(not_finite(inputs[input].name));
            }
            file.write(input, sums.first + i, *sums.matrices[i]);
        }
    }
    window.clear();
}

void collector::start_graph() {
    cancelled = false;
    known.clear();
    used.clear();
}

bool collector::on_node(ggml_tensor * t, bool ask) {
    if (cancelled && !problem.empty()) {
        return ask; // the graphs of the rest of the batch are cancelled too
    }
    if (cancelled) {
        start_graph(); // the next of a batch that llama.cpp cut
    }
    const ggml_tensor * weight = weight_of(t);
    if (!weight) {
        return !ask;
    }
    const std::string name = weight_name(weight);
    if (discovering) {
        if (ask) {
            discover(name, weight, t);
        }
        return !ask;
    }
    const auto input = owners.find(name);
    if (ask || input == owners.end()) {
        return input != owners.end();
    }
    const auto sums = window.find(input->second);
    if (sums != window.end() && !collect(t, sums->second)) {
        problem   = not_finite(name);
        cancelled = true;
    }
    if (++used[name] == uses[name] && input->second == last_input) {
        cancelled = true;
    }
    return !cancelled;
}

// The weight that a node multiplies, if it is one to be collected for.
const ggml_tensor * collector::weight_of(const ggml_tensor * t) const {
    if (t->op != GGML_OP_MUL_MAT && t->op != GGML_OP_MUL_MAT_ID) {
        return nullptr;
    }
    const ggml_tensor * weight = t->src[0];
    while (weight->view_src) {
        weight = weight->view_src;
    }
    const std::string name = weight_name(weight);
    if (!weights.count(name) || weight->ne[0] != t->src[0]->ne[0] || ggml_is_transposed(t->src[0])) {
        return nullptr;
    }
    return weight;
}

void collector::discover(const std::string & name, const ggml_tensor * weight, const ggml_tensor * t) {
    const auto type = ggml_backend_buffer_get_type(weight->buffer);
    if (is_rearranged(type)) {
        problem   = "`" + name + "` was loaded into a second copy (" + ggml_backend_buft_name(type) + "), which takes memory "
                    "and changes the sums: this is a defect of llama-tenpak-calibrate";
        cancelled = true;
        return;
    }
    if (users.empty()) {
        weight_type = weight->type;
    } else if (weight_type != weight->type) {
        weight_type = GGML_TYPE_COUNT;
    }
    const ggml_tensor * x    = t->src[1];
    const ggml_tensor * ids  = t->op == GGML_OP_MUL_MAT_ID ? t->src[2] : nullptr;
    const ggml_tensor * root = x;
    while (root->view_src) {
        root = root->view_src;
    }
    const int64_t matrices = t->src[0]->ne[2] * t->src[0]->ne[3];
    const auto    key = std::make_tuple((const void *) root, x->view_offs, x->ne[0], x->nb[1], matrices, (const void *) ids);

    // of all matrices a token goes through these; of a weight with three extents through all, in pieces
    const double active = ids ? ids->ne[0] : matrices;
    work_so_far += (double) t->src[0]->ne[0] * t->src[0]->ne[1] * active;

    uses[name] = std::max(uses[name], ++used[name]);
    const auto user = std::find_if(users.begin(), users.end(), [&](const auto & u) { return u.first == name; });
    if (user != users.end()) {
        known.emplace(key, user->second);
        return;
    }
    const auto found = known.emplace(key, name);
    if (found.second) {
        owners[name] = inputs.size();
        inputs.push_back({ name, x->ne[0], matrices });
        model_work.push_back(work_so_far);
        sums_work.push_back(0.5 * x->ne[0] * x->ne[0] * active);
    }
    users.emplace_back(name, found.first->second);
    buffers[ggml_backend_buft_name(type)] += ggml_nbytes(weight);
}

bool collector::collect(const ggml_tensor * t, window_sums & sums) {
    const ggml_tensor * x    = t->src[1];
    const uint8_t *     from = (const uint8_t *) x->data;
    if (!ggml_backend_buffer_is_host(x->view_src ? x->view_src->buffer : x->buffer)) {
        data.resize(ggml_nbytes(x));
        ggml_backend_tensor_get(x, data.data(), 0, data.size());
        from = data.data();
    }
    size_t stride[3] = { x->nb[1], x->nb[2], x->nb[3] };
    if (x->type != GGML_TYPE_F32) {
        widened.resize(ggml_nelements(x));
        float * to = widened.data();
        for (int64_t row = 0; row < ggml_nrows(x); row++, to += x->ne[0]) {
            const int64_t i1 = row % x->ne[1];
            const int64_t i2 = row / x->ne[1] % x->ne[2];
            const int64_t i3 = row / x->ne[1] / x->ne[2];
            ggml_get_type_traits(x->type)->to_float(from + i1 * stride[0] + i2 * stride[1] + i3 * stride[2], to, x->ne[0]);
        }
        from      = (const uint8_t *) widened.data();
        stride[0] = x->ne[0] * sizeof(float);
        stride[1] = x->ne[1] * stride[0];
        stride[2] = x->ne[2] * stride[1];
    }

    // tokens of every matrix of the window
    std::vector<std::vector<const float *>> rows(sums.matrices.size());
    const auto take = [&](int64_t matrix, int64_t i1, int64_t i2, int64_t i3) {
        matrix -= sums.first;
        if (matrix >= 0 && matrix < (int64_t) rows.size()) {
            rows[matrix].push_back((const float *) (from + i1 * stride[0] + i2 * stride[1] + i3 * stride[2]));
        }
    };
    if (t->op == GGML_OP_MUL_MAT_ID) {
        // x: [columns, 1 or experts of a token, tokens]; ids: [experts of a token, tokens]
        const ggml_tensor * ids = t->src[2];
        choice.resize(ggml_nbytes(ids));
        ggml_backend_tensor_get(ids, choice.data(), 0, choice.size());
        for (int64_t token = 0; token < ids->ne[1]; token++) {
            for (int64_t i = 0; i < ids->ne[0]; i++) {
                int32_t expert;
                memcpy(&expert, choice.data() + token * ids->nb[1] + i * ids->nb[0], sizeof(expert));
                take(expert, i % x->ne[1], token, 0);
            }
        }
    } else {
        // slices of x that share a matrix follow one another, as in ggml_mul_mat
        const ggml_tensor * w = t->src[0];
        for (int64_t i3 = 0; i3 < x->ne[3]; i3++) {
            for (int64_t i2 = 0; i2 < x->ne[2]; i2++) {
                const int64_t matrix = i3 / (x->ne[3] / w->ne[3]) * w->ne[2] + i2 / (x->ne[2] / w->ne[2]);
                for (int64_t i1 = 0; i1 < x->ne[1]; i1++) {
                    take(matrix, i1, i2, i3);
                }
            }
        }
    }
    for (size_t m = 0; m < rows.size(); m++) {
        if (!sums.matrices[m]->push(rows[m])) {
            return false;
        }
    }
    return true;
}
