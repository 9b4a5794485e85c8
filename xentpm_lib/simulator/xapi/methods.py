"""The shape of an API method: its name, its parameters with their types, and what carries it out."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Any

from xentpm_lib.simulator.xapi.errors import XapiError
from xentpm_lib.simulator.xml_values import DateTime, Value

__all__ = [
    "NULL_REF",
    "Call",
    "Method",
    "Param",
    "RecordOf",
    "Records",
    "bind",
    "flag",
    "now",
    "number",
    "ref_of",
    "string",
    "text_map",
]

NULL_REF = "OpaqueRef:NULL"


@dataclass(frozen=True)
class Param:
    """A parameter: its name for error messages and the check that gives its value."""

    name: str
    read: Callable[[Value], Any]
    default: Any = None
    optional: bool = False


@dataclass(frozen=True)
class Call:
    """A call that passed the checks. ``session`` is the caller's reference."""

    session: str
    args: tuple[Any, ...]


Handler = Callable[[Call], Value]
RecordOf = Callable[[], dict[str, Value]]
Objects = Callable[[], Mapping[str, RecordOf]]


@dataclass(frozen=True)
class Method:
    """One method. ``params`` do not count the session."""

    name: str
    handler: Handler
    params: tuple[Param, ...] = ()
    session: bool = True
    can_be_async: bool = False


def string(name: str, default: str | None = None) -> Param:
    """A string parameter; with a default it may be left out."""
    return Param(name, _read_string, default, default is not None)


def number(name: str, default: int | None = None) -> Param:
    """A 64-bit integer, which XML-RPC clients send as a string of digits."""
    return Param(name, _read_int, default, default is not None)


def flag(name: str, default: bool) -> Param:
    """A truth value that may be left out."""
    return Param(name, _read_bool, default, True)


def text_map(name: str) -> Param:
    """A map of strings to strings."""
    return Param(name, _read_map)


def _read_string(value: Value) -> str:
    if not isinstance(value, str):
        raise TypeError
    try:
        value.encode("utf-8")
    except UnicodeEncodeError as error:
        raise XapiError("INVALID_VALUE", "Invalid UTF-8 string in parameter", ascii(value)) from error
    return str(value)


def _read_int(value: Value) -> int:
    if isinstance(value, bool) or not isinstance(value, (int, str)):
        raise TypeError
    try:
        return int(value)
    except ValueError as error:
        raise TypeError from error


def _read_bool(value: Value) -> bool:
    if not isinstance(value, bool):
        raise TypeError
    return value


def _read_map(value: Value) -> dict[str, str]:
    if not isinstance(value, dict):
        raise TypeError
    return {_read_string(key): _read_string(item) for key, item in value.items()}


def bind(method: Method, values: list[Value]) -> tuple[Any, ...]:
    """The values as the method's arguments; too many count only for methods without optional ones.

    Raises: XapiError.
    """
    required = sum(not param.optional for param in method.params)
    if len(values) < required or (len(values) > required and required == len(method.params)):
        raise XapiError("MESSAGE_PARAMETER_COUNT_MISMATCH", method.name, str(required), str(len(values)))
    defaults = [param.default for param in method.params[len(values) :]]
    given = [_read(param, value) for param, value in zip(method.params, values, strict=False)]
    return (*given, *defaults)


def _read(param: Param, value: Value) -> Any:
    try:
        return param.read(value)
    except TypeError as error:
        raise XapiError("FIELD_TYPE_ERROR", param.name) from error


def ref_of(cls: str, object_uuid: str) -> str:
    """The same reference for the same object, also after a restart."""
    return f"OpaqueRef:{uuid.uuid5(uuid.NAMESPACE_URL, f'{cls}/{object_uuid}')}"


def now() -> DateTime:
    """The time as XAPI writes it, in UTC."""
    return DateTime(datetime.now(timezone.utc).strftime("%Y%m%dT%H:%M:%SZ"))


class Records:
    """The methods that every class of objects has: get_all, get_record, get_<field>, …

    objects: gives what makes a record, by reference. Only ``fields`` get a getter of their own.
    """

    def __init__(self, cls: str, fields: Iterable[str], objects: Objects) -> None:
        self._cls = cls
        self._fields = tuple(fields)
        self._objects = objects

    def methods(self) -> list[Method]:
        """All of them."""
        cls, self_ref = self._cls, string("self")
        getters = [Method(f"{cls}.get_{field}", self._getter(field), (self_ref,)) for field in self._fields]
        return [
            Method(f"{cls}.get_all", lambda call: list(self._objects())),
            Method(f"{cls}.get_all_records", self._all_records),
            Method(f"{cls}.get_record", lambda call: self.record(call.args[0]), (self_ref,)),
            Method(f"{cls}.get_by_uuid", self._by_uuid, (string("uuid"),)),
            *getters,
        ]

    def record(self, ref: str) -> dict[str, Value]:
        """The record of an object. Raises: XapiError HANDLE_INVALID."""
        try:
            record = self._objects()[ref]
        except KeyError as error:
            raise XapiError("HANDLE_INVALID", self._cls, ref) from error
        return record()

    def _getter(self, field: str) -> Handler:
        return lambda call: self.record(call.args[0])[field]

    def _all_records(self, _call: Call) -> Value:
        return {ref: record() for ref, record in self._objects().items()}

    def _by_uuid(self, call: Call) -> Value:
        for ref, record in self._objects().items():
            if record()["uuid"] == call.args[0]:
                return ref
        raise XapiError("UUID_INVALID", self._cls, call.args[0])
