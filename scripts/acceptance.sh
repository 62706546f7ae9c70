#!/usr/bin/env bash
# Plays chapter 8 of the requirements on this machine: Redis, gateways, a tenant's back end and, with Java, Kafka, as real
# processes on the loopback. Says a line per item and writes a report. What each item asks: docs/ops/acceptance.md.
#
#   scripts/acceptance.sh [options]
#     --quick          small figures; leaves out what takes minutes
#     --only A1,P3     only these items
#     --report FILE    the report (acceptance-report.md)
#
# Takes the gateway from MICS_BIN, else from the release build (CARGO_TARGET_DIR); builds it when there is none and cargo is.
# Exit status: 0 nothing failed, 1 an item failed, 2 wrong usage.
set -eu
ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
for option in "$@"; do
  case $option in
    -h | --help) sed -n '2,/^set /{/^set /d;s/^# \{0,1\}//p;}' "${BASH_SOURCE[0]}"; exit 0 ;;
  esac
done
command -v python3 >/dev/null || { echo "SKIP acceptance: python3 is missing"; exit 0; }
ulimit -n "$(ulimit -Hn)" 2>/dev/null || true
if [ -z "${MICS_BIN:-}" ] && [ ! -x "${CARGO_TARGET_DIR:-$ROOT/target}/release/mics" ] && command -v cargo >/dev/null; then
  (cd "$ROOT" && cargo build --release)
fi
exec python3 "$ROOT/tests/acceptance/run.py" "$@"
