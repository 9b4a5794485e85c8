"""The message class: what XenCenter and Xen Orchestra show as alerts."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from dataclasses import asdict
from functools import partial

from xentpm_lib.simulator.xapi.errors import XapiError
from xentpm_lib.simulator.xapi.methods import Call, Method, RecordOf, Records, now, number, ref_of, string
from xentpm_lib.simulator.xapi.store import Store, StoredMessage
from xentpm_lib.simulator.xml_values import DateTime, Value

__all__ = ["MAX_MESSAGES", "MESSAGE_CLASSES", "Messages"]

MAX_MESSAGES = 10_000
"""The oldest one goes when there are more."""

MESSAGE_CLASSES = ("VM", "Host", "SR", "Pool", "VMPP", "VMSS", "PVS_proxy", "VDI", "Certificate")
_FIELDS = tuple(StoredMessage.__dataclass_fields__)


class Messages:
    """The pool's messages. exists: whether an object of a class has that uuid."""

    def __init__(self, store: Store, exists: Callable[[str, str], bool]) -> None:
        self._store = store
        self._exists = exists

    def methods(self) -> list[Method]:
        """The methods of the class message."""
        create = (string("name"), number("priority"), string("cls"), string("obj_uuid"), string("body"))
        return [
            *Records("message", _FIELDS, self._records).methods(),
            Method("message.create", self._create, create),
            Method("message.destroy", self._destroy, (string("self"),)),
        ]

    def _records(self) -> dict[str, RecordOf]:
        with self._store.lock:
            messages = list(self._store.state.messages)
        return {ref_of("message", message.uuid): partial(_record, message) for message in messages}

    def _create(self, call: Call) -> Value:
        name, priority, cls, obj_uuid, body = call.args
        if cls not in MESSAGE_CLASSES:
            raise XapiError("INVALID_VALUE", "cls", cls)
        if not self._exists(cls, obj_uuid):
            raise XapiError("UUID_INVALID", cls, obj_uuid)
        message = StoredMessage(str(uuid.uuid4()), name, priority, cls, obj_uuid, now(), body)
        with self._store.lock:
            self._store.state.messages.append(message)
            del self._store.state.messages[:-MAX_MESSAGES]
            self._store.save()
        return ref_of("message", message.uuid)

    def _destroy(self, call: Call) -> Value:
        with self._store.lock:
            messages = self._store.state.messages
            kept = [message for message in messages if ref_of("message", message.uuid) != call.args[0]]
            if len(kept) == len(messages):
                raise XapiError("HANDLE_INVALID", "message", call.args[0])
            messages[:] = kept
            self._store.save()
        return ""


def _record(message: StoredMessage) -> dict[str, Value]:
    return {**asdict(message), "timestamp": DateTime(message.timestamp)}
