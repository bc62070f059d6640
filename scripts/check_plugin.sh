#!/usr/bin/env bash
# Runs a file of our types in llama-cpp-python of the pinned release, with the libraries of package_plugin.sh put in and taken out
# again.
#
#   scripts/check_plugin.sh MODEL.gguf [PYTHON]    PYTHON has llama_cpp; without it, one is made, which compiles for minutes
source "$(dirname "$0")/setup.sh"
model=$(realpath "$1") python=${2:-}
if [ -z "$python" ]; then
    # shellcheck source=../ggml-patches/BASE
    source "$ROOT/ggml-patches/BASE"
    export CMAKE_ARGS="-DLLAVA_BUILD=OFF -DLLAMA_BUILD_TOOLS=OFF -DLLAMA_BUILD_EXAMPLES=OFF -DLLAMA_BUILD_TESTS=OFF -DLLAMA_BUILD_SERVER=OFF
        -DLLAMA_BUILD_APP=OFF -DLLAMA_OPENSSL=OFF -DCMAKE_C_FLAGS_RELEASE=-O1 -DCMAKE_CXX_FLAGS_RELEASE=-O1"
    install_tools llama-cpp-python "$package" >&2
    python=$TOOLS/llama-cpp-python/bin/python
fi
plugin=$("$ROOT/scripts/package_plugin.sh")
folder=$("$python" -c 'import importlib.util, pathlib; print(pathlib.Path(importlib.util.find_spec("llama_cpp").origin).parent / "lib")')
libraries() { (cd "$folder" && find . -type f -print0 | sort -z | xargs -0 sha256sum); }

writes() {
    "$python" - "$model" <<'PYTHON'
import sys
from llama_cpp import Llama

llm = Llama(model_path=sys.argv[1], n_ctx=256, verbose=False, seed=1)
text = llm("Line 1 of", max_tokens=8, temperature=0)["choices"][0]["text"]
assert text, "no text"
print(repr(text))
PYTHON
}

before=$(libraries)
! writes 2>/dev/null || die "llama-cpp-python runs $model without the plugin"
"$python" "$plugin/plugin.py" install
! "$python" "$plugin/plugin.py" install 2>/dev/null || die "the second install is not refused"
writes
"$python" "$plugin/plugin.py" restore
[ "$(libraries)" = "$before" ] || die "other bytes than before"
! writes 2>/dev/null || die "llama-cpp-python runs $model after the plugin is gone"
say "installed, wrote, restored"
