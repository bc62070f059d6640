#!/usr/bin/env bash
# Peak memory of plain conversions of checkpoints with the shapes of Llama 3 70B and Mixtral 8x22B: 141 and 281 GB in sparse
# files, which take no room.
#
#   scripts/test_memory.sh              a few of the 64 and 128 parts, each deleted when it is measured
#   PARTS=$(seq 64) EXPERT_PARTS=$(seq 128) scripts/test_memory.sh       all of them
#
# A conversion keeps nothing from tensor to tensor, so that the peak of the whole is that of the worst part. The 1st has the
# embeddings, 2.1 GB in one tensor; the last one the head; those between attention, whose rows change order, and the rest.
# Of Mixtral, the 2nd has experts of eight tensors stacked to one of 1.6 GB.
source "$(dirname "$0")/setup.sh"

MAX_KILOBYTES=1048576 # of 1 GiB; the band of rows that is converted at a time is within that too
PARTS=${PARTS:-1 2 33 64}
EXPERT_PARTS=${EXPERT_PARTS:-2}

# TENPAK: a program that is built already.
[ -n "${TENPAK:-}" ] || (cd "$ROOT" && cargo build --quiet --release)
tenpak=${TENPAK:-$TARGET/release/tenpak-gguf}
work=$TARGET/test_memory
rm -rf "$work" && mkdir -p "$work"
trap 'rm -rf "$work"' EXIT
# measure SHAPE COUNT TYPES PARTS: of COUNT
measure() {
    local bytes
    bytes=$(python3 "$ROOT/scripts/make_llama.py" "$work/$1" "$1" sparse)
    echo "$1: $bytes bytes of weights in files that take $(du -sk "$work/$1" | cut -f1) kB"
    for type in $3; do
        for part in $4; do
            python3 - "$MAX_KILOBYTES" "$type" "$part/$2" "$tenpak" convert "$work/$1" -o "$work/out.gguf" \
                --no-tokenizer <<'PY' || die "part $part of $1 as $type took more than $MAX_KILOBYTES kB, or failed"
import resource, subprocess, sys, time
limit, kind, shard, *command = sys.argv[1:]
start = time.time()
status = subprocess.run([*command, "--outtype", kind, "--shard", shard], stdout=subprocess.DEVNULL).returncode
kilobytes = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
print(f"{shard} {kind}: peak {kilobytes} kB, {time.time() - start:.1f} s", flush=True)
sys.exit(status or kilobytes > int(limit))
PY
            rm -f "$work"/out*.gguf
        done
    done
}
measure 70b 64 "bf16 f16" "$PARTS"
measure 8x22b 128 f16 "$EXPERT_PARTS"
