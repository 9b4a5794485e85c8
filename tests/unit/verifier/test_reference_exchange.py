"""Reference values travel in signed files, and nothing is read that no trusted key has signed."""

import base64
import hashlib
import json
import uuid
from dataclasses import replace

import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from support.evidence_maker import SoftwareAttester
from xentpm_lib.errors import EvidenceError, FormatError, UsageError
from xentpm_lib.evidence.boot_log import BootEvent
from xentpm_lib.verifier.reference.exchange import EXPORT_TYPE, export_signed, import_signed
from xentpm_lib.verifier.reference.trusted_keys import key_id, read_trusted_keys

NOW = 1_800_000_000.25
KEY = ec.generate_private_key(ec.SECP256R1())
OTHER = ec.generate_private_key(ec.SECP256R1())
HOST = SoftwareAttester(boot_log=(BootEvent(9, {"sha256": bytes(32)}, "/boot/xen.gz"),))
LOG_NAME = "ab" * 32
REFERENCE = HOST.reference(label="as installed", groups=frozenset({"racks"}))


def exported(*references, key=KEY, **words):
    return export_signed(references or (REFERENCE,), key, "jo", NOW, **words)


def imported(text, *keys, **words):
    return import_signed(text, keys or (KEY.public_key(),), "ada", NOW + 5, **words)


def document(text):
    part = text.split(".")[1]
    return json.loads(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)))


def signed(content, key=KEY, algorithm="ES256", **header):
    """A file with any content, rightly signed."""
    payload = content if isinstance(content, bytes) else json.dumps(content).encode()
    header = {"typ": EXPORT_TYPE, "kid": key_id(KEY.public_key()), **header}
    return jwt.api_jws.PyJWS().encode(payload, key, algorithm, headers=header)


def changed(path, value):
    """A rightly signed file, one value of which is another."""
    content = document(exported())
    place = content
    *parents, last = path
    for part in parents:
        place = place[part]
    place[last] = value
    return signed(content)


def test_what_is_exported_is_imported_without_its_assignments():
    found = imported(exported())
    (one,) = found.references
    assert one == replace(
        REFERENCE,
        origin="imported",
        created_at=NOW + 5,
        created_by="ada (made by admin)",
        hosts=frozenset(),
        groups=frozenset(),
    )
    assert (found.exported_at, found.exported_by) == (NOW, "jo")
    assert found.key_id == key_id(KEY.public_key())


def test_the_logs_that_are_named_travel_along():
    log = HOST.event_log()
    name = hashlib.sha256(log).hexdigest()
    reference = replace(REFERENCE, event_log=name)
    found = imported(exported(reference, event_logs={name: log, LOG_NAME: b"of another"}))
    assert found.event_logs == {name: log}
    assert found.references[0].event_log == name


def test_a_file_is_one_line_of_ascii():
    text = exported()
    assert text.isascii()
    assert text.count("\n") == 1
    imported("\r\n" + text + "\n")


def test_one_of_several_trusted_keys_is_enough():
    imported(exported(), OTHER.public_key(), KEY.public_key())


@pytest.mark.parametrize("keys", [(), (OTHER.public_key(),)], ids=["none", "another"])
def test_no_other_key_is_believed(keys):
    with pytest.raises(EvidenceError, match="no trusted key"):
        import_signed(exported(), keys, "ada", NOW)


def test_a_changed_file_is_refused():
    header, payload, signature = exported().strip().split(".")
    content = document(exported())
    content["references"][0]["label"] = "forged"
    forged = base64.urlsafe_b64encode(json.dumps(content).encode()).rstrip(b"=").decode()
    for text in (
        f"{header}.{forged}.{signature}",
        f"{header}.{payload}.{'A' * len(signature)}",
        f"{header}.{payload}.",
        f"{header}.{payload}",
        "",
        "\u00e9.a.b",
        "{}",
        "a" * 2000 + ".b.c",
    ):
        with pytest.raises(EvidenceError):
            imported(text)


def test_unsigned_and_symmetric_files_are_refused():
    secret = KEY.public_key().public_bytes(
        serialization.Encoding.X962, serialization.PublicFormat.UncompressedPoint
    )
    content = document(exported())
    for text in (signed(content, None, "none"), signed(content, secret, "HS256")):
        with pytest.raises(EvidenceError, match="no trusted key"):
            imported(text)


@pytest.mark.parametrize(
    "header",
    [{"typ": "JWT"}, {"kid": "other"}, {"jku": "https://example.com"}, {"x": 1}],
    ids=["type", "key id", "jku", "unknown"],
)
def test_another_header_is_refused(header):
    """A result that the station signed, a token, is no file of reference values."""
    with pytest.raises(EvidenceError):
        imported(signed(document(exported()), **header))


BAD = [
    (("version",), 2),
    (("version",), True),
    (("type",), "other"),
    (("surplus",), 1),
    (("exported_at",), "2026-01-01"),
    (("exported_by",), "\x1b[31m"),
    (("references",), []),
    (("references",), {}),
    (("references", 0, "id"), "1"),
    (("references", 0, "label"), ""),
    (("references", 0, "label"), 1),
    (("references", 0, "created_at"), None),
    (("references", 0, "created_by"), ""),
    (("references", 0, "source_host"), "host1"),
    (("references", 0, "hosts"), [HOST.host_id]),
    (("references", 0, "pcrs"), {}),
    (("references", 0, "pcrs", "sha256"), {}),
    (("references", 0, "pcrs", "md5"), {"0": ""}),
    (("references", 0, "pcrs", "sha256", "24"), "00" * 32),
    (("references", 0, "pcrs", "sha256", "0"), "00" * 20),
    (("references", 0, "event_log"), "ab"),
    (("references", 0, "boot_log"), 1),
    (("event_logs",), {LOG_NAME: "YQ=="}),
    (("event_logs",), []),
]


@pytest.mark.parametrize(("path", "value"), BAD, ids=[".".join(map(str, path)) for path, _ in BAD])
def test_a_signed_file_is_read_to_the_last_member(path, value):
    with pytest.raises(FormatError):
        imported(changed(path, value))


@pytest.mark.parametrize("payload", [b"", b"\xff", b"[]", b'{"version": NaN}', b'{"a":1,"a":1}'])
def test_signed_rubbish_is_refused(payload):
    with pytest.raises(FormatError):
        imported(signed(payload))


def test_an_id_twice_and_an_id_that_is_here_are_refused():
    one = document(exported())["references"][0]
    with pytest.raises(FormatError, match="twice"):
        imported(changed(("references",), [one, one]))
    with pytest.raises(UsageError, match="here already"):
        imported(exported(), known={REFERENCE.reference_id})
    imported(exported(), known={str(uuid.uuid4())})


def test_what_was_retired_is_not_passed_on():
    with pytest.raises(UsageError, match="retired"):
        exported(replace(REFERENCE, retired_at=NOW))
    with pytest.raises(UsageError, match="0 reference values"):
        export_signed((), KEY, "jo", NOW)


def pem(key):
    return (
        key.public_key()
        .public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
        .decode()
    )


def jwk(key, **members):
    point = key.public_key().public_numbers()
    x, y = (
        base64.urlsafe_b64encode(number.to_bytes(32, "big")).decode()[:43] for number in (point.x, point.y)
    )
    return {"kty": "EC", "crv": "P-256", "x": x, "y": y, "kid": "1", "use": "sig", **members}


@pytest.mark.parametrize(
    ("text", "keys"),
    [
        (pem(KEY), [KEY]),
        ("# ours\n" + pem(KEY) + pem(OTHER), [KEY, OTHER]),
        (json.dumps(jwk(KEY)), [KEY]),
        (json.dumps({"keys": [jwk(KEY), jwk(OTHER)]}), [KEY, OTHER]),
    ],
    ids=["pem", "pems", "jwk", "jwks"],
)
def test_trusted_keys_are_read(text, keys):
    assert list(map(key_id, read_trusted_keys(text))) == [key_id(key.public_key()) for key in keys]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----",
        pem(ec.generate_private_key(ec.SECP384R1())),
        pem(rsa.generate_private_key(65537, 2048)),
        '{"keys": []}',
        '{"keys": 1}',
        '{"keys": [1]}',
        "{",
        json.dumps(jwk(KEY, crv="P-384")),
        json.dumps(jwk(KEY, x="A" * 43)),
        json.dumps(jwk(KEY, x=None)),
        json.dumps(jwk(KEY, x="+" * 43)),
        json.dumps(jwk(KEY, d="A" * 43)),
        "#" * (64 * 1024 + 1),
    ],
)
def test_what_is_no_p256_public_key_is_refused(text):
    with pytest.raises(UsageError, match=r"public keys?"):
        read_trusted_keys(text)


def test_the_key_id_is_the_thumbprint_of_rfc_7638():
    required = {name: jwk(KEY)[name] for name in ("crv", "kty", "x", "y")}
    digest = hashlib.sha256(json.dumps(required, separators=(",", ":")).encode()).digest()
    assert key_id(KEY.public_key()) == base64.urlsafe_b64encode(digest).decode().rstrip("=")
