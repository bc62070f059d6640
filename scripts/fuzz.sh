#!/usr/bin/env bash
# Inputs of a fuzzer for every reader, every decoder and the C ABI (fuzz/); docs/testing.md says what is looked for.
#
#   scripts/fuzz.sh                    two minutes of processor time in all, the same inputs on every run
#   scripts/fuzz.sh HOURS [NAME...]    so long, on all cores, other inputs on every run; of targets whose names contain one of these
#   scripts/fuzz.sh --rounds FIRST LAST    rounds by number, each the same on every run. Fifty of them are 10^6 inputs for each
#                                      reader and the C ABI, and 10^8 blocks in all for the decoders. Those that are done
#                                      (target/fuzz/) are not run again, and the inputs of all are added up.
#
# With `cargo bolero` (cargo install cargo-bolero --locked) a run of HOURS is led by coverage (libFuzzer), and what it finds is kept
# in fuzz/__fuzz__; otherwise inputs are random. A failure prints its input, which becomes a named test.
source "$(dirname "$0")/setup.sh"
need cargo 'install Rust'
cd "$ROOT"
hours=${1:-} first=1 last=0
if [ "$hours" = --rounds ]; then
    first=${2:-1} last=${3:-50} hours=
    set --
fi
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
mapfile -t targets < <("$program" --list "$@" 2>/dev/null | sed -nE 's/^((abi|decoders|readers)::[a-z0-9_:]+): test$/\1/p' | grep -v every_type_is_here)
[ ${#targets[@]} -gt 0 ] || die "no target has such a name: $*"

# iterations TARGET: of a round. Blocks come 1024 at a time, and fewer of the types whose definition takes longest.
iterations() {
    case $1 in
    decoders::blocks::t*_64) echo 60 ;;
    decoders::blocks::t*) echo 30 ;;
    decoders::blocks::*) echo 180 ;;
    decoders::*) echo 200 ;;
    *) echo 20000 ;;
    esac
}

# A line for each target: inputs of all rounds, and what was most of a call.
added_up() {
    cat "$TARGET"/fuzz/round-*.log | awk '
        { sub(/^test .* \.\.\. /, "") }
        match($0, /^[a-z0-9_:]+: [0-9]+ inputs/) {
            name = $1; inputs[name] += $2
            if ($7 > memory[name]) memory[name] = $7
            if ($10 > time[name]) time[name] = $10
            if (name ~ /^decoders::blocks/) blocks += $2
        }
        END {
            for (name in inputs)
                printf "%s %d inputs; a call took %d kB and %d us at most\n", name, inputs[name], memory[name], time[name] | "sort"
            close("sort")
            printf "decoders::blocks in all: %d inputs\n", blocks
        }'
}

if [ "$last" -gt 0 ]; then
    mkdir -p "$TARGET/fuzz"
    export BOLERO_RANDOM_TEST_TIME_MS=1000000000
    for ((round = first; round <= last; round++)); do
        log=$TARGET/fuzz/round-$round.log
        [ ! -e "$log" ] || continue
        for target in "${targets[@]}"; do
            BOLERO_RANDOM_SEED=$round BOLERO_RANDOM_ITERATIONS=$(iterations "$target") "$program" --exact "$target" >>"$log.part" 2>&1 ||
                die "$target, round $round: see $log.part"
        done
        mv "$log.part" "$log"
    done
    say "rounds: $(find "$TARGET/fuzz" -name 'round-*.log' | wc -l), of $(find "$TARGET/fuzz" -name 'round-*.log' -printf '%f\n' | sort -V | sed 's/round-//; s/.log//' | paste -sd' ')"
    added_up
    exit
fi
if [ -n "$hours" ] && cargo bolero --version >/dev/null 2>&1; then
    seconds=$(awk "BEGIN { printf \"%d\", $hours * 3600 / ${#targets[@]} }")
    for target in "${targets[@]}"; do
        say "$target"
        cargo bolero test --sanitizer NONE --profile quick --test fuzz --engine-args '-rss_limit_mb=4096' -T "${seconds}s" "$target"
    done
    exit
fi
# A target runs alone in its process, whose memory and time are looked at: each core has a process with a share of the targets.
cores=$(nproc)
export BOLERO_RANDOM_ITERATIONS=1000000000 BOLERO_RANDOM_TEST_TIME_MS
BOLERO_RANDOM_TEST_TIME_MS=$(awk "BEGIN { printf \"%d\", 1000 * ${hours:-2 / 60 / $cores} * 3600 * $cores / ${#targets[@]} }")
[ -n "$hours" ] || export BOLERO_RANDOM_SEED=1
mkdir -p "$TARGET/fuzz"
processes=()
for ((core = 0; core < cores && core < ${#targets[@]}; core++)); do
    share=()
    for ((i = core; i < ${#targets[@]}; i += cores)); do share+=("${targets[i]}"); done
    "$program" --test-threads=1 --exact "${share[@]}" >"$TARGET/fuzz/core-$core.log" 2>&1 &
    processes+=($!)
done
failed=0
for core in "${!processes[@]}"; do
    wait "${processes[core]}" || failed=1
    cat "$TARGET/fuzz/core-$core.log"
done
exit $failed
