#!/usr/bin/env bash
# Looks for reads and writes beside memory, uninitialized values and undefined behaviour, by tools that watch a run.
#
#   scripts/sanitizers.sh             all
#   scripts/sanitizers.sh address     Rust tests of the tensor types with AddressSanitizer, at every level of this processor
#   scripts/sanitizers.sh valgrind    the same in memcheck, which knows no AVX-512; installs valgrind
#   scripts/sanitizers.sh miri        unit tests of the types in Rust's interpreter, at scalar; skipped where rustup has no nightly with it
#   scripts/sanitizers.sh ggml        the patched ggml and our kernels with AddressSanitizer and UndefinedBehaviorSanitizer:
#                                     test-quantize-fns, test-backend-ops over our types, the collector's tests, a model
#
# MODEL=FILE.gguf names the model of the last part, in a type of ours; without it, that step is left out with a word.
source "$(dirname "$0")/setup.sh"
need cargo 'install Rust'
cd "$ROOT"
HOST=$(rustc -vV | sed -n 's/^host: //p')
TESTS=(--test kernels --test golden --test codes4 --test direct --test format_document)
# Reading beside a row is an error where rows end with their memory.
export ASAN_OPTIONS=detect_stack_use_after_return=1:detect_leaks=1:strict_init_order=1 UBSAN_OPTIONS=print_stacktrace=1

# rust COMMAND FOLDER FLAGS ARGUMENT...: cargo with the lean library, in a folder of its own. AddressSanitizer comes with every
# toolchain, but its option is one of the nightly's.
rust() {
    local command=$1 folder=$2 flags=$3
    shift 3
    RUSTC_BOOTSTRAP=1 RUSTFLAGS=$flags cargo "$command" --quiet --profile quick --no-default-features --target "$HOST" \
        --target-dir "$TARGET/$folder" "$@"
}

address() {
    say "AddressSanitizer: the types' tests"
    rust test sanitized-address -Zsanitizer=address --lib "${TESTS[@]}"
}

# memcheck NAME PROGRAM ARGUMENT...: a run that ends with an error if anything is found
memcheck() {
    local name=$1
    shift
    say "valgrind: $name"
    PROPTEST_CASES=${PROPTEST_CASES:-4} valgrind --quiet --error-exitcode=99 --leak-check=no "$@" --test-threads=1
}

valgrind_tests() {
    if ! command -v valgrind >/dev/null; then
        { apt-get update -qq && apt-get install -y -qq valgrind; } >/dev/null || die "valgrind is not installed (package valgrind)"
    fi
    # Plain tests, as users' programs are: what is detected under valgrind decides the level.
    local programs program
    mapfile -t programs < <(rust test sanitized-none '' --lib "${TESTS[@]}" --no-run --message-format=json |
        python3 -c 'import json, sys
for line in sys.stdin:
    made = json.loads(line)
    if made.get("executable"):
        print(made["target"]["name"], made["executable"])')
    for program in "${programs[@]}"; do
        # The encoder's errors are a matter of time, not of memory.
        memcheck "${program%% *}" "${program#* }" --skip errors_are_as_stated
    done
}

miri() {
    if ! cargo +nightly miri --version >/dev/null 2>&1; then
        say "Miri is left out: rustup component add --toolchain nightly miri rust-src"
        return
    fi
    say "Miri: unit tests of the types"
    # A search for the best of thousands of paths takes an hour there; AddressSanitizer and valgrind watch it.
    MIRIFLAGS=-Zmiri-disable-isolation cargo +nightly miri test --no-default-features --lib --target-dir "$TARGET/sanitized-miri" \
        -- --skip trellis::search
}

ggml() {
    install_build_tools
    local tree build types filter op name
    tree=$("$ROOT/scripts/patch_llama.sh") build=$tree/build-sanitized
    # The kernels with the checks of the same run-time library, which the compiler of the programs brings.
    rust rustc sanitized-address -Zsanitizer=address --lib --crate-type staticlib
    local flags="-O1 -g1 -fno-omit-frame-pointer -fsanitize=address,undefined"
    cmake -S "$tree" -B "$build" -G Ninja -DCMAKE_BUILD_TYPE=None "-DCMAKE_C_FLAGS=$flags" "-DCMAKE_CXX_FLAGS=$flags" \
        -DBUILD_SHARED_LIBS=OFF "-DTENPAK_LIBRARY=$TARGET/sanitized-address/$HOST/quick/libtenpak_gguf.a" \
        "-DCMAKE_PROJECT_llama.cpp_INCLUDE=$ROOT/scripts/joined_llama.cmake" \
        -DGGML_OPENMP=OFF -DLLAMA_OPENSSL=OFF -DLLAMA_USE_PREBUILT_UI=OFF -DLLAMA_BUILD_UI=OFF >"$build.log" 2>&1 ||
        die "cmake failed: see $build.log"
    say "building ggml with sanitizers"
    compile "$build" test-quantize-fns test-backend-ops test-tenpak-gram test-tenpak-means test-tenpak-output test-tenpak-writer llama-simple
    for name in test-quantize-fns test-tenpak-gram test-tenpak-means test-tenpak-output test-tenpak-writer; do
        watched_run "$name" "$build/bin/$name"
    done
    types=$(sed -n "/FOR_EACH_WEIGHT/,/^$/s/^ *X([A-Z0-9_]*, \([a-z0-9_]*\),.*/\1/p" "$ROOT/ggml-patches/tenpak.h" | paste -sd"|")
    for op in MUL_MAT MUL_MAT_ID GET_ROWS; do
        filter="type_a=($types)," && [ $op != GET_ROWS ] || filter="type=($types),"
        watched_run "test-backend-ops-$op" "$build/bin/test-backend-ops" test -b CPU -o $op -p "$filter"
    done
    if [ -n "${MODEL:-}" ]; then
        watched_run "llama-simple" "$build/bin/llama-simple" -m "$MODEL" -n 8 "Once upon a time"
    else
        say "no MODEL is given: llama-simple is left out"
    fi
}

# What is found in upstream's code and is not ours: tq1_0's two loads of four bytes at an address of two, and test-backend-ops' modes
# of interpolation, to which it adds flags.
KNOWN='/arch/x86/quants\.c:[0-9:]* runtime error: load of misaligned address'
KNOWN+='|/test-backend-ops\.cpp:[0-9:]* runtime error: .*ggml_scale_mode'

# watched_run NAME PROGRAM ARGUMENT...: a run in which nothing is found but what is known
watched_run() {
    local name=$1 log=$TARGET/sanitized-$1.log
    shift
    say "sanitizers: $name"
    "$@" >"$log" 2>&1 || die "$name failed: see $log"
    ! grep -E 'runtime error:|ERROR: AddressSanitizer|LeakSanitizer' "$log" | grep -vE "$KNOWN" | sort | uniq -c | head -20 | grep . ||
        die "$name: see $log"
}

case ${1:-all} in
all) address && valgrind_tests && miri && ggml ;;
address | miri | ggml) "$1" ;;
valgrind) valgrind_tests ;;
*) die "there is no part $1: address, valgrind, miri or ggml" ;;
esac
say "nothing was found"
