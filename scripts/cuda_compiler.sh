#!/usr/bin/env bash
# Prints the path of nvcc: CUDACXX, the one on PATH, or one that is installed from Python packages into target/tools. The latter
# needs no GPU, no driver and no rights on the machine, and 1 GB of disk; it runs on x86-64 Linux.
#
#   scripts/cuda_compiler.sh pinned      that one in any case
source "$(dirname "$0")/setup.sh"

found=${CUDACXX:-$(command -v nvcc || true)}
if [ -n "$found" ] && [ "${1:-}" != pinned ]; then
    echo "$found"
    exit
fi
[ "$(uname -sm)" = "Linux x86_64" ] || die "no nvcc: put it on PATH, or its path into CUDACXX"
need c++ 'install a C++ compiler (package g++ or clang)'

# The compiler is older than the disassembler: 13.0 still drives what drivers of 2025 run.
install_tools cuda --no-deps \
    nvidia-cuda-nvcc==13.0.88 nvidia-cuda-crt==13.0.88 nvidia-nvvm==13.0.88 nvidia-cuda-runtime==13.0.96 nvidia-cuda-cccl==13.0.85 \
    nvidia-cublas==13.1.2.11 nvidia-cuda-cuobjdump==13.2.78 nvidia-cuda-nvdisasm==13.2.78 >&2

# What CMake's FindCUDAToolkit looks for and the packages lack: lib64, names of libraries without a version, the driver's library.
for toolkit in "$TOOLS"/cuda/lib/python3*/site-packages/nvidia/cu13; do :; done
if [ ! -f "$toolkit/lib/stubs/libcuda.so" ]; then
    ln -sfn lib "$toolkit/lib64"
    for library in "$toolkit"/lib/lib*.so.*; do
        ln -sf "${library##*/}" "${library%%.so.*}.so"
    done
    # The driver's functions that ggml-cuda calls; a machine with a GPU brings its own library.
    mkdir -p "$toolkit/lib/stubs"
    for name in DeviceGet DeviceGetAttribute GetErrorString MemAddressFree MemAddressReserve MemCreate \
        MemGetAllocationGranularity MemMap MemRelease MemSetAccess MemUnmap; do
        echo "extern \"C\" int cu$name() { return 1; }"
    done | c++ -x c++ - -shared -fPIC -Wl,-soname,libcuda.so.1 -o "$toolkit/lib/stubs/libcuda.so"
fi
echo "$toolkit/bin/nvcc"
