#!/usr/bin/env bash
# Builds llama.cpp with ggml-patches for NVIDIA GPUs and prints the folder of its programs. No GPU is needed.
#
#   scripts/build_cuda.sh [ARCHITECTURES]    as CMake names them, such as 90-real or "86-real;89-real" (default: 75 to 120)
#
# nvcc is that of cuda_compiler.sh. CPU_OPTIONS are ggml's for the processor; the default asks for AVX-512 with VNNI and BF16,
# whatever this machine has, since the programs go to another one. LLAMA_TARGETS chooses what to build.
source "$(dirname "$0")/setup.sh"
architectures=${1:-75-real;80-real;86-real;89-real;90-real;120-real}
DEFAULT_TARGETS="llama-bench llama-perplexity llama-completion llama-server test-backend-ops
    ggml-rpc-server llama-tenpak-calibrate"
DEFAULT_CPU="-DGGML_AVX=ON -DGGML_AVX2=ON -DGGML_BMI2=ON -DGGML_FMA=ON -DGGML_F16C=ON -DGGML_SSE42=ON
    -DGGML_AVX512=ON -DGGML_AVX512_VBMI=ON -DGGML_AVX512_VNNI=ON -DGGML_AVX512_BF16=ON"

nvcc=$("$ROOT/scripts/cuda_compiler.sh")
install_build_tools >&2
tree=$("$ROOT/scripts/patch_llama.sh")
library=$("$ROOT/scripts/build_kernels.sh")
build=$tree/build-cuda-$(tr -c '[:alnum:]\n' - <<<"$architectures")
if [ ! -f "$build/build.ninja" ]; then
    say "configuring llama.cpp for CUDA" >&2
    # shellcheck disable=SC2086 # words
    cmake -S "$tree" -B "$build" -G Ninja -DCMAKE_BUILD_TYPE=Release -DTENPAK_LIBRARY="$library" -DBUILD_SHARED_LIBS=ON \
        -DGGML_CUDA=ON -DCMAKE_CUDA_COMPILER="$nvcc" -DCUDAToolkit_ROOT="$(dirname "$(dirname "$nvcc")")" \
        -DCMAKE_CUDA_ARCHITECTURES="$architectures" -DCMAKE_CUDA_FLAGS=-Wno-deprecated-gpu-targets \
        -DCMAKE_EXE_LINKER_FLAGS=-Wl,--allow-shlib-undefined \
        -DGGML_NATIVE=OFF ${CPU_OPTIONS:-$DEFAULT_CPU} -DGGML_RPC=ON \
        -DLLAMA_OPENSSL=OFF -DLLAMA_USE_PREBUILT_UI=OFF -DLLAMA_BUILD_UI=OFF >"$build.log" 2>&1 ||
        die "cmake failed: see $build.log"
fi
say "building llama.cpp for CUDA (the first time takes long: an hour on two cores)" >&2
# shellcheck disable=SC2086 # words
compile "$build" ${LLAMA_TARGETS:-$DEFAULT_TARGETS}
echo "$build/bin"
