"""XAPI's front door for a single dom0, as the lab starts it: here beside a simulated root."""

import json
import ssl
import subprocess
import sys
from pathlib import Path

import pytest
import XenAPI

from xentpm_lib.errors import UsageError
from xentpm_lib.simulator.certificates import make_certificate
from xentpm_lib.simulator.machine import Machine
from xentpm_lib.simulator.real_dom0 import RealDom0, host_uuid

PASSWORD = "not a secret"


@pytest.fixture
def machine(tmp_path):
    machine = Machine.create(tmp_path / "machine", "host1")
    machine.power_on()
    yield machine
    machine.power_off()


@pytest.fixture
def pem(tmp_path):
    """A certificate and its key in one file, as XAPI has them."""
    certificate, key = tmp_path / "certificate.pem", tmp_path / "key.pem"
    make_certificate(certificate, key, "host1")
    path = tmp_path / "xapi-ssl.pem"
    path.write_text(key.read_text() + certificate.read_text())
    return path


def command(root, pem, tmp_path):
    (tmp_path / "password").write_text(PASSWORD + "\n")
    words = [
        "--certificate",
        pem,
        "--password-file",
        tmp_path / "password",
        "--database",
        tmp_path / "db/state",
    ]
    words += ["--address", "127.0.0.1", "--port", "0", "--root", root]
    return [sys.executable, "-m", "xentpm_lib.simulator.real_dom0", *map(str, words)]


@pytest.fixture
def session(machine, pem, tmp_path):
    words = command(machine.root, pem, tmp_path)
    with subprocess.Popen(words, stdout=subprocess.PIPE, universal_newlines=True) as process:
        try:
            line = process.stdout.readline()
            assert line.startswith("answering at https://127.0.0.1:"), line
            session = XenAPI.Session(line.split()[-1], ignore_ssl=True)
            session.xenapi.login_with_password("root", PASSWORD, "1.0", "test")
            yield session
        finally:
            process.terminate()
    assert process.returncode == 0


def test_the_plugin_of_that_dom0_answers(session, machine):
    (ref,) = session.xenapi.host.get_all()
    assert session.xenapi.host.get_uuid(ref) == machine.uuid
    status = json.loads(session.xenapi.host.call_plugin(ref, "tpm", "tpm_get_status", {}))
    assert status["checks"]


def test_the_certificate_is_told_without_its_key(session):
    (ref,) = session.xenapi.host.get_all()
    told = session.xenapi.host.get_server_certificate(ref)
    assert "PRIVATE KEY" not in told
    ssl.PEM_cert_to_DER_cert(told)


def test_its_power_is_not_in_the_endpoint_s_hands(session):
    (ref,) = session.xenapi.host.get_all()
    session.xenapi.host.disable(ref)
    with pytest.raises(XenAPI.Failure, match="a real one"):
        session.xenapi.host.reboot(ref)


def test_nothing_is_done_to_a_real_host():
    dom0 = RealDom0(Path("/"), "uuid")
    dom0.power_on()
    for refused in (dom0.power_off, dom0.reboot, dom0.replace_tpm, lambda: dom0.edit("initrd")):
        with pytest.raises(UsageError, match="a real one"):
            refused()
    assert dom0.powered and not dom0.components()


def test_a_root_without_an_inventory(tmp_path, pem):
    with pytest.raises(UsageError, match="cannot read"):
        host_uuid(tmp_path)
    done = subprocess.run(command(tmp_path, pem, tmp_path), stderr=subprocess.PIPE, universal_newlines=True)
    assert done.returncode == 1 and "xensource-inventory" in done.stderr
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc/xensource-inventory").write_text("PRODUCT_BRAND='XCP-ng'\n")
    with pytest.raises(UsageError, match="INSTALLATION_UUID"):
        host_uuid(tmp_path)


def test_without_a_certificate(machine, tmp_path):
    done = subprocess.run(
        command(machine.root, tmp_path / "none.pem", tmp_path),
        stderr=subprocess.PIPE,
        universal_newlines=True,
    )
    assert done.returncode == 1 and "cannot start" in done.stderr
