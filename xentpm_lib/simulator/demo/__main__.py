"""Run the demo: ``python -m xentpm_lib.simulator.demo``. Exit status: 0 when every step did what it says."""

from __future__ import annotations

import sys
import tempfile
import time
from pathlib import Path

from xentpm_lib.errors import XenTpmError
from xentpm_lib.simulator.demo.pool import DemoPool
from xentpm_lib.simulator.demo.steps import STEPS, Demo

_NEXT = """
Where to go next
  .venv/bin/xentpm-sim up --hosts 2            the same pool, for you to play with
  .venv/bin/xentpm-sim xe host-list            in another terminal: the commands of a real host
  docs/plugin-api.md                           every function of the plugin, with example calls
  docs/administer.md                           the configuration, the asset tag, the preparation check"""


def main() -> int:
    """Run all steps; tell how long they took."""
    began = time.monotonic()
    print("xentpm: two simulated XenServer hosts, each with a real (software) TPM 2.0\n", flush=True)
    try:
        with tempfile.TemporaryDirectory(prefix="xentpm-demo-") as work, DemoPool.started(hosts=2) as pool:
            demo = Demo(pool, Path(work))
            for number, (title, step) in enumerate(STEPS, 1):
                lines = step(demo)
                print(f"{number:2}  {title:<20} " + ("\n" + " " * 25).join(lines), flush=True)
    except XenTpmError as error:
        print(f"\nxentpm demo: {error.message}\nhint: {error.hint}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    print(f"\nAll {len(STEPS)} steps did what they should, in {time.monotonic() - began:.0f} s.")
    print(_NEXT)
    return 0


if __name__ == "__main__":
    sys.exit(main())
