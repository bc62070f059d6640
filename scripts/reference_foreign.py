#!/usr/bin/env python3
"""Checkpoints of classes that there is no table for, and what llama.cpp's converter makes of them. Run by hand, and by the test
that runs the real converter; its Python has what ggml-patches/converter-requirements.txt names.

    scripts/reference_foreign.py folders FOLDER              the checkpoints, a folder each
    scripts/reference_foreign.py record LLAMA_CPP            tests/llama/foreign/NAME.gguf.gz, from the converter of that tree

Weights are -1, 0 or 1 times a power of two, drawn by the names of the tensors, so that files compress well.
"""
import gzip, hashlib, json, os, shutil, subprocess, sys, tempfile
from pathlib import Path

import numpy as np
import torch
import transformers

ROOT = Path(__file__).resolve().parent.parent
TOKENIZERS = ROOT / "tests/architectures/tokenizers"
RECORDED = ROOT / "tests/llama/foreign"
RUN = (ROOT / "src/llama/run_converter.py").read_text()

SIZES = {"hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2, "num_attention_heads": 4,
         "num_key_value_heads": 2, "max_position_embeddings": 1024}
# Class, files of its tokenizer, llama.cpp's name of the pre-tokenizer, configuration.
CASES = {
    # State space and attention side by side in every block.
    "falcon-h1": ("FalconH1ForCausalLM", "bpe", "falcon3", {
        **SIZES, "vocab_size": 304, "head_dim": 16, "mamba_d_ssm": 64, "mamba_n_heads": 4, "mamba_d_head": 16,
        "mamba_n_groups": 1, "mamba_d_state": 16, "mamba_d_conv": 4, "mamba_chunk_size": 32, "mamba_rms_norm": False,
        "attention_in_multiplier": 0.5, "ssm_in_multiplier": 2.0, "tie_word_embeddings": False}),
    # Experts behind a first block without, one of them for every token.
    "ernie4.5-moe": ("Ernie4_5_MoeForCausalLM", "sentencepiece", "", {
        **SIZES, "vocab_size": 0, "moe_num_experts": 4, "moe_k": 2, "moe_intermediate_size": 64, "moe_num_shared_experts": 1,
        "moe_layer_start_index": 1, "moe_layer_end_index": 1, "moe_layer_interval": 1, "tie_word_embeddings": True}),
    # A tower for images around a language model, in the names of transformers 5.
    "qwen2.5-vl": ("Qwen2_5_VLForConditionalGeneration", "bpe", "qwen2", {
        "text_config": {**SIZES, "vocab_size": 304, "tie_word_embeddings": False, "bos_token_id": 0, "eos_token_id": 1,
                        "rope_parameters": {"rope_type": "default", "rope_theta": 10000.0, "mrope_section": [2, 3, 3]}},
        "vision_config": {"depth": 1, "hidden_size": 32, "intermediate_size": 64, "num_heads": 2, "out_hidden_size": 64,
                          "fullatt_block_indexes": [0]}}),
}


def weights(name, shape):
    """Of every four weights one is -1, one is 1 and two are 0, times a power of two near the scale of initializations."""
    seed = int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "little")
    draws = np.random.Generator(np.random.PCG64(seed)).integers(0, 4, size=shape)
    scale = 2.0 ** round(np.log2(1 / np.sqrt(np.prod(shape[1:]))))
    return torch.from_numpy(np.array([0, 0, 1, -1], dtype=np.float32)[draws] * np.float32(scale))


def write_folder(name, folder):
    """The checkpoint of a case, as transformers saves it in BF16."""
    class_name, tokenizer, _, config = CASES[name]
    shutil.copytree(TOKENIZERS / tokenizer, folder)
    if config.get("vocab_size") == 0:
        from sentencepiece import SentencePieceProcessor
        config = {**config, "vocab_size": SentencePieceProcessor(model_file=str(folder / "tokenizer.model")).vocab_size()}
    model_class = getattr(transformers, class_name)
    model = model_class(model_class.config_class(**config))
    with torch.no_grad():
        for key, value in model.state_dict().items():
            if value.dim() > 1:
                value.copy_(weights(key, tuple(value.shape)))
    model.to(torch.bfloat16).save_pretrained(folder)
    saved = json.loads((folder / "config.json").read_text())
    assert saved["architectures"] == [class_name], saved


def convert(llama, name, folder, output):
    script, pre = Path(llama).resolve() / "convert_hf_to_gguf.py", CASES[name][2]
    command = [sys.executable, "-c", RUN, script, output, pre, folder, "--outfile", output, "--outtype", "bf16"]
    # The end of its standard input ends it.
    read, write = os.pipe()
    done = subprocess.run(command, stdin=read, capture_output=True, text=True)
    os.close(read)
    os.close(write)
    if done.returncode:
        sys.exit(f"{name}: {done.stderr}")


def main():
    what, argument = sys.argv[1:]
    with tempfile.TemporaryDirectory() as work:
        place = Path(argument) if what == "folders" else Path(work)
        for name in CASES:
            folder = place / name
            write_folder(name, folder)
            if what == "record":
                output = place / f"{name}.gguf"
                convert(argument, name, folder, output)
                recorded = RECORDED / f"{name}.gguf.gz"
                recorded.write_bytes(gzip.compress(output.read_bytes(), 9, mtime=0))
                print(f"{recorded.name}: {recorded.stat().st_size} bytes")


main()
