"""A pool of hosts with software TPMs that answers as XAPI does, over TLS, and a station that knows them.

    with SoftPool(directory, host) as pool:
        pool.answers[host.host_id, "tpm_predict_boot"] = prediction_text(host)
        with pool.station(home) as station: ...

No process and no TPM: for tests of what the verifier does with whatever hosts say. What `answers` does not
have, and the attester cannot answer, is an unknown function, as in an old plugin.
"""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

from support.evidence_maker import SoftwareAttester
from support.hostile_server import Call, HostileServer, failure, success
from xentpm_lib.evidence.boot_log import BootEvent
from xentpm_lib.evidence.boot_prediction import BootPrediction
from xentpm_lib.evidence.event_log import Event
from xentpm_lib.evidence.pcr import PcrSelection
from xentpm_lib.verifier import ledger_bodies as bodies
from xentpm_lib.verifier.policy.loader import load_policy
from xentpm_lib.verifier.records import PoolRecord, TlsTrust
from xentpm_lib.verifier.secret import Secret
from xentpm_lib.verifier.station import Station
from xentpm_lib.verifier.store.model import StoredCredentials

__all__ = ["POLICY_TEXT", "SoftPool", "boot_log_of", "prediction_text"]

_SESSION, _MASTER, _REF = "OpaqueRef:session", "OpaqueRef:master", "OpaqueRef:host-"
POLICY_TEXT = """\
version = 1
name = "soft"
title = "for tests"
boot = "uefi-grub"
[pcrs.sha256]
shared = [0, 2, 4, 7]
per_host = [1, 8, 9]
[timing]
backoff = "100ms"
"""


class SoftPool(HostileServer):
    """The server. answers: (host UUID, function) to what the plugin says, or to an error's description."""

    def __init__(self, directory: Path, *hosts: SoftwareAttester) -> None:
        self.hosts = {host.host_id: host for host in hosts}
        self.answers: dict[tuple[str, str], str | tuple[str, ...]] = {}
        self.pool_id = hosts[0].pool_id
        super().__init__(directory, self._answer)

    def station(self, home: Path, policy: str = POLICY_TEXT, baselines: bool = True) -> Station:
        """A new station with all hosts; with ``baselines`` each has what it shows now as known-good."""
        load_policy(policy)
        made = Station.init(home, "version = 1\n")
        pool = PoolRecord(self.pool_id, "pool", (self.url,), TlsTrust(ca_pem=self.pem))
        items = [bodies.pool_added(pool), bodies.policy_assigned("default", policy)]
        items += [bodies.host_enrolled(host.record()) for host in self.hosts.values()]
        if baselines:
            items += [bodies.reference_added(host.reference()) for host in self.hosts.values()]
        made.store.append_all(items, "jo")
        made.store.put_credentials(self.pool_id, StoredCredentials("root", Secret("secret")))
        made.refresh()
        return made

    def _answer(self, call: Call) -> None:
        if call.method == "session.login_with_password":
            call.answer(success(_SESSION))
        elif call.method == "pool.get_all_records":
            record = {"uuid": self.pool_id, "name_label": "pool", "master": _MASTER}
            call.answer(success({"OpaqueRef:pool": record}))
        elif call.method == "host.get_by_uuid":
            call.answer(success(_REF + call.params[1]))
        elif call.method == "host.call_plugin":
            call.answer(self._plugin(call.params[1][len(_REF) :], *call.params[3:]))
        else:
            call.answer(success(""))

    def _plugin(self, host_id: str, function: str, args: dict[str, str]) -> bytes:
        host = self.hosts[host_id]
        said: Any = self.answers.get((host_id, function))
        if said is None and function == "tpm_get_quote":
            said = host.text(base64.b64decode(args["nonce"]), PcrSelection.from_text(args["pcrs"]))
        if said is None and function == "tpm_get_attestation_identity":
            said = host.identity()
        if said is None:
            said = ("UNKNOWN_XENAPI_PLUGIN_FUNCTION", function)
        return success(said) if isinstance(said, str) else failure(*said)


def boot_log_of(host: SoftwareAttester, boot: Any = None) -> tuple[BootEvent, ...]:
    """The boot log of a boot, the host's own unless given: what GRUB measured in it."""
    made = SoftwareAttester(key=host.key, ek_key=host.ek_key, banks=host.banks, boot=boot or host.boot)
    return tuple(_event(event) for event in made.events if event.pcr in (8, 9))


def prediction_text(host: SoftwareAttester, boot: Any = None, **changes: Any) -> str:
    """What the host predicts: ``boot``, or the present one again. changes: fields of ``BootPrediction``."""
    fields = {
        "untrusted_host_uuid": host.host_id,
        "untrusted_created": "2026-01-31T23:59:59Z",
        "untrusted_entry": "XenServer",
        "untrusted_boot_log": boot_log_of(host, boot),
        **changes,
    }
    return BootPrediction(**fields).to_json()


def _event(event: Event) -> BootEvent:
    return BootEvent(event.pcr, event.digests, event.data.decode("ascii"))
