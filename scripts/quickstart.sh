#!/usr/bin/env bash
# The main job on a real model, from nothing: set-up, calibrated conversion to 10x, and a table beside llama.cpp's own files.
#
#   scripts/quickstart.sh               SmolLM2-135M-Instruct
#   scripts/quickstart.sh FOLDER        your Hugging Face folder (or F16 GGUF file)
#
# CHUNKS=40  chunks of 512 tokens to judge on      TEXT=FILE  the text      CONVERT='--target 14x'  options
# Everything is kept under target/; a second run starts with the conversion, which has its measurements in target/cache.
source "$(dirname "$0")/setup.sh"
need cargo 'install Rust'
need python3 'install Python 3.9 or later'
need c++ 'install a C++ compiler (package g++ or clang)'

say "building tenpak-gguf"
build_tenpak
llama=$(LLAMA_TARGETS="llama-perplexity llama-completion llama-quantize llama-imatrix llama-bench llama-tenpak-calibrate" "$ROOT/scripts/build_llama.sh")
folder=$("$ROOT/scripts/fetch_model.sh")
text=${TEXT:-$TARGET/models/text/wiki.utf8}
model=${1:-$folder}
[ -e "$model" ] || die "$model: there is no such folder or file"

out=$TARGET/quickstart/$(basename "$(realpath "$model")" .gguf)
mkdir -p "$out"
say "converting $(basename "$model")"
"$tenpak" convert "$model" -o "$out/f16.gguf" --outtype f16 --force
"$tenpak" convert "$model" -o "$out/ours.gguf" --cache "$TARGET/cache" --collector "$llama" --force ${CONVERT:-}

# The peers get an imatrix of the same kind of text: what the model wrote for the conversion.
own=$(ls -t "$TARGET"/cache/*.own-*-1.txt 2>/dev/null | head -n 1)
options=(--parse-special)
[ -n "$own" ] || own=$("$ROOT/scripts/calibration_text.sh") options=()
say "llama.cpp's own files, with an imatrix"
made "$out/imatrix.gguf" "$llama/llama-imatrix" -m "$out/f16.gguf" -f "$own" "${options[@]}" -c 512 --chunks 64 --no-ppl -t "$(nproc)" \
    -o "$out/imatrix.gguf.part"
peer() {
    "$llama/llama-quantize" --imatrix "$out/imatrix.gguf" "$out/f16.gguf" "$out/$1.gguf" "$1" "$(nproc)" >"$out/$1.log" 2>&1 ||
        die "llama-quantize failed: see $out/$1.log"
}
peer Q4_K_M
# The smallest that is no smaller than ours.
for same_size in IQ2_XXS IQ2_M IQ3_XXS IQ3_M Q4_K_M; do
    peer "$same_size"
    [ "$(wc -c <"$out/$same_size.gguf")" -lt "$(wc -c <"$out/ours.gguf")" ] || break
done

say "a sentence from ours.gguf"
"$llama/llama-completion" -m "$out/ours.gguf" -p "The capital of France is" -n 32 -no-cnv --temp 0 -t "$(nproc)" \
    2>"$out/completion.log" || die "llama-completion failed: see $out/completion.log"

# row NAME: size, perplexity, divergence from F16, tokens a second
row() {
    local bytes judged='' speed
    bytes=$(wc -c <"$out/$1.gguf")
    judged=$("$judge" divergence "$llama" "$text" "$chunks" "$out/$1.gguf" "$out/logits" "$out/$1.judge.log")
    speed=$("$llama/llama-bench" -m "$out/$1.gguf" -p 256 -n 32 -t "$(nproc)" -o csv 2>/dev/null | python3 -c '
import csv, sys
print(*("%.1f" % float(row["avg_ts"]) for row in csv.DictReader(sys.stdin)))')
    awk -v name="$1" -v bytes="$bytes" -v weights="$weights" -v judged="$judged" -v speed="$speed" 'BEGIN {
        split(judged, j, " "); split(speed, s, " ")
        printf "%-10s %9.1f MB %7.2fx %7.3f %10.3f %+8.2f %% %9.4f %9s %9s\n", name, bytes / 1e6, 4 * weights / bytes,
            8 * bytes / weights, j[1], (j[1] / j[2] - 1) * 100, j[3], s[1], s[2] }'
}
chunks=${CHUNKS:-40}
weights=$("$tenpak" inspect "$out/f16.gguf" --summary | python3 -c '
import re, sys
bits = re.search(r"file: .*?([0-9.]+) bpw", sys.stdin.read())
print(round(8 * int(sys.argv[1]) / float(bits[1])))' "$(wc -c <"$out/f16.gguf")")
say "judging on $chunks chunks of 512 tokens of $(basename "$text")"
"$judge" logits "$llama" "$text" "$chunks" "$out/f16.gguf" "$out/logits" "$out/logits.log" >/dev/null
printf '%-10s %12s %8s %7s %10s %10s %9s %9s %9s\n' file size 'x FP32' bpw perplexity change KLD prompt/s write/s
for name in f16 Q4_K_M "$same_size" ours; do
    [ "$name" != "${last:-}" ] && row "$name"
    last=$name
done
rm "$out/logits"
printf '\nthe files are in %s\n' "$out"
