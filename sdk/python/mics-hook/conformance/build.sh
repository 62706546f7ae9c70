#!/usr/bin/env bash
# Makes .venv with this package in it.
set -euo pipefail
cd "$(dirname "$0")/.."
if ! python3 -c "import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 10))" 2>/dev/null; then
  echo "SKIP sdk-python: needs python3 (3.10 or newer) with venv"
  exit 0
fi
[ -x .venv/bin/python ] || python3 -m venv .venv
.venv/bin/python -c 'import mics_hook, aiokafka, uvicorn, pytest' 2>/dev/null ||
  .venv/bin/pip install --quiet --no-compile --disable-pip-version-check -e '.[dev]'
