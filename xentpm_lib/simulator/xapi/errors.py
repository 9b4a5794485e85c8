"""API errors: a code and string parameters, as they go over the wire."""

from __future__ import annotations

__all__ = ["XapiError"]


class XapiError(Exception):
    """A failure that XAPI reports to its client: ``[code, *params]``."""

    def __init__(self, code: str, *params: str) -> None:
        super().__init__(code)
        self.code = code
        self.params = params

    @property
    def description(self) -> list[str]:
        """The ``ErrorDescription``: the code, then its parameters."""
        return [self.code, *self.params]
