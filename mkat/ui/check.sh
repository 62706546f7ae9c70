#!/bin/sh
# Types, lint, unit tests and build of the page; fails when the committed dist is not what the sources build.
set -eu
cd "$(dirname "$0")"
if ! command -v npm >/dev/null 2>&1; then
  echo "SKIP mkat-ui: npm is missing"
  exit 0
fi
# The versions of the lock file. Not `npm ci`: it refuses a lock file that was written where the registry lacks the binaries
# of other platforms.
npm install --no-save --no-fund --no-audit
npm run --silent types
npm run --silent lint
npm run --silent test

built=$(mktemp -d)
trap 'rm -rf "$built"' EXIT
npx vite build --outDir "$built/dist" --emptyOutDir --logLevel warn
if ! diff -r dist "$built/dist" >/dev/null; then
  echo "mkat/ui/dist is not what the sources build: npm run build, then commit dist" >&2
  diff -rq dist "$built/dist" >&2 || true
  exit 1
fi
echo "mkat-ui: fine"
