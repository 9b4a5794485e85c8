"""Every structure against tpm2-pytss's own marshalling, byte for byte, both ways."""

import pytest
import tpm2_pytss as tss

from xentpm_lib.evidence.pcr import PcrSelection
from xentpm_lib.evidence.tpm_structures import (
    Attest,
    NvCertifyInfo,
    NvPublic,
    Public,
    QuoteInfo,
    Scheme,
    Signature,
    Symmetric,
)

HASHES = {
    "sha1": tss.TPM2_ALG.SHA1,
    "sha256": tss.TPM2_ALG.SHA256,
    "sha384": tss.TPM2_ALG.SHA384,
    "sha512": tss.TPM2_ALG.SHA512,
    "sm3_256": tss.TPM2_ALG.SM3_256,
    "sha3_256": tss.TPM2_ALG.SHA3_256,
    "sha3_384": tss.TPM2_ALG.SHA3_384,
    "sha3_512": tss.TPM2_ALG.SHA3_512,
}
SCHEMES = {
    None: tss.TPM2_ALG.NULL,
    "rsassa": tss.TPM2_ALG.RSASSA,
    "rsapss": tss.TPM2_ALG.RSAPSS,
    "rsaes": tss.TPM2_ALG.RSAES,
    "oaep": tss.TPM2_ALG.OAEP,
    "ecdsa": tss.TPM2_ALG.ECDSA,
    "ecdh": tss.TPM2_ALG.ECDH,
    "sm2": tss.TPM2_ALG.SM2,
    "ecschnorr": tss.TPM2_ALG.ECSCHNORR,
}
CURVES = {
    "nist_p256": tss.TPM2_ECC.NIST_P256,
    "nist_p384": tss.TPM2_ECC.NIST_P384,
    "nist_p521": tss.TPM2_ECC.NIST_P521,
}
NAME = b"\0\x0b" + b"n" * 32


def unmarshalled(kind, data):
    """tpm2-pytss's record of ``data``, all of which it has read."""
    record, size = kind.unmarshal(data)
    assert size == len(data)
    return record


def rsa(scheme=None, bits=2048, unique=b"\x80" * 256, **fields):
    return Public("rsa", scheme=scheme, key_bits=bits, modulus=unique, **fields)


def ecc(scheme=None, curve="nist_p256", x=b"x" * 32, y=b"y" * 32, **fields):
    return Public("ecc", scheme=scheme, curve=curve, x=x, y=y, **fields)


COMMON = {"name_alg": "sha256", "attributes": 0x00050072}
AES = {"symmetric": Symmetric("aes", 128, "cfb")}
PUBLICS = [
    rsa(**COMMON),
    rsa(Scheme("rsassa", "sha256"), **COMMON),
    rsa(Scheme("rsapss", "sha384"), exponent=65537, **COMMON),
    rsa(Scheme("rsaes", None), **COMMON),
    rsa(Scheme("oaep", "sha1"), **COMMON),
    rsa(bits=3072, unique=b"\x80" * 384, **COMMON),
    rsa(unique=b"", **COMMON),
    rsa(unique=bytes(256), name_alg="sha256", attributes=0x000300B2, auth_policy=b"p" * 32, **AES),
    ecc(**COMMON),
    ecc(Scheme("ecdsa", "sha256"), **COMMON),
    ecc(Scheme("ecdsa", "sha384"), "nist_p384", b"x" * 48, b"y" * 48, **COMMON),
    ecc(Scheme("ecdsa", "sha512"), "nist_p521", b"\1" * 66, b"\1" * 66, **COMMON),
    ecc(Scheme("ecdh", "sha256"), **COMMON),
    ecc(Scheme("ecschnorr", "sha256"), **COMMON),
    ecc(x=b"", y=b"", **COMMON),
    ecc(x=b"short", name_alg="sha512", attributes=0x000300B2, auth_policy=b"p" * 64, **AES),
]


def tss_public(public):
    """The same public area, built field by field with tpm2-pytss."""
    area = tss.TPMT_PUBLIC(
        type=tss.TPM2_ALG.RSA if public.type == "rsa" else tss.TPM2_ALG.ECC,
        nameAlg=HASHES[public.name_alg],
        objectAttributes=public.attributes,
        authPolicy=public.auth_policy,
    )
    detail = area.parameters.rsaDetail if public.type == "rsa" else area.parameters.eccDetail
    detail.symmetric.algorithm = tss.TPM2_ALG.NULL
    if public.symmetric is not None:
        detail.symmetric.algorithm = tss.TPM2_ALG.AES
        detail.symmetric.keyBits.aes = public.symmetric.key_bits
        detail.symmetric.mode.aes = tss.TPM2_ALG.CFB
    detail.scheme.scheme = SCHEMES[public.scheme and public.scheme.name]
    if public.scheme is not None and public.scheme.hash is not None:
        detail.scheme.details.anySig.hashAlg = HASHES[public.scheme.hash]
    if public.type == "rsa":
        detail.keyBits, detail.exponent = public.key_bits, public.exponent
        area.unique.rsa = tss.TPM2B_PUBLIC_KEY_RSA(public.modulus)
    else:
        detail.curveID, detail.kdf.scheme = CURVES[public.curve], tss.TPM2_ALG.NULL
        area.unique.ecc = tss.TPMS_ECC_POINT(
            x=tss.TPM2B_ECC_PARAMETER(public.x), y=tss.TPM2B_ECC_PARAMETER(public.y)
        )
    return area


@pytest.mark.parametrize("public", PUBLICS)
def test_public(public):
    area = tss_public(public)
    assert public.to_tpmt() == area.marshal()
    assert public.to_tpm2b() == tss.TPM2B_PUBLIC(area).marshal()
    assert Public.from_tpmt(area.marshal()) == public
    assert unmarshalled(tss.TPM2B_PUBLIC, public.to_tpm2b()).marshal() == public.to_tpm2b()
    assert public.name() == bytes(area.get_name())


@pytest.mark.parametrize(
    "template",
    [
        "rsa2048",
        "rsa3072:rsapss-sha384:null",
        "rsa2048:aes256cfb",
        "ecc256",
        "ecc384:ecdsa-sha384:null",
        "ecc521:aes128cfb",
    ],
)
def test_templates_of_tpm2_pytss(template):
    use = "sign" if "null" in template else "decrypt"
    attributes = tss.TPMA_OBJECT.parse("fixedtpm|fixedparent|sensitivedataorigin|" + use)
    data = tss.TPM2B_PUBLIC.parse(template, objectAttributes=attributes).marshal()
    assert Public.from_tpm2b(data).to_tpm2b() == data


@pytest.mark.parametrize(
    "public", [rsa(**COMMON), rsa(bits=3072, unique=b"\x80" * 384, exponent=3, **COMMON)]
)
def test_pem(public):
    assert public.pem().encode() == tss_public(public).to_pem()
    assert public.spki_der() == tss_public(public).to_der()


@pytest.mark.parametrize(
    "text",
    ["sha256:0,1,2+sha384:all", "sha1:23", "sha512:8,9,16,17", "+".join(name + ":1,22" for name in HASHES)],
)
def test_pcr_selection(text):
    selection = PcrSelection.from_text(text)
    if "sm3" not in text:  # tpm2-pytss has other names for some
        assert selection.to_bytes() == tss.TPML_PCR_SELECTION.parse(text).marshal()
    assert unmarshalled(tss.TPML_PCR_SELECTION, selection.to_bytes()).marshal() == selection.to_bytes()
    assert PcrSelection.from_bytes(tss_selection(selection).marshal()) == selection


def tss_selection(selection):
    return tss.TPML_PCR_SELECTION(
        [tss.TPMS_PCR_SELECTION(hash=HASHES[bank], pcrs=indices) for bank, indices in selection.banks]
    )


def tss_attest(attest):
    record = tss.TPMS_ATTEST(
        magic=0xFF544347,
        qualifiedSigner=attest.qualified_signer,
        extraData=attest.extra_data,
        clockInfo=tss.TPMS_CLOCK_INFO(
            clock=attest.clock,
            resetCount=attest.reset_count,
            restartCount=attest.restart_count,
            safe=attest.safe,
        ),
        firmwareVersion=attest.firmware_version,
    )
    if attest.quote is not None:
        record.type = tss.TPM2_ST.ATTEST_QUOTE
        record.attested.quote.pcrSelect = tss_selection(attest.quote.selection)
        record.attested.quote.pcrDigest = tss.TPM2B_DIGEST(attest.quote.pcr_digest)
    else:
        record.type = tss.TPM2_ST.ATTEST_NV
        record.attested.nv.indexName = tss.TPM2B_NAME(attest.nv.index_name)
        record.attested.nv.offset = attest.nv.offset
        record.attested.nv.nvContents = tss.TPM2B_MAX_NV_BUFFER(attest.nv.contents)
    return record


QUOTE = Attest(
    "quote",
    NAME,
    b"nonce",
    0x0102030405060708,
    9,
    10,
    True,
    0x1112131415161718,
    quote=QuoteInfo(PcrSelection.from_text("sha256:0,7+sha1:all"), b"d" * 32),
)
ATTESTS = [
    QUOTE,
    QUOTE._replace(safe=False, extra_data=b"", qualified_signer=b"\0\x0c" + b"n" * 48),
    QUOTE._replace(extra_data=b"e" * 64, quote=QuoteInfo(PcrSelection(()), b"")),
    QUOTE._replace(type="nv_certify", quote=None, nv=NvCertifyInfo(NAME, 0, b"c" * 48)),
    QUOTE._replace(type="nv_certify", quote=None, nv=NvCertifyInfo(NAME, 7, b"")),
]


@pytest.mark.parametrize("attest", ATTESTS)
def test_attest(attest):
    data = tss_attest(attest).marshal()
    assert attest.to_bytes() == data
    assert Attest.from_bytes(data) == attest
    assert unmarshalled(tss.TPMS_ATTEST, data).marshal() == data


@pytest.mark.parametrize("scheme", ["rsassa", "rsapss"])
@pytest.mark.parametrize("hash_name", sorted(HASHES))
def test_rsa_signature(scheme, hash_name):
    record = tss.TPMT_SIGNATURE(sigAlg=SCHEMES[scheme])
    detail = record.signature.rsassa if scheme == "rsassa" else record.signature.rsapss
    detail.hash, detail.sig = HASHES[hash_name], tss.TPM2B_PUBLIC_KEY_RSA(b"s" * 256)
    check_signature(Signature(scheme, hash_name, rsa=b"s" * 256), record)


@pytest.mark.parametrize("size", [1, 31, 32, 48, 66])
def test_ecdsa_signature(size):
    record = tss.TPMT_SIGNATURE(sigAlg=tss.TPM2_ALG.ECDSA)
    record.signature.ecdsa.hash = tss.TPM2_ALG.SHA384
    record.signature.ecdsa.signatureR = tss.TPM2B_ECC_PARAMETER(b"r" * size)
    record.signature.ecdsa.signatureS = tss.TPM2B_ECC_PARAMETER(b"s" * size)
    check_signature(Signature("ecdsa", "sha384", r=b"r" * size, s=b"s" * size), record)


def check_signature(signature, record):
    data = record.marshal()
    assert signature.to_bytes() == data
    assert Signature.from_bytes(data) == signature
    assert unmarshalled(tss.TPMT_SIGNATURE, data).marshal() == data


@pytest.mark.parametrize(
    "public",
    [
        NvPublic(0x01C10110, "sha256", 0x22060002, 20),
        NvPublic(0x01C00002, "sha1", 0x42072001, 1016),
        NvPublic(0x01800000, "sha512", 0x000A0008, 0, b"p" * 64),
    ],
)
def test_nv_public(public):
    record = tss.TPM2B_NV_PUBLIC(
        tss.TPMS_NV_PUBLIC(
            nvIndex=public.index,
            nameAlg=HASHES[public.name_alg],
            attributes=public.attributes,
            authPolicy=public.auth_policy,
            dataSize=public.data_size,
        )
    )
    assert public.to_tpm2b() == record.marshal()
    assert NvPublic.from_tpm2b(record.marshal()) == public
    assert unmarshalled(tss.TPM2B_NV_PUBLIC, public.to_tpm2b()).marshal() == public.to_tpm2b()
    assert public.name() == bytes(record.nvPublic.get_name())
