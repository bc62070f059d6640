#!/usr/bin/env bash
# Builds the static library of kernels that ggml links and prints its path.
#
#   TENPAK_FEATURES=check_kernels    another one, in a folder of its own, whose kernels check themselves
source "$(dirname "$0")/setup.sh"
need cargo 'install Rust'
cd "$ROOT"
features=${TENPAK_FEATURES:-}
folder=$TARGET/kernels${features:+-$features}
cargo rustc --quiet --release --lib --no-default-features --features "$features" --crate-type staticlib \
    --target-dir "$folder" >&2
library=$folder/release/libtenpak_gguf.a
[ -f "$library" ] || library=$folder/release/tenpak_gguf.lib
echo "$library"
