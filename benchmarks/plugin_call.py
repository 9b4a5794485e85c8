"""What a call of the plugin costs, beside bare Python and tpm2-tools; benchmarks/README.md explains it.

Programs take turns, so that a machine that is busy for a moment is so for all of them; times are medians.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from measuring import Program, Samples, peak_memory_mib, run
from workload import BARE, TARGETS, Pair, hosts, pairs
from xapi_call import measure_calls

ROUNDS = 30
CALL_TARGET_MS = 15.0


@dataclass(frozen=True)
class Row:
    """One program's results; ``commands`` are those that it sent to the TPM."""

    name: str
    samples: Samples
    memory_mib: float
    commands: int
    bare_ms: float

    @property
    def ratio(self) -> float:
        """The median wall time in bare starts of Python."""
        return self.samples.wall_ms / self.bare_ms

    def verdict(self) -> str:
        """The targets beside what was reached; empty where there are none."""
        target = TARGETS.get(self.name)
        if target is None:
            return ""
        told = []
        if target.ratio is not None:
            told.append(f"at most {target.ratio:g} bare starts: {_yes(self.ratio <= target.ratio)}")
        if target.commands is not None:
            told.append(f"at most {target.commands} commands: {_yes(self.commands <= target.commands)}")
        return "; ".join(told)

    def as_json(self) -> dict[str, Any]:
        """For programs."""
        low, high = self.samples.spread_ms
        return {
            "name": self.name,
            "wall_ms": round(self.samples.wall_ms, 2),
            "spread_ms": [round(low, 2), round(high, 2)],
            "cpu_ms": round(self.samples.cpu_ms, 2),
            "memory_mib": round(self.memory_mib, 1),
            "commands": self.commands,
            "bare_starts": round(self.ratio, 2),
            "targets": self.verdict(),
        }


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, print, and return 0 whatever the numbers are."""
    options = _parser().parse_args(argv)
    with tempfile.TemporaryDirectory(prefix="xentpm-bench-") as folder, hosts(Path(folder)) as made:
        rows = _measure(pairs(made), options.rounds)
    through, direct = measure_calls(options.rounds)
    if options.json:
        print(json.dumps(_document(rows, through, direct, options.rounds), indent=1))
    else:
        _print_table(rows, options.rounds)
        _print_call(through, direct)
    return 0


def _measure(work: list[Pair], rounds: int) -> list[Row]:
    programs = [program for pair in work for program in (pair.plugin, pair.tools) if program is not None]
    samples = [Samples() for _ in programs]
    bare = Samples()
    for program in programs:
        run(program)  # files into the cache
    for number in range(rounds):
        _progress(f"round {number + 1} of {rounds}")
        bare.costs.append(run(BARE))
        for program, sample in zip(programs, samples, strict=True):
            sample.costs.append(run(program))
        bare.costs.append(run(BARE))
    _progress("memory and TPM commands")
    memory = [peak_memory_mib(program) for program in programs]
    commands = _count_commands(work)
    rows = [Row(BARE.name, bare, peak_memory_mib(BARE), 0, bare.wall_ms)]
    for program, sample, mib, count in zip(programs, samples, memory, commands, strict=True):
        rows.append(Row(program.name, sample, mib, count, bare.wall_ms))
    _progress("")
    return rows


def _count_commands(work: list[Pair]) -> list[int]:
    """In runs of their own: a proxy that counts would cost time in those that are timed."""
    counts: list[int] = []
    proxies = {id(pair.dom0): pair.dom0.proxy() for pair in work}
    for pair in work:
        proxy = proxies[id(pair.dom0)]
        for program in (pair.plugin, pair.tools):
            if program is not None:
                before = len(proxy.commands)
                run(_through(program, proxy.tcti))
                counts.append(len(proxy.commands) - before)
    for proxy in proxies.values():
        proxy.close()
    return counts


def _through(program: Program, tcti: str) -> Program:
    if "TPM2TOOLS_TCTI" not in program.environment:
        return program
    return Program(program.name, program.commands, {**program.environment, "TPM2TOOLS_TCTI": tcti})


def _document(rows: list[Row], through: Samples, direct: Samples, rounds: int) -> dict[str, Any]:
    call = {
        "through_xapi_ms": round(through.wall_ms, 2),
        "process_alone_ms": round(direct.wall_ms, 2),
        "target_ms_above": CALL_TARGET_MS,
    }
    return {
        "python": sys.version.split()[0],
        "rounds": rounds,
        "programs": [row.as_json() for row in rows],
        "call_plugin": call,
    }


def _print_table(rows: list[Row], rounds: int) -> None:
    print(f"Python {sys.version.split()[0]}, {rounds} rounds; medians, and where the middle 80 % are\n")
    print(f"{'':44}{'wall ms':>8}  {'10-90 %':>13}{'CPU ms':>8}{'MiB':>7}{'cmds':>6}{'bare':>7}")
    for row in rows:
        low, high = row.samples.spread_ms
        name = row.name if not row.name.startswith("tpm2_") else "  " + row.name
        lines = _wrapped(name, 43)
        print(
            f"{lines[0]:<44}{row.samples.wall_ms:8.1f}  {low:6.1f}-{high:<6.1f}{row.samples.cpu_ms:8.1f}"
            f"{row.memory_mib:7.1f}{row.commands:6d}{row.ratio:6.1f}x"
        )
        for line in lines[1:]:
            print("    " + line)
    print("\nTargets")
    for row in rows:
        if row.verdict():
            print(f"  {row.name}: {row.verdict()}")


def _print_call(through: Samples, direct: Samples) -> None:
    above = through.wall_ms - direct.wall_ms
    print(
        f"  call_plugin through XML-RPC: {through.wall_ms:.1f} ms, its process alone "
        f"{direct.wall_ms:.1f} ms ({above:+.1f} ms); "
        f"at most {CALL_TARGET_MS:g} ms above: {_yes(above <= CALL_TARGET_MS)}"
    )


def _wrapped(text: str, width: int) -> list[str]:
    if len(text) <= width:
        return [text]
    at = text.rfind(" + ", 0, width) if " + " in text[:width] else width
    return [text[:at], *_wrapped(text[at:].lstrip(), width)]


def _yes(reached: bool) -> str:
    return "yes" if reached else "NO"


def _progress(text: str) -> None:
    if sys.stderr.isatty():
        print(f"\r{text:<40}", end="" if text else "\r", file=sys.stderr, flush=True)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="plugin_call.py", description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=_rounds, default=ROUNDS, help="how often all is run (%(default)s)")
    parser.add_argument("--json", action="store_true", help="print the results as JSON")
    return parser


def _rounds(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError("at least one round is needed")
    return number


if __name__ == "__main__":
    sys.exit(main())
