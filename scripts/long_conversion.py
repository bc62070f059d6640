#!/usr/bin/env python3
"""Converts a checkpoint with the shape of Llama 3 70B part by part, each part twice: undisturbed, and killed at random until it is
done. The bytes have to be the same, memory flat, and the progress that is printed that of the file.

    scripts/long_conversion.py PROGRAM FOLDER [--type TYPE]... [--parts N] [--only I,J,...] [--seed N] [--shape SHAPE]

PROGRAM is tenpak-gguf. FOLDER gets the checkpoint, which is sparse, and one part at a time, which is deleted when its sha256 is
known. The types given take turns, part by part. A line for each part, and the last line tells whether all is right.
"""
import argparse, hashlib, os, random, re, signal, subprocess, sys, time
from pathlib import Path

LINE = re.compile(r"converting: (\d+) % of (\d+) weights")
# Points by which a printed share may differ from the file's: bands of rows that are done but not written yet.
TOLERANCE = 10
# What the peak memory of a part may be over the smallest, beside the bands of the widest tensors.
FLAT_KILOBYTES = 512 << 10


class Part:
    """A part of a conversion and what was seen of it."""

    def __init__(self, options, kind, number):
        self.options, self.kind, self.number = options, kind, number
        self.peaks, self.kills, self.shares = [], 0, []
        self.out = Path(options.folder) / f"out-{number:05}-of-{options.parts:05}.gguf"

    def convert(self, resume, seconds, size):
        """A conversion, killed after so many seconds. Returns whether it came to its end, and how long it took."""
        command = [options.program, "convert", str(Path(options.folder) / "checkpoint"), "-o", str(Path(options.folder) / "out.gguf"),
                   "--no-calibration", "--no-tokenizer", "--recipe", str(Path(options.folder) / f"{self.kind}.toml"),
                   "--shard", f"{self.number}/{options.parts}"]
        start = time.monotonic()
        with open(Path(options.folder) / "log", "w+") as log:
            child = subprocess.Popen(command + (["--resume"] if resume else []), stdout=subprocess.DEVNULL, stderr=log)
            seen = 0
            while True:
                pid, status, usage = os.wait4(child.pid, os.WNOHANG)
                if pid:
                    break
                lines = LINE.findall(Path(log.name).read_text())
                if size and len(lines) > seen:
                    seen = len(lines)
                    self.shares.append((int(lines[-1][0]), round(100 * self.written() / size)))
                if seconds and time.monotonic() - start > seconds:
                    os.kill(child.pid, signal.SIGKILL)
                    _, status, usage = os.wait4(child.pid, 0)
                    break
                time.sleep(0.1)
            child.returncode = os.waitstatus_to_exitcode(status)
            self.peaks.append(usage.ru_maxrss)
            if child.returncode not in (0, -signal.SIGKILL):
                raise SystemExit(f"part {self.number}: ended with {child.returncode}: {Path(log.name).read_text()}")
        return child.returncode == 0, time.monotonic() - start

    def written(self):
        return sum(p.stat().st_size for p in Path(self.options.folder).glob(f".{self.out.name}.*.part"))

    def digest(self):
        sha256 = hashlib.sha256()
        with open(self.out, "rb") as f:
            while piece := f.read(1 << 24):
                sha256.update(piece)
        size = self.out.stat().st_size
        self.out.unlink()
        return sha256.hexdigest(), size

    def run(self, rng):
        """Twice; returns what is wrong."""
        _, took = self.convert(False, None, None)
        expected, size = self.digest()
        while not self.convert(True, rng.uniform(0.05, 0.6) * took, size)[0]:
            self.kills += 1
            if self.out.exists():
                return "a killed conversion left a file of the final name"
        found, _ = self.digest()
        print(f"part {self.number}/{self.options.parts} {self.kind}: {size} bytes, sha256 {expected[:16]}, {took:.0f} s undisturbed, "
              f"{self.kills} kills, peak {max(self.peaks)} kB, shares printed and written {self.shares}", flush=True)
        if found != expected:
            return f"killed and resumed it has sha256 {found}, undisturbed {expected}"
        if any(abs(said - is_there) > TOLERANCE for said, is_there in self.shares):
            return "the progress is not that of the file"
        return None


parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("program")
parser.add_argument("folder")
parser.add_argument("--type", action="append")
parser.add_argument("--parts", type=int, default=64)
parser.add_argument("--only")
parser.add_argument("--seed", type=int, default=1)
parser.add_argument("--shape", default="70b")
options = parser.parse_args()
kinds = options.type or ["nf4", "g4"]
Path(options.folder).mkdir(parents=True, exist_ok=True)
for kind in kinds:
    # Every matrix in this type, embeddings and head too.
    (Path(options.folder) / f"{kind}.toml").write_text(f'[[rule]]\ntypes = ["{kind}", "f16"]\n')
subprocess.run([sys.executable, Path(__file__).with_name("make_llama.py"), Path(options.folder) / "checkpoint", options.shape, "speckled"],
               check=True, stdout=subprocess.DEVNULL)
numbers = [int(n) for n in options.only.split(",")] if options.only else range(1, options.parts + 1)
rng, peaks, kills, wrong = random.Random(options.seed), [], 0, []
for number in numbers:
    part = Part(options, kinds[(number - 1) % len(kinds)], number)
    problem = part.run(rng)
    peaks += part.peaks
    kills += part.kills
    if problem:
        wrong.append(f"part {number}: {problem}")
if max(peaks) - min(peaks) > FLAT_KILOBYTES:
    wrong.append(f"memory is not flat: peaks from {min(peaks)} to {max(peaks)} kB")
print(f"{len(numbers)} parts, {kills} kills, peaks from {min(peaks)} to {max(peaks)} kB")
raise SystemExit("\n".join(wrong) or 0)
