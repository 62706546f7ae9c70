#!/usr/bin/env bash
# Checks this SDK: formatting, lint, types, tests, and that it can be built. Installs into .venv.
set -euo pipefail
cd "$(dirname "$0")"
if ! python3 -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 10))' 2>/dev/null; then
  echo "SKIP sdk-python-client: needs python3 (3.10 or newer) with venv"
  exit 0
fi
timeout 900 ./conformance/build.sh
bin=.venv/bin
timeout 60 $bin/ruff format --check .
timeout 60 $bin/ruff check .
timeout 200 $bin/mypy
timeout 200 $bin/pytest -q
# The generated module is current (only where the generator is at hand).
if $bin/python -c 'import grpc_tools' 2>/dev/null; then
  PYTHON="$PWD/$bin/python" ../generate.sh --check
fi
echo "sdk-python-client: ok"
