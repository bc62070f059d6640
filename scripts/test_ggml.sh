#!/usr/bin/env bash
# What the compiler makes of ggml's AMX code. ggml's own tests over our types: test-quantize-fns and the CPU part of
# test-backend-ops. Then the collector's sums.
source "$(dirname "$0")/setup.sh"
"$ROOT/scripts/check_amx_build.sh"
llama=$("$ROOT/scripts/build_llama.sh")
log=$TARGET/test_ggml.log
# Weight types: rows of tenpak.h with an activation type.
types=$(sed -nE 's/^    X\([A-Z0-9_]+, ([a-z0-9_]+), [0-9]+, [0-9]+, [0-9]+, .*/\1/p' "$ROOT/ggml-patches/tenpak.h")
[ -n "$types" ] || die "no types in ggml-patches/tenpak.h"

say "test-quantize-fns"
"$llama/test-quantize-fns" -v >"$log" 2>&1 || die "test-quantize-fns failed: see $log"
for type in $types; do
    [ "$(grep -cE "^ *$type .*: +ok" "$log")" = 3 ] || die "test-quantize-fns did not test $type: see $log"
done
grep -E '^ *(t[234](_64)?|g4_128|nf4_64) ' "$log"

say "test-backend-ops"
for op in MUL_MAT MUL_MAT_ID GET_ROWS; do
    for type in $types; do
        "$llama/test-backend-ops" test -b CPU -o $op -p "type(_a)?=$type," >"$log" 2>&1 ||
            die "test-backend-ops -o $op failed for $type: see $log"
        count=$(sed -nE 's/^ *([0-9]+)\/\1 tests passed.*/\1/p' "$log")
        [ "${count:-0}" -gt 0 ] || die "test-backend-ops -o $op had no test for $type: see $log"
        echo "$op $type: $count passed"
    done
done

say "test-tenpak-gram"
"$llama/test-tenpak-gram" || die "the collector's sums are wrong"
