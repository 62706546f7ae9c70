#!/usr/bin/env bash
# Judges the WebSocket edge with Autobahn's fuzzing client: groups 1 to 7 and 10 against `examples/ws_echo.rs`, which
# runs the product's own frames and sockets. A case passes with OK, NON-STRICT or INFORMATIONAL, its close likewise.
# Needs Python 2.7 (PYTHON27 names another one); the suite is installed from PyPI into the cache once. Without them:
# SKIP and exit status 0. Else: 0 passed, 1 a case failed or the run broke. Bounded to 10 minutes, building apart.
set -u
cd "$(dirname "$0")/.." || exit 1

CACHE=${XDG_CACHE_HOME:-$HOME/.cache}/mics/autobahn
TARGET=${CARGO_TARGET_DIR:-$PWD/target}
WORK=$(mktemp -d) || exit 1
SERVER=

skip() {
  echo "SKIP autobahn: $1" >&2
  exit 0
}

fail() {
  echo "autobahn: $1" >&2
  exit 1
}

clean_up() {
  if [ -n "$SERVER" ]; then
    kill "$SERVER" 2>/dev/null
    wait "$SERVER" 2>/dev/null
  fi
  rm -rf "$WORK"
}
trap clean_up EXIT
trap 'exit 1' INT TERM

# A python2.7 on the PATH may be a shim that only says what it lacks, so each candidate has to run.
find_python() {
  local python
  for python in "${PYTHON27:-}" python2.7 "${PYENV_ROOT:-$HOME/.pyenv}"/versions/2.7*/bin/python2.7; do
    [ -n "$python" ] || continue
    if [ "$("$python" -c 'print(1)' 2>/dev/null </dev/null)" = 1 ]; then
      PYTHON=$python
      return 0
    fi
  done
  return 1
}

# Installs beside and renames, so that a broken download is never taken for the suite.
install_suite() {
  [ -f "$CACHE/autobahntestsuite/wstest.py" ] && return 0
  echo "autobahn: installing autobahntestsuite" >&2
  rm -rf "$CACHE.new"
  mkdir -p "$CACHE.new" || return 1
  timeout 300 "$PYTHON" -m pip install --disable-pip-version-check --quiet --target "$CACHE.new" autobahntestsuite \
    </dev/null >"$WORK/pip.log" 2>&1 || { tail -n 5 "$WORK/pip.log" >&2; return 1; }
  rm -rf "$CACHE"
  mv "$CACHE.new" "$CACHE"
}

start_server() {
  "$TARGET/debug/examples/ws_echo" 127.0.0.1:0 >"$WORK/server.out" 2>"$WORK/server.log" </dev/null &
  SERVER=$!
  local tries
  for tries in $(seq 100); do
    ADDRESS=$(sed -n 's/^listening on //p' "$WORK/server.out")
    [ -n "$ADDRESS" ] && return 0
    kill -0 "$SERVER" 2>/dev/null || return 1
    sleep 0.1
  done
  return 1
}

find_python || skip "python2.7 missing"
install_suite || skip "autobahntestsuite could not be installed"
cargo build --quiet --example ws_echo || fail "ws_echo does not build"
start_server || fail "ws_echo does not start: $(cat "$WORK/server.log")"

sed -e "s|@URL@|ws://$ADDRESS|" -e "s|@OUT@|$WORK/reports|" tests/autobahn/fuzzingclient.json >"$WORK/spec.json"
echo "autobahn: running against $ADDRESS" >&2
SUITE=$CACHE SPEC=$WORK/spec.json timeout 600 "$PYTHON" tests/autobahn/run.py </dev/null >"$WORK/suite.log" 2>&1
status=$?
if [ "$status" -ne 0 ]; then
  tail -n 20 "$WORK/suite.log" >&2
  fail "the suite ended with status $status (124 = 10 minutes passed)"
fi
kill -0 "$SERVER" 2>/dev/null || fail "ws_echo died: $(tail -n 5 "$WORK/server.log")"
"$PYTHON" tests/autobahn/judge.py "$WORK/reports/index.json"
