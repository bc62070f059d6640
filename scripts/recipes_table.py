"""The table of tenpak_recipes.sh in Markdown, from the rows of `eval --csv`. Beside each recipe and type stands the largest
mix of types that has no more bytes (but for one in two thousand), its size in MB, and the divergence over that mix's."""

import csv
import sys

files = {}  # by name, the rows by text
for row in csv.DictReader(line for line in sys.stdin if not line.startswith("#")):
    if row["file"] != "file":  # the header of a further table
        files.setdefault(row["file"].split("-", 1)[1].removesuffix(".gguf"), {})[row["text"]] = row

size = {name: int(texts["all"]["bytes"]) for name, texts in files.items()}
mixes = [name for name in files if name.startswith("as-")]


def kld(name, text):
    row = files[name][text]
    return "%.4f ± %.4f" % (float(row["kld"]), float(row["kld_error"]))


print("| recipe or type | MB | times smaller | bits per linear weight | KLD, wiki.utf8 | KLD, held-out text | perplexity | KLD of both | the mix: MB | KLD | ratio |")
print("|---|---|---|---|---|---|---|---|---|---|---|")
for name, texts in files.items():
    if name in mixes:
        continue
    row = texts["all"]
    mix = max((m for m in mixes if size[m] <= 1.0005 * size[name]), key=lambda m: size[m], default=None)
    beside = ["", "", ""]
    if mix:
        beside = ["%.1f" % (size[mix] / 1e6), kld(mix, "all"), "%.2f" % (float(row["kld"]) / float(files[mix]["all"]["kld"]))]
    cells = [f"`{name}`", "%.1f" % (size[name] / 1e6), "%.2fx" % float(row["times_smaller_than_fp32"]), "%.2f" % float(row["linear_bpw"]),
             kld(name, "wiki"), kld(name, "heldout"), "%+.2f %%" % float(row["perplexity_change_percent"]), kld(name, "all"), *beside]
    print("| " + " | ".join(cells) + " |")
