"""What is measured: the plugin's functions, and the same work done with tpm2-tools on the same TPMs."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT / "tests"), str(ROOT)]

from measuring import Program  # noqa: E402

from support.dom0 import ENVIRONMENT, NONCE, PASSWORD, Dom0, method_call  # noqa: E402
from support.remote_side import make_challenge  # noqa: E402
from xentpm_lib.evidence.encoding import decode_base64  # noqa: E402
from xentpm_lib.evidence.identity import Identity  # noqa: E402
from xentpm_lib.simulator.swtpm import Swtpm  # noqa: E402

__all__ = ["BARE", "NONCE", "TARGETS", "Hosts", "Pair", "hosts", "pairs"]

BARE = Program("python3 -I -c pass", [[sys.executable, "-I", "-c", "pass"]], ENVIRONMENT)
TAG, OTHER_TAG = "14" * 20, "15" * 20
_EK, _AK, _TAG_INDEX = "0x81010001", "0x81010002", "0x1c10110"
_NEW_INDEX, _TAG_ATTRIBUTES = "0x1c10111", "ownerwrite|ownerread|authread|no_da"


@dataclass(frozen=True)
class Target:
    """The most that is allowed: times a bare start, and TPM commands. None: the issue says nothing."""

    ratio: float | None
    commands: int | None


TARGETS = {
    "tpm_get_quote, with tag": Target(8, 8),
    "tpm_get_quote, no tag": Target(8, 6),
    "tpm_get_attestation_identity": Target(9, 8),
}


@dataclass(frozen=True)
class Hosts:
    """Dom0s with keys: one with an asset tag, one without, one whose tag is changed all the time."""

    tagged: Dom0
    plain: Dom0
    changed: Dom0
    folder: Path


@dataclass(frozen=True)
class Pair:
    """A function of the plugin with the tpm2-tools that do the same (None: there are none), on one host."""

    dom0: Dom0
    plugin: Program
    tools: Program | None


@contextmanager
def hosts(folder: Path) -> Iterator[Hosts]:
    """Make the hosts below ``folder`` and power them on; off when this ends."""
    Swtpm.manufacture(str(folder / "tpm"), str(folder / "ca"))
    with ExitStack() as stack:
        made = [_host(folder, name, stack) for name in ("tagged", "plain", "changed")]
        for dom0 in (made[0], made[2]):
            dom0.call("tpm_set_asset_tag", tag=TAG)
        yield Hosts(*made, folder)


def _host(folder: Path, name: str, stack: ExitStack) -> Dom0:
    shutil.copytree(folder / "tpm", folder / name / "tpm")
    dom0 = Dom0(str(folder / name / "root"), str(folder / name / "tpm"))
    assert dom0.tpm is not None
    stack.enter_context(dom0.tpm)
    dom0.call("tpm_get_attestation_identity")
    return dom0


def pairs(hosts: Hosts) -> list[Pair]:
    """Every function, in an order in which all can be repeated: the tag is set, set again, cleared."""
    tagged, plain, changed = hosts.tagged, hosts.plain, hosts.changed
    identity = Identity.from_xml(tagged.call("tpm_get_attestation_identity"))
    challenge = make_challenge(str(hosts.folder), identity, b"a secret of a verifier")
    (hosts.folder / "challenge.bin").write_bytes(decode_base64(challenge, "challenge", 1, 4096))
    tools = _Tools(hosts.folder)
    return [
        _pair(tagged, "tpm_get_attestation_identity", tools.identity),
        _pair(tagged, "tpm_get_quote", tools.quote + tools.certify, ", with tag", nonce=NONCE),
        _pair(plain, "tpm_get_quote", tools.quote, ", no tag", nonce=NONCE),
        _pair(tagged, "tpm_challenge", tools.challenge, challenge=challenge),
        _pair(changed, "tpm_set_asset_tag", tools.define, ", new", tag=TAG),
        _pair(changed, "tpm_set_asset_tag", tools.write, ", same size", tag=OTHER_TAG),
        _pair(changed, "tpm_clear_asset_tag", tools.undefine),
        _pair(tagged, "tpm_get_status", None),
    ]


def _pair(dom0: Dom0, function: str, commands: list[str] | None, variant: str = "", **arguments: str) -> Pair:
    assert dom0.tpm is not None
    name = function + variant
    plugin = Program(name, [[dom0.plugin, method_call(function, arguments)]], ENVIRONMENT)
    if commands is None:
        return Pair(dom0, plugin, None)
    words = [command.split() for command in commands]
    title = " + ".join(dict.fromkeys(line[0] for line in words))
    environment = {**ENVIRONMENT, "TPM2TOOLS_TCTI": dom0.tpm.tcti, "TSS2_LOG": "all+none"}
    argvs = [[shutil.which(line[0]) or line[0], *line[1:]] for line in words]
    return Pair(dom0, plugin, Program(title, argvs, environment))


class _Tools:
    """Command lines of tpm2-tools; no argument holds a space."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        auth, tag, new = f"hex:{PASSWORD}", self._path("tag.bin"), _NEW_INDEX
        (folder / "tag.bin").write_bytes(bytes.fromhex(TAG))
        nonce = decode_base64(NONCE, "nonce", 16, 64).hex()
        out, session = self._path("out"), self._path("session")
        self.identity = [
            f"tpm2_readpublic -Q -c {_EK}",
            f"tpm2_readpublic -Q -c {_AK}",
            f"tpm2_nvread -C 0x1c00002 -o {out} 0x1c00002",
        ]
        self.quote = [
            f"tpm2_quote -Q -c {_AK} -l sha256:all -q {nonce} -m {out}.msg -s {out}.sig -o {out}.pcrs"
        ]
        self.certify = [
            f"tpm2_nvcertify -Q -C {_AK} -c {_TAG_INDEX} -g sha256 -o {out}.sig --attestation {out}.msg "
            f"--size 20 -q {nonce} {_TAG_INDEX}"
        ]
        self.challenge = [
            f"tpm2_startauthsession --policy-session -S {session}",
            f"tpm2_policysecret -Q -S {session} -c endorsement",
            f"tpm2_activatecredential -Q -c {_AK} -C {_EK} -i {self._path('challenge.bin')} -o {out} "
            f"-P session:{session}",
            f"tpm2_flushcontext {session}",
        ]
        self.write = [f"tpm2_nvwrite -Q -C o -P {auth} -i {tag} {new}"]
        self.define = [f"tpm2_nvdefine -Q -C o -P {auth} -s 20 -a {_TAG_ATTRIBUTES} {new}", *self.write]
        self.undefine = [f"tpm2_nvundefine -Q -C o -P {auth} {new}"]

    def _path(self, name: str) -> str:
        return os.fspath(self._folder / name)
