#!/usr/bin/env bash
# Installs by name what the real servers of the integration tests need and this machine
# lacks: Java and Maven for Apache Kafka, Node for kinesis-local, and then these two.
set -euo pipefail
cd "$(dirname "$0")/.."
want=()
command -v java >/dev/null || want+=(default-jdk-headless)
command -v mvn >/dev/null || want+=(maven)
command -v node >/dev/null || want+=(nodejs)
command -v npm >/dev/null || want+=(npm)
if [ ${#want[@]} -gt 0 ]; then
  apt-get update -q
  DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends "${want[@]}"
fi
"${GO:-go}" run ./integration/servers/fetch
