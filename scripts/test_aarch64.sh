#!/usr/bin/env bash
# The kernels for 64-bit ARM, cross-compiled and run under qemu: every level against the definition, bit by bit, and
# a real model through a cross-compiled llama.cpp. Installs the cross compiler, qemu and Rust's target if they are missing.
source "$(dirname "$0")/setup.sh"
need cargo 'install Rust'

# The sentence that the model continues, and tokens: enough to read every tensor, in prompt and generation.
PROMPT="The capital of France is"
TOKENS=3

triple=aarch64-unknown-linux-gnu
sysroot=/usr/aarch64-linux-gnu
if ! { command -v qemu-aarch64 && command -v aarch64-linux-gnu-g++; } >/dev/null; then
    say "installing qemu-user and g++-aarch64-linux-gnu"
    { apt-get update -qq && apt-get install -y -qq qemu-user g++-aarch64-linux-gnu; } >/dev/null ||
        die "qemu-aarch64 and aarch64-linux-gnu-g++ are needed: install them (packages qemu-user, g++-aarch64-linux-gnu)"
fi
if [ ! -d "$(rustc --print target-libdir --target $triple)" ]; then
    need rustup "or install Rust's standard library for $triple"
    rustup target add $triple
fi
export CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_LINKER=aarch64-linux-gnu-gcc
export CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_RUNNER="qemu-aarch64 -L $sysroot"
work=$TARGET/test_aarch64
rm -rf "$work" && mkdir -p "$work"
cd "$ROOT"

say "lints for aarch64"
cargo clippy --quiet --profile quick --target $triple --lib --no-default-features -- -D warnings

# emulated LOG ARGUMENT...: cargo test under qemu
emulated() {
    local log=$work/$1.log
    shift
    cargo test --quiet --profile quick --target $triple --no-default-features "$@" >"$log" 2>&1 ||
        { tail -n 40 "$log" >&2; die "the tests failed on aarch64: see $log"; }
    # The last line of each test program.
    sed -nE 's/^test result: ok\. ([0-9]+ passed).*/\1/p' "$log" | tr '\n' ';' && echo " $*"
}

say "kernels for neon and dotprod against scalar"
# The encoder has no code of its own for ARM, so that what measures it is left out.
emulated kernels --test kernels --test golden --test codes4 --test format_document -- --skip errors_are_as_stated
emulated isa --lib -- isa:: trellis::rotation trellis::scale
if grep 'NOT TESTED HERE' "$work"/*.log; then die "qemu-aarch64 should have every level"; fi

say "a processor without dotprod"
QEMU_CPU=cortex-a72 emulated without --test kernels --test golden --test codes4
grep -q 'NOT TESTED HERE: kernels for dotprod' "$work/without.log" || die "a Cortex-A72 was taken for a processor with dotprod"

say "llama.cpp for aarch64 on a real model"
llama=$(TRIPLE=$triple LLAMA_TARGETS=llama-simple "$ROOT/scripts/build_llama.sh")
cargo build --quiet --release
# What the part `model` has converted will do, if the same converter did it.
model=$TARGET/test_model/out.gguf
if [ ! "$model" -nt "$TARGET/release/tenpak-gguf" ]; then
    folder=$("$ROOT/scripts/fetch_model.sh")
    model=$work/out.gguf
    "$TARGET/release/tenpak-gguf" convert "$folder" -o "$model" >"$work/convert.log" 2>&1 || die "see $work/convert.log"
fi
# continues MODEL LEVEL...: the same sentence at these levels and at scalar
continues() {
    local name isa
    name=$work/$(basename "$1" .gguf)
    for isa in scalar "${@:2}"; do
        TENPAK_ISA=$isa OMP_THREAD_LIMIT=$(nproc) qemu-aarch64 -L "$sysroot" "$llama/llama-simple" -m "$1" \
            -n $TOKENS "$PROMPT" >"$name-$isa.txt" 2>"$name-$isa.log" || die "llama-simple failed: see $name-$isa.log"
        grep -q "$PROMPT ." "$name-$isa.txt" || die "llama-simple continued nothing: see $name-$isa.txt"
        cmp "$name-scalar.txt" "$name-$isa.txt" || die "$(basename "$1"): TENPAK_ISA=$isa continues otherwise than scalar"
    done
    echo "$(basename "$1"): $(cat "$name-scalar.txt"): the same with TENPAK_ISA=scalar ${*:2}"
}
continues "$model" neon dotprod
# What the part `model` has kept as other libraries quantized it.
for kept in "$TARGET"/test_quantized/{gptq,nf4}.gguf; do
    if [ "$kept" -nt "$TARGET/release/tenpak-gguf" ]; then
        continues "$kept" dotprod
    else
        echo "NOT TESTED HERE: $kept, which scripts/test.sh model makes"
    fi
done
