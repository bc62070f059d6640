//! Matrices that llama.cpp does not quantize, by its names for them: small ones of which much depends.

/// Parts of the names of matrices that llama.cpp's converter writes as F32, whatever the type of the file.
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

/// Parts of the names of further matrices that llama-quantize leaves in the type that they have
/// (`tensor_allows_quantization`).
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

/// Whether the type of a tensor can be chosen. llama.cpp wants all others as F32: vectors, norms, learned positions,
/// convolutions of a few columns, the routing to experts and the like.
pub fn is_matrix(name: &str, shape: &[u64]) -> bool {
    shape.len() > 1 && name.ends_with(".weight") && !is_one_of(PRECISE, name)
}

/// Whether llama-quantize leaves a matrix of this name in the type that it has.
pub fn is_left(name: &str) -> bool {
    is_one_of(LEFT, name)
}

fn is_one_of(parts: &[&str], name: &str) -> bool {
    parts.iter().any(|part| name.contains(part))
}
