#!/usr/bin/env bash
# Compares a group message to MEMBERS sockets with a bare loop that writes the same frames to as many sockets: same
# machine, same minutes, in turns. Prints a Markdown table. Usage: bench/fanout.sh [path of mics]
set -u
here=$(cd "$(dirname "$0")" && pwd)
MICS=${1:-${CARGO_TARGET_DIR:-$here/../target}/release/mics}
GW=${GW_PORT:-18490} HOOK=${HOOK_PORT:-18491} MEMBERS=${MEMBERS:-10000} ROUNDS=${ROUNDS:-15} BODIES=${BODIES:-128 1024}
WORKERS=${WORKERS:-0} LOOP_THREADS=${LOOP_THREADS:-1}
[ -x "$MICS" ] || { echo "no binary at $MICS: cargo build --release" >&2; exit 2; }
export CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-$here/fanout/target}
cargo build --quiet --release --manifest-path "$here/fanout/Cargo.toml" || exit 1
ulimit -n "$(ulimit -Hn)"
work=$(mktemp -d)
pids=()
trap 'kill "${pids[@]}" 2>/dev/null; rm -rf "$work"' EXIT

ready() { for _ in $(seq 200); do curl -sf "http://127.0.0.1:$1/readyz" >/dev/null && return; sleep 0.01; done; return 1; }

PORT=$HOOK HOOK_BASE_URL="http://127.0.0.1:$HOOK" "$MICS" hookmock >"$work/hook.log" 2>&1 & pids+=($!)
ready "$HOOK" || { cat "$work/hook.log" >&2; exit 1; }
# No unsolicited pongs: a member's socket gets the measured frame and nothing else.
PORT=$GW NODE_ID=bench LOG_LEVEL=warn WORKERS=$WORKERS WS_KEEPALIVE_INTERVAL_SECONDS=0 \
  HOOK_MAX_CONCURRENCY=512 HOOK_QUEUE_TIMEOUT_MS=1000 \
  TENANT_AUTH_MAP="{\"t1\":\"http://127.0.0.1:$HOOK\"}" TENANT_HOOK_SECRETS='{"t1":"dev-secret-t1"}' \
  "$MICS" gateway >"$work/gateway.log" 2>&1 & gateway=$!; pids+=("$gateway")
ready "$GW" || { cat "$work/gateway.log" >&2; exit 1; }

echo "Machine: $(nproc) cores; $MEMBERS members, $ROUNDS rounds each in turns, WORKERS=$WORKERS against a loop on $LOOP_THREADS thread(s); load $(cut -d' ' -f1-3 /proc/loadavg); $(date -u +%F)"
echo
# shellcheck disable=SC2086
timeout 300 "$CARGO_TARGET_DIR/release/fanout" drive "127.0.0.1:$GW" "$gateway" "$MEMBERS" "$ROUNDS" "$LOOP_THREADS" $BODIES
status=$?
[ $status = 0 ] || tail -n 5 "$work/gateway.log" "$work/hook.log" >&2
exit $status
