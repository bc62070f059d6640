#!/usr/bin/env bash
# glslc, but for shaders that only ggml's own quantized types need: those become files with four bytes. Of the 1100 shaders of ggml's
# Vulkan backend they are most, and tests of our types never load them (ggml loads a shader on its first use).
set -euo pipefail
arguments=("$@") out="" dependencies="" source="" left_out=""
while [ $# -gt 0 ]; do
    case $1 in
    -o) out=$2; shift ;;
    -MF) dependencies=$2; shift ;;
    -DDATA_A_F32=* | -DDATA_A_F16=*) ;;
    -DDATA_A_* | -DMULMAT_QUANT=* | -DCOOPMAT=*) left_out=1 ;;
    *.comp) source=$1 ;;
    esac
    shift
done
case $source in */flash_attn*) left_out="" ;; esac # they have a type's name, but serve all
[ -n "$left_out" ] || exec glslc "${arguments[@]}"
printf '\3\2\43\7' >"$out"
[ -z "$dependencies" ] || printf '%s: %s\n' "$out" "$source" >"$dependencies"
