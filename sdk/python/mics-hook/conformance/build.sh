#!/usr/bin/env bash
# Makes .venv with this package in it.
set -euo pipefail
cd "$(dirname "$0")/.."
[ -x .venv/bin/python ] || python3 -m venv .venv
.venv/bin/python -c 'import mics_hook, aiokafka, uvicorn, pytest' 2>/dev/null ||
  .venv/bin/pip install --quiet --disable-pip-version-check -e '.[dev]'
