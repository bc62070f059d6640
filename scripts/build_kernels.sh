#!/usr/bin/env bash
# Builds the static library of kernels that ggml links and prints its path.
#
#   TENPAK_FEATURES=check_kernels    another one, in a folder of its own, whose kernels check themselves
#   TRIPLE=aarch64-unknown-linux-gnu    for another machine, a Rust target
source "$(dirname "$0")/setup.sh"
need cargo 'install Rust'
cd "$ROOT"
features=${TENPAK_FEATURES:-}
triple=${TRIPLE:-}
folder=$TARGET/kernels${features:+-$features}
[ -d "$folder/$triple" ] || say "building the kernels${features:+ with $features}${triple:+ for $triple}" >&2
cargo rustc --quiet --release --lib --no-default-features --features "$features" --crate-type staticlib \
    --target-dir "$folder" ${triple:+--target "$triple"} >&2
library=$folder/${triple:+$triple/}release/libtenpak_gguf.a
[ -f "$library" ] || library=$folder/${triple:+$triple/}release/tenpak_gguf.lib
echo "$library"
