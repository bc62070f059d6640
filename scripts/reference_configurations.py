#!/usr/bin/env python3
"""Every value that transformers' configuration classes have, and what it is where config.json does not say it. Run by
hand, with the packages of docs/reference-f16.md (PyTorch is not needed):

    scripts/reference_configurations.py > tests/architectures/configurations/transformers.json

Values that transformers sets when it reads a file are those of the class before that: `None` says that they follow from
others.
"""
import dataclasses, json

from transformers import (
    FalconConfig, Gemma2Config, Gemma3TextConfig, GemmaConfig, GPT2Config, GPTNeoXConfig, GraniteConfig, LlamaConfig,
    MistralConfig, MixtralConfig, Olmo2Config, Phi3Config, PreTrainedConfig, Qwen2Config, Qwen2MoeConfig, Qwen3Config,
    Qwen3MoeConfig, StableLmConfig, Starcoder2Config,
)

CLASSES = {
    "LlamaForCausalLM": LlamaConfig, "MistralForCausalLM": MistralConfig, "MixtralForCausalLM": MixtralConfig,
    "Qwen2ForCausalLM": Qwen2Config, "Qwen2MoeForCausalLM": Qwen2MoeConfig, "Qwen3ForCausalLM": Qwen3Config,
    "Qwen3MoeForCausalLM": Qwen3MoeConfig, "GemmaForCausalLM": GemmaConfig, "Gemma2ForCausalLM": Gemma2Config,
    "Gemma3ForCausalLM": Gemma3TextConfig, "Phi3ForCausalLM": Phi3Config, "GPT2LMHeadModel": GPT2Config,
    "GPTNeoXForCausalLM": GPTNeoXConfig, "Starcoder2ForCausalLM": Starcoder2Config, "Olmo2ForCausalLM": Olmo2Config,
    "GraniteForCausalLM": GraniteConfig, "StableLmForCausalLM": StableLmConfig, "FalconForCausalLM": FalconConfig,
}


def values(cls):
    """The fields of the class, and what a saved file has besides."""
    own = {f.name: f.default for f in dataclasses.fields(cls) if f.default is not dataclasses.MISSING}
    saved = json.loads(cls().to_json_string(use_diff=False))
    found = {name: own.get(name, saved.get(name)) for name in {**own, **saved}}
    if "rope_parameters" in found:
        found["rope_parameters"] = saved["rope_parameters"]
    return dict(sorted(found.items()))


lines = [f" {json.dumps(name)}: {json.dumps(values(cls))}" for name, cls in CLASSES.items()]
print("{\n" + ",\n".join(lines) + "\n}")
