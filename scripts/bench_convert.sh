#!/usr/bin/env bash
# Plain conversion against llama.cpp's converter: the same folder, the same types, one run after the other.
#
#   REFERENCE=/tmp/reference/bin/python scripts/bench_convert.sh [FOLDER]      a Python with what docs/reference-f16.md says
#
# Without FOLDER a llama of 1.1B random weights with the tokenizer of SmolLM2. Serves the decision how rows are read and written: a
# plain conversion has to be 5 times as fast as the converter, and near the speed of cp.
source "$(dirname "$0")/setup.sh"

MIN_RATIO=5
python=${REFERENCE:-python3}
"$python" -c 'import torch, transformers, safetensors, gguf' 2>/dev/null ||
    die "$python lacks torch, transformers, safetensors or gguf: set REFERENCE, see docs/reference-f16.md"
unpacked=$TARGET/bench_convert/llama.cpp
# WORK: a folder on another disk, or in memory.
work=${WORK:-$TARGET/bench_convert}/work
install_build_tools
[ -f "$unpacked/convert_hf_to_gguf.py" ] || unpack_llama "$unpacked"
# TENPAK: a program that is built already.
[ -n "${TENPAK:-}" ] || (cd "$ROOT" && cargo build --quiet --release)
tenpak=${TENPAK:-$TARGET/release/tenpak-gguf}
rm -rf "$work" && mkdir -p "$work"
trap 'rm -rf "$work"' EXIT
if [ $# -gt 0 ]; then
    folder=$1
else
    folder=$work/1b
    python3 "$ROOT/scripts/make_llama.py" "$folder" 1b >/dev/null
    cp "$("$ROOT/scripts/fetch_model.sh")"/tokenizer*.json "$folder/"
fi

# seconds COMMAND...: of the better of two runs, the first of which fills the cache of files
seconds() {
    local start best=
    for _ in 1 2; do
        rm -f "$work"/*.gguf "$work"/copy
        start=$(date +%s.%N)
        "$@" >"$work/log" 2>&1 || { tail -n 5 "$work/log" >&2; die "$1 failed"; }
        best=$(awk "BEGIN { t = $(date +%s.%N) - $start; b = \"$best\"; print (b == \"\" || t < b) ? t : b }")
    done
    echo "$best"
}

bytes=$(cat "$folder"/*.safetensors | wc -c)
copied=$(seconds sh -c "cat '$folder'/*.safetensors >'$work/copy'")
printf '%-6s %10s %12s %8s %10s\n' type ours converter ratio "ours MB/s"
slow=0
for type in ${TYPES:-bf16 f16 f32}; do
    ours=$(seconds "$tenpak" convert "$folder" -o "$work/ours.gguf" --outtype $type)
    theirs=$(seconds "$python" "$unpacked/convert_hf_to_gguf.py" "$folder" --outfile "$work/theirs.gguf" --outtype $type)
    awk "BEGIN { printf \"%-6s %8.2f s %10.2f s %7.1fx %10.0f\n\", \"$type\", $ours, $theirs, $theirs / $ours, $bytes / $ours / 1e6 }"
    awk "BEGIN { exit !($theirs / $ours >= $MIN_RATIO) }" || slow=1
done
awk "BEGIN { printf \"cat of the same %.2f GB: %.2f s, %.0f MB/s\n\", $bytes / 1e9, $copied, $bytes / $copied / 1e6 }"
[ $slow = 0 ] || die "a plain conversion should be $MIN_RATIO times as fast as the converter"
