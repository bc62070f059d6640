#!/bin/sh
# Installs the folder that this script is in.
#
#   ./install.sh [PREFIX]              into PREFIX/lib/tenpak-gguf, with links in PREFIX/bin (default: ~/.local)
#   ./install.sh --remove [PREFIX]
set -eu
here=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd -P)
remove=
if [ "${1:-}" = --remove ]; then remove=1; shift; fi
prefix=${1:-$HOME/.local}
place=$prefix/lib/tenpak-gguf

# Links into our folder, and no others.
unlink_ours() {
    for link in "$prefix"/bin/* "$prefix"/share/man/man1/*; do
        case $(readlink -- "$link" 2>/dev/null) in "$place"/*) rm -f -- "$link" ;; esac
    done
}

if [ -e "$place" ] && [ ! -e "$place/bin/tenpak-gguf" ]; then
    echo "error: $place is something else: move it away, or name another PREFIX" >&2
    exit 1
fi
if [ -n "$remove" ]; then
    unlink_ours
    rm -rf -- "$place"
    echo "removed $place"
    exit
fi
(cd "$here" && sha256sum --check --quiet SHA256SUMS) || { echo 'error: files differ from SHA256SUMS: unpack the archive again' >&2; exit 1; }
mkdir -p "$prefix/bin" "$prefix/lib" "$prefix/share/man/man1"
rm -rf -- "$place.part"
cp -R "$here" "$place.part"
unlink_ours
rm -rf -- "$place"
mv "$place.part" "$place"
for file in "$place"/bin/*; do
    case $file in *.so*) continue ;; esac
    link=$prefix/bin/$(basename "$file")
    if [ -e "$link" ] || [ -L "$link" ]; then echo "kept $link, which is not ours" >&2; else ln -s "$file" "$link"; fi
done
for file in "$place"/share/man/man1/*; do
    ln -sf "$file" "$prefix/share/man/man1/"
done
echo "installed $("$place/bin/tenpak-gguf" --version | head -n 1) into $place"
case :$PATH: in *:"$prefix/bin":*) ;; *) echo "add $prefix/bin to PATH" ;; esac
