#!/usr/bin/env bash
# Measures MICS beside Socket.IO, Nchan and (a floor without hook) Bun: the same checked messages, the same hook, the
# same load generator, in turns. Prints a Markdown table. Needs node, npm, nginx and libnginx-mod-nchan.
# Usage: bench/peers.sh [path of mics]
set -u
here=$(cd "$(dirname "$0")" && pwd)/peers
target=${CARGO_TARGET_DIR:-$here/../../target}
MICS=${1:-$target/release/mics}
PORT=${PORT:-18590} HOOK=${HOOK_PORT:-18591} MEMBERS=${MEMBERS:-1000}
SERVERS=${SERVERS:-mics socketio nchan bun} RATES=${RATES:-500 1000 2000 5000 10000} ROUNDS=${ROUNDS:-3}
GROUP_RATES=${GROUP_RATES:-10} IDLE=${IDLE:-2000} SECONDS_EACH=${SECONDS_EACH:-8} WARM_UP=${WARM_UP:-3}
REPEAT_UNTIL=${REPEAT_UNTIL:-1200}
[ -x "$MICS" ] || { echo "no binary at $MICS: cargo build --release" >&2; exit 2; }
ulimit -n "$(ulimit -Hn)"
export CARGO_TARGET_DIR="$target"
(cd "$here" && cargo build --release --quiet) || exit 2
[ -d "$here/node_modules" ] || (cd "$here" && npm ci --no-audit --no-fund >&2) || exit 2
peers=$target/release/peers
work=$(mktemp -d)
lines=${LINES_FILE:-$work/lines}
: >"$lines"
server='' stub=''
trap 'kill $server $stub 2>/dev/null; wait 2>/dev/null; rm -rf "$work"' EXIT

ready() { for _ in $(seq 500); do curl -sf -o /dev/null "http://127.0.0.1:$1$2" && return; sleep 0.02; done; return 1; }

answers() { for _ in $(seq 500); do curl -s -o /dev/null "http://127.0.0.1:$1$2" && return; sleep 0.02; done; return 1; }

# MICS's circuit breaker stays closed here: open, it would stop asking the hook, and the work were not equal any more.
start() {
  case $1 in
    mics) PORT=$PORT BIND_ADDRESS=127.0.0.1 NODE_ID=bench LOG_LEVEL=warn HOOK_MAX_CONCURRENCY=512 \
      HOOK_QUEUE_TIMEOUT_MS=1000 HOOK_BREAKER_FAILURE_THRESHOLD=100 HOOK_BREAKER_OPEN_MS=0 TENANT_AUTH_MAP="{\"t1\":\"http://127.0.0.1:$HOOK\"}" \
      TENANT_HOOK_SECRETS='{"t1":"dev-secret-t1"}' "$MICS" gateway >"$work/$1.log" 2>&1 & ;;
    socketio) NODE_ENV=production node "$here/socketio.js" "$PORT" "$HOOK" >"$work/$1.log" 2>&1 & ;;
    nchan) sed "s|@PORT@|$PORT|; s|@HOOK@|$HOOK|; s|@DIR@|$work|" "$here/nchan.conf" >"$work/nginx.conf"
      nginx -p "$work" -c "$work/nginx.conf" >"$work/$1.log" 2>&1 & ;;
    bun) "$here/node_modules/.bin/bun" "$here/bun.js" "$PORT" >"$work/$1.log" 2>&1 & ;;
  esac
  server=$!
  case $1 in
    mics) ready "$PORT" /readyz ;;
    # Any answer: without a transport that it knows Socket.IO says 400.
    socketio) answers "$PORT" /socket.io/ ;;
    *) ready "$PORT" /ready ;;
  esac || { cat "$work/$1.log" >&2; return 1; }
}

stop() { kill "$server" 2>/dev/null; wait "$server" 2>/dev/null; server=''; }

# A server of its own for each measurement, so that none inherits another's backlog or memory.
once() {
  local kind=$1 name=$2; shift 2
  start "$name" || { stop; return 1; }
  case $kind in
    idle) timeout 90 "$peers" idle "$name" "$PORT" "$server" "$@" ;;
    *) timeout 90 "$peers" "$kind" "$name" "$PORT" "$HOOK" "$stub" "$server" "$@" "$SECONDS_EACH" "$WARM_UP" ;;
  esac >"$work/figures"
  [ -s "$work/figures" ] && echo "$(cat "$work/figures") degraded=$(degraded "$name")"
  stop
}

# Messages that MICS let pass because their check failed or took longer than its 150 ms; the hook may have seen them.
degraded() { [ "$1" != mics ] || curl -s "http://127.0.0.1:$PORT/metrics" | awk '/^mics_hook_degraded_total/{n+=$2} END{print n+0}'; }

# Again, while there is time for it, when the rest of the machine used more than a quarter of a core meanwhile.
one() {
  local line
  for _ in 1 2 3; do
    once "$@" >"$work/line" || return
    [ -s "$work/line" ] || return
    line="$(cat "$work/line") round=$round"
    echo "$line" >&2
    awk -v line="$line" 'BEGIN { exit !(match(line, / others=[0-9.]+/) && substr(line, RSTART + 8, RLENGTH - 8) > 0.25) }' || break
    [ "$SECONDS" -lt "$REPEAT_UNTIL" ] || break
  done
  echo "$line" >>"$lines"
}

# True once a server was late or lost messages at a lower rate of this round.
behind() { grep -q "kind=chat server=$1 .* late=1 .* round=$2\$" "$lines"; }

"$peers" stub "$HOOK" "$MEMBERS" & stub=$!
ready "$HOOK" /count || exit 1
round=0
[ "$IDLE" -eq 0 ] || for name in $SERVERS; do one idle "$name" "$IDLE"; done
for round in $(seq "$ROUNDS"); do
  for rate in $RATES; do
    for name in $SERVERS; do
      behind "$name" "$round" && continue
      one chat "$name" "$rate" 200
    done
  done
  for rate in $GROUP_RATES; do
    for name in $SERVERS; do one group "$name" "$rate" "$MEMBERS"; done
  done
done

echo "Machine: $(nproc) cores ($(awk -F': ' '/model name/{print $2; exit}' /proc/cpuinfo)), $(awk '/MemTotal/{printf "%d GiB", $2/1048576}' /proc/meminfo), Linux $(uname -r), load generator and hook on the same cores; $(date -u +%F)"
echo "Versions: node $(node --version); socket.io $(node -p "require('$here/node_modules/socket.io/package.json').version"); $(nginx -v 2>&1 | cut -d: -f2 | tr -d ' '), libnginx-mod-nchan $(dpkg-query -W -f '${Version}' libnginx-mod-nchan); bun $("$here/node_modules/.bin/bun" --version)"
echo
"$peers" table "$lines"
