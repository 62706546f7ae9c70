#!/usr/bin/env bash
# Measures the events of one node with one broker on this machine: events per second through the sink, what a chat notices of a
# broker that hangs, and the memory that waiting events take. Prints a Markdown table. Needs java, mvn and python3.
# Usage: bench/events.sh [path of mics]; TEST_FLAGS= measures the sink unoptimised, which spares a build
set -u
here=$(cd "$(dirname "$0")" && pwd)
MICS=${1:-${CARGO_TARGET_DIR:-$here/../target}/release/mics}
GW=${GW_PORT:-18780} HOOK=${HOOK_PORT:-18781} ROUNDS=${ROUNDS:-5} SECONDS_EACH=${SECONDS_EACH:-10}
[ -x "$MICS" ] || { echo "no binary at $MICS: cargo build --release" >&2; exit 2; }
work=$(mktemp -d)
hook='' gateway='' broker=''
finish() {
  # shellcheck disable=SC2086
  kill $gateway $hook 2>/dev/null
  "$here/../scripts/kafka.sh" stop "$work/kafka" >/dev/null 2>&1
  wait 2>/dev/null
  rm -rf "$work"
}
trap finish EXIT

ready() { for _ in $(seq 500); do curl -sf "http://127.0.0.1:$1/readyz" >/dev/null && return; sleep 0.01; done; return 1; }
metric() { curl -s "http://127.0.0.1:$GW/metrics" | awk -v name="$1" 'index($1, name) == 1 {n += $2} END {printf "%d\n", n}'; }
rss_kb() { awk -v name="$1:" '$1 == name {print $2}' "/proc/$gateway/status"; }
load() { timeout 120 "$MICS" load --url "ws://127.0.0.1:$GW/ws" --tenantId t1 --payloadBytes 128 --json "$@" 2>/dev/null | tail -1; }
# Appends a line: phase, the report, MB of resident memory before and at its peak, events refused and left waiting.
phase() {
  local name=$1 before dropped report; shift
  dropped=$(metric mics_mq_dropped_total)
  echo 5 >"/proc/$gateway/clear_refs"
  before=$(rss_kb VmRSS)
  report=$(load --connections 100 --sendQpsPerConn 10 --mode single-chat --warmupSeconds 2 --durationSeconds "$SECONDS_EACH")
  echo "{\"phase\": \"$name\", \"before\": $before, \"peak\": $(rss_kb VmHWM), \"refused\": $(($(metric mics_mq_dropped_total) - dropped)), \"waiting\": $(metric mics_mq_pending), \"load\": ${report:-null}}" >>"$work/lines"
}

for _ in $(seq "$ROUNDS"); do
  # shellcheck disable=SC2086
  (cd "$here/.." && timeout 300 cargo test -q ${TEST_FLAGS---release} --test live_kafka throughput -- --ignored --nocapture 2>/dev/null) |
    awk '/events\/s/ {print $1}' >>"$work/rates"
done

started=$("$here/../scripts/kafka.sh" start "$work/kafka") || exit $?
bootstrap=${started#bootstrap=} bootstrap=${bootstrap%% *} broker=$(cat "$work/kafka/pid")
PORT=$HOOK HOOK_BASE_URL="http://127.0.0.1:$HOOK" "$MICS" hookmock >"$work/hook.log" 2>&1 & hook=$!
ready "$HOOK" || { cat "$work/hook.log" >&2; exit 1; }
PORT=$GW BIND_ADDRESS=127.0.0.1 NODE_ID=bench LOG_LEVEL=warn HOOK_MAX_CONCURRENCY=512 HOOK_QUEUE_TIMEOUT_MS=1000 \
  KAFKA__BOOTSTRAP_SERVERS=$bootstrap TENANT_AUTH_MAP="{\"t1\":\"http://127.0.0.1:$HOOK\"}" \
  TENANT_HOOK_SECRETS='{"t1":"dev-secret-t1"}' "$MICS" gateway >"$work/gateway.log" 2>&1 & gateway=$!
ready "$GW" || { cat "$work/gateway.log" >&2; exit 1; }
load --connections 100 --sendQpsPerConn 10 --mode single-chat --durationSeconds 3 >/dev/null
for _ in $(seq "$ROUNDS"); do
  phase "broker answers"
  kill -STOP "$broker"
  phase "broker hangs"
  kill -CONT "$broker"
  for _ in $(seq 300); do [ "$(metric mics_mq_pending)" -gt 0 ] || break; sleep 0.2; done
done
echo "left waiting: $(metric mics_mq_pending); published $(metric 'mics_mq_published_total'), dead letters $(metric mics_mq_dlq_total), refused or lost $(metric mics_mq_dropped_total)"
[ -z "${KEEP_LINES:-}" ] || cp "$work/lines" "$work/rates" "$KEEP_LINES"

python3 - "$work/lines" "$work/rates" <<'PY'
import json, statistics, sys
lines = [json.loads(line) for line in open(sys.argv[1])]
rates = [int(line) for line in open(sys.argv[2])]
# Lowest and highest in brackets.
middle = lambda values: f"{statistics.median(values):.2f} ({min(values):.2f} to {max(values):.2f})"
print("| what | median (lowest to highest of the runs) |\n|---|---|")
if rates:
    print(f"| events/s through the sink, confirmed (300-byte bodies, 10 tenants) | {statistics.median(rates):.0f} ({min(rates)} to {max(rates)}) |")
p99 = {}
for name in ("broker answers", "broker hangs"):
    phases = [line for line in lines if line["phase"] == name and line["load"]]
    loads = [line["load"] for line in phases]
    p99[name] = [load["delivery"]["p99_us"] / 1e3 for load in loads]
    print(f"| {name}: delivery p50 ms | {middle([load['delivery']['p50_us'] / 1e3 for load in loads])} |")
    print(f"| {name}: delivery p99 ms | {middle(p99[name])} |")
    print(f"| {name}: ack p99 ms | {middle([load['ack']['p99_us'] / 1e3 for load in loads])} |")
    print(f"| {name}: messages sent, not SENT, lost | {sum(l['send_ok'] for l in loads)}, {sum(l['ack_fail'] for l in loads)}, {sum(l['lost'] for l in loads)} |")
    print(f"| {name}: peak of resident memory above that before, MB | {middle([(line['peak'] - line['before']) / 1024 for line in phases])} |")
    print(f"| {name}: events waiting at the end, refused | {middle([line['waiting'] for line in phases])}, {middle([line['refused'] for line in phases])} |")
pairs = [down / up for up, down in zip(p99["broker answers"], p99["broker hangs"])]
print(f"| delivery p99, broker hangs / answers, of neighbouring runs | {middle(pairs)} |")
print(f"| the same of the medians | {statistics.median(p99['broker hangs']) / statistics.median(p99['broker answers']):.2f} |")
PY
