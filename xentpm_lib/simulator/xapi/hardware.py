"""Methods that no XAPI has, for whoever stands in front of the simulated machines: ``simulator.…``."""

from __future__ import annotations

from collections.abc import Callable

from xentpm_lib.errors import XenTpmError
from xentpm_lib.simulator.xapi.errors import XapiError
from xentpm_lib.simulator.xapi.hosts import Host, Hosts
from xentpm_lib.simulator.xapi.methods import Call, Handler, Method, string
from xentpm_lib.simulator.xml_values import Value

__all__ = ["SIMULATOR_ERROR", "hardware_methods"]

SIMULATOR_ERROR = "SIMULATOR_ERROR"
"""Code of what goes wrong with a simulated machine: ``[message, hint]``."""


def hardware_methods(hosts: Hosts) -> list[Method]:
    """The methods, for the hosts of a pool."""
    host = (string("host"),)
    change = (string("component"), string("append", ""), string("content", ""))

    def on(operation: Callable[[Host, Call], Value]) -> Handler:
        return lambda call: _told(operation, hosts.get(call.args[0]), call)

    return [
        Method("simulator.get_hosts", lambda call: [_description(hosts, item) for item in hosts.all()]),
        Method("simulator.host_components", on(_components), host),
        Method("simulator.host_edit", on(_edit), (*host, *change)),
        Method("simulator.host_reboot", on(_power(_reboot)), host),
        Method("simulator.host_power_on", on(_power(_power_on)), host),
        Method("simulator.host_power_off", on(_power(_power_off)), host),
        Method("simulator.host_replace_tpm", on(_power(_replace_tpm)), host),
        Method("simulator.host_promote", on(_power(hosts.promote)), host),
    ]


def _told(operation: Callable[[Host, Call], Value], host: Host, call: Call) -> Value:
    """Carry out, and keep the hint of an error for the person at the other end."""
    try:
        return operation(host, call)
    except XenTpmError as error:
        raise XapiError(SIMULATOR_ERROR, error.message, error.hint) from error


def _description(hosts: Hosts, host: Host) -> Value:
    machine = host.machine
    return {
        "uuid": machine.uuid,
        "ref": host.ref,
        "name": machine.name,
        "dir": str(machine.directory),
        "tcti": machine.tcti,
        "live": host.live,
        "enabled": host.enabled,
        "master": host is hosts.master,
    }


def _components(host: Host, _call: Call) -> Value:
    return list(host.machine.components())


def _edit(host: Host, call: Call) -> Value:
    _ref, component, append, content = call.args
    with host.lock:
        host.machine.edit(component, append=append or None, content=content or None)
    return ""


def _power(operation: Callable[[Host], None]) -> Callable[[Host, Call], Value]:
    def handler(host: Host, _call: Call) -> Value:
        with host.lock:
            operation(host)
        return host.boot_warning()

    return handler


def _reboot(host: Host) -> None:
    """A reset button: unlike host.reboot it does not ask for a disabled host."""
    host.require_live()
    host.change_power(host.machine.reboot)


def _power_on(host: Host) -> None:
    if not host.machine.powered:
        host.change_power(host.machine.power_on)


def _power_off(host: Host) -> None:
    if host.machine.powered:
        host.change_power(host.machine.power_off)


def _replace_tpm(host: Host) -> None:
    host.change_power(host.machine.replace_tpm)
