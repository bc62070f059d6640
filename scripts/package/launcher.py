"""tenpak-gguf and the patched llama.cpp: programs that this package holds."""
import os
import sys
from pathlib import Path

BIN = Path(__file__).parent / "bin"
__all__ = ["BIN", "main"]


def main() -> None:
    """Becomes the program of the command's name; as `python -m tenpak_gguf PROGRAM ...`, the named one."""
    arguments = sys.argv
    if Path(arguments[0]).name == "__main__.py":
        arguments = arguments[1:] or ["tenpak-gguf"]
    program = BIN / Path(arguments[0]).name
    if not program.is_file():
        sys.exit(f"error: there is no program {program.name} in {BIN}")
    # llama.cpp's converter runs in this Python, if no other is named.
    os.environ.setdefault("TENPAK_PYTHON", sys.executable)
    os.execv(program, [str(program), *arguments[1:]])
