"""How hypothesis runs the verifier's tests: the same examples each time, however slow the machine is.

Settings of their own, because a profile is that of whichever conftest.py was loaded last.
"""

from hypothesis import HealthCheck, settings

__all__ = ["examples"]


def examples(count: int = 100) -> settings:
    """Decorate a test with it, to have it called so often. pytest's time limit is for all of them."""
    return settings(
        max_examples=count,
        deadline=None,
        derandomize=True,
        database=None,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
    )
