#!/usr/bin/env bash
# What to calibrate on: text that the model writes, mixed real text (calibration_text.sh), or half of each. Every linear layer
# in one type, embeddings and output head as in the base; judged by the divergence from the base on text that nobody calibrated on.
# Each text is run once: the statistics of more tokens, and those of half of each text, are sums of others (calibrate --merge).
#
#   MODELS="smollm2 qwen"    TOKENS="32768 131072"    CHUNKS=24 (of 512 tokens, to judge on)    TYPE=t3    EFFORT=fast
#   LLAMA=FOLDER             programs of the patched llama.cpp that are built already
#
# It is judged on wiki.utf8, on heldout.txt (of the kinds of the real text) and on what the model writes with another seed, where
# the chat template's tokens are left out, because llama-perplexity reads them as characters. Numbers of tokens are each other's times a
# power of two. What a step has made stays in target/compare_texts/ as long as another needs it, four times 4.9 GB for each text of qwen;
# the table goes to benches/record/.
source "$(dirname "$0")/setup.sh"
need cargo 'install Rust'
build_tenpak
llama=${LLAMA:-$(LLAMA_TARGETS="llama-perplexity llama-quantize llama-tenpak-calibrate" "$ROOT/scripts/build_llama.sh")}
real=$("$ROOT/scripts/calibration_text.sh")
chunks=${CHUNKS:-24} type=${TYPE:-t3} effort=${EFFORT:-fast}
models=${MODELS:-smollm2} tokens=${TOKENS:-32768 131072}
most=$(tr ' ' '\n' <<<"$tokens" | sort -n | tail -n 1)
least=$(($(tr ' ' '\n' <<<"$tokens" | sort -n | head -n 1) / 2)) # half of each text
for n in $tokens; do
    times=$((n / least))
    ((n == least * times && (times & (times - 1)) == 0)) || die "TOKENS: $n is not $((2 * least)) times a power of two"
done
work=$TARGET/compare_texts
mkdir -p "$work"
cd "$work"

# own BASE TOKENS SEED OUT: a text that the model writes; prints seconds, CPU seconds and kilobytes
own() {
    "$judge" measured "$4.run" "$llama/llama-tenpak-calibrate" -m "$1" --write-text "$4" --tokens "$2" --seed "$3" -t "$(nproc)"
}

# piece FILE I OF OUT: the I-th, from 0, of so many pieces of a text, cut between its paragraphs
piece() {
    python3 - "$@" <<'END'
import sys
text = open(sys.argv[1], encoding="utf-8", newline="").read()
i, of = int(sys.argv[2]), int(sys.argv[3])
def start(i):
    found = text.find("\n\n", len(text) * i // of)
    return len(text) if i == of or found < 0 else found + 2 if i else 0
open(sys.argv[4], "w", encoding="utf-8", newline="").write(text[start(i) : start(i + 1)])
END
}

# gram BASE TEXT TOKENS OUT: statistics, without the sensitivities, which nothing here asks for; prints what it took
gram() {
    "$judge" measured "$4.run" "$tenpak" calibrate "$1" -f "$2" --parse-special --tokens "$3" --budget none --collector "$llama" \
        --threads "$(nproc)" -o "$4"
}

# sums MODEL BASE TEXT TOKENS: the statistics of the first tokens of a text, as $model-$text-$tokens.gram.gguf. Those of twice as many
# are added to these: the text is run once, however many numbers of tokens are compared.
sums() {
    local name=$1-$3-$4 half=$1-$3-$(($4 / 2)) pieces=$((most / least))
    [ ! -e "$name.gram.gguf" ] || return 0
    if [ "$4" -le "$least" ]; then
        piece "$3.txt" 0 "$pieces" "$name.piece"
        made "$name.gram.gguf" gram "$2" "$name.piece" "$4" "$name.gram.gguf.part"
        return
    fi
    sums "$1" "$2" "$3" $(($4 / 2))
    piece "$3.txt" 1 $((2 * most / $4)) "$name.piece"
    made "$name.more.gram.gguf" gram "$2" "$name.piece" $(($4 / 2)) "$name.more.gram.gguf.part"
    made "$name.gram.gguf" "$tenpak" calibrate --merge "$half.gram.gguf" "$name.more.gram.gguf" -o "$name.gram.gguf.part" --force
    rm "$name.more.gram.gguf"
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
    made "$written" own "$base" $((most * 11 / 10)) 1 "$written.part" # pieces differ in bytes for a token
    made "$trace" own "$base" $((chunks * 512 + 2048)) 2 "$trace.part"
    sed -E 's/<\|[a-z_]+\|>//g' "$trace" >trace.txt
    ln -sf "$written" own.txt
    ln -sf "$real" real.txt
    ln -sf "$TARGET/models/text/wiki.utf8" wiki.txt
    ln -sf "$TARGET/models/text/heldout.txt" heldout.txt
    for judged in wiki heldout trace; do
        logits=$model-$judged-$chunks.logits
        made "$logits" "$judge" logits "$llama" "$judged.txt" "$chunks" "$base" "$logits.part" "$logits.judge.log"
    done
    for n in $tokens; do
        for text in own real half; do
            name=$model-$text-$n
            if [ ! -e "$name.gguf" ] && [ $text = half ]; then
                for kind in own real; do sums "$model" "$base" $kind $((n / 2)); done
                made "$name.gram.gguf" "$tenpak" calibrate --merge "$model"-{own,real}-$((n / 2)).gram.gguf -o "$name.gram.gguf.part" --force
            elif [ ! -e "$name.gguf" ]; then
                sums "$model" "$base" $text "$n"
            fi
            made "$name.gguf" "$tenpak" convert "$base" --calibration "$name.gram.gguf" --type "$type" --keep-embeddings \
                --effort "$effort" -o "$name.gguf.part" --force
            [ $text != half ] || rm -f "$name.gram.gguf"
            row="$model $n $text"
            for judged in wiki heldout trace; do
                result=$name-$judged-$chunks.result
                [ -e "$result" ] || "$judge" divergence "$llama" "$judged.txt" "$chunks" "$name.gguf" \
                    "$model-$judged-$chunks.logits" "$result.log" >"$result.part"
                [ -e "$result" ] || mv "$result.part" "$result"
                row+=" $(awk '{ printf "%.4f %+.2f", $3, 100 * ($1 / $2 - 1) }' "$result")"
            done
            rows+="$row - -"$'\n'
        done
        # More tokens are added to these, and to no fewer.
        for had in "$model"-{own,real}-*.gram.gguf; do
            [[ $n != "$most" && $had == *-"$n".gram.gguf ]] || rm -f "$had"
        done
    done
    rows+="$model $((most * 11 / 10)) writing - - - - - - $(awk '{ print $1, $2 }' "$written.log" | tail -n 1)"$'\n'
    rows+="$model $((most / 2)) reading - - - - - - $(awk '{ print $1, $2 }' "$model-own-$most.more.gram.gguf.log" | tail -n 1)"$'\n'
done

{
    echo "# scripts/compare_calibration_texts.sh, $(date +%F), $(sed -nE 's/^model name\s*: //p' /proc/cpuinfo | head -n 1), $(nproc) cores"
    echo "# $type for all linear layers, --effort $effort; mean KLD and increase of perplexity on $chunks chunks of 512 tokens"
    {
        echo "model tokens text wiki % heldout % own % seconds CPU"
        printf %s "$rows"
    } | column -t
} | tee "$ROOT/benches/record/calibration-texts-$(date +%F)-$(tr ' ' - <<<"$models-$tokens").txt"
