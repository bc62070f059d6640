#!/usr/bin/env bash
# Checkpoints that are pickles (pytorch_model.bin) and have no tokenizer that llama.cpp knows: IgLM, IgLM-S (antibodies;
# their licence allows measurements) and MGM (microbes; MIT). Converted to F32 they have transformers' logits in llama.cpp
# (scripts/reference_pytorch.py); in the types of this program they run.
source "$(dirname "$0")/setup.sh"

IDS="3 7 19 22 5 11 30 8 14 2 25 17 6 28 9 21"
# Of F32 files: llama.cpp keeps keys and values as F16, and its GELU is a table of F16. The logits are 5 to 19.
MAX_DIFFERENCE=0.02
# Positions of 16 at which a quantized file has the same most likely token; these models are the smallest there are.
MIN_SAME=8

install_build_tools
(cd "$ROOT" && cargo build --quiet --release)
tenpak=$TARGET/release/tenpak-gguf
llama=$("$ROOT/scripts/build_llama.sh")
work=$TARGET/test_pytorch
rm -rf "$work" && mkdir -p "$work"
cd "$work"

sha256() { sed -n "s/^$1=//p" "$ROOT/scripts/model.sha256"; }
download iglm==0.1.0 iglm-0.1.0-py3-none-any.whl "$(sha256 iglm)"
download microformer-mgm==0.5.8 microformer_mgm-0.5.8-py3-none-any.whl "$(sha256 mgm)"
for wheel in iglm-0.1.0 microformer_mgm-0.5.8; do
    python3 -m zipfile -e "$DOWNLOADS/$wheel-py3-none-any.whl" wheel
done
source=$(realpath "$llama/../..")
c++ -O1 -std=c++17 "$ROOT/tests/support/logits.cpp" -I"$source/include" -I"$source/ggml/include" -L"$llama" -lllama -lggml \
    -lggml-base -Wl,-rpath,"$llama" -o logits

# converted NAME FOLDER OPTION...: NAME.gguf, and NAME.logits by llama.cpp
converted() {
    quietly "$1" "$tenpak" convert "$2" -o "$1.gguf" --no-tokenizer "${@:3}"
    # shellcheck disable=SC2086 # several words
    ./logits "$1.gguf" $IDS >"$1.logits" 2>"$1.llama.log" || { tail -n 5 "$1.llama.log" >&2; die "$1: does not run"; }
}

for model in iglm-s:iglm/trained_models/IgLM-S iglm:iglm/trained_models/IgLM mgm:mgm/resources/general_model; do
    name=${model%%:*} folder=wheel/${model#*:}
    say "$name, from $(basename "$folder")/pytorch_model.bin"
    converted "$name-f32" "$folder" --outtype f32
    converted "$name" "$folder"
    paste "$ROOT/tests/golden/pytorch/$name.logits" "$name-f32.logits" "$name.logits" |
        awk -v most=$MAX_DIFFERENCE -v least=$MIN_SAME '
            { difference = $2 - $4; if (difference < 0) difference = -difference }
            NF != 6 || $1 != $3 { wrong = 1 }
            difference > largest { largest = difference }
            $1 == $5 { same++ }
            END {
                printf "F32: %d tokens as by transformers, logits within %.4f; quantized: %d of them the same\n", NR, largest, same
                exit wrong || NR < 16 || largest > most || same < least
            }' || die "$name computes something else than transformers does: see $work/$name-f32.logits"
    tail -n 2 "$name.log" | head -n 1
done
