#!/usr/bin/env bash
# Builds libggml-tenpak.so, the backend that gives an unpatched llama.cpp of the pinned version our types (docs/stock-builds.md), and prints
# its path.
#
#   GGML_VERSION=0.25.3    the version that it accepts [default: that of ggml-patches/BASE]
source "$(dirname "$0")/setup.sh"
need cc 'install a C compiler (package gcc or clang)'
stock=$(STOCK_TARGETS=none "$ROOT/scripts/build_stock_ggml.sh")
number() { sed -nE "s/^set\(GGML_VERSION_$1 ([0-9]+)\)/\1/p" "$stock/ggml/CMakeLists.txt"; }
version=${GGML_VERSION:-$(number MAJOR).$(number MINOR).$(number PATCH)}
library=$("$ROOT/scripts/build_kernels.sh")
out=$TARGET/package/libggml-tenpak-$version.so
mkdir -p "$(dirname "$out")"
cc -O2 -std=c11 -Wall -Wextra -Werror -fPIC -shared -fvisibility=hidden "-DTENPAK_GGML_VERSION=\"$version\"" \
    -I "$ROOT/ggml-patches" -I "$stock/ggml/include" -I "$stock/ggml/src" \
    "$ROOT/ggml-patches/stock/tenpak-backend.c" "$library" -Wl,--gc-sections -Wl,--exclude-libs,ALL -lm -lpthread -ldl -o "$out.part"
strip --strip-debug "$out.part"
mv "$out.part" "$out"
echo "$out"
