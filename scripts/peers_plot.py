"""Draws a table of compare_peers.sh: mean divergence over bits per weight of the linear layers.

    python3 scripts/peers_plot.py benches/record/peers-DATE-qwen-32768.txt qwen docs/quality.svg

Needs matplotlib. The same table gives the same bytes.
"""

import re
import sys

import matplotlib

matplotlib.use("svg")
matplotlib.rcParams.update({"svg.hashsalt": "tenpak-gguf", "svg.fonttype": "none"})
from matplotlib import pyplot, ticker

OURS, LLAMA, IK = "tenpak-gguf", "llama.cpp", "ik_llama.cpp"
LOOKS = {OURS: ("#d1495b", "o", "-"), LLAMA: ("#30638e", "s", "--"), IK: ("#6b8f3c", "^", "--")}


def maker(kind):
    if re.fullmatch(r"t\d", kind):
        return OURS
    return IK if re.match(r"IQ\d_K", kind) else LLAMA


record, model, out = sys.argv[1:]
with open(record) as file:
    lines = file.read().splitlines()
about = next(line for line in lines if "tokens of calibration" in line).lstrip("# ")
# model, type, bpw, bytes, perplexity, increase, %, divergence
rows = [line.split() for line in lines if line.startswith(model + " ")]
if not rows:
    sys.exit(f"error: no rows of {model} in {record}")
points = sorted((float(row[2]), float(row[7]), row[1]) for row in rows)

figure, axes = pyplot.subplots(figsize=(7, 4.2))
for name, (color, marker, line) in LOOKS.items():
    own = [point for point in points if maker(point[2]) == name]
    axes.plot([p[0] for p in own], [p[1] for p in own], line, marker=marker, color=color, label=name)
    for bpw, divergence, kind in own:
        place = (-6, -10) if name == OURS else (7, 1)
        axes.annotate(kind, (bpw, divergence), xytext=place, textcoords="offset points",
                      color=color, ha="right" if name == OURS else "left", fontsize=9)
axes.set_yscale("log")
axes.yaxis.set_major_formatter(ticker.FormatStrFormatter("%g"))
axes.set_xlabel("bits per weight of the linear layers")
axes.set_ylabel("mean KLD from the reference (log)")
axes.set_title(about, fontsize=8)
axes.grid(True, which="both", linewidth=0.3)
axes.spines[["top", "right"]].set_visible(False)
axes.margins(x=0.12, y=0.12)
axes.legend(frameon=False)
figure.tight_layout()
figure.savefig(out, metadata={"Date": None})
