#!/usr/bin/env bash
# Every check, from nothing. What it needs it installs into target/. docs/testing.md lists the tests.
#
#   scripts/test.sh             all
#   scripts/test.sh code        formatting, lints, Rust tests, two minutes of fuzzing
#   scripts/test.sh quick       code, and two blocks of a real model with experts: minutes, when all is built
#   scripts/test.sh ggml        ggml's own tests over our types
#   scripts/test.sh vocabularies    tokenizers of llama.cpp's own vocabularies; whether it loads all files, those of its converter too
#   scripts/test.sh pytorch     checkpoints that are pickles, against transformers' logits; memory of large models
#   scripts/test.sh model       conversion, llama.cpp's programs and perplexity on a real model
#   scripts/test.sh cuda        the CUDA kernels as nvcc compiles them; no GPU is needed
#   scripts/test.sh vulkan      our types in ggml's Vulkan backend, on a device that is the processor
#   scripts/test.sh aarch64     kernels and a real model on 64-bit ARM, under qemu
#   scripts/test.sh PART NAME...    of a part, the tests whose names contain one of these
source "$(dirname "$0")/setup.sh"
need cargo 'install Rust'
cd "$ROOT"
export LLAMA_QUICK=1 # see build_llama.sh
what=${1:-all}
[ $# = 0 ] || shift

seconds=""
# section NAME COMMAND...: runs it, and keeps how long it took
section() {
    local name=$1 start cpu
    shift
    start=$(date +%s) cpu=$(cpu_seconds)
    say "$name"
    "$@"
    seconds+=$(printf '%-14s %5d s, CPU %5d s' "$name" $(($(date +%s) - start)) $(($(cpu_seconds) - cpu)))$'\n'
}

# CPU seconds of all that this shell has run
cpu_seconds() {
    local ticks
    read -r -a ticks </proc/$$/stat 2>/dev/null || ticks=()
    echo $(((${ticks[15]:-0} + ${ticks[16]:-0}) / $(getconf CLK_TCK)))
}

lints() {
    cargo fmt --check
    cargo clippy --quiet --profile quick --all-targets -- -D warnings
    cargo clippy --quiet --profile quick --test llama -- -D warnings
    cargo clippy --quiet --profile quick --lib --no-default-features -- -D warnings
}

builds() {
    # One thread compiles a library of kernels: two at a time.
    TENPAK_FEATURES=check_kernels "$ROOT/scripts/build_kernels.sh" &
    "$ROOT/scripts/build_kernels.sh"
    wait $!
    "$ROOT/scripts/build_llama.sh"
    "$ROOT/scripts/build_ggml_variant.sh" checked
    "$ROOT/scripts/build_stock_ggml.sh"
}

# acceptance NAME...: the tests of tests/llama whose names contain one of these
acceptance() {
    cargo test --quiet --profile quick --test llama -- --show-output "$@"
}

tools_for_aarch64() {
    local triple=aarch64-unknown-linux-gnu
    if ! { command -v qemu-aarch64 && command -v aarch64-linux-gnu-g++; } >/dev/null; then
        say "installing qemu-user and g++-aarch64-linux-gnu"
        { apt-get update -qq && apt-get install -y -qq qemu-user g++-aarch64-linux-gnu; } >/dev/null ||
            die "qemu-aarch64 and aarch64-linux-gnu-g++ are needed: install them (packages qemu-user, g++-aarch64-linux-gnu)"
    fi
    if [ ! -d "$(rustc --print target-libdir --target $triple)" ]; then
        need rustup "or install Rust's standard library for $triple"
        rustup target add $triple
    fi
}

tools_for_vulkan() {
    if ! { command -v glslc && [ -e /usr/include/vulkan/vulkan.hpp ] && [ -e /usr/include/spirv/unified1/spirv.hpp ] &&
        compgen -G '/usr/share/vulkan/icd.d/lvp_icd.*'; } >/dev/null; then
        say "installing glslc, libvulkan-dev, spirv-headers and mesa-vulkan-drivers"
        { apt-get update -qq && apt-get install -y -qq glslc libvulkan-dev spirv-headers mesa-vulkan-drivers; } >/dev/null ||
            die "glslc, Vulkan's headers and lavapipe are needed: install them (packages glslc, libvulkan-dev, spirv-headers, mesa-vulkan-drivers)"
    fi
}

tools_for_clusters() {
    if ! PATH=$PATH:/usr/sbin command -v munged slurmctld slurmd sbatch parallel >/dev/null; then
        say "installing munge, slurmctld, slurmd, slurm-client and parallel"
        { apt-get update -qq && apt-get install -y -qq --no-install-recommends munge slurmctld slurmd slurm-client parallel; } >/dev/null ||
            say "Slurm is not installed: docs/guide/clusters.md is not tested"
    fi
}

# What the other sections of `all` need but Rust, whose compiler leaves one of two cores idle: packages, downloads, builds.
prepare() {
    tools_for_aarch64
    tools_for_vulkan
    tools_for_clusters
    [ "$(uname -sm)" != "Linux x86_64" ] || "$ROOT/scripts/cuda_compiler.sh" pinned
    builds
}

# beside COMMAND LOG SECTIONS...: runs it while the sections run, with what it prints in the log
beside() {
    local command=$1 log=$2 waited
    shift 2
    ("$command") >"$log" 2>&1 &
    waited=$!
    "$@"
    wait "$waited" || { cat "$log" && die "$command failed"; }
}

code() {
    section lints lints
    section "Rust tests" cargo test --profile quick
    section fuzzing "$ROOT/scripts/fuzz.sh"
}

MODEL="conversion:: calibration:: calibration_experts:: importance:: quantized_gguf:: kernels:: experts:: programs::
    quantized_checkpoints:: own_text:: sizes:: parts:: gpu_check:: rpc:: verify:: eval:: doctor:: guide:: server:: low_rank:: samples:: scaling:: release:: package:: clusters:: stock::"
case $what in
ggml) tests=ggml:: ;;
vocabularies) tests="vocabularies:: pieces:: loads:: foreign::" ;;
pytorch) tests="pytorch:: memory::" ;;
model) tests=$MODEL ;;
aarch64 | vulkan) tests=$what:: ;;
cuda) tests= ;;
quick) tests="ggml::test_backend_ops experts:: conversion::f16 pytorch::iglm_s vocabularies::llama" ;;
all | code) tests= ;;
*) die "there is no part $what: code, quick, ggml, vocabularies, pytorch, model, cuda, vulkan or aarch64" ;;
esac

case $what in
all)
    section "Rust and builds" beside prepare "$TARGET/prepare.log" code
    section CUDA "$ROOT/scripts/check_cuda_build.sh"
    # All at once: a test that builds or waits leaves a core to others.
    section "acceptance tests" acceptance
    ;;
code | quick) code ;;
cuda) section CUDA "$ROOT/scripts/check_cuda_build.sh" ;;
aarch64) section "ARM tools" tools_for_aarch64 ;;
vulkan) section "Vulkan tools" tools_for_vulkan ;;
model) section "cluster tools" tools_for_clusters ;;
esac
if [ -n "$tests" ]; then
    section llama.cpp builds
    if [ $# -gt 0 ]; then tests=$*; fi
    # shellcheck disable=SC2086 # several words
    section "$what" acceptance $tests
fi
say "all checks passed"
printf '%s' "$seconds"
