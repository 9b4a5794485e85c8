"""Webhooks over real sockets and TLS: signed, in time, and whatever the receiver does."""

from __future__ import annotations

import base64
import gzip
import hashlib
import hmac
import time

import pytest
from urllib3.util import connection

from support.http_receiver import Receiver, make_certificate
from xentpm_lib.errors import UsageError
from xentpm_lib.verifier.notify.config import ChannelConfig, ChannelKind
from xentpm_lib.verifier.notify.delivery import DeliveryError
from xentpm_lib.verifier.notify.signature import webhook_key
from xentpm_lib.verifier.notify.webhook import WebhookChannel
from xentpm_lib.verifier.secret import Secret, SecretRef

KEY = bytes(range(32))
SECRET = "whsec_" + base64.b64encode(KEY).decode("ascii")


@pytest.fixture
def secret(tmp_path):
    path = tmp_path / "hook.secret"
    path.write_text(SECRET + "\n")
    path.chmod(0o600)
    return SecretRef(file=str(path))


@pytest.fixture
def channel_to(secret):
    """Returns a channel to a URL."""
    made = []

    def make(url, **options):
        options = {"timeout": 60.0, "secret": secret, **options}
        made.append(WebhookChannel(ChannelConfig("hook", ChannelKind.WEBHOOK, url=url, **options)))
        return made[-1]

    yield make
    for channel in made:
        channel.close()


def _signed(request):
    """What the signature of a request has to be, as a receiver computes it."""
    content = (
        f"{request.headers['webhook-id']}.{request.headers['webhook-timestamp']}.".encode() + request.body
    )
    return "v1," + base64.b64encode(hmac.new(KEY, content, hashlib.sha256).digest()).decode("ascii")


def test_the_receiver_gets_the_body_as_it_is_signed_over_tls(tmp_path, channel_to, make_notification):
    certificate = make_certificate(tmp_path)
    told = make_notification()
    with Receiver(certificate) as receiver:
        channel = channel_to(receiver.url, ca_file=str(certificate))
        channel.deliver(told)
        channel.deliver(told)
    for request in receiver.got:
        assert request.body == told.body.encode()
        assert request.headers["webhook-id"] == told.notification_id
        assert abs(int(request.headers["webhook-timestamp"]) - time.time()) < 60
        assert request.headers["webhook-signature"] == _signed(request)
        assert request.headers["content-type"] == "application/json"
    assert len(receiver.got) == 2


def test_a_server_that_is_not_known_gets_nothing(tmp_path, channel_to, make_notification):
    certificate = make_certificate(tmp_path)
    (tmp_path / "other").mkdir()
    other = make_certificate(tmp_path / "other")
    with Receiver(certificate) as receiver:
        for options in ({}, {"ca_file": str(other)}):
            with pytest.raises(DeliveryError, match="certificate"):
                channel_to(receiver.url, **options).deliver(make_notification())
    assert receiver.got == []


def test_a_server_of_another_name_gets_nothing(tmp_path, channel_to, make_notification):
    certificate = make_certificate(tmp_path, "other.example.org")
    with Receiver(certificate) as receiver:
        with pytest.raises(DeliveryError):
            channel_to(receiver.url, ca_file=str(certificate)).deliver(make_notification())
    assert receiver.got == []


def test_the_environment_has_no_say(monkeypatch, tmp_path, channel_to, make_notification):
    (tmp_path / ".netrc").write_text("machine 127.0.0.1 login a password b\n")
    (tmp_path / ".netrc").chmod(0o600)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    with Receiver() as receiver:
        channel_to(receiver.url).deliver(make_notification())
    assert "authorization" not in receiver.got[0].headers


@pytest.mark.parametrize("status", [200, 201, 202, 204, 299])
def test_a_good_status_is_a_delivery(channel_to, make_notification, status):
    with Receiver() as receiver:
        receiver.answers = [status]
        channel_to(receiver.url).deliver(make_notification())


@pytest.mark.parametrize(
    ("status", "wide"),
    [(301, True), (400, False), (401, True), (403, True), (404, True), (413, False), (422, False)]
    + [(429, True), (500, True), (503, True)],
)
def test_another_status_is_none_and_says_for_whom(channel_to, make_notification, status, wide):
    with Receiver() as receiver:
        receiver.answers = [status]
        with pytest.raises(DeliveryError, match=str(status)) as failure:
            channel_to(receiver.url).deliver(make_notification())
    assert failure.value.wide is wide
    assert not failure.value.final


def test_a_redirect_is_not_followed(channel_to, make_notification):
    with Receiver() as receiver:
        receiver.answers = ["redirect"]
        with pytest.raises(DeliveryError, match="redirects"):
            channel_to(receiver.url).deliver(make_notification())
    assert [request.path for request in receiver.got] == ["/hook"]


@pytest.mark.parametrize("way", ["hang", "drip", "drip-body", "drip-to-the-end"])
def test_a_receiver_that_does_not_end_is_given_its_time_and_no_more(channel_to, make_notification, way):
    with Receiver() as receiver:
        receiver.answers = [way]
        channel = channel_to(receiver.url, timeout=1.0)
        start = time.monotonic()
        with pytest.raises(DeliveryError, match="no answer within 1 s"):
            channel.deliver(make_notification())
        assert 0.9 < time.monotonic() - start < 30


def test_the_same_over_tls(tmp_path, channel_to, make_notification):
    certificate = make_certificate(tmp_path)
    with Receiver(certificate) as receiver:
        receiver.answers = ["drip"]
        channel = channel_to(receiver.url, timeout=1.0, ca_file=str(certificate))
        start = time.monotonic()
        with pytest.raises(DeliveryError, match="no answer within 1 s"):
            channel.deliver(make_notification())
        assert time.monotonic() - start < 30


def test_a_proxy_that_does_not_end_is_given_its_time_and_no_more(channel_to, make_notification):
    with Receiver() as proxy:
        channel = channel_to("https://localhost:9/hook", timeout=1.0, proxy=proxy.url.replace("/hook", ""))
        for _ in range(2):
            with pytest.raises(DeliveryError, match="no answer within 1 s"):
                channel.deliver(make_notification())


def test_a_connection_that_is_made_when_the_time_is_over_is_ended(monkeypatch, channel_to, make_notification):
    """A name with several addresses, say: each of them may take its time."""
    with Receiver() as receiver:
        receiver.answers = ["drip"]
        channel = channel_to(receiver.url, timeout=0.2)
        make = connection.create_connection
        expired = channel._client._adapter.begin

        def begin():
            nonlocal ended
            ended = expired()
            return ended

        def connect(*args, **options):
            assert ended.wait(60)
            return make(*args, **options)

        ended = None
        monkeypatch.setattr(channel._client._adapter, "begin", begin)
        monkeypatch.setattr(connection, "create_connection", connect)
        with pytest.raises(DeliveryError, match="no answer within 0.2 s"):
            channel.deliver(make_notification())


def test_a_connection_that_breaks_or_is_refused(channel_to, make_notification):
    with Receiver() as receiver:
        receiver.answers = ["drop"]
        with pytest.raises(DeliveryError):
            channel_to(receiver.url).deliver(make_notification())
    with pytest.raises(DeliveryError, match="refused"):
        channel_to(receiver.url).deliver(make_notification())


def test_it_delivers_again_over_a_connection_that_the_receiver_had_closed(channel_to, make_notification):
    with Receiver() as receiver:
        receiver.answers = [200, "drop", 200]
        channel = channel_to(receiver.url)
        channel.deliver(make_notification())
        with pytest.raises(DeliveryError):
            channel.deliver(make_notification())
        channel.deliver(make_notification())


def test_what_the_receiver_says_is_in_the_error_cleaned_and_short(channel_to, make_notification):
    with Receiver() as receiver:
        receiver.answers, receiver.body = [400], b"bad \x1b[31m thing\n" + b"y" * 100_000
        with pytest.raises(DeliveryError) as failure:
            channel_to(receiver.url).deliver(make_notification())
    assert "status 400: bad ?[31m thing yyy" in failure.value.message
    assert len(failure.value.message) < 250


def test_a_compressed_answer_is_not_unpacked(channel_to, make_notification):
    with Receiver() as receiver:
        receiver.answers, receiver.body = [500], gzip.compress(bytes(50_000_000))
        receiver.headers = {"Content-Encoding": "gzip"}
        start = time.monotonic()
        with pytest.raises(DeliveryError, match="500"):
            channel_to(receiver.url).deliver(make_notification())
        assert time.monotonic() - start < 30


@pytest.mark.parametrize(("text", "seconds"), [("120", 120.0), ("soon", 0.0), ("-1", 0.0), ("9" * 9, 0.0)])
def test_the_receiver_may_ask_to_wait(channel_to, make_notification, text, seconds):
    with Receiver() as receiver:
        receiver.answers, receiver.headers = [429], {"Retry-After": text}
        with pytest.raises(DeliveryError) as failure:
            channel_to(receiver.url).deliver(make_notification())
    assert failure.value.retry_after == seconds


def test_a_proxy_gets_the_request(channel_to, make_notification):
    with Receiver() as proxy:
        channel_to("http://localhost:9/hook", proxy=proxy.url.replace("/hook", "")).deliver(
            make_notification()
        )
    assert proxy.got[0].path == "http://localhost:9/hook"


def test_a_secret_that_others_can_read_is_not_used(tmp_path, channel_to, make_notification):
    path = tmp_path / "open.secret"
    path.write_text(SECRET)
    path.chmod(0o644)
    with Receiver() as receiver:
        with pytest.raises(DeliveryError, match="0644") as failure:
            channel_to(receiver.url, secret=SecretRef(file=str(path))).deliver(make_notification())
    assert receiver.got == []
    assert SECRET not in failure.value.message


def test_a_new_secret_is_used_at_once(secret, channel_to, make_notification):
    other = bytes(32)
    with Receiver() as receiver:
        channel = channel_to(receiver.url)
        channel.deliver(make_notification())
        with open(secret.file, "w") as file:
            file.write("whsec_" + base64.b64encode(other).decode())
        channel.deliver(make_notification())
    old, new = receiver.got
    assert old.headers["webhook-signature"] == _signed(old)
    assert new.headers["webhook-signature"] != _signed(new)


@pytest.mark.parametrize(
    "text", ["", "abc", "whsec_", "whsec_!!!!", "whsec_" + "A" * 12, "whsec_" + "A" * 400]
)
def test_other_secrets_are_refused(text):
    with pytest.raises(UsageError) as failure:
        webhook_key(Secret(text))
    assert "openssl" in failure.value.hint
