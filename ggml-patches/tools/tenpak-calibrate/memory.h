// What memory there is, and what this process has taken.

#pragma once

#include "ggml-backend.h"

#include <cstddef>

// bytes that are free on a device
size_t free_memory(ggml_backend_dev_t device);

// largest resident size of this process so far, in bytes; 0 where the system does not say
size_t peak_memory();
