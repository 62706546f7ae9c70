#!/usr/bin/env bash
# Formats, lints and tests this SDK.
set -euo pipefail
cd "$(dirname "$0")/../../.."
command -v cargo >/dev/null || { echo "SKIP sdk-rust-client: cargo is missing"; exit 0; }
cargo fmt -p mics-client --check
cargo clippy -q -p mics-client --all-targets -- -D warnings
cargo test -q -p mics-client
cargo package -q -p mics-client --list --allow-dirty >/dev/null
echo "sdk-rust-client: fine"
