"""A pool of hosts, as the verifier uses it: lists them, calls their plugin, leaves marks and messages."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from xentpm_lib.evidence.quote import EVIDENCE_LIMITS
from xentpm_lib.verifier.errors import CollectionError
from xentpm_lib.verifier.records import PoolRecord
from xentpm_lib.verifier.xapi.deadline import Deadline
from xentpm_lib.verifier.xapi.faults import XapiFailure, as_collection_error, plain_name
from xentpm_lib.verifier.xapi.session import Credentials, MasterSession, XapiOptions

__all__ = ["Credentials", "HostInfo", "Marks", "PoolClient", "PoolInfo", "XapiOptions"]

PLUGIN = "tpm"
_MAX_ANSWER = EVIDENCE_LIMITS.length  # characters of what a plugin returns
_MAX_PLUGIN_BYTES = 2 * _MAX_ANSWER  # of the answer that it is in: quotes have six bytes in XML
_STALE = frozenset(("HANDLE_INVALID",))


@dataclass(frozen=True, slots=True)
class PoolInfo:
    """A pool as its master describes it. Names are untrusted text."""

    uuid: str
    name: str


@dataclass(frozen=True, slots=True)
class HostInfo:
    """A host as the pool's master describes it. name, address: untrusted; the name is short and printable.

    ref: XAPI's reference. uuid: XAPI's UUID. live: whether the master reaches it. master: whether it is it.
    """

    ref: str
    uuid: str
    name: str
    address: str
    enabled: bool
    live: bool
    master: bool


@dataclass(frozen=True, slots=True)
class Marks:
    """What is attached to a host for people and orchestrators."""

    tags: frozenset[str]
    other_config: dict[str, str]


class PoolClient:
    """One pool. Any number of threads may use it at once; they share one session.

    Nothing is done until the first call, which logs in. A session that ended is renewed; where the master
    changed or died, the pool's other addresses tell who is it now.
    Every method raises CollectionError and nothing else, and takes at most ``timeout`` seconds
    (``options.call_s`` where there is none), log-in and change of master included; only the system's
    look-up of a host's name may take longer.
    """

    def __init__(
        self,
        pool: PoolRecord,
        credentials: Callable[[], Credentials],
        options: XapiOptions | None = None,
    ) -> None:
        self.pool = pool
        self._options = options or XapiOptions()
        self._session = MasterSession(pool, credentials, self._options)
        self._refs: dict[str, str] = {}
        self._names: dict[str, tuple[str, str]] = {}  # reference to UUID and name, of ``host_names``
        self._lock = threading.Lock()

    def __enter__(self) -> PoolClient:
        return self

    def __exit__(self, *_exception: object) -> None:
        self.close()

    def close(self) -> None:
        """Log out and close all connections; calls that are under way fail at once. Never fails."""
        self._session.close()

    @property
    def master_url(self) -> str:
        """The address of the master that the session is with; empty while there is none."""
        address = self._session.address
        return address.url if address else ""

    def info(self) -> PoolInfo:
        """The pool's UUID and name."""
        records = self._call("pool.get_all_records")
        try:
            (record,) = records.values()
            return PoolInfo(_text(record, "uuid"), _text(record, "name_label"))
        except (AttributeError, ValueError) as error:
            raise CollectionError("XAPI_ERROR", "pool.get_all_records: not one pool's record") from error

    def hosts(self) -> list[HostInfo]:
        """All hosts, the master first, then by name; two calls."""
        records, metrics = self._call("host.get_all_records"), self._call("host_metrics.get_all_records")
        master = self._session.master(Deadline(self._options.call_s))
        if not isinstance(records, dict) or not isinstance(metrics, dict):
            raise CollectionError("XAPI_ERROR", "host.get_all_records: not a map of records")
        found = [_host_info(ref, record, metrics, master) for ref, record in records.items()]
        with self._lock:
            self._refs.update({host.uuid: host.ref for host in found})
        return sorted(found, key=lambda host: (not host.master, host.name, host.uuid))

    def host_names(self) -> dict[str, str]:
        """UUID to name of all hosts; one short call where all of them are known, else one long call more."""
        refs = self._call("host.get_all")
        if not isinstance(refs, list):
            raise CollectionError("XAPI_ERROR", "host.get_all: not a list of references")
        names = {ref: self._names[ref] for ref in map(_string, refs) if ref in self._names}
        if len(names) < len(refs):
            records = self._call("host.get_all_records")
            if not isinstance(records, dict):
                raise CollectionError("XAPI_ERROR", "host.get_all_records: not a map of records")
            for ref, record in records.items():
                names[_string(ref)] = _text(record, "uuid"), plain_name(_text(record, "name_label"))
        self._names = names
        return dict(names.values())

    def call_plugin(
        self, host_uuid: str, function: str, args: Mapping[str, str], timeout: float | None = None
    ) -> str:
        """Call a function of the host's plugin ``tpm``; returns its text, at most 4 Mi characters."""
        deadline = Deadline(self._options.call_s if timeout is None else timeout, max_bytes=_MAX_PLUGIN_BYTES)
        call = ("host.call_plugin", host_uuid, PLUGIN, function, dict(args))
        answer = self._on_host(*call, deadline=deadline)
        if not isinstance(answer, str) or len(answer) > _MAX_ANSWER:
            raise CollectionError("PLUGIN_ERROR", f"{function}: the answer is no text, or too long")
        return answer

    def server_certificate(self, host_uuid: str) -> str:
        """The PEM certificate that the host's own server shows, as the master knows it."""
        return _string(self._on_host("host.get_server_certificate", host_uuid))

    def create_message(self, host_uuid: str, name: str, priority: int, body: str) -> None:
        """Attach a message to the host. priority: 1 critical to 5 information. body: plain text."""
        self._call("message.create", name, str(priority), "Host", host_uuid, _sendable(body))

    def marks(self, host_uuid: str) -> Marks:
        """The host's tags and other_config."""
        tags = self._on_host("host.get_tags", host_uuid)
        config = self._on_host("host.get_other_config", host_uuid)
        if not isinstance(tags, list) or not isinstance(config, dict):
            raise CollectionError("XAPI_ERROR", "host.get_tags: not a list of tags")
        return Marks(frozenset(map(_string, tags)), {_string(k): _string(v) for k, v in config.items()})

    def set_marks(
        self,
        host_uuid: str,
        add_tags: Iterable[str] = (),
        remove_tags: Iterable[str] = (),
        set_config: Mapping[str, str] | None = None,
        remove_config: Iterable[str] = (),
    ) -> None:
        """Make tags and other_config so; what is so already, and what is not named, is left alone."""
        now = self.marks(host_uuid)
        for tag in sorted(set(remove_tags) & now.tags):
            self._on_host("host.remove_tags", host_uuid, tag)
        for tag in sorted(set(add_tags) - now.tags):
            self._on_host("host.add_tags", host_uuid, tag)
        wanted = {key: _sendable(value) for key, value in (set_config or {}).items()}
        for key in sorted((set(remove_config) - set(wanted)) & set(now.other_config)):
            self._on_host("host.remove_from_other_config", host_uuid, key)
        for key, value in wanted.items():
            if now.other_config.get(key) != value:
                self._on_host("host.remove_from_other_config", host_uuid, key)
                self._on_host("host.add_to_other_config", host_uuid, key, value)

    def disable_host(self, host_uuid: str) -> None:
        """Keep new virtual machines off the host; where XAPI can, also after its next restart."""
        try:
            self._on_host("host.disable", host_uuid, False, raw=True)  # auto_enable
        except XapiFailure as failure:
            if failure.code != "MESSAGE_PARAMETER_COUNT_MISMATCH":
                raise self._told(failure) from failure
            self._on_host("host.disable", host_uuid)

    def _on_host(
        self,
        method: str,
        host_uuid: str,
        *params: object,
        deadline: Deadline | None = None,
        raw: bool = False,
    ) -> Any:
        """Call a method of a host; its reference is looked up once. raw: let XapiFailure through."""
        deadline = deadline or Deadline(self._options.call_s)
        try:
            known = host_uuid in self._refs
            try:
                return self._session.call(deadline, method, self._ref(host_uuid, deadline), *params)
            except XapiFailure as failure:
                if not known or failure.code not in _STALE:
                    raise
                with self._lock:
                    self._refs.pop(host_uuid, None)
                return self._session.call(deadline, method, self._ref(host_uuid, deadline), *params)
        except XapiFailure as failure:
            if raw:
                raise
            raise self._told(failure) from failure

    def _ref(self, host_uuid: str, deadline: Deadline) -> str:
        ref = self._refs.get(host_uuid)
        if ref is None:
            ref = _string(self._session.call(deadline, "host.get_by_uuid", host_uuid))
            with self._lock:
                self._refs[host_uuid] = ref
        return ref

    def _call(self, method: str, *params: object) -> Any:
        """Call a method that the master answers by itself."""
        try:
            return self._session.call(Deadline(self._options.call_s), method, *params)
        except CollectionError as error:
            if error.finding == "COLLECTION_TIMEOUT":
                self._session.doubt()
            raise
        except XapiFailure as failure:
            raise self._told(failure) from failure

    def _told(self, failure: XapiFailure) -> CollectionError:
        return as_collection_error(failure, self._session.secrets)


def _host_info(ref: object, record: object, metrics: dict[str, Any], master: str) -> HostInfo:
    live = metrics.get(_text(record, "metrics"), {})
    if not isinstance(record, dict) or not isinstance(live, dict):
        raise CollectionError("XAPI_ERROR", "host.get_all_records: not a record")
    return HostInfo(
        ref=_string(ref),
        uuid=_text(record, "uuid"),
        name=plain_name(_text(record, "name_label")),
        address=_text(record, "address"),
        enabled=record.get("enabled") is True,
        live=live.get("live") is True,
        master=ref == master,
    )


def _text(record: object, field: str) -> str:
    return _string(record.get(field) if isinstance(record, dict) else None)


def _string(value: object) -> str:
    if not isinstance(value, str):
        raise CollectionError("XAPI_ERROR", "the answer is not of the type that XAPI documents")
    return value


def _sendable(text: str) -> str:
    """Text without what XML cannot hold."""
    kept = (char for char in text if char in "\t\n" or (ord(char) >= 0x20 and char not in "\ufffe\uffff"))
    return "".join(kept).encode("utf-8", "replace").decode("utf-8")
