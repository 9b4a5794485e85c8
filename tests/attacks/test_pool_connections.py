"""Attacks by servers, and by whoever is between, on the connection to a pool.

Each test shows first what the attack does to the plain client, XenAPI with what Python gives it, then that
ours is not touched by it, and then that it is when its one defence is removed.
"""

from __future__ import annotations

import gzip
import http.client
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
from xentpm_lib.verifier.xapi import answer, pool
from xentpm_lib.verifier.xapi import tls as tls_module
from xentpm_lib.verifier.xapi.deadline import Deadline
from xentpm_lib.verifier.xapi.pool import Credentials, PoolClient, XapiOptions
from xentpm_lib.verifier.xapi.tls import fingerprint
from xentpm_lib.verifier.xapi.transport import Transport
from xentpm_lib.verifier.xapi.url import parse_url

HOST = "a6cc761c-d5d8-4725-8646-2071754ea0ef"
PASSWORD = "correct-horse"
LIMIT_S = 0.6  # where the limit is what the test is about
PATIENT_S = 60.0  # everywhere else
LATE_S = 15.0  # what a busy machine may add; the server hangs for longer
READ_S = 2.0  # for one read; no pause between two bytes takes as long
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

    def answer(self, limit_s: float = PATIENT_S) -> str:
        """Call the plugin with our client, which knows the server's certificate. Raises: CollectionError."""
        record = PoolRecord("", "pool", (self.server.url,), TlsTrust(ca_pem=self.server.pem))
        options = XapiOptions(call_s=PATIENT_S, login_s=PATIENT_S, logout_s=0.2)
        with PoolClient(record, lambda: Credentials("root", PASSWORD), options) as client:
            client.info()
            return client.call_plugin(HOST, "tpm_get_quote", {}, limit_s)

    def ours(self, limit_s: float = PATIENT_S) -> str:
        """The finding of the error that our client's call ends with."""
        with pytest.raises(CollectionError) as caught:
            self.answer(limit_s)
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


def test_hanging_server(attack: Callable[..., Attack], monkeypatch: pytest.MonkeyPatch) -> None:
    hanging = attack(lambda call: call.hang())
    assert still_runs(hanging.plain, 2 * LIMIT_S)
    start = time.monotonic()
    assert hanging.ours(LIMIT_S) == "COLLECTION_TIMEOUT"
    assert time.monotonic() - start < LIMIT_S + LATE_S
    monkeypatch.setattr(Deadline, "remaining", lambda _deadline: 20.0)
    assert still_runs(lambda: hanging.answer(LIMIT_S), 2 * LIMIT_S)


def test_byte_dripping_server(attack: Callable[..., Attack], monkeypatch: pytest.MonkeyPatch) -> None:
    """A time limit for each read, which is all that a socket has, is no limit for the answer."""

    def script(call: Call) -> None:
        call.connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n")
        call.drip(b" " * 10_000, LIMIT_S / 10)

    dripping = attack(script)
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(READ_S)
    try:
        assert still_runs(dripping.plain, 1.5 * READ_S)
    finally:
        socket.setdefaulttimeout(before)
    start = time.monotonic()
    assert dripping.ours(LIMIT_S) == "COLLECTION_TIMEOUT"
    assert time.monotonic() - start < LIMIT_S + LATE_S
    monkeypatch.setattr(Deadline, "remaining", lambda deadline: deadline.seconds)  # of each read
    assert still_runs(lambda: dripping.answer(READ_S), 1.5 * READ_S)


def test_hostile_xml_entities(attack: Callable[..., Attack], monkeypatch: pytest.MonkeyPatch) -> None:
    declared = b'<?xml version="1.0"?><!DOCTYPE x [<!ENTITY a "aaaaaaaa"><!ENTITY b "&a;&a;&a;&a;">]>'
    hostile = attack(lambda call: call.answer(declared + VALUE % (STATUS % b"&b;&b;")))
    assert hostile.plain() == "a" * 64, "the plain client expands what the document declares"
    assert hostile.ours() == "XAPI_ERROR"
    monkeypatch.setattr(answer, "_refuse_doctype", lambda *_anything: None)
    assert hostile.answer() == "a" * 64


def test_hostile_xml_depth(attack: Callable[..., Attack], monkeypatch: pytest.MonkeyPatch) -> None:
    """Arrays within arrays, which whoever walks through the value pays for with its stack."""
    depth = 5000
    nested = b"<array><data><value>" * depth + b"</value></data></array>" * depth
    deep = attack(lambda call: call.answer(VALUE % (STATUS % nested)))
    assert isinstance(deep.plain(), list)
    assert deep.ours() == "XAPI_ERROR"
    assert "nested" in error_of(deep)
    monkeypatch.setattr(answer, "MAX_DEPTH", 10**6)
    assert "nested" not in error_of(deep)


def error_of(attack: Attack) -> str:
    try:
        attack.answer()
    except CollectionError as error:
        return error.message
    return ""


def test_zip_bomb(attack: Callable[..., Attack], monkeypatch: pytest.MonkeyPatch) -> None:
    """Ours never unpacks anything; what would be if it did."""
    bomb = gzip.compress(VALUE % (STATUS % (b"a" * 4_000_000)))
    zipped = attack(lambda call: call.answer(bomb, "Content-Encoding: gzip"))
    assert len(bomb) < 20_000 and len(zipped.plain()) == 4_000_000
    assert zipped.ours() == "XAPI_ERROR"

    def unpacking(stream: Any, path: str, body: bytes) -> Any:
        stream.sendall(transport._head(path, len(body)) + body)
        response = http.client.HTTPResponse(stream, method="POST")
        response.begin()
        parser, data = answer.AnswerParser(), response.read()
        parser.feed(gzip.decompress(data) if data.startswith(b"\x1f\x8b") else data)
        return parser.close()

    transport = Transport(parse_url(zipped.server.url), TlsTrust(ca_pem=zipped.server.pem))
    monkeypatch.setattr(Transport, "_answer", lambda _transport, *call: unpacking(*call))
    assert len(zipped.answer()) == 4_000_000


def test_1_gb_log(attack: Callable[..., Attack], monkeypatch: pytest.MonkeyPatch) -> None:
    """An answer without an end: a piece after the other, as long as somebody reads."""
    gigabyte, piece, sent = 1 << 30, b"a" * (1 << 20), [0]

    def script(call: Call) -> None:
        sent[0] = 0
        head, tail = (VALUE % (STATUS % b"|")).split(b"|")
        call.connection.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        send_chunk(call, head)
        while sent[0] < size:
            send_chunk(call, piece)
            sent[0] += len(piece)
        send_chunk(call, tail)
        send_chunk(call, b"")

    endless = attack(script)
    size = gigabyte
    assert endless.ours() == "XAPI_ERROR"
    assert sent[0] <= pool._MAX_PLUGIN_BYTES + 64 * len(piece), "the rest was not waited for"
    announced = attack(lambda call: call.answer(b"", size=gigabyte))
    assert announced.ours() == "XAPI_ERROR"
    size = pool._MAX_PLUGIN_BYTES + len(piece)  # enough to show that nothing else stops it
    monkeypatch.setattr(pool, "_MAX_PLUGIN_BYTES", 1 << 40)
    assert endless.ours() == "PLUGIN_ERROR", "all of it was read"
    monkeypatch.setattr(pool, "_MAX_ANSWER", 1 << 40)
    assert len(endless.answer()) == size


def send_chunk(call: Call, data: bytes) -> None:
    call.connection.sendall(b"%x\r\n" % len(data) + data + b"\r\n")


def given_away(attack: Attack) -> bool:
    return any(PASSWORD in params for _method, params in attack.server.calls)


@pytest.mark.parametrize("trust", ["authority", "pin"])
def test_tls_certificate_swap(
    attack: Callable[..., Attack],
    tmp_path: Path,
    trust: str,
    monkeypatch: pytest.MonkeyPatch,
    blind: Callable[..., None],
) -> None:
    """Somebody in between answers with a certificate of their own, for the same name, to get the password."""
    swapped = attack(lambda call: call.answer(success("evidence")))
    pem = swapped.server.pem
    tls = TlsTrust(ca_pem=pem) if trust == "authority" else TlsTrust(pins=(fingerprint(pem),))
    swapped.server.show_certificate(tmp_path / "swapped.pem", tmp_path / "swapped.key")
    careless = XenAPI.Session(swapped.server.url, ignore_ssl=True)
    careless.xenapi.login_with_password("root", PASSWORD, "1.0", "tests")
    assert given_away(swapped), "who does not check gives the password away"
    swapped.server.calls.clear()

    def log_in() -> None:
        record = PoolRecord("", "pool", (swapped.server.url,), tls)
        with PoolClient(record, lambda: Credentials("root", PASSWORD)) as client:
            client.info()

    with pytest.raises(CollectionError) as caught:
        log_in()
    assert caught.value.finding == "TLS_CERTIFICATE"
    assert not given_away(swapped)
    if trust == "pin":
        blind(tls_module, tls.pins[0])
    else:
        unchecked = tls_module._context("")
        monkeypatch.setattr(tls_module, "_context", lambda _ca_pem: unchecked)
    log_in()
    assert given_away(swapped)
