#!/bin/sh
# Makes everything that a cluster of gateways needs in mkat, by its API; run it again after adding a node, nothing is made twice.
#
#   MKAT_URL=https://watch.example.org MKAT_PASSWORD=... mkat/deploy/presets/gateway.sh node-1 node-2 node-3
#
# For each node a service `gateway/<node>` with a heartbeat (see beat.sh), and two receivers for Alertmanager:
# `gateway cluster` makes a service per kind of alert, `gateway tenants` one per tenant, from the label `tenant`.
# The watchdog of the first one tells when Prometheus or Alertmanager themselves have died.
#
# Prints lines of NAME VALUE: `node-1.heartbeat URL`, `node-1.service ID`, `cluster.alertmanager URL`, `tenants.alertmanager URL`.
# Further settings: MKAT_USERNAME (admin), INTERVAL and GRACE of heartbeats (30 and 60 s), SEVERITY of a lost node (2, High),
# WATCHDOG (600 s of silence). Needs curl and jq. Exit status: 0 done, 1 mkat refused or was not reached, 2 wrong usage.
set -eu

if [ $# -eq 0 ] || [ -z "${MKAT_URL:-}" ] || [ -z "${MKAT_PASSWORD:-}" ]; then
  sed -n '2,/^set /{/^set /d;s/^# \{0,1\}//p;}' "$0" >&2
  exit 2
fi
for tool in curl jq; do command -v "$tool" >/dev/null || { echo "gateway.sh: $tool is missing" >&2; exit 2; }; done
api=${MKAT_URL%/}/api/v1

# call METHOD PATH [BODY]: prints the answer. The password goes by standard input, where no other process sees it.
call() {
  jq -nr --arg user "${MKAT_USERNAME:-admin}:$MKAT_PASSWORD" '"user = \($user | tojson)"' |
    curl -sS -m 20 -K - -X "$1" -H 'Content-Type: application/json' ${3:+--data-raw "$3"} "$api$2"
}

# The answer on standard input if jq's test $1 holds, else the end.
demand() {
  answer=$(cat)
  printf '%s' "$answer" | jq -e "$1" >/dev/null 2>&1 || { echo "gateway.sh: mkat answered: $answer" >&2; exit 1; }
  printf '%s' "$answer"
}

node_service() {
  name=gateway/$1
  body=$(jq -n --arg name "$name" --argjson severity "${SEVERITY:-2}" --argjson interval "${INTERVAL:-30}" --argjson grace "${GRACE:-60}" \
    '{name: $name, severity: $severity, monitors: [{type: 1, intervalSeconds: $interval, gracePeriodSeconds: $grace}]}')
  made=$(call POST /services "$body" | demand '.id or .code == "SERVICE_NAME_TAKEN"')
  if [ "$(printf '%s' "$made" | jq -r '.code // ""')" = SERVICE_NAME_TAKEN ]; then
    made=$(call GET "/services?pageSize=100&search=$(jq -rn --arg name "$name" '$name | @uri')" |
      jq --arg name "$name" '.items[] | select(.name == $name)' | demand .id)
  fi
  printf '%s' "$made" | jq -r --arg node "$1" \
    '"\($node).service \(.id)", (first(.monitors[] | select(.type == 1)) | "\($node).heartbeat \(.heartbeatUrl)")'
}

receiver() {
  known=$(call GET /alertmanager/receivers | demand 'type == "array"' | jq --arg name "$2" 'first(.[] | select(.name == $name)) // empty')
  if [ -z "$known" ]; then
    body=$(jq -n --arg name "$2" --arg template "$3" --arg alert "$4" --argjson seconds "${WATCHDOG:-600}" \
      '{name: $name, serviceTemplate: $template, watchdogAlert: $alert, watchdogSeconds: $seconds}')
    known=$(call POST /alertmanager/receivers "$body" | demand .url)
  fi
  printf '%s' "$known" | jq -r --arg key "$1" '"\($key).alertmanager \(.url)"'
}

for node in "$@"; do node_service "$node"; done
receiver cluster 'gateway cluster' 'alerts/{{alertname}}' Watchdog
receiver tenants 'gateway tenants' 'tenant/{{tenant}}' ''
