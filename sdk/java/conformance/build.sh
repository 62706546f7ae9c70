#!/usr/bin/env bash
# Builds target/NAME.jar of the sample server that is named. The tests are left to check.sh.
set -euo pipefail
cd "$(dirname "$0")/.."
exec mvn -q -B -DskipTests -pl "samples/$1" -am package
