"""A maker of TPMs with certificate authorities of its own: every part of a certificate can be wrong."""

import datetime

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

EK_USAGE = x509.ObjectIdentifier("2.23.133.8.1")
NOW = 1769903999.0
START = datetime.datetime(2020, 1, 1)
END = datetime.datetime(2040, 1, 1)
ABSENT = object()

_USAGES = (
    "digital_signature",
    "content_commitment",
    "key_encipherment",
    "data_encipherment",
    "key_agreement",
    "key_cert_sign",
    "crl_sign",
    "encipher_only",
    "decipher_only",
)


def key_usage(*names):
    return x509.KeyUsage(**{name: name in names for name in _USAGES})


def common_name(text):
    return x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, text)])


def tpm_name(maker="id:49465800", model="SLB 9672", version="id:0F10"):
    attributes = [
        x509.NameAttribute(x509.ObjectIdentifier("2.23.133.2.{}".format(number)), text)
        for number, text in enumerate((maker, model, version), 1)
    ]
    return x509.SubjectAlternativeName([x509.DirectoryName(x509.Name(attributes))])


def der(certificate):
    return certificate.public_bytes(serialization.Encoding.DER)


def pem(*certificates):
    return b"".join(one.public_bytes(serialization.Encoding.PEM) for one in certificates)


class Authority:
    """A key with a certificate: a root unless it has an ``issuer``. What is ABSENT is left out."""

    def __init__(self, name="root", issuer=None, key=None, **parts):
        self.key = key or ec.generate_private_key(ec.SECP256R1())
        self.name, self.issuer = common_name(name), issuer
        parts.setdefault("basic_constraints", x509.BasicConstraints(ca=True, path_length=None))
        parts.setdefault("usage", key_usage("key_cert_sign", "crl_sign"))
        identifier = x509.SubjectKeyIdentifier.from_public_key(self.key.public_key())
        parts["more"] = [*parts.get("more", ()), (identifier, False)]
        self.certificate = self._make(self.key.public_key(), self.name, issuer or self, parts)

    def endorse(self, public_key, **parts):
        """An EK certificate for a public key."""
        is_rsa = not isinstance(public_key, ec.EllipticCurvePublicKey)
        parts.setdefault("basic_constraints", x509.BasicConstraints(ca=False, path_length=None))
        parts.setdefault("usage", key_usage("key_encipherment" if is_rsa else "key_agreement"))
        parts.setdefault("extended", [EK_USAGE])
        parts.setdefault("names", tpm_name())
        return self._make(public_key, parts.pop("subject", x509.Name([])), self, parts)

    def _make(self, public_key, subject, issuer, parts):
        builder = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(parts.get("issuer_name", issuer.name))
            .public_key(public_key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(parts.get("start", START))
            .not_valid_after(parts.get("end", END))
        )
        for extension, critical in self._extensions(issuer, parts):
            if extension is not ABSENT:
                builder = builder.add_extension(extension, critical)
        return builder.sign(issuer.key, parts.get("hash", hashes.SHA256()))

    @staticmethod
    def _extensions(issuer, parts):
        yield parts.get("basic_constraints", ABSENT), True
        yield parts.get("usage", ABSENT), True
        if parts.get("extended", ABSENT) is not ABSENT:
            yield x509.ExtendedKeyUsage(parts["extended"]), False
        yield parts.get("names", ABSENT), True
        if "no_key_identifier" not in parts:
            yield x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer.key.public_key()), False
        yield from parts.get("more", ())
