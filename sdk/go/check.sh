#!/usr/bin/env bash
# Checks this SDK: format, vet, tests with the race detector, a short fuzz of the decoder, and that the samples build.
set -euo pipefail
cd "$(dirname "$0")"
if ! command -v go >/dev/null; then
  echo "SKIP sdk-go: go is missing"
  exit 0
fi
if ! go list . >/dev/null 2>&1; then
  echo "SKIP sdk-go: $(go version) is older than go.mod asks for"
  exit 0
fi
race=()
# The race detector needs a C compiler.
[ "$(go env CGO_ENABLED)" = 1 ] && command -v "$(go env CC)" >/dev/null && race=(-race)

unformatted=$(gofmt -l .)
[ -z "$unformatted" ] || { echo "not formatted: $unformatted" >&2; exit 1; }
timeout 600 go vet ./...
timeout 600 go test "${race[@]}" -timeout 120s ./...
timeout 120 go test -run xxx -fuzz FuzzDecode -fuzztime 5s .
(cd kafka && timeout 600 go vet ./... && timeout 600 go test "${race[@]}" -timeout 120s ./...)
# Without the race detector: it would compile SQLite a second time.
(cd sqlitestore && timeout 600 go vet ./... && timeout 600 go test -timeout 120s ./...)
(cd samples && timeout 600 go vet ./...)
./conformance/build.sh
echo "sdk-go: ok"
