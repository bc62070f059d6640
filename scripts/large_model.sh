#!/usr/bin/env bash
# Time and memory of a model with the shapes of Llama 3 70B: the plan of the whole model (a sparse checkpoint, which takes no
# room on the disk), and each step of the conversion of one of its 80 layers (random weights, the vocabulary of SmolLM2).
# docs/guide/clusters.md tells how such a model is converted on many machines. Needs 24 GB of memory and 15 GB of disk.
#
#   TOKENS=2048 (of calibration)    EFFORT=fast    SIZE=10x    THREADS=2 [default: all cores]
#   LLAMA=FOLDER                    programs of the patched llama.cpp that are built already
#   BUILT=FOLDER                    tenpak-gguf, built already
source "$(dirname "$0")/setup.sh"
type -P time >/dev/null || die "GNU time is not installed: install the package time"
build_tenpak
llama=${LLAMA:-$(LLAMA_TARGETS="llama-perplexity llama-tenpak-calibrate" "$ROOT/scripts/build_llama.sh")}
"$ROOT/scripts/calibration_text.sh" >/dev/null # fetches the model, too
effort=${EFFORT:-fast} size=${SIZE:-10x} tokens=${TOKENS:-2048}
threads=(${THREADS:+--threads "$THREADS"})
work=$TARGET/large_model
mkdir -p "$work"
cd "$work"

# measured STEP COMMAND...: a line with time and peak of memory; what the command prints goes to STEP.log
measured() {
    local step=$1
    shift
    command time -o "$step.time" -f '%e %U %M' "$@" >"$step.log" 2>&1 || die "it failed: see $work/$step.log"
    awk -v step="$step" '{ printf "%-12s %8.1f s %8.1f CPU s %8.2f GB\n", step, $1, $2, $3 * 1024 / 1e9 }' "$step.time"
}

echo "scripts/large_model.sh, $(date +%F): --effort $effort --target $size, $tokens tokens of calibration, ${THREADS:-$(nproc)} threads"
lscpu | sed -n 's/^Model name: */processor: /p'
[ -e whole ] || python3 "$ROOT/scripts/make_llama.py" whole 70b sparse >/dev/null
measured plan-whole "$tenpak" convert whole -o whole.gguf --no-tokenizer --no-calibration --dry-run

if [ ! -e layer ]; then
    python3 "$ROOT/scripts/make_llama.py" layer.part 70b-layer >/dev/null
    cp "$TARGET/models/SmolLM2-135M-Instruct"/*token* "$TARGET/models/SmolLM2-135M-Instruct"/{vocab.json,merges.txt} layer.part/ 2>/dev/null || true
    mv layer.part layer
fi
measured base "$tenpak" convert layer -o layer.gguf --outtype bf16 --force "${threads[@]}"
measured calibrate "$tenpak" calibrate layer.gguf -f "$TARGET/models/text/calibration.txt" -o layer.gram.gguf --tokens "$tokens" \
    --budget 1 --collector "$llama" --force "${threads[@]}"
measured plan "$tenpak" plan layer.gguf --target "$size" --calibration layer.gram.gguf --effort "$effort" "${threads[@]}"
measured convert "$tenpak" convert layer.gguf -o out.gguf --target "$size" --calibration layer.gram.gguf --effort "$effort" --force "${threads[@]}"
ls -l layer.gguf layer.gram.gguf out.gguf | awk '{ printf "%-16s %8.3f GB\n", $NF, $5 / 1e9 }'
