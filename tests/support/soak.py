"""Quotes in a row: ``python soak.py CONFIG NONCE WARM_UP COUNT`` prints what the process held, as JSON."""

import json
import os
import sys
import threading
import time
from typing import Any, Dict

from xentpm_lib.host import functions
from xentpm_lib.host.host import Host
from xentpm_lib.host.paths import Paths


def held() -> Dict[str, int]:
    """Resident memory in KiB, open file descriptors and threads of this process."""
    with open("/proc/self/statm") as file:
        resident = int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE") // 1024
    return {
        "kib": resident,
        "descriptors": len(os.listdir("/proc/self/fd")),
        "threads": threading.active_count(),
    }


def soak(config: str, nonce: str, warm_up: int, count: int) -> Dict[str, Any]:
    """``warm_up`` quotes, then ``count`` more, with what the process held after both."""
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
