//! Prints `ggml-patches/tenpak.h` or, with the word `tables`, `ggml-patches/tenpak-tables.h`.

use tenpak_gguf::render;

fn main() {
    match std::env::args().nth(1).as_deref() {
        None => print!("{}", render::header()),
        Some("tables") => print!("{}", render::tables()),
        Some(other) => panic!("`{other}` is no file: say nothing or `tables`"),
    }
}
