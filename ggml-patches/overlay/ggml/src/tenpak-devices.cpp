#include "tenpak-devices.h"

#include "ggml.h"

// Whether a device has kernels for a type of ours in an operation. So far the CPU has all of them and no other device has any;
// a backend with kernels of its own gets a case here, by the name of its registry.
static bool has_kernels(ggml_backend_dev_t device, enum ggml_type type, enum ggml_op op) {
    GGML_UNUSED(type);
    GGML_UNUSED(op);
    return ggml_backend_dev_type(device) == GGML_BACKEND_DEVICE_TYPE_CPU;
}

bool tenpak_device_supports(ggml_backend_dev_t device, const struct ggml_tensor * op) {
    for (int i = 0; i < GGML_MAX_SRC && op->src[i]; i++) {
        if (op->src[i]->type >= TENPAK_TYPE_BEGIN && !has_kernels(device, op->src[i]->type, op->op)) {
            return false;
        }
    }
    return true;
}
