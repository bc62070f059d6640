//! `tenpak-tables.h`: everything that decoding needs, as C tables.
//!
//! Code for devices that Rust does not reach (CUDA, Vulkan, Metal) takes its constants from this file, and
//! `ggml-patches/device/reference.c` shows that they are enough.

use super::direct;
use super::text::{define, list, numbers};
use crate::types::TensorType;
use crate::types::codes4::layout::{BlockG4, BlockNf4, Codes4, NF4, NF4_UNIT, NF4_ZERO};
use crate::types::codes4::q8::{self, BlockQ8};
use crate::types::codes4::{G4_128, NF4_64};
use crate::types::trellis::a8::BlockA8;
use crate::types::trellis::code::{self, Code};
use crate::types::trellis::layout::*;
use crate::types::trellis::{self, rotation, scale};
use std::fmt::Write;
use std::mem::offset_of;

/// The text of `ggml-patches/tenpak-tables.h`.
pub fn tables() -> String {
    let mut h = String::from(START);
    trellis_section(&mut h).expect("a String can be written to");
    codes4_section(&mut h).expect("a String can be written to");
    direct::section(&mut h).expect("a String can be written to");
    h
}

const START: &str = "\
// The constants of tenpak-gguf's tensor types, for decoders in C, C++ and CUDA. Generated from src/types by
//     cargo run --example render_header tables > ggml-patches/tenpak-tables.h
// docs/FORMAT.md defines the types; its sections are named here. ggml-patches/device/reference.c decodes with these tables.
#pragma once

#include <stdint.h>

// What stands before every table. A file that includes this one may define it before: C++ as `static constexpr`, so that
// templates take the constants; CUDA as `static constexpr __device__`, so that kernels read the tables too.
#ifndef TENPAK_TABLE
#define TENPAK_TABLE static const
#endif
";

const CODE: &str = "
// ---- Trellis types ----

// A trellis code (section 4). The window holds the newest symbol in its lowest bits. The hash of a window is the XOR of the
// columns of its set bits, and the value of a hash h is v0[h & 15] + v1[h >> 4] - TENPAK_ZERO_POINT.
typedef struct {
    int     bits[2];     // bits of the symbols of even and of odd weights of a block
    int     window;      // bits in the window
    int     period;      // bits after which the columns repeat, doubled: columns[b + period] = columns[b] << 1
    uint8_t columns[16]; // by bit of the window, lowest first; 0 beyond the window
    uint8_t v0[16];      // by the low four bits of the hash
    uint8_t v1[16];      // by the high four bits of the hash
    float   sigma;       // standard deviation of the values when symbols are uniform: for encoders (section 11)
} tenpak_code;
";

const LAYOUT: &str = "\
// Some bits of the symbol of one step, as they lie in a plane (section 3).
typedef struct {
    int step;  // which symbol of the lane
    int first; // the lowest of its bits that is here
    int bits;  // how many bits
} tenpak_field;

// A plane: one number of `width` bits for each lane. Lane j of a plane of 8 bits is byte j. Of a plane of 4 bits with 16 lanes it
// is the low half of byte j / 2 if j is even, else the high half; with 32 lanes the low half of byte j if j < 16, else the high half
// of byte j - 16. Of a plane of 2 bits it is the bits from 2 (j / 4) on of byte j % 4. The fields fill a number from its lowest bit.
typedef struct {
    int          offset; // first byte of the plane in `qs`
    int          width;  // bits for a lane: 8, 4 or 2
    int          n_fields;
    tenpak_field fields[7];
} tenpak_plane;

// The layout of a trellis type (sections 2 and 3). Symbol i = steps * j + t is that of lane j and step t. The history byte
// holds the symbols before symbol 0, the newest lowest.
typedef struct {
    int          len;   // weights of a block
    int          bytes; // bytes of a block
    int          steps; // symbols of a lane
    int          lanes;
    float        unit;  // 1 / sqrt(len), the normalisation of the rotation
    int          n_planes;
    tenpak_plane planes[5];
} tenpak_trellis;
";

fn trellis_section(h: &mut String) -> std::fmt::Result {
    h.push_str(CODE);
    writeln!(h)?;
    define(h, "TENPAK_ZERO_POINT", code::ZERO_POINT, "what the sums of v0 and v1 are too large by")?;
    writeln!(h)?;
    for code in [&code::T2, &code::T25, &code::T3, &code::T35, &code::T4, &code::T5] {
        writeln!(h, "// The code of t{0} and t{0}_64.", name(code))?;
        render_code(h, code)?;
    }
    h.push_str(LAYOUT);
    writeln!(h)?;
    writeln!(h, "// Places in a block of a trellis type, in bytes.")?;
    define(h, "TENPAK_TRELLIS_D", offset_of!(BlockT3, d), "scale code")?;
    define(h, "TENPAK_TRELLIS_HISTORY", offset_of!(BlockT3, history), "history")?;
    define(h, "TENPAK_TRELLIS_QS", offset_of!(BlockT3, qs), "planes")?;
    writeln!(h)?;
    let rows = [
        layout::<BlockT2>(h, &trellis::T2)?,
        layout::<BlockT3>(h, &trellis::T3)?,
        layout::<BlockT4>(h, &trellis::T4)?,
        layout::<BlockT2_64>(h, &trellis::T2_64)?,
        layout::<BlockT3_64>(h, &trellis::T3_64)?,
        layout::<BlockT4_64>(h, &trellis::T4_64)?,
        layout::<BlockT25>(h, &trellis::T25)?,
        layout::<BlockT35>(h, &trellis::T35)?,
        layout::<BlockT25_64>(h, &trellis::T25_64)?,
        layout::<BlockT35_64>(h, &trellis::T35_64)?,
        layout::<BlockT5>(h, &trellis::T5)?,
        layout::<BlockT5_64>(h, &trellis::T5_64)?,
    ];
    writeln!(
        h,
        "// X(name, code): every trellis type; tenpak_NAME is its layout and tenpak_code_CODE its code."
    )?;
    list(h, "TENPAK_FOR_EACH_TRELLIS", &rows)?;

    writeln!(
        h,
        "// The scale of code c is the f32 whose bits are (c << TENPAK_SCALE_SHIFT) + TENPAK_SCALE_BITS; of code 0 it is 0 (section 5)."
    )?;
    define(h, "TENPAK_SCALE_SHIFT", scale::CODE_SHIFT, "")?;
    define(h, "TENPAK_SCALE_BITS", format!("{:#x}", scale::EXPONENT_BITS), "")?;
    writeln!(h)?;
    writeln!(
        h,
        "// Element i of the rotation changes its sign if bit i % 64 of word i / 64 is set (section 6)."
    )?;
    let words: Vec<_> = rotation::SIGNS.iter().map(|word| format!("{word:#018x}")).collect();
    writeln!(h, "TENPAK_TABLE uint64_t tenpak_signs[4] = {{ {} }};\n", words.join(", "))?;

    writeln!(
        h,
        "// Places in a block of activations a8 or a8_64, in bytes (section 8). Element i = steps * j + t of a block is"
    )?;
    writeln!(h, "// the i8 at TENPAK_A8_QS + lanes * t + j, with the steps and lanes of the weights.")?;
    define(h, "TENPAK_A8_D", offset_of!(BlockA8<256>, d), "scale, f32")?;
    define(h, "TENPAK_A8_SUM", offset_of!(BlockA8<256>, sum), "sum of the quants, i32")?;
    define(
        h,
        "TENPAK_A8_QS",
        offset_of!(BlockA8<256>, qs),
        "quants, i8; the block has as many as its weights",
    )?;
    Ok(())
}

/// What a code is called: its bits per weight, without the point.
fn name(code: &Code) -> String {
    match code.bits {
        [even, odd] if even == odd => even.to_string(),
        [even, odd] => format!("{}5", even.min(odd)),
    }
}

fn render_code(h: &mut String, code: &Code) -> std::fmt::Result {
    writeln!(h, "TENPAK_TABLE tenpak_code tenpak_code_{} = {{", name(code))?;
    writeln!(h, "    {{ {} }}, {}, {},", numbers(code.bits), code.window, code.period)?;
    for table in [code.columns(), code.v0, code.v1] {
        writeln!(h, "    {{ {} }},", numbers(table))?;
    }
    writeln!(h, "    {:?}f,\n}};\n", code.sigma)
}

/// The layout of one type; returns its row of the list.
fn layout<T: Trellis>(h: &mut String, t: &TensorType) -> Result<String, std::fmt::Error> {
    writeln!(h, "TENPAK_TABLE tenpak_trellis tenpak_{} = {{", t.name)?;
    write!(h, "    {}, {}, {}, {}, ", t.block_len, t.block_bytes, T::STEPS, T::LANES)?;
    writeln!(h, "{:?}f, {}, {{", rotation::unit(T::LEN), T::PLANES.len())?;
    for plane in T::PLANES {
        let fields: Vec<_> = plane
            .fields
            .iter()
            .map(|&(step, first, bits)| format!("{{ {step}, {first}, {bits} }}"))
            .collect();
        writeln!(
            h,
            "        {{ {}, {}, {}, {{ {} }} }},",
            plane.offset,
            plane.width,
            fields.len(),
            fields.join(", ")
        )?;
    }
    writeln!(h, "    }},\n}};\n")?;
    Ok(format!("X({}, {})", t.name, name(&T::CODE)))
}

const CODES4: &str = "
// ---- Types with codes of 4 bits (section 15) ----

// The layout of such a type. Code i of a block is the low half of byte `qs` + i for i < len / 2, else the high half of byte
// `qs` + i - len / 2. Products take the integer of a code, which is too large by a zero point.
typedef struct {
    int      len;   // weights of a block
    int      bytes; // bytes of a block
    int      qs;    // first byte of the codes
    uint16_t integers[16];
} tenpak_codes4;
";

fn codes4_section(h: &mut String) -> std::fmt::Result {
    h.push_str(CODES4);
    writeln!(h)?;
    writeln!(
        h,
        "// g4_128: a weight is (code - zero) * d, with an unsigned byte as zero point. The d is a binary16 in which exponent 31"
    )?;
    writeln!(h, "// is one like the others.")?;
    define(h, "TENPAK_G4_D", offset_of!(BlockG4, scale.d), "scale, binary16")?;
    define(h, "TENPAK_G4_ZERO", offset_of!(BlockG4, scale.zero), "zero point")?;
    writeln!(h)?;
    codes::<BlockG4>(h, &G4_128, offset_of!(BlockG4, qs))?;
    writeln!(
        h,
        "// nf4_64: a weight is tenpak_nf4[code] * d. A d that is infinite or NaN counts as 0. In products the zero point of the"
    )?;
    writeln!(h, "// integers is NF4_ZERO and their unit d * (1 / NF4_UNIT), in f32.")?;
    define(h, "TENPAK_NF4_D", offset_of!(BlockNf4, scale.d), "scale, f32")?;
    define(h, "TENPAK_NF4_ZERO", NF4_ZERO, "the integer of weight 0")?;
    define(h, "TENPAK_NF4_UNIT", format!("{NF4_UNIT:?}f"), "the integer of weight 1, less the zero point")?;
    writeln!(h)?;
    codes::<BlockNf4>(h, &NF4_64, offset_of!(BlockNf4, qs))?;
    let values: Vec<_> = NF4.iter().map(|value| format!("{value:?}f")).collect();
    writeln!(h, "TENPAK_TABLE float tenpak_nf4[16] = {{")?;
    for values in values.chunks(4) {
        writeln!(h, "    {},", values.join(", "))?;
    }
    writeln!(h, "}};\n")?;
    writeln!(h, "// X(name): every type with codes of 4 bits; tenpak_NAME is its layout.")?;
    list(h, "TENPAK_FOR_EACH_CODES4", &[G4_128.name, NF4_64.name].map(|name| format!("X({name})")))?;
    writeln!(
        h,
        "// Places in a block of activations q8_64, in bytes. Quant i is the i8 at TENPAK_Q8_QS + i."
    )?;
    define(h, "TENPAK_Q8_LEN", q8::LEN, "activations of a block")?;
    define(h, "TENPAK_Q8_BYTES", size_of::<BlockQ8>(), "bytes of a block")?;
    define(h, "TENPAK_Q8_D", offset_of!(BlockQ8, d), "scale, f32")?;
    define(h, "TENPAK_Q8_SUM", offset_of!(BlockQ8, sum), "sum of the quants, i32")?;
    define(h, "TENPAK_Q8_QS", offset_of!(BlockQ8, qs), "quants, i8")
}

/// The layout of one type.
fn codes<T: Codes4>(h: &mut String, t: &TensorType, qs: usize) -> std::fmt::Result {
    writeln!(h, "TENPAK_TABLE tenpak_codes4 tenpak_{} = {{", t.name)?;
    writeln!(h, "    {}, {}, {qs},", t.block_len, t.block_bytes)?;
    writeln!(h, "    {{ {} }},\n}};\n", numbers(T::INTEGERS))
}
