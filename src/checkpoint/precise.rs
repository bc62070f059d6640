//! Matrices that are no place to save bits, by the names that llama.cpp has for them: small, and decisive.

/// What llama.cpp's converter writes as F32 whatever the type of the file, by a part of the name.
const PRECISE: &[&str] = &[
    "_norm.weight",
    "position_embd.weight",
    "token_types.weight",
    "ffn_gate_inp.weight",
    "ffn_gate_inp_shexp.weight",
    "ssm_conv1d",
    "shortconv.conv.weight",
    "time_mix_first.weight",
    "time_mix_w1.weight",
    "time_mix_w2.weight",
    "time_mix_decay_w1.weight",
    "time_mix_decay_w2.weight",
    "time_mix_lerp_fused.weight",
    "altup_correct_coef.weight",
    "altup_predict_coef.weight",
    "indexer.proj.weight",
];

/// What llama-quantize leaves in the type that it has, besides (`tensor_allows_quantization`).
const LEFT: &[&str] = &[
    "altup",
    "laurel",
    "per_layer_model_proj",
    "indexer.k_proj.weight",
    "indexer.q_proj.weight",
    "time_mix_w0.weight",
    "time_mix_v0.weight",
    "time_mix_v1.weight",
    "time_mix_v2.weight",
    "time_mix_a0.weight",
    "time_mix_a1.weight",
    "time_mix_a2.weight",
    "time_mix_g1.weight",
    "time_mix_g2.weight",
    "attn_rel_b.weight",
    ".position_embd",
    "sam.pos_embd",
    "sam.neck.",
    "sam.net_",
    ".rel_pos",
    ".patch_embd",
    ".patch_merger",
    "a.rvq.codebook",
    "mm.a.code_embd",
];

/// Whether a tensor is stored in a chosen type: llama.cpp wants vectors, norms, learned positions, convolutions of a
/// few columns, the routing to experts and the like as F32.
pub fn is_matrix(name: &str, shape: &[u64]) -> bool {
    shape.len() > 1 && name.ends_with(".weight") && !is_one_of(PRECISE, name)
}

/// Whether that type may be one of few bits.
pub fn is_quantizable(name: &str, shape: &[u64]) -> bool {
    // To ggml, extents of 1 at the end are none.
    is_matrix(name, shape) && shape[1..].iter().any(|&n| n != 1) && !is_one_of(LEFT, name)
}

fn is_one_of(parts: &[&str], name: &str) -> bool {
    parts.iter().any(|part| name.contains(part))
}
