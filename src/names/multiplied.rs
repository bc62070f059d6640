//! The tensors that llama.cpp's graphs multiply activations with, by its names for them. Every ggml type can hold these;
//! what else a graph reads (convolutions, states, positions, mixes of tokens) may have to be floats.

use super::TensorName;

/// Layers of the operations `MUL_MAT` and `MUL_MAT_ID` in llama.cpp's table `LLM_TENSOR_INFOS`, in alphabetical order.
const MULTIPLIED: &[&str] = &[
    "altup_correct_coef",
    "altup_predict_coef",
    "altup_proj",
    "altup_router",
    "altup_unembd_proj",
    "attn_compressor_gate",
    "attn_compressor_kv",
    "attn_conv_proj",
    "attn_gate",
    "attn_k",
    "attn_k_b",
    "attn_kv",
    "attn_kv_a_mqa",
    "attn_kv_b",
    "attn_o",
    "attn_output",
    "attn_output_a",
    "attn_output_b",
    "attn_q",
    "attn_q_a",
    "attn_q_b",
    "attn_qkv",
    "attn_v",
    "attn_v_b",
    "channel_mix_key",
    "channel_mix_receptance",
    "channel_mix_value",
    "cls",
    "cls.output",
    "conf_proj",
    "convnext.pw1",
    "convnext.pw2",
    "cross_attn_k",
    "cross_attn_o",
    "cross_attn_q",
    "cross_attn_v",
    "dense_2",
    "dense_3",
    "fc",
    "ffn_conv_proj",
    "ffn_down",
    "ffn_down_chexps",
    "ffn_down_exps",
    "ffn_down_shexp",
    "ffn_gate",
    "ffn_gate_chexps",
    "ffn_gate_exps",
    "ffn_gate_inp",
    "ffn_gate_inp_shexp",
    "ffn_gate_shexp",
    "ffn_gate_up_exps",
    "ffn_latent_down",
    "ffn_latent_up",
    "ffn_routed_down",
    "ffn_routed_up",
    "ffn_up",
    "ffn_up_chexps",
    "ffn_up_exps",
    "ffn_up_shexp",
    "hc_attn_down",
    "hc_attn_fn",
    "hc_attn_inject",
    "hc_attn_up",
    "hc_ffn_down",
    "hc_ffn_fn",
    "hc_ffn_inject",
    "hc_ffn_up",
    "indexer.attn_k",
    "indexer.attn_q_b",
    "indexer.k_proj",
    "indexer.proj",
    "indexer.q_proj",
    "indexer_compressor_gate",
    "indexer_compressor_kv",
    "inp_gate",
    "laurel_l",
    "laurel_r",
    "markov_w2",
    "nextn.eh_proj",
    "nextn.post_projection",
    "nextn.pre_projection",
    "nextn.shared_head_head",
    "output",
    "output_hc_down",
    "output_hc_fn",
    "output_hc_up",
    "per_layer_model_proj",
    "ple_key",
    "ple_value",
    "posnet.attn_k",
    "posnet.attn_output",
    "posnet.attn_q",
    "posnet.attn_v",
    "proj",
    "selector_hidden",
    "shortconv.in_proj",
    "shortconv.out_proj",
    "ssm_alpha",
    "ssm_ba",
    "ssm_beta",
    "ssm_dt",
    "ssm_f_a",
    "ssm_f_b",
    "ssm_g",
    "ssm_g_a",
    "ssm_g_b",
    "ssm_in",
    "ssm_out",
    "ssm_x",
    "time_mix_a1",
    "time_mix_a2",
    "time_mix_decay_w1",
    "time_mix_decay_w2",
    "time_mix_g1",
    "time_mix_g2",
    "time_mix_gate",
    "time_mix_key",
    "time_mix_output",
    "time_mix_receptance",
    "time_mix_v1",
    "time_mix_v2",
    "time_mix_value",
    "time_mix_w1",
    "time_mix_w2",
    "vis_attn_output",
    "vis_attn_qkv",
    "vis_down",
    "vis_gate",
    "vis_up",
];

/// Embeddings of which graphs take the rows of tokens (`GET_ROWS`), which every type can hold too.
const LOOKED_UP: &[&str] = &["nextn.embed_tokens", "per_layer_token_embd", "token_embd"];

/// Whether llama.cpp multiplies activations with a tensor of this name, or takes the embeddings of tokens from it.
pub fn is_multiplied(name: &str) -> bool {
    let TensorName { layer, .. } = TensorName::parse(name);
    // Numbers within a layer are those of an expert (`ffn_up.7`, in files of before 2024) or of a block (`posnet.0.attn_q`).
    let words = layer.split('.').filter(|word| !word.bytes().all(|b| b.is_ascii_digit()));
    let layer = words.collect::<Vec<_>>().join(".");
    [MULTIPLIED, LOOKED_UP].iter().any(|names| names.binary_search(&&*layer).is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_lists_are_in_order() {
        assert!(MULTIPLIED.is_sorted() && LOOKED_UP.is_sorted());
    }

    #[test]
    fn what_is_multiplied() {
        for name in [
            "token_embd.weight",
            "output.weight",
            "blk.0.attn_q.weight",
            "dec.blk.3.cross_attn_k.weight",
            "blk.7.ffn_up.3.weight",
            "blk.7.ffn_gate_exps.weight",
            "blk.1.nextn.eh_proj.weight",
            "blk.1.ssm_in.weight",
            "posnet.0.attn_q.weight",
        ] {
            assert!(is_multiplied(name), "{name}");
        }
        for name in [
            "blk.1.ssm_conv1d.weight",
            "blk.1.ssm_a",
            "blk.1.time_mix_first.weight",
            "blk.1.shortconv.conv.weight",
            "position_embd.weight",
            "token_types.weight",
            "blk.1.attn_res_score.weight",
            "blk.1.of_the_future.weight",
            "v.blk.0.attn_out.weight",
            "",
        ] {
            assert!(!is_multiplied(name), "{name}");
        }
    }
}
