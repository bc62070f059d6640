"""What other programs make of a model's folder: ids of texts by SentencePiece's library, or what transformers computes of
ids. `tenpak-gguf convert --verify` runs this, and compares.

    ids FOLDER TEXTS OUT REPORT THREADS          TEXTS: texts, each ended by a zero byte; OUT: a line of ids for each
    forward FOLDER IDS OUT REPORT THREADS        OUT: safetensors with a row for each id: `embeddings`, what goes into
                                                 the first block; `block.N`, what comes out of block N; `logits`

REPORT says in JSON which versions did it, what is not installed, or why the folder cannot be read.
"""
import json
import os
import sys

task, folder, given, out, report, threads = sys.argv[1:]
# No package is looked for in the folder that the user is in, and nothing is fetched.
sys.path = [path for path in sys.path if path not in ("", os.getcwd())]
os.environ.update(HF_HUB_OFFLINE="1", TRANSFORMERS_OFFLINE="1", TOKENIZERS_PARALLELISM="false")


def end(**said):
    with open(report, "w") as file:
        json.dump(said, file)
    sys.exit(0)


try:
    if task == "ids":
        import sentencepiece as reader
    else:
        import torch
        import transformers as reader
        from safetensors.torch import save_file
except (ImportError, OSError) as error:
    end(missing=getattr(error, "name", None) or str(error))

versions = f"{reader.__name__} {reader.__version__}"


def ids():
    pieces = reader.SentencePieceProcessor(model_file=os.path.join(folder, "tokenizer.model"))
    with open(given, "rb") as file:
        texts = file.read().decode().split("\0")[:-1]
    with open(out, "w") as file:
        for text in texts:
            print(*pieces.encode(text), file=file)


def load():
    """The model in float32, and a ValueError if some of its weights are not in the folder: they would be drawn by chance."""
    options = {"trust_remote_code": False, "local_files_only": True, "attn_implementation": "eager"}
    options["dtype" if int(reader.__version__.split(".")[0]) >= 5 else "torch_dtype"] = torch.float32
    try:
        model, info = reader.AutoModelForCausalLM.from_pretrained(folder, output_loading_info=True, **options)
    except ValueError as error:
        if "Unrecognized configuration class" not in str(error):
            raise
        # Some language models with a vision tower are of this kind alone.
        model, info = reader.AutoModelForImageTextToText.from_pretrained(folder, output_loading_info=True, **options)
    missing = info["missing_keys"] if isinstance(info, dict) else info.missing_keys
    if missing:
        raise ValueError("it finds no weights for " + ", ".join(sorted(missing)[:3]))
    return model.eval()


def blocks_of(model):
    """The blocks of the language model: the first list of as many modules as config.json says. Lists of experts are within."""
    config = model.config.get_text_config() if hasattr(model.config, "get_text_config") else model.config
    decoder = model.get_decoder() if hasattr(model, "get_decoder") else model
    for module in (decoder or model).modules():
        if isinstance(module, torch.nn.ModuleList) and len(module) == config.num_hidden_layers:
            return module
    return []


def forward():
    torch.set_num_threads(int(threads))
    with open(given) as file:
        tokens = torch.tensor([[int(token) for token in file.read().split()]])
    model = load()
    rows = {}

    def keep(name, stream):
        stream = stream[0] if isinstance(stream, (tuple, list)) else stream
        rows[name] = stream.detach().float().reshape(tokens.shape[1], -1).clone()

    def into(module, arguments, named):
        keep("embeddings", arguments[0] if arguments else named["hidden_states"])

    blocks = blocks_of(model)
    for number, block in enumerate(blocks):
        if number == 0:
            block.register_forward_pre_hook(into, with_kwargs=True)
        block.register_forward_hook(lambda module, arguments, stream, name=f"block.{number}": keep(name, stream))
    with torch.no_grad():
        logits = model(tokens, attention_mask=torch.ones_like(tokens), use_cache=False).logits
    keep("logits", logits)
    save_file(rows, out)


try:
    {"ids": ids, "forward": forward}[task]()
except Exception as error:  # whatever it is, it is shown with the version
    said = f"{type(error).__name__}: {error}".strip().splitlines()
    end(refused=said[0] if said else "", versions=versions)
end(versions=versions if task == "ids" else f"{versions}, torch {torch.__version__}")
