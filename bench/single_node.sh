#!/usr/bin/env bash
# Measures one node on this machine: checked one-to-one messages, memory per idle connection, memory given back,
# start time and binary size. Prints a Markdown table. Usage: bench/single_node.sh [path of mics]
set -u
MICS=${1:-${CARGO_TARGET_DIR:-target}/release/mics}
GW=${GW_PORT:-18480} HOOK=${HOOK_PORT:-18481} IDLE=${IDLE:-15000}
[ -x "$MICS" ] || { echo "no binary at $MICS: cargo build --release" >&2; exit 2; }
ulimit -n "$(ulimit -Hn)"
work=$(mktemp -d)
pids=()
trap 'kill "${pids[@]}" 2>/dev/null; rm -rf "$work"' EXIT

ready() { for _ in $(seq 200); do curl -sf "http://127.0.0.1:$1/readyz" >/dev/null && return; sleep 0.01; done; return 1; }
rss_kb() { awk '/VmRSS/{print $2}' "/proc/$gateway/status"; }
load() { timeout 180 "$MICS" load --url "ws://127.0.0.1:$GW/ws" --tenantId t1 --sourceAddresses 2 --json "$@" 2>/dev/null | tail -1; }
field() { python3 -c 'import json,sys; v=json.loads(sys.argv[1])
for k in sys.argv[2].split("."): v=v[k]
print(v)' "$1" "$2" 2>/dev/null || echo '?'; }

PORT=$HOOK HOOK_BASE_URL="http://127.0.0.1:$HOOK" "$MICS" hookmock >"$work/hook.log" 2>&1 & pids+=($!)
ready "$HOOK" || { cat "$work/hook.log" >&2; exit 1; }
begin=$(date +%s%N)
PORT=$GW NODE_ID=bench LOG_LEVEL=warn HOOK_MAX_CONCURRENCY=512 HOOK_QUEUE_TIMEOUT_MS=1000 \
  TENANT_AUTH_MAP="{\"t1\":\"http://127.0.0.1:$HOOK\"}" TENANT_HOOK_SECRETS='{"t1":"dev-secret-t1"}' \
  "$MICS" gateway >"$work/gateway.log" 2>&1 & gateway=$!; pids+=("$gateway")
ready "$GW" || { cat "$work/gateway.log" >&2; exit 1; }
start_ms=$(( ($(date +%s%N) - begin) / 1000000 ))

before=$(rss_kb)
load --connections "$IDLE" --rampSeconds 20 --durationSeconds 20 --mode connect-only --heartbeatSeconds 25 >"$work/idle.json" & loader=$!
sleep 35
with=$(rss_kb)
wait "$loader"
sleep 60
after=$(rss_kb)

slow=$(load --connections 200 --durationSeconds 8 --warmupSeconds 2 --mode single-chat --sendQpsPerConn 10 --payloadBytes 128)
fast=$(load --connections 200 --durationSeconds 8 --warmupSeconds 2 --mode single-chat --sendQpsPerConn 52 --payloadBytes 128)
unchecked=$(curl -s "http://127.0.0.1:$GW/metrics" | awk '/^mics_hook_degraded_total/{n+=$2} END{print n+0}')

echo "Machine: $(nproc) cores, $(awk '/MemTotal/{printf "%d GiB", $2/1048576}' /proc/meminfo), load generator and hook mock on the same cores; $(date -u +%F)"
echo
echo "| what | figure |"
echo "|---|---|"
echo "| ready after start | $start_ms ms |"
echo "| binary | $(( $(stat -c %s "$MICS") / 1000000 )) MB |"
echo "| 2,000 checked messages/s, delivery p50 / p99 | $(field "$slow" delivery.p50_us) / $(field "$slow" delivery.p99_us) us |"
echo "| 10,400 checked messages/s offered: delivered, lost, out of order | $(field "$fast" deliveries), $(field "$fast" lost), $(field "$fast" out_of_order) |"
echo "| same, delivery p50 / p99 | $(field "$fast" delivery.p50_us) / $(field "$fast" delivery.p99_us) us |"
echo "| messages that passed unchecked (degraded) | $unchecked |"
echo "| resident bytes per idle connection, $IDLE connections | $(( (with - before) * 1024 / IDLE )) |"
echo "| of that given back 60 s after they left | $(( (with - after) * 100 / (with - before + 1) )) % |"
