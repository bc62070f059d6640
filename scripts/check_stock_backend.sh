#!/usr/bin/env bash
# Multiplies with the weights of a file of `tenpak-gguf export --stock-ids` in an unpatched ggml that has the backend of build_backend.sh,
# and sees that ggml refuses the file without it, and the backend any other version of ggml.
#
#   scripts/check_stock_backend.sh FILE.gguf
source "$(dirname "$0")/setup.sh"
file=$(realpath "$1")
stock=$(STOCK_TARGETS=none "$ROOT/scripts/build_stock_ggml.sh")
modules=$(STOCK_TARGETS=modules "$ROOT/scripts/build_stock_ggml.sh")
backend=$("$ROOT/scripts/build_backend.sh")
other=$(GGML_VERSION=0.0.0 "$ROOT/scripts/build_backend.sh")
program=$modules/test-tenpak-backend
cc -O2 -std=c11 -Wall -Wextra -Werror -I "$stock/ggml/include" "$ROOT/ggml-patches/stock/test-tenpak-backend.c" \
    -L "$modules" -lggml -lggml-base -lm "-Wl,-rpath,$modules" -o "$program"

multiplies() { "$program" "$modules" "$file"; }

# refused COMMAND...: it ends with 2
refused() {
    local status=0
    "$@" || status=$?
    [ "$status" = 2 ] || die "status $status: the file is not refused"
}

GGML_BACKEND_PATH=$backend multiplies || die "a product is wrong, or the file is refused"
refused multiplies
GGML_BACKEND_PATH=$other refused multiplies
say "multiplied with the backend, refused without it and by that of another version"
