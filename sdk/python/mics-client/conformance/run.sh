#!/usr/bin/env bash
# Runs the conformance program in the environment that build.sh made.
set -euo pipefail
cd "$(dirname "$0")/.."
exec .venv/bin/python conformance/client.py
