#!/usr/bin/env bash
# What one connection and one message cost a node, Redis and nobody else: resident memory and processor time, read from
# /proc. Prints a Markdown table for docs/ops/capacity.md. Needs redis-server. Usage: bench/capacity.sh [path of mics]
# CONNECTIONS (12000; 0: leave that out) idle clients with a heartbeat every 10 s; RATES (1000 5000) messages per second over
# 200 clients, on one node, then from one node to another. TLS=on: clients come over TLS to the nodes (needs openssl).
set -u
here=$(cd "$(dirname "$0")" && pwd)
MICS=${1:-${CARGO_TARGET_DIR:-$here/../target}/release/mics}
GW=${GW_PORT:-18720} HOOK=${HOOK_PORT:-18721} REDIS=${REDIS_PORT:-18722} GW2=${GW2_PORT:-18723} TLS=${TLS:-off} CONNECTIONS=${CONNECTIONS:-12000} RATES=${RATES:-1000 5000}
[ -x "$MICS" ] || { echo "no binary at $MICS: cargo build --release" >&2; exit 2; }
command -v redis-server >/dev/null || { echo "needs redis-server" >&2; exit 2; }
ulimit -n "$(ulimit -Hn)"
work=$(mktemp -d)
pids=()
trap 'kill "${pids[@]}" 2>/dev/null; wait 2>/dev/null; rm -rf "$work"' EXIT

ready() { for _ in $(seq 500); do curl -sf "http://127.0.0.1:$1/readyz" >/dev/null && return; sleep 0.02; done; return 1; }
rss_kb() { awk '/VmRSS/{print $2}' "/proc/$1/status"; }
# Processor time of a process in ticks of 10 ms.
ticks() { sed 's/.*) //' "/proc/$1/stat" | awk '{print $12 + $13}'; }
# Where clients come to a node: with TLS 10 ports further.
url() { if [ "$TLS" = on ]; then echo "wss://localhost:$(($1 + 10))/ws"; else echo "ws://127.0.0.1:$1/ws"; fi; }
load() { timeout 180 "$MICS" load --url "$(url "$GW")" --caFile "$ca" --tenantId t1 --sourceAddresses 2 --payloadBytes 256 --json "$@" 2>/dev/null | tail -1; }
figure() { awk "BEGIN {printf \"$1\", $2}"; }

ca=''
if [ "$TLS" = on ]; then
  ca=$work/tls.crt
  openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -noenc -keyout "$work/tls.key" -out "$ca" -days 2 -subj /CN=localhost \
    -addext subjectAltName=DNS:localhost -addext basicConstraints=critical,CA:FALSE 2>"$work/openssl.log" || { cat "$work/openssl.log" >&2; exit 1; }
fi
redis-server --port "$REDIS" --bind 127.0.0.1 --dir "$work" --save '' --appendonly no >"$work/redis.log" 2>&1 & redis=$!; pids+=("$redis")
PORT=$HOOK HOOK_BASE_URL="http://127.0.0.1:$HOOK" "$MICS" hookmock >"$work/hook.log" 2>&1 & pids+=($!)
ready "$HOOK" || { cat "$work/hook.log" >&2; exit 1; }
# Sets `node`.
start_node() {
  local tls=(TLS_PORT=0)
  if [ "$TLS" = on ]; then tls=(TLS_PORT="$(($2 + 10))" TLS_CERT_FILE="$ca" TLS_KEY_FILE="$work/tls.key"); fi
  env "${tls[@]}" PORT="$2" BIND_ADDRESS=127.0.0.1 NODE_ID="$1" PUBLIC_ENDPOINT="http://127.0.0.1:$2" LOG_LEVEL=warn REDIS__CONNECTION="127.0.0.1:$REDIS" \
    HOOK_MAX_CONCURRENCY=512 HOOK_QUEUE_TIMEOUT_MS=1000 TENANT_AUTH_MAP="{\"t1\":\"http://127.0.0.1:$HOOK\"}" \
    TENANT_HOOK_SECRETS='{"t1":"dev-secret-t1"}' "$MICS" gateway >"$work/$1.log" 2>&1 & node=$!; pids+=("$node")
  ready "$2" || { cat "$work/$1.log" >&2; exit 1; }
}
start_node a "$GW"; gateway=$node
# Warm: the first connections also pay for what is made once.
load --connections 200 --durationSeconds 2 --mode heartbeat >/dev/null

echo "Machine: $(nproc) cores ($(awk -F': ' '/model name/{print $2; exit}' /proc/cpuinfo)), everything on the same cores; load $(cut -d' ' -f1 /proc/loadavg); $(date -u +%F)"
echo
echo "| what | figure |"
echo "|---|---|"
idle() {
  before=$(rss_kb "$gateway") redis_before=$(rss_kb "$redis") start=$(ticks "$gateway") redis_start=$(ticks "$redis")
  load --connections "$CONNECTIONS" --rampSeconds 20 --durationSeconds 50 --mode connect-only --heartbeatSeconds 10 >"$work/idle.json" & loader=$!
  sleep 28
  echo "| connections open | $(curl -s "http://127.0.0.1:$GW/metrics" | awk '/^mics_ws_connections\{/{print $2}') |"
  echo "| node: resident bytes per connection, with Redis | $(figure %d "($(rss_kb "$gateway") - $before) * 1024 / $CONNECTIONS") |"
  echo "| Redis: resident bytes per connection | $(figure %d "($(rss_kb "$redis") - $redis_before) * 1024 / $CONNECTIONS") |"
  echo "| node: processor time per connect, /auth included | $(figure '%.0f us' "($(ticks "$gateway") - $start) * 10000 / $CONNECTIONS") |"
  echo "| Redis: processor time per connect | $(figure '%.0f us' "($(ticks "$redis") - $redis_start) * 10000 / $CONNECTIONS") |"
  start=$(ticks "$gateway") redis_start=$(ticks "$redis")
  sleep 30
  echo "| node: cores per 100,000 idle connections, heartbeat every 10 s | $(figure %.2f "($(ticks "$gateway") - $start) / 3000 / $CONNECTIONS * 100000") |"
  echo "| Redis: cores per 100,000 idle connections (leases) | $(figure %.3f "($(ticks "$redis") - $redis_start) / 3000 / $CONNECTIONS * 100000") |"
  wait "$loader"
  sleep 5
}

# Messages per second, then where the recipients are (or nothing: on the same node), and the words for it.
talk() {
  local rate=$1 words=$2 start redis_start report messages spent redis_spent
  shift 2
  start=$(nodes_ticks) redis_start=$(ticks "$redis")
  report=$(load --connections 200 --durationSeconds 10 --mode single-chat --sendQpsPerConn "$((rate / ($# > 0 ? 100 : 200)))" "$@")
  spent=$(($(nodes_ticks) - start)) redis_spent=$(($(ticks "$redis") - redis_start))
  messages=$(python3 -c 'import json,sys; print(json.loads(sys.argv[1])["deliveries"])' "$report")
  echo "| $words: processor time per checked message at $rate/s ($messages delivered) | $(figure '%.0f us' "$spent * 10000 / $messages") |"
  echo "| the same: Redis | $(figure '%.1f us' "$redis_spent * 10000 / $messages") |"
}
nodes_ticks() {
  local each sum=0
  for each in "$gateway" ${second:+"$second"}; do sum=$((sum + $(ticks "$each"))); done
  echo "$sum"
}
second=''

if [ "$CONNECTIONS" -gt 0 ]; then idle; fi
for rate in $RATES; do talk "$rate" "one node"; done
start_node b "$GW2"; second=$node
sleep 3
for rate in $RATES; do talk "$rate" "from node to node, both together" --recipientUrl "$(url "$GW2")"; done
