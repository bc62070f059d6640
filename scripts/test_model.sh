#!/usr/bin/env bash
# A real model through the converter and llama.cpp: the F16 file against llama.cpp's converter, limits of time and
# memory, perplexity of the kernels against plain weights, every program that handles files.
source "$(dirname "$0")/setup.sh"

# Chunks of 512 tokens for the comparison of perplexities.
CHUNKS=${CHUNKS:-16}
# Limits of a conversion on two cores: seconds (69 on a quiet Zen 5, 159 on a quiet Emerald Rapids, 263 in one
# run of CI, 591 on a Zen 3 at a load of nine), and kilobytes at the peak. It is shared machines that the room is for.
MAX_SECONDS=900
MAX_KILOBYTES=1500000
# Chunks for the divergence with and without calibration, and how much smaller it must be with it.
KLD_CHUNKS=${KLD_CHUNKS:-8}
MAX_KLD_RATIO=0.6
# Kernels against plain weights, percent of the perplexity: activations are rounded to 8 bits.
MAX_PERCENT=0.3
# Memory for the Gram matrices of the calibration in several passes; all of SmolLM2's take 225 MB.
CALIBRATION_MEGABYTES=80
# What the collector takes beside the model and the sums: the logits of 512 tokens twice, 201 MB, and buffers of
# llama.cpp (244 MB seen).
COLLECTOR_KILOBYTES=300000
# Kernels against plain weights in a model with experts, nats, the median: a token that gets other experts, because
# rounding turned their order, is as far as it likes from its like (.0017 seen; the mean .07).
MAX_EXPERTS_KLD=0.01
# Bytes that differ between conversions with the two formats of an importance matrix, of 10.6 million: the older one
# holds other multiples of the sums, whose rounding turns some choices of the search (2331 seen).
MAX_IMATRIX_BYTES=20000

(cd "$ROOT" && cargo build --quiet --release)
tenpak=$TARGET/release/tenpak-gguf
llama=$("$ROOT/scripts/build_llama.sh")
folder=$("$ROOT/scripts/fetch_model.sh")
text=$TARGET/models/text/wiki.utf8
work=$TARGET/test_model
rm -rf "$work" && mkdir -p "$work"
cd "$work"

# measured COMMAND...: prints seconds and the peak of resident kilobytes
measured() {
    python3 - "$@" <<'PY'
import resource, subprocess, sys, time
start = time.time()
status = subprocess.run(sys.argv[1:], stdout=subprocess.DEVNULL).returncode
print(round(time.time() - start, 1), resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)
sys.exit(status)
PY
}

say "F16 file against the one of convert_hf_to_gguf.py"
"$tenpak" convert "$folder" -o f16.gguf --outtype f16
diff <("$tenpak" inspect f16.gguf --digest) "$ROOT/tests/golden/smollm2-f16.digest" ||
    die "f16.gguf differs from what llama.cpp's converter makes (see docs/reference-f16.md)"
echo "same keys, same bytes of $(grep -c ^tensor "$ROOT/tests/golden/smollm2-f16.digest") tensors"

say "calibration"
calibration_text=$TARGET/models/text/c4.utf8
# calibrate NAME MODEL OPTION...: NAME.gguf
calibrate() {
    quietly "calibrate-$1" "$tenpak" calibrate "$2" -f "$calibration_text" -o "$1.gguf" --collector "$llama" "${@:3}"
}
# agrees NAME MODEL: the diagonals of NAME.gguf against llama-imatrix
agrees() {
    quietly "imatrix-$1" "$llama/llama-imatrix" -m "$2" -f "$calibration_text" -o "$1.imatrix" --output-format gguf \
        -c 512 -b 512 --chunks "$3" --no-ppl
    (cd "$ROOT" && cargo run --quiet --release --example compare_diagonals "$work/$2" "$work/$1.gguf" "$work/$1.imatrix")
}
calibrate gram f16.gguf --tokens 2048
agrees gram f16.gguf 4
# q, k and v share an input, gate and up do
grep -q '^210 weights with 120 inputs;' calibrate-gram.log || die "other inputs: see $work/calibrate-gram.log"
grep -qE '^pass 1 of 1: .* 25 %, [0-9.]+ (s|min) left$' calibrate-gram.log || die "no time left in $work/calibrate-gram.log"
# `inspect` shows the first 60 digits.
digest=$(sha256sum <"$calibration_text" | cut -c 1-60)
"$tenpak" inspect gram.gguf | grep -q "gram.text.sha256 .*$digest" || die "gram.gguf does not name its text by sha256 $digest"

# The same bytes in several passes, after an interruption, and no more memory than allowed.
calibrate one-pass f16.gguf --tokens 1024
passes=("$llama/llama-tenpak-calibrate" -m f16.gguf -f "$calibration_text" -o passes.gguf --tokens 1024)
"${passes[@]}" --memory "${CALIBRATION_MEGABYTES}M" >interrupted.log 2>&1 </dev/null &
interrupted=$!
until grep -q '^pass 2 of' interrupted.log; do
    kill -0 $interrupted 2>/dev/null || die "the collector ended before it was interrupted: see $work/interrupted.log"
    sleep 0.1
done
kill -9 $interrupted
wait $interrupted 2>/dev/null || true
[ -f passes.gguf.part ] && [ ! -e passes.gguf ] || die "an interrupted calibration left passes.gguf instead of a part"
if "${passes[@]}" -c 256 >other.log 2>&1 </dev/null; then die "a part file of another run was taken for one of this"; fi
grep -q 'gram.context is 512, not 256' other.log || die "no clear error in $work/other.log"
measures=$(measured "${passes[@]}" --memory "${CALIBRATION_MEGABYTES}M" 2>passes.log) ||
    die "the collector failed: see $work/passes.log"
read -r seconds kilobytes <<<"$measures"
limit=$(($(wc -c <f16.gguf) / 1024 + CALIBRATION_MEGABYTES * 1024 + COLLECTOR_KILOBYTES))
[ "$kilobytes" -le $limit ] || die "the collector took $kilobytes kB in $seconds s; the limit is $limit kB"
cmp one-pass.gguf passes.gguf || die "one pass and several passes give different files"
passes_left() { sed -nE 's/.*passes left: ([0-9]+) .*/\1/p' "$1"; }
[ "$(passes_left passes.log)" -lt "$(passes_left interrupted.log)" ] || die "finished passes were repeated"
megabytes=$(sed -nE 's/.* of them ([0-9.]+) MB for the sums$/\1/p' passes.log)
awk "BEGIN { exit !($megabytes > 0 && $megabytes <= $CALIBRATION_MEGABYTES * 1.048576) }" ||
    die "the sums took ${megabytes:-?} MB of $CALIBRATION_MEGABYTES MiB: see $work/passes.log"
echo "the same file in 1 and $(passes_left interrupted.log) passes, interrupted after the first; $megabytes MB for the sums"
echo "peak $kilobytes kB of at most $limit"

# Experts, those of one input in several passes; chunks that llama.cpp cuts.
(cd "$ROOT" && cargo run --quiet --release --example make_moe "$work/f16.gguf" "$work/moe.gguf")
calibrate experts moe.gguf --tokens 2048
agrees experts moe.gguf 4
calibrate experts-passes moe.gguf --tokens 2048 --memory 18M
cmp experts.gguf experts-passes.gguf || die "experts: one pass and several passes give different files"
for threads in 1 3; do
    calibrate "experts-$threads" moe.gguf --tokens 2048 --threads $threads
    cmp experts.gguf "experts-$threads.gguf" || die "experts: $threads threads give another file"
done
calibrate long moe.gguf --tokens 2048 --context 1024
calibrate long-passes moe.gguf --tokens 2048 --context 1024 --memory 32M
cmp long.gguf long-passes.gguf || die "chunks of 1024: one pass and several passes give different files"

say "conversion"
measures=$(measured "$tenpak" convert "$folder" -o out.gguf)
read -r seconds kilobytes <<<"$measures"
echo "$seconds s, peak $kilobytes kB"
awk "BEGIN { exit !($seconds <= $MAX_SECONDS && $kilobytes <= $MAX_KILOBYTES) }" ||
    die "conversion took $seconds s and $kilobytes kB; the limits are $MAX_SECONDS s and $MAX_KILOBYTES kB"
"$tenpak" inspect out.gguf --summary

say "experts"
# with NAME CALIBRATION OPTION...: NAME.gguf, of moe.gguf
with() {
    quietly "convert-$1" "$tenpak" convert moe.gguf -o "$1.gguf" --keep-embeddings --calibration "$2" --effort fast "${@:3}"
}
with moe-t3 experts.gguf --type t3 --threads 1
with moe-t3-again experts.gguf --type t3 --threads 2
cmp moe-t3.gguf moe-t3-again.gguf || die "1 and 2 threads convert to different files"
quietly export-moe-t3 "$tenpak" export moe-t3.gguf -o moe-t3-plain.gguf
kld=$(divergence moe-t3 moe-t3-plain 2 Median)
echo "median divergence of the kernels from the exported weights: $kld"
awk "BEGIN { exit !($kld <= $MAX_EXPERTS_KLD) }" || die "it is more than $MAX_EXPERTS_KLD"
# More columns than ggml-patches multiplies in one call, of matrices and of experts.
for columns in 512 1024; do
    perplexity moe-t3 2 moe-$columns -c 1024 -b 1024 -ub $columns >moe-$columns.txt
done
cmp moe-512.txt moe-1024.txt || die "1024 columns at a time give $(cat moe-1024.txt), 512 $(cat moe-512.txt)"
echo "the same perplexity with 512 and 1024 columns at a time"
# So many threads that the rows of an expert are shared out before each has some.
for threads in 2 30; do
    perplexity moe-t3 1 moe-$threads-threads -t $threads >moe-$threads-threads.txt
done
cmp moe-2-threads.txt moe-30-threads.txt || die "30 threads give $(cat moe-30-threads.txt), 2 $(cat moe-2-threads.txt)"
echo "the same perplexity with 2 and 30 threads"

say "importance matrices"
quietly imatrix-dat "$llama/llama-imatrix" -m moe.gguf -f "$calibration_text" -o experts.dat --output-format dat -c 512 -b 512 \
    --chunks 4 --no-ppl
for format in imatrix dat; do
    with moe-$format experts.$format --type t3
    grep '^calibration: importance matrix of 16 weights, 2048 tokens' convert-moe-$format.log ||
        die "experts.$format was read otherwise: see $work/convert-moe-$format.log"
done
cmp -s moe-imatrix.gguf moe-t3.gguf && die "an importance matrix gives what Gram matrices give"
differ=$({ cmp -l moe-imatrix.gguf moe-dat.gguf || true; } | wc -l)
echo "$differ bytes differ between the formats of llama-imatrix"
[ "$differ" -le $MAX_IMATRIX_BYTES ] || die "at most $MAX_IMATRIX_BYTES should"

say "GGUF files of quantized types as input"
for type in Q4_K_M IQ4_XS; do
    quietly "quantize-$type" "$llama/llama-quantize" f16.gguf "$type.gguf" "$type" "$(nproc)"
    quietly "dequantize-$type" "$llama/llama-quantize" --allow-requantize "$type.gguf" "$type-f32.gguf" F32 "$(nproc)"
    quietly "convert-$type" "$tenpak" convert "$type.gguf" -o "$type-ours.gguf" --outtype f32
    diff <("$tenpak" inspect "$type-f32.gguf" --digest | grep ^tensor) \
        <("$tenpak" inspect "$type-ours.gguf" --digest | grep ^tensor) ||
        die "$type.gguf has other weights by llama-quantize"
    grep '^quantized already' "convert-$type.log"
    rm "$type-f32.gguf" "$type-ours.gguf"
done
# What a quantized model computes can be collected too.
calibrate gram-of-Q4_K_M Q4_K_M.gguf --tokens 1024
agrees gram-of-Q4_K_M Q4_K_M.gguf 2

# In the types of this program, with embeddings as llama.cpp quantized them.
quietly again "$tenpak" convert Q4_K_M.gguf -o again.gguf --type t4 --keep-embeddings --calibration gram-of-Q4_K_M.gguf \
    --effort fast
grep -q 'quantized a second time' again.log || die "no note of a second quantization in $work/again.log"
quietly again-run "$llama/llama-completion" -m again.gguf -p "The capital of France is" -n 8 --temp 0 -t "$(nproc)" \
    -no-cnv --check-tensors
grep -q "The capital of France is" again-run.log || die "llama-completion printed no sentence of again.gguf"
grep -a "The capital of France is" again-run.log

say "perplexity of kernels and of exported weights"
"$tenpak" export out.gguf -o exported.gguf
ours=$(perplexity out "$CHUNKS")
plain=$(perplexity exported "$CHUNKS")
percent=$(awk "BEGIN { print ($ours / $plain - 1) * 100 }")
echo "out.gguf $ours, exported $plain: $percent %"
awk "BEGIN { d = $percent; exit !(d <= $MAX_PERCENT && d >= -$MAX_PERCENT) }" ||
    die "the perplexities differ by more than $MAX_PERCENT %"

say "what calibration gains"
# About 10,000 tokens; the text that is judged on is another.
head -c 40000 "$calibration_text" | iconv -c -f utf-8 -t utf-8 >calibration.txt
"$tenpak" convert "$folder" -o calibrated.gguf --calibration-text calibration.txt --collector "$llama" >calibrated.log 2>&1 ||
    { tail -n 20 calibrated.log >&2; die "convert --calibration-text failed"; }
tail -n 2 calibrated.log
calibrated=$(divergence calibrated f16 "$KLD_CHUNKS")
uncalibrated=$(divergence out f16 "$KLD_CHUNKS")
echo "mean KLD $calibrated, without calibration $uncalibrated"
awk "BEGIN { exit !($calibrated <= $MAX_KLD_RATIO * $uncalibrated) }" ||
    die "calibration should bring the KLD down to $MAX_KLD_RATIO of what it is without"
[ "$(wc -c <calibrated.gguf)" = "$(wc -c <out.gguf)" ] || die "calibration changed the size of the file"
ls .tenpak-calibration-* 2>/dev/null && die "convert left its intermediate files"

say "the same results at every level of instructions"
for isa in avx512 avxvnni avx2; do
    TENPAK_ISA=$isa perplexity out 2 >"$isa.txt"
    cmp avx512.txt "$isa.txt" || die "TENPAK_ISA=$isa gives $(cat "$isa.txt") instead of $(cat avx512.txt)"
done
echo "perplexity of 2 chunks: $(cat avx2.txt) with TENPAK_ISA=avx512, avxvnni and avx2 (lowered to what the processor has)"

say "kernels that check themselves"
checked=$("$ROOT/scripts/build_ggml_variant.sh" checked)
grep -q "other bytes than scalar's" "$checked/libggml-cpu.so" || die "$checked/libggml-cpu.so has no checks"
for isa in avx512 avx2; do
    LD_LIBRARY_PATH=$checked TENPAK_ISA=$isa perplexity out 2 >"checked-$isa.txt"
    cmp "checked-$isa.txt" avx2.txt || die "checked kernels give $(cat "checked-$isa.txt") instead of $(cat avx2.txt)"
done
echo "perplexity of 2 chunks with every call computed again by scalar: $(cat checked-avx2.txt)"
# experts, in the types of other rates too
with moe-t2 experts.gguf --type t2
for name in moe-t3 moe-t2; do
    perplexity $name 1 >$name.txt
    LD_LIBRARY_PATH=$checked perplexity $name 1 checked-$name >checked-$name.txt
    cmp checked-$name.txt $name.txt || die "$name.gguf: checked kernels give $(cat checked-$name.txt) instead of $(cat $name.txt)"
done
echo "models with experts: the same"

say "llama.cpp's programs"
prompt=(-p "The capital of France is" -n 8 --temp 0 -t "$(nproc)")
quietly completion "$llama/llama-completion" -m out.gguf "${prompt[@]}" -no-cnv --check-tensors
grep -q "The capital of France is" completion.log || die "llama-completion printed no sentence"
LD_LIBRARY_PATH=$checked quietly completion-checked "$llama/llama-completion" -m out.gguf "${prompt[@]}" -no-cnv
diff <(grep -o "The capital of France is.*" completion.log) <(grep -o "The capital of France is.*" completion-checked.log) ||
    die "checked kernels generate another text"
quietly cli "$llama/llama-cli" -m out.gguf "${prompt[@]}" -st
quietly bench "$llama/llama-bench" -m out.gguf -p 16 -n 4 -r 1 -t "$(nproc)"
quietly copy "$llama/llama-quantize" --allow-requantize out.gguf copy.gguf COPY
diff <("$tenpak" inspect out.gguf --digest | grep ^tensor) <("$tenpak" inspect copy.gguf --digest | grep ^tensor) ||
    die "llama-quantize COPY changed tensors"
quietly split "$llama/llama-gguf-split" --split --split-max-tensors 100 out.gguf part
quietly merge "$llama/llama-gguf-split" --merge part-00001-of-00003.gguf merged.gguf
for file in part-00001-of-00003.gguf merged.gguf; do
    diff <("$tenpak" inspect out.gguf --digest | grep ^tensor) <("$tenpak" inspect "$file" --digest | grep ^tensor) ||
        die "$file has other tensors than out.gguf"
done
echo "llama-completion --check-tensors, llama-cli, llama-bench, llama-quantize COPY, llama-gguf-split: fine"

say "llama-server"
port=$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
"$llama/llama-server" -m out.gguf --host 127.0.0.1 --port "$port" -t "$(nproc)" >server.log 2>&1 &
server=$!
trap 'kill $server 2>/dev/null || true' EXIT
python3 - "$port" <<'PY' || die "llama-server gave no answer: see $work/server.log"
import json, sys, time, urllib.request
base = f"http://127.0.0.1:{sys.argv[1]}"
for _ in range(120):
    try:
        urllib.request.urlopen(f"{base}/health").read()
        break
    except OSError:
        time.sleep(0.5)
body = json.dumps({"prompt": "The capital of France is", "n_predict": 8, "temperature": 0}).encode()
request = urllib.request.Request(f"{base}/completion", body, {"Content-Type": "application/json"})
answer = json.load(urllib.request.urlopen(request, timeout=60))["content"]
print(f"The capital of France is{answer}")
sys.exit(not answer.strip())
PY
kill $server

say "a stock llama.cpp"
# The patches touch ggml/ only, and files are read in libggml-base: unpatched, it is put before ours.
stock=$("$ROOT/scripts/build_stock_ggml.sh")
if LD_LIBRARY_PATH=$stock "$llama/llama-completion" -m out.gguf "${prompt[@]}" -no-cnv >stock.log 2>&1 </dev/null; then
    die "a stock llama.cpp loaded out.gguf"
fi
grep -o "tensor '.*' has invalid ggml type 5.*" stock.log | head -n 1 || die "no clear error in $work/stock.log"
