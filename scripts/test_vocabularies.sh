#!/usr/bin/env bash
# llama.cpp's vocabularies (models/ggml-vocab-*.gguf of its tree) as checkpoints, through the converter: its tokenizer
# makes the ids of the .out file of the texts in the .inp file, and the keys are those of the vocabulary.
#
# The checkpoints' own files cannot be had; examples/vocabulary.rs rebuilds them. Left out: bert-bge (WordPiece) and
# gemma-4 (another architecture's tokenizer), which the converter does not read, and those without .inp.
source "$(dirname "$0")/setup.sh"

VOCABULARIES="command-r deepseek-coder deepseek-llm falcon gpt-2 llama-bpe llama-spm mpt phi-3 qwen2 qwen35 refact starcoder"

llama=$(LLAMA_TARGETS=test-tokenizer-0 "$ROOT/scripts/build_llama.sh")
(cd "$ROOT" && cargo build --quiet --release --bin tenpak-gguf --example vocabulary)
tenpak=$TARGET/release/tenpak-gguf
vocabulary=$TARGET/release/examples/vocabulary
work=$TARGET/test_vocabularies
rm -rf "$work" && mkdir -p "$work"
cd "$work"

say "vocabularies"
for name in $VOCABULARIES; do
    file=$llama/../../models/ggml-vocab-$name.gguf
    [ -f "$file" ] || die "$file is missing"
    options=(--outtype f16)
    # These are qwen2's tokens under another name; by them it would be qwen2.
    [ "$name" = qwen35 ] && options+=(--tokenizer-pre qwen35)
    "$vocabulary" rebuild "$file" "$name"
    "$tenpak" convert "$name" -o "$name.gguf" "${options[@]}" >"$name.log" 2>&1 || { cat "$name.log" >&2; die "$name: no file"; }
    cp "$file.inp" "$name.gguf.inp"
    cp "$file.out" "$name.gguf.out"
    "$llama/test-tokenizer-0" "$name.gguf" >"$name.log" 2>&1 </dev/null ||
        { grep -a "test-tokenizer\|ASSERT\|failed" "$name.log" | head -n 10 >&2; die "$name: other ids, see $work/$name.log"; }
    grep -aq '^Tests passed$' "$name.log" || die "$name: test-tokenizer-0 tested nothing, see $work/$name.log"
    "$vocabulary" compare "$file" "$name.gguf"
    echo "$name: $(wc -l <"$name.gguf.out") texts have the ids that they should"
    rm -r "$name" "$name.gguf"
done
