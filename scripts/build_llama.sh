#!/usr/bin/env bash
# Builds llama.cpp with ggml-patches into target/ and prints the folder of its programs.
#
#   scripts/build_llama.sh                       the pinned tree (ggml-patches/BASE)
#   LLAMA_CPP_DIR=~/llama.cpp scripts/build_llama.sh    a copy of your tree, patched; yours is not touched
#   TRIPLE=aarch64-unknown-linux-gnu scripts/build_llama.sh    for another machine: a Rust target with a cmake
#                                                toolchain file scripts/TRIPLE.cmake
#
# LLAMA_TARGETS chooses what to build. The tree and the build are kept by the content
# of the pin and the patches: a second run only builds what changed in the kernels and in ggml-patches/tools.
source "$(dirname "$0")/setup.sh"
need git 'the patches are applied with git apply'
need c++ 'install a C++ compiler (package g++ or clang)'

PATCHES=$ROOT/ggml-patches
DEFAULT_TARGETS="llama-perplexity llama-completion llama-cli llama-server llama-bench llama-quantize
    llama-gguf-split llama-gguf llama-imatrix llama-tenpak-calibrate test-quantize-fns test-backend-ops
    test-tokenizer-0 test-tenpak-gram"

install_build_tools >&2
if [ -n "${LLAMA_CPP_DIR:-}" ]; then
    [ -f "$LLAMA_CPP_DIR/ggml/include/ggml.h" ] || die "LLAMA_CPP_DIR=$LLAMA_CPP_DIR holds no ggml/include/ggml.h"
    pin="$(realpath "$LLAMA_CPP_DIR") $(cd "$LLAMA_CPP_DIR" && find . -name .git -prune -o -type f -print0 | sort -z | xargs -0 sha256sum | sha256sum)"
else
    pin=$(cat "$PATCHES/BASE")
fi
key=$( (echo "$pin"; cat "$PATCHES"/*.patch "$PATCHES"/tests/*.patch "$PATCHES/tenpak.h") | sha256sum | cut -c1-16)
unpacked=$TARGET/llama.cpp/$key
triple=${TRIPLE:-}
build=$unpacked/build${triple:+-$triple}
options=(-DBUILD_SHARED_LIBS=ON)
[ -z "$triple" ] || options=(-DBUILD_SHARED_LIBS=OFF -DGGML_NATIVE=OFF "-DCMAKE_TOOLCHAIN_FILE=$ROOT/scripts/$triple.cmake")

if [ ! -f "$unpacked/.patched" ]; then
    rm -rf "$unpacked"
    mkdir -p "$unpacked"
    if [ -n "${LLAMA_CPP_DIR:-}" ]; then
        say "copying $LLAMA_CPP_DIR" >&2
        (cd "$LLAMA_CPP_DIR" && tar cf - --exclude=.git --exclude='./build*' .) | tar xf - -C "$unpacked"
    else
        unpack_llama "$unpacked" >&2
    fi
    say "applying ggml-patches" >&2
    git init --quiet "$unpacked" # or git apply would look for this repository
    for patch in "$PATCHES"/*.patch "$PATCHES"/tests/*.patch; do
        git -C "$unpacked" apply --whitespace=nowarn "$patch" ||
            die "$(basename "$patch") does not apply: it is made for $(sed -n 's/^package=//p' "$PATCHES/BASE")"
    done
    cp "$PATCHES/tenpak.h" "$unpacked/ggml/include/"
    touch "$unpacked/.patched"
fi

# Our tools are no part of the key: what changed is copied, and only that is built again.
(cd "$PATCHES/tools" && find . -type f) | while read -r file; do
    cmp --quiet "$PATCHES/tools/$file" "$unpacked/tools/$file" && continue
    mkdir -p "$(dirname "$unpacked/tools/$file")"
    cp "$PATCHES/tools/$file" "$unpacked/tools/$file"
done

library=$("$ROOT/scripts/build_kernels.sh")
if [ ! -f "$build/build.ninja" ]; then
    say "configuring llama.cpp" >&2
    cmake -S "$unpacked" -B "$build" -G Ninja -DCMAKE_BUILD_TYPE=Release -DTENPAK_LIBRARY="$library" \
        "${options[@]}" -DLLAMA_OPENSSL=OFF -DLLAMA_USE_PREBUILT_UI=OFF -DLLAMA_BUILD_UI=OFF >"$build.log" ||
        die "cmake failed: see $build.log"
fi
say "building llama.cpp (the first time takes minutes)" >&2
ninja -C "$build" ${LLAMA_TARGETS:-$DEFAULT_TARGETS} >&2
echo "$build/bin"
