#!/bin/bash
# Installs xentpm on this host, from the mounted ISO that this file is on. See --help.
#
# Everything is compared before anything is changed: up to the line `rpm -U` this only reads.
set -u
export PATH=/sbin:/usr/sbin:/bin:/usr/bin:/opt/xensource/bin LC_ALL=C
umask 022

usage() {
    cat <<'TEXT'
usage: ./install.sh [--yes]

Install xentpm on this host. Run it as root.
  --yes     do not ask, for scripts: install over an earlier, the same or a newer version
  --help    print this

It asks before it replaces another version. The configuration, the attestation key and what
`xentpm-boot enable` set up stay. It never changes the boot loader and never restarts the host.

Exit status:
  0  installed
  1  failed; the last lines say what, and what was changed
  2  wrong options
  3  this pack is not for this host; nothing was changed
  4  you said no; nothing was changed
  5  not enough space; nothing was changed
TEXT
}

say() { printf '%s\n' "$*"; }
end() { # exit status, message, hint
    printf 'install.sh: %s\n' "$2" >&2
    [ -z "${3:-}" ] || printf 'hint: %s\n' "$3" >&2
    exit "$1"
}
unchanged() { end "$1" "$2. Nothing was changed." "${3:-}"; }

# One value of platform.json: the builder writes one `"key": "value"` a line.
fact() { sed -n 's/^ *"'"$1"'": "\(.*\)",\{0,1\}$/\1/p' "$here/platform.json"; }

yes=no
for word in "$@"; do
    case $word in
    --yes | -y) yes=yes ;;
    --help | -h)
        usage
        exit 0
        ;;
    *)
        printf 'install.sh: there is no option %s\n' "$word" >&2
        usage >&2
        exit 2
        ;;
    esac
done

here=$(cd "$(dirname "$0")" && pwd -P) || exit 1
NAME=xentpm
RECORD=/etc/xensource/installed-repos/xentpm:xentpm
HOME_OF_PACK=/opt/xensource/tpm
PLUGIN=/etc/xapi.d/plugins/tpm
LOG=/var/log/xentpm/install.log

check_root() { [ "$(id -u)" = 0 ] || unchanged 1 "this has to run as root" "Log in as root, or use sudo."; }

check_rpm() {
    local name
    for name in rpm sed df; do
        command -v "$name" >/dev/null || unchanged 3 "this host has no program $name, so it is no dom0 that this pack knows"
    done
}

check_iso() {
    local name
    for name in platform.json XS-REPOSITORY XS-PACKAGES; do
        [ -r "$here/$name" ] || unchanged 1 "$here/$name is not there" "Run install.sh where the whole ISO is mounted."
    done
    version=$(fact version)-$(fact release)
    package=$here/Packages/$NAME-$version.$(fact machine).rpm
    [ -r "$package" ] || unchanged 1 "$package is not there" "Run install.sh where the whole ISO is mounted."
    rpm -K --nosignature "$package" >/dev/null 2>&1 ||
        unchanged 1 "$package is damaged" "Copy the ISO again, and compare its checksum."
}

# 2.34 is at least 2.17
at_least() {
    local -a have wanted
    IFS=. read -ra have <<<"$1"
    IFS=. read -ra wanted <<<"$2"
    [ $((have[0] * 10000 + ${have[1]:-0})) -ge $((wanted[0] * 10000 + ${wanted[1]:-0})) ]
}

check_system() {
    local id version_id pair wanted
    id=$(sed -n 's/^ID=//p' /etc/os-release 2>/dev/null | tr -d "\"'")
    version_id=$(sed -n 's/^VERSION_ID=//p' /etc/os-release 2>/dev/null | tr -d "\"'")
    for pair in $(fact systems); do
        wanted=${pair#*:}
        if [ "$id" = "${pair%%:*}" ]; then
            case $version_id in "$wanted" | "$wanted".*) return ;; esac
        fi
    done
    unchanged 3 "this pack is for $(fact systems | sed 's/ / or /g'), this host is ${id:-unknown}:${version_id:-unknown}" \
        "Get the pack for this release, or build it: docs/build-pack.md."
}

check_interpreter() {
    local python found
    [ "$(uname -m)" = "$(fact machine)" ] || unchanged 3 "this pack is for $(fact machine), this host is $(uname -m)"
    python=$(fact python)
    found=$("$python" -I -c 'import os, sys, sysconfig
print("%d.%d" % sys.version_info[:2], sysconfig.get_config_var("SOABI"), os.confstr("CS_GNU_LIBC_VERSION").split()[-1])' 2>/dev/null) ||
        unchanged 3 "this pack needs $python, Python $(fact python_version), which this host has not"
    set -- $found
    [ "$1 $2" = "$(fact python_version) $(fact python_abi)" ] ||
        unchanged 3 "this pack needs Python $(fact python_version) ($(fact python_abi)), $python is $1 ($2)"
    at_least "$3" "$(fact glibc_needed)" ||
        unchanged 3 "this pack needs a C library of at least $(fact glibc_needed), this host has $3"
    found=$("$python" -I -c 'import ctypes, sys
for name in sys.argv[1:]:
    try:
        ctypes.CDLL(name)
    except OSError:
        print(name)' $(fact libraries_needed) 2>&1)
    [ -z "$found" ] || unchanged 3 "this host lacks what this pack needs:" $found
}

# Free bytes of the file system that a folder is on or will be on.
free_bytes() {
    local folder=$1 words
    while [ ! -d "$folder" ]; do folder=$(dirname "$folder"); done
    read -ra words <<<"$(df -P -k "$folder" | tail -n 1)"
    printf '%s\n' $((words[3] * 1024))
}

check_space() {
    local folder wanted free
    for folder in "$HOME_OF_PACK:$(fact installed_bytes)" /etc:65536 /usr/lib:65536 /var/lib:4194304; do
        wanted=${folder#*:} folder=${folder%%:*}
        free=$(free_bytes "$folder")
        [ "$wanted" -le "$free" ] ||
            unchanged 5 "$folder needs $((wanted / 1024)) KiB of free space and has $((free / 1024))" "Remove what is not needed there."
    done
}

# Prints what is installed; empty where nothing is.
installed_version() { rpm -q --qf '%{VERSION}-%{RELEASE}\n' "$NAME" 2>/dev/null | grep -v 'not installed' | tail -n 1; }

check_owner() {
    local owner
    [ -e "$PLUGIN" ] || return 0
    owner=$(rpm -qf --qf '%{NAME}\n' "$PLUGIN" 2>/dev/null | grep -v 'not owned') || owner=
    case $owner in
    "$NAME" | '') ;;
    *) unchanged 1 "the package $owner has a plugin tpm already" "Remove it first: rpm -e $owner. Keep $HOME_OF_PACK/config." ;;
    esac
}

ask() {
    local answer
    [ "$yes" = no ] || return 0
    printf 'Do you want to continue? (Y/N) '
    while read -r answer; do
        case $answer in
        [Yy] | [Yy][Ee][Ss]) return 0 ;;
        [Nn] | [Nn][Oo]) break ;;
        esac
        printf 'Do you want to continue? (Y/N) '
    done
    say
    unchanged 4 "$NAME was not installed"
}

choose() { # sets `how`, asks where something is replaced
    local order
    how=(-U)
    installed=$(installed_version)
    if [ -z "$installed" ]; then
        if [ -e "$PLUGIN" ]; then
            say "There is a plugin tpm that no package owns. It will be replaced; $HOME_OF_PACK/config stays."
            ask
        fi
        return
    fi
    order=$(rpm --eval "%{lua:print(rpm.vercmp('$installed', '$version'))}")
    case $order in
    -1) say "$NAME $installed is installed. It will be upgraded to $version; the configuration and the keys stay." ;;
    0)
        say "$NAME $installed is installed already. It will be installed again; the configuration and the keys stay."
        how=(-U --replacepkgs --replacefiles)
        ;;
    1)
        say "$NAME $installed is installed, which is newer. It will be replaced by $version."
        how=(-U --oldpackage)
        ;;
    *) unchanged 1 "cannot compare the installed version $installed with $version" ;;
    esac
    ask
}

log() {
    { mkdir -p "$(dirname "$LOG")" && printf '%s %s\n' "$(date -u +%Y-%m-%dT%H:%M:%SZ)" "$*" >>"$LOG"; } 2>/dev/null || true
}

install_package() {
    local said
    # Debian's rpm warns against itself unless it is told that it is meant.
    if rpm --help 2>/dev/null | grep -q -e --force-debian; then how+=(--force-debian); fi
    if ! said=$(rpm "${how[@]}" "$package" 2>&1); then
        say "$said" >&2
        log "rpm ${how[*]} $NAME-$version failed: $said"
        if [ "$(installed_version)" = "$installed" ]; then
            end 1 "rpm could not install $NAME $version; its message is above" "What was installed before is still installed."
        fi
        end 1 "rpm reported an error; its message is above. Installed now: $(installed_version)" "Run install.sh again."
    fi
    [ -z "$said" ] || say "$said"
    log "installed $NAME-$version${installed:+ over $installed}"
}

# What XAPI and XenCenter show as software_version["xentpm:xentpm"].
record() {
    local uuid
    if ! { mkdir -p "$RECORD" && cp -f "$here/XS-REPOSITORY" "$here/XS-PACKAGES" "$RECORD/"; }; then
        end 1 "$NAME $version is installed, but $RECORD could not be written" "Run install.sh again."
    fi
    chmod 0644 "$RECORD"/*
    command -v xe >/dev/null || return 0
    uuid=$(sed -n "s/^INSTALLATION_UUID=//p" /etc/xensource-inventory 2>/dev/null | tr -d "\"'")
    xe host-refresh-pack-info host-uuid="$uuid" >/dev/null 2>&1 ||
        say "XAPI did not take note of the pack; it does at its next start, or with: xe host-refresh-pack-info host-uuid=$uuid"
}

next_steps() {
    say "$NAME $version is installed."
    say
    say "Next:"
    say "  1. Another TPM password than the default? Write it into $HOME_OF_PACK/config."
    say "  2. xentpm-boot probe     what of the boot is measured?"
    say "  3. xentpm-boot enable    measure the rest"
    say "  4. Restart this host: a free TPM gets its owner password, keys are made, the boot is measured."
    say "  5. xentpm --status       is this host ready?"
}

check_root
check_rpm
check_iso
check_interpreter
check_system
check_owner
check_space
choose
install_package
record
next_steps
