"""Sessions: logging in, out, and the check that every other method begins with."""

from __future__ import annotations

import hmac
import threading
import uuid
from collections import OrderedDict
from collections.abc import Callable

from xentpm_lib.simulator.xapi.errors import XapiError
from xentpm_lib.simulator.xapi.methods import Call, Method, string
from xentpm_lib.simulator.xml_values import Value

__all__ = ["MAX_SESSIONS", "Sessions"]

MAX_SESSIONS = 1000
"""Beyond this the session unused for longest is closed, as XAPI does."""


class Sessions:
    """The sessions that are open; ``this_host`` gives the reference of the pool's master."""

    def __init__(self, username: str, password: str, this_host: Callable[[], str]) -> None:
        self._username = username.encode()
        self._password = password.encode()
        self._this_host = this_host
        self._open: OrderedDict[str, str] = OrderedDict()
        self._lock = threading.Lock()

    def require(self, ref: str) -> None:
        """Raises: XapiError SESSION_INVALID."""
        with self._lock:
            if ref not in self._open:
                raise XapiError("SESSION_INVALID", ref)
            self._open.move_to_end(ref)

    def close_all(self) -> None:
        """End every session, as when another host becomes the master."""
        with self._lock:
            self._open.clear()

    def methods(self) -> list[Method]:
        """The methods of the class session."""
        credentials = (string("uname"), string("pwd"), string("version", ""), string("originator", ""))
        self_ref = (string("self"),)
        return [
            Method("session.login_with_password", self._login, credentials, session=False),
            Method("session.logout", self._logout),
            Method("session.get_this_host", self._host, self_ref),
            Method("session.get_uuid", lambda call: self._known(call.args[0]), self_ref),
        ]

    def _login(self, call: Call) -> Value:
        username, password = (text.encode() for text in call.args[:2])
        good = hmac.compare_digest(username, self._username)
        good &= hmac.compare_digest(password, self._password)
        if not good:
            raise XapiError("SESSION_AUTHENTICATION_FAILED", call.args[0], "Authentication failure")
        ref = f"OpaqueRef:{uuid.uuid4()}"
        with self._lock:
            self._open[ref] = str(uuid.uuid4())
            while len(self._open) > MAX_SESSIONS:
                self._open.popitem(last=False)
        return ref

    def _logout(self, call: Call) -> Value:
        with self._lock:
            self._open.pop(call.session, None)
        return ""

    def _host(self, call: Call) -> Value:
        self._known(call.args[0])
        return self._this_host()

    def _known(self, ref: str) -> str:
        with self._lock:
            if ref not in self._open:
                raise XapiError("HANDLE_INVALID", "session", ref)
            return self._open[ref]
