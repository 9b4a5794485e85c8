"""Loading the TSS: the compiled module alone where that works, all of tpm2-pytss where it does not."""

import json
import os
import subprocess
import sys

import pytest

from support.dom0 import REPOSITORY

DRIVER = """
import importlib.util, json, sys
sys.path.insert(0, {repository!r})
from xentpm_lib.tpm import binding
{prepare}
try:
    found = binding.load_binding()
    again = binding.load_binding()
    rc = found.lib.Tss2_MU_UINT32_Marshal(7, found.ffi.new("uint8_t[4]"), 4, found.ffi.NULL)
    told = {{"works": int(rc), "same": found.lib is again.lib}}
except Exception as error:
    told = {{"error": repr(error), "code": getattr(error, "code", ""), "hint": getattr(error, "hint", "")}}
told["modules"] = sorted(sys.modules)
{check}
print(json.dumps(told))
"""


def _load(prepare="", check="", path=None):
    source = DRIVER.format(repository=REPOSITORY, prepare=prepare, check=check)
    environment = {"PATH": os.environ.get("PATH", ""), "PYTHONPATH": path or ""}
    process = subprocess.Popen(
        [sys.executable, "-c", source],
        env=environment, cwd="/", stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    out, err = process.communicate(timeout=60)
    assert process.returncode == 0, err.decode("utf-8", "replace")
    return json.loads(out.decode("utf-8"))


def test_the_compiled_module_alone():
    told = _load()
    assert told["works"] == 0 and told["same"]
    assert "cryptography" not in told["modules"]
    assert "tpm2_pytss" not in told["modules"]


def test_all_of_it_shares_the_module_afterwards():
    check = """
import tpm2_pytss
told["shared"] = tpm2_pytss.ESAPI.__module__.startswith("tpm2_pytss") and (
    sys.modules["tpm2_pytss._libtpm2_pytss"].lib is found.lib)
"""
    assert _load(check=check)["shared"]


def test_all_of_it_was_loaded_before():
    told = _load(prepare="import tpm2_pytss")
    assert told["works"] == 0


@pytest.mark.parametrize(
    "prepare",
    [
        "binding._compiled_module_path = lambda: None",
        "seen = []\nbinding._is_complete = lambda module: (seen.append(1), len(seen) > 1)[1]",
        "binding._compiled_module_path = lambda: '/absent.so'",
        "binding._compiled_module_path = lambda: binding.__file__",
    ],
    ids=["not found", "incomplete", "not loadable", "no library"],
)
def test_the_fallback_is_all_of_tpm2_pytss(prepare):
    told = _load(prepare)
    assert told.get("works") == 0, told
    assert "tpm2_pytss" in told["modules"]


def test_a_release_that_keeps_its_binding_elsewhere():
    prepare = """
import tpm2_pytss
sys.modules["tpm2_pytss.elsewhere"] = sys.modules.pop("tpm2_pytss._libtpm2_pytss")
binding._compiled_module_path = lambda: None
"""
    assert _load(prepare).get("works") == 0


FAKES = {
    "absent": ({}, "import importlib.util\nbinding._PACKAGE = 'tpm2_pytss_absent'"),
    "broken": ({"__init__.py": "raise ImportError('libtss2-esys.so.0: cannot open shared object file')"}, ""),
    "empty": ({"__init__.py": ""}, ""),
    "of no use": ({"__init__.py": "", "other.py": "lib = ffi = None"}, ""),
}


@pytest.mark.parametrize("kind", sorted(FAKES))
def test_nothing_to_load(tmp_path, kind):
    files, prepare = FAKES[kind]
    package = tmp_path / "tpm2_pytss"
    if files:
        package.mkdir()
    for name, text in files.items():
        (package / name).write_text(text)
    told = _load(prepare, path=str(tmp_path))
    assert told["code"] == "XENTPM_INSTALL"
    assert "tpm2-pytss" in told["hint"]
