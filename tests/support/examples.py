"""How hypothesis runs the verifier's tests: the same examples each time, however slow the machine is.

Settings of their own, because a profile is that of whichever conftest.py was loaded last.
"""

from typing import Any, Callable

import pytest
from hypothesis import HealthCheck, settings

__all__ = ["examples"]

_LIMIT_S = 600  # for all examples of a test: some take ten seconds on a machine that is neither slow nor busy


def examples(count: int = 100) -> Callable[[Any], Any]:
    """Decorate a test with it, above ``given``, to have it called so often."""
    run = settings(
        max_examples=count,
        deadline=None,
        derandomize=True,
        database=None,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
    )
    return lambda test: pytest.mark.timeout(_LIMIT_S)(run(test))
