"""``python -m xentpm_lib.verifier.cli`` is ``xentpm-attest``."""

from __future__ import annotations

import sys

from xentpm_lib.verifier.cli import main

if __name__ == "__main__":
    sys.exit(main())
