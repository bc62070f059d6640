#!/usr/bin/env bash
# Conversions on 64-bit ARM, under qemu: tests/determinism.rs, cross-compiled, so that their bytes are compared with the digests in
# tests/golden/conversion-*.sha256, which every x86-64 machine is compared with too. Builds all that the converter depends on,
# which takes minutes: CI runs the kernels only (scripts/test.sh aarch64, which installs the tools).
source "$(dirname "$0")/setup.sh"
need aarch64-linux-gnu-g++ 'scripts/test.sh aarch64 does (package g++-aarch64-linux-gnu)'
need qemu-aarch64 'scripts/test.sh aarch64 does (package qemu-user)'
cd "$ROOT"
export CC_aarch64_unknown_linux_gnu=aarch64-linux-gnu-gcc CXX_aarch64_unknown_linux_gnu=aarch64-linux-gnu-g++
export CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_LINKER=aarch64-linux-gnu-gcc
export CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_RUNNER='qemu-aarch64 -L /usr/aarch64-linux-gnu'
# Each level in a run of its own: under qemu the test cannot start itself again.
for level in scalar neon; do
    say "conversions at $level"
    TENPAK_ISA=$level cargo test --profile quick --target aarch64-unknown-linux-gnu --test determinism "$@"
done
