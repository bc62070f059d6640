#!/usr/bin/env bash
# Checks and measures the tensor types on a machine with an NVIDIA GPU that has no network and no Rust (docs/gpu.md).
#
#   scripts/gpu_check.sh prepare [ARCH]     on the machine that builds: target/gpu/programs and target/gpu/real; ARCH as 90
#   scripts/gpu_check.sh run [PART...]      on the machine with the GPU, from a tree with these two folders
#
# Parts, in the order in which they run if none is named:
#   ops       test-backend-ops over our types: products, products of experts, rows
#   real      perplexity of a small model on the GPU, half on it, and on the processor; greedy text
#   pipes     rates of instructions and of memory (benches/gpu/pipes.cu)
#   bench     synthetic models beside Q4_K_M, IQ3_XXS and Q4_0 on the GPU
#   types     synthetic models of the other types and of experts, one round
#   cpu       the same on this machine's processor, over threads
#   sanitize  compute-sanitizer over a few operations
#
# prepare: LLAMA_CUDA_BIN=FOLDER   programs that are built already (or scripts/build_cuda.sh builds them)
#          TENPAK, SYNTHETIC_MODEL, MODEL_FOLDER, TEXT   programs, a Hugging Face folder and a text that are there already
#          REAL_MODEL=FILE          a GGUF file in place of the converted one; none: no target/gpu/real
# run:     ROUNDS=3 (of bench and cpu; medians)   SHAPES="llama-8b smollm2"   CPU_SHAPE=llama-1b   THREADS="1 2 4 8 16"
#          TYPES="t3 q4_k_m iq3_xxs q4_0 t2 t4" (of bench and cpu)   MORE_MODELS="llama-8b:t25 moe:t3" (of types)   WORK=FOLDER with 30 GB   SANITIZE_TOOLS="memcheck"   LIMIT_PART=seconds (LIMIT_BENCH=300)
#          GPU_CHECK_DEVICE=none   everything on the processor with tiny models: tests this script
#
# Every part has its time; what it measured until then counts. Results go to benches/record/GPU/DATE.csv (or
# DATE-TIME.csv, if that is there), and to $OUT if that is set.
source "$(dirname "$0")/setup.sh"
cd "$ROOT"
PACKED=$TARGET/gpu
MAX_MIB=60
PARTS="ops real pipes bench types cpu sanitize"
# with 8 types an H100 took 15 s for ops and 10 for sanitize; 10 for real, 5 for pipes, 70 for bench, 150 for cpu
declare -A LIMITS=([ops]=80 [real]=50 [pipes]=20 [bench]=130 [types]=60 [cpu]=170 [sanitize]=80)
PROGRAMS="llama-bench llama-perplexity llama-completion test-backend-ops"
table=(python3 "$ROOT/scripts/gpu_check.py")

# --- prepare

prepare() {
    local arch=${1:-90} bin tenpak=${TENPAK:-} synthetic=${SYNTHETIC_MODEL:-} stage=$PACKED/stage
    bin=${LLAMA_CUDA_BIN:-$("$ROOT/scripts/build_cuda.sh" "$arch-real")}
    if [ -z "$tenpak" ] || [ -z "$synthetic" ]; then
        need cargo 'install Rust'
        cargo build --quiet --release --bin tenpak-gguf --example synthetic_model
        tenpak=${tenpak:-$TARGET/release/tenpak-gguf} synthetic=${synthetic:-$TARGET/release/examples/synthetic_model}
    fi

    say "packing programs of $bin"
    rm -rf "$stage" && mkdir -p "$stage" "$PACKED/programs" "$PACKED/real"
    local program
    for program in $PROGRAMS; do
        [ -x "$bin/$program" ] || die "$bin has no $program: build it, or choose another LLAMA_CUDA_BIN"
        cp "$bin/$program" "$stage/"
        LD_LIBRARY_PATH=$bin ldd "$bin/$program" | sed -nE 's/^\s*(lib\S+) => (\S+) .*/\1 \2/p' | while read -r name file; do
            [ "$(realpath "$(dirname "$file")")" != "$(realpath "$bin")" ] || cp --dereference "$file" "$stage/$name"
        done
    done
    cp "$synthetic" "$stage/synthetic_model"
    if nvcc=$(nvcc_path); then
        "$nvcc" -O3 "-arch=sm_$arch" -o "$stage/pipes" benches/gpu/pipes.cu || die "benches/gpu/pipes.cu does not compile"
    fi
    find "$stage" -type f -exec strip --strip-unneeded {} +
    du -sh "$stage"/* | sort -h | tail -n 20
    tar cf - -C "$stage" . | xz -9 -T2 >"$PACKED/programs/programs.tar.xz.part"
    mv "$PACKED/programs/programs.tar.xz.part" "$PACKED/programs/programs.tar.xz"
    rm -rf "$stage"

    case ${REAL_MODEL:-} in
    none) ;;
    '')
        if [ ! -f "$PACKED/real/model.gguf" ]; then
            local folder=${MODEL_FOLDER:-$(TENPAK=$tenpak "$ROOT/scripts/fetch_model.sh")}
            say "converting $folder"
            "$tenpak" convert "$folder" --recipe scripts/gpu_check.toml --no-calibration -o "$PACKED/real/model.gguf"
        fi
        ;;
    *) cp "$REAL_MODEL" "$PACKED/real/model.gguf" ;;
    esac
    [ "${REAL_MODEL:-}" = none ] || head -c 40000 "${TEXT:-$TARGET/models/text/wiki.utf8}" | { iconv -c -f utf-8 -t utf-8 || true; } >"$PACKED/real/text.txt"

    say "what to carry"
    local folder bytes all=0
    for folder in programs real; do
        bytes=$(du -sb "$PACKED/$folder" | cut -f1) all=$((all + bytes))
        awk "BEGIN { printf \"%6.1f MiB  target/gpu/$folder\n\", $bytes / 1048576 }"
        [ "$bytes" -le $((MAX_MIB << 20)) ] || die "target/gpu/$folder has more than $MAX_MIB MiB"
    done
    [ $all -le $((MAX_MIB << 20)) ] || echo "more than $MAX_MIB MiB together: carry one, run its parts, then the other (only the part \"real\" needs target/gpu/real)"
}

nvcc_path() {
    local nvcc
    for nvcc in "${CUDACXX:-}" "$(command -v nvcc)" /usr/local/cuda/bin/nvcc; do
        if [ -x "$nvcc" ]; then echo "$nvcc"; return; fi
    done
    return 1
}

# --- run

device=${GPU_CHECK_DEVICE:-gpu}
on_gpu() { [ "$device" != none ]; }

# result PASS|FAIL|NOTE WHAT: a line for the reader, and for the end
result() {
    printf '%s  %s: %s\n' "$1" "$part" "$2" | tee -a "$RESULTS/results.txt"
}

# Folders with CUDA's libraries: beside nvcc, where CUDA installs itself, and in Python's packages.
cuda_libraries() {
    local nvcc folder
    nvcc=$(nvcc_path) && echo "$(dirname "$(dirname "$(readlink -f "$nvcc")")")"/{lib64,lib,targets/x86_64-linux/lib} | tr ' ' '\n'
    printf '%s\n' /usr/local/cuda/lib64 /usr/local/cuda/targets/x86_64-linux/lib /usr/local/nvidia/lib64
    python3 -c '
import glob, nvidia
for root in nvidia.__path__:
    print(*glob.glob(root + "/*/lib"), sep="\n")' 2>/dev/null || true
}

start() {
    part=start
    WORK=${WORK:-$(work_folder)}
    export WORK RESULTS=$WORK/results
    mkdir -p "$WORK/bin" "$WORK/models" "$RESULTS"
    rm -rf "${RESULTS:?}"/*
    say "$(date -u '+%F %T') UTC, $(nproc) cores, $(sed -nE 's/^model name\s*: //p' /proc/cpuinfo | head -n 1), work in $WORK"
    if on_gpu; then
        need nvidia-smi 'this part of the script needs an NVIDIA GPU; GPU_CHECK_DEVICE=none tests it without one'
        nvidia-smi --query-gpu=name,driver_version,memory.total,clocks.max.sm,clocks.max.memory,power.limit --format=csv,noheader
    fi
    [ -f "$PACKED/programs/programs.tar.xz" ] || die "target/gpu/programs is not here: scripts/gpu_check.sh prepare makes it"
    # Python unpacks it: xz is not everywhere.
    python3 -c 'import sys, tarfile; tarfile.open(sys.argv[1]).extractall(sys.argv[2])' "$PACKED/programs/programs.tar.xz" "$WORK/bin" ||
        die "$PACKED/programs/programs.tar.xz cannot be unpacked into $WORK/bin"
    LD_LIBRARY_PATH=$WORK/bin${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}
    local folder missing
    while read -r folder; do
        [ -d "$folder" ] || continue
        LD_LIBRARY_PATH=$LD_LIBRARY_PATH:$folder
        # Where there is no driver, its stub lets the programs start.
        on_gpu || [ ! -e "$folder/stubs/libcuda.so" ] || ln -sf "$folder/stubs/libcuda.so" "$WORK/bin/libcuda.so.1"
    done < <(cuda_libraries)
    export LD_LIBRARY_PATH
    missing=$(ldd "$WORK/bin/"* 2>/dev/null | grep 'not found' | sort -u || true)
    if [ -n "$missing" ]; then
        echo "$missing"
        result FAIL "libraries are missing (above); LD_LIBRARY_PATH=$LD_LIBRARY_PATH"
    else
        result PASS "programs find their libraries"
    fi
}

# The machine's memory if it holds the models of bench (22 GB), else its disk.
work_folder() {
    local free
    free=$(df --output=avail -k /dev/shm 2>/dev/null | tail -n 1)
    if on_gpu && [ "${free:-0}" -gt $((40 << 20)) ]; then mktemp -d /dev/shm/gpu-check.XXXX; else mktemp -d /tmp/gpu-check.XXXX; fi
}

weight_types() { # with | between
    sed -nE '/FOR_EACH_WEIGHT/,/^$/ s/^ *X\([A-Z0-9_]+, ([a-z0-9_]+),.*/\1/p' ggml-patches/tenpak.h | paste -sd '|'
}

part_ops() {
    local operation key backend=CUDA0 types
    on_gpu || backend=CPU
    types=$(weight_types)
    for operation in MUL_MAT:type_a MUL_MAT_ID:type_a GET_ROWS:type; do
        key=${operation#*:} operation=${operation%:*}
        "$WORK/bin/test-backend-ops" test -b $backend -o "$operation" -p "$key=($types)," >"$RESULTS/ops-$operation.txt" 2>&1 ||
            echo "test-backend-ops of $operation ended with $?"
        "${table[@]}" ops "$operation" "$types" <"$RESULTS/ops-$operation.txt" >"$RESULTS/ops-table.txt" || true
        cat "$RESULTS/ops-table.txt"
        if tail -n 1 "$RESULTS/ops-table.txt" | grep -q '^all fine'; then
            result PASS "$operation: $(tail -n 1 "$RESULTS/ops-table.txt")"
        else
            result FAIL "$operation: $(tail -n 1 "$RESULTS/ops-table.txt")"
            grep -aE 'FAIL|rror' "$RESULTS/ops-$operation.txt" | head -n 20 || true
        fi
    done
}

part_real() {
    local real=$PACKED/real/model.gguf text=$PACKED/real/text.txt place options estimate cpu=
    [ -f "$real" ] || { result FAIL "target/gpu/real is not here"; return; }
    for place in cpu gpu half; do
        case $place in
        cpu) options="-dev none -ngl 0" ;;
        gpu) options="-ngl 99" ;;
        half) options="-ngl 15 --load-mode none" ;; # without mmap
        esac
        # shellcheck disable=SC2086 # words
        "$WORK/bin/llama-perplexity" -m "$real" -f "$text" -c 512 -b 2048 $options ${CHUNKS:+--chunks $CHUNKS} >"$RESULTS/real-$place.txt" 2>&1 ||
            echo "llama-perplexity ended with $?"
        estimate=$(sed -nE 's/.*Final estimate: PPL = ([0-9.]+).*/\1/p' "$RESULTS/real-$place.txt")
        if [ -z "$estimate" ]; then
            result FAIL "no perplexity ($place)"
            tail -n 15 "$RESULTS/real-$place.txt"
            continue
        fi
        raw real smollm2-real mixed $place 0 perplexity "$estimate"
        if [ $place = cpu ]; then
            cpu=$estimate
            echo "perplexity on the processor: $estimate"
        elif [ -n "$cpu" ] && awk "BEGIN { d = $estimate / $cpu - 1; exit !(d < 0.003 && d > -0.003) }"; then
            result PASS "perplexity $estimate ($place) beside $cpu on the processor: within 0.3 %"
        else
            result FAIL "perplexity $estimate ($place) beside ${cpu:-none} on the processor: not within 0.3 %"
        fi
    done
    for place in cpu gpu; do
        options="-ngl 99"
        [ $place = gpu ] || options="-dev none -ngl 0"
        # shellcheck disable=SC2086 # words
        "$WORK/bin/llama-completion" -m "$real" -p "The capital of France is" -n 32 --temp 0 --seed 1 -no-cnv $options \
            >"$RESULTS/text-$place.txt" 2>"$RESULTS/text-$place.log" </dev/null || { result FAIL "llama-completion ($place)"; tail "$RESULTS/text-$place.log"; }
        echo "greedy text ($place): $(tr '\n' ' ' <"$RESULTS/text-$place.txt")"
    done
    if [ ! -s "$RESULTS/text-cpu.txt" ]; then
        result FAIL "there is no greedy text"
    elif cmp -s "$RESULTS/text-cpu.txt" "$RESULTS/text-gpu.txt"; then
        result PASS "greedy text is the same"
    else
        result NOTE "greedy text differs: sums in another order may do that, look at it"
    fi
}

part_pipes() {
    local nvcc
    if nvcc=$(nvcc_path) && "$nvcc" -O3 ${CUDA_ARCH:+-arch=sm_$CUDA_ARCH} ${CUDA_ARCH:--arch=native} -o "$WORK/bin/pipes.here" benches/gpu/pipes.cu 2>&1; then
        mv "$WORK/bin/pipes.here" "$WORK/bin/pipes"
    fi
    on_gpu || { result NOTE "compiled if there is nvcc; it runs on a GPU only"; return; }
    if "$WORK/bin/pipes" >"$RESULTS/pipes.csv"; then
        column -s, -t "$RESULTS/pipes.csv" 2>/dev/null || cat "$RESULTS/pipes.csv"
        result PASS "read $(sed -n 's/^read,\([0-9.]*\).*/\1/p' "$RESULTS/pipes.csv") GB/s"
    else
        result FAIL "benches/gpu/pipes.cu"
    fi
}

# raw PART MODEL TYPE DEVICE THREADS TEST VALUE: one measurement
raw() { (IFS=,; echo "$*") >>"$RESULTS/raw.csv"; }

# synthetic SHAPE TYPE...: models, a process each
synthetic() {
    local shape=$1 type file pids=() pid
    shift
    for type in "$@"; do
        file=$WORK/models/$shape-$type.gguf
        [ -e "$file" ] || { "$WORK/bin/synthetic_model" "$shape" "$type" "$file" >"$WORK/models/$shape-$type.read" & pids+=($!); }
    done
    for pid in "${pids[@]}"; do wait "$pid" || result FAIL "a synthetic model of $shape is not made"; done
    for type in "$@"; do
        echo "$shape,$type,$(stat -c %s "$WORK/models/$shape-$type.gguf"),$(cat "$WORK/models/$shape-$type.read")" >>"$RESULTS/models.csv"
    done
}

# measure PART SHAPE TYPE OPTION...: llama-bench once, its tests to raw.csv
measure() {
    local part_name=$1 shape=$2 type=$3
    shift 3
    if "$WORK/bin/llama-bench" -m "$WORK/models/$shape-$type.gguf" -r 1 -o json "$@" >"$RESULTS/bench.json" 2>"$RESULTS/bench.log"; then
        "${table[@]}" json "$part_name" "$shape" "$type" <"$RESULTS/bench.json" | tee -a "$RESULTS/raw.csv"
    else
        result FAIL "llama-bench of $shape $type ended with $?"
        tail -n 5 "$RESULTS/bench.log"
    fi
}

part_bench() {
    local shapes=${SHAPES:-llama-8b smollm2} types=${TYPES:-t3 q4_k_m iq3_xxs q4_0 t2 t4} tests="-p 512 -n 128 -ngl 99" round shape type
    on_gpu || { shapes=${SHAPES:-tiny tiny-moe} tests="-p 16 -n 2 -dev none -ngl 0 -t 1"; }
    # shellcheck disable=SC2086 # words, here and below
    for shape in $shapes; do SECONDS=0; synthetic "$shape" $types; echo "models of $shape made in $SECONDS s"; done
    for round in $(seq "${ROUNDS:-3}"); do
        for shape in $shapes; do
            for type in $types; do measure bench "$shape" "$type" $tests; done
        done
        echo "round $round is done after $SECONDS s"
    done
}

# The files go as they were measured, since memory holds them.
part_types() {
    local tests="-p 512 -n 128 -ngl 99" dense=llama-8b experts=moe models model shape type
    on_gpu || { tests="-p 16 -n 2 -dev none -ngl 0 -t 1" dense=tiny experts=tiny-moe; }
    models=$(echo $dense:{t25,t35,t5,o4,o3,s34,s24} $experts:{t3,q4_k_m,o4})
    for model in ${MORE_MODELS:-$models}; do
        shape=${model%:*} type=${model#*:}
        [ ! -e "$WORK/models/$shape-$type.gguf" ] || continue # bench has it
        synthetic "$shape" "$type"
        # shellcheck disable=SC2086 # words
        measure bench "$shape" "$type" $tests
        rm "$WORK/models/$shape-$type.gguf"
    done
}

part_cpu() {
    local shape=${CPU_SHAPE:-llama-1b} types=${TYPES:-t3 q4_k_m iq3_xxs q4_0 t2 t4} threads=${THREADS:-1 2 4 8 16} tests="-p 64 -n 16" round type
    on_gpu || { shape=${CPU_SHAPE:-tiny} threads=${THREADS:-1 2} tests="-p 16 -n 2"; }
    # shellcheck disable=SC2086 # words, here and below
    synthetic "$shape" $types
    for round in $(seq "${ROUNDS:-3}"); do
        for type in $types; do measure cpu "$shape" "$type" $tests -dev none -ngl 0 -t "$(tr ' ' , <<<"$threads")"; done
        echo "round $round is done"
    done
}

part_sanitize() {
    local tool types operation key
    on_gpu || { result NOTE "needs a GPU"; return; }
    command -v compute-sanitizer >/dev/null || { result NOTE "compute-sanitizer is not installed"; return; }
    types=$(weight_types)
    for tool in ${SANITIZE_TOOLS:-memcheck}; do
        for operation in "MUL_MAT:type_a=($types),.*(m=77|m=33)," "MUL_MAT_ID:type_a=($types),.*(m=77|m=33)," "GET_ROWS:type=($types),.*v=0"; do
            key=${operation#*:} operation=${operation%%:*}
            if compute-sanitizer --tool "$tool" --error-exitcode 9 "$WORK/bin/test-backend-ops" test -b CUDA0 -o "$operation" -p "$key" >"$RESULTS/sanitize-$tool-$operation.txt" 2>&1 &&
                grep -aq '): .*OK' "$RESULTS/sanitize-$tool-$operation.txt"; then
                result PASS "$tool, $operation: $(grep -ac '): .*OK' "$RESULTS/sanitize-$tool-$operation.txt") cases without an error"
            else
                result FAIL "$tool, $operation"
                grep -aE '=====|FAIL' "$RESULTS/sanitize-$tool-$operation.txt" | head -n 30 || true
            fi
        done
    done
}

# What there is so far, as the record; also after a part that ran out of time.
record() {
    local name folder
    if on_gpu; then
        name=$(nvidia-smi --query-gpu=name --format=csv,noheader | head -n 1)
        folder=$ROOT/benches/record/$(tr -cs '[:alnum:]' - <<<"$name" | sed 's/-$//' | tr '[:upper:]' '[:lower:]')
    else
        folder=$TARGET/gpu-check-none
    fi
    mkdir -p "$folder"
    # all records of one run have one name, and an earlier run of the day keeps its own
    if [ ! -s "$RESULTS/name" ]; then
        date -u +%F >"$RESULTS/name"
        [ ! -e "$folder/$(cat "$RESULTS/name").csv" ] || date -u +%F-%H%M%S >"$RESULTS/name"
    fi
    name=$folder/$(cat "$RESULTS/name")
    "${table[@]}" record "$RESULTS" "$name.csv" || true
    cp "$RESULTS/log.txt" "$name.txt" 2>/dev/null || true
    [ -z "${OUT:-}" ] || cp "$name".* "$OUT/" || true
}

run() {
    local parts=${*:-$PARTS} limit name status=0
    for part in $parts; do [ -n "${LIMITS[$part]:-}" ] || die "no part $part: there are $PARTS"; done
    need python3 'install Python 3.9 or later'
    start
    exec > >(tee -a "$RESULTS/log.txt") 2>&1
    for part in $parts; do
        name=LIMIT_${part^^}
        limit=${!name:-${LIMITS[$part]}}
        say "$part (at most $limit s)"
        SECONDS=0
        status=0
        timeout --kill-after 5 "$limit" "$ROOT/scripts/gpu_check.sh" part "$part" || status=$?
        case $status in
        0) ;;
        124 | 137) result FAIL "its $limit s were over; what it measured until then counts" ;;
        *) result FAIL "ended with $status" ;;
        esac
        "${table[@]}" part "$part" "$RESULTS" || true
        echo "($part took $SECONDS s)"
        record
    done
    say "results"
    cat "$RESULTS/results.txt"
    record
    [ -n "${KEEP_MODELS:-}" ] || rm -rf "$WORK/models"
    ! grep -q '^FAIL' "$RESULTS/results.txt"
}

command=${1:-}
[ $# = 0 ] || shift
case $command in
prepare) prepare "$@" ;;
run) run "$@" ;;
part) part=$1; "part_$1" ;; # what `run` calls, with the time it has
*) die "give prepare or run; the head of $0 says more" ;;
esac
