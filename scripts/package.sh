#!/usr/bin/env bash
# Makes what is installed without building anything, into target/package/: a release archive, a Python wheel of the same programs, and
# the archive that Jan takes as a backend. docs/guide/install.md says how they are installed; check_package.sh tries them.
#
#   scripts/package.sh           everything: ggml's CPU backend for each level of instructions takes an hour on two cores, once
#   scripts/package.sh cuda      the archives with the backend for NVIDIA's GPUs and CUDA's libraries; nvcc is that of cuda_compiler.sh
#   scripts/package.sh layout    the folder of the archive alone, without archive and wheel
#
# PROGRAMS=FOLDER and TENPAK=FILE give llama.cpp's programs and tenpak-gguf that are built already, for tests.
source "$(dirname "$0")/setup.sh"
what=${1:-all}
case $what in
all | layout) flavour= ;;
cuda) flavour=-cuda ;;
*) die "there is no package $what: all, cuda or layout" ;;
esac

PROGRAM_NAMES="llama-cli llama-completion llama-server llama-perplexity llama-bench llama-quantize llama-imatrix llama-gguf-split
    llama-tenpak-calibrate ggml-rpc-server"

# put FOLDER FILE...: copies, whole even if they are links
put() {
    mkdir -p "$1"
    cp -L "${@:2}" "$1/"
}

# soname LIBRARY: the name that programs look for
soname() {
    LC_ALL=C readelf -d "$1" | sed -n 's/.*(SONAME).*\[\(.*\)\]/\1/p'
}

# programs BUILD_FOLDER OUT: bin/ has programs and, beside them as ggml looks for them, the backends that are modules; lib/ has the
# libraries.
programs() {
    local name file
    for name in $PROGRAM_NAMES; do
        put "$2/bin" "$1/$name"
    done
    mkdir -p "$2/lib"
    for file in "$1"/lib*.so; do
        name=$(basename "$file")
        case $name in
        libggml.so | libggml-base.so) ;;
        libggml-*) if [ ! -e "$1/libggml-cpu.so" ]; then put "$2/bin" "$file" && continue; fi ;;
        esac
        cp -L "$file" "$2/lib/$(soname "$file")"
    done
    # ggml's threads, which a system without a compiler may lack.
    file=$(ldd "$2"/bin/* "$2"/lib/* 2>/dev/null | awk '/libgomp/ {found = $3} END {print found}' || true)
    [ -z "$file" ] || put "$2/lib" "$file"
}

# cuda_libraries OUT: what the backend needs of CUDA, with its licence; libcuda is the driver's.
cuda_libraries() {
    local name
    for name in cudart cublas cublasLt; do
        cp -L "$toolkit/lib64/lib$name.so" "$1/lib/$(soname "$toolkit/lib64/lib$name.so")"
    done
    # Their terms: in a toolkit's own folder, or where a Python package has them.
    for name in "$toolkit"/*EULA* "$toolkit"/LICENSE* "$toolkit"/../../nvidia_cu*.dist-info/licenses/License.txt; do
        if [ -e "$name" ]; then put "$1/licenses/cuda" "$name"; fi
    done
    [ -d "$1/licenses/cuda" ] || die "$toolkit has no file of the terms on which CUDA's libraries may be passed on"
}

# The converter of llama.cpp, and what a llama.cpp of one's own is patched with.
sources() {
    local tree=$1 out=$2
    put "$out/share/tenpak-gguf/llama.cpp" "$tree"/{convert_hf_to_gguf.py,LICENSE} "$ROOT/ggml-patches/converter-requirements.txt"
    (cd "$tree" && tar cf - --exclude=__pycache__ conversion gguf-py/gguf gguf-py/LICENSE) |
        tar xf - -C "$out/share/tenpak-gguf/llama.cpp"
    cp -r "$ROOT/ggml-patches" "$out/patches"
    put "$out/include" "$tree"/ggml/include/*.h "$tree"/include/*.h
    put "$out/lib" "$("$ROOT/scripts/build_kernels.sh")"
    put "$out" "$ROOT"/{README.md,LICENSE-MIT,LICENSE-APACHE} "$ROOT/scripts/package"/{install.sh,Dockerfile}
    put "$out/licenses/llama.cpp" "$tree/LICENSE" "$tree"/licenses/*
    put "$out/licenses/charts" "$ROOT"/src/report/vendor/LICENSE-*
    local gomp=/usr/share/doc/libgomp1/copyright
    if [ -e "$out/lib/libgomp.so.1" ] && [ -e $gomp ]; then cp $gomp "$out/licenses/libgomp"; fi
    (cd "$ROOT" && python3 scripts/package/licenses.py "$out/licenses/crates")
}

# sums FOLDER: SHA256SUMS in it, of every other file
sums() {
    (cd "$1" && find . -type f ! -name 'SHA256SUMS*' -printf '%P\0' | sort -z | xargs -0 sha256sum >SHA256SUMS.part && mv SHA256SUMS.part SHA256SUMS)
}

need python3 'install Python 3.9 or later'
need readelf 'install binutils'
if [ -z "${PROGRAMS:-}" ]; then
    [ -z "$flavour" ] || export CUDA_ARCHITECTURES=${CUDA_ARCHITECTURES:-75-real;80-real;86-real;89-real;90-real;120-real}
    PROGRAMS=$(LLAMA_PORTABLE=1 LLAMA_TARGETS=${PROGRAM_NAMES//$'\n'/ } "$ROOT/scripts/build_llama.sh")
fi
if [ -z "${TENPAK:-}" ]; then
    (cd "$ROOT" && cargo build --quiet --release --bin tenpak-gguf)
    TENPAK=$TARGET/release/tenpak-gguf
fi
version=$("$TENPAK" --version | awk 'NR == 1 {print $2}')
name=tenpak-gguf-$version$flavour-linux-$(uname -m)
place=$TARGET/package
out=$place/$name
rm -rf "$out"
programs "$PROGRAMS" "$out"
put "$out/bin" "$TENPAK"
if [ -n "$flavour" ]; then
    nvcc=$("$ROOT/scripts/cuda_compiler.sh")
    toolkit=$(dirname "$(dirname "$nvcc")")
    flavour_of_jan=-cuda-$("$nvcc" --version | sed -n 's/.*release \([0-9]*\).*/\1/p')
    cuda_libraries "$out"
fi
strip --strip-debug "$out/bin/"* "$out"/lib/*.so* 2>/dev/null || true
sources "$(dirname "$(dirname "$PROGRAMS")")" "$out"
"$TENPAK" man "$out/share/man/man1" >/dev/null
sums "$out"
if [ "$what" = layout ]; then
    echo "$out"
    exit
fi

say "making archive and wheel" >&2
archive=$place/$name.tar.gz
tar_options=(--sort=name --owner=0 --group=0 --numeric-owner "--mtime=@${SOURCE_DATE_EPOCH:-0}")
tar c "${tar_options[@]}" -C "$place" "$name" | gzip -n >"$archive.part"
mv "$archive.part" "$archive"
# Jan takes a backend from a file of such a name, with all in build/bin.
tree=$(basename "$(dirname "$(dirname "$PROGRAMS")")")
jan=$place/tenpak_llama-b0-${tree:0:7}-bin-linux${flavour_of_jan:-}-common_cpus-x64.tar.gz
(cd "$out" && find bin lib -type f ! -name '*.a' -print0 | sort -z | tar c "${tar_options[@]}" --null -T - --transform 's,^[a-z]*/,build/bin/,') |
    gzip -n >"$jan.part"
mv "$jan.part" "$jan"
made=("$archive" "$jan")
if [ -z "$flavour" ]; then # CUDA's libraries are too large for a wheel
    install_tools wheel wheel==0.48.0 auditwheel==6.8.2 >&2
    made+=("$(PATH=$TOOLS/wheel/bin:$PATH python3 "$ROOT/scripts/package/wheel.py" "$out" "$version" "$place")")
fi
(cd "$place" && sha256sum "${made[@]##*/}" >"SHA256SUMS$flavour")
printf '%s\n' "$out" "${made[@]}"
