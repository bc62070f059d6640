# llama.cpp in a build that is compiled in a hurry (LLAMA_QUICK of build_llama.sh): the sources of a library are compiled several
# at a time, so that the headers that they share are read once.
set(TENPAK_JOINED llama llama-common server-context mtmd llama-server-impl llama-cli-impl)
# These use a name for another thing than their neighbours, or refuse the headers of those. A new llama.cpp may add to them.
set(TENPAK_NOT_JOINED "/(json|mtmd-helper[^/]*)\\.cpp$")

function(tenpak_join_sources)
    foreach(target IN LISTS TENPAK_JOINED)
        if(TARGET ${target})
            get_target_property(folder ${target} SOURCE_DIR)
            get_target_property(sources ${target} SOURCES)
            foreach(source IN LISTS sources)
                cmake_path(ABSOLUTE_PATH source BASE_DIRECTORY ${folder} NORMALIZE)
                if(source MATCHES "${TENPAK_NOT_JOINED}")
                    set(skip ON)
                else()
                    set(skip OFF)
                endif()
                set_source_files_properties(${source} TARGET_DIRECTORY ${target} PROPERTIES SKIP_UNITY_BUILD_INCLUSION ${skip})
            endforeach()
            set_target_properties(${target} PROPERTIES UNITY_BUILD ON UNITY_BUILD_BATCH_SIZE 16)
        endif()
    endforeach()
endfunction()
# When all targets are known.
cmake_language(DEFER CALL tenpak_join_sources)
