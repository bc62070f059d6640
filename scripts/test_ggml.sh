#!/usr/bin/env bash
# ggml's own tests over our types: test-quantize-fns and the CPU part of test-backend-ops.
source "$(dirname "$0")/setup.sh"
llama=$("$ROOT/scripts/build_llama.sh")
log=$TARGET/test_ggml.log

say "test-quantize-fns"
"$llama/test-quantize-fns" -v >"$log" 2>&1 || die "test-quantize-fns failed: see $log"
for type in t2 t3 t4 t2_64 t3_64 t4_64; do
    [ "$(grep -cE "^ *$type .*: +ok" "$log")" = 3 ] || die "test-quantize-fns did not test $type: see $log"
done
grep -E '^ *t[234](_64)? ' "$log"

say "test-backend-ops"
for op in MUL_MAT MUL_MAT_ID GET_ROWS; do
    for type in t2 t3 t4 t2_64 t3_64 t4_64; do
        "$llama/test-backend-ops" test -b CPU -o $op -p "type(_a)?=$type," >"$log" 2>&1 ||
            die "test-backend-ops -o $op failed for $type: see $log"
        count=$(sed -nE 's/^ *([0-9]+)\/\1 tests passed.*/\1/p' "$log")
        [ "${count:-0}" -gt 0 ] || die "test-backend-ops -o $op had no test for $type: see $log"
        echo "$op $type: $count passed"
    done
done
