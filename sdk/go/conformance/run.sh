#!/usr/bin/env bash
# The hook server sample with an empty database of its own.
set -euo pipefail
cd "$(dirname "$0")/.."
export OFFLINE_DB=${OFFLINE_DB:-bin/conformance-${PORT:-8081}.db}
rm -f "$OFFLINE_DB"{,-wal,-shm}
exec ./bin/hookserver
