#!/usr/bin/env bash
# Our types beside llama.cpp's and ik_llama.cpp's: every linear layer in one type, embeddings and output head as in
# the base, everybody calibrated on the same text, all judged against the base on text that no calibration has seen.
#
#   MODELS="smollm2 qwen"    CALIBRATION=131072 (tokens)    CHUNKS=40 (of 512 tokens, to judge on)
#   TYPES="IQ2_XXS IQ2_KT t2 IQ3_XXS IQ3_KT t3 IQ4_XS t4"
#
# TYPE+ffn_up=q4_0+... gives the tensors of a name another type (llama.cpp only). Takes 25 GB of disk and hours; what a
# step has made stays in target/compare_peers/, so that an interrupted run goes on and a longer list adds to the table,
# which goes to benches/record/.
source "$(dirname "$0")/setup.sh"
need cargo 'install Rust'
build_tenpak
ours=$(sha256sum <"$tenpak" | cut -c1-8) # another tenpak-gguf makes other files
llama=$(LLAMA_TARGETS="llama-perplexity llama-quantize llama-imatrix llama-tenpak-calibrate" "$ROOT/scripts/build_llama.sh")
ik=$("$ROOT/scripts/build_ik_llama.sh")
text=$("$ROOT/scripts/calibration_text.sh")
chunks=${CHUNKS:-40}
tokens=${CALIBRATION:-131072}
work=$TARGET/compare_peers
mkdir -p "$work"
cd "$work"

# bpw FILE: of the linear layers
bpw() {
    "$tenpak" inspect "$1" --summary | sed -nE 's/^linear layers: ([0-9.]+) bpw.*/\1/p'
}

# judged PROGRAMS LOGITS FILE RESULT: bits per weight, bytes, perplexity, that of the base, divergence
judged() {
    local judgement
    say "judging $3" >&2
    judgement=$("$judge" divergence "$1" "$TARGET/models/text/wiki.utf8" "$chunks" "$3" "$2" "$4.log")
    echo "$(bpw "$3") $(wc -c <"$3") ${judgement% *}" >"$4.part"
    mv "$4.part" "$4"
}

# peer PROGRAMS BASE IMATRIX OUT TYPE FLOAT: by a llama-quantize
peer() {
    local overrides
    overrides=$(tr '+' '\n' <<<"$5" | sed -n '2,$s/^/--tensor-type /p')
    # shellcheck disable=SC2086 # several words
    "$1/llama-quantize" --imatrix "$3" --pure --token-embedding-type "$6" --output-tensor-type "$6" $overrides \
        "$2" "$4" "${5%%+*}" "$(nproc)"
}

rows=
for model in ${MODELS:-smollm2 qwen}; do
    case $model in
    smollm2)
        float=f16 base=smollm2.gguf
        made "$base" "$tenpak" convert "$TARGET/models/SmolLM2-135M-Instruct" -o "$base.part" --outtype f16 --force
        ;;
    qwen) float=bf16 base=$("$ROOT/scripts/fetch_qwen.sh") ;;
    *) die "no model is called $model: smollm2 or qwen" ;;
    esac
    logits=$model-$chunks.logits
    made "$logits" "$judge" logits "$llama" "$TARGET/models/text/wiki.utf8" "$chunks" "$base" "$logits.part" "$logits.judge.log"
    for type in ${TYPES:-IQ2_XXS IQ2_KT t2 IQ3_XXS IQ3_KT t3 IQ4_XS t4}; do
        name=$model-$tokens-$type
        programs=$llama
        case $type in
        t[0-9]*) name=$name-$ours ;;
        IQ*_K | IQ*_K[TSL] | IQ*_KSS) programs=$ik ;;
        esac
        result=$name-$chunks.result
        if [ ! -e "$result" ]; then
            case $type in
            t[0-9]*)
                gram=$model-$tokens.gram.gguf
                made "$gram" "$tenpak" calibrate "$base" -f "$text" --tokens "$tokens" --collector "$llama" \
                    -o "$gram.part"
                made "$name.gguf" "$tenpak" convert "$base" --calibration "$gram" --type "$type" --keep-embeddings \
                    -o "$name.gguf.part" --force
                ;;
            *)
                # ik_llama.cpp reads the old format only
                imatrix=$model-$tokens.imatrix
                made "$imatrix" "$llama/llama-imatrix" -m "$base" -f "$text" -c 512 --chunks $((tokens / 512)) \
                    -t "$(nproc)" --no-ppl --output-format dat -o "$imatrix.part"
                made "$name.gguf" peer "$programs" "$base" "$imatrix" "$name.gguf.part" "$type" "$float"
                ;;
            esac
            judged "$programs" "$logits" "$name.gguf" "$result"
        fi
        rows+="$model $type $(cat "$result")"$'\n'
    done
done

{
    echo "# scripts/compare_peers.sh, $(date +%F), $(sed -nE 's/^model name\s*: //p' /proc/cpuinfo | head -n 1), $(nproc) cores"
    echo "# $tokens tokens of calibration for everybody, judged on $chunks chunks of 512 tokens of wiki.utf8"
    printf %s "$rows" | python3 "$ROOT/scripts/peers_table.py"
} >table.txt
cat table.txt
# A record of one day's other models or tokens stays.
cp table.txt "$ROOT/benches/record/peers-$(date +%F)-$(tr ' ' - <<<"${MODELS:-smollm2 qwen}")-$tokens.txt"
install_tools plot matplotlib==3.10.7
for model in ${MODELS:-smollm2 qwen}; do
    "$TOOLS/plot/bin/python" "$ROOT/scripts/peers_plot.py" table.txt "$model" "$model.svg"
    say "a picture: $work/$model.svg"
done
