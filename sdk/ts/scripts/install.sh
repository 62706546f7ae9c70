#!/usr/bin/env bash
# `npm ci`, unless node_modules is what package-lock.json says already.
set -euo pipefail
cd "$(dirname "$0")/.."
if [ ! -e node_modules/.installed ] || [ package-lock.json -nt node_modules/.installed ]; then
  npm ci --loglevel=error
  touch node_modules/.installed
fi
