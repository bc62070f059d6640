//! Makes a model of a known shape with made-up weights, to measure speed with: gigabytes are there in seconds, and
//! llama.cpp loads them as it loads any Llama. Blocks hold random codes with scales that a trained model has.
//!
//! ```text
//! cargo run --release --example synthetic_model SHAPE MIX OUT.gguf
//! ```
//!
//! MIX is a type of ours with blocks of 256 (`t3`, `o4`: all matrices of the blocks; embeddings and head as in `q4_k_m`), or a
//! mix that llama-quantize makes with an importance matrix (`q4_k_m`, `iq3_xxs`, `q4_0`). Rows that 256 does not divide get the
//! types that the converter and llama-quantize fall back to. Prints the bytes of weights that one token reads.

use std::collections::HashMap;
use std::path::Path;
use tenpak_gguf::gguf::{GgmlType, TensorHeader, Value, Writer};
use tenpak_gguf::types;

#[path = "../tests/support/random.rs"]
#[allow(dead_code, reason = "only bytes are random here")]
mod random;

struct Shape {
    name: &'static str,
    embedding: u64,
    feed_forward: u64,
    blocks: u64,
    heads: u64,
    kv_heads: u64,
    vocabulary: u64,
    /// Whether the embeddings are the head too.
    tied: bool,
    /// How many experts there are and how many of them a token uses; 0 in a dense model.
    experts: (u64, u64),
}

const fn shape(name: &'static str, sizes: [u64; 6], tied: bool, experts: (u64, u64)) -> Shape {
    let [embedding, feed_forward, blocks, heads, kv_heads, vocabulary] = sizes;
    Shape { name, embedding, feed_forward, blocks, heads, kv_heads, vocabulary, tied, experts }
}

const SHAPES: &[Shape] = &[
    shape("llama-8b", [4096, 14336, 32, 32, 8, 128256], false, (0, 0)),
    shape("llama-1b", [2048, 8192, 16, 32, 8, 128256], true, (0, 0)),
    shape("smollm2", [576, 1536, 30, 9, 3, 49152], true, (0, 0)),
    shape("moe", [2048, 3584, 16, 32, 8, 32000], false, (8, 2)),
    // For tests of scripts: two blocks.
    shape("tiny", [256, 512, 2, 4, 2, 1024], true, (0, 0)),
    shape("tiny-moe", [256, 512, 2, 4, 2, 1024], false, (8, 2)),
];

const OURS: &[&str] = &["t2", "t25", "t3", "t35", "t4", "t5", "o4", "o4x2", "o3", "o3x2", "s34", "s24"];
const PEERS: &[&str] = &["q4_k_m", "iq3_xxs", "q4_0"];

/// The root mean square of the weights.
const RMS: f32 = 0.02;

/// What slots add to their weights, 0.1 as a half.
const OUTLIER: u16 = 0x2e66;

/// Bytes of random blocks that a tensor repeats: too many for a processor's first caches.
const STRETCH: usize = 4 << 20;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [shape, mix, out] = &args[..] else { return Err(usage().into()) };
    let shape = SHAPES.iter().find(|s| s.name == shape).ok_or_else(usage)?;
    let mix = mixes().find(|m| *m == mix).ok_or_else(usage)?;

    let tensors = tensors(shape, mix)?;
    let read: u64 = tensors.iter().map(|t| read_by_a_token(shape, t)).sum();
    let mut stretches = HashMap::new();
    let mut writer = Writer::create(Path::new(out), &keys(shape, mix), tensors.clone())?;
    for t in tensors {
        let stretch = stretches.entry(t.kind).or_insert_with(|| random_blocks(t.kind));
        let mut left = t.bytes as usize;
        while left > 0 {
            let piece = left.min(stretch.len());
            writer.write(&stretch[..piece])?;
            left -= piece;
        }
    }
    writer.finish()?;
    println!("{read}");
    Ok(())
}

fn mixes() -> impl Iterator<Item = &'static str> {
    OURS.iter().chain(PEERS).copied()
}

fn usage() -> String {
    let shapes: Vec<&str> = SHAPES.iter().map(|s| s.name).collect();
    format!(
        "give SHAPE MIX OUT.gguf, SHAPE one of {}, MIX one of {}",
        shapes.join(", "),
        mixes().collect::<Vec<_>>().join(", ")
    )
}

fn keys(shape: &Shape, mix: &str) -> Vec<(String, Value)> {
    let numbers = [
        ("context_length", 8192),
        ("vocab_size", shape.vocabulary),
        ("embedding_length", shape.embedding),
        ("block_count", shape.blocks),
        ("feed_forward_length", shape.feed_forward),
        ("attention.head_count", shape.heads),
        ("attention.head_count_kv", shape.kv_heads),
        ("rope.dimension_count", shape.embedding / shape.heads),
        ("expert_count", shape.experts.0),
        ("expert_used_count", shape.experts.1),
    ];
    let text = |key: &str, value: String| (key.to_owned(), Value::String(value));
    let mut keys = vec![
        text("general.architecture", "llama".into()),
        text("general.name", format!("synthetic {} {mix}", shape.name)),
        ("llama.attention.layer_norm_rms_epsilon".into(), Value::F32(1e-5)),
        text("tokenizer.ggml.model", "no_vocab".into()),
    ];
    keys.extend(numbers.map(|(key, n)| (format!("llama.{key}"), Value::U32(n as u32))));
    keys
}

/// The tensors of a Llama, in the order of llama.cpp's files.
fn tensors(shape: &Shape, mix: &'static str) -> Result<Vec<TensorHeader>, String> {
    let (d, ff, experts) = (shape.embedding, shape.feed_forward, shape.experts.0);
    let kv = d / shape.heads * shape.kv_heads;
    let mut all = Vec::new();
    let mut add = |name: String, extents: &[u64], kind: &str| {
        let kind = by_name(kind)?;
        let bytes = kind
            .bytes(extents.iter().product())
            .ok_or_else(|| format!("tensor `{name}`: no whole blocks"))?;
        all.push(TensorHeader { name, shape: extents.to_vec(), kind, bytes });
        Ok::<(), String>(())
    };
    add("token_embd.weight".into(), &[d, shape.vocabulary], embeddings(shape, mix))?;
    for block in 0..shape.blocks {
        let mut layer = |layer: &str, extents: &[u64]| {
            let kind = if extents.len() == 1 || layer == "ffn_gate_inp" {
                "f32"
            } else {
                fitting(in_block(shape, mix, layer, block), extents[0])
            };
            add(format!("blk.{block}.{layer}.weight"), extents, kind)
        };
        layer("attn_norm", &[d])?;
        layer("attn_q", &[d, d])?;
        layer("attn_k", &[d, kv])?;
        layer("attn_v", &[d, kv])?;
        layer("attn_output", &[d, d])?;
        layer("ffn_norm", &[d])?;
        if experts == 0 {
            layer("ffn_gate", &[d, ff])?;
            layer("ffn_down", &[ff, d])?;
            layer("ffn_up", &[d, ff])?;
        } else {
            layer("ffn_gate_inp", &[d, experts])?;
            layer("ffn_gate_exps", &[d, ff, experts])?;
            layer("ffn_down_exps", &[ff, d, experts])?;
            layer("ffn_up_exps", &[d, ff, experts])?;
        }
    }
    add("output_norm.weight".into(), &[d], "f32")?;
    if !shape.tied {
        add("output.weight".into(), &[d, shape.vocabulary], head(shape, mix))?;
    }
    Ok(all)
}

/// The bytes of a tensor that one token reads: of the embeddings a row, which is nothing, unless they are the head.
fn read_by_a_token(shape: &Shape, t: &TensorHeader) -> u64 {
    match &t.name[..] {
        "token_embd.weight" if !shape.tied => 0,
        name if name.ends_with("_exps.weight") => t.bytes / shape.experts.0 * shape.experts.1,
        _ => t.bytes,
    }
}

/// llama-quantize's type for embeddings (`llama_tensor_get_type_impl` of llama-quant.cpp, as all below).
fn embeddings(shape: &Shape, mix: &str) -> &'static str {
    match mix {
        _ if shape.tied => head(shape, mix),
        "iq3_xxs" => "iq3_s",
        "q4_0" => "q4_0",
        _ => "q4_K",
    }
}

fn head(shape: &Shape, mix: &str) -> &'static str {
    match mix {
        _ if !shape.embedding.is_multiple_of(256) => "q8_0",
        "iq3_xxs" => "q5_K",
        _ => "q6_K",
    }
}

/// The type of a matrix whose rows 256 divides.
fn in_block(shape: &Shape, mix: &'static str, layer: &str, block: u64) -> &'static str {
    let n = shape.blocks;
    let more_bits = block < n / 8 || block >= 7 * n / 8 || (block - n / 8) % 3 == 2;
    let eight_experts = shape.experts.0 == 8;
    match (mix, layer) {
        _ if OURS.contains(&mix) => mix,
        (_, "attn_k" | "attn_v") if eight_experts => "q8_0",
        ("q4_k_m" | "iq3_xxs", "attn_output") if eight_experts => "q5_K",
        ("q4_k_m", "attn_v" | "ffn_down" | "ffn_down_exps") if more_bits => "q6_K",
        ("q4_k_m", _) => "q4_K",
        ("iq3_xxs", "attn_v") if shape.heads / shape.kv_heads >= 4 => "q4_K",
        ("iq3_xxs", "attn_q" | "attn_k") => "iq2_s",
        ("iq3_xxs", "attn_output") => "iq3_s",
        ("q4_0", "ffn_down" | "ffn_down_exps") if block < n / 8 => "q4_1",
        _ => mix,
    }
}

/// The type itself, or what stands in for it where 256 does not divide the columns.
fn fitting(kind: &'static str, columns: u64) -> &'static str {
    match kind {
        _ if columns.is_multiple_of(256) => kind,
        "t2" => "t2_64",
        "t25" => "t25_64",
        "t3" => "t3_64",
        "t35" => "t35_64",
        "t5" => "t5_64",
        "t4" => "t4_64",
        "o4" | "o4x2" | "s34" => "t4_64",
        "o3" | "o3x2" | "s24" => "t3_64",
        "iq2_s" | "iq3_xxs" | "iq3_s" => "iq4_nl",
        "q4_K" => "q5_0",
        "q5_K" => "q5_1",
        "q6_K" => "q8_0",
        _ => kind,
    }
}

fn by_name(name: &str) -> Result<GgmlType, String> {
    let found = (0..types::REGISTRY[0].id + 64).map(GgmlType).find(|t| t.name() == name);
    found.ok_or_else(|| format!("no type `{name}`"))
}

/// Blocks of random codes, scaled to weights with the root mean square [`RMS`]; ones of a type without blocks.
fn random_blocks(kind: GgmlType) -> Vec<u8> {
    if kind == GgmlType::F32 {
        return std::iter::repeat_n(1f32.to_le_bytes(), STRETCH / 4).flatten().collect();
    }
    let len = kind.block_len().expect("a type from `by_name`") as usize;
    let bytes = kind.bytes(len as u64).expect("whole blocks") as usize;
    let count = STRETCH / bytes;
    let mut blocks = random::Random(u64::from(kind.0)).bytes(count * bytes);
    let set = |blocks: &mut [u8], scale: u16| {
        for block in blocks.chunks_exact_mut(bytes) {
            set_scale(kind, block, scale);
        }
    };
    let sample = 64.min(count);
    let error = |scale: &u16| {
        let mut some = blocks[..sample * bytes].to_vec();
        set(&mut some, *scale);
        let mut values = vec![0f32; sample * len];
        kind.dequantizer().expect("a type of weights")(&some, &mut values);
        let square: f32 = values.iter().map(|v| v * v).sum();
        ((square / values.len() as f32).sqrt().ln() - RMS.ln()).abs()
    };
    let best = scales(kind).min_by(|a, b| error(a).total_cmp(&error(b))).expect("there are scales");
    set(&mut blocks, best);
    blocks
}

/// Scales to choose from: all 8-bit codes of ours, one in 64 of the positive halves below 1.
fn scales(kind: GgmlType) -> Box<dyn Iterator<Item = u16>> {
    if types::by_id(kind.0).is_some() { Box::new(1..256) } else { Box::new((0x0400..0x3c00).step_by(64)) }
}

/// Puts the scale where the type has it, and outliers into slots; the minimum of those with one gets a value that centres the weights.
fn set_scale(kind: GgmlType, block: &mut [u8], scale: u16) {
    if types::by_id(kind.0).is_some() {
        block[0] = scale as u8;
        let name = kind.name();
        let slots = if name.ends_with("x2") { 2 } else { usize::from(name.starts_with('o')) };
        for slot in block[1..][..3 * slots].chunks_exact_mut(3) {
            slot[1..].copy_from_slice(&OUTLIER.to_le_bytes());
        }
        return;
    }
    let half =
        |block: &mut [u8], at: usize, value: u16| block[at..at + 2].copy_from_slice(&value.to_le_bytes());
    // The exponent of a half begins at bit 10.
    let times_power_of_two = |power: i32| (i32::from(scale) + (power << 10)).clamp(0, 0x7bff) as u16;
    match &kind.name()[..] {
        "q6_K" => half(block, 208, scale),
        name => {
            half(block, 0, scale);
            // Minima are subtracted in k-quants (d q - dmin m, with m as large as the scales), added elsewhere.
            match name {
                "q4_K" => half(block, 2, times_power_of_two(3)),
                "q5_K" => half(block, 2, times_power_of_two(4)),
                "q4_1" => half(block, 2, times_power_of_two(3) | 0x8000),
                "q5_1" => half(block, 2, times_power_of_two(4) | 0x8000),
                _ => {}
            }
        }
    }
}
