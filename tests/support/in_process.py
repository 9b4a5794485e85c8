"""Calling dom0's functions in the test's own process, and faults for a `TpmProxy` to make."""

from contextlib import contextmanager
from typing import Any, Callable, Iterator, List, Optional, Tuple

import pytest

from support.tpm_proxy import Command, TpmProxy, response
from xentpm_lib.errors import XenTpmError

LOCKOUT = bytes.fromhex("4000000a")


def call(dom0: Any, function: Callable[..., Any], **arguments: str) -> Any:
    """What ``function`` of `xentpm_lib.host.functions` returns."""
    return function(dom0.host(), arguments)


def refusal(dom0: Any, function: Callable[..., Any], **arguments: str) -> XenTpmError:
    """The error that ``function`` raises; it must have a hint."""
    with pytest.raises(XenTpmError) as caught:
        call(dom0, function, **arguments)
    assert caught.value.hint
    return caught.value


@contextmanager
def proxied(dom0: Any, rule: Optional[Callable[[Command], Optional[bytes]]] = None) -> Iterator[TpmProxy]:
    """A `TpmProxy` before the TPM of ``dom0`` with this rule; then it is reached directly again."""
    proxy = dom0.proxy()
    if rule is not None:
        proxy.rule = rule
    try:
        yield proxy
    finally:
        proxy.close()
        dom0.configure(tcti=dom0.tpm.tcti)


def commands_of(dom0: Any, function: Callable[..., Any], **arguments: str) -> List[str]:
    """The names of the TPM commands that ``function`` sends."""
    with proxied(dom0) as proxy:
        call(dom0, function, **arguments)
        return proxy.commands


class Answer:
    """A rule: answer command ``name`` (None: any) with ``rc`` the first ``times`` (None: for ever)."""

    def __init__(self, name: Optional[str], rc: int, times: Optional[int] = None) -> None:
        self.name, self.rc, self.times, self.seen = name, rc, times, 0

    def __call__(self, command: Command) -> Optional[bytes]:
        if self.name is not None and command.name != self.name:
            return None
        self.seen += 1
        return response(self.rc) if self.times is None or self.seen <= self.times else None


class CutBefore:
    """A rule: end the connection instead of the command with this number."""

    def __init__(self, number: int) -> None:
        self.number = number

    def __call__(self, command: Command) -> Optional[bytes]:
        if command.number == self.number:
            raise ConnectionError("cut by the test")
        return None


class CutAfter(CutBefore):
    """A rule: let the TPM run the command with this number, and end the connection without its answer."""

    def __call__(self, command: Command) -> Optional[bytes]:
        if command.number == self.number:
            command.ask(command.data)
        return super().__call__(command)


def lockout_tries(seen: List[Tuple[str, bytes]]) -> int:
    """How often the lockout hierarchy was authorised, of commands noted by `noting`."""
    return sum(1 for name, data in seen if data[10:14] == LOCKOUT)


def noting(seen: List[Tuple[str, bytes]]) -> Callable[[Command], Optional[bytes]]:
    """A rule that lets all commands pass and notes them."""

    def rule(command: Command) -> Optional[bytes]:
        seen.append((command.name, command.data))
        return None

    return rule
