#!/usr/bin/env bash
# The main job on a real model, from nothing: set-up, conversion, perplexity, a sentence, a table.
#
#   scripts/quickstart.sh               SmolLM2-135M-Instruct
#   scripts/quickstart.sh FOLDER        your Hugging Face folder (or F16 GGUF file)
#
# CHUNKS=40  chunks of 512 tokens for the perplexity      TEXT=FILE  the text      CONVERT='--type t2'  options
# Everything is kept under target/; a second run starts with the conversion.
source "$(dirname "$0")/setup.sh"
need cargo 'install Rust'
need python3 'install Python 3.9 or later'
need c++ 'install a C++ compiler (package g++ or clang)'

say "building tenpak-gguf"
build_tenpak
llama=$(LLAMA_TARGETS="llama-perplexity llama-completion llama-quantize" "$ROOT/scripts/build_llama.sh")
folder=$("$ROOT/scripts/fetch_model.sh")
text=${TEXT:-$TARGET/models/text/wiki.utf8}
model=${1:-$folder}
[ -e "$model" ] || die "$model: there is no such folder or file"

out=$TARGET/quickstart/$(basename "$(realpath "$model")" .gguf)
mkdir -p "$out"
say "converting $(basename "$model")"
"$tenpak" convert "$model" -o "$out/f16.gguf" --outtype f16 --force
"$tenpak" convert "$model" -o "$out/out.gguf" --force ${CONVERT:-}

# perplexity NAME: prints the estimate of $out/NAME.gguf
perplexity() {
    say "perplexity of $1.gguf" >&2
    "$judge" perplexity "$llama" "$text" "${CHUNKS:-40}" "$out/$1.gguf" "$out/$1.perplexity.log"
}
before=$(perplexity f16)
after=$(perplexity out)

say "a sentence from out.gguf"
"$llama/llama-completion" -m "$out/out.gguf" -p "The capital of France is" -n 32 -no-cnv --temp 0 -t "$(nproc)" \
    2>"$out/completion.log" || die "llama-completion failed: see $out/completion.log"

# row NAME PERPLEXITY
row() {
    "$tenpak" inspect "$out/$1.gguf" --summary | awk -v name="$1.gguf" -v bytes="$(wc -c <"$out/$1.gguf")" \
        -v ppl="$2" -v base="$before" '
        /^file:/ { match($0, /[0-9.]+ bpw/); bpw = substr($0, RSTART, RLENGTH - 4)
                   match($0, /[0-9.]+x/); times = substr($0, RSTART, RLENGTH)
                   printf "%-10s %12d %8s %8s %12.4f %+8.2f %%\n", name, bytes, times, bpw, ppl, (ppl / base - 1) * 100 }'
}
say "$(basename "$model"): ${CHUNKS:-40} chunks of 512 tokens of $(basename "$text")"
printf '%-10s %12s %8s %8s %12s %10s\n' file bytes 'x FP32' bpw perplexity change
row f16 "$before"
row out "$after"
printf '\nthe files are in %s\n' "$out"
