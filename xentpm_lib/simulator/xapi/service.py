"""One pool's API: finds the method, checks session and arguments, and answers or raises XapiError."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from functools import partial

from xentpm_lib.errors import XenTpmError
from xentpm_lib.simulator.plugin_process import NO_WATCH, ProcessWatch
from xentpm_lib.simulator.xapi.errors import XapiError
from xentpm_lib.simulator.xapi.hardware import hardware_methods
from xentpm_lib.simulator.xapi.hosts import Host, Hosts
from xentpm_lib.simulator.xapi.messages import Messages
from xentpm_lib.simulator.xapi.methods import Call, Method, bind
from xentpm_lib.simulator.xapi.pool import pool_methods
from xentpm_lib.simulator.xapi.sessions import Sessions
from xentpm_lib.simulator.xapi.store import Store
from xentpm_lib.simulator.xapi.tasks import Tasks
from xentpm_lib.simulator.xml_values import Value

__all__ = ["Xapi"]

_LOG = logging.getLogger(__name__)
_ASYNC = "Async."


class Xapi:
    """The endpoint without its transport. Safe to call from any thread."""

    def __init__(
        self,
        hosts: Sequence[Host],
        store: Store,
        username: str,
        password: str,
        pool_name: str = "Simulated pool",
        watch: ProcessWatch = NO_WATCH,
    ) -> None:
        self.hosts = Hosts(hosts, store, watch)
        self.hosts.on_new_master(lambda: self._sessions.close_all())
        self._pool_uuid = store.state.pool_uuid
        self._sessions = Sessions(username, password, self._master_ref)
        self._tasks = Tasks(self._master_ref, _guarded)
        self._methods: dict[str, Method] = {
            method.name: method
            for method in [
                *self._sessions.methods(),
                *self.hosts.methods(),
                *pool_methods(self._pool_uuid, pool_name, self._master_ref),
                *Messages(store, self._exists).methods(),
                *self._tasks.methods(),
                *hardware_methods(self.hosts),
            ]
        }

    @property
    def live(self) -> bool:
        """The pool as such never dies; see ``Member`` for its hosts."""
        return True

    @property
    def method_names(self) -> list[str]:
        """Every method there is, without the Async ones."""
        return sorted(self._methods)

    def call(self, name: str, params: Sequence[Value]) -> Value:
        """Carry out one call. Raises: XapiError, and nothing else."""
        start = time.perf_counter()
        outcome = "ok"
        try:
            return _guarded(partial(self._call, name, list(params)))
        except XapiError as error:
            outcome = error.code
            raise
        finally:
            _LOG.info("%s %s %.1f ms", ascii(name[:80])[1:-1], outcome, (time.perf_counter() - start) * 1000)

    def _call(self, name: str, params: list[Value]) -> Value:
        is_async = name.startswith(_ASYNC)
        method = self._methods.get(name.removeprefix(_ASYNC))
        if method is None or (is_async and not method.can_be_async):
            raise XapiError("MESSAGE_METHOD_UNKNOWN", name)
        session = self._session(method, params)
        work = partial(method.handler, Call(session, bind(method, params)))
        return self._tasks.start(method.name, work) if is_async else work()

    def _session(self, method: Method, params: list[Value]) -> str:
        """Take the session off the parameters and check it."""
        if not method.session:
            return ""
        session = params.pop(0) if params else ""
        if not isinstance(session, str):
            raise XapiError("FIELD_TYPE_ERROR", "session_id")
        self._sessions.require(session)
        return session

    def _master_ref(self) -> str:
        return self.hosts.master.ref

    def _exists(self, cls: str, uuid: str) -> bool:
        if cls == "Pool":
            return uuid == self._pool_uuid
        return cls == "Host" and any(host.machine.uuid == uuid for host in self.hosts.all())


def _guarded(work: Callable[[], Value]) -> Value:
    """Whatever goes wrong becomes an API error. Logs no arguments: they hold secrets."""
    try:
        return work()
    except XapiError:
        raise
    except XenTpmError as error:
        _LOG.warning("%s: %s", error.code, error.message)
        raise XapiError("INTERNAL_ERROR", error.message) from error
    except Exception as error:  # the client gets an answer whatever happens
        _LOG.exception("unexpected error")
        raise XapiError("INTERNAL_ERROR", f"{type(error).__name__}: {error}") from error
