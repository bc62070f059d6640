// Which devices have kernels for the tensor types of tenpak-gguf.

#pragma once

#include "ggml-backend.h"

// Whether a device may be asked about an operation. It may not if the operation reads a type of ours that the device has no
// kernels for: devices answer by lists of types that end before ours, and some by lists of the types that they do not support.
bool tenpak_device_supports(ggml_backend_dev_t device, const struct ggml_tensor * op);
