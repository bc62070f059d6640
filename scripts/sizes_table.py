"""The table of compare_sizes.sh: rows of `model kind size bytes expected`, then perplexity, base's perplexity and KLD for each of two texts.

Beside each mix stand the nearest peer of the same or more bytes, the peers' least divergence at exactly its bytes (a line between
neighbours of the lower hull, divergence in logarithms), and one trellis type of the same size; `x` is our divergence over theirs.
"""

import math
import sys

TEXTS = ["wiki", "heldout"]
# The greatest ratios that are wanted: of (model, size) over the best peer, over one type.
BARS = {("qwen", "10x"): (0.40, 0.75), ("qwen", "14x"): (0.45, None), ("smollm2", "8x"): (0.35, None), ("smollm2", "10x"): (0.35, None)}

rows = []
for line in sys.stdin:
    model, kind, size, count, expected, *numbers = line.split()
    numbers = [float(number) for number in numbers]
    texts = [(numbers[i] / numbers[i + 1] - 1, numbers[i + 2]) for i in (0, 3)]
    rows.append((model, kind, size, int(count), expected, texts))


def hull(peers, text):
    """The peers that are not above a line between two others, in the order of their bytes."""
    best = []
    for bytes_, kld in sorted((row[3], math.log(row[5][text][1])) for row in peers):
        if best and best[-1][1] <= kld:
            continue
        while len(best) > 1 and (best[-1][1] - best[-2][1]) * (bytes_ - best[-2][0]) >= (kld - best[-2][1]) * (best[-1][0] - best[-2][0]):
            best.pop()
        best.append((bytes_, kld))
    return best


def at(points, bytes_):
    for (b0, k0), (b1, k1) in zip(points, points[1:]):
        if b0 <= bytes_ <= b1:
            return math.exp(k0 + (k1 - k0) * (bytes_ - b0) / (b1 - b0))
    return None


def verdict(ratio, bar):
    return f"{ratio:.3f}" + ("" if bar is None else f" ({'met' if ratio <= bar else 'missed'}: {bar:.2f})")


print("%-8s %-9s %-5s %11s %6s %8s  %s" % ("model", "kind", "size", "bytes", "x", "expected",
                                           "  ".join(f"{text:>8} KLD {'perplexity':>10}" for text in TEXTS)))
for model, kind, size, count, expected, texts in rows:
    weights = next((float(s.rstrip("x")) * b / 4 for m, k, s, b, *_ in rows if m == model and k == "mix"), 0)
    times = f"{4 * weights / count:.2f}" if weights else "-"
    print("%-8s %-9s %-5s %11d %6s %8s  %s" % (model, kind, size, count, times, expected,
                                               "  ".join(f"{kld:12.4f} {100 * rise:+8.2f} %" for rise, kld in texts)))
print()
for model, kind, size, count, expected, texts in rows:
    if kind != "mix":
        continue
    of_peer, of_one = BARS.get((model, size), (None, None))
    peers = [row for row in rows if row[0] == model and row[1] not in ("mix", "one-type")]
    one = next((row for row in rows if row[:3] == (model, "one-type", size)), None)
    for i, (text, (rise, kld)) in enumerate(zip(TEXTS, texts)):
        words = [f"measured / expected {kld / float(expected):.2f}"]
        larger = min((row for row in peers if row[3] >= count), key=lambda row: row[3], default=None)
        if larger:
            words.append(f"x {larger[1]} ({larger[3] / count:.2f} of the bytes) {verdict(kld / larger[5][i][1], of_peer)}")
        same = at(hull(peers, i), count)
        if same:
            words.append(f"x peers at the same bytes {verdict(kld / same, of_peer)}")
        if one:
            words.append(f"x one type {verdict(kld / one[5][i][1], of_one)}")
        print(f"{model} {size} {text}: " + "; ".join(words))
