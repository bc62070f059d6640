#!/usr/bin/env bash
# Compiles ggml's AMX code of the patched llama.cpp, whatever the processor here, and looks at what the compiler made of the
# tile configuration (scripts/amx_configuration.py says what can go wrong). It needs a compiler for x86-64 that knows AMX.
source "$(dirname "$0")/setup.sh"
need c++ 'install a C++ compiler (package g++ or clang)'
need objdump 'install binutils'
need python3 'install Python 3.9 or later'
if ! c++ -march=sapphirerapids -E -x c++ - </dev/null >/dev/null 2>&1; then
    say "AMX: SKIPPED, $(c++ --version | head -n 1) does not compile for x86-64 with AMX"
    exit
fi
tree=$("$ROOT/scripts/patch_llama.sh")
say "AMX as $(c++ --version | head -n 1) compiles it"
object=$TARGET/amx.o
python3 -m doctest "$ROOT/scripts/amx_configuration.py"
for level in -O2 -O3; do
    c++ $level -DNDEBUG -std=gnu++17 -fPIC -march=sapphirerapids -fopenmp -DGGML_USE_OPENMP \
        -I"$tree/ggml/include" -I"$tree/ggml/src" -I"$tree/ggml/src/ggml-cpu" \
        -c "$tree/ggml/src/ggml-cpu/amx/mmq.cpp" -o "$object"
    printf '%s: ' "$level"
    objdump --disassemble --no-show-raw-insn "$object" | python3 "$ROOT/scripts/amx_configuration.py" ||
        die "a processor with AMX would end with an illegal instruction: see ggml-patches/0003-amx.patch"
done
