"""Reading XAPI's answers: XML-RPC without document types, with bounds, from servers that may be hostile."""

from __future__ import annotations

import xmlrpc.client
from typing import Any
from xml.parsers import expat

__all__ = ["MAX_ANSWER_BYTES", "MAX_DEPTH", "MAX_ELEMENTS", "AnswerError", "AnswerParser"]

MAX_ANSWER_BYTES = 32 * 1024 * 1024
MAX_DEPTH = 64
"""Nesting of elements; a record within a map of records has 14."""
MAX_ELEMENTS = 1_000_000
"""The records of a pool of 64 hosts have fewer than 200,000."""


class AnswerError(Exception):
    """The answer is no XML-RPC response, or more than the bounds allow."""


class AnswerParser:
    """Takes an answer piece by piece. Nothing declared in a document can change what the rest means.

    max_bytes: MAX_ANSWER_BYTES unless given.
    """

    def __init__(self, max_bytes: int | None = None) -> None:
        self._max_bytes = MAX_ANSWER_BYTES if max_bytes is None else max_bytes
        unmarshaller: Any = xmlrpc.client.Unmarshaller()
        self._target = unmarshaller
        self._target.xml(None, None)  # texts arrive decoded
        self._parser = expat.ParserCreate("utf-8")
        self._parser.buffer_text = True
        self._parser.StartElementHandler = self._start
        self._parser.EndElementHandler = self._end
        self._parser.CharacterDataHandler = self._target.data
        self._parser.StartDoctypeDeclHandler = _refuse_doctype
        self._parser.EntityDeclHandler = _refuse_doctype
        self._depth = self._elements = self._size = 0

    def feed(self, data: bytes) -> None:
        """Take the next bytes. Raises: AnswerError."""
        self._size += len(data)
        if self._size > self._max_bytes:
            raise AnswerError(f"more than {self._max_bytes} bytes")
        self._guarded(data, False)

    def close(self) -> Any:
        """The values of the response, a tuple of one. Raises: AnswerError, xmlrpc.client.Fault."""
        self._guarded(b"", True)
        try:
            return self._target.close()
        except xmlrpc.client.Fault:
            raise
        except Exception as error:
            raise AnswerError("not an XML-RPC response") from error

    def _guarded(self, data: bytes, final: bool) -> None:
        try:
            self._parser.Parse(data, final)
        except AnswerError:
            raise
        except Exception as error:  # the unmarshaller raises nearly anything on nonsense
            raise AnswerError(f"not an XML-RPC response: {type(error).__name__}") from error

    def _start(self, tag: str, attributes: dict[str, str]) -> None:
        self._depth += 1
        self._elements += 1
        if self._depth > MAX_DEPTH:
            raise AnswerError(f"elements nested more than {MAX_DEPTH} deep")
        if self._elements > MAX_ELEMENTS:
            raise AnswerError(f"more than {MAX_ELEMENTS} elements")
        self._target.start(tag, attributes)

    def _end(self, tag: str) -> None:
        self._depth -= 1
        self._target.end(tag)


def _refuse_doctype(*_arguments: object) -> None:
    raise AnswerError("a document type is not allowed")
