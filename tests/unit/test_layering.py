"""The tree keeps to its structure: who imports whom, what happens at import, sizes, the Python 3.6 floor."""

import ast
from pathlib import Path

import pytest

from support.layering import MAX_FILE_LINES, MAX_FUNCTION_LINES, check_file, find_imports

ROOT = Path(__file__).resolve().parents[2]


def _sources():
    files = sorted((ROOT / "xentpm_lib").rglob("*.py"))
    files += sorted(path for path in (ROOT / "plugins").glob("*") if path.is_file())
    return [path.relative_to(ROOT).as_posix() for path in files]


def _used_on_36():
    """The swtpm of the simulator and all that it imports: dom0's tests run it on Python 3.6."""
    found, waiting = set(), ["xentpm_lib.simulator.swtpm"]
    while waiting:
        name = waiting.pop()
        path = name.replace(".", "/") + ".py"
        if path in found or not (ROOT / path).is_file():
            continue
        found.add(path)
        for one in find_imports(ast.parse((ROOT / path).read_text("utf-8")), path):
            waiting += [one.name or "", (one.name or "").rpartition(".")[0]]
    return found


@pytest.mark.parametrize("path", _sources())
def test_file_keeps_to_the_structure(path):
    found = check_file((ROOT / path).read_text("utf-8"), path, floor=path in _used_on_36())
    assert not found, "\n" + "\n".join(found)


def test_every_layer_was_looked_at():
    folders = {path.split("/")[1] for path in _sources() if path.count("/") > 1}
    assert {"evidence", "tpm", "host", "simulator"} <= folders
    assert "plugins/tpm" in _sources()
    assert "xentpm_lib/simulator/swtpm.py" in _used_on_36()


def test_the_package_is_all_typed():
    assert (ROOT / "xentpm_lib" / "py.typed").exists()


BAD = {
    # who imports whom
    "import xentpm_lib.host.cli": ("evidence", "evidence must not import host"),
    "from xentpm_lib import tpm": ("evidence", "evidence must not import tpm"),
    "from xentpm_lib.verifier import policy": ("host", "host must not import verifier"),
    "from ..host import cli": ("tpm", "tpm must not import host"),
    "from .. import verifier": ("tpm", "tpm must not import verifier"),
    "def f():\n    from xentpm_lib.tpm import keys": ("verifier", "verifier must not import tpm"),
    "def f():\n    def g():\n        import xentpm_lib.tpm": ("simulator", "simulator must not import tpm"),
    "import importlib\nimportlib.import_module('xentpm_lib.host')": ("tpm", "tpm must not import host"),
    "from importlib import import_module as m\nm('..host', 'x')": ("tpm", "tpm must not import host"),
    "_P = 'xentpm_lib.host'\n__import__(_P)": ("evidence", "evidence must not import host"),
    "import importlib\ndef f(n):\n    importlib.import_module(n)": ("host", "only the running program knows"),
    "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import xentpm_lib.host": ("tpm", "import host"),
    # what dom0 does not have, and what is slow there
    "import cryptography": ("evidence", "must not use cryptography"),
    "def f():\n    import requests": ("host", "must not use requests"),
    "def f():\n    import tpm2_pytss": ("evidence", "must not use tpm2_pytss"),
    "def f():\n    import cffi": ("host", "must not use cffi"),
    "import logging": ("host", "logging is slow to import"),
    "import tpm2_pytss": ("tpm", "tpm2_pytss is slow to import"),
    "try:\n    import xml.etree.ElementTree as E\nexcept ImportError:\n    pass": (
        "evidence",
        "xml.etree is slow",
    ),
    "class A:\n    import subprocess": ("tpm", "subprocess is slow"),
    # what happens at import
    "import os\nHOME = os.environ['HOME']": ("evidence", "uses os.environ"),
    "from os import environ as e\nHOME = e.get('HOME')": ("tpm", "uses os.environ"),
    "import os\nHOME = os.getenv('HOME')": ("verifier", "uses os.getenv"),
    "import time as t\nSTART = t.time()": ("simulator", "uses time.time"),
    "from datetime import datetime\nclass A:\n    at = datetime.now()": (
        "verifier",
        "uses datetime.datetime.now",
    ),
    "import time\ndef f(now=time.time()):\n    pass": ("tpm", "uses time.time"),
    "CONFIG = open('/etc/x').read()": ("host", "uses open"),
    "import os\nif os.path.exists('/dev/tpm0'):\n    X = 1": ("tpm", "uses os.path.exists"),
    # sizes
    "X = 1\n" * (MAX_FILE_LINES + 1): ("evidence", "401 lines, at most 400"),
    "def f():\n" + "    x = 1\n" * MAX_FUNCTION_LINES: ("verifier", "f has 51 lines, at most 50"),
    # Python 3.6
    "def f(x):\n    return (y := x)": ("host", "not Python 3.6"),
    "def f(x, /):\n    return x": ("evidence", "not Python 3.6"),
    "from __future__ import annotations": ("tpm", "not Python 3.6"),
}


@pytest.mark.parametrize("source", BAD, ids=[text.replace("\n", ";")[:40] for text in BAD])
def test_a_bad_file_is_found(source):
    layer, message = BAD[source]
    found = check_file(source, "xentpm_lib/{}/sample.py".format(layer))
    assert any(message in text for text in found), found


GOOD = {
    "from xentpm_lib.evidence import pcr\nfrom xentpm_lib.errors import TpmError": "host",
    "from xentpm_lib import __version__": "host",
    "from . import keys\nfrom ..evidence import pcr": "tpm",
    "def f():\n    import tpm2_pytss\n    import cffi": "tpm",
    "def f():\n    import time, os, logging\n    return time.time(), os.environ, open('x')": "host",
    "from xml.parsers import expat": "host",
    "import time\nf = lambda: time.time()": "host",
    "import os\nROOT = os.path.dirname(os.path.abspath(__file__))": "host",
    "import time\nif __name__ == '__main__':\n    time.time()": "host",
    "import dataclasses, logging, cryptography, XenAPI": "verifier",
    "def f(x, /):\n    return (y := x)": "verifier",
    "from xentpm_lib.evidence.quote import QuoteEvidence": "verifier",
    "import cryptography\nfrom xentpm_lib.evidence import pcr": "simulator",
}


@pytest.mark.parametrize("source", GOOD, ids=[text.replace("\n", ";")[:40] for text in GOOD])
def test_a_good_file_is_left_alone(source):
    assert check_file(source, "xentpm_lib/{}/sample.py".format(GOOD[source])) == []


def test_the_plugin_only_registers():
    assert check_file("from xentpm_lib.host import dispatch\n", "plugins/tpm") == []
    assert check_file("from xentpm_lib.tpm import keys\n", "plugins/tpm")
    assert check_file("X = 1\n" * 61, "plugins/tpm") == ["plugins/tpm: 61 lines, at most 60"]


def test_what_runs_on_36_elsewhere_keeps_to_36():
    text = "def f(x):\n    return (y := x)\n"
    assert check_file(text, "xentpm_lib/simulator/swtpm.py", floor=True)
    assert not check_file(text, "xentpm_lib/simulator/cli.py")


def test_the_cli_may_be_slow_to_start():
    assert check_file("import argparse\n", "xentpm_lib/host/cli.py") == []
    assert check_file("import argparse\n", "xentpm_lib/host/functions.py")
