"""What the runs of one prediction share: scripts that have been read, and how much work there may be."""

from typing import Any, Dict, Tuple

from xentpm_lib.host.boot.grub_script import MAX_SCRIPT_SIZE, config_text, parse
from xentpm_lib.host.boot.grub_syntax import boot_error

__all__ = ["MAX_STEPS", "Workload"]

MAX_STEPS = 50000  # statements carried out, in all runs together


class Workload:
    """Each script is read once, however often it runs.

    max_scripts: bytes of all scripts together. max_steps: statements carried out, in all runs together.
    """

    def __init__(self, max_scripts: int = 2 * MAX_SCRIPT_SIZE, max_steps: int = MAX_STEPS) -> None:
        self._max_scripts, self._max_steps = max_scripts, max_steps
        self._size, self._steps = 0, 0
        self._parsed: Dict[Tuple[bytes, bool], Tuple[Any, ...]] = {}

    def statements(self, data: bytes, name: str, is_file: bool = True) -> Tuple[Any, ...]:
        """What a script says. is_file: as ``parse`` has it.

        Raises:
            XenTpmError: a syntax error, or the scripts are too large together.
        """
        if (data, is_file) in self._parsed:
            return self._parsed[data, is_file]
        self._size += len(data)
        if self._size > self._max_scripts:
            raise boot_error("{}: scripts of over {} bytes altogether".format(name, self._max_scripts))
        found = self._parsed[data, is_file] = parse(config_text(data), name, is_file)
        return found

    def step(self, name: str) -> None:
        """Count a statement.

        Raises:
            XenTpmError: there were too many; it may be a loop without an end.
        """
        self._steps += 1
        if self._steps > self._max_steps:
            raise boot_error("{} runs over {} commands".format(name, self._max_steps))
