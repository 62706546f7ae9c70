#!/usr/bin/env bash
# Tells the story of the support desk with real processes: gateway, back end with its database, Kafka, and clients in
# several languages. Exit status: 0 it went as told (or a line `SKIP support-chat: reason`), 1 it did not.
#
#   examples/support-chat/run.sh        MICS_BIN names the gateway, else target/release/mics (built when it's missing)
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
command -v cargo >/dev/null || { echo "SKIP support-chat: cargo is missing"; exit 0; }
target=${CARGO_TARGET_DIR:-$PWD/target}
if [ -z "${MICS_BIN:-}" ]; then
  export MICS_BIN=$target/release/mics
  [ -x "$MICS_BIN" ] || cargo build --release
fi
cargo build -q -p support-chat
cargo build -q -p mics-client --example console_chat
exec python3 examples/support-chat/story.py "$target"
