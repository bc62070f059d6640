#!/usr/bin/env bash
# What the recipes of TenPak's experiments cost (docs/recipes-of-tenpak.md), beside one trellis type for the same matrices and beside
# the best mix of types for the bytes of some recipes. All are judged against the model's own predictions on wiki.utf8 and heldout.txt,
# of which nothing is calibrated on.
#
#   MODEL=smollm2|qwen    RECIPES="v10 v20 ..."    TYPES="t4 t35 ..."    MIXES="v10 ..."   recipes whose bytes a mix gets too [default: all]
#   CALIBRATION=FILE                   of `tenpak-gguf calibrate`, with sensitivities [default: made from text of the model's own]
#   EFFORT=fast    CHUNKS=16 (of 512 tokens, of each text)    THREADS=2 [default: all cores]    KEEP=1   files stay when they are judged
#   LLAMA=FOLDER                       programs of the patched llama.cpp that are built already
#   BUILT=FOLDER                       tenpak-gguf, built already
#
# What files cost stays in target/tenpak_recipes/, so that an interrupted run goes on. The table, of all that is there of the model, goes
# to benches/record/.
source "$(dirname "$0")/setup.sh"
if [ -n "${BUILT:-}" ]; then tenpak=$BUILT/tenpak-gguf; else build_tenpak; fi
llama=${LLAMA:-$(LLAMA_TARGETS="llama-perplexity llama-tenpak-calibrate" "$ROOT/scripts/build_llama.sh")}
"$ROOT/scripts/calibration_text.sh" >/dev/null # makes heldout.txt
model=${MODEL:-smollm2} effort=${EFFORT:-fast} chunks=${CHUNKS:-16}
all=$("$tenpak" recipes | awk '/TenPak/ { found = 1 } found && $1 ~ /^(v[0-9]|int|nf|pq|aqlm|tenpak-x)/ { print $1 }')
recipes=${RECIPES:-$all}
work=$TARGET/tenpak_recipes
threads=(${THREADS:+--threads "$THREADS"})
mkdir -p "$work"
cd "$work"
case $model in
smollm2)
    source=$TARGET/models/SmolLM2-135M-Instruct base=smollm2.gguf
    made "$base" "$tenpak" convert "$source" -o "$base.part" --outtype bf16 --force
    ;;
qwen) source=$("$ROOT/scripts/fetch_qwen.sh") base=$source ;;
*) die "no model is called $model: smollm2 or qwen" ;;
esac
gram=${CALIBRATION:-$model.gram.gguf}
[ -n "${CALIBRATION:-}" ] || made "$gram" "$tenpak" calibrate "$base" -f self -o "$gram.part" --tokens 32768 --collector "$llama"

# judged NAME OPTION...: what a file costs that convert makes with these options
judged() {
    local out=$model-$1.gguf
    shift
    if [ ! -e "$out.csv" ]; then
        made "$out" "$tenpak" convert "$source" -o "$out.part" --calibration "$gram" --effort "$effort" --force "${threads[@]}" "$@"
        "$tenpak" eval "$out" --against "$base" -f "wiki=$TARGET/models/text/wiki.utf8" -f "heldout=$TARGET/models/text/heldout.txt" \
            --chunks "$chunks" --collector "$llama" --cache "$TARGET/cache" "${threads[@]}" --csv >"$out.csv.part" 2>"$out.eval.log" ||
            die "it cannot be judged: see $work/$out.eval.log"
        mv "$out.csv.part" "$out.csv"
        [ -n "${KEEP:-}" ] || rm -f "$out" "${out%.gguf}"*.lora.gguf
    fi
}
for recipe in $recipes; do judged "$recipe" --recipe "$recipe"; done
for type in ${TYPES-t4 t35 t3 t25 t2}; do judged "$type" --type "$type" --keep-embeddings; done
for recipe in ${MIXES-$recipes}; do judged "as-$recipe" --size "$(awk -F, 'NR == 2 { print $2 }' "$model-$recipe.gguf.csv")"; done

tables=()
# shellcheck disable=SC2086 # several words
for name in $all t4 t35 t3 t25 t2 $(printf 'as-%s ' $all); do
    [ ! -e "$model-$name.gguf.csv" ] || tables+=("$model-$name.gguf.csv")
done
{
    calibrated="32768 tokens of its own text"
    [ -z "${CALIBRATION:-}" ] || calibrated=$(basename "$CALIBRATION")
    echo "# scripts/tenpak_recipes.sh, $(date +%F), MODEL=$model, --effort $effort, calibrated on $calibrated; $chunks chunks of 512 tokens of each text"
    head -n 1 "${tables[0]}"
    for table in "${tables[@]}"; do tail -n +2 "$table"; done
} >"$model.csv"
cp "$model.csv" "$ROOT/benches/record/tenpak-recipes-$(date +%F)-$model.csv"
python3 "$ROOT/scripts/recipes_table.py" <"$model.csv"
