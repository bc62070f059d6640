#!/usr/bin/env python3
"""Every value that transformers' configuration classes have, and what it is where config.json does not say it. Run by
hand, with the packages of docs/reference-f16.md (PyTorch is not needed):

    scripts/reference_configurations.py > tests/architectures/configurations/transformers.json

Values that transformers sets when it reads a file are those of the class before that: `None` says that they follow from
others.
"""
import dataclasses, json

from transformers import (
    DeepseekV3Config, FalconConfig, Gemma2Config, Gemma3nTextConfig, Gemma3TextConfig, Gemma4TextConfig, GemmaConfig, Glm4MoeConfig, GPT2Config, GPTNeoXConfig,
    GptOssConfig, GraniteConfig, GraniteMoeHybridConfig, Lfm2Config, Lfm2MoeConfig, Llama4TextConfig, LlamaConfig, Ministral3Config, MistralConfig, MixtralConfig,
    Olmo2Config, Olmo3Config, Phi3Config, PreTrainedConfig, Qwen2Config, Qwen2MoeConfig, Qwen3_5MoeTextConfig,
    Qwen3_5TextConfig, Qwen3Config, Qwen3MoeConfig, Qwen3NextConfig, SmolLM3Config, StableLmConfig, Starcoder2Config,
)

CLASSES = {
    "LlamaForCausalLM": LlamaConfig, "MistralForCausalLM": MistralConfig, "MixtralForCausalLM": MixtralConfig,
    "Qwen2ForCausalLM": Qwen2Config, "Qwen2MoeForCausalLM": Qwen2MoeConfig, "Qwen3ForCausalLM": Qwen3Config,
    "Qwen3MoeForCausalLM": Qwen3MoeConfig, "GemmaForCausalLM": GemmaConfig, "Gemma2ForCausalLM": Gemma2Config,
    "Gemma3ForCausalLM": Gemma3TextConfig, "Phi3ForCausalLM": Phi3Config, "GPT2LMHeadModel": GPT2Config,
    "GPTNeoXForCausalLM": GPTNeoXConfig, "Starcoder2ForCausalLM": Starcoder2Config, "Olmo2ForCausalLM": Olmo2Config,
    "GraniteForCausalLM": GraniteConfig, "StableLmForCausalLM": StableLmConfig, "FalconForCausalLM": FalconConfig,
    "SmolLM3ForCausalLM": SmolLM3Config, "Olmo3ForCausalLM": Olmo3Config, "Ministral3ForCausalLM": Ministral3Config,
    "Glm4MoeForCausalLM": Glm4MoeConfig, "Lfm2ForCausalLM": Lfm2Config, "Lfm2MoeForCausalLM": Lfm2MoeConfig,
    "GptOssForCausalLM": GptOssConfig, "DeepseekV3ForCausalLM": DeepseekV3Config,
    "Qwen3NextForCausalLM": Qwen3NextConfig, "Qwen3_5ForCausalLM": Qwen3_5TextConfig,
    "Qwen3_5MoeForCausalLM": Qwen3_5MoeTextConfig, "Llama4ForCausalLM": Llama4TextConfig,
    "GraniteMoeHybridForCausalLM": GraniteMoeHybridConfig, "Gemma3nForCausalLM": Gemma3nTextConfig,
    "Gemma4ForCausalLM": Gemma4TextConfig,
}


def values(cls):
    """The fields of the class, and what a saved file has besides."""
    own = {f.name: f.default for f in dataclasses.fields(cls) if f.default is not dataclasses.MISSING}
    saved = json.loads(cls().to_json_string(use_diff=False))
    found = {name: own.get(name, saved.get(name)) for name in {**own, **saved}}
    # It follows from sizes of heads that classes read beside their fields.
    found.pop("per_layer_config", None)
    if "rope_parameters" in found:
        found["rope_parameters"] = saved["rope_parameters"]
    return dict(sorted(found.items()))


# JSON has no infinity.
lines = [f" {json.dumps(name)}: {json.dumps(values(cls))}".replace("Infinity", "null") for name, cls in CLASSES.items()]
print("{\n" + ",\n".join(lines) + "\n}")
