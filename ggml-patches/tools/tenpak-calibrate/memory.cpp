#include "memory.h"

#include <algorithm>
#include <fstream>
#include <string>

#if !defined(_WIN32)
#include <sys/resource.h>
#endif

size_t free_memory(ggml_backend_dev_t device) {
    size_t free;
    size_t total;
    ggml_backend_dev_memory(device, &free, &total);
    if (ggml_backend_dev_type(device) != GGML_BACKEND_DEVICE_TYPE_CPU) {
        return free;
    }
    // For Linux, ggml answers what the machine has.
    std::ifstream info("/proc/meminfo");
    std::string   key;
    size_t        kilobytes;
    while (info >> key >> kilobytes) {
        if (key == "MemAvailable:") {
            return std::min(free, kilobytes * 1024);
        }
        info.ignore(100, '\n');
    }
    return free;
}

size_t peak_memory() {
#if defined(_WIN32)
    return 0;
#else
    rusage usage;
    getrusage(RUSAGE_SELF, &usage);
#if defined(__APPLE__)
    return usage.ru_maxrss;
#else
    return (size_t) usage.ru_maxrss * 1024;
#endif
#endif
}
