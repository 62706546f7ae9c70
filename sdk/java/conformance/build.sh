#!/usr/bin/env bash
# Builds samples/hook-server/target/hook-server.jar, which is the conformance program. The tests are left to check.sh.
set -euo pipefail
cd "$(dirname "$0")/.."
exec mvn -q -B -DskipTests -pl samples/hook-server -am package
