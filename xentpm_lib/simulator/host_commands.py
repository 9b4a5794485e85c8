"""``xentpm-sim host …``: what a person does to a machine: edit, press buttons, change the TPM."""

from __future__ import annotations

import json
from typing import Any, NamedTuple

from xentpm_lib.errors import UsageError, XenTpmError
from xentpm_lib.simulator.client import Client
from xentpm_lib.simulator.invocation import command
from xentpm_lib.simulator.xapi.errors import XapiError
from xentpm_lib.simulator.xapi.hardware import SIMULATOR_ERROR

__all__ = ["POWER_COMMANDS", "PowerCommand", "as_error", "edit", "list_hosts", "power", "running_host"]


class PowerCommand(NamedTuple):
    """``method`` of the API; ``state``: what is true afterwards."""

    method: str
    state: str
    help: str


POWER_COMMANDS = {
    "reboot": PowerCommand("simulator.host_reboot", "rebooted", "press the reset button"),
    "power-off": PowerCommand("simulator.host_power_off", "is off", "switch a host off"),
    "power-on": PowerCommand("simulator.host_power_on", "is on", "switch a host on"),
    "replace-tpm": PowerCommand(
        "simulator.host_replace_tpm", "has another TPM", "put a new TPM in, with other keys"
    ),
    "promote": PowerCommand(
        "simulator.host_promote", "is the pool's master", "make a host the master, as when the old one died"
    ),
}


def list_hosts(client: Client, as_json: bool) -> str:
    """The hosts, one a line, or as JSON."""
    hosts: list[dict[str, Any]] = client.call("simulator.get_hosts")
    if as_json:
        return json.dumps(hosts)
    return "\n".join(f"{host['name']:<8} {host['uuid']}  {_state(host):<8}  {host['dir']}" for host in hosts)


def _state(host: dict[str, Any]) -> str:
    if not host["live"]:
        return "off"
    return "on" if host["enabled"] else "disabled"


def power(client: Client, name: str, named: str) -> str:
    """Press a button. Raises: UsageError, XapiError."""
    host = _find(client, named)
    warning: str = _call(client, host, POWER_COMMANDS[name].method)
    return f"{host['name']} {POWER_COMMANDS[name].state}" + (f"\nwarning: {warning}" if warning else "")


def edit(client: Client, named: str, component: str | None, append: str = "", content: str = "") -> str:
    """Change what stands for a component; without one, tell which there are."""
    host = _find(client, named)
    if component is None:
        components: list[str] = _call(client, host, "simulator.host_components")
        return "\n".join(components)
    _call(client, host, "simulator.host_edit", component, append, content)
    return f"{host['name']}: {component} changed; it is measured when the host boots"


def running_host(client: Client, named: str) -> dict[str, Any]:
    """A host that is on, as get_hosts describes it. Raises: UsageError."""
    host = _find(client, named)
    if not host["live"]:
        raise _off(client, host)
    return host


def _call(client: Client, host: dict[str, Any], method: str, *params: str) -> Any:
    """Call a method with a host. Raises: UsageError that names the host when it is off; XapiError."""
    try:
        return client.call(method, host["ref"], *params)
    except XapiError as error:
        if error.code != "HOST_OFFLINE":
            raise
        raise _off(client, host) from error


def _off(client: Client, host: dict[str, Any]) -> UsageError:
    button = command("host", "power-on", *client.said, host["name"])
    return UsageError(f"{host['name']} is off", f"switch it on: {button}")


def _find(client: Client, named: str) -> dict[str, Any]:
    """The host of a name or uuid. Raises: UsageError that lists the hosts."""
    hosts: list[dict[str, Any]] = client.call("simulator.get_hosts")
    for host in hosts:
        if named in (host["name"], host["uuid"]):
            return host
    names = ", ".join(host["name"] for host in hosts)
    raise UsageError(f"there is no host {named}", f"the hosts are: {names}")


def as_error(error: XapiError) -> XenTpmError:
    """An API error as an error of a command line, with the hint it came with."""
    if error.code == SIMULATOR_ERROR:
        return UsageError(*error.params[:2])
    return UsageError(": ".join((error.code, *error.params)), "the simulator's log may tell more")
