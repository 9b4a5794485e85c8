"""Reading GRUB's script language, as a grub.cfg has it.

Text is one character for a byte (Latin-1), as GRUB knows nothing but bytes. What GRUB would call a syntax
error, and what this reader has no rule for, is an error that tells the line: nothing is guessed at.
"""

import re
from typing import Any, List, NamedTuple, Optional, Tuple

from xentpm_lib.host.boot.grub_syntax import Block, Command, For, Function, If, Loop, Piece, Word, boot_error

__all__ = ["MAX_SCRIPT_SIZE", "config_text", "parse"]

MAX_SCRIPT_SIZE = 1024 * 1024  # bytes
MAX_DEPTH = 50  # of ifs, loops and blocks in each other
_MAX_WORD = 8191  # characters; GRUB's own reader takes no more
_RESERVED = frozenset(
    "case do done elif else esac fi for if in select then until while function [[ ]] { }".split()
)
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*\Z")
_VARIABLE = r"\$(?:[A-Za-z_][A-Za-z0-9_]*|[0-9]+|[?#*@]|\{(?:[A-Za-z_][A-Za-z0-9_]*|[0-9]+|[?#*@])\})"
_WORD = re.compile(
    r"(?:[^{}|&$;<> \t\n'\"\\]+|\"(?:\\.|[^\\\"])*\"|'[^']*'|\\.|" + _VARIABLE + r")+", re.DOTALL
)
_PIECE = re.compile(
    r"(?P<plain>(?:[^'\"$\\]|\\.)+)|'(?P<single>[^']*)'|\"(?P<double>(?:\\.|[^\\\"])*)\"|(?P<variable>"
    + _VARIABLE
    + r")",
    re.DOTALL,
)
_IN_QUOTES = re.compile(
    r"(?P<variable>" + _VARIABLE + r")|\\(?P<escaped>[$\\\"\n])|(?P<other>[^$])", re.DOTALL
)
_BLANK = re.compile(r"[ \t]+|#[^\n]*")


class _Token(NamedTuple):
    """kind: ``word``, ``end`` (of the text), or the reserved word or sign that it is."""

    kind: str
    text: str
    start: int
    line: int


def config_text(data: bytes) -> str:
    """A configuration file as GRUB's reader gets it: no carriage returns; a line that begins with # is blank.

    Such a line is not there for GRUB at all; ``parse`` takes it away, and needs it for counting.

    Raises:
        XenTpmError: over a mebibyte, or with a NUL.
    """
    if len(data) > MAX_SCRIPT_SIZE:
        raise boot_error("the configuration has {} bytes, at most {}".format(len(data), MAX_SCRIPT_SIZE))
    if b"\0" in data:
        raise boot_error("the configuration has a NUL character, so it is no text")
    return data.decode("latin-1").replace("\r", "")


def parse(text: str, file: str = "grub.cfg", is_file: bool = True) -> Tuple[Any, ...]:
    """The statements of a script. is_file: drop the lines that begin with #, as GRUB does in files.

    Raises:
        XenTpmError: a syntax error.
    """
    lines, numbers = [], []
    for number, line in enumerate(text.split("\n"), 1):
        if not (is_file and line.startswith("#")):
            lines.append(line)
            numbers.append(number)
    reader = _Reader("\n".join(lines) + "\n", numbers or [1], file)
    statements = reader.statements(())
    reader.take("end")
    return statements


class _Reader:
    """Reads statements from a text, a token at a time."""

    def __init__(self, text: str, numbers: List[int], file: str) -> None:
        self._text, self._numbers, self._file = text, numbers, file
        self._at, self._row, self._depth = 0, 0, 0
        self._next = self._read()

    def error(self, message: str, line: Optional[int] = None) -> Exception:
        number = self._next.line if line is None else line
        return boot_error("{} line {}: {}".format(self._file, number, message))

    def take(self, kind: str) -> _Token:
        """The next token, which has to be of this kind."""
        token = self._next
        if token.kind != kind:
            got = token.text.strip() or token.kind
            raise self.error("expected {}, got {}".format(kind, ascii(got[:60])))
        self._next = self._read()
        return token

    def statements(self, ends: Tuple[str, ...], is_function: bool = False) -> Tuple[Any, ...]:
        """Statements up to one of these reserved words, which is not taken. Without any: up to the end.

        is_function: a function's, where the last command has to end before the brace.
        """
        self._depth += 1
        if self._depth > MAX_DEPTH:
            raise self.error("over {} blocks in each other".format(MAX_DEPTH))
        found: List[Any] = []
        first = 0  # of those that begin in the same line
        self._skip_lines()
        while self._next.kind not in ends + ("end",):
            found.append(self._statement(not ends))
            if self._next.kind == "}" and is_function:
                raise self.error("a ; is missing before }: GRUB does not know the function then")
            if self._next.kind not in (";", "\n") + (("}",) if "}" in ends else ()):
                raise self.error(
                    "expected the end of the command, got {}".format(ascii(self._next.text[:60]))
                )
            if self._next.kind == "\n" and not ends:
                _functions_first(found, first)
                first = len(found)
            if self._next.kind != "}":
                self.take(self._next.kind)
                self._skip_lines()
        if ends and not found:
            raise self.error("there is no command before {}".format(ascii(self._next.text.strip())))
        self._depth -= 1
        return tuple(found)

    def _skip_lines(self) -> None:
        while self._next.kind == "\n":
            self.take("\n")

    def _statement(self, top: bool) -> Any:
        kind, line = self._next.kind, self._next.line
        if kind == "function" and top:
            return self._function(line)
        if kind == "if":
            return self._if(line)
        if kind == "for":
            return self._for(line)
        if kind in ("while", "until"):
            self.take(kind)
            condition = self.statements(("do",))
            return Loop(line, kind == "until", condition, self._loop_body())
        return self._command(line)

    def _command(self, line: int) -> Command:
        words = [_split(self.take("word").text, self, line)]
        while self._next.kind == "word" or (self._next.kind in _RESERVED and self._next.kind.isalpha()):
            words.append(_split(self.take(self._next.kind).text, self, line))
        block = self._block() if self._next.kind == "{" else None
        return Command(line, tuple(words), block)

    def _block(self) -> Block:
        start = self._next.start + 1
        self.take("{")
        body = self.statements(("}",))
        end = self._next.start
        self.take("}")
        return Block(self._text[start:end], body)

    def _function(self, line: int) -> Function:
        self.take("function")
        name = self._name()
        self._skip_lines()
        self.take("{")
        body = self.statements(("}",), is_function=True)
        self.take("}")
        return Function(line, name, body)

    def _if(self, line: int) -> If:
        branches: List[Any] = []
        otherwise: Tuple[Any, ...] = ()
        kind = "if"
        while kind in ("if", "elif"):
            self.take(kind)
            condition = self.statements(("then",))
            self.take("then")
            branches.append((condition, self.statements(("elif", "else", "fi"))))
            kind = self._next.kind
        if kind == "else":
            self.take("else")
            otherwise = self.statements(("fi",))
        self.take("fi")
        return If(line, tuple(branches), otherwise)

    def _for(self, line: int) -> For:
        self.take("for")
        name = self._name()
        self.take("in")
        words = []
        while self._next.kind not in (";", "\n", "end"):
            words.append(_split(self.take(self._next.kind).text, self, line))
        if self._next.kind != "end":
            self.take(self._next.kind)
        self._skip_lines()
        return For(line, name, tuple(words), self._loop_body())

    def _loop_body(self) -> Tuple[Any, ...]:
        self.take("do")
        body = self.statements(("done",))
        self.take("done")
        return body

    def _name(self) -> str:
        token = self.take("word")
        if not _NAME.match(token.text):
            raise self.error("expected a name, got {}".format(ascii(token.text[:60])), token.line)
        return token.text

    def _read(self) -> _Token:
        blank = _BLANK.match(self._text, self._at)
        while blank:
            self._at = blank.end()
            blank = _BLANK.match(self._text, self._at)
        start, line = self._at, self._numbers[min(self._row, len(self._numbers) - 1)]
        if start >= len(self._text):
            return _Token("end", "", start, line)
        word = _WORD.match(self._text, start)
        text = word.group() if word else self._text[start]
        self._at += len(text)
        self._row += text.count("\n")
        if word is None and text not in ";\n{}":
            raise boot_error("{} line {}: {} is not understood here".format(self._file, line, ascii(text)))
        if len(text) > _MAX_WORD:
            raise boot_error("{} line {}: a word of over {} characters".format(self._file, line, _MAX_WORD))
        kind = text if word is None or text in _RESERVED else "word"
        return _Token(kind, text, start, line)


def _functions_first(statements: List[Any], start: int) -> None:
    """GRUB reads a line as a whole, which defines its functions, before it carries out what is in it."""
    statements[start:] = sorted(statements[start:], key=lambda one: not isinstance(one, Function))


def _split(text: str, reader: _Reader, line: int) -> Word:
    """The pieces of a word, by its quotes and variables."""
    pieces, at = [], 0
    while at < len(text):
        match = _PIECE.match(text, at)
        if match is None:
            raise reader.error("the word {} is not understood".format(ascii(text[:60])), line)
        at = match.end()
        if match.group("variable"):
            pieces.append(Piece("variable", match.group("variable").strip("${}")))
        elif match.group("plain") is not None:
            pieces.append(Piece("text", match.group("plain")))
        elif match.group("single") is not None:
            pieces.append(Piece("quoted", match.group("single")))
        else:
            pieces.extend(_split_quoted(match.group("double"), reader, line))
    return Word(tuple(pieces))


def _split_quoted(text: str, reader: _Reader, line: int) -> List[Piece]:
    """The pieces of what stands in double quotes; at least one, for "" is a word too."""
    pieces, plain, at = [], "", 0
    while at < len(text):
        match = _IN_QUOTES.match(text, at)
        if match is None:
            raise reader.error("a $ without a name in {}".format(ascii(text[:60])), line)
        at = match.end()
        if match.group("variable"):
            pieces += [Piece("quoted", plain), Piece("quoted-variable", match.group("variable").strip("${}"))]
            plain = ""
        elif match.group("escaped") is not None:
            plain += match.group("escaped").replace("\n", "")
        else:
            plain += match.group("other")
    return pieces + [Piece("quoted", plain)]
