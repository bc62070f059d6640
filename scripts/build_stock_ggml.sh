#!/usr/bin/env bash
# Builds parts of the pinned llama.cpp as it is, without patches, and prints their folder.
#
#   scripts/build_stock_ggml.sh                            libggml-base and libggml-rpc: what do they say about our files and tensors?
#   STOCK_TARGETS=none scripts/build_stock_ggml.sh         nothing: the tree, and its folder
#   STOCK_TARGETS=modules scripts/build_stock_ggml.sh      ggml whose backends are modules, as releases have it, with that of the CPU
#   STOCK_TARGETS=programs scripts/build_stock_ggml.sh     the same with llama-perplexity, llama-completion and llama-bench; minutes
source "$(dirname "$0")/setup.sh"
install_build_tools >&2
stock=$TARGET/llama.cpp/stock-$(sha256sum <"$ROOT/ggml-patches/BASE" | cut -c1-16)
if [ ! -f "$stock/.unpacked" ]; then
    rm -rf "$stock"
    unpack_llama "$stock" >&2
    touch "$stock/.unpacked"
fi
# GGML_NATIVE and modules exclude each other.
modules=(-DGGML_BACKEND_DL=ON -DGGML_NATIVE=OFF -DGGML_OPENMP=OFF)
case ${STOCK_TARGETS:=} in
none) echo "$stock" && exit ;;
modules) targets="ggml ggml-cpu" level=-O0 options=("${modules[@]}" -DLLAMA_BUILD_COMMON=OFF -DLLAMA_BUILD_TOOLS=OFF) ;;
programs) targets="ggml-cpu llama-perplexity llama-completion llama-bench" level=-O2 options=("${modules[@]}") ;;
'') targets="ggml-base ggml-rpc" level=-O0 options=(-DGGML_RPC=ON -DLLAMA_BUILD_COMMON=OFF -DLLAMA_BUILD_TOOLS=OFF) ;;
*) die "STOCK_TARGETS=$STOCK_TARGETS: none, modules or programs" ;;
esac
build=$stock/build${STOCK_TARGETS:+-$STOCK_TARGETS}
cmake -S "$stock" -B "$build" -G Ninja -DCMAKE_BUILD_TYPE=Release -DBUILD_SHARED_LIBS=ON "${options[@]}" \
    -DLLAMA_BUILD_TESTS=OFF -DLLAMA_BUILD_EXAMPLES=OFF -DLLAMA_BUILD_SERVER=OFF -DLLAMA_BUILD_APP=OFF -DLLAMA_OPENSSL=OFF \
    -DLLAMA_USE_PREBUILT_UI=OFF -DLLAMA_BUILD_UI=OFF "-DCMAKE_C_FLAGS_RELEASE=$level" "-DCMAKE_CXX_FLAGS_RELEASE=$level" \
    >"$build.log" 2>&1 || die "cmake failed: see $build.log"
# shellcheck disable=SC2086 # several words
compile "$build" $targets
dirname "$(find "$build" -name 'libggml-base.so*' | head -n 1)"
