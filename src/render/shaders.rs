//! `tenpak-tables.glsl`: what decoding T2, T3 and T4 needs, whose symbols are all of one size, as macros for shaders.
//!
//! GLSL has no `typedef` and cannot include `tenpak-tables.h`. The file has macros only, so that C++ reads the list of the
//! types from it as well.

use super::text::{define, list, numbers};
use crate::types::TensorType;
use crate::types::trellis::code::{self, Code};
use crate::types::trellis::layout::*;
use crate::types::trellis::{self, rotation, scale};
use std::fmt::Write;
use std::mem::offset_of;

/// The text of `ggml-patches/tenpak-tables.glsl`.
pub fn shaders() -> String {
    let mut text = String::from(START);
    render(&mut text).expect("a String can be written to");
    text
}

const START: &str = "\
// The constants of tenpak-gguf's types T2, T3 and T4, for shaders. Generated from src/types by
//     cargo run --example render_header shaders > ggml-patches/tenpak-tables.glsl
// docs/FORMAT.md defines the types; its sections are named here. These are macros only: C++ reads the list from this file too.

";

fn render(text: &mut String) -> std::fmt::Result {
    let types = [
        Type::of::<BlockT2>(&trellis::T2),
        Type::of::<BlockT3>(&trellis::T3),
        Type::of::<BlockT4>(&trellis::T4),
        Type::of::<BlockT2_64>(&trellis::T2_64),
        Type::of::<BlockT3_64>(&trellis::T3_64),
        Type::of::<BlockT4_64>(&trellis::T4_64),
    ];
    writeln!(text, "// X(NAME, name, weights of a block): every type that shaders are compiled for.")?;
    let rows: Vec<_> = types.iter().map(|t| format!("X({}, {}, {})", t.upper, t.name, t.len)).collect();
    list(text, "TENPAK_FOR_EACH_SHADER_TYPE", &rows)?;

    writeln!(text, "// Places in a block, in bytes (section 3).")?;
    define(text, "TENPAK_D", offset_of!(BlockT3, d), "scale code")?;
    define(text, "TENPAK_HISTORY", offset_of!(BlockT3, history), "lane -1 of the first plane")?;
    define(text, "TENPAK_QS", offset_of!(BlockT3, qs), "planes")?;
    writeln!(text)?;
    writeln!(
        text,
        "// The scale of code c is the float of bits (c << TENPAK_SCALE_SHIFT) + TENPAK_SCALE_BITS; of code 0 it is 0 (section 5)."
    )?;
    define(text, "TENPAK_SCALE_SHIFT", scale::CODE_SHIFT, "")?;
    define(text, "TENPAK_SCALE_BITS", format!("{:#x}", scale::EXPONENT_BITS), "")?;
    writeln!(text)?;
    writeln!(
        text,
        "// Element i of the rotation changes its sign if bit i % 32 of word i / 32 of these 8 is set (section 6)."
    )?;
    let words = rotation::SIGNS.iter().flat_map(|&word| [word as u32, (word >> 32) as u32]);
    define(text, "TENPAK_SIGNS", numbers(words.map(|word| format!("{word:#010x}u"))), "")?;

    writeln!(
        text,
        "
// ---- Codes (section 4) ----

// A shader defines TENPAK_NAME, for one NAME of the list, before it includes this file.
//
// The hash of a window is the XOR of the columns of its set bits, the newest symbol in its lowest ones. The value of a hash h is
// v0[h & 15] + v1[h >> 4] - TENPAK_ZERO_POINT.
"
    )?;
    define(text, "TENPAK_ZERO_POINT", code::ZERO_POINT, "")?;
    for code in [&code::T2, &code::T3, &code::T4] {
        let users = types.iter().filter(|t| t.code.bits == code.bits);
        let users: Vec<_> = users.map(|t| format!("defined(TENPAK_{})", t.upper)).collect();
        writeln!(text, "\n#if {}", users.join(" || "))?;
        define(text, "TENPAK_BITS", code.bits[0], "bits of a symbol")?;
        define(text, "TENPAK_WINDOW_BITS", code.window, "")?;
        define(text, "TENPAK_COLUMNS", numbers(code.columns()), "")?;
        define(text, "TENPAK_V0", numbers(code.v0), "")?;
        define(text, "TENPAK_V1", numbers(code.v1), "")?;
        writeln!(text, "#endif")?;
    }

    writeln!(
        text,
        "
// ---- Layouts (section 3) ----

// Symbol i = TENPAK_STEPS * j + t is that of lane j and step t.
//
// TENPAK_FOR_EACH_PLANE: X(plane, first byte in qs, bits of a lane).
//
// TENPAK_FOR_EACH_RUN: X(plane, first bit, bits, place): these bits of a lane in a plane are those at `place` in the string of all
// symbols of the lane, in which the newest symbol is the lowest."
    )?;
    for t in &types {
        t.render(text)?;
    }
    Ok(())
}

/// What a type's part of the text needs.
struct Type {
    name: &'static str,
    upper: String,
    len: usize,
    bytes: usize,
    steps: usize,
    lanes: usize,
    code: Code,
    planes: &'static [Plane],
}

impl Type {
    fn of<T: Trellis>(t: &TensorType) -> Type {
        Type {
            name: t.name,
            upper: t.name.to_uppercase(),
            len: T::LEN,
            bytes: t.block_bytes,
            steps: T::STEPS,
            lanes: T::LANES,
            code: T::CODE,
            planes: T::PLANES,
        }
    }

    fn render(&self, text: &mut String) -> std::fmt::Result {
        writeln!(text, "\n#ifdef TENPAK_{}", self.upper)?;
        define(text, "TENPAK_LEN", self.len, "weights of a block")?;
        define(text, "TENPAK_BYTES", self.bytes, "bytes of a block")?;
        define(text, "TENPAK_STEPS", self.steps, "symbols of a lane")?;
        define(text, "TENPAK_LANES", self.lanes, "")?;
        define(text, "TENPAK_UNIT", format!("{:?}", rotation::unit(self.len)), "1 / sqrt(TENPAK_LEN)")?;
        define(text, "TENPAK_PLANES", self.planes.len(), "")?;
        let planes = || self.planes.iter().enumerate();
        let rows: Vec<_> =
            planes().map(|(p, plane)| format!("X({p}, {}, {})", plane.offset, plane.width)).collect();
        list(text, "TENPAK_FOR_EACH_PLANE", &rows)?;
        let rows: Vec<_> = planes().flat_map(|(p, plane)| self.runs(p, plane)).collect();
        list(text, "TENPAK_FOR_EACH_RUN", &rows)?;
        text.pop(); // the empty line behind a list
        writeln!(text, "#endif")
    }

    /// The rows of a plane's runs: bits that are neighbours in the plane and in the string of symbols.
    fn runs(&self, p: usize, plane: &Plane) -> Vec<String> {
        let mut runs: Vec<[usize; 3]> = Vec::new();
        for bit in 0..plane.width {
            let Some((step, from)) = plane.source(bit) else { continue };
            let place = (self.steps - 1 - step as usize) * self.code.bits[0] as usize + from as usize;
            match runs.last_mut() {
                Some([first, bits, at]) if [*first + *bits, *at + *bits] == [bit, place] => *bits += 1,
                _ => runs.push([bit, 1, place]),
            }
        }
        runs.iter().map(|[first, bits, place]| format!("X({p}, {first}, {bits}, {place})")).collect()
    }
}
