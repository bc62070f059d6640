"""The table of compare_peers.sh: rows of `model type bpw bytes perplexity base-perplexity KLD` from standard input.

A peer stands beside our largest file that is not larger (`beside`). `KLD x` and `increase x` are ours over the peer's, of
the divergence and of what the perplexity has risen by; where there is a bar for it, whether it is met.
"""

import re
import sys

# Ours over the peer's at most: (divergence, increase of the perplexity).
BARS = {
    ("qwen", "IQ3_XXS"): (0.50, None),
    ("qwen", "IQ3_KT"): (0.62, 0.65),
    ("qwen", "IQ2_XXS"): (0.50, None),
    ("qwen", "IQ2_KT"): (0.62, 0.65),
    # llama.cpp's files of this model begin at 110 MB, because 256 does not divide its rows.
    ("smollm2", "IQ2_XXS"): (0.60, None),
    ("smollm2", "Q2_K"): (0.60, None),
    ("smollm2", "IQ3_S"): (0.60, None),
}


def is_ours(kind):
    return re.fullmatch(r"t\d", kind) is not None


def ratio(ours, peer, bar):
    if peer <= 0:
        return ""
    value = ours / peer
    verdict = "" if bar is None else f" ({'met' if value <= bar else 'missed'}: {bar:.2f})"
    return f"{value:.3f}{verdict}"


rows = []
for line in sys.stdin:
    model, kind, bpw, size, *numbers = line.split()
    perplexity, base, kld = map(float, numbers)
    rows.append((model, kind, float(bpw), int(size), perplexity, perplexity / base - 1, kld))

print("%-8s %-10s %7s %11s %10s %10s %9s  %-6s %-20s %s"
      % ("model", "type", "bpw", "bytes", "perplexity", "increase", "KLD", "beside", "KLD x", "increase x"))
for model, kind, bpw, size, perplexity, increase, kld in rows:
    beside = ("", "", "")
    ours = [row for row in rows if row[0] == model and is_ours(row[1]) and row[3] <= size]
    if ours and not is_ours(kind):
        _, our_kind, _, _, _, our_increase, our_kld = max(ours, key=lambda row: row[3])
        kld_bar, increase_bar = BARS.get((model, kind), (None, None))
        beside = our_kind, ratio(our_kld, kld, kld_bar), ratio(our_increase, increase, increase_bar)
    line = "%-8s %-10s %7.4f %11d %10.4f %+8.2f %% %9.4f  %-6s %-20s %s" % (
        model, kind, bpw, size, perplexity, increase * 100, kld, *beside)
    print(line.rstrip())
