#!/usr/bin/env bash
# Measures two nodes and one Redis on this machine: delivery from node to node, Redis commands per message, and what a
# node killed under its clients does to the other. Prints a Markdown table. Needs redis-server.
# Usage: bench/cluster.sh [path of mics]
set -u
here=$(cd "$(dirname "$0")" && pwd)
MICS=${1:-${CARGO_TARGET_DIR:-$here/../target}/release/mics}
A=${A_PORT:-18690} B=${B_PORT:-18691} HOOK=${HOOK_PORT:-18692} REDIS=${REDIS_PORT:-18693} HOOK2=${HOOK2_PORT:-18694}
ROUNDS=${ROUNDS:-5} FAST_ROUNDS=${FAST_ROUNDS:-3} STORM_ROUNDS=${STORM_ROUNDS:-3} STORM=${STORM:-5000} STEADY=${STEADY:-30}
STORMS=${STORMS:-calm moved restarted}
# More than the nodes' defaults, so that every message is really checked.
PERMITS=${PERMITS:-512} QUEUE_MS=${QUEUE_MS:-1000}
# Time in which the uninvolved pair is watched after the kill; about as long as the storm.
PAIR_SECONDS=${PAIR_SECONDS:-3} PAIR_RATE=${PAIR_RATE:-200}
[ -x "$MICS" ] || { echo "no binary at $MICS: cargo build --release" >&2; exit 2; }
command -v redis-server >/dev/null || { echo "needs redis-server" >&2; exit 2; }
ulimit -n "$(ulimit -Hn)"
work=$(mktemp -d)
lines=${LINES_FILE:-$work/lines}
: >"$lines"
secrets='{"t1":"dev-secret-t1","t2":"dev-secret-t2"}'
redis='' hook='' hook2='' node_a='' node_b=''
# shellcheck disable=SC2086
trap 'kill $redis $hook $hook2 $node_a $node_b $(jobs -p) 2>/dev/null; wait 2>/dev/null; rm -rf "$work"' EXIT

ready() { for _ in $(seq 500); do curl -sf "http://127.0.0.1:$1/readyz" >/dev/null && return; sleep 0.01; done; return 1; }
load() { timeout --foreground 180 "$MICS" load --url "ws://127.0.0.1:$A/ws" --tenantId "${tenant:-t1}" --sourceAddresses 2 --payloadBytes 128 --json "$@" 2>/dev/null | tail -1; }
across() { load --recipientUrl "ws://127.0.0.1:$B/ws" --connections 200 --mode single-chat "$@"; }

# Sets `node`. Two tenants with a hook mock each: the mock allows a tenant 10,000 messages/s, and the uninvolved pair must
# not wait for the hook of those who come back.
start_node() {
  PORT=$2 BIND_ADDRESS=127.0.0.1 NODE_ID=$1 PUBLIC_ENDPOINT="http://127.0.0.1:$2" LOG_LEVEL=warn REDIS__CONNECTION="127.0.0.1:$REDIS" \
    HOOK_MAX_CONCURRENCY=$PERMITS HOOK_QUEUE_TIMEOUT_MS=$QUEUE_MS TENANT_HOOK_SECRETS=$secrets \
    TENANT_AUTH_MAP="{\"t1\":\"http://127.0.0.1:$HOOK\",\"t2\":\"http://127.0.0.1:$HOOK2\"}" "$MICS" gateway >>"$work/$1.log" 2>&1 & node=$!
  ready "$2" || { cat "$work/$1.log" >&2; exit 1; }
}

metric() { curl -s "http://127.0.0.1:$1/metrics" | awk -v name="$2" 'index($1, name) == 1 {n += $2} END {printf "%d\n", n}'; }
unchecked() { echo $(($(metric "$A" mics_hook_degraded_total) + $(metric "$B" mics_hook_degraded_total))); }
# How /auth ended, as the node at this port counts it.
auths() {
  curl -s "http://127.0.0.1:$1/metrics" | awk -F'[{} ]' '/^mics_hook_requests_total.*op="Auth"/ {match($2, /result="[^"]*"/); n[substr($2, RSTART + 8, RLENGTH - 9)] += $NF} END {for (k in n) print k, n[k]}'
}
as_json() { python3 -c 'import json,sys; print(json.dumps({k: int(float(n)) for k, n in (line.rsplit(" ", 1) for line in sys.stdin)}))'; }
commands() { redis-cli -p "$REDIS" info commandstats | tr -d '\r' | sed -n 's/^cmdstat_\([^:]*\):calls=\([0-9]*\),.*/\1 \2/p'; }

# Processor time in ticks: of the whole machine, and of this script's process group with all that it has reaped.
ticks() {
  local all own group
  group=$(sed 's/.*) //' "/proc/$$/stat" | cut -d' ' -f3)
  all=$(awk '/^cpu /{print $2 + $3 + $4 + $7 + $8 + $9}' /proc/stat)
  own=$(cat /proc/[0-9]*/stat 2>/dev/null | sed 's/.*) //' | awk -v group="$group" '$3 == group {n += $12 + $13 + $14 + $15} END {print n}')
  echo "$all $own $(date +%s%N)"
}

# Appends a line: kind, cores that the rest of the machine used since `began`, the figures.
note() {
  local kind=$1 now others; shift
  read -r -a now <<<"$(ticks)"
  others=$(awk -v all=$((now[0] - began[0])) -v own=$((now[1] - began[1])) -v ns=$((now[2] - began[2])) \
    'BEGIN {n = (all - own) / 100 / (ns / 1e9); printf "%.2f", n < 0 ? 0 : n}')
  echo "$kind $others $*" | tee -a "$lines" >&2
}
begin() { read -r -a began <<<"$(ticks)"; }

steady() {
  local from=$1; shift
  "$@" >"$work/steady.json" & loader=$!
  sleep 6
  commands >"$work/before"; from_count=$(metric "$from" mics_deliveries_total)
  sleep "$STEADY"
  commands >"$work/after"; to_count=$(metric "$from" mics_deliveries_total)
  wait "$loader"
  python3 - "$work/before" "$work/after" "$((to_count - from_count))" <<'PY'
import json, sys
def read(path): return {name: int(n) for name, n in (line.split() for line in open(path))}
before, after = read(sys.argv[1]), read(sys.argv[2])
print(json.dumps({"messages": int(sys.argv[3]), "commands": {k: n - before.get(k, 0) for k, n in after.items()
      if n > before.get(k, 0) and not k.startswith("info") and k != "command|docs"}}))
PY
}

# Node B is killed under its clients; they come back at $1. $2: not for the control, in which nothing is killed.
storm() {
  local back=$1 kill=$2
  load --url "ws://127.0.0.1:$B/ws" --connections "$STORM" --rampSeconds 8 --durationSeconds 30 --heartbeatSeconds 25 \
    --reconnectUrl "ws://127.0.0.1:$back/ws" >"$work/storm.json" & loader=$!
  sleep 14
  tenant=t2 load --connections 2 --mode single-chat --sendQpsPerConn "$PAIR_RATE" --warmupSeconds 2 \
    --durationSeconds "$PAIR_SECONDS" >"$work/pair.json" & pair=$!
  sleep 2
  begin
  if [ "$kill" = yes ]; then
    kill -9 "$node_b"; wait "$node_b" 2>/dev/null
    [ "$back" = "$A" ] || { start_node b "$B"; node_b=$node; }
  fi
  wait "$pair"
  wait "$loader"
  note "$3" "{\"pair\": $(cat "$work/pair.json"), \"storm\": $(cat "$work/storm.json"), \"auths\": $(auths "$back" | as_json)}"
  if [ "$kill" = yes ] && [ "$back" = "$A" ]; then
    start_node b "$B"; node_b=$node
  fi
  sleep 3
}

redis-server --port "$REDIS" --bind 127.0.0.1 --dir "$work" --save '' --appendonly no >"$work/redis.log" 2>&1 & redis=$!
start_hook() { PORT=$1 HOOK_TENANT_SECRETS=$secrets HOOK_BASE_URL="http://127.0.0.1:$1" "$MICS" hookmock >>"$work/hook.log" 2>&1 & }
start_hook "$HOOK"; hook=$!
start_hook "$HOOK2"; hook2=$!
ready "$HOOK" && ready "$HOOK2" || { cat "$work/hook.log" >&2; exit 1; }
start_node a "$A"; node_a=$node
start_node b "$B"; node_b=$node

for _ in $(seq "$ROUNDS"); do
  begin; before=$(unchecked)
  figures=$(across --durationSeconds 8 --warmupSeconds 2 --sendQpsPerConn 20)
  note slow "{\"load\": $figures, \"unchecked\": $(($(unchecked) - before))}"
done
for _ in $(seq "$FAST_ROUNDS"); do
  begin; before=$(unchecked)
  tenant=t2 across --durationSeconds 8 --warmupSeconds 2 --sendQpsPerConn 51 >"$work/t2.json" & t2=$!
  figures=$(across --durationSeconds 8 --warmupSeconds 2 --sendQpsPerConn 51)
  wait "$t2"
  note fast "{\"load\": $figures, \"unchecked\": $(($(unchecked) - before))}"
  note fast "{\"load\": $(cat "$work/t2.json"), \"unchecked\": 0}"
done
if [ "$STEADY" -gt 0 ]; then
  seconds=$((STEADY + 8))
  begin; note busy "$(steady "$A" across --durationSeconds "$seconds" --sendQpsPerConn 20)"
  begin; note idle "$(steady "$A" load --recipientUrl "ws://127.0.0.1:$B/ws" --connections 200 --durationSeconds "$seconds")"
fi
for _ in $(seq "$STORM_ROUNDS"); do
  for kind in $STORMS; do
    case $kind in
      calm) storm "$A" no calm ;;
      moved) storm "$A" yes moved ;;
      restarted) storm "$B" yes restarted ;;
    esac
  done
done

echo "Machine: $(nproc) cores ($(awk -F': ' '/model name/{print $2; exit}' /proc/cpuinfo)), $(awk '/MemTotal/{printf "%d GiB", $2/1048576}' /proc/meminfo), Linux $(uname -r), Redis $(redis-server --version | sed 's/.*v=\([^ ]*\).*/\1/'); nodes, Redis, hook mock and load generator on the same cores; $(date -u +%F)"
echo
python3 "$here/cluster_table.py" "$lines"
