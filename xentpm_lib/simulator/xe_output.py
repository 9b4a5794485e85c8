"""How xe prints records and errors."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from xentpm_lib.simulator.xapi.errors import XapiError

__all__ = [
    "HOST_FIELDS",
    "MESSAGE_FIELDS",
    "POOL_FIELDS",
    "Field",
    "describe_error",
    "escape_commas",
    "format_record",
    "select_fields",
]


@dataclass(frozen=True)
class Field:
    """A field of a record: xe's name, XAPI's name, how it may be used; ``listed`` without params=all."""

    name: str
    key: str
    access: str = " RO"
    listed: bool = False
    separator: str = "; "

    def value(self, record: Mapping[str, Any]) -> Any:
        """The field of a record as it came over the wire."""
        return record[self.key]

    def text(self, record: Mapping[str, Any]) -> str:
        """The field as xe prints it."""
        value = self.value(record)
        if isinstance(value, bool):
            return "true" if value else "false"
        if isinstance(value, dict):
            return self.separator.join(f"{key}: {item}" for key, item in value.items())
        if isinstance(value, list):
            return self.separator.join(str(item) for item in value)
        return str(value)


HOST_FIELDS = (
    Field("uuid", "uuid", listed=True),
    Field("name-label", "name_label", " RW", listed=True),
    Field("name-description", "name_description", " RW", listed=True),
    Field("allowed-operations", "allowed_operations", "SRO"),
    Field("enabled", "enabled"),
    Field("software-version", "software_version", "MRO"),
    Field("capabilities", "capabilities", "SRO"),
    Field("other-config", "other_config", "MRW"),
    Field("cpu_info", "cpu_info", "MRO"),
    Field("chipset-info", "chipset_info", "MRO"),
    Field("hostname", "hostname"),
    Field("address", "address"),
    Field("bios-strings", "bios_strings", "MRO"),
    Field("tags", "tags", "SRW", separator=", "),
)

POOL_FIELDS = (
    Field("uuid", "uuid", listed=True),
    Field("name-label", "name_label", " RW", listed=True),
    Field("name-description", "name_description", " RW", listed=True),
    Field("other-config", "other_config", "MRW"),
)

MESSAGE_FIELDS = (
    Field("uuid", "uuid", listed=True),
    Field("name", "name", listed=True),
    Field("priority", "priority", listed=True),
    Field("class", "cls", listed=True),
    Field("obj-uuid", "obj_uuid", listed=True),
    Field("timestamp", "timestamp", listed=True),
    Field("body", "body", listed=True),
)

_MARGIN = 4


def select_fields(fields: Sequence[Field], params: str | None) -> list[Field]:
    """The fields of ``params=a,b`` in xe's own order; ``all`` for all, None for the usual ones."""
    if params == "all":
        return list(fields)
    wanted = params.split(",") if params else [field.name for field in fields if field.listed]
    return [field for field in fields if field.name in wanted] or list(fields[:1])


def format_record(fields: Iterable[Field], record: Mapping[str, Any]) -> str:
    """One record: the first label flush left, the others flush right; ends with an empty line."""
    labelled = [(f"{field.name} ({field.access})", field.text(record)) for field in fields]
    width = _MARGIN + max(len(label) for label, _text in labelled)
    first, *others = labelled
    lines = [f"{first[0]:<{width}}: {first[1]}", *(f"{label:>{width}}: {text}" for label, text in others)]
    return "\n".join(lines) + "\n"


def escape_commas(text: str) -> str:
    """A value in the comma-separated output of --minimal."""
    return text.replace("\\", "\\\\").replace(",", "\\,")


_KNOWN_ERRORS: dict[str, tuple[str, tuple[str, ...]]] = {
    "XENAPI_PLUGIN_FAILURE": (
        "There was a failure communicating with the plug-in.",
        ("status", "stdout", "stderr"),
    ),
    "XENAPI_MISSING_PLUGIN": ("The requested plug-in could not be found.", ("name",)),
    "HOST_OFFLINE": ("The host is offline: it could not be contacted.", ("host",)),
    "HOST_NOT_DISABLED": ("The host is not disabled. Disable it first.", ()),
    "UUID_INVALID": ("There is no object with this uuid.", ("type", "uuid")),
    "HANDLE_INVALID": ("There is no object with this reference.", ("class", "handle")),
    "INTERNAL_ERROR": ("The server could not carry out the request: internal error.", ("message",)),
}
"""What xe knows: a sentence, and the names of the parameters. All else it prints as code and parameters."""


def describe_error(error: XapiError, names: Mapping[str, str]) -> list[str]:
    """The lines xe prints for an API error. names: what to print for a reference."""
    params = [names.get(param, param) for param in error.params]
    if error.code not in _KNOWN_ERRORS:
        return [f"Error code: {error.code}", f"Error parameters: {', '.join(params)}"]
    sentence, labels = _KNOWN_ERRORS[error.code]
    missing = [f"{label}: <unknown>" for label in labels[len(params) :]]
    extra = [f"<extra>: {param}" for param in params[len(labels) :]]
    named = [f"{label}: {param}" for label, param in zip(labels, params, strict=False)]
    return [sentence, *named, *missing, *extra]
