"""Mail and chat through Apprise, over real sockets; and what never gets out: the password in the URL."""

from __future__ import annotations

import subprocess
import time

import pytest

from support.http_receiver import Receiver
from support.smtp_receiver import MailServer
from xentpm_lib.verifier.notify.apprise_channel import AppriseChannel
from xentpm_lib.verifier.notify.config import ChannelConfig, ChannelKind
from xentpm_lib.verifier.notify.delivery import DeliveryError
from xentpm_lib.verifier.result import State
from xentpm_lib.verifier.secret import SecretRef

PASSWORD = "pw-Tr0ub4dor"


@pytest.fixture
def channel_to(tmp_path):
    """Returns a channel to an Apprise URL, which it finds in a file."""

    def make(url, timeout=90.0):
        path = tmp_path / "mail.url"
        path.write_text(f"# who is on call\n{url}\n")
        path.chmod(0o600)
        config = ChannelConfig(
            "mail", ChannelKind.APPRISE, timeout=timeout, address=SecretRef(file=str(path))
        )
        return AppriseChannel(config)

    return make


def _url(server, scheme="mailto"):
    return f"{scheme}://sender:{PASSWORD}@127.0.0.1:{server.port}?from=xentpm@example.org&to=ops@example.org"


def test_a_mail_arrives(channel_to, make_notification):
    with MailServer() as server:
        channel_to(_url(server)).deliver(make_notification(State.UNTRUSTED_MEASUREMENT))
    (mail,) = server.messages
    assert mail["To"] == "ops@example.org"
    assert mail["Subject"] == "host1 is NOT trusted: it did not boot what was approved"
    text = mail.get_body(("plain", "html")).get_content()
    assert "PCR_CHANGED (dom0 initrd)" in text
    assert server.logins == [f"\0sender:{PASSWORD}".replace(":", "\0")]


@pytest.mark.parametrize(("mode", "said"), [("refuse", "E-Mail"), ("hang", "did not answer within 2 s")])
def test_a_mail_server_that_refuses_or_hangs(channel_to, make_notification, mode, said):
    with MailServer(mode) as server:
        start = time.monotonic()
        with pytest.raises(DeliveryError, match=said) as failure:
            channel_to(_url(server), timeout=2.0 if mode == "hang" else 90.0).deliver(make_notification())
        assert time.monotonic() - start < 90
    assert PASSWORD not in failure.value.message
    assert server.messages == []


def test_a_mail_server_that_is_not_there(channel_to, make_notification):
    with MailServer() as server:
        pass
    with pytest.raises(DeliveryError, match="refused") as failure:
        channel_to(_url(server)).deliver(make_notification())
    assert PASSWORD not in failure.value.message


def test_a_chat_gets_it(channel_to, make_notification):
    with Receiver() as receiver:
        channel_to(f"json://127.0.0.1:{receiver.port}/room").deliver(
            make_notification(State.TRUSTED, old=State.STALE)
        )
    assert b"host1 is trusted again" in receiver.got[0].body
    assert b'"success"' in receiver.got[0].body


def test_certificates_are_always_checked(channel_to, make_notification):
    with Receiver() as receiver:
        with pytest.raises(DeliveryError, match="verify=no"):
            channel_to(f"jsons://127.0.0.1:{receiver.port}/?verify=no").deliver(make_notification())
    assert receiver.got == []


@pytest.mark.parametrize("text", ["", "nothing://x", "mailto://a@b.example\nmailto://c@d.example"])
def test_what_is_not_one_url_is_refused(channel_to, make_notification, text):
    with pytest.raises(DeliveryError):
        channel_to(text).deliver(make_notification())


def test_the_password_is_in_no_command_line(channel_to, make_notification):
    with MailServer("hang") as server:
        import threading

        channel = channel_to(_url(server))
        failures = []

        def deliver():
            try:
                channel.deliver(make_notification())
            except DeliveryError as error:
                failures.append(error)

        thread = threading.Thread(target=deliver)
        thread.start()
        seen = ""
        while "apprise_process" not in seen and thread.is_alive():
            seen = subprocess.run(["ps", "axww", "-o", "args="], capture_output=True, text=True).stdout
        server.closing.set()
        thread.join()
    assert "apprise_process" in seen
    assert PASSWORD not in seen
    assert failures
