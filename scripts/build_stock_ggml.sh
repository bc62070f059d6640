#!/usr/bin/env bash
# Builds the unpatched libggml-base and libggml-rpc of the pinned llama.cpp, to see what they say about our files and tensors, and
# prints their folder.
source "$(dirname "$0")/setup.sh"
install_build_tools >&2
stock=$TARGET/llama.cpp/stock-$(sha256sum <"$ROOT/ggml-patches/BASE" | cut -c1-16)
if [ ! -f "$stock/.unpacked" ]; then
    rm -rf "$stock"
    unpack_llama "$stock" >&2
    touch "$stock/.unpacked"
fi
cmake -S "$stock" -B "$stock/build" -G Ninja -DCMAKE_BUILD_TYPE=Release -DBUILD_SHARED_LIBS=ON \
    -DLLAMA_BUILD_COMMON=OFF -DLLAMA_BUILD_TESTS=OFF -DLLAMA_BUILD_TOOLS=OFF -DLLAMA_BUILD_EXAMPLES=OFF \
    -DLLAMA_BUILD_SERVER=OFF -DLLAMA_BUILD_APP=OFF -DLLAMA_OPENSSL=OFF -DGGML_RPC=ON \
    -DCMAKE_C_FLAGS_RELEASE=-O0 -DCMAKE_CXX_FLAGS_RELEASE=-O0 \
    >"$stock/configure.log" 2>&1 || die "cmake failed: see $stock/configure.log"
ninja -C "$stock/build" ggml-base ggml-rpc >&2
dirname "$(find "$stock/build" -name 'libggml-base.so*' | head -n 1)"
