#!/usr/bin/env python3
"""Reference digests of every architecture, from llama.cpp's own converter. Run by hand; see docs/reference-f16.md.

    scripts/reference_architectures.py LLAMA_CPP [CASE...]
    scripts/reference_architectures.py --verify LLAMA_CPP [CASE...]     only what follows the digests

A case is tests/architectures/CASE.json: a config.json as model hubs have it, the files of a tokenizer, an element
type. Where the case does not list its tensors yet, transformers says which a model with that config has. Weights are
drawn from splitmix64, as in tests/support/reference_case.rs. The result is tests/architectures/CASE.digest: what
`tenpak-gguf inspect --digest` prints of the reference files in F16, BF16 and F32, sha256 cut to 16 digits.

Then our file of each case is run in the patched llama.cpp and compared with transformers, by `convert --verify`.
TENPAK_COLLECTOR names what scripts/build_llama.sh printed. Options of `convert` that a case needs for that stand in
`verify`; `forward` false says that transformers cannot make the model: its vision tower is not whole.
"""
import hashlib, json, os, shutil, subprocess, sys, tempfile, traceback
from pathlib import Path

import numpy as np
import torch
from safetensors import safe_open
from safetensors.torch import save_file

ROOT = Path(__file__).resolve().parent.parent
CASES = ROOT / "tests/architectures"
# Processes that are forked from one with threads at work may wait for these forever.
torch.set_num_threads(1)
DTYPES = {"f32": torch.float32, "f16": torch.float16, "bf16": torch.bfloat16}


def convert(llama, folder, case, outtype, file):
    """The converter in a process of its own, in which its modules are loaded already. Tiny vocabularies encode llama.cpp's
    check text to no hash that it knows: a case says `pre`, its name for them. Where transformers drops values that the
    converter reads, a case says `keep`: config.json fills the gaps. `options` are those of the converter."""
    sys.path.insert(0, str(llama))
    import conversion.base
    import convert_hf_to_gguf
    log = file.with_suffix(".log")
    child = os.fork()
    if child == 0:
        for stream in (1, 2):
            os.dup2(os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND), stream)
        if case.get("keep"):
            load = conversion.base.ModelBase.load_hparams
            raw = lambda folder: json.loads((folder / "config.json").read_text())
            conversion.base.ModelBase.load_hparams = lambda folder, mistral: {**raw(folder), **load(folder, mistral)}
        if case.get("pre"):
            conversion.base.TextModel.get_vocab_base_pre = lambda self, tokenizer: case["pre"]
        sys.argv = ["convert_hf_to_gguf.py", str(folder), "--outtype", outtype, "--outfile", str(file)]
        sys.argv += case.get("options", [])
        try:
            convert_hf_to_gguf.main()
            os._exit(0)
        except BaseException:
            traceback.print_exc()
            sys.stderr.flush()
            os._exit(1)
    if os.waitpid(child, 0)[1] != 0:
        sys.exit(f"{folder.name}: {log.read_text()}")


def gaussian(name, n):
    """The sum of twelve uniform values less six, times 2^-4, from splitmix64 seeded with the name."""
    seed = np.frombuffer(hashlib.sha256(name.encode()).digest()[:8], "<u8")[0]
    with np.errstate(over="ignore"):
        z = seed + np.arange(1, 12 * n + 1, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15)
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        z ^= z >> np.uint64(31)
    sums = (z >> np.uint64(40)).astype(np.int64).reshape(n, 12).sum(axis=1)
    return ((sums - (6 << 24)) / (1 << 28)).astype(np.float32)


def tensors_of(config, folder):
    """Names and shapes on disk of a model with this config, by transformers."""
    import transformers
    (folder / "config.json").write_text(json.dumps(config))
    parsed = transformers.AutoConfig.from_pretrained(folder)
    model = getattr(transformers, config["architectures"][0])(parsed)
    with tempfile.TemporaryDirectory() as saved:
        model.save_pretrained(saved)
        with safe_open(Path(saved) / "model.safetensors", "pt") as f:
            return {name: list(f.get_slice(name).get_shape()) for name in sorted(f.keys())}


def tenpak():
    return Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target")) / "release/tenpak-gguf"


def digest(file):
    out = subprocess.run([tenpak(), "inspect", "--digest", file], check=True, capture_output=True, text=True).stdout
    for line in out.splitlines():
        kind, name, sha, rest = (line + " ").split(" ", 3)
        yield f"{kind} {name} {sha[:16]} {rest}".rstrip()


def verify(path, case, folder):
    """Compares our file in llama.cpp with transformers."""
    if not case.get("forward", True):
        return print(f"{path.stem}: transformers cannot make this model")
    pre = ["--tokenizer-pre", case["pre"]] if "pre" in case else []
    command = [tenpak(), "convert", folder, "-o", folder.parent / "verified.gguf", "--outtype", "bf16", *pre]
    command += ["--verify", "--python", sys.executable, *case.get("verify", [])]
    done = subprocess.run(command, capture_output=True, text=True)
    line = next((line for line in done.stdout.splitlines() if line.startswith("verified: ")), "")
    if done.returncode or " and logits of " not in line:
        sys.exit(f"{path.stem}: {done.stderr}")
    print(f"{path.stem}: {line}")


def run(llama, path, is_only_verified):
    case = json.loads(path.read_text())
    with tempfile.TemporaryDirectory() as work:
        folder = Path(work) / path.stem
        folder.mkdir()
        if "tensors" not in case:
            case["tensors"] = tensors_of(case["config"], folder)
            head = json.dumps({k: v for k, v in case.items() if k != "tensors"}, indent=1, ensure_ascii=False)
            rows = ",\n".join(f"  {json.dumps(n)}: {s}" for n, s in case["tensors"].items())
            path.write_text(head[:-2] + ',\n "tensors": {\n' + rows + "\n }\n}\n")
        shutil.copytree(CASES / "tokenizers" / case["tokenizer"], folder, dirs_exist_ok=True)
        (folder / "config.json").write_text(json.dumps(case["config"]))
        for name, content in case.get("files", {}).items():
            (folder / name).write_text(content if isinstance(content, str) else json.dumps(content))
        weights = {
            name: torch.from_numpy(gaussian(name, int(np.prod(shape)))).reshape(shape).to(DTYPES[case["dtype"]])
            for name, shape in case["tensors"].items()
        }
        save_file(weights, folder / "model.safetensors", {"format": "pt"})
        if is_only_verified:
            return verify(path, case, folder)
        lines = []
        for outtype in DTYPES:
            file = Path(work) / f"{outtype}.gguf"
            convert(llama, folder, case, outtype, file)
            lines += [f"{outtype} {line}" for line in digest(file)]
        verify(path, case, folder)
    # Keys that are the same in all three are written once.
    same = {line.split(" ", 1)[1] for line in lines if line.split(" ")[1] == "key"}
    same = {s for s in same if all(f"{t} {s}" in lines for t in DTYPES)}
    rest = [line for line in lines if line.split(" ", 1)[1] not in same]
    text = "\n".join([f"all {s}" for s in sorted(same)] + sorted(rest)) + "\n"
    path.with_suffix(".digest").write_text(text)
    print(f"{path.stem}: {len(case['tensors'])} tensors")


is_only_verified = sys.argv[1] == "--verify"
llama, *names = sys.argv[1 + is_only_verified :]
paths = [CASES / f"{name}.json" for name in names] or sorted(CASES.glob("*.json"))
for path in paths:
    run(llama, path, is_only_verified)
