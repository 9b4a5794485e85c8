#!/usr/bin/env bash
# Run the tests under coverage and hold the layers to their gates: scripts/test.sh PYTHON [pytest arguments]
# The data of the run are kept apart until it is over, so two runs do not disturb each other. Without arguments
# the tests run in two halves at a time: those that drive dom0's processes, with the verifier's small ones, and all
# others.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

python=$1
shift
data=$(mktemp -d "${TMPDIR:-/tmp}/xentpm-coverage.XXXXXX")
trap 'rm -rf "$data" || true' EXIT # a process that still saves its data there must not fail the run
export COVERAGE_FILE=$data/data
FIRST=(tests/integration/tpm tests/integration/host tests/integration/plugin tests/unit/verifier)

run() { "$python" -m coverage run -m pytest "$@"; }

run_all() { # only one half can have plugin processes measured: the one that is about them
    local first failed=0 first_failed=0
    run "${FIRST[@]}" >"$data/first.log" 2>&1 &
    first=$!
    XENTPM_NO_PLUGIN_COVERAGE=1 run "${FIRST[@]/#/--ignore=}" || failed=$?
    wait "$first" || first_failed=$?
    cat "$data/first.log"
    return $((failed > first_failed ? failed : first_failed))
}

failed=0
if [ $# = 0 ]; then
    run_all || failed=$?
else
    run "$@" || failed=$?
fi
[ "$failed" -le 1 ] || exit "$failed" # interrupted, or pytest could not run: no coverage to speak of
"$python" -m coverage combine -q "$data" || exit 1
"$python" -m coverage json -q -o "$data/report.json"
"$python" -m coverage report --include='xentpm_lib/evidence/*,xentpm_lib/tpm/*,xentpm_lib/host/*,xentpm_lib/verifier/*' || true
cp "$data/data" .coverage # for `coverage html`
"$python" scripts/coverage_gate.py "$data/report.json" || failed=1
exit "$failed"
