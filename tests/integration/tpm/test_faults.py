"""A TPM that is absent, broken, busy, or answers nonsense: always a clear error, and the next call works."""

import os
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
from contextlib import contextmanager

import pytest

from support.dom0 import NONCE, REPOSITORY
from support.in_process import Answer, call, proxied, refusal
from support.tpm2_tools import tpm2
from xentpm_lib.host import functions
from xentpm_lib.simulator.socket_dir import make_private
from xentpm_lib.simulator.swtpm_process import start_bound

FUNCTIONS = {
    "identity": (functions.get_identity, {}),
    "quote": (functions.get_quote, {"nonce": NONCE}),
    "set": (functions.set_asset_tag, {"tag": "a5" * 20}),
    "clear": (functions.clear_asset_tag, {}),
    "get": (functions.get_asset_tag, {}),
}
UNREADABLE = ("XENTPM_TPM_ERROR", "XENTPM_TPM_UNREACHABLE", "XENTPM_BAD_FORMAT")
every_function = pytest.mark.parametrize("name", sorted(FUNCTIONS))


def _refusal(dom0, name):
    function, arguments = FUNCTIONS[name]
    return refusal(dom0, function, **arguments)


def _works(dom0, name="quote"):
    function, arguments = FUNCTIONS[name]
    return call(dom0, function, **arguments)


# Absent


@pytest.mark.parametrize(
    "tcti",
    ["device:/dev/absent", "device:", "swtpm:path=/absent/socket", "swtpm:host=localhost,port=1", "nonsense"],
)
def test_no_tpm(bare_dom0, tcti):
    bare_dom0.configure(tcti=tcti)
    error = _refusal(bare_dom0, "quote")
    assert error.code == "XENTPM_NO_TPM"
    assert error.message.startswith("There is no TPM on this machine or it is not enabled in the BIOS")
    assert "tcti=" in error.hint


def test_a_socket_that_refuses(bare_dom0):
    path = bare_dom0.paths.at("run/tpm")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(path)
    bare_dom0.configure(tcti="swtpm:path=" + path)
    assert _refusal(bare_dom0, "quote").code == "XENTPM_NO_TPM"


def test_a_device_that_is_no_tpm(bare_dom0):
    bare_dom0.configure(tcti="device:/dev/null")
    assert _refusal(bare_dom0, "quote").code in ("XENTPM_NO_TPM", "XENTPM_TPM_UNREACHABLE")


def test_powered_off(dom0):
    dom0.tpm.stop()
    assert _refusal(dom0, "quote").code == "XENTPM_NO_TPM"
    dom0.tpm.start()
    _works(dom0)


# Response codes


@every_function
@pytest.mark.parametrize(
    "rc, code",
    [
        (0x100, "XENTPM_DISABLED"),
        (0x101, "XENTPM_TPM_FAILURE"),
        (0x120, "XENTPM_DISABLED"),
        (0x902, "XENTPM_TPM_MEMORY"),
        (0x921, "XENTPM_LOCKED_OUT"),
        (0x143, "XENTPM_UNSUPPORTED"),
        (0x1FE, "XENTPM_TPM_ERROR"),
        (0x12D, "XENTPM_TPM_ERROR"),
    ],
)
def test_a_tpm_that_answers_everything_with(dom0, name, rc, code):
    with proxied(dom0, Answer(None, rc)):
        error = _refusal(dom0, name)
    assert error.code == code
    assert "0x{:x}".format(rc) in error.message
    _works(dom0, name)


def test_a_tpm_in_failure_mode(dom0):
    """It answers GetCapability and nothing else."""

    def rule(command):
        return None if command.name == "GetCapability" else Answer(None, 0x101)(command)

    with proxied(dom0, rule):
        for name in sorted(FUNCTIONS):
            error = _refusal(dom0, name)
            assert (error.code, "failure mode" in error.message) == ("XENTPM_TPM_FAILURE", True)


def test_a_tpm_that_was_not_started(dom0):
    """Real: swtpm without TPM2_Startup answers TPM_RC_INITIALIZE."""
    with _unstarted(dom0):
        error = _refusal(dom0, "quote")
        assert error.code == "XENTPM_DISABLED"
        assert "not started by the firmware" in error.message


@contextmanager
def _unstarted(dom0):
    dom0.tpm.stop()
    path = dom0.tpm.socket_path
    make_private(dom0.tpm.socket_dir)
    command = ["swtpm", "socket", "--tpm2", "--tpmstate", "dir=" + dom0.tpm.state_dir]
    command += [
        "--flags",
        "not-need-init",
        "--server",
        "type=unixio,path=" + path,
        "--ctrl",
        "type=unixio,path=" + path + ".ctrl",
    ]
    process = start_bound(command, dom0.root, subprocess.DEVNULL)
    try:
        while not (_is_served(path) and _is_served(path + ".ctrl")):
            assert process.poll() is None
            time.sleep(0.01)
        yield
    finally:
        process.kill()
        process.wait()


def _is_served(path):
    """A socket is there a moment before anybody listens."""
    with socket.socket(socket.AF_UNIX) as client:
        return client.connect_ex(path) == 0


BUSY = {"RETRY": 0x922, "TESTING": 0x90A, "YIELDED": 0x908, "NV_RATE": 0x920}


@pytest.mark.parametrize("rc", sorted(BUSY))
@pytest.mark.parametrize(
    "name, command",
    [
        ("quote", "ReadPublic"),
        ("quote", "PCR_Read"),
        ("quote", "Quote"),
        ("quote", "NV_ReadPublic"),
        ("identity", "GetCapability"),
        ("identity", "NV_Read"),
        ("set", "ClockRateAdjust"),
        ("set", "NV_DefineSpace"),
        ("set", "NV_Write"),
    ],
)
def test_busy_some_times(dom0, name, command, rc, monkeypatch):
    monkeypatch.setattr(time, "sleep", lambda _seconds: None)
    answer = Answer(command, BUSY[rc], 6)
    with proxied(dom0, answer):
        _works(dom0, name)
    assert answer.seen > 6


@pytest.mark.parametrize("command", ["ReadPublic", "Quote"])
@pytest.mark.parametrize("rc", sorted(BUSY))
def test_busy_for_ever(dom0, rc, command, monkeypatch):
    monkeypatch.setattr(time, "sleep", lambda _seconds: None)
    with proxied(dom0, Answer(command, BUSY[rc])):
        error = _refusal(dom0, "quote")
    assert error.code == "XENTPM_TPM_BUSY"
    assert "0x{:x}".format(BUSY[rc]) in error.message


def test_busy_for_ever_ends_in_seconds(dom0, monkeypatch):
    pauses = []
    monkeypatch.setattr(time, "sleep", pauses.append)
    with proxied(dom0, Answer("Quote", BUSY["RETRY"])):
        assert _refusal(dom0, "quote").code == "XENTPM_TPM_BUSY"
    assert 1 < sum(pauses) < 10


# Lost on the way


@every_function
def test_killed_in_the_middle_of_a_call(dom0, name):
    """SIGKILL to the real swtpm while it is asked; then the host is as good as after a power failure."""

    def rule(command):
        if command.number == 1:
            dom0.tpm.kill()

    if name == "clear":
        _works(dom0, "set")
    with proxied(dom0, rule):
        assert _refusal(dom0, name).code == "XENTPM_TPM_UNREACHABLE"
    assert _refusal(dom0, name).code == "XENTPM_NO_TPM"
    dom0.tpm.start()
    _works(dom0, name)


@pytest.mark.parametrize("name", ["identity", "quote", "set"])
def test_an_answer_that_ends_early(dom0, name):
    """The last three bytes are missing. (The TSS reads over the end of a PCR_Read's answer, so not `get`.)"""

    def rule(command):
        answer = command.ask(command.data)[:-3]
        size = struct.pack(">I", len(answer))
        return answer[:2] + size + answer[6:] if answer[6:10] == bytes(4) else None

    with proxied(dom0, rule):
        assert _refusal(dom0, name).code in UNREADABLE + ("XENTPM_CERTIFICATE",)
    _works(dom0, name)


GARBAGE = [
    b"\x80\x01" + struct.pack(">II", 10, 0),  # success without anything
    b"\x80\x02" + struct.pack(">II", 14, 0) + b"\xff" * 4,
    b"\x80\x01" + struct.pack(">II", 200, 0) + b"\xff" * 190,
    b"\x80\x01" + struct.pack(">II", 200, 0) + bytes(190),
    b"\x12\x34" + struct.pack(">II", 10, 0),
    b"\x00\xc4" + struct.pack(">II", 10, 0x1E),  # TPM 1.2: TPM_BADTAG
    b"\x80\x01" + struct.pack(">II", 10, 0xFFFFFFFF),
]


@every_function
@pytest.mark.parametrize("garbage", GARBAGE)
def test_garbage(dom0, name, garbage):
    with proxied(dom0, lambda command: garbage):
        error = _refusal(dom0, name)
        assert error.code in UNREADABLE + ("XENTPM_NO_TPM",)
        assert error.hint
    _works(dom0, name)


def test_an_index_that_yields_nothing(dom0):
    """NV_Read succeeds and returns no bytes: it must not be asked for ever."""
    empty = b"\x80\x02" + struct.pack(">IIIHHBH", 21, 0, 2, 0, 0, 1, 0)
    with proxied(dom0, lambda command: empty if command.name == "NV_Read" else None):
        assert _refusal(dom0, "identity").code in ("XENTPM_CERTIFICATE", "XENTPM_TPM_ERROR")


def test_an_nv_index_of_unusual_size(dom0):
    attributes = "ppwrite|ppread|ownerread|authread|no_da|platformcreate"
    tpm2(dom0, "nvdefine", "0x1c00100", "-C", "p", "-s", "2048", "-a", attributes)
    with open(dom0.paths.at("nv.bin"), "wb") as file:
        file.write(b"\xff" * 2048)
    tpm2(dom0, "nvwrite", "0x1c00100", "-C", "p", "-i", dom0.paths.at("nv.bin"))
    with proxied(dom0, Answer("NV_Read", 0x1C4, 1)) as proxy:  # one that does not give 1,024 bytes at once
        _works(dom0, "identity")
        assert proxy.commands.count("NV_Read") >= 3


# The lock


def test_a_busy_host(dom0):
    dom0.configure(lock_timeout_s="1")
    entered, leave = threading.Event(), threading.Event()

    def hold():
        with dom0.host().tpm("a_long_operation"):
            entered.set()
            leave.wait(60)

    thread = threading.Thread(target=hold)
    thread.start()
    try:
        assert entered.wait(60)
        error = _refusal(dom0, "quote")
    finally:
        leave.set()
        thread.join()
    assert error.code == "XENTPM_BUSY"
    assert "a_long_operation (process {})".format(os.getpid()) in error.message
    _works(dom0)


def test_no_folder_for_the_lock(dom0):
    os.rmdir(dom0.paths.at("run"))
    assert _refusal(dom0, "quote").code == "XENTPM_IO"


HELD = """
import os, signal, sys, time
from xentpm_lib.host.host import Host
from xentpm_lib.host.paths import Paths
from xentpm_lib.tpm.ek_templates import EK_TEMPLATES
from xentpm_lib.tpm.keys import create_primary
with Host(Paths.of_config(sys.argv[1])).tpm("held") as tpm:
    create_primary(tpm.esys, EK_TEMPLATES[1].public)
    print("made", flush=True)
    while True:
        tpm.esys.stop_if_interrupted()
        time.sleep(0.01)
"""


@pytest.mark.parametrize("number", ["SIGTERM", "SIGINT"])
def test_a_signal_flushes_first(dom0, number):
    process = subprocess.Popen(
        [sys.executable, "-c", HELD, dom0.paths.config],
        cwd=REPOSITORY, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    assert process.stdout.readline() == b"made\n"
    process.send_signal(getattr(signal, number))
    process.communicate(timeout=60)
    # Until 3.8 Python ends with 1 after a KeyboardInterrupt that nobody catches.
    assert process.returncode in (-getattr(signal, number), 1 if number == "SIGINT" else None)
    assert tpm2(dom0, "getcap", "handles-transient").strip() == ""
    with open(dom0.paths.lock) as file:
        assert file.read() == ""
