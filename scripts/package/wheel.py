"""Makes a wheel of the folder of a release, with the tag that auditwheel finds, and prints its path.

    wheel.py FOLDER VERSION OUT

The package is thin: its commands replace themselves by the programs of the folder.
"""
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

folder, version, out = Path(sys.argv[1]), sys.argv[2], Path(sys.argv[3])
here = Path(__file__).parent
LEFT_OUT = {"README.md", "SHA256SUMS", "install.sh", "Dockerfile", "include", "patches", "licenses"}
NAME = "tenpak_gguf"
programs = [file.name for file in sorted((folder / "bin").iterdir()) if ".so" not in file.name]
requirements = (folder / "share/tenpak-gguf/llama.cpp/converter-requirements.txt").read_text().splitlines()
requirements = [line for line in requirements if line and not line.startswith("#")]

METADATA = f"""Metadata-Version: 2.4
Name: {NAME.replace('_', '-')}
Version: {version}
Summary: Converts Hugging Face checkpoints to GGUF files ten times smaller than FP32, with a llama.cpp that runs them
License-Expression: MIT OR Apache-2.0
License-File: LICENSE-MIT
License-File: LICENSE-APACHE
Requires-Python: >=3.9
Provides-Extra: converter
{chr(10).join(f"Requires-Dist: {line}; extra == 'converter'" for line in requirements)}
Description-Content-Type: text/markdown

{(folder / 'README.md').read_text(encoding='utf-8')}"""
WHEEL = "Wheel-Version: 1.0\nGenerator: tenpak-gguf\nRoot-Is-Purelib: false\nTag: py3-none-linux_x86_64\n"

with tempfile.TemporaryDirectory() as place:
    root = Path(place) / "root"
    package = root / NAME
    shutil.copytree(folder, package, ignore=lambda at, names: LEFT_OUT & set(names) if Path(at) == folder else [n for n in names if n.endswith(".a")])
    shutil.copyfile(here / "launcher.py", package / "__init__.py")
    (package / "__main__.py").write_text("from . import main\n\nmain()\n")
    info = root / f"{NAME}-{version}.dist-info"
    licenses = info / "licenses"
    shutil.copytree(folder / "licenses", licenses / "licenses")
    for file in ["LICENSE-MIT", "LICENSE-APACHE"]:
        (package / file).rename(licenses / file)
    (info / "METADATA").write_text(METADATA, encoding="utf-8")
    (info / "WHEEL").write_text(WHEEL)
    entries = "".join(f"{program} = tenpak_gguf:main\n" for program in programs)
    (info / "entry_points.txt").write_text(f"[console_scripts]\n{entries}")
    subprocess.run(["wheel", "pack", "--dest-dir", place, root], check=True, stdout=sys.stderr)
    [wheel] = Path(place).glob("*.whl")
    shown = subprocess.run(["auditwheel", "show", wheel], check=True, text=True, capture_output=True).stdout
    print(shown, file=sys.stderr)
    tag = re.search(r'"(manylinux_\w+)"', shown)
    if not tag:
        sys.exit(f"error: {wheel.name} is for no manylinux: auditwheel says why")
    [renamed] = subprocess.check_output(["wheel", "tags", "--remove", "--platform-tag", tag[1], wheel], text=True).split()
    out.mkdir(parents=True, exist_ok=True)
    print(shutil.move(Path(place) / renamed, out / renamed))
