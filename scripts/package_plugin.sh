#!/usr/bin/env bash
# Makes what gives a llama.cpp that is installed the types of this project: ggml's base and CPU libraries, patched, for this machine's
# processor, with a script that puts them in the place of those that are there and back. Prints the folder, in target/package/.
#
# They fit programs that are linked dynamically to the ggml of ggml-patches/BASE: a llama.cpp of that version, or llama-cpp-python of
# that release. PROGRAMS=FOLDER gives libraries that are built already.
source "$(dirname "$0")/setup.sh"
PROGRAMS=${PROGRAMS:-$(LLAMA_TARGETS=ggml "$ROOT/scripts/build_llama.sh")}
[ -e "$PROGRAMS/libggml-cpu.so" ] || die "$PROGRAMS has no libggml-cpu.so: its CPU backends are modules"
version=$(readlink -f "$PROGRAMS/libggml-base.so" | sed 's/.*\.so\.//')
out=$TARGET/package/tenpak-ggml-$version-linux-$(uname -m)
rm -rf "$out"
mkdir -p "$out/lib"
for name in base cpu; do
    cp -L "$PROGRAMS/libggml-$name.so" "$out/lib/"
    strip --strip-debug "$out/lib/libggml-$name.so"
done
cp "$ROOT/scripts/package/plugin.py" "$ROOT"/LICENSE-{MIT,APACHE} "$out/"
cp "$(dirname "$(dirname "$PROGRAMS")")/LICENSE" "$out/LICENSE-llama.cpp"
echo "$out"
