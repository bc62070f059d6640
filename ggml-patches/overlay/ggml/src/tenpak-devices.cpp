#include "tenpak-devices.h"

#include "ggml.h"

#include <cstring>

// Whether a device may be asked for an operation over a type of ours: the CPU, CUDA and Vulkan have kernels, and behind RPC there is
// a device of a server that is built like this one. Other backends would take some types without being able to read them. A device
// that stands for several (--split-mode tensor) has no backend of its own and asks each of them, which leads here again.
static bool has_kernels(ggml_backend_dev_t device) {
    const enum ggml_backend_dev_type type = ggml_backend_dev_type(device);
    if (type == GGML_BACKEND_DEVICE_TYPE_CPU || type == GGML_BACKEND_DEVICE_TYPE_META) {
        return true;
    }
    const char * name = ggml_backend_reg_name(ggml_backend_dev_backend_reg(device));
    return strcmp(name, "CUDA") == 0 || strcmp(name, "Vulkan") == 0 || strcmp(name, "RPC") == 0;
}

bool tenpak_device_supports(ggml_backend_dev_t device, const struct ggml_tensor * op) {
    for (int i = 0; i < GGML_MAX_SRC && op->src[i]; i++) {
        if (op->src[i]->type >= TENPAK_TYPE_BEGIN && !has_kernels(device)) {
            return false;
        }
    }
    return true;
}
