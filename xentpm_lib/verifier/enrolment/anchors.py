"""Whom enrolment believes: certificates of TPM makers, and pinned endorsement keys, read from files."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    load_der_public_key,
    load_pem_public_key,
)

from xentpm_lib.errors import UsageError
from xentpm_lib.evidence.certificate import trim_certificate
from xentpm_lib.evidence.public import MAX_PUBLIC_SIZE, Public
from xentpm_lib.verifier.files import open_file

__all__ = ["EkAnchors", "fingerprint"]

MAX_FILE_SIZE = 4 * 1024 * 1024  # bytes; a bundle of all makers' certificates has some hundred KiB
MAX_FILES = 2000  # in one directory

_SUFFIXES = (".pem", ".crt", ".cer", ".der")
_BEGIN = b"-----BEGIN "
_BEGIN_CERTIFICATE = b"-----BEGIN CERTIFICATE-----"
_BEGIN_KEY = b"-----BEGIN PUBLIC KEY-----"
_DIGEST_DIGITS = 64
_AUTHORITIES_HINT = (
    "Give a file with certificates of TPM makers, PEM or DER, or a directory of such files"
    " (.pem, .crt, .cer, .der); makers publish them."
)
_PINS_HINT = (
    "Give its SHA-256 in hex, or a file: such lines, a PEM public key, a certificate or a TPM2B_PUBLIC."
)


@dataclass(frozen=True, slots=True)
class EkAnchors:
    """What an endorsement key can be proven with.

    roots: self-signed certificates of authorities. intermediates: others, which prove nothing by themselves.
    pins: SHA-256 of keys as DER SubjectPublicKeyInfo, hex.
    allow_first_use: the administrator wants keys without any proof; the policy has to allow it as well.
    skipped: files of a directory that could not be read as certificates, each with the reason.
    """

    roots: tuple[x509.Certificate, ...] = ()
    intermediates: tuple[x509.Certificate, ...] = ()
    pins: frozenset[str] = frozenset()
    allow_first_use: bool = False
    skipped: tuple[str, ...] = ()

    @classmethod
    def load(
        cls,
        authorities: Iterable[str | os.PathLike[str]] = (),
        pins: Iterable[str] = (),
        allow_first_use: bool = False,
    ) -> EkAnchors:
        """Read certificates and pins.

        authorities: files with certificates, PEM (several) or DER; or directories of such files, where what
            is no certificate is passed over and told in ``skipped``.
        pins: digests in hex, or names of files with a key or with digests.

        Raises:
            UsageError: a file cannot be read or is none of these; no self-signed one among the certificates.
        """
        certificates: list[x509.Certificate] = []
        skipped: list[str] = []
        for path in authorities:
            _load_authority(Path(path), certificates, skipped)
        unique = dict.fromkeys(certificates)  # in their order
        roots = tuple(one for one in unique if _self_signed(one))
        others = tuple(one for one in unique if one not in roots)
        if others and not roots:
            message = "no self-signed certificate among those given for endorsement keys"
            raise UsageError(message, "Give the root of the TPM's maker as well.")
        digests = frozenset(digest for pin in pins for digest in _load_pin(pin))
        return cls(roots, others, digests, allow_first_use, tuple(skipped))


def fingerprint(spki_der: bytes) -> str:
    """How a key is named in a list of pins: SHA-256 of its DER SubjectPublicKeyInfo, 64 hex digits."""
    return hashlib.sha256(spki_der).hexdigest()


def _load_authority(path: Path, certificates: list[x509.Certificate], skipped: list[str]) -> None:
    if not path.is_dir():
        try:
            certificates.extend(_certificates(path))
        except UsageError as error:
            error.hint = _AUTHORITIES_HINT
            raise
        return
    names = sorted(name for name in _listed(path) if name.lower().endswith(_SUFFIXES))
    if len(names) > MAX_FILES:
        raise UsageError("{}: over {} files".format(path, MAX_FILES))
    before = len(certificates)
    for name in names:
        try:
            certificates.extend(_certificates(path / name))
        except UsageError as error:
            skipped.append(error.message)
    if len(certificates) == before:
        raise UsageError("{}: no certificate in this directory".format(path), _AUTHORITIES_HINT)


def _listed(path: Path) -> list[str]:
    try:
        return os.listdir(path)
    except OSError as error:
        raise UsageError("{}: {}".format(path, error.strerror)) from error


def _certificates(path: Path) -> list[x509.Certificate]:
    data = _read(path)
    try:
        if _BEGIN in data:
            found = x509.load_pem_x509_certificates(data)
        else:
            found = [x509.load_der_x509_certificate(trim_certificate(data))]
        for one in found:
            _ = one.extensions, one.public_key()  # parsed when they are asked for; find faults now
    except Exception as error:  # bytes that are no certificate raise about anything in the library
        why = "it is PEM, but holds something else or is damaged" if _BEGIN in data else "neither PEM nor DER"
        raise UsageError("{}: no certificate that can be read: {}".format(path, why)) from error
    return found


def _read(path: Path) -> bytes:
    try:
        with open_file(path) as file:
            data = file.read(MAX_FILE_SIZE + 1)
    except OSError as error:
        raise UsageError("{}: {}".format(path, error.strerror)) from error
    if len(data) > MAX_FILE_SIZE:
        raise UsageError("{}: over {} bytes".format(path, MAX_FILE_SIZE))
    return data


def _self_signed(certificate: x509.Certificate) -> bool:
    try:
        certificate.verify_directly_issued_by(certificate)
    except Exception:  # another issuer, another key, an algorithm that nobody knows
        return False
    return True


def _load_pin(pin: str) -> list[str]:
    digest = _digest(pin)
    if digest:
        return [digest]
    path = Path(pin)
    try:
        data = _read(path)
    except UsageError as error:
        error.hint = _PINS_HINT
        raise
    try:
        return _pins(data)
    except Exception as error:
        raise UsageError("{}: no key and no list of digests: {}".format(path, error), _PINS_HINT) from error


def _pins(data: bytes) -> list[str]:
    if _BEGIN_CERTIFICATE in data:
        return [fingerprint(_spki(one.public_key())) for one in x509.load_pem_x509_certificates(data)]
    if _BEGIN_KEY in data:
        blocks = data.split(_BEGIN_KEY)[1:]
        return [fingerprint(_spki(load_pem_public_key(_BEGIN_KEY + block))) for block in blocks]
    if data[:1] == b"\x30" and not _is_text(data):  # a list may begin with the digit 0, the same byte
        return [fingerprint(_spki(_der_key(data)))]
    if len(data) <= MAX_PUBLIC_SIZE and data[:1] < b" ":  # a TPM2B begins with its size, text does not
        return [fingerprint(Public.from_tpm2b(data).spki_der())]
    return _listed_pins(data.decode("ascii"))


def _is_text(data: bytes) -> bool:
    """Not so any key in DER: the tag of an object identifier is a control character."""
    return data.isascii() and all(byte >= 0x20 or byte in b"\t\n\r" for byte in data)


def _der_key(data: bytes) -> object:
    try:
        return load_der_public_key(data)
    except (ValueError, UnsupportedAlgorithm):
        return x509.load_der_x509_certificate(trim_certificate(data)).public_key()


def _spki(key: object) -> bytes:
    encoded = key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)  # type: ignore[attr-defined]
    assert isinstance(encoded, bytes)
    return encoded


def _listed_pins(text: str) -> list[str]:
    found = []
    for number, line in enumerate(text.splitlines(), 1):
        word = line.partition("#")[0].strip()
        if not word:
            continue
        digest = _digest(word)
        if not digest:
            raise ValueError("line {} is no SHA-256 in hex".format(number))
        found.append(digest)
    if not found:
        raise ValueError("it is empty")
    return found


def _digest(text: str) -> str:
    """The digest in lower case, empty when ``text`` is none. A prefix ``sha256:`` and colons may be there."""
    digits = text.lower().removeprefix("sha256:").replace(":", "")
    return digits if len(digits) == _DIGEST_DIGITS and not digits.strip("0123456789abcdef") else ""
