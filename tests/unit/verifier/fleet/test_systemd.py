"""What is said to systemd, to a socket that stands for its own."""

import socket

from xentpm_lib.verifier.fleet.systemd import Systemd


def test_nothing_happens_elsewhere():
    service = Systemd({})
    service.ready("up")
    service.alive("still")
    service.stopping()
    assert service.watchdog_s == 0


def test_systemd_is_told(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = "notify"  # of a socket it may have 107 bytes
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        systemd.bind(path)
        systemd.settimeout(60)
        service = Systemd({"NOTIFY_SOCKET": path, "WATCHDOG_USEC": "30000000"})
        assert service.watchdog_s == 30
        service.ready("2 hosts")
        assert systemd.recv(1000) == b"READY=1\nSTATUS=2 hosts"
        service.alive("2 hosts")
        assert systemd.recv(1000) == b"STATUS=2 hosts\nWATCHDOG=1"
        service.stopping()
        assert systemd.recv(1000) == b"STOPPING=1"


def test_an_abstract_socket_and_no_watchdog():
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        systemd.bind("")
        systemd.settimeout(60)
        name = "@" + systemd.getsockname()[1:].decode()
        Systemd({"NOTIFY_SOCKET": name, "WATCHDOG_USEC": "soon"}).alive("x")
        assert systemd.recv(1000) == b"STATUS=x"


def test_a_socket_that_is_gone_stops_nobody(tmp_path):
    Systemd({"NOTIFY_SOCKET": str(tmp_path / "gone")}).ready("up")
