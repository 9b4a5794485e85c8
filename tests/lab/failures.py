"""What goes wrong in the lab, apart from what the story asserts."""

__all__ = ["LabError"]


class LabError(Exception):
    """The lab itself could not do what it had to; the text says what, and what to look at."""
