"""The endpoint over real connections: the XenAPI client, keep-alive, limits, and many callers at once."""

import contextlib
import http.client
import json
import socket
import ssl
import threading
import time
import xmlrpc.client
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import XenAPI

from support.fake_machine import FakeMachine
from xentpm_lib.errors import UsageError
from xentpm_lib.simulator.certificates import make_certificate, server_context
from xentpm_lib.simulator.server import IDLE_TIMEOUT_S, MAX_BODY_BYTES, Endpoint
from xentpm_lib.simulator.xapi.hosts import Host
from xentpm_lib.simulator.xapi.service import Xapi
from xentpm_lib.simulator.xapi.store import Store

IDLE_S = 1.0
"""Of the impatient endpoint alone: on a busy machine a client of the other one may be silent for longer."""


class Served:
    """A pool of one host that answers over HTTP and HTTPS."""

    def __init__(self, directory: Path) -> None:
        self.machine = FakeMachine.create(directory / "host1", "host1")
        self.machine.power_on()
        self.certificate = directory / "server.pem"
        key = directory / "server.key"
        pem = make_certificate(self.certificate, key, "host1")
        store = Store(directory / "database.json")
        host = Host(self.machine, "127.0.0.1", pem, store.host(self.machine.uuid))
        self.xapi = Xapi([host], store, "root", "secret")
        context = server_context(self.certificate, key)
        self.endpoint = Endpoint(context, plain=True)
        self.endpoint.start(self.xapi)
        self.plain, self.tls = self.endpoint.urls
        self.port = int(self.plain.rpartition(":")[2])

    def session(self, url: str) -> Any:
        session = XenAPI.Session(url, ignore_ssl=url.startswith("https"))
        session.xenapi.login_with_password("root", "secret", "1.0", "tests")
        return session


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    pool = Served(tmp_path_factory.mktemp("pool"))
    yield pool
    pool.endpoint.stop()


@pytest.fixture
def impatient_port(served: Served) -> Iterator[int]:
    """Of an endpoint that soon closes a connection that says nothing."""
    endpoint = Endpoint(None, plain=True, idle_timeout_s=IDLE_S)
    endpoint.start(served.xapi)
    yield endpoint.ports[0]
    endpoint.stop()


@pytest.fixture(params=["plain", "tls"])
def session(served: Served, request: pytest.FixtureRequest) -> Iterator[Any]:
    session = served.session(getattr(served, request.param))
    yield session
    session.xenapi.session.logout()


def test_client(served: Served, session: Any) -> None:
    (host,) = session.xenapi.host.get_all()
    assert session.API_version == "2.21"
    assert session.xenapi.session.get_this_host(session.handle) == host
    assert session.xenapi.host.call_plugin(host, "tpm", "f", {"a": "b"}) == "I am host1"
    with pytest.raises(XenAPI.Failure) as caught:
        session.xenapi.host.call_plugin(host, "none", "f", {})
    assert caught.value.details == ["XENAPI_MISSING_PLUGIN", "none"]
    certificate = session.xenapi.host.get_server_certificate(host)
    assert certificate == served.certificate.read_text()


def test_async_client(session: Any) -> None:
    (host,) = session.xenapi.host.get_all()
    task = session.xenapi.Async.host.call_plugin(host, "tpm", "f", {})
    while session.xenapi.task.get_status(task) == "pending":
        time.sleep(0.01)
    assert session.xenapi.task.get_result(task) == "<value>I am host1</value>"
    session.xenapi.task.destroy(task)


def test_client_logs_in_again(served: Served) -> None:
    """XenAPI repeats the call with a new session after SESSION_INVALID."""
    session = served.session(served.plain)
    served.xapi.call("session.logout", [session.handle])
    assert session.xenapi.host.get_all()


def test_wrong_password(served: Served) -> None:
    session = XenAPI.Session(served.plain)
    with pytest.raises(XenAPI.Failure) as caught:
        session.xenapi.login_with_password("root", "wrong")
    assert caught.value.details[:2] == ["SESSION_AUTHENTICATION_FAILED", "root"]


def test_many_callers_at_once(served: Served) -> None:
    outcomes: list[str] = []

    def work() -> None:
        session = served.session(served.tls)
        (host,) = session.xenapi.host.get_all()
        for number in range(5):
            session.xenapi.host.add_tags(host, f"{threading.get_ident()}-{number}")
            outcomes.append(session.xenapi.host.call_plugin(host, "tpm", "f", {}))
        session.xenapi.session.logout()

    threads = [threading.Thread(target=work) for _ in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert outcomes == ["I am host1"] * 80


def test_certificate_is_the_endpoints(served: Served) -> None:
    for name in ("localhost", "127.0.0.1"):
        context = ssl.create_default_context(cafile=str(served.certificate))
        raw = socket.create_connection(("127.0.0.1", int(served.tls.rpartition(":")[2])), timeout=10)
        with context.wrap_socket(raw, server_hostname=name) as connection:
            assert connection.version() in ("TLSv1.2", "TLSv1.3")


def post(connection: http.client.HTTPConnection, path: str, body: bytes) -> tuple[int, bytes]:
    connection.request("POST", path, body)
    response = connection.getresponse()
    return response.status, response.read()


def test_json_on_a_connection_kept_open(served: Served) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", served.port, timeout=10)
    login = {"jsonrpc": "2.0", "method": "session.login_with_password", "params": ["root", "secret"], "id": 1}
    status, body = post(connection, "/jsonrpc", json.dumps(login).encode())
    session = json.loads(body)["result"]
    first_socket = connection.sock
    for path in ("/", "/RPC2"):
        call = xmlrpc.client.dumps((session,), "host.get_all").encode()
        status, body = post(connection, path, call)
        assert status == 200 and b"Success" in body
    assert connection.sock is first_socket
    connection.close()


@pytest.mark.parametrize(
    ("path", "body", "status"),
    [
        ("/other", b"x", 404),
        ("/", b"<methodCall>", 500),
        ("/jsonrpc", b"[]", 500),
        ("/", b"x" * (MAX_BODY_BYTES + 1), 413),
    ],
)
def test_bad_requests(served: Served, path: str, body: bytes, status: int) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", served.port, timeout=10)
    try:
        found, text = post(connection, path, body)
        assert found == status and b"Traceback" not in text
    except (BrokenPipeError, ConnectionResetError):
        assert status == 413  # closed while the body was still on its way
    connection.close()


def raw(port: int, request: bytes) -> bytes:
    with socket.create_connection(("127.0.0.1", port), timeout=30) as connection:
        connection.sendall(request)
        answer = b""
        while chunk := connection.recv(65536):
            answer += chunk
    return answer


@pytest.mark.parametrize(
    ("request_text", "status"),
    [
        (b"POST / HTTP/1.1\r\n\r\n", b"411"),
        (b"POST / HTTP/1.1\r\nContent-Length: -1\r\n\r\n", b"411"),
        (b"POST / HTTP/1.1\r\nContent-Length: " + b"9" * 5000 + b"\r\n\r\n", b"413"),
        (b"POST / HTTP/1.1\r\nContent-Length: " + b"0" * 20 + b"5242947\r\n\r\n", b"413"),
        (b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", b"411"),
        (b"GET / HTTP/1.0\r\n\r\n", b"200"),
        (b"nonsense\r\n\r\n", b"400"),
        (b"DELETE / HTTP/1.1\r\nConnection: close\r\n\r\n", b"501"),
    ],
)
def test_strange_requests(served: Served, request_text: bytes, status: bytes) -> None:
    assert status in raw(served.port, request_text).partition(b"\r\n")[0]


def test_a_body_where_there_should_be_none_is_no_request(served: Served) -> None:
    hidden = b"GET / HTTP/1.0\r\n\r\n"
    request = b"GET / HTTP/1.1\r\nContent-Length: %d\r\n\r\n%s" % (len(hidden), hidden)
    assert raw(served.port, request).count(b"200 OK") == 1


def test_a_method_name_cannot_write_a_line_of_the_log(
    served: Served, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    for name in ("a\nforged ok 1.0 ms", "\ud800x"):
        body = json.dumps({"jsonrpc": "2.0", "method": name, "params": [], "id": 1}).encode()
        connection = http.client.HTTPConnection("127.0.0.1", served.port, timeout=10)
        post(connection, "/jsonrpc", body)
        connection.close()
    assert all(message.isascii() and "\n" not in message for message in caplog.messages)


@pytest.mark.parametrize(
    "begun", [b"", b"POST / HTTP/1.1\r\n", b"POST / HTTP/1.1\r\nContent-Length: 5\r\n\r\nx"]
)
def test_silent_connections_are_closed(impatient_port: int, begun: bytes) -> None:
    start = time.monotonic()
    raw(impatient_port, begun)
    assert IDLE_S / 2 < time.monotonic() - start < IDLE_TIMEOUT_S / 2


def test_no_tls_on_the_tls_port(served: Served, session: Any) -> None:
    port = int(served.tls.rpartition(":")[2])
    with socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
        connection.sendall(b"GET / HTTP/1.0\r\n\r\n")
        with contextlib.suppress(ConnectionResetError):
            connection.recv(65536)
    assert session.xenapi.host.get_all()


def test_port_in_use(served: Served) -> None:
    with pytest.raises(UsageError, match=f"port {served.port} is in use"):
        Endpoint(None, plain=True, port=served.port)
