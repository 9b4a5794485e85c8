"""One session for all threads: made once, renewed, moved to another master, given up in time."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest

from support.hostile_server import Call, HostileServer, failure, success
from xentpm_lib.errors import UsageError
from xentpm_lib.verifier.errors import CollectionError
from xentpm_lib.verifier.records import PoolRecord, TlsTrust
from xentpm_lib.verifier.xapi.pool import Credentials, PoolClient

Serve = Callable[..., HostileServer]
Connect = Callable[..., PoolClient]
HOST = "a6cc761c-d5d8-4725-8646-2071754ea0ef"
LOGIN = "session.login_with_password"


def quote(client: PoolClient, timeout: float | None = None) -> str:
    return client.call_plugin(HOST, "tpm_get_quote", {}, timeout)


def caught(client: PoolClient, timeout: float | None = None) -> CollectionError:
    with pytest.raises(CollectionError) as raised:
        quote(client, timeout)
    return raised.value


def wait_for(server: HostileServer, method: str, count: int = 1) -> None:
    """Until the server was asked so often."""
    end = time.monotonic() + 60
    while server.methods.count(method) < count:
        assert time.monotonic() < end, server.methods
        time.sleep(0.01)


def answering(call: Call) -> None:
    call.answer(success("evidence"))


class Slave:
    """Says that another address is the master's."""

    def __init__(self, address: str) -> None:
        self.address = address

    def __call__(self, call: Call) -> None:
        call.answer(failure("HOST_IS_SLAVE", self.address))


def test_many_threads_share_one_session(serve: Serve, connect: Connect) -> None:
    def script(call: Call) -> None:
        time.sleep(0.05)
        answering(call)

    server = serve(script)
    client = connect(server)
    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(lambda _: quote(client), range(40))) == ["evidence"] * 40
    assert server.methods.count(LOGIN) == 1
    assert server.connections <= 30, "51 calls, and at worst every other finds none of the 4 that are kept"
    assert server.methods.count("host.get_by_uuid") <= 8, "the reference is looked up once, or nearly"


def test_a_session_that_ended_is_renewed(serve: Serve, connect: Connect) -> None:
    left = [1]

    def script(call: Call) -> None:
        call.answer(
            failure("SESSION_INVALID", call.params[0]) if left and left.pop() else success("evidence")
        )

    server = serve(script)
    client = connect(server)
    assert quote(client) == "evidence"
    assert server.methods.count(LOGIN) == 2


def test_a_pool_that_takes_no_session(serve: Serve, connect: Connect) -> None:
    server = serve(lambda call: call.answer(failure("SESSION_INVALID", call.params[0])))
    error = caught(connect(server))
    assert error.finding == "XAPI_ERROR" and "OpaqueRef:0" not in error.message
    assert server.methods.count(LOGIN) == 3


def test_a_wrong_password_is_tried_once(serve: Serve, connect: Connect) -> None:
    server = serve(answering)
    error = caught(connect(server, password="wrong"))
    assert error.finding == "XAPI_AUTHENTICATION" and error.permanent
    assert "wrong" not in error.message.replace("are wrong", "") and server.methods.count(LOGIN) == 1


def test_credentials_that_cannot_be_had(serve: Serve) -> None:
    server = serve(answering)

    def credentials() -> Credentials:
        raise UsageError("no password in XENTPM_PASSWORD", "set it")

    record = PoolRecord("", "", (server.url,), TlsTrust(server.pem))
    with PoolClient(record, credentials) as client:
        error = caught(client)
    assert error.finding == "XAPI_AUTHENTICATION" and error.message == "no password in XENTPM_PASSWORD"
    assert "secret" not in repr(Credentials("root", "secret"))


def at(
    serve: Serve, number: int, script: Callable[[Call], None], port: int = 0, **options: bool
) -> HostileServer:
    """A server at 127.0.0.N."""
    return serve(script, address=f"127.0.0.{number}", port=port, **options)


def test_a_slave_redirects_and_never_gets_the_password(serve: Serve, connect: Connect) -> None:
    master = at(serve, 1, answering)
    slave = at(serve, 2, Slave("127.0.0.1"), master.port, raw=True)
    client = connect(slave, tls=TlsTrust(slave.pem + master.pem))
    assert quote(client) == "evidence"
    assert client.master_url == master.url
    assert slave.methods == ["pool.get_all_records"] and slave.calls[0][1] == ("OpaqueRef:NULL",)


@pytest.mark.parametrize("told", ["127.0.0.1:1@x", "", "http://127.0.0.1", "a b", "127.0.0.2", "x" * 5000])
def test_a_redirection_to_nowhere(serve: Serve, connect: Connect, told: str) -> None:
    slave = at(serve, 2, Slave(told), raw=True)
    error = caught(connect(slave))
    assert error.finding == "POOL_UNREACHABLE"
    assert slave.methods == ["pool.get_all_records"]


def test_a_redirection_in_a_circle(serve: Serve, connect: Connect) -> None:
    one = at(serve, 1, Slave("127.0.0.2"), raw=True)
    two = at(serve, 2, Slave("127.0.0.1"), one.port, raw=True)
    assert caught(connect(one, two)).finding == "POOL_UNREACHABLE"
    assert len(one.calls) == len(two.calls) == 1


def test_a_redirection_to_a_server_that_nobody_vouches_for(serve: Serve, connect: Connect) -> None:
    stranger = at(serve, 1, answering)
    slave = at(serve, 2, Slave("127.0.0.1"), stranger.port, raw=True)
    assert caught(connect(slave)).finding == "TLS_CERTIFICATE"
    assert stranger.calls == []


def test_a_master_that_becomes_a_slave(serve: Serve, connect: Connect) -> None:
    old = at(serve, 1, answering)
    new = at(serve, 2, answering, old.port)
    client = connect(old, new)
    assert quote(client) == "evidence" and client.master_url == old.url
    old.script = Slave("127.0.0.2")
    assert quote(client) == "evidence" and client.master_url == new.url


def test_a_master_that_dies(serve: Serve, connect: Connect) -> None:
    old = at(serve, 1, answering)
    new = at(serve, 2, Slave("127.0.0.1"), old.port, raw=True)
    promoted = serve(
        answering
    )  # what a master answers; made now, as it could get the port of one that is gone
    client = connect(old, new)
    assert quote(client) == "evidence"
    old.__exit__()
    assert caught(client).finding == "POOL_UNREACHABLE"
    new.script = promoted.script
    assert quote(client) == "evidence" and client.master_url == new.url
    assert quote(client) == "evidence"


def test_a_host_that_went_to_another_pool(serve: Serve, connect: Connect) -> None:
    server = serve(answering)
    error = caught(connect(server, pool_id="another"))
    assert error.finding == "POOL_UNREACHABLE" and "another pool" in error.message
    assert "host.call_plugin" not in server.methods and server.methods[-1] == "session.logout"


def test_a_hanging_server_is_not_waited_for_when_another_is_the_master(
    serve: Serve, connect: Connect
) -> None:
    hanging = at(serve, 1, lambda call: call.hang(), raw=True)
    master = at(serve, 2, answering, hanging.port)
    start = time.monotonic()
    assert quote(connect(hanging, master, login_s=3)) == "evidence"
    assert time.monotonic() - start < 30


def test_a_master_that_hangs_is_left_for_a_new_one(serve: Serve, connect: Connect) -> None:
    old = at(serve, 1, answering)
    new = at(serve, 2, answering, old.port)
    client = connect(old, new, call_s=1)
    assert quote(client, 60) == "evidence" and client.master_url == old.url
    old.script = lambda call: call.hang()
    assert caught(client, 0.3).finding == "COLLECTION_TIMEOUT"
    assert client.master_url == old.url, "it may be the host that hangs"
    with pytest.raises(CollectionError):
        client.create_message(HOST, "name", 3, "body")
    assert quote(client, 60) == "evidence" and client.master_url == new.url


def test_closing_does_not_wait_for_a_login(serve: Serve, connect: Connect) -> None:
    server = serve(lambda call: call.hang(), raw=True)
    client = connect(server, logout_s=0.3)
    thread = threading.Thread(target=lambda: caught(client), daemon=True)
    thread.start()
    wait_for(server, "pool.get_all_records")
    start = time.monotonic()
    client.close()
    thread.join(20)
    assert not thread.is_alive() and time.monotonic() - start < 20


def test_one_attempt_to_log_in_stands_for_all_that_wait_for_it(serve: Serve, connect: Connect) -> None:
    server = serve(lambda call: call.hang(), raw=True)
    client, start = connect(server, login_s=3), threading.Barrier(6)

    def together(_: int) -> CollectionError:
        start.wait(60)
        return caught(client)

    with ThreadPoolExecutor(6) as pool:
        errors = list(pool.map(together, range(6)))
    assert server.methods == ["pool.get_all_records"], "not one after the other"
    assert {error.finding for error in errors} == {"COLLECTION_TIMEOUT"}


def test_waiting_for_the_session_counts_as_time_of_the_call(serve: Serve, connect: Connect) -> None:
    server = serve(lambda call: call.hang(), raw=True)
    client = connect(server, logout_s=0.3)
    threading.Thread(target=lambda: caught(client), daemon=True).start()
    wait_for(server, "pool.get_all_records")
    start = time.monotonic()
    assert caught(client, 0.3).finding == "COLLECTION_TIMEOUT"
    assert time.monotonic() - start < 15, "the one that logs in has 30"


def test_closing_logs_out_and_ends_what_is_under_way(serve: Serve, connect: Connect) -> None:
    def script(call: Call) -> None:
        call.answer(success("evidence")) if call.params[3] == "good" else call.hang()

    server = serve(script)
    client = connect(server)
    client.call_plugin(HOST, "good", {})
    errors: list[CollectionError] = []
    thread = threading.Thread(target=lambda: errors.append(caught(client)))
    thread.start()
    wait_for(server, "host.call_plugin", 2)
    start = time.monotonic()
    client.close()
    thread.join(20)
    assert not thread.is_alive() and time.monotonic() - start < 20
    assert server.methods[-1] == "session.logout"
    assert errors and caught(client).finding == "XAPI_ERROR"
    client.close()


def test_closing_is_quick_when_the_pool_hangs(serve: Serve, connect: Connect) -> None:
    server = serve(answering)
    client = connect(server, logout_s=0.3)
    assert quote(client) == "evidence"
    server.script = lambda call: call.hang()
    start = time.monotonic()
    client.close()
    assert time.monotonic() - start < 20
