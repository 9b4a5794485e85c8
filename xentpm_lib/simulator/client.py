"""The command lines' way to a running simulator: XML-RPC with a session, the certificate checked."""

from __future__ import annotations

import contextlib
import re
import ssl
import xmlrpc.client
from collections.abc import Iterator, Mapping, Sequence
from types import TracebackType
from typing import Any

from xentpm_lib.errors import UsageError
from xentpm_lib.simulator.directory import Access
from xentpm_lib.simulator.invocation import command
from xentpm_lib.simulator.xapi.errors import XapiError

__all__ = ["Client", "text_fault"]

_NEVER_IN_XML = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ufffe\uffff]")

_MOST_BYTES = 300 * 1024  # and no more does server.MAX_BODY_BYTES let in


def text_fault(text: str) -> str | None:
    """Why a text cannot be sent to XAPI; None when it can."""
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return "this is no UTF-8 text"
    return "this has control characters" if _NEVER_IN_XML.search(text) else None


def _texts(value: object) -> Iterator[str]:
    """All strings of a call's parameters."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for pair in value.items():
            yield from _texts(pair)
    elif isinstance(value, tuple):
        for item in value:
            yield from _texts(item)


class Client:
    """A session of a running simulator; a context manager that logs out.

    said: the words of the command line that chose this simulator, for commands that are suggested.
    """

    def __init__(self, access: Access, said: Sequence[str] = ()) -> None:
        self.said = said
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
        sent: Any = params
        for text in _texts(sent):
            fault = text_fault(text)
            if fault is not None:
                raise UsageError(f"{text[:40]!a}: {fault}", "encode it, as with base64 -w0")
        if len(xmlrpc.client.dumps(sent, method).encode()) > _MOST_BYTES:
            raise UsageError("this is too long for a call of XAPI", f"it takes {_MOST_BYTES} bytes of XML")
        try:
            answer: Any = getattr(self._proxy, method)(*params)
        except xmlrpc.client.ProtocolError as error:
            message = f"the simulator does not take this: {error.errmsg} (HTTP {error.errcode})"
            raise UsageError(message, "its log may tell more") from error
        except (OSError, xmlrpc.client.Error) as error:
            message = f"cannot reach the simulator: {error}"
            raise UsageError(message, f"is it running? If not: {command('up')}") from error
        if answer["Status"] != "Success":
            raise XapiError(*answer["ErrorDescription"])
        return answer["Value"]
