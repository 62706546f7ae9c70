#!/usr/bin/env bash
# Builds conformance/target/mics-conformance-client.jar. The tests of the SDK are left to check.sh.
set -euo pipefail
cd "$(dirname "$0")/.."
exec mvn -q -B -DskipTests package
