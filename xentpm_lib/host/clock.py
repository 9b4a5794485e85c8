"""The time of day, in one place."""

import time

__all__ = ["utc_now"]


def utc_now() -> str:
    """The time now as RFC 3339 in UTC with seconds: ``2026-01-31T12:00:00Z``."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
