"""The command lines' way to a running simulator: XML-RPC with a session, the certificate checked."""

from __future__ import annotations

import contextlib
import ssl
import xmlrpc.client
from types import TracebackType
from typing import Any

from xentpm_lib.errors import UsageError
from xentpm_lib.simulator.directory import Access
from xentpm_lib.simulator.xapi.errors import XapiError

__all__ = ["Client"]


class Client:
    """A session of a running simulator; a context manager that logs out."""

    def __init__(self, access: Access) -> None:
        context = None
        if access.url.startswith("https:"):
            context = ssl.create_default_context(cafile=access.certificate)
        self._proxy = xmlrpc.client.ServerProxy(access.url, allow_none=True, context=context)
        self._session = ""
        login = self._raw("session.login_with_password", access.username, access.password, "2.21")
        self._session = str(login)

    def __enter__(self) -> Client:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with contextlib.suppress(UsageError, XapiError):  # the simulator may have ended meanwhile
            self.call("session.logout")
        self._proxy("close")()

    def call(self, method: str, *params: object) -> Any:
        """Call a method of the API. Raises: XapiError; UsageError when the simulator cannot be reached."""
        return self._raw(method, self._session, *params)

    def _raw(self, method: str, *params: object) -> Any:
        try:
            answer: Any = getattr(self._proxy, method)(*params)
        except (OSError, xmlrpc.client.Error) as error:
            message = f"cannot reach the simulator: {error}"
            raise UsageError(message, "is it running? xentpm-sim up") from error
        if answer["Status"] != "Success":
            raise XapiError(*answer["ErrorDescription"])
        return answer["Value"]
