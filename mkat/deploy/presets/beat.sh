#!/bin/sh
# One gateway node as a heartbeat of mkat: a loop beside the node (sidecar, or a unit on its machine).
#
#   READY_URL=http://127.0.0.1:8080/readyz HEARTBEAT_URL=https://watch.example.org/heartbeat/TOKEN mkat/deploy/presets/beat.sh
#
# /readyz 200: a heartbeat. 503: the node is draining, which is maintenance: the service is paused for DRAIN_SECONDS (60), and
# goes on as soon as the node is ready again; one that stays away longer is missed. Anything else: silence, so that mkat calls.
# Pausing needs SERVICE_URL (https://watch.example.org/api/v1/services/ID), MKAT_PASSWORD and perhaps MKAT_USERNAME; without
# them a draining node goes on beating, and is missed when it's gone. EVERY (1): seconds between two looks. Needs curl.
set -u
: "${READY_URL:?}" "${HEARTBEAT_URL:?}"
draining=0

# act NAME [BODY]: pause or resume. The password goes by standard input, where no other process sees it.
act() {
  [ -n "${SERVICE_URL:-}" ] && [ -n "${MKAT_PASSWORD:-}" ] || return 0
  password=$(printf '%s' "$MKAT_PASSWORD" | sed 's/[\\"]/\\&/g')
  printf 'user = "%s:%s"\n' "${MKAT_USERNAME:-admin}" "$password" |
    curl -fsS -m 5 -o /dev/null -K - -X POST -H 'Content-Type: application/json' --data-raw "${2:-{\}}" "$SERVICE_URL/$1"
}

beat() { curl -fsS -m 5 -o /dev/null -X POST "$HEARTBEAT_URL"; }

while :; do
  case $(curl -s -m 2 -o /dev/null -w '%{http_code}' "$READY_URL") in
    200)
      if [ "$draining" = 1 ] && act resume; then draining=0; fi
      beat
      ;;
    503)
      if [ -z "${SERVICE_URL:-}" ]; then
        beat
      elif [ "$draining" = 0 ]; then
        until=$(date -u -d "@$(($(date +%s) + ${DRAIN_SECONDS:-60}))" +%Y-%m-%dT%H:%M:%SZ)
        if act pause "{\"until\":\"$until\",\"autoResume\":true}"; then draining=1; fi
      fi
      ;;
  esac
  sleep "${EVERY:-1}"
done
