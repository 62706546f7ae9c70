#!/usr/bin/env bash
# Measures one-to-one traffic with and without messages to a group of MEMBERS beside it, and the gateway's memory: member
# list at once, in pages, and kept. Prints a Markdown table. Usage: bench/large_group.sh [path of mics]
set -u
MICS=${1:-${CARGO_TARGET_DIR:-target}/release/mics}
GW=${GW_PORT:-18495} HOOK=${HOOK_PORT:-18496} MEMBERS=${MEMBERS:-100000} ONLINE=${ONLINE:-3000} PAGE=${PAGE:-5000}
RATE=${RATE:-5} GROUP_RATE=${GROUP_RATE:-1} SECONDS_EACH=${SECONDS_EACH:-15}
[ -x "$MICS" ] || { echo "no binary at $MICS: cargo build --release" >&2; exit 2; }
ulimit -n "$(ulimit -Hn)"
work=$(mktemp -d)
pids=()
trap 'kill "${pids[@]}" 2>/dev/null; rm -rf "$work"' EXIT

ready() { for _ in $(seq 200); do curl -sf "http://127.0.0.1:$1/readyz" >/dev/null && return; sleep 0.01; done; return 1; }
memory() { awk -v what="$1:" '$1 == what {print $2}' "/proc/$gateway/status"; }
# The members online are users u1 to u$ONLINE; the one-to-one traffic and the group's sender are further devices of some.
load() { timeout 120 "$MICS" load --url "ws://127.0.0.1:$GW/ws" --tenantId t1 --sourceAddresses 2 --json "$@" 2>/dev/null | tail -1; }
single() { load --devicePrefix single- --connections 200 --durationSeconds "$SECONDS_EACH" --warmupSeconds 2 --mode single-chat --sendQpsPerConn "$RATE" --payloadBytes 128; }
group() { load --devicePrefix group- --connections 1 --durationSeconds $((SECONDS_EACH + 2)) --mode group-chat --groupId "range-$MEMBERS" --sendQpsPerConn "$GROUP_RATE" --payloadBytes 128; }
field() { python3 -c 'import json,sys; v=json.loads(sys.argv[1])
for k in sys.argv[2].split("."): v=v[k]
print(v if isinstance(v, int) and not k.endswith("_us") else "%.2f" % (v / 1000))' "$1" "$2" 2>/dev/null || echo '?'; }
# Starts the high-water mark of resident memory anew.
settle() { echo 5 >"/proc/$gateway/clear_refs"; before=$(memory VmRSS); }
row() { echo "| $1 | $(field "$2" delivery.count), $(field "$2" lost) | $(field "$2" delivery.p50_us) / $(field "$2" delivery.p99_us) | $3 | $(( before / 1024 )) + $(( ($(memory VmHWM) - before) / 1024 )) |"; }

measure() { # name, the hook's policy
  PORT=$HOOK HOOK_BASE_URL="http://127.0.0.1:$HOOK" HOOK_TENANT_POLICIES="{\"t1\":$2}" \
    "$MICS" hookmock >"$work/hook.log" 2>&1 & local hook=$!; pids+=("$hook")
  ready "$HOOK" || { cat "$work/hook.log" >&2; exit 1; }
  # The breaker is held closed: a busy machine that misses the 150 ms must not turn into unchecked messages.
  PORT=$GW NODE_ID=bench LOG_LEVEL=warn HOOK_MAX_CONCURRENCY=512 HOOK_QUEUE_TIMEOUT_MS=1000 HOOK_BREAKER_FAILURE_THRESHOLD=100 \
    HOOK_BREAKER_OPEN_MS=0 GROUP_OFFLINE_BUFFER_MAX_USERS=64 \
    TENANT_AUTH_MAP="{\"t1\":\"http://127.0.0.1:$HOOK\"}" TENANT_HOOK_SECRETS='{"t1":"dev-secret-t1"}' \
    "$MICS" gateway >"$work/gateway.log" 2>&1 & gateway=$!; pids+=("$gateway")
  ready "$GW" || { cat "$work/gateway.log" >&2; exit 1; }
  load --devicePrefix online- --connections "$ONLINE" --rampSeconds 5 --durationSeconds 300 --mode connect-only --heartbeatSeconds 10 >/dev/null & local online=$!
  sleep 7
  single >/dev/null # allocator and pools are warm from here on
  settle
  row "$1: alone" "$(single)" -
  settle
  group >"$work/group.json" & local sender=$!
  local beside groups
  beside=$(single)
  wait "$sender"
  groups=$(cat "$work/group.json")
  row "$1: beside the group" "$beside" "$(field "$groups" ack_ok), $(field "$groups" ack_fail); $(field "$groups" ack.p50_us) / $(field "$groups" ack.p99_us)"
  echo "$1: members listed, hook calls for members, calls degraded: $(curl -s "http://127.0.0.1:$GW/metrics" | awk '
    /^mics_group_members_total/{m+=$2} /^mics_hook_requests_total.*GetGroupMembers/{c+=$2} /^mics_hook_degraded_total/{d+=$2}
    END{print m+0 ", " c+0 ", " d+0}')" >>"$work/notes"
  kill "$online" "$gateway" "$hook"
  wait "$online" "$gateway" "$hook" 2>/dev/null
}

echo "Machine: $(nproc) cores, load generator and hook mock on the same cores, load $(cut -d' ' -f1-3 /proc/loadavg); $(date -u +%F)"
echo "$MEMBERS members, $ONLINE of them online, $GROUP_RATE group message(s)/s; $((200 * RATE)) one-to-one messages/s; $SECONDS_EACH s each"
echo
echo "| what | one-to-one delivered, lost | p50 / p99 ms | group messages SENT, FAILED; ack p50 / p99 ms | resident MB before + peak growth |"
echo "|---|---|---|---|---|"
measure "list at once" '{}'
measure "pages of $PAGE" "{\"groupPageSize\":$PAGE}"
measure "pages of $PAGE, kept 60 s" "{\"groupPageSize\":$PAGE,\"groupCacheTtlSeconds\":60}"
echo
cat "$work/notes"
