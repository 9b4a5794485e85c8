#!/usr/bin/env bash
# Run the tests under coverage and hold the layers to their gates: scripts/test.sh PYTHON [pytest arguments]
# The data of the run are kept apart until it is over, so two runs do not disturb each other.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

python=$1
shift
data=$(mktemp -d "${TMPDIR:-/tmp}/xentpm-coverage.XXXXXX")
trap 'rm -rf "$data"' EXIT
export COVERAGE_FILE=$data/data

failed=0
"$python" -m coverage run -m pytest "$@" || failed=$?
[ "$failed" -le 1 ] || exit "$failed" # interrupted, or pytest could not run: no coverage to speak of
"$python" -m coverage combine -q "$data" || exit 1
"$python" -m coverage json -q -o "$data/report.json"
"$python" -m coverage report --include='xentpm_lib/evidence/*,xentpm_lib/tpm/*,xentpm_lib/host/*' || true
cp "$data/data" .coverage # for `coverage html`
"$python" scripts/coverage_gate.py "$data/report.json" || failed=1
exit "$failed"
