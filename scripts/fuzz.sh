#!/usr/bin/env bash
# Inputs of a fuzzer for every reader, every decoder and the C ABI (fuzz/); docs/testing.md says what is looked for.
#
#   scripts/fuzz.sh                    two minutes in all, the same inputs on every run
#   scripts/fuzz.sh HOURS [NAME...]    so long in all, other inputs on every run; of targets whose names contain one of these
#
# With `cargo bolero` (cargo install cargo-bolero --locked) a run of HOURS is led by coverage (libFuzzer), and what it finds is kept
# in fuzz/__fuzz__; otherwise inputs are random. A failure prints its input, which becomes a named test.
source "$(dirname "$0")/setup.sh"
need cargo 'install Rust'
cd "$ROOT"
hours=${1:-}
[ $# = 0 ] || shift
[[ $hours =~ ^[0-9]*(\.[0-9]+)?$ ]] || die "$hours is no number of hours"
# Files that are written for each input stay in memory where there is a place for that.
[ ! -w /dev/shm ] || export TMPDIR=/dev/shm

program=$(cargo test --quiet --profile quick --test fuzz --no-run --message-format=json 2>/dev/null |
    python3 -c 'import json, sys
for line in sys.stdin:
    made = json.loads(line)
    if made.get("target", {}).get("name") == "fuzz" and made.get("executable"):
        print(made["executable"])') || true
[ -n "$program" ] || die "cargo test --profile quick --test fuzz --no-run failed"
mapfile -t targets < <("$program" --list "$@" 2>/dev/null | sed -nE 's/^((abi|decoders|readers)::[a-z0-9_]+): test$/\1/p' | grep -v every_type_is_here)
[ ${#targets[@]} -gt 0 ] || die "no target has such a name: $*"
seconds=$(awk "BEGIN { printf \"%.3f\", ${hours:-2/60} * 3600 / ${#targets[@]} }")

if [ -n "$hours" ] && cargo bolero --version >/dev/null 2>&1; then
    for target in "${targets[@]}"; do
        say "$target"
        cargo bolero test --sanitizer NONE --profile quick --test fuzz --engine-args '-rss_limit_mb=4096' -T "${seconds%.*}s" "$target"
    done
    exit
fi
export BOLERO_RANDOM_ITERATIONS=1000000000 BOLERO_RANDOM_TEST_TIME_MS
BOLERO_RANDOM_TEST_TIME_MS=$(awk "BEGIN { printf \"%d\", 1000 * $seconds }")
[ -n "$hours" ] || export BOLERO_RANDOM_SEED=1
"$program" --test-threads=1 "$@"
