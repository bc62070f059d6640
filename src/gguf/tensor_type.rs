//! Tensor types by their ggml number.

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

    /// Name, elements per block and bytes per block, if the type is known.
    fn known(self) -> Option<(&'static str, u64, u64)> {
        if let Some(t) = types::by_id(self.0) {
            return Some((t.name, t.block_len as u64, t.block_bytes as u64));
        }
        UPSTREAM.iter().find(|t| t.0 == self.0).map(|&(_, name, len, bytes)| (name, len, bytes))
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
}

/// (id, name, elements per block, bytes per block) of ggml's own types.
const UPSTREAM: &[(u32, &str, u64, u64)] = &[
    (0, "f32", 1, 4),
    (1, "f16", 1, 2),
    (2, "q4_0", 32, 18),
    (3, "q4_1", 32, 20),
    (6, "q5_0", 32, 22),
    (7, "q5_1", 32, 24),
    (8, "q8_0", 32, 34),
    (9, "q8_1", 32, 36),
    (10, "q2_K", 256, 84),
    (11, "q3_K", 256, 110),
    (12, "q4_K", 256, 144),
    (13, "q5_K", 256, 176),
    (14, "q6_K", 256, 210),
    (15, "q8_K", 256, 292),
    (16, "iq2_xxs", 256, 66),
    (17, "iq2_xs", 256, 74),
    (18, "iq3_xxs", 256, 98),
    (19, "iq1_s", 256, 50),
    (20, "iq4_nl", 32, 18),
    (21, "iq3_s", 256, 110),
    (22, "iq2_s", 256, 82),
    (23, "iq4_xs", 256, 136),
    (24, "i8", 1, 1),
    (25, "i16", 1, 2),
    (26, "i32", 1, 4),
    (27, "i64", 1, 8),
    (28, "f64", 1, 8),
    (29, "iq1_m", 256, 56),
    (30, "bf16", 1, 2),
    (34, "tq1_0", 256, 54),
    (35, "tq2_0", 256, 66),
    (39, "mxfp4", 32, 17),
    (40, "nvfp4", 64, 36),
    (41, "q1_0", 128, 18),
    (42, "q2_0", 64, 18),
];
