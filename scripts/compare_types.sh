#!/usr/bin/env bash
# Size and perplexity of SmolLM2 in our types and in llama.cpp's, same base, same text, no importance matrix.
#
#   OURS="default t3 t4"    THEIRS="IQ3_S Q3_K_S IQ4_XS Q3_K_M Q4_K_M"    CHUNKS=40 (of 512 tokens)
source "$(dirname "$0")/setup.sh"
build_tenpak
llama=$(LLAMA_TARGETS="llama-perplexity llama-quantize" "$ROOT/scripts/build_llama.sh")
folder=$("$ROOT/scripts/fetch_model.sh")
work=$TARGET/compare_types
rm -rf "$work" && mkdir -p "$work"
cd "$work"

# row NAME FILE
row() {
    local perplexity
    perplexity=$("$judge" perplexity "$llama" "$TARGET/models/text/wiki.utf8" "${CHUNKS:-40}" "$2" "$work/perplexity.log")
    printf '%-8s %12d %10s\n' "$1" "$(wc -c <"$2")" "$perplexity"
}

"$tenpak" convert "$folder" -o f16.gguf --outtype f16 >&2
printf '%-8s %12s %10s\n' type bytes perplexity
row f16 f16.gguf
for type in ${OURS:-default t3 t4}; do
    choice=()
    [ "$type" = default ] || choice=(--type "$type")
    "$tenpak" convert "$folder" -o model.gguf --no-calibration --force "${choice[@]}" >&2
    row "$type" model.gguf
done
for type in ${THEIRS:-IQ3_S Q3_K_S IQ4_XS Q3_K_M Q4_K_M}; do
    "$llama/llama-quantize" f16.gguf model.gguf "$type" >quantize.log 2>&1 ||
        die "llama-quantize failed: see $work/quantize.log"
    row "$type" model.gguf
done
