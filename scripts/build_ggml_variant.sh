#!/usr/bin/env bash
# Builds the patched ggml a second time, without llama.cpp's programs, and prints the folder of its libraries. Before the
# others in LD_LIBRARY_PATH they take the place of those that the programs of scripts/build_llama.sh were built with.
#
#   scripts/build_ggml_variant.sh checked    with kernels that check themselves (feature check_kernels)
#   scripts/build_ggml_variant.sh no-amx     without AMX, which no desktop has
#   scripts/build_ggml_variant.sh avx2       all of ggml compiled for AVX2 and no more
#   scripts/build_ggml_variant.sh vulkan     with the Vulkan backend, for tests: without the shaders that only ggml's own quantized
#                                            types need, which take twice as long as all else (glslc_for_tests.sh)
source "$(dirname "$0")/setup.sh"
variant=${1:-} targets=ggml-cpu
case $variant in
checked) library=$(TENPAK_FEATURES=check_kernels "$ROOT/scripts/build_kernels.sh") options=() ;;
no-amx)
    library=$("$ROOT/scripts/build_kernels.sh")
    options=(-DCMAKE_C_FLAGS=-U__AMX_INT8__ -DCMAKE_CXX_FLAGS=-U__AMX_INT8__)
    ;;
avx2)
    library=$("$ROOT/scripts/build_kernels.sh")
    options=(-DGGML_NATIVE=OFF -DGGML_SSE42=ON -DGGML_AVX=ON -DGGML_AVX2=ON -DGGML_FMA=ON -DGGML_F16C=ON -DGGML_BMI2=ON)
    ;;
vulkan)
    need glslc "install Vulkan's tools (packages glslc, libvulkan-dev, spirv-headers)"
    library=$("$ROOT/scripts/build_kernels.sh")
    options=(-DGGML_VULKAN=ON -DVulkan_GLSLC_EXECUTABLE="$ROOT/scripts/glslc_for_tests.sh")
    targets=ggml
    ;;
*) die "say which variant: checked, no-amx, avx2 or vulkan" ;;
esac
install_build_tools >&2
programs=$("$ROOT/scripts/build_llama.sh")
source=$(dirname "$(dirname "$programs")")
build=$source/build-$variant
cmake -S "$source" -B "$build" -G Ninja -DCMAKE_BUILD_TYPE=Release -DTENPAK_LIBRARY="$library" \
    -DBUILD_SHARED_LIBS=ON -DLLAMA_OPENSSL=OFF -DLLAMA_USE_PREBUILT_UI=OFF -DLLAMA_BUILD_UI=OFF "${options[@]}" \
    >"$source/$variant.log" 2>&1 || die "cmake failed: see $source/$variant.log"
say "building ggml ($variant)" >&2
compile "$build" $targets
echo "$build/bin"
