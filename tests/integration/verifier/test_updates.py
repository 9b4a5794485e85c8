"""Planned updates of simulated hosts: predicted before the restart, trusted after it, and nobody is told."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from support.attest_cli import AttestCli
from support.pool import SimPool

LOGS = pytest.mark.parametrize("logs", [(), ("--no-event-log",)], ids=["event log", "no event log"])


def _told(station: AttestCli, host: str) -> str:
    """What ``explain`` says, on one line."""
    return " ".join(station.run("explain", host).out.split())


@LOGS
def test_an_update_without_an_alarm(
    new_pool: Callable[..., SimPool], tmp_path: Path, logs: tuple[str, ...]
) -> None:
    pool = new_pool(1, *logs)
    station = AttestCli(tmp_path / "station", pool).ready()
    assert station.run("attest").status == 0
    told, nothing = pool.messages(), station.good("baseline", "predict", "host1")
    assert nothing == "host1: the next boot will be the same; nothing to prepare\n"

    pool.edit("host1", "initrd")
    pool.edit("host1", "xen-cmdline", append="no-mce")
    assert station.run("attest").status == 0  # it has booted what was approved
    explained = _told(station, "host1")
    assert "the next boot will differ: command line of Xen (sha256:8)" in explained
    assert "the next boot will differ: boot configuration, dom0 initrd (sha256:9)" in explained
    assert "changed: /boot/initrd-4.19-xen.img (dom0 initrd): was" in explained
    assert "the command line of Xen changed: added 'no-mce'" in explained
    assert "xentpm-attest baseline predict host1" in explained

    ended = station.run("baseline", "predict", "host1", "--label", "update", "--yes")
    assert ended.status == 0, ended
    assert "the host says: 'XenServer'" in ended.out and "No TPM has signed this" in ended.out
    assert "changed: /boot/initrd-4.19-xen.img (dom0 initrd): was" in ended.out
    assert "the command line of Xen changed: added 'no-mce'" in ended.out
    assert "update has the next boot already" in station.good("baseline", "predict", "host1")
    assert station.run("attest").status == 0

    pool.reboot("host1")
    assert station.run("attest").status == 0
    assert "matches update" in _told(station, "host1")
    assert pool.messages() == told
    station.good("baseline", "retire", "installed")
    assert station.run("attest").status == 0 and pool.messages() == told


@LOGS
def test_another_boot_than_the_predicted_one(
    new_pool: Callable[..., SimPool], tmp_path: Path, logs: tuple[str, ...]
) -> None:
    pool = new_pool(1, *logs)
    station = AttestCli(tmp_path / "station", pool).ready()
    pool.edit("host1", "kernel")
    station.good("baseline", "predict", "host1", "--label", "update", "--yes")
    pool.edit("host1", "kernel-cmdline", append="init=/bin/sh")
    pool.reboot("host1")
    assert station.run("attest").status == 3
    explained = _told(station, "host1")
    assert "command line of dom0 kernel (sha256:8)" in explained
    assert "the command line of dom0 kernel changed: added 'init=/bin/sh'" in explained
    ended = station.run("baseline", "predict", "host1", "--yes")
    assert ended.status == 1 and "host1 is not trusted now (PCR_CHANGED)" in ended.err
    assert [one["label"] for one in station.json("baseline", "list")] == ["installed", "update"]


def test_a_boot_loader_is_not_predicted(new_pool: Callable[..., SimPool], tmp_path: Path) -> None:
    """PCR 4 changes with it, which no prediction can tell: the alarm is raised, and approved by hand."""
    pool = new_pool(1)
    station = AttestCli(tmp_path / "station", pool).ready()
    pool.edit("host1", "boot-loader")
    pool.edit("host1", "initrd")
    station.good("baseline", "predict", "host1", "--label", "update", "--yes")
    pool.reboot("host1")
    assert station.json("attest", status=3)[0]["state"] == "untrusted-measurement"
    explained = _told(station, "host1")
    assert "compared with update" in explained and "boot loader (sha256:4)" in explained
    assert "sha256:9" not in explained


def test_a_dynamic_launch_is_not_predicted(new_pool: Callable[..., SimPool], tmp_path: Path) -> None:
    pool = new_pool(1, "--txt")
    station = AttestCli(tmp_path / "station", pool)
    station.good("init")
    station.good("enroll", pool.url, *station.trust(), "--policy", "txt")
    station.good("baseline", "capture", "--all", "--label", "installed")
    ended = station.run("baseline", "predict", "host1", "--yes")
    assert ended.status == 1 and "dynamic launch" in ended.err
