#!/usr/bin/env python3
"""Weights of ggml's quantized types, by ggml itself. Run by hand, with numpy and a built llama.cpp:

    scripts/reference_dequantize.py TREE LIBRARIES     # of scripts/build_llama.sh: ../.. of what it prints, and that

writes tests/golden/ggml.gguf, a matrix of every type that ggml's own quantizers made, and tests/golden/ggml.digest: of
every type its id, its name, and sha256 of what `to_float` gives as F32, of that matrix and of `BLOCKS` blocks of
arbitrary bytes, those of tests/support/random.rs seeded with the id. Every NaN counts as the bits 7fc00000.
"""
import ctypes, hashlib, sys
from pathlib import Path

import numpy as np

OUT = Path(__file__).resolve().parent.parent / "tests/golden"
ROWS, COLUMNS, BLOCKS = 4, 256, 4096
# Ids from here on are ours.
FIRST_OF_OURS = 512


class Traits(ctypes.Structure):
    """`ggml_type_traits` as far as `to_float`."""
    _fields_ = [
        ("name", ctypes.c_char_p), ("block_len", ctypes.c_int64), ("interleave", ctypes.c_int64),
        ("block_bytes", ctypes.c_size_t), ("is_quantized", ctypes.c_bool),
        ("to_float", ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int64)),
    ]


def splitmix64(seed, n):
    with np.errstate(over="ignore"):
        z = np.uint64(seed) + np.arange(1, n + 1, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15)
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        return z ^ (z >> np.uint64(31))


def digest(traits, data, n):
    out = np.empty(n, np.float32)
    traits.to_float(data.ctypes.data, out.ctypes.data, n)
    out.view(np.uint32)[np.isnan(out)] = 0x7FC00000
    return hashlib.sha256(out.tobytes()).hexdigest()


def main():
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    tree, libraries = map(Path, sys.argv[1:])
    sys.path.insert(0, str(tree / "gguf-py"))
    import gguf
    ggml = ctypes.CDLL(str(libraries / "libggml-base.so"))
    ggml.ggml_get_type_traits.restype = ctypes.POINTER(Traits)
    ggml.ggml_quantize_chunk.restype = ctypes.c_size_t
    ggml.ggml_quantize_chunk.argtypes = [
        ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int64, ctypes.c_int64, ctypes.c_int64, ctypes.c_void_p]
    writer = gguf.GGUFWriter(OUT / "ggml.gguf", "llama")
    lines = []
    for kind in sorted(gguf.GGMLQuantizationType):
        traits = ggml.ggml_get_type_traits(kind.value).contents
        if kind >= FIRST_OF_OURS or not traits.is_quantized or not traits.to_float:
            continue
        random = np.random.default_rng(kind.value)
        weights = (random.standard_normal((ROWS, COLUMNS)) * 0.03).astype(np.float32)
        # How much a column matters: some types are not quantized without.
        importance = random.uniform(0.1, 1, COLUMNS).astype(np.float32)
        row = COLUMNS // traits.block_len * traits.block_bytes
        blocks = np.zeros((ROWS, row), np.uint8)
        written = ggml.ggml_quantize_chunk(
            kind.value, weights.ctypes.data, blocks.ctypes.data, 0, ROWS, COLUMNS, importance.ctypes.data)
        assert written == blocks.size, kind
        name = traits.name.decode()
        writer.add_tensor(f"blk.0.{name}.weight", blocks, raw_dtype=kind)
        arbitrary = splitmix64(kind.value, BLOCKS * traits.block_bytes).astype(np.uint8)
        digests = [digest(traits, blocks, weights.size), digest(traits, arbitrary, BLOCKS * traits.block_len)]
        lines.append(" ".join([str(kind.value), name, *digests]))
        print(name)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    (OUT / "ggml.digest").write_text("\n".join(lines) + "\n")


main()
