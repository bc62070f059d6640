// CUDA kernels of tenpak-gguf's weight types. ggml is not needed in these files: tenpak.cu launches the kernels from it, and
// benches/gpu/kernels.cu by itself.
#pragma once

#include "tenpak-codes4.cuh"
#include "tenpak-direct.cuh"
#include "tenpak-floats.cuh"
#include "tenpak-products.cuh"
