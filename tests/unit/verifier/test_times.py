"""Times as text."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from support.examples import examples
from xentpm_lib.errors import FormatError
from xentpm_lib.verifier.times import format_time, parse_time


@pytest.mark.parametrize(
    "seconds, text",
    [
        (0, "1970-01-01T00:00:00.000Z"),
        (0.29, "1970-01-01T00:00:00.290Z"),
        (1.9999, "1970-01-01T00:00:01.999Z"),
        (951782400.5, "2000-02-29T00:00:00.500Z"),
        (1769903999.25, "2026-01-31T23:59:59.250Z"),
        (253402300799, "9999-12-31T23:59:59.000Z"),
    ],
)
def test_known(seconds, text):
    assert format_time(seconds) == text
    assert parse_time(text) == pytest.approx(seconds, abs=0.001)


@examples()
@given(st.integers(0, 4_102_444_800_000))
def test_round_trip(milliseconds):
    text = format_time(milliseconds / 1000)
    assert parse_time(text) == milliseconds / 1000
    assert format_time(parse_time(text)) == text


@examples()
@given(st.floats(0, 4e9))
def test_never_later(seconds):
    assert -6e-6 < seconds - parse_time(format_time(seconds)) < 0.001006


@pytest.mark.parametrize("seconds", [-1, -0.001, 253402300800, float("nan"), float("inf"), float("-inf")])
def test_no_time(seconds):
    with pytest.raises(FormatError, match="here: "):
        format_time(seconds, "here")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "2026-01-31T23:59:59Z",
        "2026-01-31T23:59:59.25Z",
        "2026-01-31T23:59:59.2500Z",
        "2026-01-31T23:59:59,250Z",
        "2026-01-31T23:59:59.250",
        "2026-01-31T23:59:59.250z",
        "2026-01-31 23:59:59.250Z",
        "2026-01-31T23:59:59.250+00:00",
        "2026-02-29T23:59:59.250Z",
        "2026-01-31T24:00:00.000Z",
        "2026-01-31T23:59:60.000Z",
        "1969-12-31T23:59:59.999Z",
        "2026-01-31T23:59:59.²50Z",
        "2026-01-31T23:59:59.٢50Z",
        " 2026-01-31T23:59:59.250Z",
        "2026-01-31T23:59:59.250Z\n",
        None,
        1769903999,
        b"2026-01-31T23:59:59.250Z",
    ],
)
def test_another_spelling(text):
    with pytest.raises(FormatError, match="here: "):
        parse_time(text, "here")


@examples()
@given(st.text(max_size=30))
def test_any_text(text):
    try:
        parse_time(text)
    except FormatError:
        pass
