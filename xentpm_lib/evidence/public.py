"""TPMT_PUBLIC: the public area of an RSA or ECC key, or a template to make one from.

Spec: TPM 2.0 Library Part 2, TPMT_PUBLIC, TPMS_RSA_PARMS, TPMS_ECC_PARMS.
"""

from typing import NamedTuple, Optional, Tuple

from xentpm_lib.errors import FormatError
from xentpm_lib.evidence.algorithms import MAX_DIGEST_SIZE, hash_by_name
from xentpm_lib.evidence.attributes import (
    DECRYPT,
    FIXED_PARENT,
    FIXED_TPM,
    RESTRICTED,
    SENSITIVE_DATA_ORIGIN,
    SIGN,
    check_object_attributes,
    object_attribute_names,
)
from xentpm_lib.evidence.key_parameters import (
    ALG_NULL,
    CURVE_SIZES,
    CURVES,
    KEY_TYPES,
    Scheme,
    Symmetric,
    id_of,
    pack_scheme,
    pack_symmetric,
    read_hash,
    read_id,
    read_scheme,
    read_symmetric,
)
from xentpm_lib.evidence.names import check_policy, entity_name
from xentpm_lib.evidence.spki import encode_ecc_key, encode_pem, encode_point, encode_rsa_key
from xentpm_lib.evidence.wire import Reader, pack_sized, pack_u16, pack_u32

__all__ = ["MAX_ECC_SIZE", "MAX_PUBLIC_SIZE", "MAX_RSA_SIZE", "Public"]

MAX_RSA_SIZE = 512  # bytes, RSA-4096
MAX_ECC_SIZE = 66  # bytes of one coordinate, P-521
MAX_PUBLIC_SIZE = 1024  # bytes of a TPM2B_PUBLIC; the largest possible one has 606
DEFAULT_EXPONENT = 65537  # what an exponent of 0 stands for

_RSA_BITS = (1024, 2048, 3072, 4096)
_MIN_ATTESTATION_RSA_BITS = 2048
_SIGNING_SCHEMES = ("rsassa", "rsapss", "ecdsa")
_ATTESTATION_KEY_NEEDS = FIXED_TPM | FIXED_PARENT | SENSITIVE_DATA_ORIGIN | RESTRICTED | SIGN


class Public(NamedTuple):
    """The public area of a key, or of a template.

    type: ``rsa`` or ``ecc``.
    name_alg: the hash of the Name and of the policy.
    attributes: TPMA_OBJECT, 32 bits.
    auth_policy: empty, or a digest of ``name_alg``.
    symmetric, scheme: None where the structure says TPM_ALG_NULL.
    key_bits, exponent, modulus: RSA only. exponent: 0 stands for 65537.
    curve, x, y: ECC only. curve: ``nist_p256``, ``nist_p384`` or ``nist_p521``.
    modulus, x, y: of any length up to the limit, because a template's are empty or zeros.
    """

    type: str
    name_alg: str
    attributes: int
    auth_policy: bytes = b""
    symmetric: Optional[Symmetric] = None
    scheme: Optional[Scheme] = None
    key_bits: int = 0
    exponent: int = 0
    modulus: bytes = b""
    curve: str = ""
    x: bytes = b""
    y: bytes = b""

    @classmethod
    def from_tpmt(cls, data: bytes) -> "Public":
        """Parse a TPMT_PUBLIC.

        Raises:
            FormatError: another type of object than a key, or anything not as specified.
        """
        reader = Reader(data, "TPMT_PUBLIC")
        public = _read_public(reader)
        reader.end()
        return public

    @classmethod
    def from_tpm2b(cls, data: bytes) -> "Public":
        """Parse a TPM2B_PUBLIC. Raises: FormatError, as ``from_tpmt``."""
        reader = Reader(data, "TPM2B_PUBLIC")
        content = reader.sized(MAX_PUBLIC_SIZE - 2)
        reader.end()
        return cls.from_tpmt(content)

    def to_tpmt(self) -> bytes:
        """The TPMT_PUBLIC. Raises: FormatError for a field that cannot be."""
        kind = pack_u16(id_of(KEY_TYPES, self.type, "type"))
        _check(self)
        parts = (
            kind,
            pack_u16(hash_by_name(self.name_alg).tpm_id),
            pack_u32(self.attributes),
            pack_sized(self.auth_policy, MAX_DIGEST_SIZE),
            pack_symmetric(self.symmetric),
            pack_scheme(self.type, self.scheme),
            _pack_rsa(self) if self.type == "rsa" else _pack_ecc(self),
        )
        return b"".join(parts)

    def to_tpm2b(self) -> bytes:
        """The TPM2B_PUBLIC. Raises: FormatError for a field that cannot be."""
        return pack_sized(self.to_tpmt(), MAX_PUBLIC_SIZE - 2)

    def name(self) -> bytes:
        """The key's Name: 2 bytes and a digest of ``name_alg``. Raises: FormatError."""
        return entity_name(self.name_alg, self.to_tpmt())

    def attribute_names(self) -> Tuple[str, ...]:
        """The attributes that are set, spelled as the specification does: ``fixedTPM``."""
        return object_attribute_names(self.attributes)

    def attestation_key_faults(self) -> Tuple[str, ...]:
        """Why this key's signature would not prove that a TPM made what it signs.

        Empty for a key that was made in its TPM, never leaves it, and signs nothing that looks
        like an attest unless the TPM itself made it. A fault reads ``fixedTPM is not set``.

        Spec: TPM 2.0 Library Part 1, Restricted Attribute; Part 2, TPMA_OBJECT.
        """
        missing = object_attribute_names(_ATTESTATION_KEY_NEEDS & ~self.attributes)
        faults = ["{} is not set".format(name) for name in missing]
        if self.attributes & DECRYPT:
            faults.append("decrypt is set")
        if self.name_alg == "sha1":
            faults.append("its Name is a SHA-1 digest")
        faults.extend(_scheme_faults(self.scheme))
        faults.extend(_strength_faults(self))
        faults.extend(_number_faults(self))
        return tuple(faults)

    def key_bytes(self) -> bytes:
        """The bytes that every encoding of this key contains: modulus or uncompressed point.

        Raises:
            FormatError: this is a template, or a number has not the size that it should have.
        """
        faults = _number_faults(self)
        if faults:
            raise FormatError("no usable public key: {}".format(", ".join(faults)), where="unique")
        return self.modulus if self.type == "rsa" else encode_point(*_padded_point(self))

    def spki_der(self) -> bytes:
        """The key as a DER SubjectPublicKeyInfo.

        Raises:
            FormatError: this is a template, or a number has not the size that it should have.

        Spec: RFC 3279 section 2.3.1, RFC 5480 section 2.
        """
        self.key_bytes()
        if self.type == "rsa":
            return encode_rsa_key(self.modulus, self.exponent or DEFAULT_EXPONENT)
        return encode_ecc_key(self.curve, *_padded_point(self))

    def pem(self) -> str:
        """``spki_der()`` as PEM, ``BEGIN PUBLIC KEY``, ending in a newline. Raises: FormatError."""
        return encode_pem("PUBLIC KEY", self.spki_der())


def _read_public(reader: Reader) -> Public:
    kind = read_id(reader, KEY_TYPES, "object type")
    common = Public(
        type=kind,
        name_alg=read_hash(reader),
        attributes=reader.u32(),
        auth_policy=reader.sized(MAX_DIGEST_SIZE),
        symmetric=read_symmetric(reader),
        scheme=read_scheme(reader, kind),
    )
    public = _read_rsa(reader, common) if kind == "rsa" else _read_ecc(reader, common)
    _check(public)
    return public


def _read_rsa(reader: Reader, common: Public) -> Public:
    bits, exponent = reader.u16(), reader.u32()
    return common._replace(key_bits=bits, exponent=exponent, modulus=reader.sized(MAX_RSA_SIZE))


def _read_ecc(reader: Reader, common: Public) -> Public:
    curve = read_id(reader, CURVES, "curve")
    # Spec: TPMS_ECC_PARMS: no command uses a key derivation scheme here, and it has to be NULL.
    read_id(reader, {"null": ALG_NULL}, "key derivation scheme")
    return common._replace(curve=curve, x=reader.sized(MAX_ECC_SIZE), y=reader.sized(MAX_ECC_SIZE))


def _pack_rsa(public: Public) -> bytes:
    sizes = pack_u16(public.key_bits) + pack_u32(public.exponent)
    return sizes + pack_sized(public.modulus, MAX_RSA_SIZE)


def _pack_ecc(public: Public) -> bytes:
    curve = pack_u16(id_of(CURVES, public.curve, "curve")) + pack_u16(ALG_NULL)
    return curve + pack_sized(public.x, MAX_ECC_SIZE) + pack_sized(public.y, MAX_ECC_SIZE)


def _check(public: Public) -> None:
    """What holds in a public area that is read as in one that is written."""
    rsa_part = (public.key_bits, public.exponent, public.modulus)
    ecc_part = (public.curve, public.x, public.y)
    if any(ecc_part if public.type == "rsa" else rsa_part):
        raise FormatError("fields of another type of key are set", where="type")
    check_object_attributes(public.attributes)
    check_policy(public.auth_policy, public.name_alg)
    if public.type == "rsa" and public.key_bits not in _RSA_BITS:
        raise FormatError("an RSA key of {} bits".format(public.key_bits), where="key_bits")
    if public.exponent and (public.exponent == 1 or public.exponent % 2 == 0):
        raise FormatError("{} is no RSA exponent".format(public.exponent), where="exponent")


def _scheme_faults(scheme: Optional[Scheme]) -> Tuple[str, ...]:
    if scheme is None or scheme.name not in _SIGNING_SCHEMES:
        return ("it has no signing scheme of its own",)
    return ("it signs SHA-1 digests",) if scheme.hash == "sha1" else ()


def _strength_faults(public: Public) -> Tuple[str, ...]:
    if public.type == "rsa" and public.key_bits < _MIN_ATTESTATION_RSA_BITS:
        return ("RSA with {} bits is too weak".format(public.key_bits),)
    if public.type == "rsa" and public.exponent not in (0, DEFAULT_EXPONENT):
        return ("its RSA exponent is {}".format(public.exponent),)
    return ()


def _number_faults(public: Public) -> Tuple[str, ...]:
    if public.type == "rsa":
        exact = len(public.modulus) * 8 == public.key_bits and public.modulus[:1] >= b"\x80"
        return () if exact else ("the modulus has not {} bits".format(public.key_bits),)
    point = (public.x, public.y)
    fits = all(1 <= len(number) <= CURVE_SIZES.get(public.curve, 0) for number in point)
    return () if fits and any(map(any, point)) else ("there is no point of the curve",)


def _padded_point(public: Public) -> Tuple[bytes, bytes]:
    size = CURVE_SIZES[public.curve]
    return public.x.rjust(size, b"\0"), public.y.rjust(size, b"\0")
