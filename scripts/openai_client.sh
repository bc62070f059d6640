#!/usr/bin/env bash
# Prints a Python that has OpenAI's client, and jinja2 to render chat templates as transformers does.
source "$(dirname "$0")/setup.sh"
install_tools openai openai==3.57.0 jinja2==3.1.6 >&2
echo "$TOOLS/openai/bin/python"
