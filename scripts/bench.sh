#!/usr/bin/env bash
# Speed beside llama.cpp's and ik_llama.cpp's; the records go to benches/record/CPU/. Let nothing else run meanwhile.
#
#   scripts/bench.sh             all
#   scripts/bench.sh kernels     kernels and quantizers on one core, bandwidth
#   scripts/bench.sh models      llama-bench over whole models: prompts and generation, 1 and 2 threads
#
# MODELS="qwen smollm2"   TYPES="t3 t2 t4"   PEERS="IQ3_XXS IQ3_KT"   ROUNDS=5 (runs of each, interleaved; medians)
#
# BUILDS="native amx avx2": those that are run, of the builds that differ here. native is all that the processor has but AMX, which
# desktops lack; amx is all; avx2 is no more than AVX2, in all of ggml and our kernels. LLAMA_QUICK=1 takes the build for tests.
#
# The types are compared in files that share all but the matrices of their blocks with the Q4_K_M file. Speed does not depend on values:
# only the first block is quantized to each type, and stands in the place of all (examples/repeat_block.rs). Files stay in target/bench/;
# those that are there already are taken as they are.
source "$(dirname "$0")/setup.sh"
what=${1:-all}
cpu=$(sed -nE 's/^model name\s*: //p' /proc/cpuinfo | head -n 1)
family=$(awk -F': ' '/^cpu family/ { f = $2 } /^model\t/ { m = $2 } END { print "family " f " model " m }' /proc/cpuinfo)
records=$ROOT/benches/record/$(tr -cs '[:alnum:]' - <<<"$cpu $family" | sed 's/-$//' | tr '[:upper:]' '[:lower:]')
mkdir -p "$records"
cd "$ROOT"
llama=$("$ROOT/scripts/build_llama.sh")

if [ "$what" = all ] || [ "$what" = kernels ]; then
    {
        echo "# scripts/bench.sh kernels on $cpu, $family, $(date +%F)"
        taskset -c 0 cargo bench --quiet --bench kernels -- "$llama"
        echo
        taskset -c 0 cargo bench --quiet --bench bandwidth -- "$llama"
        TENPAK_ISA=avx2 taskset -c 0 cargo bench --quiet --bench bandwidth -- "$llama"
        echo
        taskset -c 0 cargo bench --quiet --bench quantize -- "$llama"
        TENPAK_ISA=avx2 taskset -c 0 cargo bench --quiet --bench quantize -- "$llama" {t2,t3,t4}" fast" {t2,t3,t4}" normal"
    } | tee "$records/$(date +%F)-kernels.txt"
fi
[ "$what" = all ] || [ "$what" = models ] || exit 0

peers=${PEERS:-IQ3_XXS IQ3_KT} builds=" ${BUILDS:-native amx avx2} "
ik=
[[ $peers != *_KT* ]] || ik=$("$ROOT/scripts/build_ik_llama.sh")
# ggml as desktops have it, and as a processor without AVX-512 and AVX-VNNI has it
has_amx=$(grep -m 1 -o amx_int8 /proc/cpuinfo || true) no_amx= avx2=
if [[ -n $has_amx && $builds = *\ native\ * ]]; then no_amx=$("$ROOT/scripts/build_ggml_variant.sh" no-amx); fi
if [[ $builds = *\ avx2\ * ]] && grep -qE 'avx512f|avx_vnni' /proc/cpuinfo; then avx2=$("$ROOT/scripts/build_ggml_variant.sh" avx2); fi
build_tenpak repeat_block
repeat_block=$(dirname "$judge")/repeat_block
work=$TARGET/bench
mkdir -p "$work"
cd "$work"

runs=() # file, programs, libraries to put first, TENPAK_ISA, name of the build
"$ROOT/scripts/fetch_model.sh" >/dev/null
for model in ${MODELS:-qwen smollm2}; do
    case $model in
    qwen) base=$("$ROOT/scripts/fetch_qwen.sh") ;;
    smollm2)
        base=$work/smollm2.gguf
        made smollm2.gguf "$tenpak" convert "$("$ROOT/scripts/fetch_model.sh")" -o smollm2.gguf.part --outtype f16 --force
        ;;
    esac
    made "$model-Q4_K_M.gguf" "$llama/llama-quantize" "$base" "$model-Q4_K_M.gguf.part" Q4_K_M 2
    made "$model-block.gguf" "$repeat_block" first "$base" "$model-block.gguf.part"
    # llama.cpp makes no file of the smallest types without one
    made "$model-block.imatrix" "$llama/llama-imatrix" -m "$model-block.gguf" -f "$TARGET/models/text/wiki.utf8" -c 512 --chunks 4 \
        --no-ppl --output-format dat -o "$model-block.imatrix.part"
    for type in Q4_K_M $peers ${TYPES:-t3 t2 t4}; do
        file=$model-$type.gguf block=$model-$type-block.gguf programs=$llama
        case $type in
        Q4_K_M) ;;
        t[0-9]*) made "$block" "$tenpak" convert "$model-block.gguf" --type "$type" --keep-embeddings --no-calibration --force -o "$block.part" ;;
        [os][0-9]*) # only recipes name them
            printf '[[rule]]\nroles = ["embeddings", "head"]\ntypes = ["stored"]\n\n[[rule]]\ntypes = ["%s"]\n' "$type" >"$type.toml"
            made "$block" "$tenpak" convert "$model-block.gguf" --recipe "$type.toml" --no-calibration --force -o "$block.part"
            ;;
        *)
            case $type in *_KT) programs=$ik ;; esac
            made "$block" "$programs/llama-quantize" --imatrix "$model-block.imatrix" --pure --token-embedding-type f16 \
                --output-tensor-type f16 "$model-block.gguf" "$block.part" "$type" 2
            ;;
        esac
        [ -e "$file" ] || made "$file" "$repeat_block" all "$model-Q4_K_M.gguf" "$block" "$file.part"
        libraries=
        [[ $type = *_KT ]] || libraries=$no_amx # ik_llama.cpp has no code for AMX
        [[ $builds != *\ native\ * ]] || runs+=("$file|$programs|$libraries||native")
        [[ $builds != *\ amx\ * || -z $has_amx || $type != Q4_K_M ]] || runs+=("$file|$programs|||amx")
        [ -n "$avx2" ] || continue
        case $type in
        *_KT) ;;
        [A-Z]*) runs+=("$file|$llama|$avx2||avx2") ;;
        *) runs+=("$file|$llama|$avx2|avx2|avx2") ;;
        esac
    done
done

raw=$work/raw.csv
: >"$raw"
for round in $(seq "${ROUNDS:-5}"); do
    for run in "${runs[@]}"; do
        IFS='|' read -r file programs libraries isa build <<<"$run"
        say "round $round: $file, $build" >&2
        no_warmup=--no-warmup
        [ "$programs" = "$llama" ] || no_warmup="-w 0" # ik_llama.cpp's name for it
        for threads in 1 2; do
            # shellcheck disable=SC2086 # two words
            LD_LIBRARY_PATH=$libraries ${isa:+env TENPAK_ISA=$isa} "$programs/llama-bench" -m "$file" -p 512 -n 64 -r 1 $no_warmup -t $threads -o json \
                >run.json 2>run.log || { echo "it failed and is left out: see $work/run.log" >&2; continue; }
            python3 -c '
import json, sys
for test in json.load(open("run.json")):
    name = "pp%d" % test["n_prompt"] if test["n_prompt"] else "tg%d" % test["n_gen"]
    print(*sys.argv[1:], name, "%.3f" % test["avg_ts"], sep=",")' "${file%.gguf}" "$build" $threads >>"$raw"
        done
    done
done
python3 "$ROOT/scripts/bench_table.py" "$raw" medians.csv >table.txt
cat table.txt
cp medians.csv "$records/$(date +%F).csv"
cp table.txt "$records/$(date +%F)-models.txt"
