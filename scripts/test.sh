#!/usr/bin/env bash
# Every check, from nothing. What it needs it installs into target/.
#
#   scripts/test.sh             all
#   scripts/test.sh code        formatting, lints, Rust tests
#   scripts/test.sh ggml        ggml's own tests over our types
#   scripts/test.sh vocabularies    tokenizers of llama.cpp's own vocabularies
#   scripts/test.sh pytorch     checkpoints that are pickles, against transformers' logits; memory of large models
#   scripts/test.sh model       conversion, llama.cpp's programs and perplexity on a real model
#   scripts/test.sh aarch64     kernels and a real model on 64-bit ARM, under qemu
source "$(dirname "$0")/setup.sh"
need cargo 'install Rust'
cd "$ROOT"
what=${1:-all}
wanted() { [ "$what" = all ] || [ "$what" = "$1" ]; }

if wanted code; then
    say "formatting and lints"
    cargo fmt --check
    cargo clippy --quiet --profile quick --all-targets -- -D warnings
    cargo clippy --quiet --profile quick --lib --no-default-features -- -D warnings
    say "Rust tests"
    cargo test --profile quick
    cargo test --profile quick --lib --no-default-features --features check_kernels check_
fi
wanted ggml && "$ROOT/scripts/test_ggml.sh"
wanted vocabularies && "$ROOT/scripts/test_vocabularies.sh"
if wanted pytorch; then
    "$ROOT/scripts/test_pytorch.sh"
    "$ROOT/scripts/test_memory.sh"
fi
if wanted model; then
    "$ROOT/scripts/test_model.sh"
    "$ROOT/scripts/test_quantized.sh"
fi
wanted aarch64 && "$ROOT/scripts/test_aarch64.sh"
say "all checks passed"
