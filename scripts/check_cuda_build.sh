#!/usr/bin/env bash
# Compiles the CUDA kernels with nvcc, whatever GPU is here or none, and looks at what the compiler made of them:
#
#   - machine code for every architecture, without warnings, within the limits of tests/cuda/limits.csv (registers, spills,
#     instructions for 4 weights), and the shares of bandwidth that this leaves room for on the cards of tests/cuda/cards.csv
#   - our file and those with hooks in the patched llama.cpp, in its own build, for one architecture; how many kernels there spill
#
# Only the compiler of cuda_compiler.sh is looked at, which runs on x86-64 Linux.
source "$(dirname "$0")/setup.sh"
ARCHITECTURES="75 80 86 89 90 120"
IN_LLAMA=89
MAX_STACK=0 # bytes that a kernel there may have

if [ "$(uname -sm)" != "Linux x86_64" ]; then
    say "CUDA: SKIPPED, the packages of nvcc are for x86-64 Linux"
    exit
fi
need python3 'install Python 3.9 or later'
nvcc=$("$ROOT/scripts/cuda_compiler.sh" pinned)
cuobjdump=$(dirname "$nvcc")/cuobjdump
python3 -m doctest "$ROOT/scripts/cuda_counts.py"

say "CUDA kernels as nvcc compiles them"
made=$TARGET/cuda
rm -rf "$made"
mkdir -p "$made"
# compiled ARCHITECTURE: its machine code, and what ptxas says of it
compiled() {
    "$nvcc" -std=c++17 -O3 -use_fast_math -arch="sm_$1" -cubin -Werror all-warnings -Xptxas -v \
        -I"$ROOT/ggml-patches" -I"$ROOT/ggml-patches/overlay/ggml/src/ggml-cuda" \
        -o "$made/$1.cubin" "$ROOT/tests/cuda/instances.cu" 2>"$made/$1.log" || die "sm_$1: $(cat "$made/$1.log")"
    "$cuobjdump" -sass "$made/$1.cubin" >"$made/$1.sass"
}
# compiles BENCH: it runs on a GPU only; here it compiles
compiles() {
    "$nvcc" -std=c++17 -arch="sm_$IN_LLAMA" -I"$ROOT/ggml-patches" -I"$ROOT/ggml-patches/overlay/ggml/src/ggml-cuda" \
        -c -o "$made/$1.o" "$ROOT/benches/gpu/$1.cu" || die "benches/gpu/$1.cu does not compile"
}
export -f compiled compiles die
export nvcc cuobjdump made ROOT IN_LLAMA
# shellcheck disable=SC2086 # words
{
    printf 'compiles %s\n' kernels pipes
    printf 'compiled %s\n' $ARCHITECTURES
} | xargs -n 2 -P "$(nproc)" bash -c 'set -euo pipefail; "$@"' _
python3 "$ROOT/scripts/cuda_counts.py" "$made"

say "CUDA in the patched llama.cpp, for sm_$IN_LLAMA"
folder=ggml/src/ggml-cuda/CMakeFiles/ggml-cuda.dir
sources=$(cd "$("$ROOT/scripts/patch_llama.sh")/ggml/src/ggml-cuda" && grep -l tenpak -- *.cu)
# shellcheck disable=SC2086 # words
build=$(CUDACXX=$nvcc LLAMA_TARGETS=$(printf "$folder/%s.o " $sources) "$ROOT/scripts/build_cuda.sh" "$IN_LLAMA-real")
echo "compiled: ${sources//$'\n'/ }"
"$cuobjdump" -res-usage "$(dirname "$build")/$folder/tenpak.cu.o" 2>/dev/null | python3 -c '
import re, sys
kernels = re.findall(r"Function (\w+):\s+REG:(\d+) STACK:(\d+)", sys.stdin.read())
stacks = {name: int(stack) for name, _, stack in kernels if int(stack)}
print(f"{len(kernels)} kernels, {max(int(registers) for _, registers, _ in kernels)} registers at most, {len(stacks)} with a stack")
sys.exit("\n".join(f"error: {stack} bytes on the stack: {name}" for name, stack in stacks.items() if stack > int(sys.argv[1])) or 0)
' $MAX_STACK
