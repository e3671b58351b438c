#!/usr/bin/env bash
# Installs by name what the real servers of the integration tests need and this machine
# lacks: Java and Maven for Apache Kafka, Node and Python for the other Kinesis servers and
# for a de-aggregator,
# what looks at the pages of reports (Chromium with fonts, pdftotext), and then the
# servers themselves.
set -euo pipefail
cd "$(dirname "$0")/.."
want=()
command -v java >/dev/null || want+=(default-jdk-headless)
command -v mvn >/dev/null || want+=(maven)
command -v node >/dev/null || want+=(nodejs)
command -v npm >/dev/null || want+=(npm)
python3 -c 'import ensurepip' 2>/dev/null || want+=(python3-venv)
command -v chromium >/dev/null || want+=(chromium fonts-dejavu-core fonts-noto-core)
command -v pdftotext >/dev/null || want+=(poppler-utils)
if [ ${#want[@]} -gt 0 ]; then
  apt-get update -q
  DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends "${want[@]}"
fi
"${GO:-go}" run ./integration/servers/fetch
