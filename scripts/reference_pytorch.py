"""Reference for tests/llama/pytorch.rs: what transformers computes with a checkpoint of GPT-2's architecture.

    /tmp/reference/bin/python scripts/reference_pytorch.py FOLDER ID... > tests/golden/pytorch/NAME.logits

The Python of docs/reference-f16.md. Line i: the most likely token after the ids up to the i-th, and its logit.
"""

import sys

import torch
import transformers

model = transformers.GPT2LMHeadModel.from_pretrained(sys.argv[1]).eval()
with torch.no_grad():
    logits = model(torch.tensor([[int(id) for id in sys.argv[2:]]])).logits[0]
for row in logits:
    print(int(row.argmax()), f"{row.max():.5f}")
