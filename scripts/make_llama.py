#!/usr/bin/env python3
"""A llama or Mixtral checkpoint of any size, for measurements: no words in it, but every tensor that there should be.

    scripts/make_llama.py FOLDER SHAPE [sparse|speckled]

SHAPE is 70b (Llama 2 and 3 70B), 70b-layer (one layer of it, with fewer tokens), 8x22b (Mixtral) or 1b (TinyLlama 1.1B). `sparse` files
are all zeros and take no room on the disk; `speckled` ones are zeros after the first 64 KiB of every tensor, which are random and the same
on every run; else weights are random BF16, and those of norms are 1. There is no tokenizer: convert with --no-tokenizer, or put the
files of one into the folder.
"""
import json, os, random, struct, sys
from pathlib import Path

#       layers, width, inner, heads, kv heads, tokens, experts
SHAPES = {"70b": (80, 8192, 28672, 64, 8, 128256, 0), "70b-layer": (1, 8192, 28672, 64, 8, 49152, 0),
          "8x22b": (56, 6144, 16384, 48, 8, 32000, 8), "1b": (22, 2048, 5632, 32, 4, 49152, 0)}
SHARD = 5_000_000_000
SPECKLE = 1 << 16


def tensors(layers, width, inner, heads, kv_heads, tokens, experts):
    kv = width // heads * kv_heads
    yield "model.embed_tokens.weight", [tokens, width]
    for b in range(layers):
        for name, shape in [("self_attn.q_proj", [width, width]), ("self_attn.k_proj", [kv, width]),
                            ("self_attn.v_proj", [kv, width]), ("self_attn.o_proj", [width, width]),
                            *feed_forward(width, inner, experts), ("input_layernorm", [width]),
                            ("post_attention_layernorm", [width])]:
            yield f"model.layers.{b}.{name}.weight", shape
    yield "model.norm.weight", [width]
    yield "lm_head.weight", [tokens, width]


def feed_forward(width, inner, experts):
    if experts == 0:
        yield from [("mlp.gate_proj", [inner, width]), ("mlp.up_proj", [inner, width]), ("mlp.down_proj", [width, inner])]
        return
    yield "block_sparse_moe.gate", [experts, width]
    for e in range(experts):
        for name, shape in [("w1", [inner, width]), ("w2", [width, inner]), ("w3", [inner, width])]:
            yield f"block_sparse_moe.experts.{e}.{name}", shape


def weights(random_bytes):
    """BF16 of random bytes: any mantissa and sign, magnitudes of 2^-9 to 2^-7."""
    piece = bytearray(random_bytes)
    piece[1::2] = piece[1::2].translate(TABLE)
    return piece


def bytes_of(shape):
    size = 2
    for n in shape:
        size *= n
    return size


def main():
    folder, shape = Path(sys.argv[1]), SHAPES[sys.argv[2]]
    sparse, speckled = sys.argv[3:] == ["sparse"], sys.argv[3:] == ["speckled"]
    folder.mkdir(parents=True, exist_ok=True)
    layers, width, inner, heads, kv_heads, tokens, experts = shape
    kind = {"architectures": ["LlamaForCausalLM"], "model_type": "llama"}
    if experts > 0:
        kind = {"architectures": ["MixtralForCausalLM"], "model_type": "mixtral", "num_local_experts": experts,
                "num_experts_per_tok": 2}
    (folder / "config.json").write_text(json.dumps({
        **kind, "torch_dtype": "bfloat16",
        "num_hidden_layers": layers, "hidden_size": width, "intermediate_size": inner, "num_attention_heads": heads,
        "num_key_value_heads": kv_heads, "vocab_size": tokens, "max_position_embeddings": 4096,
        "rms_norm_eps": 1e-5, "rope_theta": 10000.0, "tie_word_embeddings": False, "hidden_act": "silu"}))
    shards = [[]]
    for tensor in tensors(*shape):
        if sum(bytes_of(s) for _, s in shards[-1]) + bytes_of(tensor[1]) > SHARD:
            shards.append([])
        shards[-1].append(tensor)
    weight_map = {}
    for i, shard in enumerate(shards):
        name = f"model-{i + 1:05}-of-{len(shards):05}.safetensors"
        header, at = {}, 0
        for tensor, extents in shard:
            header[tensor] = {"dtype": "BF16", "shape": extents, "data_offsets": [at, at + bytes_of(extents)]}
            at += bytes_of(extents)
            weight_map[tensor] = name
        text = json.dumps(header).encode()
        with open(folder / name, "wb") as f:
            f.write(struct.pack("<Q", len(text)) + text)
            if sparse or speckled:
                f.truncate(8 + len(text) + at)
                for tensor, extents in shard if speckled else []:
                    f.seek(8 + len(text) + header[tensor]["data_offsets"][0])
                    f.write(weights(random.Random(tensor).randbytes(min(SPECKLE, bytes_of(extents)))))
                continue
            for tensor, extents in shard:
                at = bytes_of(extents)
                if tensor.endswith("norm.weight"):
                    f.write(ONE * (at // 2))
                    continue
                while at > 0:
                    piece = weights(os.urandom(min(at, 1 << 24)))
                    f.write(piece)
                    at -= len(piece)
    index = {"metadata": {}, "weight_map": weight_map}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    print(sum(bytes_of(s) for _, s in tensors(*shape)))


ONE = b"\x80\x3f"
# The upper byte of a BF16: the sign, and the exponent but for its lowest bit.
TABLE = bytes(b & 0x80 | 0x3b for b in range(256))
main()
