#!/bin/sh
# Measures mkat on this machine: ./mkat/bench/run.sh [seconds of load]. Builds the release first.
set -eu
cd "$(dirname "$0")/../.."
target=${CARGO_TARGET_DIR:-target}
nice -n 10 cargo build --release -p mkat --bin mkat --example bench
echo "# $(uname -sr), $(nproc) cores, load $(cut -d' ' -f1 /proc/loadavg), $("$target/release/mkat" version)"
"$target/release/examples/bench" "$target/release/mkat" "${1:-10}"
