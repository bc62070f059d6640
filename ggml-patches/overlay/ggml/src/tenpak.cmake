# The kernels of tenpak-gguf, a static library, and our sources. Each ggml library that calls kernels links its own copy and
# keeps its symbols to itself.
set(TENPAK_LIBRARY "" CACHE FILEPATH "path of libtenpak_gguf.a (or tenpak_gguf.lib)")
if (NOT EXISTS "${TENPAK_LIBRARY}")
    message(FATAL_ERROR "TENPAK_LIBRARY='${TENPAK_LIBRARY}' does not exist: build it with scripts/build_kernels.sh of tenpak-gguf")
endif()

# ggml_add_tenpak(TARGET SOURCE...): links the kernels and adds sources, named from ggml/src.
function(ggml_add_tenpak target)
    target_link_libraries(${target} PRIVATE "${TENPAK_LIBRARY}")
    if (UNIX AND NOT APPLE)
        get_filename_component(TENPAK_ARCHIVE "${TENPAK_LIBRARY}" NAME)
        target_link_options(${target} PRIVATE "LINKER:--exclude-libs,${TENPAK_ARCHIVE}")
    endif()
    foreach (source ${ARGN})
        target_sources(${target} PRIVATE "${TENPAK_SOURCES}/${source}")
    endforeach()
endfunction()
set(TENPAK_SOURCES "${CMAKE_CURRENT_LIST_DIR}" CACHE INTERNAL "folder of our sources")

ggml_add_tenpak(ggml-base tenpak-devices.cpp)
