#!/bin/bash
# Lint, types, then every test. Last line: `N passed, N failed`, before it what was not run on this machine and why.
set -uo pipefail
cd "$(dirname "$0")/.."
rm -f .tap/not-run .tap/all.tap
mkdir -p .tap
passed=0 failed=0 skipped=0

# A check that is not a tap file counts as one test.
check() {
  echo "== $1"
  shift
  if "$@"; then passed=$((passed + 1)); else failed=$((failed + 1)); fi
}

check lint npm run --silent lint
check types npm run --silent types

echo '== tests'
# One line a file as it ends; of a failure, the assertion with its diagnostics. The whole is in .tap/all.tap.
npx --no-install tap run --reporter=tap 2>.tap/stderr | tee .tap/all.tap | awk '
  /^(not )?ok / || /^Bail out!/ { print; fflush() }
  /^ +not ok / { show = 1; if ($0 ~ /# (TODO|SKIP)/) show = 0 }
  show { print }
  /^ *\.\.\.$/ { show = 0; fflush() }'
status=${PIPESTATUS[0]}
grep -v '^npm warn' .tap/stderr >&2
# The last line of tap's own account: # { total: 3, pass: 2, fail: 1 }
summary=$(grep -E '^# \{ total: ' .tap/all.tap 2>/dev/null | tail -1)
count() { sed -nE "s/.*[ {]$1: ([0-9]+).*/\1/p" <<<"$summary"; }
[ -n "$summary" ] || echo 'the tests ended without a summary' >&2
fails=$(count fail)
passed=$((passed + $(($(count pass) + 0))))
skipped=$(($(count skip) + $(count todo) + 0))
[ "$status" = 0 ] || [ "${fails:-0}" -gt 0 ] || fails=1
failed=$((failed + ${fails:-0}))

check 'the conformance table' npm run --silent conformance -- --check .tap/all.tap

# What can be installed and is not fails under CI; what a machine lacks for good, like a kernel module, is only told.
to_install=0
if [ -s .tap/not-run ]; then
  ! grep -q '(install ' .tap/not-run || to_install=1
  sort -u .tap/not-run | sed 's/^\(not run: \)\{0,1\}/not run: /'
fi
line="$passed passed, $failed failed"
[ "$skipped" = 0 ] || line="$line, $skipped skipped"
echo "$line"
[ "$failed" = 0 ] && { [ "$to_install" = 0 ] || [ "${CI:-}" != true ]; }
