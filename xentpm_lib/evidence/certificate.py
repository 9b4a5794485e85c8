"""As much of an EK certificate as a host needs to know: where it ends, and whose key it holds.

Whether a certificate can be trusted, and what it says, is for the verifier and an X.509 library.
"""

from typing import List, Tuple

from xentpm_lib.errors import FormatError
from xentpm_lib.evidence.der import element_size
from xentpm_lib.evidence.public import Public

__all__ = [
    "MAX_CERTIFICATES",
    "MAX_CERTIFICATE_SIZE",
    "certificate_holds_key",
    "split_certificates",
    "trim_certificate",
]

MAX_CERTIFICATE_SIZE = 16 * 1024  # bytes; TPMs carry one to two KiB
MAX_CERTIFICATES = 16  # in a chain; the longest known has four


def trim_certificate(data: bytes, where: str = "certificate") -> bytes:
    """The certificate without what TPM manufacturers leave behind it in an NV index.

    Raises:
        FormatError: no DER SEQUENCE, shorter than it says, or over 16 KiB.
    """
    size = element_size(data, where)
    if size > MAX_CERTIFICATE_SIZE:
        message = "a certificate of {} bytes, at most {}".format(size, MAX_CERTIFICATE_SIZE)
        raise FormatError(message, where=where)
    return data[:size]


def split_certificates(data: bytes, where: str = "certificates") -> Tuple[bytes, ...]:
    """The certificates that were written one after the other, nothing between or behind them.

    Raises:
        FormatError: over 16, or one of them is as ``trim_certificate`` refuses it.
    """
    certificates: List[bytes] = []
    while data:
        if len(certificates) == MAX_CERTIFICATES:
            raise FormatError("over {} certificates".format(MAX_CERTIFICATES), where=where)
        certificates.append(trim_certificate(data, "{}[{}]".format(where, len(certificates))))
        data = data[len(certificates[-1]) :]
    return tuple(certificates)


def certificate_holds_key(certificate: bytes, public: Public) -> bool:
    """Whether the modulus or the point of ``public`` is found in the certificate.

    Tells which of a TPM's certificates belongs to which EK. It proves nothing: a forged
    certificate can hold any bytes.

    Raises:
        FormatError: ``public`` is a template, without a key to look for.
    """
    return public.key_bytes() in certificate
