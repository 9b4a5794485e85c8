"""One message through Apprise, in a process of its own, which can be ended when a service hangs.

Reads a JSON object from standard input (url, title, body, type, seconds), sends, and prints
``{"sent": …, "reason": …}``. The URL holds a password: it comes by standard input and is never printed.
"""

from __future__ import annotations

import json
import logging
import re
import signal
import sys
from typing import Any

__all__ = ["main"]

_MAX_INPUT = 256 * 1024  # characters
_MAX_REASON = 300
_SHORTEST_SECRET = 4  # characters of a part of the URL that is worth hiding


class _Said(logging.Handler):
    """Keeps what Apprise logged about failures."""

    def __init__(self) -> None:
        super().__init__(logging.DEBUG)
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        text = record.getMessage()
        if record.levelno >= logging.WARNING or "xception" in text:
            self.lines.append(text)


def main() -> int:
    """Send one message; exit status 0 also when it could not be sent."""
    order = json.loads(sys.stdin.read(_MAX_INPUT))
    signal.alarm(max(1, int(order["seconds"])))  # if whoever started it is gone by then
    sent, reason = _send(order)
    print(json.dumps({"sent": sent, "reason": reason}))
    return 0


def _send(order: dict[str, Any]) -> tuple[bool, str]:
    import apprise

    said = _Said()
    logger = logging.getLogger("apprise")
    logger.addHandler(said)
    logger.setLevel(logging.DEBUG)
    logger.propagate = False
    service = apprise.Apprise.instantiate(order["url"], suppress_exceptions=True)
    if service is None:
        return False, "it is no URL that Apprise knows"
    if not getattr(service, "verify_certificate", True):
        return False, "verify=no: a certificate is always checked"
    target = apprise.Apprise()
    target.add(service)
    sent = target.notify(
        body=order["body"],
        title=order["title"],
        notify_type=order["type"],
        body_format=apprise.NotifyFormat.TEXT,
        interpret_escapes=False,
    )
    name = str(getattr(service, "service_name", "service"))
    why = "; ".join(_hidden(line, order["url"]) for line in said.lines[-3:])
    return bool(sent), f"{name}: {why or 'not sent'}"[:_MAX_REASON]


def _hidden(line: str, url: str) -> str:
    """A line of the log without any part of the URL that may be a secret."""
    from urllib.parse import unquote_plus

    parts = {part for part in re.split(r"[/:@?&=,;]", url) if len(part) >= _SHORTEST_SECRET}
    for part in sorted(parts | {unquote_plus(part) for part in parts}, key=len, reverse=True):
        line = line.replace(part, "…")
    return " ".join(line.split())


if __name__ == "__main__":
    sys.exit(main())
