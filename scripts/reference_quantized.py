#!/usr/bin/env python3
"""Rows of a real layer quantized by the libraries themselves, and what the libraries say their weights are. Run by hand.

    pip install torch numpy safetensors bitsandbytes==0.50.2 compressed-tensors loguru psutil pydantic transformers
    pip download --no-deps --no-binary :all: --no-build-isolation gptqmodel==7.7.0 autoawq==0.2.9   # and unpack both
    pip download --no-deps microformer-mgm==0.5.8       # and unzip it
    scripts/reference_quantized.py FOLDER_OF_THE_TWO mgm/resources/general_model/pytorch_model.bin

Writes tests/golden/quantized/NAME.safetensors: tensors of a module `m` as the format has them, and as metadata
`config`, the quantization_config; `sha256`, of the weights that the library gives, row by row; `dtype`, their type.
GPTQModel and AutoAWQ need a graphics processor as a whole, so that only their files for packing and unpacking are
loaded, and their codes are random. bitsandbytes and compressed-tensors run as they are, on rows of a layer of MGM (float32, MIT);
transformers says what FP8 with blocks is.
"""
import hashlib, importlib.util, json, sys, types
from pathlib import Path

import torch
from safetensors.torch import save_file

OUT = Path(__file__).resolve().parent.parent / "tests/golden/quantized"
ROWS, COLUMNS = 32, 256


def load(name, path, **beside):
    """The module at `path` alone; what it imports from its package is in `beside`."""
    for module, content in beside.items():
        sys.modules[module] = content
    spec = importlib.util.spec_from_file_location(name, path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


def gptqmodel(folder):
    root = next(p for p in Path(folder).glob("gptqmodel-*") if p.is_dir()) / "gptqmodel"
    import logging
    for name in ["q", "q.quantization", "q.utils"]:
        sys.modules[name] = types.ModuleType(name)
        sys.modules[name].__path__ = []
    sys.modules["q.quantization.dtype"] = types.SimpleNamespace(
        **{n: tuple for n in ["available_float4_packed_dtypes", "available_float8_dtype_names",
                             "available_float8_dtypes", "decode_e8m0_scale", "dequantize_f4_e2m1", "dequantize_fp8",
                             "quark_floatx_formats"]})
    sys.modules["q.utils.logger"] = types.SimpleNamespace(setup_logger=logging.getLogger)
    load("q.utils.planar_packing", root / "utils/planar_packing.py")
    return load("q.utils.model_dequant", root / "utils/model_dequant.py")


def write(name, tensors, weight, **config):
    OUT.mkdir(parents=True, exist_ok=True)
    weight = weight.contiguous()
    assert list(weight.shape) == [ROWS, COLUMNS], weight.shape
    digest = hashlib.sha256(weight.view(torch.uint8).numpy().tobytes()).hexdigest()
    dtype = {torch.float16: "f16", torch.bfloat16: "bf16", torch.float32: "f32"}[weight.dtype]
    tensors = {f"m.{k}": v.contiguous() for k, v in tensors.items()}
    save_file(tensors, OUT / f"{name}.safetensors", {"config": json.dumps(config), "sha256": digest, "dtype": dtype})
    print(name, dtype, digest[:16])


def gptq(library, name, bits, group, version=1, order=False, dtype=torch.float16):
    groups = COLUMNS // group
    codes = torch.randint(0, 1 << bits, (COLUMNS, ROWS), dtype=torch.int32)
    # Every zero point there is, the largest in version 1 being stored as -1.
    zeros = torch.arange(groups * ROWS, dtype=torch.int32).reshape(groups, ROWS) % (1 << bits)
    scales = (torch.rand(groups, ROWS) * 0.02 + 0.001).to(dtype)
    g_idx = torch.arange(COLUMNS, dtype=torch.int32) // group
    if order:
        g_idx = g_idx[torch.randperm(COLUMNS)]
    stored = (zeros - int(version == 1)) & ((1 << bits) - 1)
    tensors = {
        "qweight": library.pack_cols(codes.T.contiguous(), bits, pack_dtype=torch.int32).T,
        "qzeros": library.pack_cols(stored, bits, pack_dtype=torch.int32),
        "scales": scales, "g_idx": g_idx,
    }
    config = {"quant_method": "gptq", "bits": bits, "group_size": group, "desc_act": order,
              "checkpoint_format": "gptq" if version == 1 else "gptq_v2"}
    path = OUT / "tmp.safetensors"
    OUT.mkdir(parents=True, exist_ok=True)
    save_file({f"m.{k}": v.contiguous() for k, v in tensors.items()}, path)
    weight = library.convert_gptq_file(path, dtype, config, "cpu")["m.weight"]
    path.unlink()
    write(name, tensors, weight, **config)


def awq(library, group):
    groups = COLUMNS // group
    codes = torch.randint(0, 16, (COLUMNS, ROWS), dtype=torch.int32)
    zeros = torch.randint(0, 16, (groups, ROWS), dtype=torch.int32)
    scales = (torch.rand(groups, ROWS) * 0.02 + 0.001).half()
    def pack(codes):
        # As WQLinear_GEMM.from_linear does it.
        words = torch.zeros(codes.shape[0], codes.shape[1] // 8, dtype=torch.int32)
        for column in range(words.shape[1]):
            for i, place in enumerate(library.AWQ_ORDER):
                words[:, column] |= codes[:, column * 8 + place] << (i * 4)
        return words
    qweight, qzeros = pack(codes), pack(zeros)
    weight = library.dequantize_gemm(qweight, qzeros, scales, 4, group).T
    config = {"quant_method": "awq", "bits": 4, "group_size": group, "version": "gemm", "zero_point": True}
    write(f"awq-{group}", {"qweight": qweight, "qzeros": qzeros, "scales": scales}, weight, **config)


def four_bits(kind, nested, dtype, block=64):
    from bitsandbytes import functional
    weight = REAL.to(dtype)
    codes, state = functional.quantize_4bit(weight, blocksize=block, quant_type=kind, compress_statistics=nested)
    tensors = {"weight": codes} | {f"weight.{k}": v for k, v in state.as_dict(packed=True).items()}
    config = {"quant_method": "bitsandbytes", "load_in_4bit": True, "bnb_4bit_quant_type": kind,
              "bnb_4bit_use_double_quant": nested}
    name = f"{kind}-{block}{'-nested' if nested else ''}"
    # FP4 has two zeros, both 0.0 in its map; the library's kernels for processors make one of them negative, or do not.
    write(name, tensors, functional.dequantize_4bit(codes, state) + 0, **config)


def int8():
    from bitsandbytes import functional
    weight = REAL.half()
    values, scales, _ = functional.int8_vectorwise_quant(weight)
    tensors = {"weight": values, "SCB": scales, "weight_format": torch.zeros((), dtype=torch.uint8)}
    config = {"quant_method": "bitsandbytes", "load_in_8bit": True}
    write("int8", tensors, functional.int8_vectorwise_dequant(values, scales), **config)


def fp8(block):
    from transformers.integrations.finegrained_fp8 import Fp8Dequantize
    grid = [-(-ROWS // block[0]), -(-COLUMNS // block[1])]
    scales = torch.zeros(grid)
    values = torch.empty(ROWS, COLUMNS, dtype=torch.float8_e4m3fn)
    for i, rows in enumerate(REAL.split(block[0])):
        for j, part in enumerate(rows.split(block[1], dim=1)):
            scales[i, j] = part.abs().max() / 448
            values[i * block[0]:, j * block[1]:][:part.shape[0], :part.shape[1]] = (part / scales[i, j]).to(values.dtype)
    weight = Fp8Dequantize(None)._dequantize_one(values, scales)
    config = {"quant_method": "fp8", "fmt": "e4m3", "weight_block_size": list(block)}
    write(f"fp8-{block[0]}x{block[1]}", {"weight": values, "weight_scale_inv": scales}, weight, **config)


def compressed(name, form, zero=False, order=False, **args):
    from compressed_tensors.compressors import BaseCompressor
    from compressed_tensors.quantization import QuantizationArgs, QuantizationScheme
    from compressed_tensors.quantization.utils import calculate_qparams
    weights = QuantizationArgs(symmetric=not zero, actorder="group" if order else None, **args)
    scheme = QuantizationScheme(targets=["Linear"], weights=weights)
    weight = REAL.bfloat16()
    group = args.get("group_size") or COLUMNS
    parts = weight.reshape(1, -1) if args["strategy"] == "tensor" else weight.reshape(ROWS, COLUMNS // group, group)
    scale, zero_point = calculate_qparams(parts.amin(-1), parts.amax(-1), weights)
    state = {"weight": weight, "weight_scale": scale.bfloat16()}
    if zero:
        state["weight_zero_point"] = zero_point
    compressor = BaseCompressor.get_value_from_registry(form)
    stored = compressor.compress(state, scheme)
    out = compressor.decompress(stored, scheme)["weight"]
    said = {"weights": json.loads(weights.model_dump_json()), "targets": ["Linear"]}
    write(name, stored, out, quant_method="compressed-tensors", format=form, config_groups={"group_0": said})


def main():
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    global REAL
    REAL = torch.load(sys.argv[2], map_location="cpu")["transformer.h.0.mlp.c_fc.weight"].T[:ROWS].contiguous()
    torch.manual_seed(1)
    library = gptqmodel(sys.argv[1])
    gptq(library, "gptq-4-128", 4, 128)
    gptq(library, "gptq-4-128-v2", 4, 128, version=2)
    gptq(library, "gptq-4-64-order", 4, 64, order=True)
    gptq(library, "gptq-4-row", 4, COLUMNS)
    gptq(library, "gptq-2-64", 2, 64)
    gptq(library, "gptq-3-128", 3, 128)
    gptq(library, "gptq-8-32-bf16", 8, 32, version=2, dtype=torch.bfloat16)
    packing = next(p for p in Path(sys.argv[1]).glob("autoawq-*") if p.is_dir()) / "awq/utils/packing_utils.py"
    for group in [128, 32]:
        awq(load("packing_utils", packing), group)
    four_bits("nf4", True, torch.bfloat16)
    four_bits("nf4", False, torch.float16)
    four_bits("nf4", True, torch.float32, 128)
    four_bits("fp4", True, torch.bfloat16)
    int8()
    fp8([16, 128])
    fp8([32, 64])
    grouped = dict(num_bits=4, type="int", strategy="group")
    compressed("pack-4-128", "pack-quantized", group_size=128, **grouped)
    compressed("pack-4-32-zero", "pack-quantized", zero=True, group_size=32, **grouped)
    compressed("pack-8-row", "pack-quantized", num_bits=8, type="int", strategy="channel")
    compressed("pack-3-128", "pack-quantized", num_bits=3, type="int", strategy="group", group_size=128)
    compressed("w8a8", "int-quantized", num_bits=8, type="int", strategy="channel")
    compressed("fp8-row", "float-quantized", num_bits=8, type="float", strategy="channel")
    compressed("fp8-tensor", "float-quantized", num_bits=8, type="float", strategy="tensor")


main()
