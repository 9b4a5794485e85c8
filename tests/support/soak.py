"""Quotes in a row: ``python soak.py CONFIG NONCE WARM_UP COUNT`` prints what the process held, as JSON."""

import ctypes
import json
import os
import sys
import threading
import time
from typing import Any, Dict

from xentpm_lib.host import functions
from xentpm_lib.host.host import Host
from xentpm_lib.host.paths import Paths

PR_SET_THP_DISABLE = 41


def own_kib() -> int:
    """Memory of this process alone, also where it was swapped out.

    That of mapped files comes and goes with the machine's needs, and the counters in statm are not exact.
    """
    with open("/proc/self/smaps_rollup") as file:
        sizes = dict(line.split(":") for line in file.readlines()[1:])
    return sum(int(sizes[name].split()[0]) for name in ("Anonymous", "Swap"))


def held() -> Dict[str, int]:
    """Memory in KiB, open file descriptors and threads of this process."""
    return {
        "kib": own_kib(),
        "descriptors": len(os.listdir("/proc/self/fd")),
        "threads": threading.active_count(),
    }


def soak(config: str, nonce: str, warm_up: int, count: int) -> Dict[str, Any]:
    """``warm_up`` quotes, then ``count`` more, with what the process held after both."""
    ctypes.CDLL(None).prctl(PR_SET_THP_DISABLE, 1, 0, 0, 0)  # the kernel's huge pages are no growth of ours
    paths = Paths.of_config(config)
    begin = time.monotonic()
    for _ in range(warm_up):
        functions.get_quote(Host(paths), {"nonce": nonce})
    before = held()
    for _ in range(count):
        last = functions.get_quote(Host(paths), {"nonce": nonce})
    return {"before": before, "after": held(), "last": last, "seconds": time.monotonic() - begin}


if __name__ == "__main__":
    sys.stdout.write(json.dumps(soak(sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4]))))
