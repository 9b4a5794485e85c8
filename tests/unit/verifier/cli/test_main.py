"""How a command begins."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[4]
PROGRAM = """
import resource, sys
_soft, hard = resource.getrlimit(resource.RLIMIT_CORE)
resource.setrlimit(resource.RLIMIT_CORE, (hard, hard))
from xentpm_lib.verifier.cli import main
status = main(["hosts", "--home", "/nowhere"])
soft, kept = resource.getrlimit(resource.RLIMIT_CORE)
print(status, soft, kept == hard)
"""


def test_no_core_is_left() -> None:
    """It would hold the station's keys and the passwords."""
    ended = subprocess.run(
        [sys.executable, "-c", PROGRAM], cwd=ROOT, capture_output=True, text=True, timeout=60
    )
    assert ended.stdout == "1 0 True\n", ended
