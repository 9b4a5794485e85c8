#!/usr/bin/env bash
# Print the path of a CPython of one release, from PATH or pyenv: scripts/find-python.sh 3.6
# Exit status 1, with a message, where there is none that runs.
set -euo pipefail

version=$1

runs() { "$1" -c "import sys; sys.exit('%d.%d' % sys.version_info[:2] != '$version')" >/dev/null 2>&1; }

candidates=("$(command -v "python$version" || true)")
for root in "${PYENV_ROOT:-}" "${HOME:-/root}/.pyenv"; do
    [ -z "$root" ] || candidates+=("$root/versions/$version".*/bin/python)
done
for candidate in "${candidates[@]}"; do
    if [ -n "$candidate" ] && runs "$candidate"; then
        "$candidate" -c 'import sys; print(sys.executable)'
        exit 0
    fi
done
printf 'no Python %s found: looked for python%s in PATH, and in %s\n' "$version" "$version" \
    "${PYENV_ROOT:-${HOME:-/root}/.pyenv}/versions" >&2
exit 1
