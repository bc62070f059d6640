#!/usr/bin/env bash
# Our dot products and quantizers against ggml's in one run on one core; the record goes to benches/record/ by CPU and date.
# Let nothing else run meanwhile.
source "$(dirname "$0")/setup.sh"
llama=$("$ROOT/scripts/build_llama.sh")
cpu=$(sed -nE 's/^model name\s*: //p' /proc/cpuinfo | head -n 1)
family=$(awk -F': ' '/^cpu family/ { f = $2 } /^model\t/ { m = $2 } END { print "family " f " model " m }' /proc/cpuinfo)
record=$ROOT/benches/record/$(tr -cs '[:alnum:]' - <<<"$cpu $family" | sed 's/-$//' | tr '[:upper:]' '[:lower:]')-$(date +%F).txt
cd "$ROOT"
{
    echo "# scripts/bench.sh on $cpu, $family, $(date +%F)"
    taskset -c 0 cargo bench --quiet --bench kernels -- "$llama"
    echo
    taskset -c 0 cargo bench --quiet --bench quantize -- "$llama"
} | tee "$record"
