//! `tenpak.h`: the list of types as X-macros, and the declarations of the C functions in [`crate::ffi`].

use crate::products::TILE;
use crate::types::{REGISTRY, Role, TensorType};
use std::fmt::Write;

/// The text of `ggml-patches/tenpak.h`.
pub fn header() -> String {
    let mut h = String::from(HEADER_START);
    let row = |t: &TensorType, more: &str| {
        format!(
            "    X({}, {}, {}, {}, {}{more})",
            t.name.to_uppercase(),
            t.name,
            t.id,
            t.block_len,
            t.block_bytes
        )
    };
    let mut weights = Vec::new();
    let mut activations = Vec::new();
    for t in REGISTRY {
        match &t.role {
            Role::Weight { activation, .. } => {
                weights.push(row(t, &format!(", {}", activation.name.to_uppercase())));
            }
            Role::Activation { .. } => activations.push(row(t, "")),
        }
    }
    let list = |rows: Vec<String>| rows.join(" \\\n");
    writeln!(h, "// X(NAME, name, id, weights per block, bytes per block, activation NAME)").unwrap();
    writeln!(h, "#define TENPAK_FOR_EACH_WEIGHT(X) \\\n{}\n", list(weights)).unwrap();
    writeln!(h, "// X(NAME, name, id, values per block, bytes per block)").unwrap();
    writeln!(h, "#define TENPAK_FOR_EACH_ACTIVATION(X) \\\n{}\n", list(activations)).unwrap();
    let ids = || REGISTRY.iter().map(|t| t.id);
    let (begin, end) = (ids().min().unwrap_or_default(), ids().max().unwrap_or_default() + 1);
    writeln!(h, "// The lowest id, and one above the highest.").unwrap();
    writeln!(h, "#define TENPAK_TYPE_BEGIN {begin}\n#define TENPAK_TYPE_END {end}").unwrap();
    h + &HEADER_END.replace("@TILE@", &TILE.to_string())
}

const HEADER_START: &str = "\
// The tensor types of tenpak-gguf. Generated from the registry in src/types/registry.rs by
//     cargo run --example render_header > ggml-patches/tenpak.h
#pragma once

#include <stddef.h>
#include <stdint.h>

";

const HEADER_END: &str = "
#ifdef __cplusplus
extern \"C\" {
#endif

// x and y are rows of whole blocks; k, n and n_per_row count weights. Activation blocks are aligned to 4 bytes.
// Quantizing without calibration; imatrix is not used and may be NULL.
#define TENPAK_DECLARE_WEIGHT(NAME, name, ...) \\
    void   tenpak_##name##_to_float  (const void * x, float * y, int64_t k); \\
    void   tenpak_##name##_from_float(const float * x, void * y, int64_t k); \\
    void   tenpak_##name##_vec_dot   (int n, float * s, size_t bs, const void * x, size_t bx, \\
                                      const void * y, size_t by, int nrc); \\
    size_t tenpak_##name##_quantize  (const float * x, void * y, int64_t nrows, int64_t n_per_row, \\
                                      const float * imatrix);
#define TENPAK_DECLARE_ACTIVATION(NAME, name, ...) \\
    void   tenpak_##name##_from_float(const float * x, void * y, int64_t k);

TENPAK_FOR_EACH_WEIGHT(TENPAK_DECLARE_WEIGHT)
TENPAK_FOR_EACH_ACTIVATION(TENPAK_DECLARE_ACTIVATION)

// out[c][r] = dot product of row r and column c: the same results as vec_dot, but rows are decoded once for all
// columns. Row r is at x + r * row_bytes. NULL for types that are not weights of tenpak-gguf.
typedef void (*tenpak_multiply_t)(int64_t n, int64_t rows, const void * x, size_t row_bytes,
                                  int64_t n_columns, const void * const * columns, float * const * out);
tenpak_multiply_t tenpak_multiply(int type);

// Rows that are decoded together: a multiple of these is best.
#define TENPAK_TILE @TILE@

#undef TENPAK_DECLARE_WEIGHT
#undef TENPAK_DECLARE_ACTIVATION

#ifdef __cplusplus
}
#endif
";
