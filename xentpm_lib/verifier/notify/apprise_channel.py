"""The channel ``apprise``: mail, chat and pagers through the library Apprise.

Spec: https://github.com/caronc/apprise/wiki for the URLs.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Sequence

from xentpm_lib.errors import FormatError, UsageError
from xentpm_lib.verifier.notification import Notification
from xentpm_lib.verifier.notify.config import ChannelConfig
from xentpm_lib.verifier.notify.delivery import DeliveryError
from xentpm_lib.verifier.notify.document import Document, Event, clean, read_body
from xentpm_lib.verifier.notify.wording import digest_of, title_of
from xentpm_lib.verifier.result import State

__all__ = ["AppriseChannel"]

_GRAVITY = ("failure", "warning", "info", "success")
_PROGRAM = "xentpm_lib.verifier.notify.apprise_process"


class AppriseChannel:
    """Delivered once the service took it. Each message is a process of its own, half a second of work.

    When a whole pool is out of reach, people get one message about all its hosts.
    """

    together = 200
    pause = 30.0

    def __init__(self, config: ChannelConfig) -> None:
        self.config = config

    def deliver(self, notification: Notification) -> None:
        """Send it. Raises: DeliveryError."""
        self.deliver_together([notification])

    def deliver_together(self, notifications: Sequence[Notification]) -> None:
        """Send them as one message. Raises: DeliveryError."""
        try:
            documents = [read_body(notification.body) for notification in notifications]
        except FormatError as error:
            raise DeliveryError(error.message, wide=False, final=len(notifications) == 1) from error
        order = {
            "url": self._url(),
            "title": title_of(documents),
            "body": digest_of(documents),
            "type": min((_kind(document) for document in documents), key=_GRAVITY.index),
            "seconds": self.config.timeout + 1,
        }
        answer = self._run(json.dumps(order))
        if not answer.get("sent"):
            raise DeliveryError(clean(str(answer.get("reason", "not sent"))))

    def close(self) -> None:
        """Nothing stays open."""

    def _url(self) -> str:
        if self.config.address is None:
            raise DeliveryError("the channel has no address")
        try:
            lines = self.config.address.read().reveal().splitlines()
        except UsageError as error:
            raise DeliveryError(error.message) from error
        urls = [line.strip() for line in lines if line.strip() and not line.lstrip().startswith("#")]
        if len(urls) != 1:
            raise DeliveryError(f"{self.config.address} has {len(urls)} URLs, expected one for each channel")
        return urls[0]

    def _run(self, order: str) -> dict[str, object]:
        environment = {name: value for name, value in os.environ.items() if not name.startswith("XENTPM_")}
        try:
            ended = subprocess.run(
                [sys.executable, "-m", _PROGRAM],
                input=order,
                capture_output=True,
                text=True,
                timeout=self.config.timeout,
                env=environment,
                check=False,
            )
            answer = json.loads(ended.stdout)
        except subprocess.TimeoutExpired as error:
            raise DeliveryError(f"the service did not answer within {self.config.timeout:g} s") from error
        except (OSError, ValueError) as error:
            raise DeliveryError("the process that sends through Apprise failed") from error
        return answer if isinstance(answer, dict) else {}


def _kind(document: Document) -> str:
    """The kind of message, as Apprise names them: it decides on a colour or picture."""
    if document.host is None:
        return "warning" if document.event is Event.CHANNEL_FAILED else "info"
    if document.host.state is State.TRUSTED:
        return "success"
    return "failure" if document.host.state.value.startswith("untrusted") else "warning"
