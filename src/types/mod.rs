//! The tensor types: what a block of each is, and its kernels.
//!
//! [`REGISTRY`] is the one list of types. Everything that needs all of them (the C header, the converter,
//! `tenpak-gguf types`, tests) reads it from here. docs/adding-a-type.md tells how to add one.

pub mod codes4;
#[cfg(feature = "converter")]
pub mod feedback;
#[cfg(target_arch = "aarch64")]
mod sdot;
pub mod trellis;

use codes4::layout::{BlockG4, BlockNf4, Codes4};
#[cfg(feature = "converter")]
use feedback::Calibrated;
use trellis::layout::*;

/// A ggml tensor type of ours.
#[derive(Debug)]
pub struct TensorType {
    /// ggml type id, as in files.
    pub id: u32,
    /// Name in ggml and on the command line.
    pub name: &'static str,
    /// Weights per block; a row is a whole number of blocks.
    pub block_len: usize,
    /// Bytes per block.
    pub block_bytes: usize,
    /// What it is for.
    pub role: Role,
}

/// What a tensor type is for.
#[derive(Debug)]
pub enum Role {
    /// Stored in files.
    Weight {
        /// The type that its rows are multiplied with.
        activation: &'static TensorType,
        /// One line for people.
        about: &'static str,
        /// What runs a model.
        kernels: Kernels,
        /// Makes a quantizer of rows without calibration.
        quantizer: fn() -> Box<dyn RowQuantizer>,
        /// What the calibrated quantizer needs.
        #[cfg(feature = "converter")]
        calibrated: Calibrated,
    },
    /// Made while a model runs, from rows of f32.
    Activation {
        /// Quantizes a row.
        quantize: fn(&[f32], &mut [u8]),
    },
}

/// Multiplies rows of weights with columns, rows of activations, into `out[column][row]`.
pub type Multiply = fn(rows: &[&[u8]], columns: &[&[u8]], out: &mut [&mut [f32]]);

/// Kernels over whole rows, at the level of [`crate::isa::Isa::current`]. Lengths are checked.
#[derive(Clone, Copy, Debug)]
pub struct Kernels {
    /// Dot products of rows of weights that follow each other and one row of activations.
    pub dot_rows: fn(w: &[u8], a: &[u8], out: &mut [f32]),
    /// Products with many columns, the same results as `dot_rows` of each.
    pub multiply: Multiply,
    /// Weights of a row.
    pub dequantize: fn(&[u8], &mut [f32]),
}

/// Columns that a row is multiplied with while it is decoded.
const COLUMNS: usize = 16;

/// Multiplies row after row: `dots` writes the products of a row and some columns.
fn multiply_rows<W: Copy, A>(
    rows: &[W],
    columns: &[A],
    out: &mut [&mut [f32]],
    dots: impl Fn(W, &[A], &mut [f32]),
) {
    let mut products = [0.0; COLUMNS];
    for (r, &w) in rows.iter().enumerate() {
        for (columns, out) in columns.chunks(COLUMNS).zip(out.chunks_mut(COLUMNS)) {
            dots(w, columns, &mut products[..columns.len()]);
            for (out, product) in out.iter_mut().zip(products) {
                out[r] = product;
            }
        }
    }
}

/// Quantizes rows of whole blocks; owns scratch memory.
pub trait RowQuantizer: Send {
    /// Quantizes `x`; values that are not finite count as zero.
    ///
    /// # Panics
    /// If `out` is not as long as the blocks of `x`.
    fn quantize(&mut self, x: &[f32], out: &mut [u8]);
}

impl TensorType {
    /// Bits per weight.
    pub fn bpw(&self) -> f64 {
        self.block_bytes as f64 * 8.0 / self.block_len as f64
    }

    /// Bytes of `n` weights, if they are whole blocks.
    pub fn row_bytes(&self, n: usize) -> Option<usize> {
        n.is_multiple_of(self.block_len).then(|| n / self.block_len * self.block_bytes)
    }

    /// The kernels, of a weight type.
    pub fn kernels(&self) -> Option<Kernels> {
        match self.role {
            Role::Weight { kernels, .. } => Some(kernels),
            Role::Activation { .. } => None,
        }
    }

    /// A quantizer of rows without calibration, of a weight type.
    pub fn quantizer(&self) -> Option<Box<dyn RowQuantizer>> {
        match self.role {
            Role::Weight { quantizer, .. } => Some(quantizer()),
            Role::Activation { .. } => None,
        }
    }

    /// What the calibrated quantizer needs, of a weight type.
    #[cfg(feature = "converter")]
    pub fn calibrated(&self) -> Option<Calibrated> {
        match self.role {
            Role::Weight { calibrated, .. } => Some(calibrated),
            Role::Activation { .. } => None,
        }
    }
}

/// The type with the given id.
pub fn by_id(id: u32) -> Option<&'static TensorType> {
    REGISTRY.iter().copied().find(|t| t.id == id)
}

/// The type with the given name.
pub fn by_name(name: &str) -> Option<&'static TensorType> {
    REGISTRY.iter().copied().find(|t| t.name == name)
}

/// Makes [`REGISTRY`] and a macro that runs over the same list.
macro_rules! registry {
    (
        weights { $($weight:ident, $wname:ident, $wid:literal, $block:ty, $act:ident, $about:literal;)* }
        activations { $($activation:ident, $aname:ident, $aid:literal, $like:ty;)* }
        imports { $($import:ident, $iname:ident, $iid:literal, $iblock:ty, $iabout:literal;)* }
        import_activations { $($q8:ident, $qname:ident, $qid:literal;)* }
    ) => {
        $(
            #[doc = $about]
            pub static $weight: TensorType = TensorType {
                id: $wid,
                name: stringify!($wname),
                block_len: <$block as Trellis>::LEN,
                block_bytes: size_of::<$block>(),
                role: Role::Weight {
                    activation: &$act,
                    about: $about,
                    kernels: trellis::kernels::<$block>(),
                    quantizer: trellis::search::quantize::quantizer::<$block>,
                    #[cfg(feature = "converter")]
                    calibrated: trellis::search::calibrated::calibrated::<$block>(),
                },
            };
        )*
        $(
            #[doc = concat!("Activations for weights in blocks like `", stringify!($like), "`.")]
            pub static $activation: TensorType = TensorType {
                id: $aid,
                name: stringify!($aname),
                block_len: <$like as Trellis>::LEN,
                block_bytes: size_of::<<$like as Trellis>::Activation>(),
                role: Role::Activation { quantize: trellis::quantize_activations::<$like> },
            };
        )*
        $(
            #[doc = $iabout]
            pub static $import: TensorType = TensorType {
                id: $iid,
                name: stringify!($iname),
                block_len: <$iblock as Codes4>::LEN,
                block_bytes: size_of::<$iblock>(),
                role: Role::Weight {
                    activation: &Q8_64,
                    about: $iabout,
                    kernels: codes4::kernels::<$iblock>(),
                    quantizer: codes4::nearest::quantizer::<$iblock>,
                    #[cfg(feature = "converter")]
                    calibrated: codes4::calibrated::calibrated::<$iblock>(),
                },
            };
        )*
        $(
            /// Activations for weights that are not rotated.
            pub static $q8: TensorType = TensorType {
                id: $qid,
                name: stringify!($qname),
                block_len: codes4::q8::LEN,
                block_bytes: size_of::<codes4::q8::BlockQ8>(),
                role: Role::Activation { quantize: codes4::quantize_activations },
            };
        )*

        /// Every type, by id.
        pub static REGISTRY: &[&TensorType] = &[$(&$weight,)* $(&$activation,)* $(&$import,)* $(&$q8,)*];

        /// Calls `$then! { weights {...} activations {...} }` with a row for each type.
        macro_rules! for_each_type {
            ($then:ident) => {
                $then! {
                    weights { $($weight, $wname;)* $($import, $iname;)* }
                    activations { $($activation, $aname;)* $($q8, $qname;)* }
                }
            };
        }
        pub(crate) use for_each_type;
    };
}

registry! {
    weights {
        T2, t2, 512, BlockT2, A8, "Trellis, 2 bits, blocks of 256";
        T3, t3, 513, BlockT3, A8, "Trellis, 3 bits, blocks of 256";
        T4, t4, 514, BlockT4, A8, "Trellis, 4 bits, blocks of 256";
        T2_64, t2_64, 515, BlockT2_64, A8_64, "Trellis, 2 bits, blocks of 64 for rows that 256 does not divide";
        T3_64, t3_64, 516, BlockT3_64, A8_64, "Trellis, 3 bits, blocks of 64 for rows that 256 does not divide";
        T4_64, t4_64, 517, BlockT4_64, A8_64, "Trellis, 4 bits, blocks of 64 for rows that 256 does not divide";
    }
    activations {
        A8, a8, 518, BlockT3;
        A8_64, a8_64, 519, BlockT3_64;
    }
    imports {
        G4_128, g4_128, 520, BlockG4, "4 bits as GPTQ, AWQ and compressed-tensors have them, blocks of 128";
        NF4_64, nf4_64, 521, BlockNf4, "4 bits as bitsandbytes has them, blocks of 64";
    }
    import_activations {
        Q8_64, q8_64, 522;
    }
}
