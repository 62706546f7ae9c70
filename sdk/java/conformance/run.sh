#!/usr/bin/env bash
# Runs the sample server that is named, as conformance.json built it, with an empty database of its own.
set -euo pipefail
cd "$(dirname "$0")/../samples/$1"
export DATABASE_URL=${DATABASE_URL:-jdbc:h2:mem:mics-offline;DB_CLOSE_DELAY=-1}
exec java -jar "target/$1.jar"
