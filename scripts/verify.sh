#!/usr/bin/env bash
# Sets the machine up and runs every check and test of the repository. On a Debian-like machine, as root, what is missing
# comes from apt; else it is named and the rest goes on. Honours CARGO_TARGET_DIR.
#
#   scripts/verify.sh           everything
#   scripts/verify.sh --quick   formatting, clippy and cargo test; installs nothing
#
# A step that can't run here says `SKIP name: reason`. The closing line is `N passed, N failed, N skipped`, counted in
# steps. Exit status: 0 nothing failed, 1 a step failed, 2 unknown option.
set -u
cd "$(dirname "${BASH_SOURCE[0]}")/.." || exit 1

QUICK=0
for option in "$@"; do
  case $option in
    --quick) QUICK=1 ;;
    -h | --help) sed -n '2,/^set /{s/^# \{0,1\}//p;}' "${BASH_SOURCE[0]}"; exit 0 ;;
    *) echo "verify: unknown option $option (known: --quick, --help)" >&2; exit 2 ;;
  esac
done

# package: command that shows it is there, or none when only dpkg can tell.
PACKAGES="build-essential:make pkg-config:pkg-config zlib1g-dev: libssl-dev: redis-server:redis-server
nginx-light:nginx python3-yaml: python3-venv: default-jre-headless:java maven:mvn faketime:faketime chromium:chromium
shellcheck:shellcheck prometheus:promtool prometheus-alertmanager:amtool redis-tools:redis-cli jq:jq curl:curl"
TARGET=${CARGO_TARGET_DIR:-$PWD/target}
LOG=$(mktemp) || exit 1
trap 'rm -f "$LOG"' EXIT
trap 'exit 1' INT TERM
PASSED=() FAILED=() SKIPPED=() NOTES=()

missing_packages() {
  local entry package command
  for entry in $PACKAGES; do
    package=${entry%%:*} command=${entry#*:}
    if [ -n "$command" ] && command -v "$command" >/dev/null; then continue; fi
    dpkg-query -W -f='${Status}' "$package" 2>/dev/null | grep -q 'install ok installed' || echo "$package"
  done
}

# Installs one by one: a package that this system lacks must not keep the others out.
set_up() {
  local package packages
  packages=$(missing_packages)
  [ -n "$packages" ] || return 0
  if [ "$QUICK" = 1 ] || [ "$(id -u)" -ne 0 ] || ! command -v apt-get >/dev/null; then
    echo "verify: missing here, going on without:" $packages >&2
    return 0
  fi
  echo "verify: installing" $packages
  timeout 300 apt-get update -qq </dev/null || echo "verify: apt-get update failed" >&2
  for package in $packages; do
    DEBIAN_FRONTEND=noninteractive timeout 600 apt-get install -y -qq --no-install-recommends "$package" \
      </dev/null >/dev/null || echo "verify: $package could not be installed, going on without" >&2
  done
}

# step NAME COMMAND...: runs it, prints its name and time. Exit status 0 after a line `SKIP NAME: reason` is a skip.
step() {
  local name=$1 start=$SECONDS status
  shift
  echo "==> $name"
  "$@" </dev/null 2>&1 | tee "$LOG"
  status=${PIPESTATUS[0]}
  if [ "$status" -ne 0 ]; then
    FAILED+=("$name")
    echo "<== $name: FAILED with status $status, $((SECONDS - start)) s"
  elif grep -q "^SKIP $name: " "$LOG"; then
    SKIPPED+=("$(grep -m 1 "^SKIP $name: " "$LOG")")
    echo "<== $name: skipped"
  else
    PASSED+=("$name")
    echo "<== $name: passed, $((SECONDS - start)) s"
  fi
}

skip() {
  SKIPPED+=("SKIP $1: $2")
  echo "SKIP $1: $2"
}

# Needs the release binary, so that it's skipped when that does not build.
browser_test() {
  if [ "$RELEASE" = 1 ]; then
    step browser-test env MICS_BIN="$TARGET/release/mics" scripts/browser-test.sh
  else
    skip browser-test "no release build"
  fi
}

# mkat, a package of its own in the workspace: its page, the page in a browser, and gateways that it watches until the
# alerts of a killed one have arrived.
mkat() {
  local failed=${#FAILED[@]}
  step mkat-ui mkat/ui/check.sh
  step release-mkat cargo build --release -p mkat --bin mkat
  if [ "$RELEASE" = 1 ] && [ "${#FAILED[@]}" -eq "$failed" ]; then
    step mkat-ui-e2e env MKAT_BIN="$TARGET/release/mkat" mkat/ui/e2e.sh
    step watched-cluster env MICS_BIN="$TARGET/release/mics" MKAT_BIN="$TARGET/release/mkat" examples/watched-cluster/run.sh
  else
    skip mkat-ui-e2e "no release build"
    skip watched-cluster "no release build"
  fi
}

# Each SDK's own check, then all of them against a real gateway.
sdks() {
  step sdk-rust-client sdk/rust/mics-client/check.sh
  step sdk-rust-hook sdk/rust/mics-hook/check.sh
  step sdk-ts sdk/ts/check.sh
  step sdk-wechat sdk/wechat/mics-client-sdk/check.sh
  step sdk-node sdk/node/mics-hook-sdk/check.sh
  step sdk-android sdk/android/mics-client-sdk/check.sh
  step sdk-java sdk/java/check.sh
  step sdk-python-client sdk/python/mics-client/check.sh
  step sdk-python-hook sdk/python/mics-hook/check.sh
  step sdk-go sdk/go/check.sh
  if [ "$RELEASE" = 1 ]; then
    step conformance env MICS_BIN="$TARGET/release/mics" sdk/conformance/run.py
  else
    skip conformance "no release build"
  fi
}

# The operator's console: is the committed page what its source gives, and does it work in a browser?
console() {
  step console console/check.sh
  if [ "$RELEASE" = 1 ]; then
    step console-test env MICS_BIN="$TARGET/release/mics" tests/console/run.sh
  else
    skip console-test "no release build"
  fi
}

summary() {
  local line
  echo
  for line in ${FAILED[@]+"${FAILED[@]}"}; do echo "FAILED $line"; done
  for line in ${SKIPPED[@]+"${SKIPPED[@]}"} ${NOTES[@]+"${NOTES[@]}"}; do echo "$line"; done
  echo "${#PASSED[@]} passed, ${#FAILED[@]} failed, ${#SKIPPED[@]} skipped"
  [ "${#FAILED[@]}" -eq 0 ]
}

run_all() {
  step fmt cargo fmt --all --check
  step clippy cargo clippy --workspace --all-targets -- -D warnings
  step test cargo test --workspace --no-fail-fast
  # Those tests pass over themselves, and cargo keeps what they say to itself.
  command -v redis-server >/dev/null || NOTES+=("SKIP live_redis, live_cluster, live_admin (inside test): redis-server is missing")
  command -v java >/dev/null && command -v mvn >/dev/null || NOTES+=("SKIP live_kafka, dlq (inside test): java or mvn is missing")
  [ "$QUICK" = 1 ] && return
  local failed=${#FAILED[@]}
  step release cargo build --release
  RELEASE=$((${#FAILED[@]} == failed ? 1 : 0))
  browser_test
  console
  step autobahn scripts/autobahn.sh
  step deploy tests/deploy/check.py
  step monitoring tests/deploy/monitoring.py
  mkat
  if [ "$RELEASE" = 1 ]; then step acceptance scripts/acceptance.sh --quick; else skip acceptance "no release build"; fi
  sdks
  # Parts of those steps say so when they are skipped; the summary tells it again.
  command -v kubectl >/dev/null || NOTES+=("SKIP kustomize (inside deploy): kubectl is missing")
}

set_up
if ! command -v cargo >/dev/null; then
  echo "verify: cargo is missing: install Rust (https://rustup.rs)" >&2
  FAILED+=("cargo is missing")
else
  run_all
fi
summary
