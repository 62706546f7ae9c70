#!/usr/bin/env bash
# One Kafka broker for trying and testing: KRaft, no ZooKeeper, loopback only, from Maven artifacts. Needs java (11+) and mvn.
#
#   scripts/kafka.sh start [DIR]       start in the background; prints `bootstrap=... pid=... dir=...` when it answers
#   scripts/kafka.sh stop [DIR]        end it and remove its data
#   scripts/kafka.sh run [DIR]         the same in the foreground; ends when its standard input closes (for tests)
#   scripts/kafka.sh resume [DIR]      start a broker again that ended, with its data and ports, in the background
#   scripts/kafka.sh tool CLASS [...]  run one of Kafka's own tools, e.g. kafka.admin.AclCommand
#   scripts/kafka.sh fetch             only fetch the jars
#
# DIR holds data, log and pid; default: $TMPDIR/mics-kafka. Jars are kept in ${XDG_CACHE_HOME:-~/.cache}/mics-kafka.
# KAFKA_PORT (default: a free one) is the plain listener, KAFKA_EXTRA a file whose lines are appended to the
# broker's properties; @DIR@ in it becomes DIR. KAFKA_FORMAT holds further words for the storage tool (--add-scram ...).
# Exit status: 0 done, 1 failed, 3 can't run here (a line `SKIP kafka: reason` says why).
set -euo pipefail

VERSION=${KAFKA_VERSION:-3.9.1}
SLF4J=1.7.36
CACHE=${XDG_CACHE_HOME:-$HOME/.cache}/mics-kafka/$VERSION
COMMAND=${1:-}
DIR=${TMPDIR:-/tmp}/mics-kafka

skip() {
  echo "SKIP kafka: $1" >&2
  exit 3
}

fail() {
  echo "kafka: $1" >&2
  exit 1
}

# One at a time; the others then find the jars there.
fetch() {
  command -v java >/dev/null || skip "java is missing (Debian: default-jre-headless)"
  [ -e "$CACHE/complete" ] && return
  command -v mvn >/dev/null || skip "mvn is missing (Debian: maven)"
  mkdir -p "$(dirname "$CACHE")"
  exec 9>"$(dirname "$CACHE")/lock"
  flock 9
  [ -e "$CACHE/complete" ] || fetch_now
  # The broker must not inherit it.
  exec 9>&-
}

# Into a folder beside the final one, which appears only when it's whole.
fetch_now() {
  local work
  work=$(mktemp -d "$(dirname "$CACHE")/fetch.XXXXXX")
  cat >"$work/pom.xml" <<POM
<project xmlns="http://maven.apache.org/POM/4.0.0">
  <modelVersion>4.0.0</modelVersion>
  <groupId>mics</groupId><artifactId>kafka</artifactId><version>1</version>
  <dependencies>
    <dependency><groupId>org.apache.kafka</groupId><artifactId>kafka_2.13</artifactId><version>$VERSION</version></dependency>
    <dependency><groupId>org.slf4j</groupId><artifactId>slf4j-simple</artifactId><version>$SLF4J</version></dependency>
  </dependencies>
</project>
POM
  if ! timeout 300 mvn -q -B -f "$work/pom.xml" dependency:copy-dependencies -DoutputDirectory="$work/jars" >"$work/log" 2>&1; then
    tail -n 5 "$work/log" >&2
    rm -rf "$work"
    skip "the artifacts of Kafka $VERSION could not be fetched"
  fi
  touch "$work/jars/complete"
  mv -T "$work/jars" "$CACHE" 2>/dev/null || [ -e "$CACHE/complete" ] || fail "can't write $CACHE"
  rm -rf "$work"
}

java_run() {
  exec java -Xmx384m -XX:+UseSerialGC -XX:TieredStopAtLevel=1 -Dorg.slf4j.simpleLogger.defaultLogLevel="${KAFKA_LOG:-warn}" \
    -cp "$CACHE/*" "$@"
}

free_port() {
  local port
  while :; do
    port=$((20000 + RANDOM % 12000))
    (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null || break
  done
  echo "$port"
}

prepare() {
  [ ! -e "$DIR/server.properties" ] || fail "$DIR is in use; stop it first"
  mkdir -p "$DIR"
  local port=${KAFKA_PORT:-$(free_port)} controller
  controller=$(free_port)
  cat >"$DIR/server.properties" <<PROPERTIES
process.roles=broker,controller
node.id=1
controller.quorum.voters=1@127.0.0.1:$controller
listeners=PLAINTEXT://127.0.0.1:$port,CONTROLLER://127.0.0.1:$controller
advertised.listeners=PLAINTEXT://127.0.0.1:$port
controller.listener.names=CONTROLLER
log.dirs=$DIR/data
num.partitions=4
offsets.topic.num.partitions=4
offsets.topic.replication.factor=1
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
share.coordinator.state.topic.replication.factor=1
group.initial.rebalance.delay.ms=0
log.flush.offset.checkpoint.interval.ms=1000
PROPERTIES
  # Of a property named twice the later one holds.
  [ -z "${KAFKA_EXTRA:-}" ] || sed "s#@DIR@#$DIR#g; s#@PORT@#$port#g; s#@CONTROLLER@#$controller#g" "$KAFKA_EXTRA" >>"$DIR/server.properties"
  echo "$port" >"$DIR/port"
  # shellcheck disable=SC2086
  (java_run kafka.tools.StorageTool format -t "MICSMICSMICSMICSMICSMQ" -c "$DIR/server.properties" ${KAFKA_FORMAT:-}) \
    >"$DIR/format.log" 2>&1 || { cat "$DIR/format.log" >&2; fail "the storage could not be formatted"; }
}

# Starts the broker and waits until it answers. Leaves its id in $DIR/pid.
launch() {
  (java_run kafka.Kafka "$DIR/server.properties") >>"$DIR/log" 2>&1 </dev/null &
  local pid=$! tries=600
  # Its end is no news for this shell.
  disown "$pid"
  echo "$pid" >"$DIR/pid"
  until (exec 3<>"/dev/tcp/127.0.0.1/$(cat "$DIR/port")") 2>/dev/null; do
    kill -0 "$pid" 2>/dev/null || { tail -n 20 "$DIR/log" >&2; fail "the broker ended"; }
    tries=$((tries - 1))
    [ "$tries" -gt 0 ] || { kill -KILL "$pid"; fail "the broker did not answer within 60 s; see $DIR/log"; }
    sleep 0.1
  done
  echo "bootstrap=127.0.0.1:$(cat "$DIR/port") pid=$pid dir=$DIR"
}

# By its id, also when it's suspended.
end() {
  local pid tries=100
  [ -e "$DIR/pid" ] || return 0
  pid=$(cat "$DIR/pid")
  if kill -0 "$pid" 2>/dev/null; then
    kill -TERM "$pid" && kill -CONT "$pid"
    while kill -0 "$pid" 2>/dev/null && [ "$tries" -gt 0 ]; do tries=$((tries - 1)); sleep 0.1; done
    kill -KILL "$pid" 2>/dev/null || true
  fi
  rm -f "$DIR/pid"
}

case $COMMAND in
  start | stop | run | resume) DIR=${2:-$DIR} ;;
esac
case $COMMAND in
  fetch) fetch ;;
  start)
    fetch
    prepare
    launch
    ;;
  resume)
    fetch
    launch
    ;;
  stop)
    end
    rm -rf "$DIR"
    ;;
  run)
    fetch
    prepare
    trap 'end; rm -rf "$DIR"' EXIT
    trap 'exit 1' INT TERM
    launch
    cat >/dev/null
    ;;
  tool)
    fetch
    shift
    java_run "$@"
    ;;
  *)
    sed -n '2,/^set /{s/^# \{0,1\}//p;}' "${BASH_SOURCE[0]}"
    exit 1
    ;;
esac
