#!/usr/bin/env bash
# Unpacks llama.cpp into target/, applies ggml-patches and prints the folder of the tree.
#
#   scripts/patch_llama.sh                              the pinned tree (ggml-patches/BASE)
#   LLAMA_CPP_DIR=~/llama.cpp scripts/patch_llama.sh    a copy of your tree; yours is not touched
#
# The tree is kept by the content of the pin and of the patches. Our own files (ggml-patches/overlay, tools, headers) are
# no part of that key: what changed of them is copied, so that a build afterwards compiles only what reads them.
source "$(dirname "$0")/setup.sh"
need git 'the patches are applied with git apply'
PATCHES=$ROOT/ggml-patches

if [ -n "${LLAMA_CPP_DIR:-}" ]; then
    [ -f "$LLAMA_CPP_DIR/ggml/include/ggml.h" ] || die "LLAMA_CPP_DIR=$LLAMA_CPP_DIR holds no ggml/include/ggml.h"
    pin="$(realpath "$LLAMA_CPP_DIR") $(cd "$LLAMA_CPP_DIR" && find . -name .git -prune -o -type f -print0 | sort -z | xargs -0 sha256sum | sha256sum)"
else
    pin=$(cat "$PATCHES/BASE")
fi
key=$( (echo "$pin"; cat "$PATCHES"/*.patch "$PATCHES"/tests/*.patch) | sha256sum | cut -c1-16)
tree=$TARGET/llama.cpp/$key

if [ ! -f "$tree/.patched" ]; then
    rm -rf "$tree"
    mkdir -p "$tree"
    if [ -n "${LLAMA_CPP_DIR:-}" ]; then
        say "copying $LLAMA_CPP_DIR" >&2
        (cd "$LLAMA_CPP_DIR" && tar cf - --exclude=.git --exclude='./build*' .) | tar xf - -C "$tree"
    else
        install_build_tools >&2
        unpack_llama "$tree" >&2
    fi
    say "applying ggml-patches" >&2
    git init --quiet "$tree" # or git apply would look for this repository
    for patch in "$PATCHES"/*.patch "$PATCHES"/tests/*.patch; do
        git -C "$tree" apply --whitespace=nowarn "$patch" ||
            die "$(basename "$patch") does not apply: it is made for $(sed -n 's/^package=//p' "$PATCHES/BASE")"
    done
    touch "$tree/.patched"
fi
copy_our_files "$tree"
echo "$tree"
