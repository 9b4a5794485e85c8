"""The preparation check: is this host ready to be attested, and what has to be done if not."""

import json
from typing import List, NamedTuple, Tuple

from xentpm_lib.host.paths import Paths

__all__ = ["FAILED", "OK", "UNKNOWN", "WARNING", "Check", "Status", "status_of", "wrapped"]

OK, WARNING, FAILED, UNKNOWN = "ok", "warning", "failed", "unknown"
_WORST_FIRST = (FAILED, WARNING, UNKNOWN, OK)
_COLUMNS = 79
_MARKS = {OK: "ok", WARNING: "WARNING", FAILED: "FAILED", UNKNOWN: "unknown"}


class Check(NamedTuple):
    """``name``: stable, for programs; ``seen``: what was found; ``advice``: how to mend it, often empty."""

    name: str
    title: str
    state: str
    seen: str
    advice: str = ""


class Status(NamedTuple):
    """All checks of a host, in the order in which they should be mended."""

    checks: Tuple[Check, ...]

    @property
    def state(self) -> str:
        """The worst state of all: ``failed``, ``warning``, ``unknown`` or ``ok``."""
        states = [check.state for check in self.checks]
        return next(state for state in _WORST_FIRST if state in states)

    def to_json(self) -> str:
        """``{"version": 1, "state": …, "checks": [{name, title, state, seen, advice}, …]}``."""
        checks = [dict(check._asdict()) for check in self.checks]
        return json.dumps({"version": 1, "state": self.state, "checks": checks})

    def to_table(self) -> str:
        """For people: a line a check, with the advice below it where something is to be done."""
        width = max(len(check.title) for check in self.checks)
        lines: List[str] = []
        for check in self.checks:
            head = "{:<{}}  {:<7}  ".format(check.title, width, _MARKS[check.state])
            lines += wrapped(head, check.seen)
            lines += wrapped(" " * len(head) + "-> ", check.advice) if check.advice else []
        return "\n".join(lines)


def wrapped(head: str, text: str) -> List[str]:
    """``text`` behind ``head`` in lines of a terminal's width; a path or command is never broken."""
    import textwrap

    following = " " * len(head)
    wrapper = textwrap.TextWrapper(_COLUMNS, head, following, break_long_words=False, break_on_hyphens=False)
    return wrapper.wrap(text) or [head.rstrip()]


def status_of(paths: Paths) -> Status:
    """Check a host. What cannot be found out is ``unknown``; nothing is raised or changed."""
    from xentpm_lib.host.checks import dom0_checks
    from xentpm_lib.host.tpm_checks import config_and_tpm_checks

    return Status(tuple(config_and_tpm_checks(paths)) + tuple(dom0_checks(paths)))
