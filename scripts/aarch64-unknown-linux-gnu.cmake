# cmake toolchain: 64-bit ARM Linux from another machine, with the cross compiler of Debian and Ubuntu.
set(CMAKE_SYSTEM_NAME Linux)
set(CMAKE_SYSTEM_PROCESSOR aarch64)
set(CMAKE_C_COMPILER aarch64-linux-gnu-gcc)
set(CMAKE_CXX_COMPILER aarch64-linux-gnu-g++)
set(GGML_CPU_ARM_ARCH armv8.2-a+dotprod CACHE STRING "what ggml's own code is compiled for")
