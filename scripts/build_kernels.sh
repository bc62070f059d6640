#!/usr/bin/env bash
# Builds the static library of kernels that ggml links and prints its path.
source "$(dirname "$0")/setup.sh"
need cargo 'install Rust'
cd "$ROOT"
cargo rustc --quiet --release --lib --no-default-features --crate-type staticlib --target-dir "$TARGET/kernels" >&2
library=$TARGET/kernels/release/libtenpak_gguf.a
[ -f "$library" ] || library=$TARGET/kernels/release/tenpak_gguf.lib
echo "$library"
