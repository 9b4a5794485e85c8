"""A software TPM: commands, localities, power."""

from __future__ import annotations

import hashlib
import shutil
import socket
import subprocess
import threading
from pathlib import Path

import pytest

from xentpm_lib.errors import TpmError, UsageError
from xentpm_lib.simulator import swtpm_process, tpm_wire
from xentpm_lib.simulator.ecc_ek import P256_CERTIFICATE, RSA_CERTIFICATE
from xentpm_lib.simulator.swtpm import Swtpm

DIGESTS = {"sha1": b"a" * 20, "sha256": b"b" * 32}
EXTENDED = hashlib.sha256(bytes(32) + b"b" * 32).digest()
ONES = b"\xff" * 32
TPM_RC_LOCALITY = 0x907


def test_tools_reach_it_by_its_tcti(tpm: Swtpm) -> None:
    command = ["tpm2_getrandom", "--hex", "4", "-T", tpm.tcti]
    assert len(subprocess.run(command, check=True, capture_output=True, text=True).stdout) == 8


def test_extend_and_read(tpm: Swtpm) -> None:
    tpm.extend(3, DIGESTS)
    assert tpm.read_pcr("sha256", 3) == EXTENDED
    assert tpm.read_pcr("sha1", 3) == hashlib.sha1(bytes(20) + b"a" * 20).digest()
    assert tpm.read_pcr("sha256", 4) == bytes(32)


def test_a_bank_that_is_not_active(tpm: Swtpm) -> None:
    with pytest.raises(TpmError, match="sha384 bank"):
        tpm.read_pcr("sha384", 0)


def test_power_cycle_forgets_pcrs(tpm: Swtpm) -> None:
    tpm.extend(3, DIGESTS)
    first = tpm.pid
    tpm.power_cycle()
    assert tpm.pid != first
    assert tpm.read_pcr("sha256", 3) == bytes(32)


def test_an_orderly_stop_leaves_a_safe_clock(tpm: Swtpm) -> None:
    def clock() -> str:
        return subprocess.run(
            ["tpm2_readclock", "-T", tpm.tcti], check=True, capture_output=True, text=True
        ).stdout

    tpm.power_cycle()
    assert "safe: yes" in clock()
    resets = int(clock().split("reset_count: ")[1].split()[0])
    tpm.kill()
    tpm.start()
    assert int(clock().split("reset_count: ")[1].split()[0]) == resets + 1


def test_no_dynamic_launch_reads_all_ones(tpm: Swtpm) -> None:
    assert {tpm.read_pcr("sha256", pcr) for pcr in range(17, 23)} == {ONES}


@pytest.mark.parametrize("size", [0, 1, 4096, 4097, 10000])
def test_dynamic_launch(tpm: Swtpm, size: int) -> None:
    data = b"x" * size
    tpm.dynamic_launch(data)
    assert tpm.read_pcr("sha256", 17) == hashlib.sha256(bytes(32) + hashlib.sha256(data).digest()).digest()
    assert {tpm.read_pcr("sha256", pcr) for pcr in range(18, 23)} == {bytes(32)}


def test_locality_is_zero_again_after_an_extension(tpm: Swtpm) -> None:
    tpm.dynamic_launch(b"")
    tpm.extend(22, DIGESTS, locality=2)
    assert tpm.read_pcr("sha256", 22) == EXTENDED
    with pytest.raises(TpmError) as caught:
        tpm.extend(22, DIGESTS)
    assert caught.value.rc == TPM_RC_LOCALITY


def test_locality_is_zero_again_after_a_refused_extension(tpm: Swtpm) -> None:
    tpm.dynamic_launch(b"")
    with pytest.raises(TpmError):
        tpm.extend(99, DIGESTS, locality=2)
    with pytest.raises(TpmError):
        tpm.extend(22, DIGESTS)


def test_survives_clients_that_are_killed(tpm: Swtpm) -> None:
    for number in range(40):
        client = subprocess.Popen(
            ["tpm2_createprimary", "-Q", "-T", tpm.tcti, "-G", "rsa2048" if number % 2 else "ecc"],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        with pytest.raises(subprocess.TimeoutExpired):
            client.wait(0.0005 * number + 0.001)
            raise subprocess.TimeoutExpired("done already", 0)
        client.kill()
        client.wait()
        assert tpm.read_pcr("sha256", 0) == bytes(32)


@pytest.mark.parametrize(
    "part", [b"", b"\x80", b"\x80\x01\x00\x00\x00\x0c", b"\x80\x01\xff\xff\xff\xff" + b"x" * 64]
)
def test_survives_part_of_a_command(tpm: Swtpm, part: bytes) -> None:
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(tpm.socket_path)
        client.sendall(part)
    assert tpm.read_pcr("sha256", 0) == bytes(32)


def test_a_client_that_keeps_the_connection_is_named(tpm: Swtpm) -> None:
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(tpm.socket_path)
        client.sendall(b"\x80")
        with pytest.raises(TpmError, match="within 0.2 s") as caught:
            tpm.command(tpm_wire.get_random(1), limit_s=0.2)
        assert "another program" in caught.value.hint
    assert tpm.read_pcr("sha256", 0) == bytes(32)


def test_off_is_said(tpm: Swtpm) -> None:
    tpm.stop()
    assert not tpm.running and tpm.pid is None
    tpm.stop()
    with pytest.raises(TpmError, match="is off") as caught:
        tpm.read_pcr("sha256", 0)
    assert caught.value.code == "XENTPM_NO_TPM"


def test_two_cannot_run_the_same(tpm: Swtpm) -> None:
    other = Swtpm(tpm.state_dir)
    with pytest.raises(UsageError, match="already running"):
        other.start()
    other.stop()
    assert tpm.read_pcr("sha256", 0) == bytes(32)


def test_started_by_a_thread_that_ends(new_tpm: Path, tmp_path: Path) -> None:
    shutil.copytree(new_tpm / "tpm", tmp_path / "tpm")
    tpm = Swtpm(str(tmp_path / "tpm"))
    thread = threading.Thread(target=tpm.start)
    thread.start()
    thread.join()
    assert tpm.read_pcr("sha256", 0) == bytes(32)
    tpm.stop()


def test_no_tpm_in_the_directory(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no software TPM"):
        Swtpm(str(tmp_path)).start()


def test_a_damaged_state_is_told(tmp_path: Path) -> None:
    (tmp_path / "tpm2-00.permall").write_bytes(b"junk")
    tpm = Swtpm(str(tmp_path))
    with pytest.raises((UsageError, TpmError)):
        tpm.start()
        tpm.read_pcr("sha256", 0)
    tpm.kill()


@pytest.mark.parametrize("name", ["a b", "é", "x,y=z", "long" * 40])
def test_directories_of_all_kinds(short_dir: Path, name: str) -> None:
    place = short_dir / name
    Swtpm.manufacture(str(place / "tpm"), str(place / "ca"))
    with Swtpm(str(place / "tpm")) as tpm:
        assert len(tpm.control_path) < 100
        assert tpm.read_pcr("sha256", 0) == bytes(32)
        assert subprocess.run(["tpm2_getrandom", "4", "-T", tpm.tcti], capture_output=True).returncode == 0
    assert not Path(tpm.socket_path).exists()
    assert Path(tpm.socket_dir) == place / "tpm" or not Path(tpm.socket_dir).exists()


def test_a_second_tpm_needs_a_second_directory(new_tpm: Path) -> None:
    with pytest.raises(UsageError, match="already"):
        Swtpm.manufacture(str(new_tpm / "tpm"), str(new_tpm / "ca"))


def test_the_ca_certifies_the_endorsement_key(tpm: Swtpm, new_tpm: Path) -> None:
    _check_certificate(tpm, RSA_CERTIFICATE, new_tpm / "ca")


def test_an_elliptic_endorsement_key(new_tpm: Path, tmp_path: Path) -> None:
    Swtpm.manufacture(str(tmp_path / "tpm"), str(new_tpm / "ca"), ecc_ek=True)
    with Swtpm(str(tmp_path / "tpm")) as tpm:
        _check_certificate(tpm, P256_CERTIFICATE, new_tpm / "ca")
        with pytest.raises(TpmError) as caught:
            tpm.run("TPM2_NV_ReadPublic", tpm_wire.nv_read_public(RSA_CERTIFICATE))
        assert caught.value.rc == tpm_wire.RC_NV_HANDLE
        made = tmp_path / "key.pem"
        subprocess.run(
            ["tpm2_createek", "-Q", "-G", "ecc", "-c", str(tmp_path / "ek"), "-u", str(made), "-f", "pem"]
            + ["-T", tpm.tcti],
            check=True,
        )
        assert made.read_text() == _openssl(tpm, P256_CERTIFICATE, "-pubkey")


def test_no_swtpm_installed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(swtpm_process, "_MORE_PATH", str(tmp_path))
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(UsageError, match="is not installed") as caught:
        Swtpm.manufacture(str(tmp_path / "tpm"), str(tmp_path / "ca"))
    assert "apt-get install swtpm-tools" in caught.value.hint


def test_a_directory_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match="cannot make a software TPM"):
        Swtpm.manufacture(str(tmp_path / "file" / "tpm"), str(tmp_path / "ca"))


def _certificate(tpm: Swtpm, index: int) -> bytes:
    size = tpm_wire.parse_nv_size(tpm.run("read public", tpm_wire.nv_read_public(index)))
    return tpm_wire.parse_nv_data(tpm.run("read", tpm_wire.nv_read(index, size)))


def _openssl(tpm: Swtpm, index: int, *options: str) -> str:
    command = ["openssl", "x509", "-inform", "der", "-noout", *options]
    done = subprocess.run(command, input=_certificate(tpm, index), check=True, capture_output=True)
    return done.stdout.decode()


def _check_certificate(tpm: Swtpm, index: int, ca: Path) -> None:
    convert = ["openssl", "x509", "-inform", "der"]
    pem = subprocess.run(convert, input=_certificate(tpm, index), check=True, capture_output=True).stdout
    verify = ["openssl", "verify", "-CAfile", str(ca / "root.pem"), "-untrusted", str(ca / "issuer.pem")]
    assert subprocess.run(verify, input=pem, capture_output=True).returncode == 0
