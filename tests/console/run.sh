#!/bin/sh
# Tests the operator's console in headless Chromium against two real gateways with Redis. Builds nothing: MICS_BIN names
# the gateway (default target/release/mics). Needs node >= 20.19, redis-server and Chromium (CHROMIUM_BIN, default
# /usr/bin/chromium): says SKIP without one. Exit status: 0 passed or skipped, 2 no gateway binary, else the test's.
set -eu
cd "$(dirname "$0")/../.."

skip() {
  echo "SKIP console-test: $1" >&2
  exit 0
}

MICS_BIN=$(realpath "${MICS_BIN:-target/release/mics}")
CHROMIUM_BIN=${CHROMIUM_BIN:-/usr/bin/chromium}
if [ ! -x "$MICS_BIN" ]; then
  echo "console-test: no gateway at $MICS_BIN; build it first or set MICS_BIN" >&2
  exit 2
fi
for program in node npm redis-server; do
  command -v "$program" >/dev/null || skip "$program is missing"
done
[ -x "$CHROMIUM_BIN" ] || skip "$CHROMIUM_BIN is missing"
export MICS_BIN CHROMIUM_BIN

npm --prefix tests/console ci --no-audit --no-fund
cd tests/console
exec timeout 420 node --test
