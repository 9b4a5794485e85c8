"""A host's state as a signed token, and the key that checks it."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

from xentpm_lib.errors import UsageError
from xentpm_lib.verifier.fleet.states import state_at
from xentpm_lib.verifier.operations.hosts import ended, why_stale
from xentpm_lib.verifier.operations.voiding import void_from_the_future
from xentpm_lib.verifier.result import State
from xentpm_lib.verifier.station import Station
from xentpm_lib.verifier.token import jwks, sign_result

__all__ = ["Token", "key_set", "token_of"]


@dataclass(frozen=True, slots=True)
class Token:
    """A signed token. state: what it says of the host."""

    text: str
    state: State


def token_of(station: Station, word: str) -> Token:
    """A token with a host's last result, which has to hold still. Raises: UsageError, StoreError."""
    host = station.registry.host(word)
    latest, now = station.store.latest(host.host_id), time.time()
    void_from_the_future(station, latest, now)
    stored = latest.get(host.host_id)
    state = state_at(host, None if stored is None else stored.result, now, ended(station, host, stored))
    if stored is None or state is State.STALE:
        why = why_stale(host, None if stored is None else stored.result, now)
        name = station.registry.word_for(host.host_id)
        raise UsageError(f"{host.name} has no result that holds now: {why}", f"xentpm-attest attest {name}")
    return Token(sign_result(stored.result, station.keys.signing_key, now), state)


def key_set(station: Station) -> dict[str, Any]:
    """The station's public key as a JSON Web Key Set. Raises: StoreError."""
    return jwks(station.keys.signing_key.public_key())
