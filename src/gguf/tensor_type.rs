//! Tensor types by their ggml number.

use super::dequantize::*;
use crate::types;

/// A ggml tensor type id; any number is allowed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct GgmlType(pub u32);

impl GgmlType {
    /// 32-bit float.
    pub const F32: GgmlType = GgmlType(0);
    /// 16-bit float.
    pub const F16: GgmlType = GgmlType(1);
    /// bfloat16.
    pub const BF16: GgmlType = GgmlType(30);
    /// FP4 with a power of two for every 32.
    pub const MXFP4: GgmlType = GgmlType(39);
    /// 64-bit float.
    pub const F64: GgmlType = GgmlType(28);

    /// What is known of the type, if it is ggml's own.
    fn upstream(self) -> Option<&'static Upstream> {
        UPSTREAM.iter().find(|t| t.id == self.0)
    }

    /// Name, elements per block and bytes per block, if the type is known.
    fn known(self) -> Option<(&'static str, u64, u64)> {
        if let Some(t) = types::by_id(self.0) {
            return Some((t.name, t.block_len as u64, t.block_bytes as u64));
        }
        self.upstream().map(|t| (t.name, t.block_len, t.block_bytes))
    }

    /// The name, or `type N`.
    pub fn name(self) -> String {
        self.known().map_or_else(|| format!("type {}", self.0), |(name, ..)| name.to_owned())
    }

    /// Elements per block, if the type is known.
    pub fn block_len(self) -> Option<u64> {
        self.known().map(|(_, len, _)| len)
    }

    /// Bytes of `n` elements; `None` if the type is unknown or `n` is not whole blocks.
    pub fn bytes(self, n: u64) -> Option<u64> {
        let (_, len, bytes) = self.known()?;
        n.is_multiple_of(len).then(|| n / len * bytes)
    }

    /// What decodes whole blocks, of a type that weights are quantized in: ggml's, to the bit, and ours.
    pub fn dequantizer(self) -> Option<Dequantize> {
        match types::by_id(self.0) {
            Some(t) => t.kernels().map(|kernels| kernels.dequantize),
            None => self.upstream()?.dequantize,
        }
    }

    /// Whether elements are numbers that no weights are, such as the ids of a table.
    pub fn is_plain_number(self) -> bool {
        self.block_len() == Some(1) && ![GgmlType::F32, GgmlType::F16, GgmlType::BF16].contains(&self)
    }
}

/// A type of ggml's own.
struct Upstream {
    id: u32,
    name: &'static str,
    block_len: u64,
    block_bytes: u64,
    dequantize: Option<Dequantize>,
}

const fn number(id: u32, name: &'static str, bytes: u64) -> Upstream {
    Upstream { id, name, block_len: 1, block_bytes: bytes, dequantize: None }
}

/// A type that activations are quantized to while a model runs; files have none.
const fn activations(id: u32, name: &'static str, block_len: u64, block_bytes: u64) -> Upstream {
    Upstream { id, name, block_len, block_bytes, dequantize: None }
}

const fn weights<B: Block>(id: u32, name: &'static str) -> Upstream {
    let (block_len, block_bytes) = (B::LEN as u64, size_of::<B>() as u64);
    Upstream { id, name, block_len, block_bytes, dequantize: Some(dequantize::<B>) }
}

/// `ggml_type` of ggml.h.
const UPSTREAM: &[Upstream] = &[
    number(0, "f32", 4),
    number(1, "f16", 2),
    weights::<BlockQ4_0>(2, "q4_0"),
    weights::<BlockQ4_1>(3, "q4_1"),
    weights::<BlockQ5_0>(6, "q5_0"),
    weights::<BlockQ5_1>(7, "q5_1"),
    weights::<BlockQ8_0>(8, "q8_0"),
    activations(9, "q8_1", 32, 36),
    weights::<BlockQ2K>(10, "q2_K"),
    weights::<BlockQ3K>(11, "q3_K"),
    weights::<BlockQ4K>(12, "q4_K"),
    weights::<BlockQ5K>(13, "q5_K"),
    weights::<BlockQ6K>(14, "q6_K"),
    activations(15, "q8_K", 256, 292),
    weights::<BlockIq2Xxs>(16, "iq2_xxs"),
    weights::<BlockIq2Xs>(17, "iq2_xs"),
    weights::<BlockIq3Xxs>(18, "iq3_xxs"),
    weights::<BlockIq1S>(19, "iq1_s"),
    weights::<BlockIq4Nl>(20, "iq4_nl"),
    weights::<BlockIq3S>(21, "iq3_s"),
    weights::<BlockIq2S>(22, "iq2_s"),
    weights::<BlockIq4Xs>(23, "iq4_xs"),
    number(24, "i8", 1),
    number(25, "i16", 2),
    number(26, "i32", 4),
    number(27, "i64", 8),
    number(28, "f64", 8),
    weights::<BlockIq1M>(29, "iq1_m"),
    number(30, "bf16", 2),
    weights::<BlockTq1_0>(34, "tq1_0"),
    weights::<BlockTq2_0>(35, "tq2_0"),
    weights::<BlockMxfp4>(39, "mxfp4"),
    weights::<BlockNvfp4>(40, "nvfp4"),
    weights::<BlockQ1_0>(41, "q1_0"),
    weights::<BlockQ2_0>(42, "q2_0"),
];
