"""Reads `objdump -d --no-show-raw-insn` and judges what is in memory when `ldtilecfg` loads a tile configuration.

The 64 bytes of a configuration are a palette, 16 widths (bytes 16 to 47) and 16 heights (bytes 48 to 63). GCC before
12.4 and 13.3 declares that the instruction reads the first eight bytes only, and may remove the stores to the others: what
is left is the block of zeros that the structure began as, and the first tile instruction then ends the program.
A configuration is good if the widths and heights of the first tile registers were stored last from something that is
not a zeroed register, or if the operand is a constant of the program.
"""

import re
import sys

TILES = 8
NEEDED = [*range(16, 16 + 2 * TILES), *range(48, 48 + TILES)]
# How many instructions before `ldtilecfg` are read.
REACH = 80
LINE = re.compile(r"^\s*[0-9a-f]+:\s+(?P<name>\S+)\s*(?P<operands>.*?)\s*(#.*|<.*)?$")
MEMORY = re.compile(r"^(?P<offset>-?0x[0-9a-f]+)?\((?P<base>%r\w+)\)$")
SUFFIXES = {"b": 1, "w": 2, "l": 4, "q": 8}


def width(name, source):
    """Bytes that a move writes, by its register or, of a constant, by the last letter of its name."""
    if source.startswith("%"):
        for prefix, size in (("%zmm", 64), ("%ymm", 32)):
            if source.startswith(prefix):
                return size
        if source.startswith("%xmm"):
            return {"vmovq": 8, "movq": 8, "vmovd": 4, "movd": 4}.get(name, 16)
        if re.match(r"%(r\w\w|r\d+)$", source):
            return 8
        if re.match(r"%(e\w\w|r\d+d)$", source):
            return 4
        return 2 if re.match(r"%(\w\w|r\d+w)$", source) and not source.endswith(("l", "h", "b")) else 1
    return SUFFIXES.get(name[-1], 0)


def family(register):
    """%xmm0, %ymm0 and %zmm0 are parts of one register; so are %eax and %rax."""
    vector = re.match(r"%[xyz]mm(\d+)", register)
    if vector:
        return "v" + vector[1]
    return re.sub(r"^%[er]?(\w\w)$", r"\1", register) if not re.match(r"%r\d", register) else register.rstrip("dwb")


def judge(before, operand):
    """Whether the instructions `before` leave a configuration at `operand`.

    What GCC 12 makes of ggml's code at -O3, and of ggml's code with ggml-patches:

    >>> zeros = [("vpxor", "%xmm0,%xmm0,%xmm0"), ("vmovdqa64", "%zmm0,0xc0(%rsp)")]
    >>> judge(zeros + [("movb", "$0x1,0xc0(%rsp)")], "0xc0(%rsp)")
    False
    >>> tiles = [("mov", "0x0(%rip),%rdx"), ("vmovdqa", "0x0(%rip),%xmm0"), ("movb", "$0x1,0xc0(%rsp)"),
    ...          ("mov", "%rdx,0xf0(%rsp)"), ("vmovdqa", "%xmm0,0xd0(%rsp)")]
    >>> judge(zeros + tiles, "0xc0(%rsp)")
    True
    >>> judge(zeros + tiles[:-1], "0xc0(%rsp)")
    False
    """
    place = MEMORY.match(operand)
    if not place or place["base"] == "%rip":
        return True
    start = int(place["offset"] or "0", 16)
    written = [False] * 64
    zeroed = set()
    for name, operands in before:
        parts = [part.strip() for part in re.split(r",(?![^(]*\))", operands)]
        target = parts[-1]
        if target.startswith("%"):
            is_zero = "xor" in name and len(set(parts)) == 1
            (zeroed.add if is_zero else zeroed.discard)(family(target))
            continue
        there = MEMORY.match(target)
        if "mov" in name and there and there["base"] == place["base"]:
            first = int(there["offset"] or "0", 16) - start
            source = parts[0]
            value = source != "$0x0" and not (source.startswith("%") and family(source) in zeroed)
            for byte in range(max(first, 0), min(first + width(name, source), 64)):
                written[byte] = value
    return all(written[byte] for byte in NEEDED)


def main():
    window, found, bad = [], 0, 0
    for line in sys.stdin:
        if re.match(r"^[0-9a-f]+ <.*>:$", line):
            window = []
        instruction = LINE.match(line)
        if not instruction:
            continue
        name, operands = instruction["name"], instruction["operands"]
        if name == "ldtilecfg":
            found += 1
            if not judge(window[-REACH:], operands):
                bad += 1
                print(f"ldtilecfg {operands}: the rows and widths of the tiles are not stored before it")
        window.append((name, operands))
    print(f"{found} tile configurations, {bad} of them incomplete")
    return 0 if found and not bad else 1


if __name__ == "__main__":
    sys.exit(main())
