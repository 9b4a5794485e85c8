"""Attacks by servers, and by whoever is between, on the connection to a pool.

Each test shows first what the attack does to the plain client, XenAPI with what Python gives it, and then
that ours is not touched by it.
"""

from __future__ import annotations

import gzip
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import XenAPI

from support.hostile_server import Call, HostileServer, success
from xentpm_lib.verifier.errors import CollectionError
from xentpm_lib.verifier.records import PoolRecord, TlsTrust
from xentpm_lib.verifier.xapi.pool import Credentials, PoolClient, XapiOptions
from xentpm_lib.verifier.xapi.tls import fingerprint

HOST = "a6cc761c-d5d8-4725-8646-2071754ea0ef"
PASSWORD = "correct-horse"
LIMIT_S = 0.6
LATE_S = 1.0  # what a busy machine may add
VALUE = b"<methodResponse><params><param><value>%s</value></param></params></methodResponse>"
STATUS = (
    b"<struct><member><name>Status</name><value>Success</value></member>"
    b"<member><name>Value</name><value>%s</value></member></struct>"
)


class Attack:
    """A server that behaves until a host's plugin is called."""

    def __init__(self, server: HostileServer) -> None:
        self.server = server

    def plain(self) -> Any:
        """Call the plugin with the plain client, which knows the server's certificate."""
        context = ssl.create_default_context(cadata=self.server.pem)
        session = XenAPI.Session(self.server.url, transport=XenAPI.xmlrpclib.SafeTransport(context=context))
        session.xenapi.login_with_password("root", PASSWORD, "1.0", "tests")
        return session.xenapi.host.call_plugin("OpaqueRef:h", "tpm", "tpm_get_quote", {})

    def ours(self, tls: TlsTrust | None = None) -> str:
        """Call the plugin with our client; returns the finding of the error that it ends with."""
        record = PoolRecord("", "pool", (self.server.url,), tls or TlsTrust(ca_pem=self.server.pem))
        options = XapiOptions(call_s=5, login_s=5, logout_s=0.2)
        with PoolClient(record, lambda: Credentials("root", PASSWORD), options) as client:
            client.info()
            with pytest.raises(CollectionError) as caught:
                client.call_plugin(HOST, "tpm_get_quote", {}, LIMIT_S)
        return caught.value.finding


@pytest.fixture
def attack(tmp_path: Path) -> Iterator[Callable[[Callable[[Call], None]], Attack]]:
    servers: list[HostileServer] = []

    def start(script: Callable[[Call], None]) -> Attack:
        def whole(call: Call) -> None:
            if call.method == "host.call_plugin":
                script(call)
            elif call.method == "pool.get_all_records":
                call.answer(success({"r": {"uuid": "u", "name_label": "pool", "master": "m"}}))
            else:
                call.answer(success("OpaqueRef:x"))

        servers.append(HostileServer(tmp_path, whole))
        return Attack(servers[-1])

    yield start
    for server in servers:
        server.__exit__()


def still_runs(work: Callable[[], Any], seconds: float) -> bool:
    """Whether the work is not done after so many seconds."""

    def quiet() -> None:
        with suppress(Exception):
            work()

    thread = threading.Thread(target=quiet, daemon=True)
    thread.start()
    thread.join(seconds)
    return thread.is_alive()


def test_hanging_server(attack: Callable[..., Attack]) -> None:
    hanging = attack(lambda call: call.hang())
    assert still_runs(hanging.plain, 2 * LIMIT_S)
    start = time.monotonic()
    assert hanging.ours() == "COLLECTION_TIMEOUT"
    assert time.monotonic() - start < LIMIT_S + LATE_S


def test_byte_dripping_server(attack: Callable[..., Attack]) -> None:
    """A time limit for each read, which is all that a socket has, is no limit for the answer."""

    def script(call: Call) -> None:
        call.connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n")
        call.drip(b" " * 10_000, LIMIT_S / 10)

    dripping = attack(script)
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(LIMIT_S)
    try:
        assert still_runs(dripping.plain, 3 * LIMIT_S)
    finally:
        socket.setdefaulttimeout(before)
    start = time.monotonic()
    assert dripping.ours() == "COLLECTION_TIMEOUT"
    assert time.monotonic() - start < LIMIT_S + LATE_S


def test_hostile_xml_entities(attack: Callable[..., Attack]) -> None:
    declared = b'<?xml version="1.0"?><!DOCTYPE x [<!ENTITY a "aaaaaaaa"><!ENTITY b "&a;&a;&a;&a;">]>'
    hostile = attack(lambda call: call.answer(declared + VALUE % (STATUS % b"&b;&b;")))
    assert hostile.plain() == "a" * 64, "the plain client expands what the document declares"
    assert hostile.ours() == "XAPI_ERROR"


def test_zip_bomb(attack: Callable[..., Attack]) -> None:
    bomb = gzip.compress(VALUE % (STATUS % (b"a" * 15_000_000)))
    zipped = attack(lambda call: call.answer(bomb, "Content-Encoding: gzip"))
    assert len(bomb) < 20_000 and len(zipped.plain()) == 15_000_000
    assert zipped.ours() == "XAPI_ERROR"


@pytest.mark.parametrize("trust", ["authority", "pin"])
def test_tls_certificate_swap(attack: Callable[..., Attack], tmp_path: Path, trust: str) -> None:
    """Somebody in between answers with a certificate of their own, for the same name, to get the password."""
    swapped = attack(lambda call: call.answer(success("evidence")))
    pem = swapped.server.pem
    tls = TlsTrust(ca_pem=pem) if trust == "authority" else TlsTrust(pins=(fingerprint(pem),))
    swapped.server.show_certificate(tmp_path / "swapped.pem", tmp_path / "swapped.key")
    careless = XenAPI.Session(swapped.server.url, ignore_ssl=True)
    careless.xenapi.login_with_password("root", PASSWORD, "1.0", "tests")
    assert swapped.server.calls[0][1][:2] == ("root", PASSWORD), "who does not check gives the password away"
    swapped.server.calls.clear()
    with pytest.raises(CollectionError) as caught:
        record = PoolRecord("", "pool", (swapped.server.url,), tls)
        with PoolClient(record, lambda: Credentials("root", PASSWORD)) as client:
            client.info()
    assert caught.value.finding == "TLS_CERTIFICATE"
    assert swapped.server.calls == []
