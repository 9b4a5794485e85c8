#!/usr/bin/env bash
# Set up what the make targets need: Debian's packages and a virtual environment in the checkout.
#
#   scripts/setup.sh VENV PYTHON [TPM2_PYTSS_VERSION]
#   scripts/setup.sh --system PYTHON
#
# VENV is a directory of this checkout (.venv, .venv-3.6). PYTHON is the interpreter to make it with; below 3.10
# only the dom0 half and its tests are set up. Nothing happens, in a few milliseconds, when all is in place.
# The environment is made again from scratch when the requirements, setup.py or this script change.
# --system sets up no environment, only the packages, those of PYTHON among them.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

venv=$1
python=$2
pytss=${3:-}
log=.setup.log
wanted=requirements/dev.txt
build=requirements/build.txt

PACKAGES=(make swtpm swtpm-tools gnutls-bin tpm2-tools libtss2-dev libtss2-tcti-swtpm0 libtss2-tcti-device0
    gcc libc6-dev pkg-config openssl python3-venv python3-dev postgresql
    grub-common grub-efi-amd64-bin sbsigntool strace efibootmgr fdisk rpm createrepo-c xorriso patchelf gnupg)
COMMANDS=(make swtpm swtpm_setup swtpm_ioctl certtool tpm2_quote gcc pkg-config openssl grub-mkimage sbsign
    strace efibootmgr sfdisk rpmbuild createrepo_c xorriso patchelf gpg)
KEY_FILES=(requirements/build.txt requirements/dev.txt requirements/py36-build.txt requirements/py36.txt
    setup.py scripts/setup.sh scripts/plugin_coverage.py)

NOT_YOURS="use a checkout that you may write to, or make this one yours: sudo chown -R \$USER ."
INSTALL="apt-get update && apt-get install -y --no-install-recommends ${PACKAGES[*]}"

# Seconds before another try where a registry or mirror did not deliver.
PAUSES=(5 20 60)

say() { printf 'setup: %s\n' "$*" >&2; }

fail() {
    say "$1"
    if [ -s "$log" ]; then
        say "the end of $PWD/$log:"
        tail -n 25 "$log" >&2
    fi
    exit 1
}

# Before anything is installed or removed. A bare Debian has no python3 yet: it comes with the system packages.
check_python() {
    local version another="give another one: make PYTHON=/path/to/python3 …"
    [ "$python" != python3 ] || command -v python3 >/dev/null || return 0
    version=$("$python" -c 'import sys; print("%d%02d" % sys.version_info[:2])' 2>>"$log") ||
        fail "cannot run $python; $another"
    if [ "$version" -lt 306 ]; then
        fail "$python is older than 3.6; $another"
    elif [ "$version" -lt 310 ]; then
        [ "$venv" != .venv ] || fail "$python is older than 3.10; $another"
        wanted=requirements/py36.txt build=requirements/py36-build.txt
    fi
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

# Debian keeps the server's programs out of PATH.
have_postgresql() { compgen -G '/usr/lib/postgresql/*/bin/postgres' >/dev/null; }

have_system() {
    have_commands && have_postgresql && pkg-config --exists tss2-esys tss2-tcti-swtpm && [ -e /usr/include/stdio.h ] &&
        have_python_parts
}

# The tests start a server of their own. Debian's package would make another one and run it, with every boot: not
# wanted on a machine that never had one. Who had PostgreSQL before keeps what he chose.
no_server_of_its_own() {
    local settings=/etc/postgresql-common/createcluster.conf
    if [ -e /etc/postgresql-common ] || have_postgresql; then return; fi
    mkdir -p "${settings%/*}"
    printf '%s\n' '# Written by scripts/setup.sh of xentpm before it installed PostgreSQL for its tests.' \
        'create_main_cluster = false' >"$settings"
}

# Both again where one fails: `update` succeeds without a list that a mirror did not deliver, and does not wait for
# another apt-get that has the lists locked.
apt_install() {
    local quiet=(-q -o DPkg::Lock::Timeout=300 -o Acquire::Retries=3)
    apt-get "${quiet[@]}" update >>"$log" 2>&1 </dev/null 9>&- ||
        say "apt-get update reported errors; going on with the package lists that are there"
    apt-get "${quiet[@]}" -y install --no-install-recommends "${PACKAGES[@]}" >>"$log" 2>&1 </dev/null 9>&-
}

install_system() {
    command -v apt-get >/dev/null || fail "system packages are missing; Debian's names for them: ${PACKAGES[*]}"
    [ "$(id -u)" = 0 ] || fail "system packages are missing; install them with: sudo sh -c '$INSTALL'"
    say "installing system packages (log: $log)"
    no_server_of_its_own
    export DEBIAN_FRONTEND=noninteractive
    local pause
    for pause in "${PAUSES[@]}" ''; do
        if apt_install; then break; fi
        [ -n "$pause" ] || fail "apt-get could not install: ${PACKAGES[*]}"
        say "apt-get could not install everything; trying again in $pause s"
        sleep "$pause"
    done
    hash -r
    have_system || fail "something is still missing after: $INSTALL (python: $python)"
}

# A plugin's first line is `#!<venv>/bin/python -I`: the kernel splits it at white space and cuts a long one.
# Such a checkout gets its environment in the user's cache, and VENV is a link to it.
place=$venv
choose_place() {
    rm -rf "$venv" 2>>"$log" || fail "cannot remove the old $PWD/$venv: $NOT_YOURS"
    trap 'rm -rf "$place" "$venv"' EXIT # until it is complete
    if [[ "$PWD" =~ [[:space:]] ]] || [ "${#PWD}" -gt 90 ]; then
        place=${XDG_CACHE_HOME:-${HOME:-/var/tmp}/.cache}/xentpm/$(pwd -P | sha256sum | cut -c1-16)$venv
        rm -rf "$place"
        mkdir -p "$place"
        ln -s "$place" "$venv"
    fi
}

pip_failed() { # what could not be installed
    local error
    error=$(grep '^ERROR: ' "$log" | grep -v -m1 '^ERROR: Ignored the following' ||
        grep -m1 -i '^ *error: ' "$log" || true)
    [ -z "$error" ] || say "${error:0:300}"
    if grep -q 'Retry(total=0,' "$log"; then
        say "pip cannot connect to the package index: look at the network, the proxy, PIP_INDEX_URL"
    fi
    fail "pip could not install $1 into $venv"
}

# Whether what was logged behind the first so many bytes tells of the network. pip itself asks again for what it
# cannot get at all, but not for a file that ends early.
network_failed() {
    local signs='retry\(total=|timed out|connection ?(broken|aborted|error|refused|reset)|http ?error|sslerror'
    signs+='|incomplete|not enough bytes|match the hashes|wheel .* is invalid|badzipfile|eoferror'
    tail -c "+$(($1 + 1))" "$log" | grep -Ei "$signs" >/dev/null
}

# Ends the set-up by itself when pip fails: `f || fail` would switch `set -e` off in all of f.
pip_install() { # what is installed, pip's arguments…
    local what=$1 pause logged quiet=(-q --disable-pip-version-check --no-input)
    shift
    for pause in "${PAUSES[@]}" ''; do
        logged=$(stat -c %s "$log")
        if "$place/bin/python" -m pip install "${quiet[@]}" "$@" >>"$log" 2>&1 </dev/null; then return; fi
        if [ -z "$pause" ] || ! network_failed "$logged"; then pip_failed "$what"; fi
        say "the package index did not deliver; trying again in $pause s"
        sleep "$pause"
    done
}

make_venv() {
    local list=$wanted
    say "making $venv with $python (a minute or less; log: $log)"
    choose_place
    "$python" -m venv "$place" >>"$log" 2>&1 || fail "$python could not make a virtual environment"
    if [ "$build" = requirements/py36-build.txt ]; then # the pip that comes with 3.6 knows no current wheels
        pip_install pip pip==21.3.1
    fi
    if [ -n "$pytss" ]; then
        list=$venv/requirements.txt
        sed "s/^tpm2-pytss==.*/tpm2-pytss==$pytss/" "$wanted" >"$list"
        wanted="$wanted with tpm2-pytss $pytss"
    fi
    pip_install "$build" -r "$build"
    pip_install "$wanted" --no-build-isolation -r "$list"
    pip_install "xentpm itself" --no-build-isolation --no-deps -e .
    # setuptools would run code at every start of this Python, plugins included.
    rm -f "$venv"/lib/python*/site-packages/distutils-precedence.pth
    [ "$venv" != .venv ] || "$place/bin/python" scripts/plugin_coverage.py install >>"$log" 2>&1 ||
        fail "could not install the coverage hook"
}

# What another user set up, or a checkout that has become read-only, can be used as long as it is complete.
if ! { exec 9>.venv.lock || exec 9<.venv.lock; } 2>/dev/null; then
    say "cannot write to $PWD: $NOT_YOURS"
    exit 1
fi
flock -n 9 || {
    say "waiting for another set-up in this checkout"
    flock 9
}
stamp=$venv/xentpm-setup
wanted_key=$(key)
if [ -x "$venv/bin/python" ] && have_commands && [ -e "$stamp" ] && [ "$(<"$stamp")" = "$wanted_key" ]; then
    exit 0
fi
if ! { : >"$log"; } 2>/dev/null; then
    say "cannot write $PWD/$log: $NOT_YOURS"
    exit 1
fi
if [ "$venv" = --system ]; then
    have_system || install_system
    exit 0
fi
check_python
have_system || install_system
check_python
make_venv
printf '%s\n' "$wanted_key" >"$stamp"
trap - EXIT
