#!/usr/bin/env bash
# Converts a model with a release and runs the file, where nothing else is installed.
#
#   scripts/check_package.sh RELEASE MODEL TEXT
#
# RELEASE is its folder, its archive or its wheel; MODEL a Hugging Face folder of a tiny model, TEXT what that is calibrated on. A folder
# or an archive runs in a root of its own that has the C and C++ libraries of this system and no program, a wheel in a new virtual
# environment. Ends with 77 if this system lets nobody make such a root.
source "$(dirname "$0")/setup.sh"
release=$(realpath "$1") model=$(realpath "$2") text=$(realpath "$3")
port=${PORT:-$((20000 + RANDOM % 20000))}
place=$(mktemp -d)
server=
trap '[ -z "$server" ] || kill -- "-$server" 2>/dev/null || true; rm -rf --one-file-system "$place"' EXIT

# The root: the release in /opt, what programs and libraries of it need of the system, and the model.
make_root() {
    local root=$place/root file
    mkdir -p "$root"/{opt,proc,dev,tmp,model}
    case $release in
    *.tar.gz) tar xzf "$release" -C "$root/opt" && mv "$root"/opt/* "$root/opt/tenpak-gguf" ;;
    *) cp -R "$release" "$root/opt/tenpak-gguf" ;;
    esac
    (cd "$root/opt/tenpak-gguf" && sha256sum --check --quiet SHA256SUMS) || die "$release: files differ from SHA256SUMS"
    ldd "$root"/opt/tenpak-gguf/bin/* "$root"/opt/tenpak-gguf/lib/*.so* 2>/dev/null | grep -o '/[^ ):]*' | sort -u |
        while read -r file; do
            case $file in "$root"/*) continue ;; esac
            case $file in /lib/* | /lib64/* | /usr/lib/*) ;; *) die "$release needs $file, which is of this machine" ;; esac
            mkdir -p "$root$(dirname "$file")"
            cp -L "$file" "$root$file"
        done
    touch "$root/dev/null"
}

# inside COMMAND...: runs a program of the release
inside() {
    case $release in
    *.whl) env -i "PATH=$place/venv/bin" "HOME=$place/tmp" TMPDIR="$place/tmp" "$@" ;;
    *)
        # shellcheck disable=SC2016 # for the inner shell
        unshare --mount --pid --fork --kill-child bash -c '
            mount -t proc proc "$1/proc" && mount --bind /dev/null "$1/dev/null" && cd / && root=$1 && shift &&
            exec env -i HOME=/tmp "$(command -v chroot)" "$root" "/opt/tenpak-gguf/bin/$@"' bash "$place/root" "$@"
        ;;
    esac
}

# request METHOD PATH [BODY]: what the server answers
request() {
    exec 3<>"/dev/tcp/127.0.0.1/$port" || return
    printf '%s %s HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s' \
        "$1" "$2" "${#3}" "${3:-}" >&3
    cat <&3
    exec 3>&-
}

case $release in
*.whl)
    python3 -m venv "$place/venv"
    mkdir "$place/tmp"
    "$place/venv/bin/pip" install --quiet --disable-pip-version-check --no-index "$release"
    cp -R "$model" "$place/tmp/model" && cp "$text" "$place/tmp/text.txt"
    here=$place/tmp
    ;;
*)
    make_root
    cp -R "$model" "$place/root/tmp/model" && cp "$text" "$place/root/tmp/text.txt"
    here=/tmp
    unshare --mount --pid --fork chroot "$place/root" /opt/tenpak-gguf/bin/tenpak-gguf --version >/dev/null ||
        { echo 'this system lets nobody make a root'; exit 77; }
    ;;
esac

inside tenpak-gguf doctor --quiet || { inside tenpak-gguf doctor || true; die "doctor says that convert cannot run"; }
inside llama-tenpak-calibrate --speed f16 | grep -q '^speed [0-9]' || die "the collector does not measure how fast this machine is"
inside tenpak-gguf convert "$here/model" -o "$here/out.gguf" --calibration-text "$here/text.txt" --calibration-tokens 1024 \
    --budget 0 --effort fast --quiet
inside llama-completion -m "$here/out.gguf" -p "Line 1 of" -n 8 -no-cnv --temp 0 >"$place/said" 2>"$place/log" ||
    { tail "$place/log"; die "llama-completion failed"; }
grep -q "Line 1 of." "$place/said" || die "llama-completion adds nothing to the prompt"

set -m # a process group of its own, which ends as a whole
inside llama-server -m "$here/out.gguf" --host 127.0.0.1 --port "$port" >"$place/server.log" 2>&1 &
server=$!
set +m
for _ in $(seq 600); do
    kill -0 "$server" 2>/dev/null || { tail "$place/server.log"; die "llama-server ended"; }
    if request GET /health '' 2>/dev/null | grep -q ' 200 '; then break; fi
    sleep 0.2
done
request POST /completion '{"prompt": "Line 1 of", "n_predict": 8}' | grep -q '"content":' || die "llama-server does not answer"
echo "$(basename "$release"): converts, completes, serves"
