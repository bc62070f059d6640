#!/usr/bin/env python3
"""Ids of SentencePiece vocabularies that are given as tokenizer.json alone: transformers' and those of llama.cpp with our file.

    pip install transformers==5.23.0 sentencepiece gguf protobuf
    scripts/test.sh vocabularies        # makes TOKENIZE, below target/llama_tests
    scripts/reference_tokenizers.py LLAMA TENPAK TOKENIZE TEXTS [CLASS=MODEL...]

LLAMA is llama.cpp's tree, TENPAK the program, TOKENIZE that of tests/support/tokenize.cpp, TEXTS target/models/text. The
vocabularies are Llama 2's and Phi 3's of the tree, and any MODEL: a tokenizer.model, or a GGUF file with a vocabulary. CLASS is
LlamaForCausalLM, Gemma3ForCausalLM and so on. transformers makes tokenizer.json of each, as version 4 did (the file is taken as it is)
and as version 5 saves it. 2000 lines of text and code, a quarter with special and added tokens between, are compared.
"""
import json, os, random, shutil, struct, subprocess, sys, tempfile, types
from pathlib import Path

import transformers.convert_slow_tokenizer as slow
from gguf import GGUFReader
from tokenizers import AddedToken, Tokenizer
from transformers import AutoTokenizer

LINES = 2000
WIDTH = 8
ADDED_SCORE = -1000.0
proto = slow.import_protobuf()


class Extractor(slow.SentencePieceExtractor):
    """Merges in the order of scores, as transformers 4 had them."""

    def extract(self, scores):
        vocab = {piece.piece: i for i, piece in enumerate(self.proto.pieces)}
        if "\t" not in vocab and "<0x09>" in vocab:
            vocab["\t"] = vocab["<0x09>"]
        return vocab, slow.generate_merges(vocab, scores)


slow.LlamaConverter.SpmExtractor = slow.GemmaConverter.SpmExtractor = Extractor


def model_of(path):
    """A SentencePiece model, also of the vocabulary in a GGUF file."""
    model = proto.ModelProto()
    if not str(path).endswith(".gguf"):
        model.ParseFromString(Path(path).read_bytes())
        return model
    fields = GGUFReader(path).fields
    tokens, scores, kinds = (fields[f"tokenizer.ggml.{k}"].contents() for k in ("tokens", "scores", "token_type"))
    for token, score, kind in zip(tokens, scores, kinds):
        piece = model.pieces.add()
        # The converter writes spaces for user-defined ones, and one score for what is added.
        piece.piece = token.replace(" ", "▁") if kind == 4 else token
        piece.score = 0.0 if score == ADDED_SCORE else score
        piece.type = 2 if token == "<unk>" else kind
    model.trainer_spec.model_type, model.trainer_spec.byte_fallback = 2, True
    model.trainer_spec.unk_piece = "<unk>"
    return model


def as_version_4(path, model, gemma, folder):
    names = {i: piece.piece for i, piece in enumerate(model.pieces)}
    kind = slow.GemmaConverter if gemma else slow.LlamaConverter
    original = types.SimpleNamespace(vocab_file=path, convert_ids_to_tokens=names.get, legacy=True, add_prefix_space=True,
                                     pad_token=names[0], eos_token=names[1], bos_token=names[2])
    made = kind(original).converted()
    if not gemma:
        made.add_tokens([AddedToken(t, special=True, normalized=False) for t in ("<unk>", "<s>", "</s>", "<|im_start|>", "<|im_end|>")])
        made.add_tokens([AddedToken("<tool_call>", special=False, normalized=False)])
    made.save(str(folder / "tokenizer.json"))
    (folder / "tokenizer_config.json").write_text('{"tokenizer_class": "PreTrainedTokenizerFast"}')


def as_version_5(path, gemma, folder):
    shutil.copy(path, folder / "tokenizer.model")
    config = {"tokenizer_class": "GemmaTokenizer" if gemma else "LlamaTokenizer", "add_bos_token": True}
    (folder / "tokenizer_config.json").write_text(json.dumps(config))
    tokenizer = AutoTokenizer.from_pretrained(folder)
    (folder / "tokenizer.model").unlink()
    tokenizer.add_tokens(["<|im_start|>", "<|im_end|>"], special_tokens=True)
    tokenizer.save_pretrained(folder)


def write_model(folder, name, size):
    config = dict(architectures=[name], vocab_size=size, hidden_size=WIDTH, intermediate_size=WIDTH, num_hidden_layers=0,
                  num_attention_heads=1, num_key_value_heads=1, head_dim=WIDTH, max_position_embeddings=64,
                  original_max_position_embeddings=64, rms_norm_eps=1e-5, tie_word_embeddings=True)
    if name.startswith("Gemma"):
        config["query_pre_attn_scalar"] = WIDTH
    (folder / "config.json").write_text(json.dumps(config))
    end = size * WIDTH * 2
    header = json.dumps({
        "model.embed_tokens.weight": {"dtype": "F16", "shape": [size, WIDTH], "data_offsets": [0, end]},
        "model.norm.weight": {"dtype": "F16", "shape": [WIDTH], "data_offsets": [end, end + 2 * WIDTH]}}).encode()
    (folder / "model.safetensors").write_bytes(struct.pack("<Q", len(header)) + header + bytes(end + 2 * WIDTH))


def lines(texts, marks):
    draw = random.Random(1)
    found = ["a  b   c    d", "\t\ttabs\tand  spaces   ", "x" * 300, "模型 тест 🦙🦙‍🌫️ \u200b\u00a0é", "3.14 1,000,000", "\n\n\n", "a\n\nb\n",
             " leading", "  two leading", "<0x0A>", "café naïve ﬁ ½ №", "".join(map(chr, range(33, 127)))]
    for file in sorted(Path(texts).glob("*.utf8")):
        found += draw.sample([line for line in file.read_text().split("\n") if line], LINES // 8)
    for i in range(LINES - len(found)):
        (a, b), (m, k) = (draw.choice(found)[:200] for _ in "ab"), draw.choices(marks, k=2)
        found.append([f"{m}{a}{k}\n{b}", f"{a} {m} {b}{k}", f"{m}user\n{a}{k}\n{m}assistant\n{b}{k}", f"{a}{m}{k}{b}"][i % 4])
    return found


def judge(label, folder, tenpak, tokenize, texts, encode):
    file = folder / "out.gguf"
    subprocess.run([tenpak, "convert", folder, "-o", file, "-f", "--outtype", "f16"], check=True, stdout=subprocess.DEVNULL)
    added = json.loads((folder / "tokenizer.json").read_text())["added_tokens"]
    marks = [t["content"] for t in added if t["content"].strip("▁\n") and "unused" not in t["content"]]
    all_lines = lines(texts, marks)
    done = subprocess.run([tokenize, file], input="".join(line + "\0" for line in all_lines).encode(), capture_output=True, check=True)
    found = [[int(i) for i in line.split()] for line in done.stdout.decode().split("\n")[:-1]]
    expected = [encode(line) for line in all_lines]
    assert len(found) == len(expected)
    wrong = [line for line, a, b in zip(all_lines, found, expected) if a != b]
    print(f"{label}: {len(all_lines)} lines, {sum(map(len, expected))} ids, {len(wrong)} lines differ", *map(repr, wrong[:3]), sep="\n    ")


def main():
    llama, tenpak, tokenize, texts, *more = sys.argv[1:]
    of_tree = [f"LlamaForCausalLM={llama}/models/ggml-vocab-llama-spm.gguf", f"Phi3ForCausalLM={llama}/models/ggml-vocab-phi-3.gguf"]
    for name, path in (entry.split("=", 1) for entry in of_tree + more):
        gemma = name.startswith("Gemma")
        for version in (4, 5):
            with tempfile.TemporaryDirectory() as work:
                model, folder, proto_file = model_of(path), Path(work) / "model", f"{work}/tokenizer.model"
                folder.mkdir()
                Path(proto_file).write_bytes(model.SerializeToString())
                as_version_4(proto_file, model, gemma, folder) if version == 4 else as_version_5(proto_file, gemma, folder)
                plain = Tokenizer.from_file(str(folder / "tokenizer.json"))
                write_model(folder, name, plain.get_vocab_size())
                loaded = AutoTokenizer.from_pretrained(folder)
                label = f"{name} {os.path.basename(path)}, as transformers {version} saves it"
                judge(label, folder, tenpak, tokenize, texts, lambda text: loaded.encode(text, add_special_tokens=False))


main()
