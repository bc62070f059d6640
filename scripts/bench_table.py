"""The table of bench.sh: medians of the runs in raw.csv (file, build, threads, test, tokens per second).

    python3 scripts/bench_table.py RAW.csv OUT.csv

Writes the medians to OUT.csv and prints them, with a column for each peer's speed in ratio, then the bars.
"""

import collections
import csv
import statistics
import sys

# (type, peer, build, test, ours over the peer's at least). ik_llama.cpp has one build: its own.
BARS = [
    ("t3", "Q4_K_M", "native", "tg64", 1.15),
    ("t3", "IQ3_XXS", "native", "tg64", 1.4),
    ("t3", "IQ3_KT", "native", "tg64", 1.5),
    ("t2", "Q4_K_M", "native", "tg64", 1.3),
    ("t3", "Q4_K_M", "native", "pp512", 1.0),
    ("t3", "IQ3_KT", "native", "pp512", 0.8),
    ("t3", "Q4_K_M", "avx2", "tg64", 1.0),
    ("t3", "Q4_K_M", "avx2", "pp512", 0.8),
]
for outliers in ("o4", "o3", "s34", "s24"):
    for build in ("native", "avx2"):
        BARS += [(outliers, "IQ3_S", build, "tg64", 1.0), (outliers, "Q4_K_M", build, "pp512", 0.5)]

raw, out = sys.argv[1:]
runs = collections.defaultdict(list)
with open(raw) as file:
    for *key, rate in csv.reader(file):
        runs[tuple(key)].append(float(rate))
if not runs:
    sys.exit(f"error: no run in {raw}: all failed, see run.log beside it")
median = {key: statistics.median(rates) for key, rates in runs.items()}


def ratio(key, peer):
    file, build, threads, test = key
    model = file.split("-")[0]
    rate = median.get((f"{model}-{peer}", build, threads, test))
    return median[key] / rate if rate else None


line = "%-18s %-7s %7s %6s %9s %15s %9s %9s"
print(line % ("file", "build", "threads", "test", "tokens/s", "from - to", "x Q4_K_M", "runs"))
with open(out, "w") as file:
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(["file", "build", "threads", "test", "tokens_per_s", "least", "most", "runs", "of_q4_k_m"])
    for key in sorted(median, key=lambda m: (m[0].split("-")[0], m[3], m[2], m[1], m[0])):
        rates, of_peer = runs[key], ratio(key, "Q4_K_M")
        of_peer = f"{of_peer:.3f}" if of_peer else ""
        numbers = [f"{x:.2f}" for x in (median[key], min(rates), max(rates))]
        writer.writerow([*key, *numbers, len(rates), of_peer])
        print(line % (*key, numbers[0], f"{numbers[1]} - {numbers[2]}", of_peer, len(rates)))

print()
for kind, peer, build, test, bar in BARS:
    for key in sorted(median):
        model = key[0].split("-")[0]
        # A processor without more than AVX2 has one build, which is that of AVX2.
        only_avx2 = build == "avx2" and not any(k[1] == "avx2" for k in median)
        if (key[0], key[1], key[3]) != (f"{model}-{kind}", "native" if only_avx2 else build, test):
            continue
        value = ratio(key, peer)
        if value is not None:
            verdict = "met" if value >= bar else "missed"
            print(f"{key[0]:<12} {build:<7} {key[2]} threads {test:<6} {value:5.2f} x {peer:<8} (bar {bar:.2f}) {verdict}")
