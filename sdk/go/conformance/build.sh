#!/usr/bin/env bash
# Builds the hook server sample into bin/.
set -euo pipefail
cd "$(dirname "$0")/../samples"
if ! command -v go >/dev/null; then
  echo "SKIP sdk-go: go is missing"
  exit 0
fi
go build -o ../bin/hookserver ./hookserver
