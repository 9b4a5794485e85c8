"""Signatures with the packer's key: of both RPMs, of update.xml and of repodata/repomd.xml."""

import os
import re
import shutil
import tempfile
from contextlib import contextmanager
from typing import Dict, Iterator, Optional, Sequence

from pack.tools import PackError, run

__all__ = ["KEY_NAME", "Signer", "signer", "verify"]

KEY_NAME = "RPM-GPG-KEY-xentpm"
_GPG = ["gpg", "--batch", "--no-tty"]


class Signer:
    """Signs with the key ``fingerprint`` in the key ring ``home`` (None: the user's own)."""

    def __init__(self, home: Optional[str], fingerprint: str) -> None:
        self._home, self.fingerprint = home, fingerprint
        self._environment: Dict[str, str] = {} if home is None else {"GNUPGHOME": home}

    def sign_rpms(self, paths: Sequence[str]) -> None:
        """Sign RPMs in place. Raises: PackError."""
        defines = [
            "--define",
            "_gpg_name " + self.fingerprint,
            "--define",
            "__gpg " + str(shutil.which("gpg")),
        ]
        if self._home is not None:
            defines += ["--define", "_gpg_path " + self._home]
        if "--rpmv3" in run(["rpmsign", "--help"]):  # CentOS 7's rpm knows no signed digest of the payload
            defines.append("--rpmv3")
        run(["rpmsign"] + defines + ["--addsign"] + list(paths), environment=self._environment)

    def sign(self, path: str) -> None:
        """Write ``path``.asc, a detached armoured signature. Raises: PackError."""
        run(
            _GPG + ["--yes", "--local-user", self.fingerprint, "--detach-sign", "--armor", path],
            environment=self._environment,
        )

    def export(self, path: str) -> None:
        """Write the public key. Raises: PackError."""
        text = run(_GPG + ["--armor", "--export", self.fingerprint], environment=self._environment)
        with open(path, "w", encoding="ascii") as file:
            file.write(text)


@contextmanager
def signer(key: str) -> Iterator[Signer]:
    """For ``key``: a file with a secret key without a passphrase, or a key of the user's key ring.

    Raises:
        PackError: there is no such key.
    """
    if not os.path.exists(key):
        yield Signer(None, _fingerprint({}, key))
        return
    with _key_ring() as home:
        environment = {"GNUPGHOME": home}
        run(_GPG + ["--import", key], environment=environment)
        yield Signer(home, _fingerprint(environment, ""))


def verify(public_key: str, fingerprint: str, files: Sequence[str], rpms: Sequence[str]) -> None:
    """Check every signature with the public key alone, in key rings that hold nothing else.

    Raises:
        PackError: one does not verify.
    """
    with _key_ring() as home:
        environment = {"GNUPGHOME": home}
        run(_GPG + ["--import", public_key], environment=environment)
        for path in files:
            out = run(_GPG + ["--status-fd", "1", "--verify", path + ".asc", path], environment=environment)
            if not re.search(r"^\[GNUPG:\] VALIDSIG .*\b{}$".format(fingerprint), out, re.MULTILINE):
                raise PackError("{}.asc is no signature by {}".format(path, fingerprint))
        database = ["--dbpath", os.path.join(home, "rpm")]
        run(["rpm"] + database + ["--import", public_key])
        for path in rpms:
            said = run(["rpm"] + database + ["-Kv", path])
            if "NOKEY" in said or not re.search(r"Signature, key ID [0-9a-f]+: OK", said):
                raise PackError("{} is not signed by {}: {}".format(path, fingerprint, said))


def _fingerprint(environment: Dict[str, str], key: str) -> str:
    words = ["--with-colons", "--list-secret-keys"] + ([key] if key else [])
    try:
        listed = run(_GPG + words, environment=environment)
    except PackError as error:
        raise PackError("there is no file and no secret key {}".format(ascii(key))) from error
    found = re.findall(r"^sec:.*\n(?:[^s].*\n)*?fpr:+([0-9A-F]{40}):", listed, re.MULTILINE)
    if len(found) != 1:
        message = "expected one secret key, found {}".format(len(found))
        raise PackError(message, "SIGNING_KEY=<file with one key, or a fingerprint>")
    return str(found[0])


@contextmanager
def _key_ring() -> Iterator[str]:
    """An empty one; its path is short, as gpg's sockets need it."""
    home = tempfile.mkdtemp(prefix="xentpm-gpg.", dir="/tmp")
    try:
        yield home
    finally:
        try:
            run(["gpgconf", "--kill", "all"], environment={"GNUPGHOME": home})
        finally:
            shutil.rmtree(home, ignore_errors=True)
