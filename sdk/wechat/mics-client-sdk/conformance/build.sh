#!/usr/bin/env bash
# Makes what `conformance/client.mjs` needs: dependencies and dist/.
set -euo pipefail
cd "$(dirname "$0")/.."
scripts/install.sh
npm run -s build
