"""Answers that no server should give, over real connections: each ends in time, with the right finding."""

from __future__ import annotations

import contextlib
import gzip
import queue
import resource
import socket
import threading
import time
import xmlrpc.client
from collections.abc import Callable
from typing import Any

import pytest

from support.hostile_server import Call, HostileServer, success
from xentpm_lib.verifier.errors import CollectionError
from xentpm_lib.verifier.records import TlsTrust
from xentpm_lib.verifier.xapi.answer import MAX_ANSWER_BYTES, MAX_DEPTH
from xentpm_lib.verifier.xapi.deadline import Deadline
from xentpm_lib.verifier.xapi.pool import PoolClient
from xentpm_lib.verifier.xapi.transport import Transport
from xentpm_lib.verifier.xapi.url import parse_url

Serve = Callable[..., HostileServer]
Connect = Callable[..., PoolClient]
HOST = "a6cc761c-d5d8-4725-8646-2071754ea0ef"
LATE_S = 8.0  # what a busy machine may add to a limit; still less than without the limit


def quote(client: PoolClient, timeout: float | None = None) -> str:
    return client.call_plugin(HOST, "tpm_get_quote", {"nonce": "x"}, timeout)


def caught(client: PoolClient, timeout: float | None = None) -> CollectionError:
    with pytest.raises(CollectionError) as raised:
        quote(client, timeout)
    return raised.value


def logged_in(client: PoolClient) -> PoolClient:
    """So that nothing is in the way of a call with a short limit."""
    client.info()
    return client


def test_a_good_answer(serve: Serve, connect: Connect) -> None:
    server = serve(lambda call: call.answer(success("evidence")))
    client = connect(server)
    assert [quote(client) for _ in range(5)] == ["evidence"] * 5
    assert server.connections == 1, "the connection is kept"
    assert server.methods.count("session.login_with_password") == 1


def test_a_hanging_server(serve: Serve, connect: Connect) -> None:
    client = logged_in(connect(serve(lambda call: call.hang())))
    start = time.monotonic()
    assert caught(client, 0.7).finding == "COLLECTION_TIMEOUT"
    assert 0.6 < time.monotonic() - start < 0.7 + LATE_S


@pytest.mark.parametrize("part", ["head", "body"])
def test_a_byte_dripping_server(serve: Serve, connect: Connect, part: str) -> None:
    def script(call: Call) -> None:
        if part == "body":
            call.connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n")
            call.drip(b"<?xml version='1.0'?><methodResponse>" + b" " * 1000)
        else:
            call.drip(b"HTTP/1.1 200 OK\r\nX: " + b"y" * 1000)

    client = logged_in(connect(serve(script)))
    start = time.monotonic()
    assert caught(client, 0.7).finding == "COLLECTION_TIMEOUT"
    assert time.monotonic() - start < 0.7 + LATE_S


def test_endless_interim_answers(serve: Serve, connect: Connect) -> None:
    server = serve(lambda call: call.drip(b"HTTP/1.1 100 Continue\r\n\r\n" * 1_000_000, 0))
    client = logged_in(connect(server))
    start = time.monotonic()
    assert caught(client, 0.7).finding in ("COLLECTION_TIMEOUT", "XAPI_ERROR")
    assert time.monotonic() - start < 0.7 + LATE_S


def test_no_handshake(serve: Serve, connect: Connect) -> None:
    client = connect(serve(lambda call: None, tls=False), login_s=1)
    start = time.monotonic()
    error = caught(client)
    assert error.finding == "POOL_UNREACHABLE" and not error.permanent
    assert time.monotonic() - start < 1.0 + LATE_S


def test_a_handshake_that_drips(serve: Serve, connect: Connect) -> None:
    """Behind a relay that lets one byte through every hundredth of a second."""
    server = serve(lambda call: call.answer(success("evidence")))
    with socket.create_server(("127.0.0.1", 0)) as listener:
        threading.Thread(target=_relay, args=(listener, server.port), daemon=True).start()
        client = connect(server, addresses=(f"https://127.0.0.1:{listener.getsockname()[1]}",), login_s=1)
        start = time.monotonic()
        assert caught(client).finding == "POOL_UNREACHABLE"
        assert time.monotonic() - start < 1.0 + LATE_S
    assert server.calls == []


def _relay(listener: socket.socket, port: int) -> None:
    with contextlib.suppress(OSError), listener.accept()[0] as near:
        with socket.create_connection(("127.0.0.1", port)) as far:
            threading.Thread(target=_forward, args=(near, far, 4096, 0), daemon=True).start()
            _forward(far, near, 1, 0.01)


def _forward(source: socket.socket, target: socket.socket, size: int, pause_s: float) -> None:
    with contextlib.suppress(OSError):
        while piece := source.recv(size):
            target.sendall(piece)
            time.sleep(pause_s)


def test_nobody_listens(serve: Serve, connect: Connect) -> None:
    server = serve(lambda call: None)
    with socket.socket() as taken:  # so that nobody else listens there
        taken.bind(("127.0.0.1", 0))
        error = caught(connect(server, addresses=(f"https://127.0.0.1:{taken.getsockname()[1]}",)))
    assert error.finding == "POOL_UNREACHABLE" and "refused" in error.message


def test_a_length_that_is_too_large_is_refused_unread(serve: Serve, connect: Connect) -> None:
    server = serve(lambda call: call.answer(b"<", size=MAX_ANSWER_BYTES + 1))
    start = time.monotonic()
    assert caught(connect(server), 60).finding == "XAPI_ERROR"
    assert time.monotonic() - start < LATE_S


def test_an_endless_answer(serve: Serve, connect: Connect) -> None:
    def script(call: Call) -> None:
        call.connection.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        piece = b"10000\r\n" + b" " * 0x10000 + b"\r\n"
        while not call.ended.is_set():
            call.connection.sendall(piece)

    client = connect(serve(script))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    error = caught(client, 100)
    assert error.finding == "XAPI_ERROR" and "more than" in error.message
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 64 * 1024, "KiB: it is not kept"


@pytest.mark.parametrize(
    "header", ["Content-Encoding: gzip", "content-encoding: x-gzip", "Content-Encoding: br"]
)
def test_a_gzip_bomb_is_not_opened(serve: Serve, connect: Connect, header: str) -> None:
    bomb = gzip.compress(b" " * 50_000_000)
    error = caught(connect(serve(lambda call: call.answer(bomb, header))))
    assert error.finding == "XAPI_ERROR" and "compressed" in error.message


DOCTYPE = b'<?xml version="1.0"?><!DOCTYPE x [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;">]>'
EXTERNAL = b'<?xml version="1.0"?><!DOCTYPE x SYSTEM "file:///etc/passwd">'
VALUE = b"<methodResponse><params><param><value>%s</value></param></params></methodResponse>"


@pytest.mark.parametrize(
    ("body", "told"),
    [
        (DOCTYPE + VALUE % b"&b;", "document type"),
        (EXTERNAL + VALUE % b"x", "document type"),
        (VALUE % (b"<array><data><value>" * MAX_DEPTH), "nested"),
        (VALUE % (b"<array><data>" + b"<value/>" * 1_100_000 + b"</data></array>"), "elements"),
        (VALUE % b"&undefined;", "not an XML-RPC"),
        (b"", "not an XML-RPC"),
        (b"<html>502 Bad Gateway</html>", "not an XML-RPC"),
        (b"\xff\xfe<\x00x\x00/\x00>\x00", "not an XML-RPC"),
        (VALUE % (b"<int>" + b"9" * 100_000 + b"</int>"), "not an XML-RPC"),
        (VALUE % b"<int>one</int>", "not an XML-RPC"),
        (VALUE % b"<struct><member></member></struct>", ""),
        (VALUE % b"<struct><member><value><array><data/></array></value><value/></member></struct>", ""),
        (VALUE % b"<frobnicate/>", ""),
        (VALUE % b"<boolean>2</boolean>", "not an XML-RPC"),
        (b"<methodResponse><fault><value><string>x</string></value></fault></methodResponse>", ""),
        (VALUE % b"text", "no status"),
        (VALUE % b"<nil/>", "no status"),
        (b"<methodResponse/>", ""),
        (VALUE % b"<struct><member><name>Status</name><value>Success</value></member></struct>", "descri"),
        (VALUE % b"<struct><member><name>Status</name><value>Failure</value></member></struct>", "descri"),
    ],
    ids=range(20),
)
def test_hostile_xml(serve: Serve, connect: Connect, body: bytes, told: str) -> None:
    error = caught(connect(serve(lambda call: call.answer(body))), 100)
    assert error.finding == "XAPI_ERROR" and told in error.message


@pytest.mark.parametrize(
    "head",
    [
        b"HTTP/1.1 500 Internal Server Error\r\nContent-Length: 3\r\n\r\nabc",
        b"HTTP/1.1 302 Found\r\nLocation: https://elsewhere/\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: -5\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n-1\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 1000 + b"\r\n",
        b"HTTP/1.1 200 OK\r\nX: " + b"y" * 100_000 + b"\r\n\r\n",
        b"SSH-2.0-OpenSSH\r\n\r\n",
        b"\x00" * 100 + b"\r\n\r\n",
    ],
    ids=range(9),
)
def test_hostile_http(serve: Serve, connect: Connect, head: bytes) -> None:
    def script(call: Call) -> None:
        call.connection.sendall(head)
        call.connection.unwrap()

    assert caught(connect(serve(script))).finding in ("XAPI_ERROR", "POOL_UNREACHABLE")


@pytest.mark.parametrize(
    "sent", [b"", b"HTTP/1.1 200", b"HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n<meth"]
)
def test_a_connection_that_breaks_in_the_middle(serve: Serve, connect: Connect, sent: bytes) -> None:
    def script(call: Call) -> None:
        call.connection.sendall(sent)
        call.connection.shutdown(2)

    server = serve(script)
    error = caught(connect(server))
    assert error.finding in ("POOL_UNREACHABLE", "XAPI_ERROR") and not error.permanent
    assert server.connections <= 8, "it is not tried for ever"


def test_a_connection_that_the_server_closed_meanwhile(serve: Serve, connect: Connect) -> None:
    def script(call: Call) -> None:
        call.answer(success("evidence"), "Connection: keep-alive")
        call.connection.unwrap()  # without having said so

    server = serve(script)
    client = connect(server)
    assert [quote(client) for _ in range(3)] == ["evidence"] * 3
    assert server.connections == 3
    assert server.methods.count("session.login_with_password") == 1


def test_a_server_that_closes_behind_each_answer(serve: Serve, connect: Connect) -> None:
    def script(call: Call) -> None:
        call.answer(success("evidence"), "Connection: close")
        call.connection.unwrap()

    server = serve(script)
    client = connect(server)
    assert [quote(client) for _ in range(3)] == ["evidence"] * 3


def sent_over(transport: Transport) -> object:
    return transport.request("", "/", xmlrpc.client.dumps(("x",), "f").encode())


def test_a_connection_that_breaks_when_no_time_is_left(serve: Serve) -> None:
    """It was kept open, so the call would be made again over another."""
    now = [0.0]

    def script(call: Call) -> None:
        if now[0]:
            now[0] += 60
            call.connection.shutdown(2)
        else:
            call.answer(success("evidence"))

    server = serve(script, raw=True)
    transport = Transport(parse_url(server.url), TlsTrust(server.pem))
    transport.deadline = Deadline(30, lambda: now[0])
    sent_over(transport)
    now[0] += 1
    with pytest.raises(CollectionError) as raised:
        sent_over(transport)
    assert raised.value.finding == "COLLECTION_TIMEOUT"


def test_a_call_that_is_ended_sends_nothing_in_the_clear(
    serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While the connection is shut down, the thread that makes the call may be about to send over it."""
    received: queue.Queue[bytes] = queue.Queue()

    def script(call: Call) -> None:
        call.answer(success("evidence"))
        received.put(call.connection.recv(100))

    server = serve(script, raw=True)
    transport = Transport(parse_url(server.url), TlsTrust(server.pem))
    transport.deadline = Deadline(60)
    sent_over(transport)
    assert transport._stream is not None
    connection, shut_down = transport._stream.connection, socket.socket.shutdown

    def late(one: socket.socket, how: int) -> None:
        if one is connection:
            one.send(b"secret")
        shut_down(one, how)

    monkeypatch.setattr(socket.socket, "shutdown", late)
    transport.abort()
    assert received.get(timeout=60) == b"secret", "as TLS has it"


def test_nothing_secret_is_told(serve: Serve, connect: Connect) -> None:
    from support.hostile_server import failure

    def script(call: Call) -> None:
        session = str(call.params[0])
        call.answer(failure("correct-horse", f"the session {session} of correct-horse", session + "\x1b[2J"))

    error: Any = caught(connect(serve(script)))
    while error is not None:
        text = f"{error!r} {error} {getattr(error, 'message', '')} {getattr(error, 'hint', '')}"
        assert "0f0f0f0f" not in text and "\x1b" not in text
        if isinstance(error, CollectionError):
            assert "correct-horse" not in text
        error = error.__cause__


def test_large_requests_to_a_server_that_reads_nothing(serve: Serve, connect: Connect) -> None:
    server = serve(lambda call: call.answer(success("evidence")))
    server.most_bytes = 10_000
    client = logged_in(connect(server))
    start = time.monotonic()
    with pytest.raises(CollectionError) as raised:
        client.call_plugin(HOST, "f", {"x": "y" * 50_000_000}, 0.7)
    assert raised.value.finding == "COLLECTION_TIMEOUT"
    assert time.monotonic() - start < 30
