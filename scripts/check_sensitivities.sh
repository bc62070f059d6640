#!/usr/bin/env bash
# How well sensitivities predict what the type of one tensor costs: every matrix of SmolLM2 alone in one trellis type, by the
# collector's --swap on text that is held out, beside the costs that the allocation uses. Prints the rank correlation.
#
#   TYPE=t3    TOKENS=32768 (to calibrate on)    JUDGED=512 (tokens for each tensor)    TEXT=FILE (to judge on, heldout.txt)
#   LLAMA=FOLDER (programs that are built already)
source "$(dirname "$0")/setup.sh"
need cargo 'install Rust'
build_tenpak rank_correlation
llama=${LLAMA:-$(LLAMA_TARGETS="llama-perplexity llama-quantize llama-tenpak-calibrate" "$ROOT/scripts/build_llama.sh")}
text=$("$ROOT/scripts/calibration_text.sh")
type=${TYPE:-t3} tokens=${TOKENS:-32768}
judged_on=$(realpath "${TEXT:-$TARGET/models/text/heldout.txt}")
work=$TARGET/check_sensitivities
mkdir -p "$work"
cd "$work"
model=$TARGET/models/SmolLM2-135M-Instruct
made base.gguf "$tenpak" convert "$model" -o base.gguf.part --outtype bf16 --force
made "$tokens.gram.gguf" "$tenpak" calibrate base.gguf -f "$text" --tokens "$tokens" --collector "$llama" -o "$tokens.gram.gguf.part"
made "$type.gguf" "$tenpak" convert base.gguf --calibration "$tokens.gram.gguf" --type "$type" --effort fast -o "$type.gguf.part" --force
say "every tensor alone in $type"
"$llama/llama-tenpak-calibrate" -m base.gguf -f "$judged_on" --swap "$type.gguf" --tokens "${JUDGED:-512}" \
    >"$type.swaps"
"$(dirname "$judge")/rank_correlation" base.gguf "$tokens.gram.gguf" "$type" "$type.swaps"
