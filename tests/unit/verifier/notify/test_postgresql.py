"""A station whose store is a PostgreSQL server, which goes away while notifications are delivered."""

from __future__ import annotations

import base64
import time

import pytest

from support.http_receiver import Receiver
from support.postgresql import PASSWORD, PostgresServer
from xentpm_lib.errors import XenTpmError
from xentpm_lib.verifier.notify.change import Announcer
from xentpm_lib.verifier.notify.channels import channels_of
from xentpm_lib.verifier.notify.dispatcher import Dispatcher
from xentpm_lib.verifier.result import State
from xentpm_lib.verifier.station import Station

CONFIG = """\
version = 1
[store]
url = "{url}"
password_file = "{password}"
[[notify]]
name = "hook"
type = "webhook"
url = "{hook}"
secret_file = "{secret}"
timeout = "90s"
"""


@pytest.fixture(scope="module")
def postgresql():
    server = PostgresServer()
    yield server
    server.close()


@pytest.fixture
def config(postgresql, tmp_path):
    """Returns a station's configuration."""

    def make(receiver, password=PASSWORD):
        places = {"password": tmp_path / "password", "secret": tmp_path / "secret"}
        places["password"].write_text(password + "\n")
        places["secret"].write_text("whsec_" + base64.b64encode(bytes(32)).decode())
        for path in places.values():
            path.chmod(0o600)
        url = postgresql.url(postgresql.new_database()).replace(f":{PASSWORD}@", "@")
        return CONFIG.format(url=url, hook=receiver.url, **places)

    return make


def test_a_server_that_goes_away_and_comes_back_loses_nothing(postgresql, config, make_change, tmp_path):
    with Receiver() as receiver, Station.init(tmp_path / "station", config(receiver)) as station:
        receiver.answers = ["wait", 200]
        announcer, old = Announcer(station.channels), State.STALE
        for number, state in enumerate([State.UNREACHABLE, State.UNTRUSTED_KEY, State.TRUSTED]):
            station.store.outbox_add(announcer.changed(make_change(state, old=old, at=time.time() + number)))
            old = state
        with Dispatcher(station.store, channels_of(station.channels, None)) as dispatcher:
            receiver.wait_for(1)
            postgresql.stop()
            receiver.go.set()
            receiver.wait_for(3)  # what it knows of is delivered meanwhile
            postgresql.start()
            end = time.monotonic() + 90
            while not (dispatcher.drain(5.0) and station.store.outbox_counts() == {"hook": {"delivered": 3}}):
                assert time.monotonic() < end
        assert len(receiver.got) == 3


def test_a_wrong_password_is_an_error_without_it(config, tmp_path):
    with Receiver() as receiver, pytest.raises(XenTpmError) as failure:
        Station.init(tmp_path / "station", config(receiver, password="Wr0ngPassword"))
    assert "Wr0ngPassword" not in str(failure.value) and PASSWORD not in str(failure.value)
