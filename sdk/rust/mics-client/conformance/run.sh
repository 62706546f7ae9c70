#!/bin/sh
# Runs the conformance program that `conformance.json` built.
cd "$(dirname "$0")/../../../.." || exit 1
exec "${CARGO_TARGET_DIR:-target}/debug/examples/conformance"
