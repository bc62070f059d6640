//! Prints `ggml-patches/tenpak.h` or, with the word `tables`, `ggml-patches/tenpak-tables.h`, with the word `shaders`,
//! `ggml-patches/tenpak-tables.glsl`.

use tenpak_gguf::render;

fn main() {
    match std::env::args().nth(1).as_deref() {
        None => print!("{}", render::header()),
        Some("tables") => print!("{}", render::tables()),
        Some("shaders") => print!("{}", render::shaders()),
        Some(other) => panic!("`{other}` is no file: say nothing, `tables` or `shaders`"),
    }
}
