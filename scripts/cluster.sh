#!/usr/bin/env bash
# A cluster on one machine: Redis, gateway nodes, the hook mock, and nginx in front of them. Says what to try, and stays
# until Ctrl-C; then everything it started ends. A node that ends is started again 10 s later. Builds the release binary
# when there is none. Honours CARGO_TARGET_DIR; other variables of the gateway (LOG_LEVEL, ...) reach the nodes.
#
#   scripts/cluster.sh [options]
#     --nodes N         gateway nodes, 1 to 16 (3)
#     --port P          public port (8080); the free ports that follow are for the other processes
#     --no-nginx        clients connect to the nodes' own ports
#     --keep-logs DIR   write the logs there and keep them; else they go with the cluster
#
# Exit status: 0 ended by Ctrl-C or SIGTERM, 1 something did not start, 2 wrong usage or a program is missing.
set -u
CALLED_FROM=$PWD
cd "$(dirname "${BASH_SOURCE[0]}")/.." || exit 1

NODES=3 PORT=8080 NGINX=1 LOGS=
RESTART_AFTER=10 STOP_WITHIN=15

refuse() {
  echo "cluster: $1" >&2
  exit 2
}

is_number() { # TEXT FROM TO
  [[ $1 =~ ^[0-9]{1,5}$ ]] && [ "$((10#$1))" -ge "$2" ] && [ "$((10#$1))" -le "$3" ]
}

while [ $# -gt 0 ]; do
  case $1 in
    --nodes | --port | --keep-logs) [ -n "${2:-}" ] || refuse "$1 needs a value" ;;
  esac
  case $1 in
    --nodes) is_number "$2" 1 16 || refuse "--nodes is 1 to 16"; NODES=$2; shift ;;
    --port) is_number "$2" 1 65000 || refuse "--port is 1 to 65000"; PORT=$2; shift ;;
    --keep-logs) LOGS=$(cd "$CALLED_FROM" && mkdir -p "$2" && cd "$2" && pwd) || refuse "cannot write to $2"; shift ;;
    --no-nginx) NGINX=0 ;;
    -h | --help) sed -n '2,/^set /{/^set /d;s/^# \{0,1\}//p;}' "scripts/cluster.sh"; exit 0 ;;
    *) refuse "unknown option $1 (see --help)" ;;
  esac
  shift
done

MICS=${CARGO_TARGET_DIR:-$PWD/target}/release/mics
WORK=$(mktemp -d) || exit 1
LOGS=${LOGS:-$WORK}
# What runs now: name, process id and, for nodes, ports, all at the same place.
NAMES=() PIDS=()
NODE_PORTS=() ADMIN_PORTS=() BACK_AT=()
# A session of their own keeps Ctrl-C from the processes, so that they end in our order. Where the system can, they also
# end when this script is killed.
RUN=()
if command -v setsid >/dev/null; then RUN+=(setsid); fi
if command -v setpriv >/dev/null && setpriv --pdeathsig TERM true 2>/dev/null; then RUN+=(setpriv --pdeathsig TERM); fi

say() { echo "$(date +%T) $*"; }

# start NAME COMMAND...
start() {
  local name=$1
  shift
  ${RUN[@]+"${RUN[@]}"} "$@" </dev/null >>"$LOGS/$name.log" 2>&1 &
  NAMES+=("$name")
  PIDS+=($!)
  # The shell need not report its end; `watch_over` does.
  disown $!
}

running() { kill -0 "$1" 2>/dev/null; }

pid_of() {
  local i
  for i in ${NAMES[@]+"${!NAMES[@]}"}; do
    if [ "${NAMES[$i]}" = "$1" ]; then echo "${PIDS[$i]}"; return 0; fi
  done
  return 1
}

# Ends the processes whose name matches the pattern, in order if they do it in time.
end() {
  local i pids=() deadline
  for i in ${NAMES[@]+"${!NAMES[@]}"}; do
    # shellcheck disable=SC2053
    if [[ ${NAMES[$i]} == $1 ]]; then pids+=("${PIDS[$i]}"); unset "NAMES[$i]" "PIDS[$i]"; fi
  done
  [ "${#pids[@]}" -gt 0 ] || return 0
  kill "${pids[@]}" 2>/dev/null
  deadline=$((SECONDS + STOP_WITHIN))
  for i in "${pids[@]}"; do
    while running "$i" && [ "$SECONDS" -lt "$deadline" ]; do sleep 0.1; done
    running "$i" && kill -KILL "$i" 2>/dev/null
  done
}

clean_up() {
  trap '' INT TERM HUP
  # Nodes first: they say good-bye to clients, Redis and peers.
  end 'node-*'
  end '*'
  rm -rf "$WORK"
}
trap clean_up EXIT
trap 'echo; say "stopping"; exit 0' INT TERM HUP

# take_port: TAKEN is the next port on which nobody listens.
take_port() {
  while (exec 3<>"/dev/tcp/127.0.0.1/$NEXT_PORT") 2>/dev/null; do NEXT_PORT=$((NEXT_PORT + 1)); done
  TAKEN=$NEXT_PORT
  NEXT_PORT=$((NEXT_PORT + 1))
}

# answers PORT REQUEST TEXT: the first line of the answer contains TEXT.
answers() {
  local line
  line=$( (exec 3<>"/dev/tcp/127.0.0.1/$1" && printf '%b' "$2" >&3 && IFS= read -r -t 2 line <&3 && echo "$line") 2>/dev/null)
  [[ $line == *"$3"* ]]
}

http_ok() { answers "$1" "GET $2 HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n" ' 200 '; }

# wait_for NAME CHECK...: exits with the log when the process ends, or the check fails for 20 s.
wait_for() {
  local name=$1 pid deadline=$((SECONDS + 20))
  shift
  pid=$(pid_of "$name")
  until "$@"; do
    if ! running "$pid" || [ "$SECONDS" -ge "$deadline" ]; then
      echo "cluster: $name does not start:" >&2
      tail -n 20 "$LOGS/$name.log" >&2
      exit 1
    fi
    sleep 0.1
  done
}

find_programs() {
  REDIS=$(command -v redis-server || command -v valkey-server) ||
    refuse "redis-server is missing (on Debian: apt-get install redis-server)"
  if [ "$NGINX" = 1 ] && ! PATH=$PATH:/usr/sbin command -v nginx >/dev/null; then
    echo "cluster: !!! nginx is missing (on Debian: apt-get install nginx). Going on WITHOUT it:" >&2
    echo "cluster: !!! no common port, and a client that loses its node has to choose another by itself." >&2
    NGINX=0
  fi
  [ -x "$MICS" ] && return
  echo "cluster: building $MICS"
  # In the background, so that a signal is answered at once.
  cargo build --release </dev/null &
  NAMES=(build) PIDS=($!)
  wait $! || exit 1
  NAMES=() PIDS=()
}

choose_ports() {
  local i
  NEXT_PORT=$PORT
  take_port
  if [ "$NGINX" = 1 ]; then
    [ "$TAKEN" = "$PORT" ] || refuse "port $PORT is taken: choose another with --port"
  else
    NEXT_PORT=$TAKEN
  fi
  for ((i = 1; i <= NODES; i++)); do take_port; NODE_PORTS[i]=$TAKEN; done
  for ((i = 1; i <= NODES; i++)); do take_port; ADMIN_PORTS[i]=$TAKEN; done
  take_port; HOOK_PORT=$TAKEN
  take_port; REDIS_PORT=$TAKEN
}

start_node() {
  start "node-$1" env PORT="${NODE_PORTS[$1]}" BIND_ADDRESS=127.0.0.1 GRPC_PORT=0 ADMIN_PORT="${ADMIN_PORTS[$1]}" \
    NODE_ID="node-$1" PUBLIC_ENDPOINT="http://127.0.0.1:${NODE_PORTS[$1]}" CLUSTER_GRPC_TOKEN="$GRPC_TOKEN" \
    REDIS__CONNECTION="127.0.0.1:$REDIS_PORT" DRAIN_TIMEOUT_SECONDS=3 \
    TENANT_AUTH_MAP="{\"t1\":\"http://127.0.0.1:$HOOK_PORT\"}" TENANT_HOOK_SECRETS='{"t1":"dev-secret-t1"}' \
    "$MICS" gateway
}

start_nginx() {
  local template servers='' i globals="daemon off; pid $WORK/nginx.pid;"
  for ((i = 1; i <= NODES; i++)); do
    servers+="server 127.0.0.1:${NODE_PORTS[i]} max_fails=3 fail_timeout=5s; "
  done
  template=$(<deploy/nginx/mics.conf.template)
  template=${template//"\${MICS_LISTEN}"/127.0.0.1:$PORT}
  template=${template//"\${MICS_SERVERS}"/$servers}
  template=${template//"\${MICS_PAGE}"/\"$PWD/src/dev/page\"}
  mkdir -p "$WORK/nginx/conf.d"
  cp deploy/nginx/nginx.conf "$WORK/nginx/"
  echo "$template" >"$WORK/nginx/conf.d/mics.conf"
  for i in client_body proxy fastcgi uwsgi scgi; do
    echo "${i}_temp_path $WORK/nginx/$i;"
  done >"$WORK/nginx/conf.d/temp.conf"
  # Started by root, its workers would else be somebody who may not read the chat page.
  [ "$(id -u)" -ne 0 ] || globals="user root; $globals"
  start nginx env PATH="$PATH:/usr/sbin" nginx -e stderr -p "$WORK/nginx/" -c "$WORK/nginx/nginx.conf" -g "$globals"
}

start_all() {
  local i
  GRPC_TOKEN=$(od -An -N16 -tx1 /dev/urandom | tr -d ' \n')
  start redis "$REDIS" --port "$REDIS_PORT" --bind 127.0.0.1 --save '' --appendonly no --dir "$WORK"
  start hookmock env PORT="$HOOK_PORT" HOOK_BASE_URL="http://127.0.0.1:$HOOK_PORT" "$MICS" hookmock
  wait_for redis answers "$REDIS_PORT" 'PING\r\n' PONG
  wait_for hookmock http_ok "$HOOK_PORT" /readyz
  for ((i = 1; i <= NODES; i++)); do start_node "$i"; done
  for ((i = 1; i <= NODES; i++)); do wait_for "node-$i" http_ok "${NODE_PORTS[i]}" /readyz; done
  [ "$NGINX" = 1 ] || return 0
  start_nginx
  wait_for nginx http_ok "$PORT" /
}

print_processes() {
  local i
  printf '  %-9s %-7s %s\n' process pid address
  if [ "$NGINX" = 1 ]; then printf '  %-9s %-7s %s\n' nginx "$(pid_of nginx)" "ws://127.0.0.1:$PORT/ws"; fi
  for ((i = 1; i <= NODES; i++)); do
    printf '  %-9s %-7s %s\n' "node-$i" "$(pid_of "node-$i")" \
      "ws://127.0.0.1:${NODE_PORTS[i]}/ws  http://127.0.0.1:${NODE_PORTS[i]}/metrics  http://127.0.0.1:${ADMIN_PORTS[i]}/debug/actors"
  done
  printf '  %-9s %-7s %s\n' hookmock "$(pid_of hookmock)" "http://127.0.0.1:$HOOK_PORT"
  printf '  %-9s %-7s %s\n' redis "$(pid_of redis)" "redis-cli -p $REDIS_PORT"
}

print_ideas() {
  local public=$PORT victim=$((NODES < 2 ? 1 : 2)) then='come back on other nodes'
  [ "$NODES" -gt 1 ] || then='come back with it'
  if [ "$NGINX" = 0 ]; then public=${NODE_PORTS[1]} then='have to choose another node'; fi
  echo
  echo "Try, in another terminal:"
  if [ "$NGINX" = 1 ]; then
    echo "  Chat:         http://127.0.0.1:$PORT/?user=u1 in one tab, ?user=u2 in another; the page names its node"
  fi
  echo "  Load:         $MICS load --url ws://127.0.0.1:$public/ws --tenantId t1 \\"
  echo "                  --connections 30 --mode single-chat --sendQpsPerConn 2 --durationSeconds 10"
  echo "  Crash a node: kill -9 $(pid_of "node-$victim")     its clients lose their connection and $then"
  echo "  Drain a node: kill $(pid_of "node-$victim")        its clients get close code 4200 first"
  echo "  (either way node-$victim is back $RESTART_AFTER s later)"
  if [ "$NGINX" = 1 ]; then echo "  Who went where: tail -f $LOGS/nginx.log"; fi
  echo
}

# Reports what ends, and starts nodes again.
watch_over() {
  local i name
  while sleep 0.5; do
    for i in ${NAMES[@]+"${!NAMES[@]}"}; do
      running "${PIDS[$i]}" && continue
      name=${NAMES[$i]}
      # Workers of nginx may have outlived their master.
      kill -KILL -- "-${PIDS[$i]}" 2>/dev/null
      unset "NAMES[$i]" "PIDS[$i]"
      if [[ $name == node-* ]]; then
        say "$name has ended; it is started again in $RESTART_AFTER s"
        BACK_AT[${name#node-}]=$((SECONDS + RESTART_AFTER))
      else
        say "$name has ended and stays away"
      fi
    done
    for i in ${BACK_AT[@]+"${!BACK_AT[@]}"}; do
      [ "$SECONDS" -ge "${BACK_AT[$i]}" ] || continue
      unset "BACK_AT[$i]"
      start_node "$i"
      say "node-$i is started again, pid $(pid_of "node-$i")"
    done
  done
}

ulimit -n "$(ulimit -Hn)" 2>/dev/null
find_programs
choose_ports
start_all
say "a cluster of $NODES; Ctrl-C or \`kill $$\` ends it; logs in $LOGS"
echo
print_processes
print_ideas
watch_over
