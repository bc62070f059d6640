#!/usr/bin/env python3
"""Gives a llama.cpp that is installed the types of tenpak-gguf, and takes them away again.

    plugin.py install [FOLDER]
    plugin.py restore [FOLDER]

FOLDER has libggml-base.so and libggml-cpu.so; without it, it is that of this Python's llama_cpp. Both libraries are replaced, and kept
in FOLDER/before-tenpak. Refused is a ggml of another version, or one that has functions which ours lacks: those would crash.
"""
import importlib.util
import os
import shutil
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent / "lib"
LIBRARIES = ["libggml-base.so", "libggml-cpu.so"]


def installed() -> Path:
    """The folder of llama_cpp's libraries, which is not imported."""
    found = importlib.util.find_spec("llama_cpp")
    if not found or not found.origin:
        sys.exit("error: this Python has no llama_cpp: name the folder of the libraries")
    return Path(found.origin).parent / "lib"


def files(folder: Path, library: str) -> list:
    """All names of a library, of which some may be copies and some links."""
    return [path for path in sorted(folder.glob(f"{library}*")) if path.is_file() and not path.is_symlink()]


def version(library: Path) -> str:
    """What ggml says, in a process of its own."""
    code = "import ctypes, sys; f = ctypes.CDLL(sys.argv[1]).ggml_version; f.restype = ctypes.c_char_p; print(f().decode())"
    return subprocess.run([sys.executable, "-c", code, library], check=True, capture_output=True, text=True).stdout.strip()


def lacking(theirs: Path, ours: Path) -> list:
    """Functions of theirs that ours has not, so far as both are libraries of ggml."""
    def names(library: Path) -> set:
        lines = subprocess.run(["nm", "-D", "--defined-only", library], check=True, capture_output=True, text=True).stdout.splitlines()
        found = {line.split()[-1].split("@")[0] for line in lines}
        return {name for name in found if name.startswith(("ggml_", "gguf_"))}
    return sorted(names(theirs) - names(ours))


def install(folder: Path, kept: Path) -> None:
    if kept.exists():
        sys.exit(f"error: {kept} is there: it is installed already, or was; restore first")
    for library in LIBRARIES:
        if not files(folder, library):
            sys.exit(f"error: {folder} has no {library}: a llama.cpp that is linked statically, or loads its backends as modules, takes no other one")
    said, ours = version(files(folder, LIBRARIES[0])[0]), version(HERE / LIBRARIES[0])
    if said != ours:
        sys.exit(f"error: {folder} has ggml {said}, and these libraries are ggml {ours}: install the release that they are made for")
    for library in LIBRARIES:
        if shutil.which("nm"):
            missing = lacking(files(folder, library)[0], HERE / library)
            if missing:
                sys.exit(f"error: {library} of {folder} has functions that ours lacks: {', '.join(missing[:5])}")
    part = kept.with_name(kept.name + ".part")
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir()
    replaced = [path for library in LIBRARIES for path in files(folder, library)]
    for path in replaced:
        shutil.copy2(path, part / path.name)
    part.rename(kept)
    for path in replaced:
        library = next(library for library in LIBRARIES if path.name.startswith(library))
        put(HERE / library, path)
    print(f"installed ggml {ours} with the types of tenpak-gguf into {folder}")


def restore(folder: Path, kept: Path) -> None:
    if not kept.exists():
        sys.exit(f"error: there is no {kept}: nothing is installed")
    for path in kept.iterdir():
        put(path, folder / path.name)
    shutil.rmtree(kept)
    print(f"restored {folder}")


def put(source: Path, path: Path) -> None:
    """A program that has the old file open keeps it."""
    part = path.with_name(path.name + ".part")
    shutil.copy2(source, part)
    os.replace(part, path)


if len(sys.argv) not in (2, 3) or sys.argv[1] not in ("install", "restore"):
    sys.exit(__doc__)
place = (Path(sys.argv[2]) if len(sys.argv) == 3 else installed()).resolve()
{"install": install, "restore": restore}[sys.argv[1]](place, place / "before-tenpak")
