#!/bin/bash
# redis-server for the embedded store: from the PATH, or from the package manager when there is none.
set -euo pipefail
cd "$(dirname "$0")/.."
. .setup/packages.sh

if ! provide redis-server redis-server; then
  cat >&2 <<'HELP'
setup: redis-server is needed and could not be installed. One of these helps, then run the same command again:

  Debian, Ubuntu   sudo apt-get install -y --no-install-recommends redis-server
  Fedora           sudo dnf install -y redis
  macOS            brew install redis

Or let ocsd use a Redis (7.0 or newer) that you run already: in config/ocs.yaml, replace the store with

  store: { kind: url, url: "redis://127.0.0.1:6379", durability: memory }

and start it with `node dist/ocsd.js --config config/ocs.yaml`.
HELP
  exit 1
fi
