"""What the tests of the formats share: checking a refusal, and reading the vectors."""

from pathlib import Path

import pytest

from xentpm_lib.errors import FormatError

VECTORS = Path(__file__).resolve().parents[2] / "vectors"


@pytest.fixture
def refuses():
    """Check that a call raises FormatError with this path, and this text in its message."""

    def check(where, fragment, function, *arguments, **options):
        with pytest.raises(FormatError) as caught:
            function(*arguments, **options)
        assert caught.value.where == where
        assert fragment in caught.value.message

    return check


@pytest.fixture
def vectors():
    """The directory of test vectors; its README.md says how each was made."""
    return VECTORS
