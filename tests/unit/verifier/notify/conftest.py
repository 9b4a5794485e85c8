"""Results, changes and notifications to tell of."""

from __future__ import annotations

import time

import pytest

from support.dispatching import SECRET, no_pools
from xentpm_lib.verifier.findings import finding
from xentpm_lib.verifier.notification import Notification
from xentpm_lib.verifier.notify.change import Announcer, Change
from xentpm_lib.verifier.notify.channels import channels_of
from xentpm_lib.verifier.notify.config import ChannelConfig, ChannelKind
from xentpm_lib.verifier.notify.dispatcher import Dispatcher
from xentpm_lib.verifier.result import AttestationResult, PolicyUsed, ReferenceUsed, State, TpmClock
from xentpm_lib.verifier.secret import SecretRef
from xentpm_lib.verifier.station import Station

NOW = 1_800_000_000.0
LEASE = 900.0
POOL = "0b7f0c3e-1111-4222-8333-944455556666"
HOST = "7f7f94e3-c970-4647-93c2-2e27aea4c703"


@pytest.fixture
def make_result():
    """Returns a result that came out of some findings."""

    def make(*findings, at=NOW, host=HOST):
        return AttestationResult(
            host,
            "host1",
            POOL,
            findings,
            at,
            at + LEASE,
            PolicyUsed("uefi-grub", "ab" * 32),
            (ReferenceUsed("r", "golden", True),),
            TpmClock(1, 1, 0, True, 1),
        )

    return make


@pytest.fixture
def make_change(make_result):
    """Returns the change to a state, with the result that makes it."""
    causes = {
        State.UNTRUSTED_MEASUREMENT: "PCR_CHANGED",
        State.UNTRUSTED_KEY: "EK_CHANGED",
        State.UNTRUSTED_EVIDENCE: "NONCE_MISMATCH",
        State.UNREACHABLE: "HOST_OFFLINE",
        State.PENDING_APPROVAL: "NO_REFERENCE_VALUES",
    }

    def make(new, old=State.TRUSTED, at=NOW, host=HOST, pool=POOL, findings=None, disable=False):
        result = None
        if new is State.TRUSTED or new in causes:
            found = [finding(causes[new], where="sha256:9", component="dom0 initrd")] if new in causes else []
            result = make_result(*(found if findings is None else findings), at=at, host=host)
        return Change(host, "host1", pool, "pool one", old, new, at, result, disable)

    return make


@pytest.fixture
def make_notification(make_change):
    """Returns what a channel of a kind is to be told of a change."""

    def make(
        new=State.UNTRUSTED_MEASUREMENT, kind=ChannelKind.WEBHOOK, name="channel", **words
    ) -> Notification:
        (told,) = Announcer([ChannelConfig(name, kind)]).changed(make_change(new, **words))
        return told

    return make


@pytest.fixture
def station(tmp_path):
    with Station.init(tmp_path / "station", "version = 1\n") as station:
        yield station


@pytest.fixture
def secret(tmp_path):
    path = tmp_path / "hook.secret"
    path.write_text(SECRET)
    path.chmod(0o600)
    return SecretRef(file=str(path))


@pytest.fixture
def hook(secret):
    """Returns the configuration of a webhook."""

    def make(receiver, name="hook", **options):
        options = {"timeout": 90.0, "secret": secret, **options}
        return ChannelConfig(name, ChannelKind.WEBHOOK, url=receiver.url, **options)

    return make


@pytest.fixture
def mail(tmp_path):
    """Returns the configuration of a channel to a mail server."""

    def make(server, name="mail"):
        path = tmp_path / f"{name}.url"
        path.write_text(f"mailto://127.0.0.1:{server.port}?from=a@example.org&to=b@example.org")
        path.chmod(0o600)
        return ChannelConfig(name, ChannelKind.APPRISE, address=SecretRef(file=str(path)))

    return make


@pytest.fixture
def dispatch(station):
    """Returns a dispatcher that runs."""
    running = []

    def start(*configs, clock=time.time, **options):
        dispatcher = Dispatcher(station.store, channels_of(configs, no_pools), clock, **options)
        dispatcher.start()
        running.append(dispatcher)
        return dispatcher

    yield start
    for dispatcher in running:
        dispatcher.close()
