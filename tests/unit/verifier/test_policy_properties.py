"""Whatever a policy file holds, the outcome is a policy or a list of mistakes, never another error."""

import json

from hypothesis import given
from hypothesis import strategies as st

from support.examples import examples
from xentpm_lib.verifier.policy.loader import PolicyMistakes, load_policy, policy_mistakes, shipped_text
from xentpm_lib.verifier.policy.model import Policy

EXAMPLES = examples(300)
WORDS = [
    "version",
    "name",
    "boot",
    "pcrs",
    "sha256",
    "shared",
    "per_host",
    "extended",
    "keys",
    "ek",
    "timing",
]
WORDS += [
    "lease",
    "period",
    "findings",
    "CLOCK_UNSAFE",
    "event_log",
    "replay",
    "required",
    "txt",
    "5m",
    "sha1",
]
SCALARS = st.one_of(
    st.booleans(),
    st.integers(-(10**20), 10**20),
    st.floats(allow_nan=False, allow_infinity=False),
    st.text(max_size=8),
    st.sampled_from(WORDS),
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.one_of(
        st.lists(inner, max_size=4), st.dictionaries(st.sampled_from(WORDS), inner, max_size=4)
    ),
    max_leaves=12,
)


def toml(value):
    """A value as TOML: JSON's spelling fits, but for tables."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{json.dumps(key)} = {toml(one)}" for key, one in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(toml, value)) + "]"
    return json.dumps(value)


def outcome(text):
    mistakes = policy_mistakes(text)
    try:
        policy = load_policy(text)
    except PolicyMistakes as error:
        assert error.mistakes == mistakes
        assert mistakes
        assert all(char.isprintable() or char == "\n" for char in str(error))
        return None
    assert mistakes == ()
    assert isinstance(policy, Policy)
    return policy


@given(st.text(max_size=200))
@EXAMPLES
def test_any_text(text):
    outcome(text)


@given(st.dictionaries(st.sampled_from(WORDS), VALUES, max_size=6))
@EXAMPLES
def test_any_toml(content):
    policy = outcome("\n".join(f"{key} = {toml(value)}" for key, value in content.items()))
    assert policy is None or any(rules.compared for rules in policy.banks)


@given(st.data())
@EXAMPLES
def test_a_policy_with_one_character_changed_is_refused_or_still_compares_what_it_is_named_after(data):
    text = shipped_text("uefi-grub")
    place = data.draw(st.integers(0, len(text) - 1))
    character = data.draw(st.sampled_from('0123456789[]="\n.,x#'))
    policy = outcome(text[:place] + character + text[place + 1 :])
    if policy is not None:
        compared = {pcr for rules in policy.banks for pcr in rules.compared}
        assert (
            compared >= {"uefi-grub": {0, 4, 8, 9}, "txt": {17, 18, 19}, "firmware": {0}}[policy.boot.value]
        )
