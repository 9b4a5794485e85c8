"""What servers say, made fit to be shown."""

import pytest

from xentpm_lib.verifier.xapi.faults import plain_name


@pytest.mark.parametrize(
    ("said", "shown"),
    [
        ("host1", "host1"),
        ("", ""),
        (" \n host\t1\x1b[2J ", "host 1 [2J"),
        ("x" * 128, "x" * 128),
        ("x" * 100_000, "x" * 127 + "…"),
    ],
)
def test_names_are_short_and_clean(said: str, shown: str) -> None:
    assert plain_name(said) == shown
