"""Coverage of the processes that tests start, above all of plugins, which get no environment.

coverage.py's own way to measure a child process is an environment variable; XAPI gives a plugin nothing but
PATH, and so do the tests. Here a file in the virtual environment says it instead:

1. ``python scripts/plugin_coverage.py install`` copies this file into the environment's site-packages and
   a ``.pth`` line that every start of this Python runs, under ``-I`` too. It costs one look for a file.
2. ``announce`` writes ``coverage-subprocess.json`` into ``sys.prefix`` while tests run under coverage.py
   (tests/conftest.py). It holds the process id of the test run: once that is gone, the file means nothing.
3. ``start`` measures the process and saves when it ends by itself; one that is killed leaves nothing.
"""

import atexit
import json
import os
import shutil
import sys
import sysconfig
from contextlib import suppress
from typing import Any, List

__all__ = ["announce", "install", "start", "withdraw"]

_MODULE = "xentpm_plugin_coverage"
_PTH = (
    'import os, sys; os.path.exists(sys.prefix + "/coverage-subprocess.json") '
    'and __import__("{}").start()\n'.format(_MODULE)
)
_UNMEASURED = "XENTPM_UNMEASURED"
_measuring: List[Any] = []


def _announcement() -> str:
    return os.path.join(sys.prefix, "coverage-subprocess.json")


def install() -> None:
    """Put the hook into the virtual environment of the running Python."""
    site = sysconfig.get_paths()["purelib"]
    shutil.copyfile(os.path.abspath(__file__), os.path.join(site, _MODULE + ".py"))
    with open(os.path.join(site, _MODULE + ".pth"), "w") as file:
        file.write(_PTH)


def announce(data_file: str, config_file: str, source: str) -> None:
    """Have every Python of this environment measured from now on, as long as the calling process lives."""
    told = {"pid": os.getpid(), "data_file": data_file, "config_file": config_file, "source": source}
    temporary = "{}.{}".format(_announcement(), os.getpid())
    with open(temporary, "w") as file:
        json.dump(told, file)
    os.replace(temporary, _announcement())


def withdraw() -> None:
    """Take back what ``announce`` said; without effect where nothing was announced."""
    with suppress(FileNotFoundError):
        os.unlink(_announcement())


def start() -> None:
    """Measure this process, when the test run that asked for it is still alive.

    A second call has no effect: site reads a ``.pth`` file twice in some environments.
    Nor has any where a test counts system calls: measuring adds some, of another number each time.
    """
    if _measuring or _UNMEASURED in os.environ:
        return
    try:
        with open(_announcement()) as file:
            told = json.load(file)
    except FileNotFoundError:  # withdrawn since the look for it
        return
    if not os.path.exists("/proc/{}".format(told["pid"])):
        return
    import coverage

    measuring = coverage.Coverage(
        data_file=told["data_file"],
        data_suffix=True,
        config_file=told["config_file"],
        source=[told["source"]],
        messages=False,
    )
    _measuring.append(measuring)
    atexit.register(_save, measuring)
    measuring.start()


def _save(measuring: Any) -> None:
    measuring.stop()
    if any(name.split(".")[0] == "xentpm_lib" for name in sys.modules):
        measuring.save()


if __name__ == "__main__":
    if sys.argv[1:] != ["install"]:
        raise SystemExit("usage: python scripts/plugin_coverage.py install")
    install()
