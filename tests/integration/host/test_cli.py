"""The command line: every option, its result and exit status; an error is a line and a hint, no traceback."""

import base64
import json
import os
import re
import signal
import subprocess
import time

import pytest

from support.dom0 import HOST_UUID, NONCE, PASSWORD, REPOSITORY, Dom0
from support.tpm2_tools import OWNER, tpm2
from xentpm_lib import __version__
from xentpm_lib.evidence.quote import QuoteEvidence
from xentpm_lib.evidence.tpm_structures import Public
from xentpm_lib.tpm.ownership import OLD_DEFAULT_AUTH

TAG = "a5" * 20
AE = "ä".encode().decode("ascii", "surrogateescape")  # an argument also where the locale is ASCII


def _ok(dom0, *options):
    status, out, err = dom0.cli(*options)
    assert (status, err) == (0, ""), (status, err)
    assert out.endswith("\n")
    return out[:-1]


def _json(dom0, *options):
    return json.loads(_ok(dom0, "--json", *options))


def _error(dom0, *options):
    """One line and a hint on stderr, exit status 1."""
    status, out, err = dom0.cli(*options)
    lines = err.splitlines()
    assert (status, out, len(lines)) == (1, "", 2), (status, out, err)
    assert lines[0].startswith("xentpm: ") and lines[1].startswith("hint: ")
    assert len(lines[1]) > 10
    assert PASSWORD not in err
    return lines[0][len("xentpm: ") :]


# Each option


def test_ownership(new_dom0):
    assert new_dom0.cli("--is_tpm_owned") == (0, "The TPM is not owned by this host.\n", "")
    assert _ok(new_dom0, "--take_ownership") == "The TPM is owned by this host now."
    assert new_dom0.cli("--is_tpm_owned") == (1, "The TPM is owned by this host.\n", "")
    assert _ok(new_dom0, "--take_ownership") == "The TPM is owned by this host already."
    assert _json(new_dom0, "--take_ownership") == {"changed": False}
    status, out, _ = new_dom0.cli("--is-tpm-owned", "--json")
    assert (status, json.loads(out)) == (1, {"owned": True})


def test_ownership_by_somebody_else(new_dom0):
    tpm2(new_dom0, "changeauth", "-c", "o", "theirs")
    assert new_dom0.cli("--is_tpm_owned")[0] == 0
    assert _error(new_dom0, "--take_ownership").startswith(
        "XenServer does not own the TPM. Please clear the TPM"
    )


def test_endorsement(dom0):
    pem = _ok(dom0, "--get_ekey")
    assert pem.startswith("-----BEGIN PUBLIC KEY-----\n") and pem.endswith("\n-----END PUBLIC KEY-----")
    assert base64.b64decode(_ok(dom0, "--get_ekcert"), validate=True)[:1] == b"\x30"
    assert _json(dom0, "--get_ekey") == {"result": pem}


def test_no_certificate(dom0):
    tpm2(dom0, "nvundefine", "0x1c00002", "-C", "p")
    assert _ok(dom0, "--get_ekcert") == ""


@pytest.mark.parametrize("certificate", [(), ("ignored",), ("",)])
def test_attestation_key(new_dom0, certificate):
    name = _ok(new_dom0, "--gen_aik", *certificate)
    public = Public.from_tpm2b(base64.b64decode(_ok(new_dom0, "--get_aik_tcpa")))
    assert public.name().hex() == name
    assert public.pem().rstrip("\n") == _ok(new_dom0, "--get_aik_pem")


def test_challenge(dom0):
    with open(os.path.join(REPOSITORY, "tests/vectors/swtpm/rsa/credential"), "rb") as file:
        challenge = base64.b64encode(file.read()).decode("ascii")
    assert _error(dom0, "--tpm_challenge", challenge).startswith("challenge: it was made for another TPM")


def test_challenge_answered(dom0):
    with open(dom0.paths.at("ek.pem"), "w") as file:
        file.write(_ok(dom0, "--get_ekey") + "\n")
    with open(dom0.paths.at("secret"), "wb") as file:
        file.write(b"the secret")
    command = ["tpm2_makecredential", "-T", "none", "-G", "rsa", "-u", "ek.pem", "-s", "secret", "-o", "out"]
    environment = dict(os.environ, TSS2_LOG="all+none")
    subprocess.check_call(
        command + ["-n", _ok(dom0, "--gen_aik")], cwd=dom0.root, env=environment, stderr=subprocess.DEVNULL
    )
    with open(dom0.paths.at("out"), "rb") as file:
        challenge = base64.b64encode(file.read()).decode("ascii")
    assert base64.b64decode(_ok(dom0, "--tpm_challenge", challenge)) == b"the secret"
    assert _ok(dom0, "--tpm-challenge=" + challenge) == base64.b64encode(b"the secret").decode()


def test_quote(dom0):
    evidence = QuoteEvidence.from_json(_ok(dom0, "--tpm_quote", NONCE))
    assert evidence.untrusted_host_uuid == HOST_UUID
    assert _json(dom0, "--tpm-quote", NONCE)["version"] == 1


def test_asset_tag(dom0):
    assert _ok(dom0, "--tpm_get_asset_tag") == ""
    assert _json(dom0, "--tpm_get_asset_tag") == {"asset_tag": None, "reboot_required": False}
    told = _ok(dom0, "--tpm_set_asset_tag", TAG)
    assert TAG in told and "Restart the host" in told
    assert _ok(dom0, "--tpm_get_asset_tag") == TAG
    assert _json(dom0, "--tpm-get-asset-tag") == {"asset_tag": TAG, "reboot_required": True}
    assert TAG in _ok(dom0, "--boot")
    assert _json(dom0, "--boot") == {"asset_tag": TAG}
    assert not _json(dom0, "--tpm_get_asset_tag")["reboot_required"]
    assert _ok(dom0, "--tpm-clear-asset-tag").startswith("There is no asset tag.")
    assert _json(dom0, "--tpm_clear_asset_tag")["asset_tag"] is None


def test_rotation(dom0):
    before = _ok(dom0, "--gen_aik")
    told = _json(dom0, "--rotate_ak")
    assert told["ak_name"] == _ok(dom0, "--gen_aik") != before
    assert "Enrol this host again" in _ok(dom0, "--rotate-ak")


def test_status(dom0, bare_dom0_beside):
    status, out, err = dom0.cli("--status")
    assert (status, err) == (0, "")
    assert "TPM owned" in out
    status, out, err = bare_dom0_beside.cli("--status")
    assert (status, err) == (1, "")
    assert "There is no TPM on this machine" in out
    status, out, _ = bare_dom0_beside.cli("--status", "--json")
    assert (status, json.loads(out)["state"]) == (1, "failed")


@pytest.fixture
def bare_dom0_beside(tmp_path):
    return Dom0(str(tmp_path / "bare"), None)


def test_version_and_help(bare_dom0):
    assert _ok(bare_dom0, "--version") == "xentpm {}".format(__version__)
    text = _ok(bare_dom0, "--help")
    for option in (
        "is_tpm_owned take_ownership get_ekey get_ekcert gen_aik get_aik_pem get_aik_tcpa tpm_challenge "
        "tpm_quote tpm_set_asset_tag tpm_clear_asset_tag tpm_get_asset_tag status json rotate_ak boot config "
        "version"
    ).split():
        assert "--" + option in text


def test_the_old_default_is_moved(new_dom0):
    new_dom0.configure(password=OLD_DEFAULT_AUTH.hex())
    _ok(new_dom0, "--take_ownership")
    new_dom0.configure(password=PASSWORD)
    assert _ok(new_dom0, "--take_ownership") == "The TPM is owned by this host now."
    tpm2(new_dom0, "dictionarylockout", "-c", "-p", OWNER)


# Usage


@pytest.mark.parametrize(
    "options",
    [
        (),
        ("--json",),
        ("--status", "--get_ekey"),
        ("--nonsense",),
        ("--stat",),
        ("status",),
        ("--status", "more"),
        ("--tpm_quote",),
        ("--tpm_set_asset_tag",),
        ("--tpm_challenge", "--json"),
        ("--status=1",),
        ("--config",),
        ("--gen_aik", "a", "b"),
        ("-x",),
        ("--", "--status"),
        ("--status", "\udcff"),
        ("--\udcff",),
        ("--",),
        ("",),
        ("--json=1", "--status"),
    ],
)
def test_usage(bare_dom0, options):
    status, out, err = bare_dom0.cli(*options)
    lines = err.splitlines()
    assert (status, out, len(lines)) == (2, "", 2), (status, out, err)
    assert lines[0].startswith("xentpm: ")
    assert lines[1] == "hint: xentpm --help lists the options"


@pytest.mark.parametrize(
    "options, told",
    [
        (("--tpm_quote", "AAAA"), "nonce: expected 16 to 64 bytes"),
        (("--tpm_quote", ""), "nonce: "),
        (("--tpm_quote", "\udcff" * 40), "nonce: a character outside the base64 alphabet"),
        (("--tpm_quote=--status",), "nonce: "),
        (("--tpm_set_asset_tag", "x"), "tag: "),
        (("--tpm_set_asset_tag", "0" * 40), "tag: all zeros"),
        (("--tpm_set_asset_tag", "<tag_sha1>"), "tag: "),
        (("--tpm_challenge", "AAAA"), "challenge: "),
        (("--tpm_challenge", AE * 100), "challenge: "),
        (("--get_ekey",), "There is no TPM on this machine or it is not enabled in the BIOS"),
        (("--boot",), "There is no TPM on this machine"),
        (("--is_tpm_owned",), "There is no TPM on this machine"),
    ],
)
def test_errors(bare_dom0, options, told):
    assert told in _error(bare_dom0, *options)


# Configuration


@pytest.mark.parametrize(
    "config",
    [
        "/absent/config",
        "/",
        "",
        ".",
        "/dev/null",
        "/proc/self/mem",
        "\udcff",
        "a" * 5000,
        "/etc/passwd",
        "/etc/hosts",
    ],
)
def test_a_config_that_cannot_be_used(bare_dom0, config):
    error = _error(bare_dom0, "--config", config, "--get_ekey")
    assert "onfig" in error or "line" in error or "/" in error


@pytest.mark.parametrize("form", [(), ("--json",)])
def test_status_tells_of_a_config_that_cannot_be_used(bare_dom0, form):
    status, out, err = bare_dom0.cli("--config", "/absent/config", "--status", *form)
    assert (status, err) == (1, "")
    assert "could not read configuration file" in out


def test_a_config_that_others_read_is_warned_of(dom0):
    os.chmod(dom0.paths.config, 0o644)
    status, out, err = dom0.cli("--get_ekey")
    assert status == 0 and out
    (line,) = err.splitlines()
    assert line.startswith("xentpm: warning: ") and "chmod 0600" in line


# Streams and signals


def _cli(dom0, options, **streams):
    command = [dom0.python, "-m", "xentpm_lib.host.cli", "--config", dom0.paths.config] + options
    return subprocess.Popen(command, cwd=REPOSITORY, **streams)


@pytest.mark.parametrize(
    "option", [["--get_ekey"], ["--status"], ["--version"], ["--help"], ["--status", "--json"]]
)
def test_nobody_reads_stdout(dom0, option):
    reader, writer = os.pipe()
    os.close(reader)
    process = _cli(dom0, option, stdout=writer, stderr=subprocess.PIPE)
    os.close(writer)
    _, err = process.communicate(timeout=60)
    assert b"Traceback" not in err and b"Exception" not in err
    assert process.returncode in (0, 1)


@pytest.mark.parametrize("option", [["--get_ekey"], ["--status"], ["--status", "--json"]])
def test_no_room_for_stdout(dom0, option):
    with open("/dev/full", "wb") as full:
        process = _cli(dom0, option, stdout=full, stderr=subprocess.PIPE)
    _, err = process.communicate(timeout=60)
    assert b"Traceback" not in err and b"Exception" not in err
    assert process.returncode == 1
    assert err.startswith(b"xentpm: ")


@pytest.mark.parametrize("encoding", ["ascii:strict", "utf-8:strict", "latin-1:strict"])
@pytest.mark.parametrize("name", [b"\xff", "ä€".encode()], ids=["bytes", "text"])
def test_stdout_that_cannot_hold_the_text(bare_dom0, name, encoding):
    """Here the path of a configuration, which `--status` tells; 3.6 without a locale has an ASCII stdout."""
    environment = dict(os.environ, PYTHONIOENCODING=encoding)
    options = ["--status", "--config", name + b"/config"]
    process = _cli(bare_dom0, options, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment)
    out, err = process.communicate(timeout=60)
    assert (process.returncode, err) == (1, b"")
    assert b"could not read configuration file" in out


@pytest.mark.parametrize("descriptor", ["1", "2"])
def test_a_closed_stream(dom0, descriptor):
    command = [dom0.python, "-m", "xentpm_lib.host.cli", "--config", dom0.paths.config, "--get_ekey"]
    script = 'exec "$@" {}>&-'.format(descriptor)
    process = subprocess.Popen(
        ["/bin/sh", "-c", script, "sh"] + command,
        cwd=REPOSITORY, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    out, err = process.communicate(timeout=60)
    assert b"Traceback" not in err
    assert process.returncode == (0 if descriptor == "2" else 1)
    assert (b"BEGIN PUBLIC KEY" in out) == (descriptor == "2")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_interrupted_while_it_waits(dom0, number):
    with dom0.host().tpm("a_long_operation"):
        process = _cli(dom0, ["--get_ekey"], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        _wait_until_it_wants_the_lock(process, dom0)
        process.send_signal(number)
        out, err = process.communicate(timeout=60)
    assert out == b""
    if number == signal.SIGINT:
        assert (process.returncode, err) == (
            130,
            b"xentpm: interrupted; the next call finishes what was begun\n",
        )
    else:
        assert (process.returncode, err) == (-signal.SIGTERM, b"")


def _wait_until_it_wants_the_lock(process, dom0):
    end = time.monotonic() + 60
    while time.monotonic() < end:
        folder = "/proc/{}/fd".format(process.pid)
        try:
            targets = [os.readlink(os.path.join(folder, name)) for name in os.listdir(folder)]
        except OSError:
            targets = []
        if dom0.paths.lock in targets:
            return
        time.sleep(0.01)
    raise AssertionError("it never waited")


def test_no_secret_in_any_output(dom0):
    for option in ("--status", "--take_ownership", "--boot", "--is_tpm_owned"):
        for form in ((), ("--json",)):
            _, out, err = dom0.cli(option, *form)
            assert not re.search(PASSWORD[:8], out + err, re.IGNORECASE)
