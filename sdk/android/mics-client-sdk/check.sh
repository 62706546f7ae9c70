#!/usr/bin/env bash
# Builds the SDK, its sample and its conformance program, and runs the tests. Needs a JDK 17 and Maven; no Android SDK.
set -euo pipefail
cd "$(dirname "$0")"
for tool in java javac mvn; do
  command -v "$tool" >/dev/null || { echo "SKIP sdk-android: $tool is missing (Debian: openjdk-17-jdk-headless, maven)"; exit 0; }
done
exec timeout --kill-after=10 "${CHECK_TIMEOUT:-600}" mvn -q -B verify
