"""The table of compare_peers.sh: rows of `model type bpw bytes perplexity base-perplexity KLD` from standard input.

A peer stands beside our type of as many whole bits. `KLD x` and `increase x` are ours over the peer's, of the
divergence and of what the perplexity has risen by; where there is a bar for it, whether it is met.
"""

import re
import sys

# Ours over the peer's at most: (divergence, increase of the perplexity).
BARS = {
    ("qwen", "IQ3_XXS"): (0.50, None),
    ("qwen", "IQ3_KT"): (0.62, 0.65),
    ("qwen", "IQ2_XXS"): (0.50, None),
    ("qwen", "IQ2_KT"): (0.62, 0.65),
}


def is_ours(kind):
    return re.fullmatch(r"t\d", kind) is not None


def bits(kind):
    return re.search(r"\d", kind).group()


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
ours = {(model, bits(kind)): rest for model, kind, *rest in rows if is_ours(kind)}

print("%-8s %-10s %7s %11s %10s %10s %9s  %-20s %s"
      % ("model", "type", "bpw", "bytes", "perplexity", "increase", "KLD", "KLD x", "increase x"))
for model, kind, bpw, size, perplexity, increase, kld in rows:
    ratios = ("", "")
    of_ours = ours.get((model, bits(kind)))
    if of_ours and not is_ours(kind):
        kld_bar, increase_bar = BARS.get((model, kind), (None, None))
        ratios = ratio(of_ours[4], kld, kld_bar), ratio(of_ours[3], increase, increase_bar)
    line = "%-8s %-10s %7.4f %11d %10.4f %+8.2f %% %9.4f  %-20s %s" % (
        model, kind, bpw, size, perplexity, increase * 100, kld, *ratios)
    print(line.rstrip())
