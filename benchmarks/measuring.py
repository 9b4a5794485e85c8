"""What a process costs: wall time, CPU time and peak memory, as the kernel tells them."""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

__all__ = ["Cost", "Program", "Samples", "peak_memory_mib", "run"]

_LAUNCHER = (
    "import os,sys\n"
    "pid=os.fork()\n"
    "if not pid:\n"
    " null=os.open('/dev/null',1);os.dup2(null,1);os.dup2(null,2)\n"
    " os.execv(sys.argv[1],sys.argv[1:])\n"
    "print(os.wait4(pid,0)[2].ru_maxrss)"
)


@dataclass(frozen=True)
class Program:
    """Commands that are run one after the other; ``environment`` is all of theirs."""

    name: str
    commands: Sequence[Sequence[str]]
    environment: Mapping[str, str]


@dataclass(frozen=True)
class Cost:
    """Of one run, in milliseconds. ``cpu_ms`` is user and system time together."""

    wall_ms: float
    cpu_ms: float


@dataclass
class Samples:
    """The costs of all runs of one program."""

    costs: list[Cost] = field(default_factory=list)

    @property
    def wall_ms(self) -> float:
        """The median."""
        return statistics.median(cost.wall_ms for cost in self.costs)

    @property
    def cpu_ms(self) -> float:
        """The median."""
        return statistics.median(cost.cpu_ms for cost in self.costs)

    @property
    def spread_ms(self) -> tuple[float, float]:
        """The wall time that a tenth of the runs stays below, and the one that a tenth goes above."""
        walls = sorted(cost.wall_ms for cost in self.costs)
        tenth = len(walls) // 10
        return walls[tenth], walls[-1 - tenth]


def run(program: Program) -> Cost:
    """Run the program once. Raises: RuntimeError when one of its commands fails."""
    costs = [_run(command, program.environment) for command in program.commands]
    return Cost(sum(cost.wall_ms for cost in costs), sum(cost.cpu_ms for cost in costs))


def peak_memory_mib(program: Program) -> float:
    """The most memory that one of its commands had resident.

    A small process starts it, because the kernel counts the memory of the starting process too.
    """
    kib = 0
    for command in program.commands:
        launcher = [sys.executable, "-I", "-S", "-c", _LAUNCHER, *command]
        kib = max(kib, int(subprocess.check_output(launcher, env=dict(program.environment))))
    return kib / 1024


def _run(command: Sequence[str], environment: Mapping[str, str]) -> Cost:
    null = os.open(os.devnull, os.O_RDWR)
    try:
        actions = [(os.POSIX_SPAWN_DUP2, null, descriptor) for descriptor in (0, 1, 2)]
        begin = time.perf_counter()
        pid = os.posix_spawn(command[0], list(command), dict(environment), file_actions=actions)
        _, status, usage = os.wait4(pid, 0)
        wall_s = time.perf_counter() - begin
    finally:
        os.close(null)
    if status:
        raise RuntimeError(f"{' '.join(command)[:200]} ended with {os.waitstatus_to_exitcode(status)}")
    return Cost(1000 * wall_s, 1000 * (usage.ru_utime + usage.ru_stime))
