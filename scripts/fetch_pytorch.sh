#!/usr/bin/env bash
# Fetches packages that hold checkpoints of pickles, hash-checked, and prints the folder that they are unpacked to: IgLM and
# IgLM-S (antibodies; their licence allows measurements) and MGM (microbes; MIT).
source "$(dirname "$0")/setup.sh"
install_build_tools >&2

wheels=$TARGET/models/pytorch
if [ ! -d "$wheels" ]; then
    sha256() { sed -n "s/^$1=//p" "$ROOT/scripts/model.sha256"; }
    download iglm==0.1.0 iglm-0.1.0-py3-none-any.whl "$(sha256 iglm)" >&2
    download microformer-mgm==0.5.8 microformer_mgm-0.5.8-py3-none-any.whl "$(sha256 mgm)" >&2
    rm -rf "$wheels.part"
    for wheel in iglm-0.1.0 microformer_mgm-0.5.8; do
        python3 -m zipfile -e "$DOWNLOADS/$wheel-py3-none-any.whl" "$wheels.part"
    done
    mv "$wheels.part" "$wheels"
fi
echo "$wheels"
