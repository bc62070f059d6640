#!/usr/bin/env bash
# Installs the model hub's Python library into target/ and prints the Python that has it: for tests of model cards.
source "$(dirname "$0")/setup.sh"

install_tools hub huggingface_hub==2.4.0 >&2
echo "$TOOLS/hub/bin/python"
