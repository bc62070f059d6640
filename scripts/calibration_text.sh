#!/usr/bin/env bash
# Mixes the calibration text of fetch_model.sh's text folder and prints its file; what is held back lies beside it.
#
#   calibration.txt    of the first 90 % of web text, code, technical and multilingual text
#   heldout.txt        of the last 10 %, for a look at text like it that no calibration has seen
#
# wiki.utf8 is in neither: it is what results are judged on. Pieces of about 4 kB alternate so that every
# prefix of a file has the same shares; a file ends where the first source does.
source "$(dirname "$0")/setup.sh"
"$ROOT/scripts/fetch_model.sh" >/dev/null
cd "$TARGET/models/text"
python3 - <<'EOF'
import os

SHARES = {"c4": 4, "code": 2, "technical": 2, "multilingual": 2}
PIECE = 4096


def pieces(lines):
    piece = b""
    for line in lines:  # whole lines: no character is cut
        piece += line
        if len(piece) >= PIECE:
            yield piece
            piece = b""


def write_mix(name, sources):
    written = dict.fromkeys(SHARES, 0)
    sources = {source: pieces(lines) for source, lines in sources.items()}
    with open(name + ".part", "wb") as out:
        while True:
            source = min(SHARES, key=lambda s: written[s] / SHARES[s])
            piece = next(sources[source], None)
            if piece is None:
                break
            written[source] += out.write(piece)
    os.replace(name + ".part", name)


calibration, heldout = {}, {}
for source in SHARES:
    with open(source + ".utf8", "rb") as file:
        lines = file.readlines()
    left = 0.9 * sum(map(len, lines))
    cut = 0
    while left >= len(lines[cut]):
        left -= len(lines[cut])
        cut += 1
    calibration[source], heldout[source] = lines[:cut], lines[cut:]
write_mix("calibration.txt", calibration)
write_mix("heldout.txt", heldout)
EOF
echo "$TARGET/models/text/calibration.txt"
