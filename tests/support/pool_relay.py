"""A server that answers for another pool as its master does, and tells of it what it likes.

    with PoolRelay(directory, sim_pool, {sim_pool.hosts[0].uuid: "…"}) as relay:
        relay.url, relay.pin

Words are changed in what the pool answers, and back in what it is asked. ``relay.before`` is called ahead of
each call, with its method and parameters.
"""

import ssl
import xmlrpc.client
from pathlib import Path
from typing import Any, Callable, Dict

from support.hostile_server import Call, HostileServer
from support.pool import SimPool
from xentpm_lib.verifier.xapi.tls import fetch_certificate

__all__ = ["PoolRelay"]


class PoolRelay(HostileServer):
    """The server. words: from what the pool says to what is said instead of it."""

    def __init__(self, directory: Path, pool: SimPool, words: Dict[str, str]) -> None:
        self.before: Callable[[str, tuple], None] = lambda _method, _params: None
        self._to, self._words = pool.url, words
        super().__init__(directory, self._relay)

    @property
    def pin(self) -> str:
        """The SHA-256 of its certificate."""
        return fetch_certificate(self.url).pin

    def _relay(self, call: Call) -> None:
        self.before(call.method, call.params)
        asked = xmlrpc.client.dumps(call.params, call.method, allow_none=True)
        for theirs, ours in self._words.items():
            asked = asked.replace(ours, theirs)
        params, _method = xmlrpc.client.loads(asked)
        context = ssl._create_unverified_context()
        fresh: Any = xmlrpc.client.ServerProxy(self._to, context=context, allow_none=True)
        answer = getattr(fresh, call.method)(*params)
        told = xmlrpc.client.dumps((answer,), methodresponse=True, allow_none=True)
        for theirs, ours in self._words.items():
            told = told.replace(theirs, ours)
        call.answer(told.encode())
