#!/bin/sh
# Checks the console: types, unit tests, and that the committed dist/ is what the sources build. Needs node >= 20.19;
# says SKIP without. After a change: npm run build, and commit dist/.
set -eu
cd "$(dirname "$0")"

skip() {
  echo "SKIP console: $1"
  exit 0
}

command -v node >/dev/null && command -v npm >/dev/null || skip "node or npm is missing"
node -e 'const [major, minor] = process.versions.node.split(".").map(Number); process.exit(major > 20 || (major === 20 && minor >= 19) ? 0 : 1)' \
  || skip "node is older than 20.19"

npm ci
npm run typecheck
npm test
built=node_modules/.built
npm run build -- --outDir "$built" --emptyOutDir --logLevel warn
if ! diff -rq dist "$built"; then
  echo "console: dist/ is not what the sources build; run 'npm run build' in console/ and commit it" >&2
  exit 1
fi
echo "console: passed"
