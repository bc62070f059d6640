#!/usr/bin/env bash
# What the recipes of TenPak's experiments cost (docs/recipes-of-tenpak.md), beside one trellis type for the same matrices and beside
# the best mix of types for the bytes of some recipes. All are judged against the model's own predictions on wiki.utf8 and heldout.txt,
# of which nothing is calibrated on.
#
#   MODEL=smollm2|qwen    RECIPES="v10 v20 ..."    TYPES="t4 t35 ..."    MIXES="v10 ..."   recipes whose bytes a mix gets too
#   CALIBRATION=FILE                   of `tenpak-gguf calibrate`, with sensitivities [default: made from text of the model's own]
#   EFFORT=fast    CHUNKS=16 (of 512 tokens, of each text)
#   LLAMA=FOLDER                       programs of the patched llama.cpp that are built already
#   BUILT=FOLDER                       tenpak-gguf, built already
#
# Files stay in target/tenpak_recipes/, so that an interrupted run goes on. The table goes to benches/record/.
source "$(dirname "$0")/setup.sh"
if [ -n "${BUILT:-}" ]; then tenpak=$BUILT/tenpak-gguf; else build_tenpak; fi
llama=${LLAMA:-$(LLAMA_TARGETS="llama-perplexity llama-tenpak-calibrate" "$ROOT/scripts/build_llama.sh")}
"$ROOT/scripts/calibration_text.sh" >/dev/null # makes heldout.txt
model=${MODEL:-smollm2} effort=${EFFORT:-fast} chunks=${CHUNKS:-16}
recipes=${RECIPES:-$("$tenpak" recipes | awk '/TenPak/ { found = 1 } found && $1 ~ /^(v[0-9]|int|nf|pq|aqlm)/ { print $1 }')}
work=$TARGET/tenpak_recipes
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
[ -n "${CALIBRATION:-}" ] || made "$gram" "$tenpak" calibrate "$source" -o "$gram.part" --tokens 32768 --collector "$llama" --cache "$TARGET/cache"

files=()
# file NAME OPTION...: a file that convert makes with these options
file() {
    local out=$model-$1.gguf
    shift
    made "$out" "$tenpak" convert "$source" -o "$out.part" --calibration "$gram" --effort "$effort" --force "$@"
    files+=("$out")
}
for recipe in $recipes; do file "$recipe" --recipe "$recipe"; done
for type in ${TYPES-t4 t35 t3 t25 t2}; do file "$type" --type "$type" --keep-embeddings; done
for recipe in ${MIXES-}; do file "as-$recipe" --size "$(wc -c <"$model-$recipe.gguf")"; done

{
    echo "# scripts/tenpak_recipes.sh, $(date +%F), --effort $effort, calibrated on $(basename "$gram"); $chunks chunks of 512 tokens of each text"
    "$tenpak" eval "${files[@]}" --against "$base" -f "wiki=$TARGET/models/text/wiki.utf8" -f "heldout=$TARGET/models/text/heldout.txt" \
        --chunks "$chunks" --collector "$llama" --csv
} >"$model.csv"
cat "$model.csv"
cp "$model.csv" "$ROOT/benches/record/tenpak-recipes-$(date +%F)-$model.csv"
