#!/bin/sh
# Tests the chat page of `mics dev` in headless Chromium. Builds nothing: MICS_BIN names the gateway (default
# target/release/mics). Needs node >= 20.19 and Chromium (CHROMIUM_BIN, default /usr/bin/chromium); installs the latter
# from apt when it may, else says SKIP. Exit status: 0 passed or skipped, 2 no gateway binary, else the test's.
set -eu
cd "$(dirname "$0")/.."

skip() {
  echo "SKIP browser-test: $1" >&2
  exit 0
}

install_chromium() {
  command -v apt-get >/dev/null || skip "$CHROMIUM_BIN is missing and there is no apt-get"
  if [ "$(id -u)" -eq 0 ]; then as_root=""
  elif command -v sudo >/dev/null && sudo -n true 2>/dev/null; then as_root="sudo -n"
  else skip "$CHROMIUM_BIN is missing and installing it needs root"
  fi
  echo "browser-test: installing chromium" >&2
  $as_root apt-get update -qq && $as_root apt-get install -y -qq --no-install-recommends chromium >/dev/null \
    || skip "chromium could not be installed"
}

MICS_BIN=${MICS_BIN:-target/release/mics}
CHROMIUM_BIN=${CHROMIUM_BIN:-/usr/bin/chromium}
if [ ! -x "$MICS_BIN" ]; then
  echo "browser-test: no gateway at $MICS_BIN; build it first or set MICS_BIN" >&2
  exit 2
fi
command -v node >/dev/null && command -v npm >/dev/null || skip "node or npm is missing"
[ -x "$CHROMIUM_BIN" ] || install_chromium
export MICS_BIN CHROMIUM_BIN

npm --prefix tests/browser ci --no-audit --no-fund
cd tests/browser
case $MICS_BIN in /*) ;; *) MICS_BIN=../../$MICS_BIN ;; esac
exec timeout 300 node --test
