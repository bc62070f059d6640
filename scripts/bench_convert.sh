#!/usr/bin/env bash
# Plain conversion against llama.cpp's converter: the same folder, the same types, one run after the other.
#
#   REFERENCE=/tmp/reference/bin/python scripts/bench_convert.sh [FOLDER]      the Python of docs/reference-f16.md
#
# Without FOLDER a llama of 1.1B random weights with the tokenizer of SmolLM2. Serves the decision how rows are read and
# written: a plain conversion has to be 5 times as fast as the converter, and near the speed of cat.
source "$(dirname "$0")/setup.sh"

MIN_RATIO=5
python=${REFERENCE:-python3}
"$python" -c 'import torch, transformers, safetensors, gguf' 2>/dev/null ||
    die "$python lacks torch, transformers, safetensors or gguf: set REFERENCE, see docs/reference-f16.md"
unpacked=$TARGET/bench_convert/llama.cpp
# WORK: a folder on another disk, or in memory.
work=${WORK:-$TARGET/bench_convert}/work
install_build_tools
converter=$unpacked/convert_hf_to_gguf.py
[ -f "$converter" ] || unpack_llama "$unpacked"
build_tenpak
tenpak=${TENPAK:-$tenpak} # TENPAK: another program
rm -rf "$work" && mkdir -p "$work"
trap 'rm -rf "$work"' EXIT
if [ $# -gt 0 ]; then
    folder=$1
else
    folder=$work/1b
    python3 "$ROOT/scripts/make_llama.py" "$folder" 1b >/dev/null
    cp "$("$ROOT/scripts/fetch_model.sh")"/tokenizer*.json "$folder/"
fi

# measured COMMAND...: seconds, and those of all cores together, of the better of two runs; the first fills the cache
measured() {
    for _ in 1 2; do
        rm -f "$work"/*.gguf "$work"/copy
        "$judge" measured "$work/log" "$@" | cut -d' ' -f 1,2
    done | sort -n | head -n 1
}

bytes=$(cat "$folder"/*.safetensors | wc -c)
copied=$(measured sh -c "cat '$folder'/*.safetensors >'$work/copy'")
echo "# scripts/bench_convert.sh, $(date +%F), $(nproc) cores, files in $(df --output=fstype "$work" | tail -n 1)"
echo "# s: seconds; cpu: seconds of all cores together; ratios are of the converter to ours"
printf '%-6s %8s %8s %12s %12s %8s %8s %10s\n' type "ours s" cpu "converter s" cpu "ratio s" cpu "ours MB/s"
slow=0
for type in ${TYPES:-bf16 f16 f32}; do
    ours=$(measured "$tenpak" convert "$folder" -o "$work/ours.gguf" --outtype $type)
    theirs=$(measured "$python" "$converter" "$folder" --outfile "$work/theirs.gguf" --outtype $type)
    awk -v type=$type -v bytes=$bytes '{
        printf "%-6s %8.2f %8.2f %12.2f %12.2f ", type, $1, $2, $3, $4
        printf "%7.1fx %7.1fx %10.0f\n", $3 / $1, $4 / $2, bytes / $1 / 1e6
    }' <<<"$ours $theirs"
    awk -v least=$MIN_RATIO '{ exit !($3 / $1 >= least) }' <<<"$ours $theirs" || slow=1
done
awk -v bytes=$bytes '{
    printf "cat of the same %.2f GB: %.2f s, cpu %.2f, %.0f MB/s\n", bytes / 1e9, $1, $2, bytes / $1 / 1e6
}' <<<"$copied"
[ $slow = 0 ] || die "a plain conversion should be $MIN_RATIO times as fast as the converter"
