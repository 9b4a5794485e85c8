#!/usr/bin/env bash
# Install what `make lab` needs beyond the rest (scripts/setup.sh): an emulator, its firmware, tools that make disks.
# Nothing happens when all is there.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
log=.setup.log
export PATH=$PATH:/usr/sbin:/sbin

PACKAGES=(qemu-system-x86 qemu-utils ovmf grub-efi-amd64-bin grub-pc-bin grub-common tboot xorriso mtools
    mmdebstrap fakeroot e2fsprogs fdisk kmod cpio util-linux openssl)
COMMANDS=(qemu-system-x86_64 qemu-img grub-mkimage grub-mkrescue grub-script-check xorriso mformat
    mmdebstrap fakeroot mke2fs sfdisk depmod cpio setpriv openssl)
FILES=(/usr/share/OVMF/OVMF_CODE_4M.fd /usr/lib/grub/i386-pc/boot.img /usr/lib/grub/x86_64-efi/kernel.img
    /boot/tboot.gz)
INSTALL="apt-get update && apt-get install -y --no-install-recommends ${PACKAGES[*]}"
PAUSES=(5 20 60) # seconds before another try where a mirror did not deliver

say() { printf 'setup: %s\n' "$*" >&2; }

fail() {
    say "$1"
    if [ -s "$log" ]; then tail -n 25 "$log" >&2; fi
    exit 1
}

have_all() {
    local name
    for name in "${COMMANDS[@]}"; do command -v "$name" >/dev/null || return 1; done
    for name in "${FILES[@]}"; do [ -e "$name" ] || return 1; done
}

apt_install() {
    local quiet=(-q -o DPkg::Lock::Timeout=300 -o Acquire::Retries=3)
    apt-get "${quiet[@]}" update >>"$log" 2>&1 </dev/null || say "apt-get update reported errors; going on"
    apt-get "${quiet[@]}" -y install --no-install-recommends "${PACKAGES[@]}" >>"$log" 2>&1 </dev/null
}

if have_all; then exit 0; fi
command -v apt-get >/dev/null || fail "the lab's packages are missing; Debian's names for them: ${PACKAGES[*]}"
[ "$(id -u)" = 0 ] || fail "the lab's packages are missing; install them with: sudo sh -c '$INSTALL'"
say "installing the lab's packages (log: $log)"
export DEBIAN_FRONTEND=noninteractive
for pause in "${PAUSES[@]}" ''; do
    if apt_install; then break; fi
    [ -n "$pause" ] || fail "apt-get could not install: ${PACKAGES[*]}"
    say "apt-get could not install everything; trying again in $pause s"
    sleep "$pause"
done
hash -r
have_all || fail "something is still missing after: $INSTALL"
