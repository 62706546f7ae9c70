#!/usr/bin/env bash
# A cluster of three gateways watched by mkat, on this machine, until the alerts of a killed node have arrived.
# Exit status: 0 it went as told (or a line `SKIP watched-cluster: reason`), 1 it did not.
#
#   examples/watched-cluster/run.sh     MICS_BIN and MKAT_BIN name the programs, else target/release/{mics,mkat} (built when missing)
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
for needed in python3 redis-server curl jq prometheus prometheus-alertmanager; do
  command -v "$needed" >/dev/null && continue
  echo "!!! Nothing was watched and nothing was proved: $needed is missing (Debian: apt-get install $needed)" >&2
  echo "SKIP watched-cluster: $needed is missing"
  exit 0
done
target=${CARGO_TARGET_DIR:-$PWD/target}
export MICS_BIN=${MICS_BIN:-$target/release/mics} MKAT_BIN=${MKAT_BIN:-$target/release/mkat}
if [ ! -x "$MICS_BIN" ] || [ ! -x "$MKAT_BIN" ]; then
  cargo build --release --bin mics
  cargo build --release -p mkat --bin mkat
fi
exec python3 examples/watched-cluster/story.py
