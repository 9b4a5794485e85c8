"""The addresses of pools: ``https`` only, a host and a port, nothing else."""

from __future__ import annotations

import ipaddress
import re
from typing import NamedTuple

from xentpm_lib.errors import UsageError

__all__ = ["DEFAULT_PORT", "Address", "parse_url"]

DEFAULT_PORT = 443
_NAME = re.compile(r"(?=.{1,253}\Z)[A-Za-z0-9_]([A-Za-z0-9_-]{0,62})(\.[A-Za-z0-9_-]{1,63})*\.?")
_URL = re.compile(
    r"(?:(https?)://)?(\[[0-9A-Fa-f:.]{2,45}\]|[^\s/@?#:\[\]\\]{1,253})(?::([0-9]{1,5}))?/?", re.A
)
_MAX_PORT = 65535


class Address(NamedTuple):
    """A server. host: a name, or an IP address without brackets."""

    host: str
    port: int = DEFAULT_PORT

    @property
    def url(self) -> str:
        """``https://host``, with the port where it is not 443."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"https://{host}" + ("" if self.port == DEFAULT_PORT else f":{self.port}")

    def at(self, host: str) -> Address:
        """Another host of the pool, at the same port; IPv6 with brackets or without. Raises: UsageError."""
        bare = host[1:-1] if host.startswith("[") and host.endswith("]") else host
        return Address(_checked_host(bare, host), self.port)


def parse_url(text: str) -> Address:
    """The server of ``https://host[:port]`` or ``host[:port]``.

    Raises:
        UsageError: anything else; above all ``http``, which would show the password to everybody.
    """
    found = _URL.fullmatch(text)
    if found is None:
        raise UsageError(f"{text[:80]!a} is no pool's address", "give it as in https://pool.example")
    scheme, host, port = found.groups()
    if scheme == "http":
        raise UsageError(f"{text[:80]}: only https is spoken", "give it as in https://pool.example")
    number = int(port) if port else DEFAULT_PORT
    if not 0 < number <= _MAX_PORT:
        raise UsageError(f"{text[:80]}: no such port", f"1 to {_MAX_PORT}")
    return Address(_checked_host(host.strip("[]"), text), number)


def _checked_host(host: str, text: str) -> str:
    try:
        return str(ipaddress.ip_address(host))
    except ValueError:
        if _NAME.fullmatch(host) is None or ":" in host:
            raise UsageError(f"{text[:80]!a} is no host's address", "give a name or an IP address") from None
        return host.lower()
