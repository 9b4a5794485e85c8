#!/usr/bin/env bash
# Set up what the make targets need: Debian's packages and a virtual environment in the checkout.
#
#   scripts/setup.sh VENV PYTHON [TPM2_PYTSS_VERSION]
#
# VENV is a directory of this checkout (.venv, .venv-3.6). PYTHON is the interpreter to make it with; below 3.10
# only the dom0 half and its tests are set up. Nothing happens, in a few milliseconds, when all is in place.
# The environment is made again from scratch when the requirements, setup.py or this script change.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

venv=$1
python=$2
pytss=${3:-}
log=.setup.log

PACKAGES=(swtpm swtpm-tools gnutls-bin tpm2-tools libtss2-dev libtss2-tcti-swtpm0 libtss2-tcti-device0
    gcc libc6-dev pkg-config openssl python3-venv python3-dev)
COMMANDS=(swtpm swtpm_setup swtpm_ioctl certtool tpm2_quote gcc pkg-config openssl)
KEY_FILES=(requirements/build.txt requirements/dev.txt requirements/py36-build.txt requirements/py36.txt
    setup.py scripts/setup.sh scripts/plugin_coverage.py)

say() { printf 'setup: %s\n' "$*" >&2; }

fail() {
    say "$1"
    if [ -s "$log" ]; then
        say "the end of $PWD/$log:"
        tail -n 25 "$log" >&2
    fi
    exit 1
}

key() {
    printf '%s %s\n' "$python" "$pytss"
    pwd -P
    sha256sum "${KEY_FILES[@]}"
}

have_commands() {
    local name
    for name in "${COMMANDS[@]}"; do
        command -v "$name" >/dev/null || return 1
    done
}

# Python of the distribution: its venv and header packages have to be there. Others bring their own.
have_python_parts() {
    "$python" - >>"$log" 2>&1 <<'PY'
import os, sysconfig, ensurepip, venv
header = os.path.join(sysconfig.get_paths()["include"], "Python.h")
raise SystemExit(0 if os.path.exists(header) else "no " + header)
PY
}

have_system() {
    have_commands && pkg-config --exists tss2-esys tss2-tcti-swtpm && [ -e /usr/include/stdio.h ] &&
        have_python_parts
}

install_system() {
    local missing="apt-get install ${PACKAGES[*]}"
    command -v apt-get >/dev/null || fail "system packages are missing; Debian's names for them: ${PACKAGES[*]}"
    [ "$(id -u)" = 0 ] || fail "system packages are missing; run this as root, or type: sudo $missing"
    say "installing system packages (log: $log)"
    export DEBIAN_FRONTEND=noninteractive
    apt-get -q -o DPkg::Lock::Timeout=300 update >>"$log" 2>&1 </dev/null 9>&- ||
        say "apt-get update reported errors; going on with the package lists that are there"
    apt-get -q -y -o DPkg::Lock::Timeout=300 install --no-install-recommends "${PACKAGES[@]}" \
        >>"$log" 2>&1 </dev/null 9>&- || fail "apt-get could not install: ${PACKAGES[*]}"
    hash -r
    have_system || fail "something is still missing after: $missing (python: $python)"
}

# A plugin's first line is `#!<venv>/bin/python -I`: the kernel splits it at white space and cuts a long one.
# Such a checkout gets its environment in the user's cache, and VENV is a link to it.
place=$venv
choose_place() {
    rm -rf "$venv"
    if [[ "$PWD" =~ [[:space:]] ]] || [ "${#PWD}" -gt 90 ]; then
        place=${XDG_CACHE_HOME:-${HOME:-/var/tmp}/.cache}/xentpm/$(pwd -P | sha256sum | cut -c1-16)$venv
        rm -rf "$place"
        mkdir -p "$place"
        ln -s "$place" "$venv"
    fi
}

pip_install() { "$place/bin/python" -m pip install -q --disable-pip-version-check --no-input "$@" >>"$log" 2>&1; }

install_requirements() {
    local name=$1 wanted=$2
    pip_install -r "requirements/${name}build.txt"
    pip_install --no-build-isolation -r "$wanted"
    pip_install --no-build-isolation --no-deps -e .
}

make_venv() {
    local version wanted=requirements/dev.txt name=""
    version=$("$python" -c 'import sys; print("%d%02d" % sys.version_info[:2])' 2>>"$log") ||
        fail "cannot run $python; give another one: make PYTHON=/path/to/python3 …"
    if [ "$version" -lt 310 ]; then
        [ "$venv" != .venv ] || fail "$python is older than 3.10; give a newer one: make PYTHON=/path/to/python3 …"
        wanted=requirements/py36.txt name=py36-
    fi
    say "making $venv with $python (a minute or less; log: $log)"
    choose_place
    "$python" -m venv "$place" >>"$log" 2>&1 || fail "$python could not make a virtual environment"
    if [ -n "$name" ]; then # the pip that comes with 3.6 knows no current wheels
        pip_install pip==21.3.1 || fail "pip could not update itself"
    fi
    if [ -n "$pytss" ]; then
        sed "s/^tpm2-pytss==.*/tpm2-pytss==$pytss/" "$wanted" >"$venv/requirements.txt"
        wanted=$venv/requirements.txt
    fi
    install_requirements "$name" "$wanted" || fail "pip could not install the requirements of $venv"
    # setuptools would run code at every start of this Python, plugins included.
    rm -f "$venv"/lib/python*/site-packages/distutils-precedence.pth
    [ "$venv" != .venv ] || "$place/bin/python" scripts/plugin_coverage.py install >>"$log" 2>&1 ||
        fail "could not install the coverage hook"
}

exec 9>.venv.lock
flock 9
stamp=$venv/xentpm-setup
wanted_key=$(key)
if [ -x "$venv/bin/python" ] && have_commands && [ -e "$stamp" ] && [ "$(<"$stamp")" = "$wanted_key" ]; then
    exit 0
fi
: >"$log"
have_system || install_system
make_venv
printf '%s\n' "$wanted_key" >"$stamp"
