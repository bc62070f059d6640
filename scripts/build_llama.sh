#!/usr/bin/env bash
# Builds llama.cpp with ggml-patches into target/ and prints the folder of its programs.
#
#   scripts/build_llama.sh                       the pinned tree (ggml-patches/BASE)
#   LLAMA_CPP_DIR=~/llama.cpp scripts/build_llama.sh    a copy of your tree, patched; yours is not touched
#   TRIPLE=aarch64-unknown-linux-gnu scripts/build_llama.sh    for another machine: a Rust target with a cmake
#                                                toolchain file scripts/TRIPLE.cmake
#
# LLAMA_QUICK=1 compiles all but ggml with little optimization and several sources at a time, in a build of its own: for tests,
# in which ggml takes the time.
# LLAMA_PORTABLE=1 builds, apart from the others, what runs in any folder of any machine of this kind: ggml's backends are modules,
# one of the CPU for each level of instructions, of which the best that the machine knows is loaded. CUDA_ARCHITECTURES, as for
# build_cuda.sh, adds the module for NVIDIA's GPUs.
#
# LLAMA_TARGETS chooses what to build. scripts/patch_llama.sh makes the tree and keeps it: a second run only builds what
# changed in the kernels and in our own files of ggml-patches.
source "$(dirname "$0")/setup.sh"
need c++ 'install a C++ compiler (package g++ or clang)'

DEFAULT_TARGETS="llama-perplexity llama-completion llama-cli llama-server llama-bench llama-quantize
    llama-gguf-split llama-gguf llama-imatrix llama-tenpak-calibrate test-quantize-fns test-backend-ops
    test-tokenizer-0 test-tenpak-gram test-tenpak-means test-tenpak-output test-tenpak-writer ggml-rpc-server"

install_build_tools >&2
unpacked=$("$ROOT/scripts/patch_llama.sh")
triple=${TRIPLE:-}
build=$unpacked/build${triple:+-$triple}${LLAMA_QUICK:+-quick}${LLAMA_PORTABLE:+-portable}${CUDA_ARCHITECTURES:+-cuda}
# shellcheck disable=SC2016 # for the loader: programs find their libraries wherever all of them are put
options=(-DBUILD_SHARED_LIBS=ON -DCMAKE_BUILD_WITH_INSTALL_RPATH=ON '-DCMAKE_INSTALL_RPATH=$ORIGIN;$ORIGIN/../lib')
[ -z "$triple" ] || options=(-DBUILD_SHARED_LIBS=OFF -DGGML_NATIVE=OFF "-DCMAKE_TOOLCHAIN_FILE=$ROOT/scripts/$triple.cmake")
[ -z "${LLAMA_QUICK:-}" ] || options+=("-DCMAKE_C_FLAGS_RELEASE=-O1 -DNDEBUG" "-DCMAKE_CXX_FLAGS_RELEASE=-O1 -DNDEBUG"
    "-DCMAKE_PROJECT_ggml_INCLUDE=$ROOT/scripts/optimized_ggml.cmake"
    "-DCMAKE_PROJECT_llama.cpp_INCLUDE=$ROOT/scripts/joined_llama.cmake")
if [ -n "${LLAMA_PORTABLE:-}" ]; then
    options+=(-DGGML_NATIVE=OFF -DGGML_BACKEND_DL=ON -DGGML_CPU_ALL_VARIANTS=ON)
fi
if [ -n "${CUDA_ARCHITECTURES:-}" ]; then
    nvcc=$("$ROOT/scripts/cuda_compiler.sh")
    options+=(-DGGML_CUDA=ON "-DCMAKE_CUDA_COMPILER=$nvcc" "-DCUDAToolkit_ROOT=$(dirname "$(dirname "$nvcc")")"
        "-DCMAKE_CUDA_ARCHITECTURES=$CUDA_ARCHITECTURES" -DCMAKE_CUDA_FLAGS=-Wno-deprecated-gpu-targets)
fi

library=$("$ROOT/scripts/build_kernels.sh")
configure=(cmake -S "$unpacked" -B "$build" -G Ninja -DCMAKE_BUILD_TYPE=Release -DTENPAK_LIBRARY="$library" "${options[@]}"
    -DGGML_RPC=ON -DLLAMA_OPENSSL=OFF -DLLAMA_USE_PREBUILT_UI=OFF -DLLAMA_BUILD_UI=OFF)
if [ "$(cat "$build/configured" 2>/dev/null)" != "${configure[*]}" ]; then
    say "configuring llama.cpp" >&2
    "${configure[@]}" >"$build.log" 2>&1 || die "cmake failed: see $build.log"
    echo "${configure[*]}" >"$build/configured"
fi
say "building llama.cpp (the first time takes minutes)" >&2
compile "$build" ${LLAMA_TARGETS:-$DEFAULT_TARGETS}
echo "$build/bin"
