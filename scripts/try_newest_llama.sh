#!/usr/bin/env bash
# Tries ggml-patches on the newest llama.cpp that the package registry has, and says what does not fit. It never fails: a
# new llama.cpp is news, no defect of this repository. Nothing is built.
source "$(dirname "$0")/setup.sh"
install_build_tools
pinned=$(sed -n 's/^package=//p' "$ROOT/ggml-patches/BASE")
name=${pinned%%==*}
newest=$("$TOOLS/build/bin/pip" index versions --disable-pip-version-check "$name" 2>/dev/null | sed -nE '1s/.*\(([^)]+)\).*/\1/p')
if [ -z "$newest" ]; then
    say "newest llama.cpp: SKIPPED, the registry does not answer"
elif [ "$name==$newest" = "$pinned" ]; then
    say "newest llama.cpp: $pinned, which is the pin"
elif REBASE_FOLDER=$TARGET/try-newest "$ROOT/scripts/rebase_patches.sh" "$name==$newest"; then
    say "newest llama.cpp: $name==$newest; every patch fits"
else
    say "newest llama.cpp: $name==$newest; WARNING: some patches do not fit, see above"
fi
