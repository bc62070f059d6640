//! The part of `tenpak-tables.h` about the types whose weights have codes of their own.

use super::text::{define, list, numbers};
use crate::types::TensorType;
use crate::types::direct::layout::*;
use crate::types::direct::{O3, O3X2, O4, O4X2, S24, S34};
use std::fmt::Write;
use std::mem::offset_of;

const START: &str = "
// ---- Types whose weights have codes of their own (section 16) ----

// Some bits of one number of a group of four weights.
typedef struct {
    int number; // 0 to 3: the code of the weight that is kept as the nth; TENPAK_DIRECT_PATTERN: the pattern
    int first;  // the lowest of its bits that is here
    int bits;   // how many bits
} tenpak_direct_field;

// A part of the codes: `width` bits for each of 64 groups. Those of group j begin in byte j % (8 * width) of the part, at bit
// j / (8 * width) * width. The fields fill them from the lowest on.
typedef struct {
    int                 offset; // first byte of the part in the codes
    int                 width;  // bits for a group: 8, 4, 2 or 1
    int                 n_fields;
    tenpak_direct_field fields[4];
} tenpak_direct_part;

// The layout of such a type. A block begins with the scale code (section 5), slots and codes. Weight i = 4 * j + t is kept if bit t of the
// pattern of group j is set, and then it is the level of its code times the scale; else it is 0.
typedef struct {
    int                len;   // weights of a block
    int                bytes; // bytes of a block
    int                slots; // of TENPAK_DIRECT_SLOT_BYTES each, from byte TENPAK_DIRECT_SLOTS on
    int                codes; // first byte of the codes
    int8_t             levels[16];
    uint8_t            patterns[8];
    int                n_parts;
    tenpak_direct_part parts[3];
} tenpak_direct;
";

/// Appends the section.
pub fn section(h: &mut String) -> std::fmt::Result {
    h.push_str(START);
    writeln!(h)?;
    define(h, "TENPAK_DIRECT_PATTERN", PATTERN, "the number of a group that is its pattern")?;
    writeln!(h)?;
    writeln!(
        h,
        "// Places in a block, in bytes. What a slot's value is added to is the weight of its index."
    )?;
    define(h, "TENPAK_DIRECT_D", offset_of!(BlockO4, d), "scale code")?;
    define(h, "TENPAK_DIRECT_SLOTS", offset_of!(BlockO4, slots), "slots")?;
    define(h, "TENPAK_DIRECT_SLOT_BYTES", size_of::<Slot>(), "")?;
    define(h, "TENPAK_DIRECT_SLOT_INDEX", offset_of!(Slot, index), "u8")?;
    define(
        h,
        "TENPAK_DIRECT_SLOT_VALUE",
        offset_of!(Slot, value),
        "binary16 in which exponent 31 is one like the others",
    )?;
    writeln!(h)?;
    let rows = [
        layout::<Dense4, 1>(h, &O4)?,
        layout::<Dense4, 2>(h, &O4X2)?,
        layout::<Dense3, 1>(h, &O3)?,
        layout::<Dense3, 2>(h, &O3X2)?,
        layout::<ThreeOfFour, 0>(h, &S34)?,
        layout::<TwoOfFour, 0>(h, &S24)?,
    ];
    writeln!(h, "// X(name): every such type; tenpak_NAME is its layout.")?;
    list(h, "TENPAK_FOR_EACH_DIRECT", &rows)?;
    writeln!(
        h,
        "// Activations q8 are blocks as those of a8, without rotation: quant i = 4 * j + t is the i8 at TENPAK_A8_QS + 64 * t + j."
    )
}

/// The layout of one type; returns its row of the list.
fn layout<C: Codes, const SLOTS: usize>(h: &mut String, t: &TensorType) -> Result<String, std::fmt::Error> {
    let part = |part: &Part| {
        let fields: Vec<_> = part
            .fields
            .iter()
            .map(|(number, first, bits)| format!("{{ {number}, {first}, {bits} }}"))
            .collect();
        format!("{{ {}, {}, {}, {{ {} }} }}", part.at, part.width, fields.len(), fields.join(", "))
    };
    let pattern = |i: usize| C::PATTERNS.get(i).unwrap_or(&C::PATTERNS[0]);
    let codes = t.block_bytes - size_of::<C>();
    writeln!(h, "TENPAK_TABLE tenpak_direct tenpak_{} = {{", t.name)?;
    writeln!(h, "    {}, {}, {SLOTS}, {codes},", t.block_len, t.block_bytes)?;
    writeln!(h, "    {{ {} }},", numbers(C::LEVELS))?;
    writeln!(h, "    {{ {} }},", numbers((0..8).map(pattern)))?;
    writeln!(h, "    {}, {{", C::PARTS.len())?;
    for line in C::PARTS.iter().map(part) {
        writeln!(h, "        {line},")?;
    }
    writeln!(h, "    }},\n}};\n")?;
    Ok(format!("X({})", t.name))
}
