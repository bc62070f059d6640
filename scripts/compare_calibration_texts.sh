#!/usr/bin/env bash
# What to calibrate on: text that the model writes, mixed real text (calibration_text.sh), or half of each. Every linear layer
# in one type, embeddings and output head as in the base; judged by the divergence from the base on text that nobody calibrated on.
#
#   MODELS="smollm2 qwen"    TOKENS="32768 131072"    CHUNKS=24 (of 512 tokens, to judge on)    TYPE=t3    EFFORT=fast
#   LLAMA=FOLDER             programs of the patched llama.cpp that are built already
#
# It is judged on wiki.utf8, on heldout.txt (of the kinds of the real text) and on what the model writes with another seed, where
# the chat template's tokens are left out, because llama-perplexity reads them as characters. The own text of fewer
# tokens is the start of that of most. What a step has made stays in target/compare_texts/; the table goes to benches/record/.
source "$(dirname "$0")/setup.sh"
need cargo 'install Rust'
build_tenpak
llama=${LLAMA:-$(LLAMA_TARGETS="llama-perplexity llama-quantize llama-tenpak-calibrate" "$ROOT/scripts/build_llama.sh")}
real=$("$ROOT/scripts/calibration_text.sh")
chunks=${CHUNKS:-24} type=${TYPE:-t3} effort=${EFFORT:-fast}
models=${MODELS:-smollm2} tokens=${TOKENS:-32768 131072}
most=$(tr ' ' '\n' <<<"$tokens" | sort -n | tail -n 1)
work=$TARGET/compare_texts
mkdir -p "$work"
cd "$work"

# own BASE TOKENS SEED OUT: a text that the model writes; prints seconds, CPU seconds and kilobytes
own() {
    "$judge" measured "$4.run" "$llama/llama-tenpak-calibrate" -m "$1" --write-text "$4" --tokens "$2" --seed "$3" -t "$(nproc)"
}

# documents FILE SHARE OUT: the first documents of a text of the model's own, so many thousandths of its bytes or all
documents() {
    python3 - "$@" <<'EOF'
import sys
text = open(sys.argv[1], encoding="utf-8", newline="").read()
end = text.find("\n\n", len(text) * int(sys.argv[2]) // 1000)
open(sys.argv[3], "w", encoding="utf-8", newline="").write(text if end < 0 else text[: end + 2])
EOF
}

# gram BASE TEXT TOKENS OUT: statistics, without the sensitivities, which nothing here asks for; prints what it took
gram() {
    "$judge" measured "$4.run" "$tenpak" calibrate "$1" -f "$2" --parse-special --tokens "$3" --budget 0 --collector "$llama" \
        --threads "$(nproc)" -o "$4"
}

rows=
for model in $models; do
    case $model in
    smollm2)
        base=smollm2.gguf
        made "$base" "$tenpak" convert "$TARGET/models/SmolLM2-135M-Instruct" -o "$base.part" --outtype f16 --force
        ;;
    qwen) base=$("$ROOT/scripts/fetch_qwen.sh") ;;
    *) die "no model is called $model: smollm2 or qwen" ;;
    esac
    written=$model-own-$most.txt trace=$model-trace.txt
    made "$written" own "$base" "$most" 1 "$written.part"
    made "$trace" own "$base" $((chunks * 512 + 2048)) 2 "$trace.part"
    sed -E 's/<\|[a-z_]+\|>//g' "$trace" >trace.txt
    ln -sf "$TARGET/models/text/wiki.utf8" wiki.txt
    ln -sf "$TARGET/models/text/heldout.txt" heldout.txt
    for judged in wiki heldout trace; do
        logits=$model-$judged-$chunks.logits
        made "$logits" "$judge" logits "$llama" "$judged.txt" "$chunks" "$base" "$logits.part" "$logits.judge.log"
    done
    for n in $tokens; do
        documents "$written" $((1050 * n / most)) own.txt # more than are used, since documents differ in bytes for a token
        documents "$written" $((500 * n / most)) half.txt
        cat "$real" >>half.txt
        ln -sf "$real" real.txt
        for text in own real half; do
            name=$model-$n-$text
            made "$name.gram.gguf" gram "$base" "$text.txt" "$n" "$name.gram.gguf.part"
            made "$name.gguf" "$tenpak" convert "$base" --calibration "$name.gram.gguf" --type "$type" --keep-embeddings \
                --effort "$effort" -o "$name.gguf.part" --force
            row="$model $n $text"
            for judged in wiki heldout trace; do
                result=$name-$judged-$chunks.result
                [ -e "$result" ] || "$judge" divergence "$llama" "$judged.txt" "$chunks" "$name.gguf" \
                    "$model-$judged-$chunks.logits" "$result.log" >"$result.part"
                [ -e "$result" ] || mv "$result.part" "$result"
                row+=" $(awk '{ printf "%.4f %+.2f", $3, 100 * ($1 / $2 - 1) }' "$result")"
            done
            rows+="$row $(awk '{ print $1, $2 }' "$name.gram.gguf.log" | tail -n 1)"$'\n'
        done
    done
    rows+="$model $most writing - - - - - - $(awk '{ print $1, $2 }' "$written.log" | tail -n 1)"$'\n'
done

{
    echo "# scripts/compare_calibration_texts.sh, $(date +%F), $(sed -nE 's/^model name\s*: //p' /proc/cpuinfo | head -n 1), $(nproc) cores"
    echo "# $type for all linear layers, --effort $effort; mean KLD and increase of perplexity on $chunks chunks of 512 tokens"
    {
        echo "model tokens text wiki % heldout % own % seconds CPU"
        printf %s "$rows"
    } | column -t
} | tee "$ROOT/benches/record/calibration-texts-$(date +%F)-$(tr ' ' - <<<"$models-$tokens").txt"
