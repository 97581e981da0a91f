#!/bin/bash
# Node 20 or newer, and node_modules as package-lock.json says.
set -euo pipefail
cd "$(dirname "$0")/.."

if ! command -v node >/dev/null || ! command -v npm >/dev/null; then
  echo 'setup: Node.js 20 or newer and npm are needed: https://nodejs.org/ or your package manager' >&2
  exit 1
fi
if [ "$(node -p 'Number(process.versions.node.split(".")[0])')" -lt 20 ]; then
  echo "setup: Node.js 20 or newer is needed, this is $(node --version)" >&2
  exit 1
fi

# npm writes this file last, so an interrupted installation is not taken for a whole one.
installed=node_modules/.package-lock.json
if [ ! -e "$installed" ] || [ package-lock.json -nt "$installed" ]; then
  echo 'setup: installing the npm packages of package-lock.json'
  npm ci --ignore-scripts --include=dev --no-update-notifier --no-audit --no-fund --loglevel=error
  touch "$installed"
fi
