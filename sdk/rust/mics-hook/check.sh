#!/usr/bin/env bash
# Formats, lints and tests this SDK. The test of the consumer needs Java and Maven for a broker and says so without them.
set -euo pipefail
cd "$(dirname "$0")/../../.."
command -v cargo >/dev/null || { echo "SKIP sdk-rust-hook: cargo is missing"; exit 0; }
cargo fmt -p mics-hook --check
cargo clippy -q -p mics-hook --all-features --all-targets -- -D warnings
cargo test -q -p mics-hook --all-features
cargo package -q -p mics-hook --list --allow-dirty >/dev/null
echo "sdk-rust-hook: fine"
