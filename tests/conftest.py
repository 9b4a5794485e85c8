"""What every test gets: a silent TSS, Ctrl-C that ends programs, and coverage of the processes it starts."""

import os
import signal
import sys

# tpm2-tss prints warnings of its own on stderr, also about what the tests do on purpose.
os.environ.setdefault("TSS2_LOG", "all+none")

# A script's background commands ignore SIGINT, and so would every program that a test starts and interrupts.
if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

pytest_plugins = ["support.dom0_fixtures"]

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))


def _hook():
    """The module of scripts/plugin_coverage.py where this run is measured and it is installed, else None."""
    coverage = sys.modules.get("coverage")
    if coverage is None or coverage.Coverage.current() is None or "XENTPM_NO_PLUGIN_COVERAGE" in os.environ:
        return None, ""
    try:
        import xentpm_plugin_coverage as hook
    except ImportError:
        return None, ""
    return hook, os.path.abspath(coverage.Coverage.current().config.data_file)


def pytest_sessionstart(session):
    hook, data_file = _hook()
    if hook is not None:
        hook.announce(data_file, os.path.join(ROOT, "pyproject.toml"), os.path.join(ROOT, "xentpm_lib"))


def pytest_sessionfinish(session):
    hook, _ = _hook()
    if hook is not None:
        hook.withdraw()
