# ggml as in any build, in one whose other parts are compiled in a hurry (LLAMA_QUICK of build_llama.sh).
set(CMAKE_C_FLAGS_RELEASE "-O3 -DNDEBUG")
set(CMAKE_CXX_FLAGS_RELEASE "-O3 -DNDEBUG")
