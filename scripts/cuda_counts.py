#!/usr/bin/env python3
"""Reads what nvcc made of tests/cuda/instances.cu for some architectures and compares it with tests/cuda/limits.csv.

    cuda_counts.py FOLDER               with FOLDER/ARCHITECTURE.log (of ptxas) and FOLDER/ARCHITECTURE.sass (of cuobjdump)
    cuda_counts.py FOLDER --limits      prints limits that hold, for limits.csv

Prints, for each kernel, registers and instructions for 4 weights in its main loop; then, for the cards of tests/cuda/cards.csv,
which share of the memory's bandwidth these instructions leave room for. Fails where a limit or a bar is missed, or registers
are spilled to memory beyond the limit.
"""

import collections
import csv
import math
import pathlib
import re
import sys

TESTS = pathlib.Path(__file__).resolve().parent.parent / "tests/cuda"

# Pipes by instruction, up to its first point. ALU and FMA take 64 lanes a clock and multiprocessor each, as measured on an H100 by
# benches/gpu/pipes.cu.
ALU = set("LOP3 PRMT SHF IADD IADD3 VIADD VIADDMNMX VIMNMX IMNMX ISETP LEA SEL IABS FSEL FSETP FMNMX MOV I2FP PLOP3 SGXT BMSK".split())
FMA = set("IMAD IDP FFMA FMUL FADD".split())
PIPE_LANES, ISSUE_LANES = 64, 128

# Bits of a weight.
BYTES_OF_256 = {"T2": 66, "T25": 82, "T3": 98, "T35": 114, "T4": 130, "T5": 162, "O3": 100, "O4": 132, "S24": 89, "S34": 113, "G4_128": 134, "NF4_64": 144}
BITS = {name: bytes * 8 / 256 for name, bytes in BYTES_OF_256.items()}
# Of a file in Q4_K_M, all its weights together. Its kernels are taken to reach the bandwidth everywhere.
Q4_K_M_BITS = 4.85

TYPE = re.compile(r"tenpak_([tos]\d+(?:_64|x2)?)E|NS_\d+(G4_128|NF4_64)E")


def kernel_name(symbol):
    """
    >>> kernel_name("_ZN6tenpak16multiply_columnsINS_7TrellisIL_ZN49_INTERNAL_306f219a_12_k_cu_c_160539tenpak_t3EEL_ZE"
    ...             "ELi8ELi1EEEvNS_8MatricesEPKaPKNS_6ScaledE")
    'multiply_columns T3 8'
    >>> kernel_name("_ZN6tenpak16multiply_columnsINS_6NF4_64ELi1ELi1EEEvNS_8MatricesEPKaPKNS_6ScaledE")
    'multiply_columns NF4_64 1'
    >>> kernel_name("_ZN6tenpak14rows_as_floatsINS_6DirectIL_ZN49_INTERNAL_306f219a_12_k_cu_c_1605311tenpak_o4x2EEEfEEvNS_4RowsEPT0_")
    'rows_as_floats O4X2'
    """
    kernel = re.match(r"_ZN6tenpak\d+([a-z_]+)I", symbol).group(1)
    trellis, codes4 = TYPE.search(symbol).groups()
    columns = re.search(r"ELi(\d+)EL", symbol) if kernel == "multiply_columns" else None
    return " ".join([kernel, (trellis or codes4).upper()] + ([columns.group(1)] if columns else []))


def resources(log):
    """Registers, and bytes on the stack and of spills, of each kernel."""
    found = {}
    for part in log.split("Compiling entry function '")[1:]:
        numbers = [int(n) for n in re.search(r"(\d+) bytes stack frame, (\d+) bytes spill stores, (\d+) bytes spill loads", part).groups()]
        found[kernel_name(part.split("'")[0])] = (int(re.search(r"Used (\d+) registers", part).group(1)), sum(numbers))
    return found


def instructions(sass):
    """(address, instruction without its predicate) of each kernel."""
    found = {}
    for part in sass.split("Function : ")[1:]:
        lines = re.findall(r"^\s+/\*([0-9a-f]{4,5})\*/\s+(?:@!?U?P[\dT]+ )?(.*?);", part, re.M)
        found[kernel_name(part.split("\n")[0].strip())] = [(int(at, 16), text) for at, text in lines]
    return found


def main_loop(code):
    """The longest loop without a loop in it."""
    loops = []
    for at, text in code:
        to = re.match(r"BRA\b.*?(0x[0-9a-f]+)", text)
        if to and int(to.group(1), 16) < at:
            loops.append((int(to.group(1), 16), at))
    inner = [a for a in loops if not any(b != a and a[0] <= b[0] and b[1] <= a[1] for b in loops)]
    first, last = max(inner, key=lambda loop: loop[1] - loop[0])
    return [text for at, text in code if first <= at <= last]


def counts(code, weights, dp4a):
    """Instructions for 4 weights: of the ALU, of the FMA pipe, all. The main loop has that many weights and dp4a, or a multiple where
    nvcc has unrolled it; without dp4a, the whole of the code has that many weights."""
    texts = main_loop(code) if dp4a else [text for _, text in code]
    names = collections.Counter(text.split()[0].split(".")[0] for text in texts)
    passes = sum(text.startswith("IDP.4A") for text in texts) / dp4a if dp4a else 1
    # operations on uniform registers are another pipe's, but are issued
    of = [sum(n for name, n in names.items() if name in pipe) for pipe in (ALU, FMA)] + [len(texts)]
    return [n * 4 / (weights * passes) for n in of]


def limits_above(values):
    """
    >>> limits_above([(20.1, 7.6, 29.9, 64, 0), (19.0, 7.9, 29.0, 57, 8)])
    ['21', '9', '31', '64', '8']
    """
    *of_counts, registers, spilled = (max(of) for of in zip(*values))
    return [str(n) for n in [*(math.ceil(n * 1.02) for n in of_counts), -(-registers // 8) * 8, spilled]]


def rows(name):
    with open(TESTS / name) as file:
        return list(csv.reader(line for line in file if not line.startswith("#")))


def share(card, alu, fma, everything, bits):
    """Of the bandwidth, at most: weights that a card can decode in a second, times their bytes, over its bandwidth."""
    _, architecture, _, multiprocessors, clock, bandwidth, _ = card
    # RTX Blackwell's cores all take integers, at 128 lanes; that PRMT and SHF are among what they take is not published, so that
    # the bound is that of the pipes before
    clocks = max(alu / PIPE_LANES, fma / PIPE_LANES, everything / ISSUE_LANES)
    return int(multiprocessors) * float(clock) * 4 / clocks * bits / 8 / float(bandwidth)


def main(folder, limits_only):
    failures = []
    architectures = sorted((path.stem for path in folder.glob("*.sass")), key=int)
    made = {a: ((folder / f"{a}.log").read_text(), (folder / f"{a}.sass").read_text()) for a in architectures}
    made = {a: (resources(log), instructions(sass)) for a, (log, sass) in made.items()}
    known = set()
    measured = {}
    if limits_only:
        for kernel, weights, dp4a, *_ in rows("limits.csv"):
            values = [(*counts(of[kernel], int(weights), int(dp4a)), *used[kernel]) for used, of in made.values()]
            print(",".join([kernel, weights, dp4a] + limits_above(values)))
        return 0
    print("Instructions for 4 weights (or 4 activations) and registers, by architecture; limits last\n")
    print(f"{'kernel':24} {'':10}" + "".join(f"{'sm_' + a:>8}" for a in architectures) + "   limit")
    for kernel, weights, dp4a, *limits in rows("limits.csv"):
        known.add(kernel)
        values = []
        for a in architectures:
            if kernel not in made[a][1]:
                sys.exit(f"error: tests/cuda/instances.cu has no {kernel}, which tests/cuda/limits.csv names")
            measured[kernel, a] = counts(made[a][1][kernel], int(weights), int(dp4a))
            values.append([*measured[kernel, a], *made[a][0][kernel]])
        for what, limit, of in zip(["ALU", "FMA", "all", "registers", "spilled"], limits, zip(*values)):
            if what != "spilled" or any(of) or limit != "0":
                shown = "".join(f"{v:8.1f}" if isinstance(v, float) else f"{v:8d}" for v in of)
                print(f"{kernel if what == 'ALU' else '':24} {what:10}{shown}{limit:>8}")
            failures += [f"{kernel}, sm_{a}: {v:g} {what}, limit {limit}" for a, v in zip(architectures, of) if v > float(limit)]
    for kernel in sorted({kernel for a in architectures for kernel in made[a][1]} - known):
        failures.append(f"tests/cuda/limits.csv does not name {kernel}")

    print("\nShare of the bandwidth that instructions leave room for with one column, and tokens a second of T3 beside those of a")
    print(f"Q4_K_M of {Q4_K_M_BITS} bits that is bound by bandwidth\n")
    print(f"{'card':12} {'':10}" + "".join(f"{t:>7}" for t in BITS) + "   T3 / Q4_K_M   bar")
    for card in rows("cards.csv"):
        name, architecture, generation, *_, bar = card
        shares = {t: share(card, *measured[f"multiply_columns {t} 1", architecture], bits) for t, bits in BITS.items()}
        ratio = min(shares["T3"], 1) * Q4_K_M_BITS / BITS["T3"]
        print(f"{name:12} {generation:10}" + "".join(f"{s:7.0%}" for s in shares.values()) + f"{ratio:14.2f}{bar:>6}")
        if bar and ratio < float(bar):
            failures.append(f"{name}: T3 beside Q4_K_M {ratio:.2f}, bar {bar}")
    print("\n".join([""] + ["error: " + failure for failure in failures]))
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main(pathlib.Path(sys.argv[1]), sys.argv[2:] == ["--limits"]))
