# What the other scripts share; to be sourced. Sets ROOT, TARGET and PATH to the build tools.
# shellcheck shell=bash

set -euo pipefail
ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
TARGET=${CARGO_TARGET_DIR:-$ROOT/target}
DOWNLOADS=$TARGET/downloads
TOOLS=$TARGET/tools
mkdir -p "$DOWNLOADS"
# ggml's builds use ccache if it is there. They share what they compile, wherever their folders are.
export CCACHE_DIR=${CCACHE_DIR:-$TARGET/ccache} CCACHE_BASEDIR=${CCACHE_BASEDIR:-$TARGET} CCACHE_NOHASHDIR=${CCACHE_NOHASHDIR:-1}

say() { printf '\n== %s\n' "$*"; }
die() { printf 'error: %s\n' "$*" >&2; exit 1; }

# build_tenpak [EXAMPLE...]: the converter and examples; sets tenpak to it, and judge to the program that has llama.cpp judge models.
# BUILT=FOLDER: they are built already, in this folder of cargo's.
build_tenpak() {
    if [ -n "${BUILT:-}" ]; then
        local built
        built=$(realpath "$BUILT")
        tenpak=$built/tenpak-gguf judge=$built/examples/judge
        return
    fi
    local examples=() example
    for example in judge "$@"; do examples+=(--example "$example"); done
    (cd "$ROOT" && cargo build --quiet --release --bin tenpak-gguf "${examples[@]}")
    # shellcheck disable=SC2034 # what sources this uses them
    tenpak=$TARGET/release/tenpak-gguf judge=$TARGET/release/examples/judge
}

# made FILE COMMAND...: FILE made by a command that is to write FILE.part, once
made() {
    local file=$1
    shift
    [ -e "$file" ] && return
    say "making $file" >&2
    "$@" >"$file.log" 2>&1 || die "it failed: see $PWD/$file.log"
    mv "$file.part" "$file"
}

need() {
    command -v "$1" >/dev/null || die "$1 is not installed: $2"
}

# Python tools in a folder of the project, so that nothing is asked of the machine but Python itself.
# install_tools NAME REQUIREMENT...
install_tools() {
    local folder=$TOOLS/$1 stamp
    shift
    stamp=$folder/.installed
    if [ "$(cat "$stamp" 2>/dev/null)" != "$*" ]; then
        need python3 'install Python 3.9 or later'
        say "installing $*"
        rm -rf "$folder"
        python3 -m venv "$folder" || die "python3 -m venv failed: install the venv module (package python3-venv)"
        "$folder/bin/pip" install --quiet --disable-pip-version-check "$@"
        printf '%s' "$*" >"$stamp"
    fi
}

# download REQUIREMENT FILE SHA256 [PIP OPTION...]: a package file into $DOWNLOADS, checked.
download() {
    local requirement=$1 file=$DOWNLOADS/$2 sha256=$3
    shift 3
    if [ ! -f "$file" ]; then
        say "downloading $requirement"
        "$TOOLS/build/bin/pip" download --disable-pip-version-check --no-deps -d "$DOWNLOADS" "$@" "$requirement"
    fi
    printf '%s  %s\n' "$sha256" "$file" | sha256sum --check --status ||
        die "$file does not have sha256 $sha256: delete it and try again"
}

install_build_tools() {
    install_tools build cmake==4.1.2 ninja==1.13.0 scikit-build-core==0.11.6
    export PATH=$TOOLS/build/bin:$PATH
}

# compile BUILD TARGET...: by ninja, in a folder that cmake has configured. All that compilers say, of which warnings about others' code
# are most, goes to BUILD.ninja.log; a terminal has a line that tells how far it is.
compile() {
    local build=$1 log=$1.ninja.log
    shift
    if ! ninja -C "$build" "$@" 2>&1 | tee "$log" | last_step; then
        sed -n '/^FAILED/,$p' "$log" | head -n 40 >&2
        die "compiling failed: see $log"
    fi
}

# last_step: of ninja's lines, which it reads, the last one that counts steps, if there is a terminal.
last_step() {
    local line columns
    columns=$(tput cols 2>/dev/null || echo 80)
    while IFS= read -r line; do
        [[ ! -t 2 || $line != '['*/*'] '* ]] || printf '\r\033[K%.*s' $((columns - 1)) "$line" >&2
    done
    [ ! -t 2 ] || printf '\r\033[K' >&2
}

# unpack_llama FOLDER [PIN]: the llama.cpp of ggml-patches/BASE or of the pin file, unpatched.
unpack_llama() {
    local folder=$1 pin=${2:-$ROOT/ggml-patches/BASE}
    (
        # shellcheck source=../ggml-patches/BASE
        source "$pin"
        download "$package" "$file" "$sha256" --no-binary :all: --no-build-isolation
        say "unpacking $file"
        mkdir -p "$folder"
        depth=$(awk -F/ '{print NF}' <<<"$tree")
        tar xzf "$DOWNLOADS/$file" -C "$folder" --strip-components "$depth" "$tree"
        rm -rf "$folder/.git" # a dangling submodule pointer in the package
    )
}

# copy_our_files TREE: the files of ggml-patches that are no patches, to their places in a llama.cpp; only what differs.
copy_our_files() {
    local patches=$ROOT/ggml-patches from to file
    while read -r from to; do
        [ -e "$patches/$from" ] || continue
        (cd "$patches/$from" && find . -type f) | while read -r file; do
            cmp --quiet "$patches/$from/$file" "$1/$to/$file" && continue
            mkdir -p "$(dirname "$1/$to/$file")"
            cp "$patches/$from/$file" "$1/$to/$file"
        done
    done <<<"overlay .
tools tools"
    while read -r file to; do
        cmp --quiet "$patches/$file" "$1/$to/$file" || cp "$patches/$file" "$1/$to/"
    done <<<"converter-requirements.txt .
tenpak.h ggml/include
tenpak-tables.h ggml/src/ggml-cuda
tenpak-tables.glsl ggml/src/ggml-vulkan/vulkan-shaders"
}
