#!/usr/bin/env bash
# Builds, type-checks and tests this SDK, and prints its size. Needs Node 20 or newer with npm.
set -euo pipefail
cd "$(dirname "$0")"
skip() { echo "SKIP sdk-wechat: $1"; exit 0; }
command -v node >/dev/null || skip "node is missing"
command -v npm >/dev/null || skip "npm is missing"
[ "$(node -p 'process.versions.node.split(".")[0]')" -ge 20 ] || skip "needs Node 20 for its tools"

scripts/install.sh
npm run -s check
npm test --silent
npm run -s size
echo "sdk-wechat: ok"
