"""A host's own address: the master carries out calls, a slave tells who that is, a dead host nothing."""

from __future__ import annotations

from collections.abc import Sequence

from xentpm_lib.simulator.xapi.errors import XapiError
from xentpm_lib.simulator.xapi.hosts import Host
from xentpm_lib.simulator.xapi.service import Xapi
from xentpm_lib.simulator.xml_values import Value

__all__ = ["Member"]


class Member:
    """What answers at the address of one host of the pool."""

    def __init__(self, xapi: Xapi, host: Host) -> None:
        self._xapi = xapi
        self._host = host

    @property
    def live(self) -> bool:
        """Whether anything answers at all."""
        return self._host.live

    def call(self, name: str, params: Sequence[Value]) -> Value:
        """Carry out one call. Raises: XapiError, HOST_IS_SLAVE for every call to a host that is none."""
        master = self._xapi.hosts.master
        if master is not self._host:
            raise XapiError("HOST_IS_SLAVE", master.address)
        return self._xapi.call(name, params)
