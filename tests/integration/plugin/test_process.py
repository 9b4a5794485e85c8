"""The plugin as a process: one XML-RPC document on stdout, exit status 0, one line in the log, no secrets."""

import json
import os
import re
import subprocess
import sys

import pytest

from support.dom0 import ENVIRONMENT, NONCE, PASSWORD, PluginFailed, PluginProcess, method_call, outcome
from support.system_log import SystemLog

TAG = "f572d396fae9206628714fb2ce00f72e94f2258f"
MARK = re.compile(r"xentpm\[[0-9]*\]")


def _run(dom0, *arguments):
    """stdout, stderr and exit status of the plugin with these arguments."""
    return PluginProcess([dom0.plugin] + list(arguments)).communicate()


def _failed(dom0, *arguments):
    with pytest.raises(PluginFailed) as caught:
        outcome(*_run(dom0, *arguments))
    return caught.value.description


def _is_one_document(out):
    assert out.startswith(b"<?xml version='1.0'?>\n<methodResponse>")
    assert out.endswith(b"</methodResponse>\n")
    assert out.count(b"<methodResponse>") == out.count(b"<?xml") == 1
    out.decode("ascii")


CALLS = {
    "identity": ("tpm_get_attestation_identity", {}),
    "quote": ("tpm_get_quote", {"nonce": NONCE, "pcrs": "sha256:0", "event_log": "false"}),
    "quote by its other name": ("quote", {"nonce": NONCE}),
    "set": ("tpm_set_asset_tag", {"tag": TAG}),
    "clear": ("tpm_clear_asset_tag", {}),
    "status": ("tpm_get_status", {}),
    "bad nonce": ("tpm_get_quote", {"nonce": "c2VjcmV0LW5vbmNl\n"}),
    "bad tag": ("tpm_set_asset_tag", {"tag": "secret-tag"}),
    "bad challenge": ("tpm_challenge", {"challenge": "c2VjcmV0LWNoYWxsZW5nZQ=="}),
    "missing": ("tpm_challenge", {}),
    "unknown": ("tpm_get_status", {"secret-name": "secret-value"}),
}


@pytest.mark.parametrize("name", sorted(CALLS))
def test_stdout_and_exit_status(dom0, name):
    function, arguments = CALLS[name]
    out, err, status = _run(dom0, method_call(function, arguments))
    assert (status, err) == (0, b"")
    _is_one_document(out)
    for secret in ["OpaqueRef", "secret-value", PASSWORD] + _long_values(arguments):
        assert secret.encode() not in out + err
    try:
        assert outcome(out, err, status)
    except PluginFailed as failed:
        assert len(failed.description) == 4
        assert all(failed.description)
        assert MARK.fullmatch(failed.description[3])


def _long_values(arguments):
    """The values that may be secret: not the words true and false, nor a selection."""
    return [
        value.strip() for key, value in arguments.items() if key in ("nonce", "challenge") and len(value) > 4
    ]


def test_the_mark_is_the_process(dom0):
    process = dom0.start("tpm_challenge")
    with pytest.raises(PluginFailed) as caught:
        outcome(*process.communicate())
    assert caught.value.description[3] == "xentpm[{}]".format(process.pid)


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        [""],
        ["not XML"],
        ["<methodCall/>"],
        [method_call("f", {}), "more"],
        ["--help"],
        [method_call("tpm_get_status", {})[:-1]],
        ["<!DOCTYPE a [<!ENTITY b 'c'>]>" + method_call("tpm_get_status", {})],
        ["<?xml version='1.0' encoding='shift_jis'?>" + method_call("tpm_get_status", {})[21:]],
        [b"\xff\xfe"],
        [method_call("tpm_get_status", {"a": "\x01"})],
        ["<a>" * 30000],
        [method_call("tpm_get_quote", {"nonce": "A" * 130000})],
    ],
)
def test_a_call_that_is_none(bare_dom0, arguments):
    out, err, status = _run(bare_dom0, *arguments)
    assert (status, err) == (0, b"")
    _is_one_document(out)
    with pytest.raises(PluginFailed) as caught:
        outcome(out, err, status)
    code, message, hint, mark = caught.value.description
    assert code == "XENTPM_BAD_ARGUMENT"
    assert message and hint and MARK.fullmatch(mark)
    assert b"OpaqueRef" not in out


def test_arguments_that_are_not_ascii(dom0):
    """In XAPI's empty environment; Python 3.6 then reads argv as ASCII."""
    description = _failed(dom0, method_call("tpm_get_quote", {"nonce": "ä€😀" * 8}))
    assert description[:2] == ["XENTPM_BAD_ARGUMENT", "nonce: a character outside the base64 alphabet"]
    description = _failed(dom0, method_call("tpm_get_status", {"ä": "ö"}))
    assert "unknown argument '\\xe4'" in description[1]
    description = _failed(dom0, method_call("tpm_ä", {}))
    assert description == ["UNKNOWN_XENAPI_PLUGIN_FUNCTION", "tpm_\\xe4"]


def test_empty_values(dom0):
    assert _failed(dom0, method_call("tpm_set_asset_tag", {"tag": ""}))[0] == "XENTPM_BAD_ARGUMENT"
    assert (
        _failed(dom0, method_call("tpm_get_quote", {"nonce": NONCE, "pcrs": ""}))[0] == "XENTPM_BAD_ARGUMENT"
    )


@pytest.mark.parametrize(
    "break_it, code",
    [
        (lambda dom0: os.unlink(dom0.paths.config), "XENTPM_CONFIG"),
        (lambda dom0: dom0.write_config("junk " + PASSWORD), "XENTPM_CONFIG"),
        (lambda dom0: dom0.write_config("password=" + PASSWORD[1:]), "XENTPM_CONFIG"),
        (lambda dom0: os.chmod(dom0.paths.config, 0o666), "XENTPM_CONFIG"),
        (lambda dom0: dom0.configure(tcti="device:/dev/absent"), "XENTPM_NO_TPM"),
        (lambda dom0: dom0.tpm.kill(), "XENTPM_NO_TPM"),
        (lambda dom0: os.rmdir(dom0.paths.at("run")), "XENTPM_IO"),
        (lambda dom0: dom0.write("etc/xensource-inventory", ""), "XENTPM_DOM0"),
    ],
    ids=["no config", "junk", "password", "writable", "no device", "tpm off", "no lock", "inventory"],
)
def test_a_host_that_is_not_in_order(dom0, break_it, code):
    break_it(dom0)
    out, err, status = _run(dom0, method_call("tpm_get_quote", {"nonce": NONCE}))
    assert (status, err) == (0, b"")
    assert PASSWORD[1:].encode() not in out
    with pytest.raises(PluginFailed) as caught:
        outcome(out, err, status)
    assert caught.value.code == code
    assert all(caught.value.description)


def test_status_works_without_configuration_and_tpm(bare_dom0):
    os.unlink(bare_dom0.paths.config)
    checks = {check["name"]: check for check in json.loads(bare_dom0.call("tpm_get_status"))["checks"]}
    assert checks["config"]["state"] == "failed"


def test_without_the_library(bare_dom0):
    os.unlink(bare_dom0.paths.at("opt/xensource/tpm/lib/xentpm_lib"))
    os.mkdir(bare_dom0.paths.at("opt/xensource/tpm/lib/xentpm_lib"))  # hides one that this Python may have
    bare_dom0.write("opt/xensource/tpm/lib/xentpm_lib/__init__.py", "")
    description = _failed(bare_dom0, method_call("tpm_get_status", {}))
    assert description[0] == "XENTPM_INSTALL"
    assert len(description) == 4 and all(description)
    assert MARK.fullmatch(description[3])


def test_with_a_damaged_library(bare_dom0):
    os.unlink(bare_dom0.paths.at("opt/xensource/tpm/lib/xentpm_lib"))
    os.mkdir(bare_dom0.paths.at("opt/xensource/tpm/lib/xentpm_lib"))
    bare_dom0.write("opt/xensource/tpm/lib/xentpm_lib/__init__.py", "this is no Python\n")
    assert _failed(bare_dom0, method_call("tpm_get_status", {}))[0] == "XENTPM_INSTALL"


# The log


@pytest.fixture
def log(tmp_path):
    folder = tmp_path / "syslog"
    folder.mkdir()
    log = SystemLog(str(folder))
    yield log
    log.close()


def _logged(log, dom0, function, arguments):
    process = log.run([dom0.plugin, method_call(function, arguments)])
    assert process.returncode == 0
    return log.lines()


OK, ERROR = 8 + 6, 8 + 3  # facility user; severities info and err


@pytest.mark.parametrize(
    "name, priority, told",
    [
        ("quote", OK, "tpm_get_quote ok"),
        ("identity", OK, "tpm_get_attestation_identity ok"),
        ("quote by its other name", OK, "quote ok"),
        ("set", OK, "tpm_set_asset_tag ok"),
        ("bad nonce", ERROR, "tpm_get_quote XENTPM_BAD_ARGUMENT"),
        ("bad tag", ERROR, "tpm_set_asset_tag XENTPM_BAD_ARGUMENT"),
        ("unknown", ERROR, "tpm_get_status XENTPM_BAD_ARGUMENT"),
    ],
)
def test_one_line_in_the_log(dom0, log, name, priority, told):
    function, arguments = CALLS[name]
    (line,) = _logged(log, dom0, function, arguments)
    assert line.startswith("<{}>".format(priority))
    assert re.search(r" xentpm\[\d+\]: {} \d+ ms$".format(re.escape(told)), line), line
    for value in list(arguments.values()) + ["OpaqueRef", PASSWORD]:
        assert value.strip() not in line


def test_the_line_carries_the_mark_of_the_failure(bare_dom0, log):
    process = log.run([bare_dom0.plugin, method_call("tpm_get_quote", {"nonce": NONCE})])
    with pytest.raises(PluginFailed) as caught:
        outcome(process.stdout, process.stderr, process.returncode)
    (line,) = log.lines()
    assert caught.value.description[3] in line
    assert "XENTPM_NO_TPM" in line


def test_calls_that_are_none_are_logged_too(bare_dom0, log):
    log.run([bare_dom0.plugin, "OpaqueRef:secret"])
    (line,) = log.lines()
    assert "XENTPM_BAD_ARGUMENT" in line and "secret" not in line
    log.run([bare_dom0.plugin, method_call("tpm_make_coffee", {"a": "secret"})])
    (line,) = log.lines()
    assert "UNKNOWN_XENAPI_PLUGIN_FUNCTION" in line and "secret" not in line


def test_a_warning_of_the_configuration_is_logged(dom0, log):
    os.chmod(dom0.paths.config, 0o644)
    warning, line = _logged(log, dom0, "tpm_get_quote", {"nonce": NONCE})
    assert "can be read by others (mode 0644)" in warning
    assert PASSWORD not in warning
    assert "tpm_get_quote ok" in line


# What a library may do to stdout


NOISY = """
import os, sys
print("printed")
os.write(1, b"written")
os.system("echo from a child")
from tpm2_pytss_for_real import *
"""


def test_what_a_library_prints_is_not_in_the_response(dom0):
    """A stand-in for tpm2_pytss that writes to stdout when it is imported, and then fails."""
    dom0.write("opt/xensource/tpm/lib/tpm2_pytss.py", NOISY)
    out, err, status = _run(dom0, method_call("tpm_get_quote", {"nonce": NONCE}))
    _is_one_document(out)
    with pytest.raises(PluginFailed) as caught:
        outcome(out, err, status)
    assert caught.value.code == "XENTPM_INSTALL"
    for noise in (b"printed", b"written", b"from a child"):
        assert noise in err and noise not in out


# What is imported

BINDING = "tpm2_pytss._libtpm2_pytss"
DRIVER = """
import os, sys
os._exit = lambda status: sys.stderr.write(" ".join(sorted(sys.modules)))
sys.argv = [{plugin!r}, {call!r}]
sys.path.insert(0, {lib!r})
exec(compile(open({plugin!r}).read(), {plugin!r}, "exec"), {{"__name__": "__main__", "__file__": {plugin!r}}})
"""


@pytest.mark.parametrize("name", ["quote", "identity", "set", "clear", "status"])
def test_nothing_slow_is_imported(dom0, name):
    lib = dom0.paths.at("opt/xensource/tpm/lib")
    source = DRIVER.format(plugin=dom0.plugin, call=method_call(*CALLS[name]), lib=lib)
    process = subprocess.Popen(
        [sys.executable, "-I", "-S", "-c", _with_site(source)],
        env=ENVIRONMENT, cwd="/", stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    out, err = process.communicate(timeout=60)
    assert outcome(out, b"", process.returncode)
    modules = set(err.decode("ascii").split())
    assert "xentpm_lib.host.dispatch" in modules
    slow = (
        "cryptography",
        "tpm2_pytss",
        "xmlrpc",
        "xml.etree",
        "logging",
        "argparse",
        "asyncio",
    )
    if name != "status":  # that asks `xl` about the processor, and nobody asks for it all day
        slow += ("subprocess",)
    assert not [module for module in modules if module.startswith(slow) and BINDING not in module]
    assert BINDING in modules


def _with_site(source):
    """site-packages without running their .pth files, which are no part of the plugin."""
    paths = [path for path in sys.path if path.endswith("-packages")]
    return "import sys; sys.path += {!r}\n{}".format(paths, source)
