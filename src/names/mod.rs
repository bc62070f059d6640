//! What the name of a tensor in a GGUF file says: its role, its block, what it shares its input with, and whether it
//! may be quantized. The names are those of llama.cpp, which are the same for every architecture; nothing else in this
//! crate looks into them.
//!
//! ```text
//! token_embd.weight          embeddings
//! blk.3.attn_q.bias          the bias of the query projection of block 3
//! dec.blk.0.ffn_up.weight    the same layer of a decoder that has an encoder beside it
//! SCOPE.LAYER.SUFFIX
//! ```

mod multiplied;
mod precise;

pub use precise::is_matrix;

/// What a tensor does in a model.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Role {
    /// The embeddings of the tokens.
    Embeddings,
    /// The output head, which gives the logits.
    Head,
    /// A part of the attention.
    Attention(Attention),
    /// The gated or plain layers between two attentions.
    Mlp(Mlp),
    /// The same layers of experts, of which a router chooses a few for each token. All experts are one tensor.
    Experts(Mlp),
    /// The same layers of the experts that see every token.
    SharedExperts(Mlp),
    /// The choice of the experts.
    Router,
    /// The scale of a norm.
    Norm,
    /// What is added to the result of a layer.
    Bias,
    /// Anything else, such as positions, convolutions and state space models.
    Other,
}

/// The matrices of an attention.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Attention {
    /// Queries.
    Query,
    /// Keys.
    Key,
    /// Values.
    Value,
    /// Queries, keys and values in one matrix.
    QueryKeyValue,
    /// From the heads back to the width of the model.
    Output,
    /// Others, such as gates, low-rank factors and attention to an encoder.
    Other,
}

/// The matrices between two attentions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Mlp {
    /// What is multiplied with the result of `Up`, after the activation function.
    Gate,
    /// From the width of the model to the inner width.
    Up,
    /// Gate and up in one matrix.
    GateUp,
    /// Back to the width of the model.
    Down,
}

impl Role {
    /// Every role with its name in recipes. A name stands for itself and for all that go on after it with a dot.
    pub const NAMES: &[(&str, Role)] = &[
        ("embeddings", Role::Embeddings),
        ("head", Role::Head),
        ("attention.q", Role::Attention(Attention::Query)),
        ("attention.k", Role::Attention(Attention::Key)),
        ("attention.v", Role::Attention(Attention::Value)),
        ("attention.qkv", Role::Attention(Attention::QueryKeyValue)),
        ("attention.output", Role::Attention(Attention::Output)),
        ("attention.other", Role::Attention(Attention::Other)),
        ("mlp.gate", Role::Mlp(Mlp::Gate)),
        ("mlp.up", Role::Mlp(Mlp::Up)),
        ("mlp.gate-up", Role::Mlp(Mlp::GateUp)),
        ("mlp.down", Role::Mlp(Mlp::Down)),
        ("experts.gate", Role::Experts(Mlp::Gate)),
        ("experts.up", Role::Experts(Mlp::Up)),
        ("experts.gate-up", Role::Experts(Mlp::GateUp)),
        ("experts.down", Role::Experts(Mlp::Down)),
        ("shared-experts.gate", Role::SharedExperts(Mlp::Gate)),
        ("shared-experts.up", Role::SharedExperts(Mlp::Up)),
        ("shared-experts.gate-up", Role::SharedExperts(Mlp::GateUp)),
        ("shared-experts.down", Role::SharedExperts(Mlp::Down)),
        ("router", Role::Router),
        ("norm", Role::Norm),
        ("bias", Role::Bias),
        ("other", Role::Other),
    ];

    /// The role of a tensor of this name.
    pub fn of(name: &str) -> Role {
        let TensorName { scope, layer, suffix } = TensorName::parse(name);
        if suffix == "bias" {
            return Role::Bias;
        }
        let first = layer.split('.').next().unwrap_or_default();
        match first {
            "token_embd" if scope.is_empty() => return Role::Embeddings,
            "output" if scope.is_empty() => return Role::Head,
            "ffn_gate_inp" | "ffn_gate_inp_shexp" => return Role::Router,
            _ => {}
        }
        if let Some(role) = mlp(layer) {
            return role;
        }
        // Norms are numbered where a block has several: `post_ffw_norm_1`.
        let unnumbered = layer.trim_end_matches(|c: char| c.is_ascii_digit()).trim_end_matches('_');
        if unnumbered.ends_with("norm") {
            return Role::Norm;
        }
        match layer {
            "attn_q" => Role::Attention(Attention::Query),
            "attn_k" => Role::Attention(Attention::Key),
            "attn_v" => Role::Attention(Attention::Value),
            "attn_qkv" => Role::Attention(Attention::QueryKeyValue),
            "attn_output" | "attn_out" | "attn_o" => Role::Attention(Attention::Output),
            _ if name.contains("attn") => Role::Attention(Attention::Other),
            _ => Role::Other,
        }
    }

    /// Its name in recipes.
    pub fn name(self) -> &'static str {
        let found = Role::NAMES.iter().find(|(_, role)| *role == self);
        found.map_or("other", |(name, _)| name)
    }

    /// Whether a name in recipes stands for this role: `attention` does for `attention.q`.
    pub fn is_called(self, name: &str) -> bool {
        let rest = self.name().strip_prefix(name);
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
    }
}

/// The role of a layer between attentions.
fn mlp(layer: &str) -> Option<Role> {
    const PARTS: [(&str, Mlp); 4] =
        [("gate_up", Mlp::GateUp), ("gate", Mlp::Gate), ("up", Mlp::Up), ("down", Mlp::Down)];
    // Files of before 2024 have a tensor for each expert: `ffn_up.7`.
    let (stem, number) = layer.split_once('.').map_or((layer, None), |(stem, number)| (stem, Some(number)));
    let named = |(word, part)| Some((stem.strip_prefix("ffn_")?.strip_prefix(word)?, part));
    let (kind, part) = PARTS.into_iter().find_map(named)?;
    match (kind, number) {
        ("", None) => Some(Role::Mlp(part)),
        ("", Some(number)) if number.bytes().all(|b| b.is_ascii_digit()) => Some(Role::Experts(part)),
        ("_exps" | "_chexps", None) => Some(Role::Experts(part)),
        ("_shexp", None) => Some(Role::SharedExperts(part)),
        _ => None,
    }
}

/// Whether llama.cpp multiplies activations with a tensor of this name, or takes the embeddings of tokens from it.
pub fn is_multiplied(name: &str) -> bool {
    multiplied::is_multiplied(TensorName::parse(name).layer)
}

/// Whether the type of a tensor can be chosen, and may be one of few bits: that of a matrix which graphs multiply with.
/// Tensors of names that are not known stay floats.
pub fn is_quantizable(name: &str, shape: &[u64]) -> bool {
    is_quantizable_again(name, shape) && is_multiplied(name)
}

/// The same of a tensor that is quantized already, of which graphs can have few bits therefore, whatever its name.
pub fn is_quantizable_again(name: &str, shape: &[u64]) -> bool {
    // ggml counts no extents of 1 at the end, so that a matrix of one row is a vector to it.
    is_matrix(name, shape) && shape[1..].iter().any(|&n| n != 1) && !precise::is_left(name)
}

/// The parts of a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TensorName<'a> {
    /// The block with all that stands before its number, `blk.3` or `dec.blk.3`; empty outside of blocks.
    pub scope: &'a str,
    /// The layer within its block: `attn_q`.
    pub layer: &'a str,
    /// What it is of its layer: `weight`, `bias`, or nothing.
    pub suffix: &'a str,
}

impl TensorName<'_> {
    /// Takes a name apart.
    pub fn parse(name: &str) -> TensorName<'_> {
        let (scope, rest) = split_scope(name).unwrap_or(("", name));
        let (layer, suffix) = rest.rsplit_once('.').unwrap_or((rest, ""));
        TensorName { scope, layer, suffix }
    }
}

/// The scope of a tensor of a block, and the rest of its name.
fn split_scope(name: &str) -> Option<(&str, &str)> {
    let number = if name.starts_with("blk.") { 4 } else { name.find(".blk.")? + 5 };
    let end = number + name[number..].find('.')?;
    let is_number = name[number..end].parse::<u64>().is_ok();
    is_number.then(|| (&name[..end], &name[end + 1..]))
}

/// The number of the block that a tensor belongs to, and the rest of its name: `ffn_down.weight` of block 3. Only the
/// language model's own blocks count, not those of an encoder beside it or of another tower.
pub fn in_block(name: &str) -> Option<(u64, &str)> {
    let (number, rest) = name.strip_prefix("blk.")?.split_once('.')?;
    Some((number.parse().ok()?, rest))
}

/// The number of the block that a tensor belongs to; see [`in_block`].
pub fn block(name: &str) -> Option<u64> {
    in_block(name).map(|(number, _)| number)
}

/// Number of blocks of a model whose tensors have these names.
pub fn block_count<'a>(names: impl IntoIterator<Item = &'a str>) -> u64 {
    names.into_iter().filter_map(block).max().map_or(0, |last| last.saturating_add(1))
}

/// What a tensor is multiplied with: tensors of equal shared inputs read the same vector. Types are best chosen for all
/// of them together, and what is measured of their input serves them all.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct SharedInput<'a> {
    /// The scope of the block; see [`TensorName`].
    pub scope: &'a str,
    /// Which of the inputs of the block it is.
    pub input: Input,
}

/// Inputs of a block that several tensors read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Input {
    /// What queries, keys and values are made of.
    Attention,
    /// What gate and up, the router and the shared experts see.
    Mlp,
    /// What gate and up of an expert see: those tokens of [`Input::Mlp`] that the router sends there.
    Experts,
}

impl SharedInput<'_> {
    /// The input of a weight that others read as well; `None` for weights that have theirs to themselves.
    pub fn of(name: &str) -> Option<SharedInput<'_>> {
        let input = match Role::of(name) {
            Role::Attention(
                Attention::Query | Attention::Key | Attention::Value | Attention::QueryKeyValue,
            ) => Input::Attention,
            Role::Experts(Mlp::Gate | Mlp::Up | Mlp::GateUp) => Input::Experts,
            Role::Router
            | Role::Mlp(Mlp::Gate | Mlp::Up | Mlp::GateUp)
            | Role::SharedExperts(Mlp::Gate | Mlp::Up | Mlp::GateUp) => Input::Mlp,
            _ => return None,
        };
        Some(SharedInput { scope: TensorName::parse(name).scope, input })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn roles_of_names() {
        for (name, role) in [
            ("token_embd.weight", "embeddings"),
            ("token_embd_norm.weight", "norm"),
            ("output.weight", "head"),
            ("output_norm.weight", "norm"),
            ("blk.11.attn_q.weight", "attention.q"),
            ("blk.11.attn_k.bias", "bias"),
            ("blk.0.attn_qkv.weight", "attention.qkv"),
            ("v.blk.0.attn_out.weight", "attention.output"),
            ("enc.blk.0.attn_o.weight", "attention.output"),
            ("blk.0.attn_kv_a_mqa.weight", "attention.other"),
            ("dec.blk.7.cross_attn_k.weight", "attention.other"),
            ("blk.0.attn_q_norm.weight", "norm"),
            ("blk.0.attn_norm_2.weight", "norm"),
            ("blk.0.ffn_gate.weight", "mlp.gate"),
            ("blk.0.ffn_up.7.weight", "experts.up"),
            ("blk.0.ffn_up.act", "mlp.up"),
            ("blk.0.ffn_gate_up_exps.weight", "experts.gate-up"),
            ("blk.0.ffn_down_exps.weight", "experts.down"),
            ("blk.0.ffn_up_shexp.weight", "shared-experts.up"),
            ("blk.0.ffn_gate_inp.weight", "router"),
            ("blk.0.ffn_gate_tid2eid.weight", "other"),
            ("blk.0.ffn_latent_up.weight", "other"),
            ("rope_freqs.weight", "other"),
            ("position_embd.weight", "other"),
            ("", "other"),
        ] {
            assert_eq!(Role::of(name).name(), role, "{name}");
        }
    }

    #[test]
    fn names_of_roles_are_one_each() {
        for (name, role) in Role::NAMES {
            assert_eq!(role.name(), *name);
            assert!(role.is_called(name));
        }
        let query = Role::of("blk.0.attn_q.weight");
        assert!(query.is_called("attention") && !query.is_called("attention.qkv") && !query.is_called("att"));
    }

    #[test]
    fn parts_of_names() {
        let parse = |name| {
            let TensorName { scope, layer, suffix } = TensorName::parse(name);
            (scope, layer, suffix)
        };
        assert_eq!(parse("blk.3.ffn_down.weight"), ("blk.3", "ffn_down", "weight"));
        assert_eq!(parse("dec.blk.12.attn_q.bias"), ("dec.blk.12", "attn_q", "bias"));
        assert_eq!(parse("blk.x.attn_q.weight"), ("", "blk.x.attn_q", "weight"));
        assert_eq!(parse("output.weight"), ("", "output", "weight"));
        assert_eq!(parse("blk.3."), ("blk.3", "", ""));
        assert_eq!(in_block("blk.3.ffn_down.weight"), Some((3, "ffn_down.weight")));
        assert_eq!((block("dec.blk.3.ffn_down.weight"), block("blk.x.y")), (None, None));
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
            assert!(is_quantizable(name, &[256, 4]), "{name}");
        }
        for name in ["blk.1.attn_res_score.weight", "blk.1.of_the_future.weight", "v.blk.0.attn_out.weight"] {
            assert!(!is_quantizable(name, &[256, 4]), "{name}");
            assert!(is_quantizable_again(name, &[256, 4]), "{name}");
        }
        for name in [
            "blk.1.ssm_conv1d.weight",
            "blk.1.ssm_a",
            "blk.1.time_mix_first.weight",
            "blk.1.shortconv.conv.weight",
            "position_embd.weight",
            "token_types.weight",
            "",
        ] {
            assert!(!is_multiplied(name) && !is_quantizable_again(name, &[256, 4]), "{name}");
        }
    }

    #[test]
    fn inputs_are_shared_within_a_block() {
        let group = SharedInput::of;
        let attention = group("blk.3.attn_q.weight");
        assert!(attention.is_some() && attention == group("blk.3.attn_v.weight"));
        assert_ne!(attention, group("blk.4.attn_v.weight"));
        assert_ne!(group("enc.blk.3.attn_q.weight"), group("dec.blk.3.attn_q.weight"));
        assert_eq!(group("blk.3.ffn_gate.weight"), group("blk.3.ffn_up.weight"));
        assert_eq!(group("blk.3.ffn_up_shexp.weight"), group("blk.3.ffn_gate_inp.weight"));
        assert_ne!(group("blk.3.ffn_gate_exps.weight"), group("blk.3.ffn_gate_inp.weight"));
        for alone in ["blk.3.attn_output.weight", "blk.3.ffn_down.weight", "token_embd.weight"] {
            assert_eq!(group(alone), None);
        }
    }
}
