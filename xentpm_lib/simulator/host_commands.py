"""``xentpm-sim host …``: what a person does to a machine: edit, press buttons, change the TPM."""

from __future__ import annotations

import json
from typing import Any

from xentpm_lib.errors import UsageError, XenTpmError
from xentpm_lib.simulator.client import Client
from xentpm_lib.simulator.xapi.errors import XapiError
from xentpm_lib.simulator.xapi.hardware import SIMULATOR_ERROR

__all__ = ["POWER_COMMANDS", "as_error", "edit", "list_hosts", "power"]

POWER_COMMANDS = {
    "reboot": ("simulator.host_reboot", "rebooted"),
    "power-off": ("simulator.host_power_off", "is off"),
    "power-on": ("simulator.host_power_on", "is on"),
    "replace-tpm": ("simulator.host_replace_tpm", "has another TPM"),
}
"""The method of each command, and what is true afterwards."""


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


def power(client: Client, command: str, named: str) -> str:
    """Press a button. Raises: UsageError, XapiError."""
    method, state = POWER_COMMANDS[command]
    host = _find(client, named)
    warning: str = client.call(method, host["ref"])
    return f"{host['name']} {state}" + (f"\nwarning: {warning}" if warning else "")


def edit(client: Client, named: str, component: str | None, append: str = "", content: str = "") -> str:
    """Change what stands for a component; without one, tell which there are."""
    host = _find(client, named)
    if component is None:
        components: list[str] = client.call("simulator.host_components", host["ref"])
        return "\n".join(components)
    client.call("simulator.host_edit", host["ref"], component, append, content)
    return f"{host['name']}: {component} changed; it is measured when the host boots"


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
    if error.code == "HOST_OFFLINE":
        return UsageError("the host is off", "switch it on: xentpm-sim host power-on NAME")
    return UsageError(": ".join((error.code, *error.params)), "the simulator's log may tell more")
