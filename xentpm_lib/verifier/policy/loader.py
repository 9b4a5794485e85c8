"""Loading an appraisal policy from TOML, and the policies that ship with the verifier.

A file is used only when there is nothing wrong with it: an unknown key, a misspelled word or a rule that
cannot hold is a mistake, never a default.
"""

from __future__ import annotations

from importlib.resources import files

from xentpm_lib.errors import PolicyError
from xentpm_lib.verifier.policy.model import Policy
from xentpm_lib.verifier.policy.rules import check_rules
from xentpm_lib.verifier.policy.schema import read_policy
from xentpm_lib.verifier.toml_reader import Mistake, parse_toml
from xentpm_lib.verifier.toml_values import suggestion

__all__ = ["PolicyMistakes", "load_policy", "policy_mistakes", "shipped", "shipped_names", "shipped_text"]

_SHIPPED = ("uefi-grub", "txt", "firmware")


class PolicyMistakes(PolicyError):
    """A policy file with mistakes, all of them in ``mistakes`` and in the message."""

    def __init__(self, source: str, mistakes: tuple[Mistake, ...]) -> None:
        count = "a mistake" if len(mistakes) == 1 else f"{len(mistakes)} mistakes"
        super().__init__(
            "\n".join([f"{source}: {count}", *map(_lines, mistakes)]),
            "docs/policy.md has every key; `xentpm-attest policy check FILE` looks at a file.",
        )
        self.mistakes = mistakes


def load_policy(text: str, source: str = "policy") -> Policy:
    """The policy that a TOML file holds. source: its name, for messages.

    Raises:
        PolicyMistakes: there is something wrong with it; all of it is told.
    """
    policy, mistakes = _read(text)
    if mistakes:
        raise PolicyMistakes(source, mistakes)
    return policy


def policy_mistakes(text: str) -> tuple[Mistake, ...]:
    """Everything that is wrong with a policy file; empty when it can be used."""
    return _read(text)[1]


def shipped_names() -> tuple[str, ...]:
    """The names of the policies that ship with the verifier, the usual one first."""
    return _SHIPPED


def shipped_text(name: str) -> str:
    """A shipped policy's file, to look at or to start from.

    Raises:
        PolicyError: there is none of that name.
    """
    if name not in _SHIPPED:
        raise PolicyError(f"no policy {ascii(name[:64])} ships with the verifier", suggestion(name, _SHIPPED))
    return (files(__package__) / "shipped" / f"{name}.toml").read_text("utf-8")


def shipped(name: str) -> Policy:
    """A policy that ships with the verifier.

    Raises:
        PolicyError: there is none of that name.
    """
    return load_policy(shipped_text(name), f"{name}.toml")


def _read(text: str) -> tuple[Policy, tuple[Mistake, ...]]:
    root = parse_toml(text)
    if root.mistakes:
        return read_policy(root, text), tuple(root.mistakes[:1])
    policy = read_policy(root, text)
    check_rules(policy, root)
    root.finish()
    return policy, tuple(root.mistakes)


def _lines(mistake: Mistake) -> str:
    return f"  {mistake}" + (f"\n    {mistake.hint}" if mistake.hint else "")
