#!/bin/sh
# Runs the sample server on the framework that is named, as `conformance.json` built it.
cd "$(dirname "$0")/../../../.." || exit 1
exec "${CARGO_TARGET_DIR:-target}/debug/examples/hook_server_$1"
