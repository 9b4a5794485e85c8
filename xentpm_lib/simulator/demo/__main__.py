"""Run the demo: ``python -m xentpm_lib.simulator.demo``. Exit status: 0 when every step did what it says."""

from __future__ import annotations

import sys
import tempfile
import time
from pathlib import Path

_NO_HINT = "Run `make setup`; if it stays, report it with this text."
_NEXT = """
Where to go next
  .venv/bin/xentpm-sim up --hosts 2    the same pool, for you to play with
  .venv/bin/xentpm-sim xe host-list    in another terminal: a host's commands
  .venv/bin/xentpm-attest --help       the verifier, for that pool or yours
  docs/plugin-api.md                   every function, with example calls
  docs/administer.md                   configuration, asset tag, checks"""


def main() -> int:
    """Run all steps; tell how long they took."""
    try:
        from xentpm_lib.errors import XenTpmError  # here, so that Ctrl-C is answered from the start

        try:
            return _run()
        except XenTpmError as error:
            print(f"\nxentpm demo: {error.message}\nhint: {error.hint or _NO_HINT}", file=sys.stderr)
            return 1
    except KeyboardInterrupt:
        print("\nxentpm demo: interrupted", file=sys.stderr)
        return 130


def _run() -> int:
    from xentpm_lib.simulator.demo.pool import DemoPool
    from xentpm_lib.simulator.demo.receiver import Receiver
    from xentpm_lib.simulator.demo.station import DemoStation
    from xentpm_lib.simulator.demo.steps import STEPS, Demo
    from xentpm_lib.simulator.demo.verifying import VERIFIER_STEPS, Verifying

    began = time.monotonic()
    print("xentpm: two simulated XenServer hosts, each with a software TPM 2.0", flush=True)
    print("(making them takes a few seconds)\n", flush=True)
    with tempfile.TemporaryDirectory(prefix="xentpm-demo-") as work, DemoPool.started(hosts=2) as pool:
        demo = Demo(pool, Path(work))
        print("In dom0: what a host offers", flush=True)
        for number, (title, step) in enumerate(STEPS, 1):
            lines = step(demo)
            print(f"{number:2}  {title:<20} " + ("\n" + " " * 25).join(lines), flush=True)
        print("\nOn the management station: whether to trust it", flush=True)
        with Receiver.started() as receiver:
            verifying = Verifying(pool, DemoStation(Path(work) / "station", pool.password), receiver)
            for number, (heading, check) in enumerate(VERIFIER_STEPS, len(STEPS) + 1):
                shown = "".join(f"    {line}\n" for line in check(verifying))
                print(f"{number:2}  {heading}\n{shown}", flush=True)
    count, seconds = len(STEPS) + len(VERIFIER_STEPS), time.monotonic() - began
    print(f"All {count} steps did what they should, in {seconds:.0f} s.")
    print(_NEXT)
    return 0


if __name__ == "__main__":
    sys.exit(main())
