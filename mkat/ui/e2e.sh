#!/bin/sh
# The page in headless Chromium against the real program. MKAT_BIN names it (default: the workspace's debug build);
# CHROMIUM_BIN the browser (default /usr/bin/chromium). The page is the one that was compiled into the program.
set -eu
cd "$(dirname "$0")"
browser=${CHROMIUM_BIN:-/usr/bin/chromium}
if ! command -v node >/dev/null 2>&1 || [ ! -x "$browser" ]; then
  echo "SKIP mkat-ui-e2e: node or $browser is missing"
  exit 0
fi
MKAT_BIN=$(realpath "${MKAT_BIN:-../../target/debug/mkat}")
export MKAT_BIN
[ -d node_modules ] || npm install --no-save --no-fund --no-audit
exec timeout 900 node --test --test-concurrency=1 --test-timeout=300000 e2e/*.test.mjs
