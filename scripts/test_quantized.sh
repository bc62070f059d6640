#!/usr/bin/env bash
# Quantized checkpoints of a real model, kept as they are, in llama.cpp: what the kernels of g4_128 and nf4_64 compute
# against what the same weights as floats do. Then parts of a file, by one process and by three, which llama.cpp reads and merges.
#
#   TENPAK=program LLAMA=folder CHECKED=folder scripts/test_quantized.sh       with what is built already
source "$(dirname "$0")/setup.sh"

# Chunks of 512 tokens for perplexities, and for those of kernels that check themselves.
CHUNKS=${CHUNKS:-4}
CHECKED_CHUNKS=2
# Divergence of the kernels from the same weights as floats: activations are rounded to 8 bits (.0010 and .0043 nats seen).
MAX_KLD=0.008
# Bytes of a part: three of them.
PART=100M

[ -n "${TENPAK:-}" ] || (cd "$ROOT" && cargo build --quiet --release)
tenpak=${TENPAK:-$TARGET/release/tenpak-gguf}
llama=${LLAMA:-$("$ROOT/scripts/build_llama.sh")}
folder=$("$ROOT/scripts/fetch_model.sh")
text=$TARGET/models/text/wiki.utf8
checked=${CHECKED:-$("$ROOT/scripts/build_ggml_variant.sh" checked)}
work=$TARGET/test_quantized
rm -rf "$work" && mkdir -p "$work"
cd "$work"

# tensors FILE: digests of its tensors
tensors() { "$tenpak" inspect "$1" --digest | grep ^tensor; }

# kept METHOD TYPE COUNT: a checkpoint of that method, and what becomes of it
kept() {
    say "$1, kept as $2"
    (cd "$ROOT" && cargo run --quiet --release --example make_quantized "$folder" "$1" "$work/$1")
    quietly "convert-$1" "$tenpak" convert "$1" -o "$1.gguf"
    grep "quantized already" "convert-$1.log"
    grep -q "quantized already: $3 tensors .*, kept without loss as $2" "convert-$1.log" ||
        die "$3 tensors should have been kept as $2"
    quietly "export-$1" "$tenpak" export "$1.gguf" -o "$1-plain.gguf"
    local kld
    kld=$(divergence "$1" "$1-plain" "$CHUNKS")
    rm "$1-plain.logits"
    echo "divergence from the exported weights: $kld"
    awk "BEGIN { exit !($kld <= $MAX_KLD) }" || die "the divergence is more than $MAX_KLD"
    perplexity "$1" "$CHECKED_CHUNKS" "unchecked-$1" >"$1.txt"
    LD_LIBRARY_PATH=$checked perplexity "$1" "$CHECKED_CHUNKS" "checked-$1" >"$1-checked.txt"
    cmp "$1.txt" "$1-checked.txt" || die "checked kernels give $(cat "$1-checked.txt") instead of $(cat "$1.txt")"
    echo "$CHECKED_CHUNKS chunks with every call computed again by scalar: $(cat "$1-checked.txt")"
}
# 30 layers; in the first, the rows of a second matrix are no whole groups.
kept gptq g4_128 30
grep -q "quantized already: 1 tensors .*, quantized anew to t4_64" convert-gptq.log ||
    die "a matrix should have been quantized anew"
kept nf4 nf4_64 210

say "files in parts"
quietly whole "$tenpak" convert "$folder" -o whole.gguf --outtype f16
quietly parts "$tenpak" convert "$folder" -o part.gguf --outtype f16 --split-max-size $PART
for job in 2/3 1/3 3/3; do
    quietly "shard-${job%/3}" "$tenpak" convert "$folder" -o shard.gguf --outtype f16 --shard $job
done
for name in part shard; do
    first=$(echo $name-00001-of-*.gguf)
    quietly "completion-$name" "$llama/llama-completion" -m "$first" -p "The capital of France is" -n 8 --temp 0 -no-cnv
    grep -q "The capital of France is ." "completion-$name.log" || die "llama-completion continued nothing from $first"
    quietly "merge-$name" "$llama/llama-gguf-split" --merge "$first" "$name.gguf"
    diff <(tensors whole.gguf) <(tensors "$name.gguf") || die "the merged parts have other tensors than the whole"
    echo "$(ls $name-*.gguf | wc -l) parts ($name) loaded by llama-completion; llama-gguf-split --merge gives the same tensors"
done
