"""scripts/plugin_coverage.py measures processes that have no environment, and only while tests run."""

import json
import os
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
coverage = pytest.importorskip("coverage")

PLUGIN = """#!{python} -I
import os, sys
sys.path.insert(0, {lib!r})
import xentpm_lib.errors
xentpm_lib.errors.XenTpmError("seen")
print("coverage" in sys.modules)
{end}
"""


@pytest.fixture
def host(tmp_path):
    """A virtual environment of its own with the hook, and a plugin folder that links to the library."""
    venv = tmp_path / "venv"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(venv)], check=True)
    site = next(venv.glob("lib/python*/site-packages"))
    (site / "ours.pth").write_text(sysconfig.get_paths()["purelib"] + "\n")
    (tmp_path / "lib").mkdir()
    (tmp_path / "lib" / "xentpm_lib").symlink_to(ROOT / "xentpm_lib")
    _python(tmp_path, str(ROOT / "scripts/plugin_coverage.py"), "install")
    return tmp_path


def _python(host, *arguments):
    subprocess.run([str(host / "venv/bin/python"), *arguments], check=True, timeout=60)


def _announce(host, pid):
    told = {"pid": pid, "data_file": str(host / "data"), "source": str(ROOT / "xentpm_lib")}
    told["config_file"] = str(ROOT / "pyproject.toml")
    (host / "venv/coverage-subprocess.json").write_text(json.dumps(told))


def _call_plugin(host, end=""):
    """As XAPI does: nothing but PATH, the root folder, a new process. Returns whether it was measured."""
    plugin = host / "tpm"
    plugin.write_text(PLUGIN.format(python=host / "venv/bin/python", lib=str(host / "lib"), end=end))
    plugin.chmod(0o755)
    done = subprocess.run(
        [str(plugin)], env={"PATH": "/usr/bin:/bin"}, cwd="/", capture_output=True, text=True
    )
    assert done.stderr == ""
    return done.stdout.strip() == "True"


def _measured_lines(host):
    data = coverage.CoverageData(basename=str(host / "data"))
    files = sorted(host.glob("data.*"))
    for file in files:
        one = coverage.CoverageData(basename=str(file))
        one.read()
        data.update(one)
    assert files, "no data were written"
    # The plugin imported it through a link; the data are about the checkout's file.
    return data.lines(str(ROOT / "xentpm_lib/errors.py")) or data.arcs(str(ROOT / "xentpm_lib/errors.py"))


@pytest.mark.parametrize("end", ["", "sys.exit(3)", "sys.stdout.flush()\nos._exit(0)"])
def test_a_plugin_process_is_measured(host, end):
    _announce(host, pid=os.getpid())
    assert _call_plugin(host, end) is True
    assert _measured_lines(host)


def test_nothing_is_measured_without_an_announcement(host):
    assert _call_plugin(host) is False
    assert list(host.glob("data*")) == []


def test_an_announcement_that_is_withdrawn_meanwhile_is_none(host):
    _python(host, "-c", "import xentpm_plugin_coverage as c; c.start()")
    assert list(host.glob("data*")) == []


def test_an_announcement_ends_with_the_process_that_made_it(host):
    gone = subprocess.Popen([sys.executable, "-c", "pass"])
    gone.wait()
    _announce(host, gone.pid)
    assert _call_plugin(host) is False
    assert list(host.glob("data*")) == []


def test_announce_and_withdraw(host):
    code = "import xentpm_plugin_coverage as c, os; c.announce('d', 'c', 's'); {}"
    _python(host, "-c", code.format("os._exit(0)"))
    told = json.loads((host / "venv/coverage-subprocess.json").read_text())
    assert {**told, "pid": 0} == {"pid": 0, "data_file": "d", "config_file": "c", "source": "s"}
    _python(host, "-c", code.format("c.withdraw(); c.withdraw()"))
    assert not (host / "venv/coverage-subprocess.json").exists()
