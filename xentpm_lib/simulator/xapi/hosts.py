"""The host class: records, other_config and tags, maintenance, reboot, plugins."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from xentpm_lib.simulator.plugin_process import ProcessWatch, call_plugin
from xentpm_lib.simulator.xapi.errors import XapiError
from xentpm_lib.simulator.xapi.host_record import HostFacts, host_record, metrics_record
from xentpm_lib.simulator.xapi.machine import PLUGINS_FOLDER, Machine
from xentpm_lib.simulator.xapi.methods import (
    Call,
    Handler,
    Method,
    RecordOf,
    Records,
    flag,
    now,
    number,
    ref_of,
    string,
    text_map,
)
from xentpm_lib.simulator.xapi.store import HostState, Store
from xentpm_lib.simulator.xml_values import Value

__all__ = ["Host", "Hosts"]

_SELF = string("self")
_HOST = string("host")


class Host:
    """One member of the pool. Hold ``lock`` while its power changes or its files are edited."""

    def __init__(self, machine: Machine, address: str, certificate: str, state: HostState) -> None:
        self.machine = machine
        self.ref = ref_of("host", machine.uuid)
        self.address = address
        self.certificate = certificate
        self.state = state
        self.enabled = True
        self.lock = threading.RLock()
        self.booted = now()
        self._going_down = False

    @property
    def live(self) -> bool:
        """Whether the host answers: not while it is off or boots."""
        return self.machine.powered and not self._going_down

    def facts(self) -> HostFacts:
        """The host as of now, for its record."""
        machine, state = self.machine, self.state
        return HostFacts(
            machine.uuid,
            machine.name,
            self.address,
            Path(machine.root),
            self.enabled,
            self.live,
            self.booted,
            state.other_config,
            state.tags,
        )

    def boot_warning(self) -> str:
        """What the boot-time unit complained of, if it failed at the last boot; else empty."""
        report = self.machine.boot_report
        if report is None or report.exit_status == 0 or not self.live:
            return ""
        lines = report.stderr.strip().splitlines() or [f"exit status {report.exit_status}"]
        return f"{self.machine.name}: the boot-time unit failed: {lines[0]}"

    def require_live(self) -> None:
        """Raises: XapiError HOST_OFFLINE."""
        if not self.live:
            raise XapiError("HOST_OFFLINE", self.ref)

    def change_power(self, operation: Callable[[], None]) -> None:
        """Carry out a boot, shutdown or change of hardware; a host that comes up is enabled."""
        with self.lock:
            self._going_down = True
            try:
                operation()
            finally:
                self._going_down = False
            self.enabled = True
            self.booted = now()
            self.state.other_config["boot_time"] = f"{time.time():.0f}."


class Hosts:
    """All hosts of the pool. The master is the first one until another is promoted."""

    def __init__(self, hosts: Sequence[Host], store: Store, watch: ProcessWatch) -> None:
        self._hosts = {host.ref: host for host in hosts}
        self._store = store
        self._watch = watch
        self._told: list[Callable[[], None]] = []

    @property
    def master(self) -> Host:
        """The pool's master."""
        hosts, chosen = self.all(), self._store.state.master
        return next((host for host in hosts if host.machine.uuid == chosen), hosts[0])

    def on_new_master(self, tell: Callable[[], None]) -> None:
        """Have ``tell`` called whenever another host becomes the master."""
        self._told.append(tell)

    def promote(self, host: Host) -> None:
        """Make a host the master, whether the old one lives or not. Raises: XapiError HOST_OFFLINE."""
        host.require_live()
        if host is self.master:
            return
        with self._store.lock:
            self._store.state.master = host.machine.uuid
            self._store.save()
        for tell in self._told:
            tell()

    def get(self, ref: str) -> Host:
        """The host of a reference. Raises: XapiError HANDLE_INVALID."""
        try:
            return self._hosts[ref]
        except KeyError as error:
            raise XapiError("HANDLE_INVALID", "host", ref) from error

    def all(self) -> list[Host]:
        """The hosts, in the order in which they were made."""
        return list(self._hosts.values())

    def methods(self) -> list[Method]:
        """The methods of the classes host and host_metrics."""
        fields = host_record(self.master.facts())
        metrics_fields = metrics_record(self.master.facts())
        return [
            *Records("host", fields, self._records).methods(),
            *Records("host_metrics", metrics_fields, self._metrics).methods(),
            *self._state_methods(),
            *self._operations(),
        ]

    def _records(self) -> dict[str, RecordOf]:
        return {ref: partial(self._record, host) for ref, host in self._hosts.items()}

    def _record(self, host: Host) -> dict[str, Value]:
        with self._store.lock:
            return host_record(host.facts())

    def _metrics(self) -> dict[str, RecordOf]:
        return {ref_of("host_metrics", host.machine.uuid): partial(_metrics_of, host) for host in self.all()}

    def _state_methods(self) -> list[Method]:
        key, value = string("key"), string("value")
        return [
            Method("host.add_to_other_config", self._add_other_config, (_SELF, key, value)),
            Method("host.remove_from_other_config", self._remove_other_config, (_SELF, key)),
            Method("host.set_other_config", self._set_other_config, (_SELF, text_map("value"))),
            Method("host.add_tags", self._add_tag, (_SELF, value)),
            Method("host.remove_tags", self._remove_tag, (_SELF, value)),
            Method("host.get_by_name_label", self._by_name_label, (string("label"),)),
            Method("host.get_server_certificate", self._certificate, (_HOST,)),
        ]

    def _operations(self) -> list[Method]:
        network, batch = string("network", ""), number("evacuate_batch_size", 0)
        auto_enable = flag("auto_enable", True)
        plugin = (_HOST, string("plugin"), string("fn"), text_map("args"))
        return [
            Method("host.disable", self._on_live(_disable), (_HOST, auto_enable), can_be_async=True),
            Method("host.enable", self._on_live(_enable), (_HOST,), can_be_async=True),
            Method("host.evacuate", self._on_live(_nothing), (_HOST, network, batch), can_be_async=True),
            Method("host.reboot", self._on_live(_reboot), (_HOST,), can_be_async=True),
            Method("host.call_plugin", self._call_plugin, plugin, can_be_async=True),
        ]

    def _add_other_config(self, call: Call) -> Value:
        ref, key, value = call.args
        host = self.get(ref)
        with self._store.lock:
            if key in host.state.other_config:
                raise XapiError("MAP_DUPLICATE_KEY", "host", "other_config", ref, key)
            host.state.other_config[key] = value
            self._store.save()
        return ""

    def _remove_other_config(self, call: Call) -> Value:
        host = self.get(call.args[0])
        with self._store.lock:
            host.state.other_config.pop(call.args[1], None)
            self._store.save()
        return ""

    def _set_other_config(self, call: Call) -> Value:
        host = self.get(call.args[0])
        with self._store.lock:
            host.state.other_config = dict(call.args[1])
            self._store.save()
        return ""

    def _add_tag(self, call: Call) -> Value:
        host = self.get(call.args[0])
        with self._store.lock:
            if call.args[1] not in host.state.tags:
                host.state.tags.append(call.args[1])
            self._store.save()
        return ""

    def _remove_tag(self, call: Call) -> Value:
        host = self.get(call.args[0])
        with self._store.lock:
            host.state.tags[:] = [tag for tag in host.state.tags if tag != call.args[1]]
            self._store.save()
        return ""

    def _by_name_label(self, call: Call) -> Value:
        return [host.ref for host in self.all() if host.machine.name == call.args[0]]

    def _certificate(self, call: Call) -> Value:
        return self.get(call.args[0]).certificate

    def _on_live(self, operation: Callable[[Host], None]) -> Handler:
        def handler(call: Call) -> Value:
            host = self.get(call.args[0])
            host.require_live()
            operation(host)
            return ""

        return handler

    def _call_plugin(self, call: Call) -> Value:
        ref, plugin, function, args = call.args
        host = self.get(ref)
        host.require_live()
        return call_plugin(
            Path(host.machine.root) / PLUGINS_FOLDER, plugin, function, call.session, args, self._watch
        )


def _metrics_of(host: Host) -> dict[str, Value]:
    return metrics_record(host.facts())


def _disable(host: Host) -> None:
    host.enabled = False


def _enable(host: Host) -> None:
    host.enabled = True


def _nothing(_host: Host) -> None:
    """A simulated host has no virtual machines to move away."""


def _reboot(host: Host) -> None:
    """Returns when the host is up again, so that a script need not wait."""
    with host.lock:
        host.require_live()
        if host.enabled:
            raise XapiError("HOST_NOT_DISABLED")
        host.change_power(host.machine.reboot)
