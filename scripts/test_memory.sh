#!/usr/bin/env bash
# Peak memory of plain conversions of a checkpoint with the shapes of Llama 3 70B: 141 GB in sparse files, which take no room.
#
#   scripts/test_memory.sh              a few of 64 parts, each deleted when it is measured
#   PARTS=$(seq 64) scripts/test_memory.sh       all of them
#
# A conversion keeps nothing from tensor to tensor, so that the peak of the whole is that of the worst part. The 1st has the
# embeddings, 2.1 GB in one tensor; the last one the head; those between attention, whose rows change order, and the rest.
source "$(dirname "$0")/setup.sh"

MAX_KILOBYTES=1048576 # of 1 GiB; the band of rows that is converted at a time is within that too
PARTS=${PARTS:-1 2 33 64}

# TENPAK: a program that is built already.
[ -n "${TENPAK:-}" ] || (cd "$ROOT" && cargo build --quiet --release)
tenpak=${TENPAK:-$TARGET/release/tenpak-gguf}
work=$TARGET/test_memory
rm -rf "$work" && mkdir -p "$work"
trap 'rm -rf "$work"' EXIT
bytes=$(python3 "$ROOT/scripts/make_llama.py" "$work/70b" 70b sparse)
room=$(du -sk "$work/70b" | cut -f1)
echo "$bytes bytes of weights in files that take $room kB"
for type in bf16 f16; do
    for part in $PARTS; do
        python3 - "$MAX_KILOBYTES" "$tenpak" convert "$work/70b" -o "$work/out.gguf" --outtype $type --no-tokenizer \
            --shard "$part/64" <<'PY' || die "part $part as $type took more than $MAX_KILOBYTES kB, or failed"
import resource, subprocess, sys, time
start = time.time()
status = subprocess.run(sys.argv[2:], stdout=subprocess.DEVNULL).returncode
kilobytes = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
print(f"{sys.argv[-1]} {sys.argv[8]}: peak {kilobytes} kB, {time.time() - start:.1f} s", flush=True)
sys.exit(status or kilobytes > int(sys.argv[1]))
PY
        rm -f "$work"/out*.gguf
    done
done
