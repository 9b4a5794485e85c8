"""The identity document: who a host's TPM is, as XML that existing clients search for literals.

They look for ``<xentxt:NAME>`` and ``</xentxt:NAME>`` with a plain text search; so there is exactly
one spelling of each document, and reading is writing turned round: whatever is not, byte for byte,
what ``to_xml`` makes of the fields found in it is refused. No XML parser, no entities, no surprises.

Nothing in the document is authentic. A verifier trusts the EK because its certificate chains up to
a manufacturer, and the AK because the TPM that holds that EK opened a challenge naming it.
"""

from typing import Dict, Iterator, NamedTuple, Optional, Tuple

from xentpm_lib.errors import FormatError
from xentpm_lib.evidence.certificate import MAX_CERTIFICATE_SIZE, split_certificates, trim_certificate
from xentpm_lib.evidence.encoding import check_uuid, decode_base64, encode_base64
from xentpm_lib.evidence.public import MAX_PUBLIC_SIZE, Public

__all__ = ["MAX_CHAIN_SIZE", "MAX_IDENTITY_SIZE", "TPM_VERSION", "Identity"]

MAX_IDENTITY_SIZE = 256 * 1024  # characters
MAX_CHAIN_SIZE = 64 * 1024  # bytes of all certificates of the chain together
TPM_VERSION = "2.0"

_EK_CERTIFICATE = "TPM_Endorsement_Certficate"  # misspelled since the first release; clients search for it
_EK_PEM = "TPM_Endorsement_KEY_PEM"
_AK_PEM = "TPM_Attestation_KEY_PEM"
_AK_TPM2B = "TPM_Attestation_KEY_TCPA"
_SYSTEM_UUID = "System_UUID"
_VERSION = "TPM_Version"
_EK_TPM2B = "TPM_Endorsement_KEY_TPM2B"
_CHAIN = "TPM_Endorsement_Certificate_Chain"
_ELEMENTS = (_EK_CERTIFICATE, _EK_PEM, _AK_PEM, _AK_TPM2B, _SYSTEM_UUID, _VERSION, _EK_TPM2B)

_HEADER = (
    '<?xml version="1.0" encoding="UTF-8"?>\n'
    '<xentxt:xentxtdata xmlns:xentxt="http://www.XenTxt.org/XenTxtGetAIK">\n'
)
_FOOTER = "</xentxt:xentxtdata>"


class Identity(NamedTuple):
    """The identity of a host's TPM. Untrusted until enrolment has checked it.

    ek_certificate: DER without trailing bytes; None when the TPM has none.
    ek, ak: public areas of endorsement and attestation key.
    system_uuid: the SMBIOS UUID, 36 characters of either case; empty when the host has none.
    ek_certificate_chain: DER certificates of the EK's issuers that the TPM itself carries.
    """

    ek_certificate: Optional[bytes]
    ek: Public
    ak: Public
    system_uuid: str
    ek_certificate_chain: Tuple[bytes, ...] = ()

    def to_xml(self) -> str:
        """The document, without a newline at its end.

        Raises:
            FormatError: a field that cannot be; the path is the element's name.
        """
        if self.system_uuid:
            check_uuid(self.system_uuid, _SYSTEM_UUID, any_case=True)
        values = [
            encode_base64(_check_certificate(self.ek_certificate)),
            self.ek.pem(),
            self.ak.pem(),
            encode_base64(self.ak.to_tpm2b()),
            self.system_uuid,
            TPM_VERSION,
            encode_base64(self.ek.to_tpm2b()),
        ]
        elements = list(zip(_ELEMENTS, values))
        if self.ek_certificate_chain:
            elements.append((_CHAIN, encode_base64(_join_chain(self.ek_certificate_chain))))
        return _HEADER + "".join(map(_element, elements)) + _FOOTER

    @classmethod
    def from_xml(cls, text: str) -> "Identity":
        """Parse a document that ``to_xml`` wrote; one newline may follow it, as ``xe`` prints it.

        Raises:
            FormatError: anything else; the path is the element's name.
        """
        if len(text) > MAX_IDENTITY_SIZE:
            raise FormatError("longer than {} characters".format(MAX_IDENTITY_SIZE), where="identity")
        document = text[:-1] if text.endswith("\n") else text
        values = dict(_split(document))
        identity = cls(
            ek_certificate=_decode(values, _EK_CERTIFICATE, MAX_CERTIFICATE_SIZE) or None,
            ek=Public.from_tpm2b(_decode(values, _EK_TPM2B, MAX_PUBLIC_SIZE)),
            ak=Public.from_tpm2b(_decode(values, _AK_TPM2B, MAX_PUBLIC_SIZE)),
            system_uuid=values[_SYSTEM_UUID],
            ek_certificate_chain=split_certificates(_decode(values, _CHAIN, MAX_CHAIN_SIZE), _CHAIN),
        )
        _compare(values, dict(_split(identity.to_xml())))
        return identity


def _element(element: Tuple[str, str]) -> str:
    return "<xentxt:{0}>{1}</xentxt:{0}>\n".format(*element)


def _split(document: str) -> Iterator[Tuple[str, str]]:
    """(name, text) of each element, all in the one order that there is."""
    if not document.startswith(_HEADER) or not document.endswith(_FOOTER):
        raise FormatError("not an xentxt:xentxtdata document", where="identity")
    rest = document[len(_HEADER) : -len(_FOOTER)]
    names = _ELEMENTS + (_CHAIN,) if "<xentxt:{}>".format(_CHAIN) in rest else _ELEMENTS
    for name in names:
        opening, closing = _element((name, "\0")).split("\0")
        value, found, rest = rest.partition(closing)
        if not found or not value.startswith(opening):
            raise FormatError("the element is missing or not in its place", where=name)
        yield name, value[len(opening) :]
    if rest:
        raise FormatError("something follows the last element", where="identity")


def _decode(values: Dict[str, str], name: str, maximum: int) -> bytes:
    return decode_base64(values.get(name, ""), name, 0, maximum)


def _compare(found: Dict[str, str], written: Dict[str, str]) -> None:
    for name, value in found.items():
        if written.get(name) != value:
            raise FormatError("not what the other elements make it", where=name)


def _check_certificate(certificate: Optional[bytes]) -> bytes:
    if certificate is None:
        return b""
    if trim_certificate(certificate, _EK_CERTIFICATE) != certificate:
        raise FormatError("trailing bytes behind the certificate", where=_EK_CERTIFICATE)
    return certificate


def _join_chain(chain: Tuple[bytes, ...]) -> bytes:
    joined = b"".join(chain)
    if len(joined) > MAX_CHAIN_SIZE:
        raise FormatError("{} bytes, at most {}".format(len(joined), MAX_CHAIN_SIZE), where=_CHAIN)
    if split_certificates(joined, _CHAIN) != chain:
        raise FormatError("a member is not one certificate", where=_CHAIN)
    return joined
