#!/usr/bin/env bash
# Builds the llama-quantize, llama-perplexity and llama-bench of ik_llama.cpp (ik_llama.pin) and prints their folder.
source "$(dirname "$0")/setup.sh"
need c++ 'install a C++ compiler (package g++ or clang)'
install_build_tools >&2

pin=$ROOT/scripts/ik_llama.pin
unpacked=$TARGET/ik_llama.cpp/$(sha256sum <"$pin" | cut -c1-16)
if [ ! -f "$unpacked/.unpacked" ]; then
    rm -rf "$unpacked"
    unpack_llama "$unpacked" "$pin" >&2
    # the package lacks the script that fills in the build number
    mkdir -p "$unpacked/common/cmake"
    printf '%s\n' 'set(BUILD_NUMBER 0)' 'configure_file(common/build-info.cpp.in common/build-info.cpp)' \
        >"$unpacked/common/cmake/build-info-gen-cpp.cmake"
    touch "$unpacked/.unpacked"
fi
# without its flash attention it does not link
cmake -S "$unpacked" -B "$unpacked/build" -G Ninja -DCMAKE_BUILD_TYPE=Release -DLLAMA_BUILD_TESTS=OFF \
    -DLLAMA_BUILD_SERVER=OFF -DGGML_IQK_FLASH_ATTENTION=ON -DGGML_IQK_FA_ALL_QUANTS=OFF -DGGML_CCACHE=OFF \
    >"$unpacked/configure.log" 2>&1 || die "cmake failed: see $unpacked/configure.log"
say "building ik_llama.cpp (the first time takes minutes)" >&2
compile "$unpacked/build" llama-quantize llama-perplexity llama-bench
echo "$unpacked/build/bin"
