"""Collects the licences of the Rust packages that are linked into the program.

    licenses.py OUT

OUT becomes a folder with the licence files of each package, and `packages.txt`, a line for each with what its manifest says.
"""
import json
import shutil
import subprocess
import sys
from pathlib import Path

out = Path(sys.argv[1])
host = next(line.split()[1] for line in subprocess.check_output(["rustc", "-vV"], text=True).splitlines() if line.startswith("host:"))
command = ["cargo", "metadata", "--format-version", "1", "--locked", "--filter-platform", host]
metadata = json.loads(subprocess.check_output(command))
packages = {package["id"]: package for package in metadata["packages"]}
nodes = {node["id"]: node for node in metadata["resolve"]["nodes"]}

# What is linked: normal dependencies, and theirs.
linked, left = set(), [metadata["resolve"]["root"]]
while left:
    node = nodes[left.pop()]
    for dependency in node["deps"]:
        is_normal = any(kind["kind"] is None for kind in dependency["dep_kinds"])
        if is_normal and dependency["pkg"] not in linked:
            linked.add(dependency["pkg"])
            left.append(dependency["pkg"])

out.mkdir(parents=True, exist_ok=True)
lines = []
for package in sorted((packages[id] for id in linked), key=lambda package: (package["name"], package["version"])):
    name = f"{package['name']}-{package['version']}"
    folder = Path(package["manifest_path"]).parent
    files = [file for file in folder.iterdir() if file.is_file() and file.name.upper().startswith(("LICENSE", "LICENCE", "COPYING", "NOTICE"))]
    for file in files:
        (out / name).mkdir(exist_ok=True)
        shutil.copyfile(file, out / name / file.name)
    lines.append(f"{name}: {package['license'] or 'see ' + str(package['license_file'])}" + ("" if files else " (no file in the package)"))
(out / "packages.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
