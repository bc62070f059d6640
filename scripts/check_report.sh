#!/usr/bin/env bash
# Opens a page of `tenpak-gguf eval --report` in headless Chromium: no errors on the console, nothing loaded, everything within the
# width of a phone, tables sorted by keyboard, every choice drawn, contrast and names for screen readers (axe-core).
#
#   scripts/check_report.sh report.html [FOLDER]     FOLDER gets screenshots: light, dark, phone
#
# It needs Node.js and Chromium (package chromium), and installs puppeteer-core and axe-core into target/.
source "$(dirname "$0")/setup.sh"
page=$(realpath "${1:?give the page}")
folder=${2:-$(mktemp -d)}
need node 'install Node.js (package nodejs)'
need npm 'install npm (package npm)'
browser=${CHROMIUM:-$(command -v chromium || command -v chromium-browser || command -v google-chrome || true)}
[ -n "$browser" ] || die 'chromium is not installed: install it (package chromium), or name it in CHROMIUM'

tools=$TOOLS/browser
wanted="puppeteer-core@25.16.0 axe-core@4.14.1"
if [ "$(cat "$tools/.installed" 2>/dev/null)" != "$wanted" ]; then
    say "installing $wanted" >&2
    rm -rf "$tools" && mkdir -p "$tools"
    # shellcheck disable=SC2086 # several words
    npm install --silent --no-audit --no-fund --prefix "$tools" $wanted
    printf '%s' "$wanted" >"$tools/.installed"
fi
cp "$ROOT/scripts/check_report.mjs" "$tools/"
mkdir -p "$folder"
node "$tools/check_report.mjs" "$browser" "$page" "$folder"
say "the page is well; screenshots: $folder"
