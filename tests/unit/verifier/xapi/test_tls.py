"""Servers that are recognised, by authority and host name or by pin; nothing is sent to others."""

from __future__ import annotations

import datetime
import ipaddress
from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from support.hostile_server import HostileServer, success
from xentpm_lib.errors import UsageError
from xentpm_lib.verifier.errors import CollectionError
from xentpm_lib.verifier.records import TlsTrust
from xentpm_lib.verifier.xapi.pool import PoolClient
from xentpm_lib.verifier.xapi.tls import fetch_certificate, fingerprint

Serve = Callable[..., HostileServer]
Connect = Callable[..., PoolClient]
HOST = "a6cc761c-d5d8-4725-8646-2071754ea0ef"


def quote(client: PoolClient) -> str:
    return client.call_plugin(HOST, "tpm_get_quote", {})


def refused(client: PoolClient, server: HostileServer) -> str:
    """The message; nothing was asked of the server since ``server.calls`` was emptied."""
    server.calls.clear()
    with pytest.raises(CollectionError) as caught:
        quote(client)
    assert caught.value.finding == "TLS_CERTIFICATE" and caught.value.permanent
    assert server.calls == []
    return caught.value.message


@pytest.fixture
def server(serve: Serve) -> HostileServer:
    return serve(lambda call: call.answer(success("evidence")))


def test_an_authority(server: HostileServer, connect: Connect) -> None:
    assert quote(connect(server)) == "evidence"


def test_a_pin(server: HostileServer, connect: Connect) -> None:
    shown = fetch_certificate(server.url)
    assert shown.pem.strip() == server.pem.strip() and shown.pin == fingerprint(server.pem)
    assert shown.for_people.replace(":", "").lower() == shown.pin
    assert server.calls == []
    assert quote(connect(server, tls=TlsTrust(pins=("00" * 32, shown.pin.upper())))) == "evidence"


def test_another_certificate_than_the_pinned(server: HostileServer, connect: Connect) -> None:
    assert fingerprint(server.pem) in refused(connect(server, tls=TlsTrust(pins=("00" * 32,))), server)


def test_no_trust_at_all(server: HostileServer, connect: Connect) -> None:
    server.calls.clear()
    with pytest.raises(CollectionError) as caught:
        quote(connect(server, tls=TlsTrust()))
    assert caught.value.finding == "TLS_CERTIFICATE" and server.connections == 0


def test_pin_and_authority_have_both_to_hold(
    server: HostileServer, connect: Connect, serve: Serve, tmp_path: Path
) -> None:
    pin, other = fingerprint(server.pem), serve(lambda call: None, names="127.0.0.9")
    assert quote(connect(server, tls=TlsTrust(ca_pem=server.pem, pins=(pin,)))) == "evidence"
    refused(connect(server, tls=TlsTrust(ca_pem=server.pem, pins=("00" * 32,))), server)
    refused(connect(server, tls=TlsTrust(ca_pem=other.pem, pins=(pin,))), server)


def test_an_authority_that_nobody_trusts(server: HostileServer, connect: Connect, serve: Serve) -> None:
    other = serve(lambda call: None, names="127.0.0.9")
    refused(connect(server, tls=TlsTrust(ca_pem=other.pem)), server)


def test_the_wrong_host_name(serve: Serve, connect: Connect) -> None:
    server = serve(lambda call: call.answer(success("evidence")), names="127.0.0.7")
    assert "127.0.0.1" in refused(connect(server), server)


@pytest.mark.parametrize("trust", ["pin", "authority"])
def test_a_certificate_that_is_swapped_between_two_calls(
    server: HostileServer, connect: Connect, tmp_path: Path, trust: str
) -> None:
    tls = TlsTrust(pins=(fingerprint(server.pem),)) if trust == "pin" else TlsTrust(ca_pem=server.pem)
    client = connect(server, tls=tls)
    server.script = _closing(server.script)
    assert quote(client) == "evidence"
    server.show_certificate(tmp_path / "swapped.pem", tmp_path / "swapped.key")
    refused(client, server)


def _closing(script: Callable) -> Callable:
    def closing(call) -> None:  # each call over a connection of its own
        script(call)
        call.connection.unwrap()

    return closing


def test_an_expired_certificate(serve: Serve, connect: Connect, tmp_path: Path) -> None:
    server = serve(lambda call: call.answer(success("evidence")))
    key = ec.generate_private_key(ec.SECP256R1())
    then = datetime.datetime(2020, 1, 1, tzinfo=datetime.timezone.utc)
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "old")])
    address = x509.IPAddress(ipaddress.ip_address("127.0.0.1"))
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(then)
        .not_valid_after(then + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([address]), critical=False)
        .sign(key, hashes.SHA256())
    )
    (tmp_path / "old.pem").write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    pkcs8, plain = serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    (tmp_path / "old.key").write_bytes(key.private_bytes(serialization.Encoding.PEM, pkcs8, plain))
    server.show_certificate(tmp_path / "old.pem", tmp_path / "old.key")
    assert "expired" in refused(connect(server), server)


@pytest.mark.parametrize(
    "pem", ["", "nothing", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"]
)
def test_authorities_that_cannot_be_read(server: HostileServer, connect: Connect, pem: str) -> None:
    with pytest.raises(CollectionError) as caught:
        quote(connect(server, tls=TlsTrust(ca_pem=pem)))
    assert caught.value.finding == "TLS_CERTIFICATE" and server.calls == []


def test_nobody_to_fetch_a_certificate_from() -> None:
    with pytest.raises(CollectionError) as caught:
        fetch_certificate("https://127.0.0.1:1")
    assert caught.value.finding == "POOL_UNREACHABLE"
    with pytest.raises(UsageError):
        fetch_certificate("http://127.0.0.1")
    with pytest.raises(ValueError):
        fingerprint("no certificate")
