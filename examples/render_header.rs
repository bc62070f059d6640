//! Prints `ggml-patches/tenpak.h`.

fn main() {
    print!("{}", tenpak_gguf::render::header());
}
