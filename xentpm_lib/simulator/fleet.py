"""The machines of a pool: made, several at a time, or found again in the simulator's directory."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import replace
from pathlib import Path
from typing import Protocol, TypeVar

from xentpm_lib.errors import UsageError
from xentpm_lib.simulator.directory import Settings, SimulatorDirectory
from xentpm_lib.simulator.xapi.machine import Machine

__all__ = ["MAX_HOSTS", "Factory", "prepare", "power_on_all", "settle"]

MAX_HOSTS = 50
_AT_A_TIME = 4
_PAUSE_S = 0.1  # between two looks whether to end

_T = TypeVar("_T")
Report = Callable[[str], None]
Check = Callable[[], None]
"""Raises when all is to end."""


class Factory(Protocol):
    """Makes and loads machines."""

    def create(self, directory: Path, name: str, *, txt: bool, event_log: bool, ca_dir: Path) -> Machine:
        """A new machine in a directory of its own, its TPM certified by the CA of ``ca_dir``."""

    def load(self, directory: Path) -> Machine:
        """The machine of a directory."""


def settle(saved: Settings | None, hosts: int | None, txt: bool, event_log: bool) -> tuple[Settings, int]:
    """The settings to run with and the number of hosts. Raises: UsageError when they contradict."""
    if saved is None:
        return Settings(txt=txt, event_log=event_log), hosts or 1
    if txt and not saved.txt:
        raise UsageError("the hosts in this directory have no TXT", "choose another directory for --txt")
    if not event_log and saved.event_log:
        raise UsageError(
            "the hosts in this directory have an event log", "choose another directory for --no-event-log"
        )
    count = len(saved.hosts) if hosts is None else hosts
    if count < len(saved.hosts):
        raise UsageError(
            f"this directory has {len(saved.hosts)} hosts, {count} are asked for",
            "leave out --hosts, or choose another directory",
        )
    return saved, count


def prepare(
    directory: SimulatorDirectory,
    settings: Settings,
    count: int,
    factory: Factory,
    report: Report,
    check: Check,
) -> list[Machine]:
    """The pool's machines, ``count`` of them, in order; the new ones are recorded when all are made."""
    machines = [factory.load(directory.host(name)) for name in settings.hosts]
    new = _free_names(settings.hosts, count - len(machines))
    if not new:
        return machines
    one = "making 1 host with a TPM of its own"
    report(one if len(new) == 1 else f"making {len(new)} hosts, each with a TPM of its own")

    def make(name: str) -> Machine:
        shutil.rmtree(directory.host(name), ignore_errors=True)  # of a start that was interrupted
        return factory.create(
            directory.host(name), name, txt=settings.txt, event_log=settings.event_log, ca_dir=directory.ca
        )

    directory.host("x").parent.mkdir(mode=0o700, exist_ok=True)
    made = _in_parallel(new, make, lambda name, done: report(f"{name} made ({done} of {len(new)})"), check)
    directory.save_settings(replace(settings, hosts=(*settings.hosts, *new)))
    return [*machines, *made]


def power_on_all(machines: Sequence[Machine], report: Report, check: Check) -> None:
    """Boot the machines."""
    by_name = {machine.name: machine for machine in machines if not machine.powered}
    report(f"booting {len(by_name)} {'host' if len(by_name) == 1 else 'hosts'}")
    _in_parallel(list(by_name), lambda name: by_name[name].power_on(), lambda name, done: None, check)


def _free_names(taken: Iterable[str], count: int) -> list[str]:
    names = (f"host{number}" for number in range(1, 2 * MAX_HOSTS + 1))
    return [name for name in names if name not in set(taken)][: max(count, 0)]


def _in_parallel(
    names: list[str], work: Callable[[str], _T], done: Callable[[str, int], None], check: Check
) -> list[_T]:
    """Work for each name, a few at a time. An error stops what has not begun and waits for the rest."""
    pool = ThreadPoolExecutor(max_workers=_AT_A_TIME, thread_name_prefix="machine")
    try:
        futures: dict[Future[_T], str] = {pool.submit(work, name): name for name in names}
        waiting = set(futures)
        while waiting:
            ready, waiting = wait(waiting, _PAUSE_S, FIRST_COMPLETED)
            for count, future in enumerate(ready, len(futures) - len(waiting) - len(ready) + 1):
                future.result()
                done(futures[future], count)
            check()
        return [future.result() for future in futures]
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
