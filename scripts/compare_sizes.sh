#!/usr/bin/env bash
# What files of given sizes cost: our mixes for them, one trellis type for all linear layers of the same size, and whole files of
# llama.cpp and ik_llama.cpp, which get an imatrix from the text that our mixes are calibrated on. All are judged against the
# model's own predictions on two texts that nobody calibrated on: wiki.utf8 and heldout.txt.
#
#   MODELS="smollm2 qwen"    SIZES="8x 10x 12x 14x" (none: peers alone)    TOKENS=32768    EFFORT=normal    CHUNKS=16 (of 512 tokens, of each text)
#   UNIFORM="10x"                      sizes for which one type for all linear layers is judged too
#   PEERS="IQ2_M IQ3_XXS IQ3_KT ..."   llama-quantize's types; IQ*_K and IQ*_KT are ik_llama.cpp's
#   TEXT=FILE                          text to calibrate on, instead of what the model writes itself
#   LLAMA=FOLDER                       programs of the patched llama.cpp that are built already
#
# What a step has made stays in target/compare_sizes/ and target/cache/, so that an interrupted run goes on and a longer list adds to
# the table, which goes to benches/record/.
source "$(dirname "$0")/setup.sh"
need cargo 'install Rust'
build_tenpak
llama=${LLAMA:-$(LLAMA_TARGETS="llama-perplexity llama-quantize llama-imatrix llama-tenpak-calibrate" "$ROOT/scripts/build_llama.sh")}
"$ROOT/scripts/calibration_text.sh" >/dev/null # makes heldout.txt
sizes=${SIZES-8x 10x 12x 14x} uniform=${UNIFORM:-} peers=${PEERS-IQ2_XXS IQ2_M IQ3_XXS Q2_K Q3_K_M Q4_K_M}
tokens=${TOKENS:-32768} effort=${EFFORT:-normal} chunks=${CHUNKS:-16}
ours=$(sha256sum <"$tenpak" | cut -c1-8) # another tenpak-gguf makes other files
# With the text of the model's own, marks of its chat template are tokens.
given=self special=--parse-special
[ -z "${TEXT:-}" ] || given=$(realpath "$TEXT") special=
work=$TARGET/compare_sizes
mkdir -p "$work"
cd "$work"
ln -sf "$TARGET/models/text/wiki.utf8" wiki
ln -sf "$TARGET/models/text/heldout.txt" heldout

# mix MODEL SIZE OUT: our best mix of a size, with its recipe beside it
mix() {
    "$judge" measured "$3.run" "$tenpak" convert "$1" -o "$3" --target "$2" --calibration-text "$given" --calibration-tokens "$tokens" \
        --effort "$effort" --cache "$TARGET/cache" --collector "$llama" --save-recipe "${3%.part}.toml" --force
    cat "$3.run" >&2
}

# one_type MODEL SIZE OUT GRAM: the largest type for all linear layers with which the size is met, then head, then embeddings
one_type() {
    local linear head embeddings bpw
    for linear in t4 t35 t3 t25 t2; do
        for head in t4 t35 t3 t25 t2; do
            for embeddings in t4 t35 t3 t25 t2; do
                printf '[[rule]]\nroles = ["%s"]\ntypes = ["%s", "stored"]\noptional = true\n' head $head embeddings $embeddings >"$3.toml"
                printf '[[rule]]\ntypes = ["%s", "stored"]\n' $linear >>"$3.toml"
                bpw=$("$tenpak" convert "$1" --recipe "$3.toml" --dry-run --no-calibration 2>/dev/null | sed -nE 's/^file: .*, ([0-9.]+) bpw.*/\1/p')
                if awk "BEGIN { exit !($bpw <= 32 / ${2%x}) }"; then
                    echo "linear layers $linear, head $head, embeddings $embeddings"
                    "$tenpak" convert "$1" -o "$3" --recipe "$3.toml" --calibration "$4" --effort "$effort" --force
                    return
                fi
            done
        done
    done
    die "no type is small enough for $2"
}

# peer BASE IMATRIX TYPE OUT
peer() {
    local programs=$llama
    case $3 in IQ*_K | IQ*_K[TSL] | IQ*_KSS) programs=$("$ROOT/scripts/build_ik_llama.sh") ;; esac
    "$programs/llama-quantize" --imatrix "$2" "$1" "$4" "$3" "$(nproc)"
}

# judged MODEL NAME KIND SIZE: a row of the table
judged() {
    local text programs=$llama expected=- row
    case $2 in *-IQ*_K | *-IQ*_K[TSL] | *-IQ*_KSS) programs=$("$ROOT/scripts/build_ik_llama.sh") ;; esac
    [ "$3" = mix ] && expected=$(sed -nE 's/.*a divergence of ([0-9.]+) is expected.*/\1/p' "$2.gguf.log" | head -n 1)
    row="$1 $3 $4 $(wc -c <"$2.gguf") $expected"
    for text in wiki heldout; do
        if [ ! -e "$2.$text-$chunks" ]; then
            say "judging $2 on $text" >&2
            "$judge" divergence "$programs" "$text" "$chunks" "$2.gguf" "$1-$text-$chunks.logits" "$2.judge.log" >"$2.judging"
            mv "$2.judging" "$2.$text-$chunks"
        fi
        row+=" $(cut -d' ' -f1-3 "$2.$text-$chunks")"
    done
    echo "$row"
}

rows=
for model in ${MODELS:-smollm2 qwen}; do
    name=
    case $model in
    smollm2)
        source=$TARGET/models/SmolLM2-135M-Instruct base=smollm2.gguf
        made "$base" "$tenpak" convert "$source" -o "$base.part" --outtype bf16 --force
        ;;
    qwen) base=$("$ROOT/scripts/fetch_qwen.sh") source=$base ;;
    *) die "no model is called $model: smollm2 or qwen" ;;
    esac
    for text in wiki heldout; do
        logits=$model-$text-$chunks.logits
        made "$logits" "$judge" logits "$llama" "$text" "$chunks" "$base" "$logits.part" "$logits.judge.log"
    done
    key=$model-$(basename "${given%.*}")-$tokens
    for size in $sizes; do
        name=$key-$effort-$size-$ours
        made "$name.gguf" mix "$source" "$size" "$name.gguf.part"
        rows+="$(judged "$model" "$name" mix "$size")"$'\n'
    done
    log=${name:+$name.gguf.log}
    for size in $uniform; do
        gram=$(sed -nE 's/^statistics and sensitivities.*: (.*)$/\1/p' "$log")
        name=$key-$effort-one-$size-$ours
        made "$name.gguf" one_type "$source" "$size" "$name.gguf.part" "$gram"
        rows+="$(judged "$model" "$name" one-type "$size")"$'\n'
    done
    if [ -n "$peers" ]; then
        own=$given
        if [ "$given" = self ] && [ -n "$log" ]; then
            own=$(sed -nE "s/^text that the model writes.*: (.*own-$tokens-1.txt)\$/\\1/p" "$log")
        elif [ "$given" = self ]; then
            own=$key.txt
            made "$own" "$llama/llama-tenpak-calibrate" -m "$base" --write-text "$own.part" --tokens "$tokens" --seed 1 -t "$(nproc)"
        fi
        imatrix=$key.imatrix
        # ik_llama.cpp reads the old format only
        # shellcheck disable=SC2086 # no word or one
        made "$imatrix" "$llama/llama-imatrix" -m "$base" -f "$own" $special -c 512 --chunks $((tokens / 512)) -t "$(nproc)" --no-ppl \
            --process-output --output-format dat -o "$imatrix.part"
    fi
    for type in $peers; do
        name=$key-$type
        made "$name.gguf" peer "$base" "$imatrix" "$type" "$name.gguf.part"
        rows+="$(judged "$model" "$name" "$type" -)"$'\n'
    done
done

{
    echo "# scripts/compare_sizes.sh, $(date +%F), $(sed -nE 's/^model name\s*: //p' /proc/cpuinfo | head -n 1), $(nproc) cores"
    echo "# calibrated on $tokens tokens ($(basename "$given")), --effort $effort; judged on $chunks chunks of 512 tokens of each text"
    printf %s "$rows" | python3 "$ROOT/scripts/sizes_table.py"
} >table.txt
cat table.txt
cp table.txt "$ROOT/benches/record/sizes-$(date +%F)-$(tr ' ' - <<<"${MODELS:-smollm2 qwen}").txt"
