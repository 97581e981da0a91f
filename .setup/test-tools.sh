#!/bin/bash
# The programs of other people that the tests talk to: two Diameter stacks, Scapy, tshark, promtool; certificates come from openssl.
# One that cannot be had is no failure here: its tests are listed as `not run`, and that fails under CI=true.
set -uo pipefail
cd "$(dirname "$0")/.."
. .setup/packages.sh

provide freeDiameterd freediameterd freediameter-extensions
provide erl erlang-base erlang-diameter
provide scapy3 python3-scapy
provide tshark tshark
provide promtool prometheus
provide openssl openssl
provide redis-benchmark redis-tools
exit 0
