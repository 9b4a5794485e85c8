"""GRUB's ``test`` and ``[``: strings, numbers and files."""

from typing import Callable, Dict, List, NamedTuple, Optional

from xentpm_lib.host.boot.grub_syntax import boot_error
from xentpm_lib.host.boot.grub_words import to_number

__all__ = ["FileTests", "evaluate"]

_MAX_DEPTH = 50
_STRINGS: Dict[str, Callable[[str, str], bool]] = {
    "=": lambda a, b: a == b,
    "==": lambda a, b: a == b,
    "!=": lambda a, b: a != b,
    "<": lambda a, b: a < b,
    "<=": lambda a, b: a <= b,
    ">": lambda a, b: a > b,
    ">=": lambda a, b: a >= b,
}
_NUMBERS: Dict[str, Callable[[int, int], bool]] = {
    "-eq": lambda a, b: a == b,
    "-ne": lambda a, b: a != b,
    "-lt": lambda a, b: a < b,
    "-le": lambda a, b: a <= b,
    "-gt": lambda a, b: a > b,
    "-ge": lambda a, b: a >= b,
}


class FileTests(NamedTuple):
    """What a file test asks. kind: ``file``, ``folder`` or None, by looking. size: by reading it."""

    kind: Callable[[str], Optional[str]]
    size: Callable[[str], Optional[int]]


def evaluate(arguments: List[str], files: FileTests) -> bool:
    """Whether the expression holds.

    Raises:
        XenTpmError: a test that is not interpreted, by the age of files for instance.
    """
    words = arguments[:-1] if arguments and arguments[-1] == "]" else arguments
    return _Expression(words, files).value(0)


class _Expression:
    def __init__(self, words: List[str], files: FileTests) -> None:
        self._words, self._files, self._at = words, files, 0

    def value(self, depth: int) -> bool:
        if depth > _MAX_DEPTH:
            raise boot_error("a test with over {} parentheses in each other".format(_MAX_DEPTH))
        either, both, inverted = False, True, False
        while self._at < len(self._words):
            word = self._words[self._at]
            holds = self._test()
            if holds is None:
                self._at += 1
                if word == ")":
                    return either or both
                if word == "!":
                    inverted = not inverted
                    continue
                if word == "-a":
                    continue
                if word == "-o":
                    either, both = either or both, True
                    continue
                holds = self.value(depth + 1) if word == "(" else bool(word)
            both = both and holds != inverted
            inverted = False
        return either or both

    def _test(self) -> Optional[bool]:
        """The value of a test of two or three words, which are taken; None where there is none here."""
        words = self._words[self._at : self._at + 3]
        if len(words) == 3:
            first, operator, second = words
            holds = None
            if operator in _STRINGS:
                holds = _STRINGS[operator](first, second)
            elif operator in _NUMBERS:
                holds = _NUMBERS[operator](_signed(first), _signed(second))
            elif operator in ("-pgt", "-plt") or operator[:3] in ("-nt", "-ot"):
                raise boot_error("the test {} is not interpreted".format(ascii(operator[:20])))
            if holds is not None:
                self._at += 3
                return holds
        if len(words) >= 2 and words[0] in ("-d", "-e", "-f", "-s", "-n", "-z"):
            self._at += 2
            return self._about(words[0], words[1])
        return None

    def _about(self, operator: str, word: str) -> bool:
        if operator in ("-n", "-z"):
            return bool(word) == (operator == "-n")
        if operator == "-s":
            return bool(self._files.size(word))
        kind = self._files.kind(word)
        return kind is not None and (operator == "-e" or kind == {"-d": "folder", "-f": "file"}[operator])


def _signed(text: str) -> int:
    """A number as GRUB compares it: of 64 bits with a sign, the largest one (so -1) where it is too large."""
    number = to_number(text[1:] if text.startswith("-") else text)
    value = (number[0] if number else 0) * (-1 if text.startswith("-") else 1)
    return (value + (1 << 63)) % (1 << 64) - (1 << 63)
