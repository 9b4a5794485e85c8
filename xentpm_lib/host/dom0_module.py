"""Dom0's own ``XenAPIPlugin`` module as the transport, held to the contract that XAPI needs.

The module is not part of this project and differs between releases: one is for Python 2, none promises to
write one response and to end with 0 whatever happens. So its output is caught, and used when it is one.
"""

import io
from contextlib import redirect_stdout
from typing import Any, Callable, Dict, List, Optional

__all__ = ["Failed", "PluginFunction", "respond_by_dom0"]

PluginFunction = Callable[[Any, Dict[str, str]], str]


class Failed(Exception):
    """A function of the plugin failed with this ``ErrorDescription``."""

    def __init__(self, description: List[str]) -> None:
        super().__init__(description[0])
        self.description = description


def respond_by_dom0(table: Dict[str, PluginFunction]) -> Optional[bytes]:
    """The response to the call in ``sys.argv`` as dom0's module writes it; None where it cannot be used."""
    output = io.StringIO()
    try:
        with redirect_stdout(output):
            module = _module()
            output.truncate(output.seek(0))  # what it printed while it was imported
            module.dispatch({name: _translated(function, module.Failure) for name, function in table.items()})
    except (Exception, SystemExit):  # absent, for Python 2, of another shape, or ended in another way
        return None
    text = output.getvalue()
    return text.encode("ascii", "xmlcharrefreplace") if text.strip() else None


def _module() -> Any:
    import XenAPIPlugin

    return XenAPIPlugin


def _translated(function: PluginFunction, failure: Any) -> PluginFunction:
    def call(session: Any, arguments: Dict[str, str]) -> str:
        try:
            return function(session, arguments)
        except Failed as failed:
            raise failure(failed.description[0], failed.description[1:]) from None

    return call
