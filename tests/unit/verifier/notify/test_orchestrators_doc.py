"""The programs in docs/orchestrators.md do what they say, and its tables are complete."""

from __future__ import annotations

import base64
import json
import re
import socket
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from support.pool import sim_pool  # noqa: F401
from xentpm_lib.verifier.findings import finding
from xentpm_lib.verifier.notify.change import Announcer, trial
from xentpm_lib.verifier.notify.config import ChannelConfig, ChannelKind
from xentpm_lib.verifier.notify.delivery import DeliveryError
from xentpm_lib.verifier.notify.document import Event
from xentpm_lib.verifier.notify.webhook import WebhookChannel
from xentpm_lib.verifier.notify.xapi_channels import (
    MARK_KEYS,
    MARK_TAGS,
    MESSAGE_NAMES,
    PRIORITIES,
    MarksChannel,
)
from xentpm_lib.verifier.records import PoolRecord, TlsTrust
from xentpm_lib.verifier.result import State
from xentpm_lib.verifier.secret import SecretRef
from xentpm_lib.verifier.station_config import parse_config
from xentpm_lib.verifier.times import format_time
from xentpm_lib.verifier.token import jwks, sign_result
from xentpm_lib.verifier.xapi.pool import Credentials, PoolClient

from .conftest import HOST

TEXT = (Path(__file__).parents[4] / "docs/orchestrators.md").read_text("utf-8")
SECRET = "whsec_" + base64.b64encode(bytes(range(32))).decode("ascii")


@pytest.fixture
def program(tmp_path):
    """Returns the path of a program of the document."""
    found = re.findall(r'^```python\n("""(\w+\.py) .*?)^```$', TEXT, re.MULTILINE | re.DOTALL)
    for text, name in found:
        (tmp_path / name).write_text(text)
    assert {name for _, name in found} == {"receive.py", "trusted_hosts.py", "check_token.py"}
    return lambda name: str(tmp_path / name)


@pytest.fixture
def secret(tmp_path):
    path = tmp_path / "secret"
    path.write_text(SECRET + "\n")
    path.chmod(0o600)
    return path


@pytest.fixture
def receiver(program, secret):
    """The receiver of the document, running: its port, and the process."""

    def start():
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        words = [sys.executable, program("receive.py"), str(port), str(secret)]
        return port, subprocess.Popen(words, stdout=subprocess.PIPE, text=True)

    port, process = start()
    end = time.monotonic() + 60
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
            break
        except OSError:
            assert time.monotonic() < end
            time.sleep(0.05)
        if process.poll() is not None:  # somebody else was quicker to take the port
            process.stdout.close()
            port, process = start()
    yield port, process
    process.kill()
    process.wait()
    process.stdout.close()


def _channel(port, secret, clock=time.time):
    config = ChannelConfig(
        "hook",
        ChannelKind.WEBHOOK,
        url=f"http://127.0.0.1:{port}/",
        secret=SecretRef(file=str(secret)),
        timeout=60.0,
    )
    return WebhookChannel(config, clock)


def test_the_receiver_believes_what_the_station_sends_once(receiver, secret, make_notification):
    port, process = receiver
    channel = _channel(port, secret)
    bad, good = make_notification(State.UNTRUSTED_KEY), make_notification(State.TRUSTED, old=State.STALE)
    for told in (bad, bad, good, bad, trial(channel.config, "station", time.time())):
        channel.deliver(told)
    lines = [process.stdout.readline() for _ in range(3)]
    assert lines == [
        f"AVOID {HOST}\n",
        f"use   {HOST}\n",
        "test: A test message of xentpm-attest on station\n",
    ]


def test_the_receiver_believes_nothing_else(receiver, secret, make_notification, tmp_path):
    port, process = receiver
    good = make_notification(State.TRUSTED, old=State.STALE)
    other = tmp_path / "other"
    other.write_text("whsec_" + base64.b64encode(bytes(32)).decode())
    other.chmod(0o600)
    for channel in (
        _channel(port, other),
        _channel(port, secret, lambda: time.time() - 400),
        _channel(port, secret, lambda: time.time() + 400),
    ):
        with pytest.raises(DeliveryError, match="401"):
            channel.deliver(good)
    signed = _channel(port, secret)._signature(good.notification_id, good.body.encode())
    for headers, body in (
        ({}, good.body),
        ({**signed, "webhook-signature": "v1,"}, good.body),
        ({**signed, "webhook-id": "another"}, good.body),
        (signed, good.body.replace("trusted", "Trusted")),
    ):
        with socket.create_connection(("127.0.0.1", port), 60) as connection:
            lines = [f"{name}: {value}" for name, value in headers.items()]
            head = "\r\n".join(["POST / HTTP/1.0", f"Content-Length: {len(body)}", *lines])
            connection.sendall(f"{head}\r\n\r\n{body}".encode())
            assert b" 401 " in connection.recv(1000)
    with socket.create_connection(("127.0.0.1", port), 60) as connection:
        connection.sendall(b"POST / HTTP/1.0\r\nContent-Length: 100000000\r\n\r\n")
        assert b" 413 " in connection.recv(1000)
    _channel(port, secret).deliver(make_notification(State.UNTRUSTED_KEY))
    assert process.stdout.readline() == f"AVOID {HOST}\n"  # the first line


def test_the_marks_are_read_with_their_end(sim_pool, program, make_change):  # noqa: F811
    session = sim_pool.session()
    (record,) = session.xenapi.pool.get_all_records().values()
    session.xenapi.session.logout()
    config = ChannelConfig("marks", ChannelKind.XAPI_MARKS)

    def mark(name, at):
        change = make_change(State.TRUSTED, old=State.STALE, at=at, host=sim_pool.host(name).uuid)
        (told,) = Announcer([config]).changed(change)
        MarksChannel(config, lambda _: client).deliver(told)

    pool = PoolRecord(record["uuid"], "pool", (sim_pool.url,), TlsTrust(sim_pool.certificate.read_text()))
    with PoolClient(pool, lambda: Credentials(sim_pool.username, sim_pool.password)) as client:
        mark("host1", time.time())
        mark("host2", time.time() - 3600)  # the tag is there, and has run out
    words = [sys.executable, program("trusted_hosts.py"), sim_pool.url, "root", str(sim_pool.certificate)]
    ended = subprocess.run(words, input=sim_pool.password + "\n", capture_output=True, text=True, timeout=60)
    assert (ended.stdout, ended.stderr) == (sim_pool.host("host1").uuid + "\n", "")
    assert "xentpm:trusted" in sim_pool.record("host2")["tags"]


class TestToken:
    """check_token.py"""

    @pytest.fixture
    def check(self, program, tmp_path):
        """Returns the exit status for a token."""
        self.key = ec.generate_private_key(ec.SECP256R1())
        (tmp_path / "station.jwks").write_text(json.dumps(jwks(self.key)))

        def run(token, host=HOST):
            words = [sys.executable, program("check_token.py"), str(tmp_path / "station.jwks"), host]
            return subprocess.run(words, input=token, text=True, timeout=60).returncode

        return run

    def _token(self, result, now=None, key=None):
        return sign_result(result, key or self.key, time.time() if now is None else now)

    def test_a_trusted_host(self, check, make_result):
        assert check(self._token(make_result(at=time.time()))) == 0
        assert check(self._token(make_result(finding("CLOCK_UNSAFE"), at=time.time()))) == 0

    def test_everything_else(self, check, make_result):
        good = self._token(make_result(at=time.time()))
        assert check(good, "00000000-0000-4000-8000-000000000000") == 3
        assert check(self._token(make_result(finding("EK_CHANGED"), at=time.time()))) == 3
        assert check(self._token(make_result(finding("HOST_OFFLINE"), at=time.time()))) == 3
        old = replace(make_result(at=time.time() - 1000), expires_at=time.time() - 100)
        assert check(self._token(old, now=time.time() - 900)) == 3
        stranger = ec.generate_private_key(ec.SECP256R1())
        assert check(self._token(make_result(at=time.time()), key=stranger)) == 3
        head, body, signature = good.split(".")
        none = base64.urlsafe_b64encode(b'{"alg":"none","typ":"JWT"}').decode().rstrip("=")
        other = signature[:-4] + ("BBBB" if signature.endswith("AAAA") else "AAAA")
        for token in ("", "x", f"{none}.{body}.", f"{head}.{body}.", f"{head}.{body}.{other}"):
            assert check(token) == 3


def test_the_channels_in_the_document_are_right():
    (toml,) = re.findall(r"^```toml\n(.*?)^```$", TEXT, re.MULTILINE | re.DOTALL)
    config, mistakes = parse_config("version = 1\n" + toml)
    assert mistakes == ()
    assert {channel.kind for channel in config.channels} == set(ChannelKind) - {ChannelKind.DISABLE_HOST}


def test_the_json_in_the_document_has_the_fields_of_a_real_one(make_notification):
    (text,) = re.findall(r"^```json\n(.*?)^```$", TEXT, re.MULTILINE | re.DOTALL)
    shown, real = json.loads(text), json.loads(make_notification(State.UNTRUSTED_MEASUREMENT).body)
    assert list(shown) == list(real)
    assert list(shown["findings"][0]) == list(real["findings"][0])
    assert list(shown["host"]) == list(real["host"])
    assert shown["at"] == format_time(1795461767.671)


def test_the_tables_are_complete():
    for state in State:
        assert f"| `{state.value}` |" in TEXT
        assert re.search(rf"\| `{MESSAGE_NAMES[state]}` \| {PRIORITIES[state]} \|", TEXT)
    for word in (*MARK_TAGS, *MARK_KEYS):
        assert f"`{word}`" in TEXT
    for event in Event:
        assert event is Event.RENEWED or f"`{event.value}`" in TEXT
