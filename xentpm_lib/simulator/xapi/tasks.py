"""The task class: calls of ``Async.…`` run in threads of their own and leave their result in a task."""

from __future__ import annotations

import threading
import uuid
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import asdict, dataclass, field

from xentpm_lib.simulator.xapi.errors import XapiError
from xentpm_lib.simulator.xapi.methods import NULL_REF, Call, Method, RecordOf, Records, now, string
from xentpm_lib.simulator.xml_values import DateTime, Value, dump_value

__all__ = ["MAX_TASKS", "Tasks"]

MAX_TASKS = 1000
"""The oldest finished ones go when there are more."""

_NEVER = DateTime("19700101T00:00:00Z")


@dataclass
class _Task:
    name_label: str
    resident_on: str
    uuid: str = field(default_factory=lambda: str(uuid.uuid4()))
    created: str = field(default_factory=now)
    finished: str = _NEVER
    status: str = "pending"
    progress: float = 0.0
    result: str = ""
    error_info: list[str] = field(default_factory=list)

    def finish(self, result: Value, error: XapiError | None) -> None:
        self.finished = now()
        self.progress = 1.0
        if error is not None:
            self.error_info = error.description
        elif result != "":
            self.result = dump_value(result)
        self.status = "failure" if error is not None else "success"

    def record(self) -> dict[str, Value]:
        return {
            **asdict(self),
            "name_description": "",
            "allowed_operations": [],
            "current_operations": {},
            "type": "<none/>",
            "other_config": {},
            "subtask_of": NULL_REF,
            "subtasks": [],
            "backtrace": "()",
        }


class Tasks:
    """The pool's tasks. guard: runs a call so that only XapiError comes out."""

    def __init__(self, resident_on: Callable[[], str], guard: Callable[[Callable[[], Value]], Value]) -> None:
        self._resident_on = resident_on
        self._guard = guard
        self._tasks: OrderedDict[str, _Task] = OrderedDict()
        self._lock = threading.RLock()

    def start(self, name: str, work: Callable[[], Value]) -> str:
        """Carry out the work in a thread; returns the reference of its task at once."""
        task = _Task(f"Async.{name}", self._resident_on())
        ref = f"OpaqueRef:{uuid.uuid4()}"
        with self._lock:
            self._tasks[ref] = task
            self._forget_old()
        threading.Thread(target=self._run, args=(task, work), name=f"task {name}", daemon=True).start()
        return ref

    def methods(self) -> list[Method]:
        """The methods of the class task."""
        fields = _Task("", "").record()
        return [
            *Records("task", fields, self._records).methods(),
            Method("task.destroy", self._destroy, (string("self"),)),
        ]

    def _run(self, task: _Task, work: Callable[[], Value]) -> None:
        result: Value = ""
        failure = None
        try:
            result = self._guard(work)
        except XapiError as error:
            failure = error
        with self._lock:
            task.finish(result, failure)

    def _records(self) -> dict[str, RecordOf]:
        with self._lock:
            return {ref: task.record for ref, task in self._tasks.items()}

    def _destroy(self, call: Call) -> Value:
        with self._lock:
            if self._tasks.pop(call.args[0], None) is None:
                raise XapiError("HANDLE_INVALID", "task", call.args[0])
        return ""

    def _forget_old(self) -> None:
        finished = [ref for ref, task in self._tasks.items() if task.status != "pending"]
        for ref in finished[: max(0, len(self._tasks) - MAX_TASKS)]:
            del self._tasks[ref]
