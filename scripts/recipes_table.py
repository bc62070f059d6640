"""The table of tenpak_recipes.sh in Markdown, from the rows of `eval --csv`. Beside each recipe and type stands the mix of types that is
nearest in bytes, and the divergence over that mix's, where their bytes differ by less than one in a hundred."""

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


print("| recipe or type | MB | times smaller | bits per linear weight | KLD, wiki.utf8 | KLD, held-out text | perplexity | KLD of both | the mix's | ratio |")
print("|---|---|---|---|---|---|---|---|---|---|")
for name, texts in files.items():
    if name in mixes:
        continue
    row = texts["all"]
    mix = min(mixes, key=lambda m: abs(size[m] - size[name]), default=None)
    beside = ["", ""]
    if mix and abs(size[mix] / size[name] - 1) < 0.01:
        beside = [kld(mix, "all"), "%.2f" % (float(row["kld"]) / float(files[mix]["all"]["kld"]))]
    cells = [f"`{name}`", "%.1f" % (size[name] / 1e6), "%.2fx" % float(row["times_smaller_than_fp32"]), "%.2f" % float(row["linear_bpw"]),
             kld(name, "wiki"), kld(name, "heldout"), "%+.2f %%" % float(row["perplexity_change_percent"]), kld(name, "all"), *beside]
    print("| " + " | ".join(cells) + " |")
