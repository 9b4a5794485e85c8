"""Operations on a station: what an approval rests on, who is written down, and that Ctrl-C ends calls."""

from __future__ import annotations

import os
import pwd
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.attest_cli import AttestCli
from support.pool import SimPool
from xentpm_lib.errors import UsageError
from xentpm_lib.verifier.errors import StoreError
from xentpm_lib.verifier.ledger_bodies import StateChange, note, state_changed
from xentpm_lib.verifier.operations import approving, baselines, choice, hosts, station_use
from xentpm_lib.verifier.operations.enrolment import EnrolRequest, enrol
from xentpm_lib.verifier.records import TlsTrust
from xentpm_lib.verifier.result import State
from xentpm_lib.verifier.secret import Secret
from xentpm_lib.verifier.station import Station
from xentpm_lib.verifier.store.model import StoredCredentials


@pytest.fixture(scope="module")
def station(tmp_path_factory: pytest.TempPathFactory, sim_pool: SimPool) -> Iterator[Station]:
    with Station.init(tmp_path_factory.mktemp("home") / "station") as made:
        tls = TlsTrust(Path(sim_pool.ready["certificates"]).read_text())
        login = StoredCredentials(sim_pool.username, Secret(sim_pool.password))
        enrol(made, EnrolRequest(sim_pool.url, tls, login, tuple(sim_pool.ek_ca)))
        approving.capture(made, made.registry.hosts(), "installed", False)
        yield made


def _changed(station: Station, sim_pool: SimPool, component: str) -> approving.Proposal:
    sim_pool.edit("host2", component)
    sim_pool.reboot("host2")
    return approving.propose(station, station.registry.host("host2"))


def test_what_was_shown_is_what_is_approved(station: Station, sim_pool: SimPool) -> None:
    proposal = _changed(station, sim_pool, "kernel")
    shown = {(one.bank, one.pcr): one.b for one in proposal.differences}
    sim_pool.edit("host2", "initrd")  # after the administrator has looked
    sim_pool.reboot("host2")
    approved = approving.approve(station, proposal, None, False, retire_old=True)
    assert approved.pcrs["sha256"][9] == shown["sha256", 9] and approved.label.startswith("approved ")
    again = approving.propose(station, station.registry.host("host2"))
    assert [one.pcr for one in again.differences] == [9]
    assert [one.label for one in baselines.listing(station, "host2", False)] == [approved.label]


def test_what_others_write_meanwhile(station: Station, sim_pool: SimPool) -> None:
    host1, host2 = (station.registry.host(name) for name in ("host1", "host2"))
    proposal = _changed(station, sim_pool, "xen")
    change = StateChange(host1.host_id, None, State.STALE, time.time())
    station.store.append_all([state_changed(change), note("store", "something")], who="a watch")
    approving.approve(station, proposal, "third", False, False)

    proposal = _changed(station, sim_pool, "xen-cmdline")
    baselines.retire(station, "third")
    with pytest.raises(StoreError, match="changed meanwhile; nothing was approved") as error:
        approving.approve(station, proposal, "fourth", False, False)
    assert error.value.code == "XENTPM_STORE_CHANGED"
    assert all(one.label != "fourth" for one in station.registry.references_for(host2))


def test_for_the_group(station: Station, sim_pool: SimPool) -> None:
    (one,) = approving.capture(station, [station.registry.host("host1")], "for all", True)
    assert one.reference is not None and one.reference.groups == {"default"}
    assert one.reference in station.registry.references_for(station.registry.host("host2"))


def test_who_is_written_down(station: Station, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOGNAME", "somebody else")
    monkeypatch.setenv("SUDO_USER", "jo")
    me = pwd.getpwuid(os.getuid()).pw_name
    assert station_use.who() == f"jo as {me}"
    station_use.append(station, note("store", "by jo"))
    assert list(station.store.entries())[-1].who == f"jo as {me}"
    monkeypatch.setenv("SUDO_USER", "j\x1b[31mo" + "x" * 100)
    assert station_use.who().isprintable() and len(station_use.who()) <= 64


def test_chosen_hosts(station: Station) -> None:
    known = station.registry.hosts()
    assert choice.chosen_hosts(station, ()) == list(known)
    assert choice.chosen_hosts(station, ("host1", known[0].host_id), "default") == [known[0]]
    pool = station.registry.pools()[0]
    for word in (pool.name, pool.pool_id, pool.addresses[0], pool.addresses[0].upper()):
        assert station_use.find_pool(station, word) == pool
    assert station_use.find_pool(station, pool.addresses[1]) is None  # the pool says that it is its own
    assert station_use.only_pool(station) == pool
    for arguments in (((), "other", None), ((), None, "other"), (("host3",), None, None)):
        with pytest.raises(UsageError):
            choice.chosen_hosts(station, *arguments)


def test_the_password_goes_with_the_last_host(station: Station) -> None:
    pool_id = station.registry.pools()[0].pool_id
    hosts.forget(station, station.registry.host("host2"))
    assert station.store.get_credentials(pool_id) is not None
    hosts.forget(station, station.registry.host("host1"))
    assert station.store.get_credentials(pool_id) is None and not station.registry.pools()


def test_ctrl_c_ends_the_calls(sim_pool: SimPool, tmp_path: Path) -> None:
    cli, slow = AttestCli(tmp_path / "station", sim_pool).ready(), tmp_path / "slow.toml"
    slow.write_text(cli.good("policy", "show", "uefi-grub").replace("[timing]", '[timing]\nbackoff = "5m"'))
    cli.good("policy", "assign", str(slow))
    sim_pool.power_off("host2")
    try:
        for words in (["attest"], ["baseline", "capture", "--all", "--label", "x"]):
            tried = _tries_in_vain(sim_pool)
            with cli.start(*words, start_new_session=True) as process:
                while _tries_in_vain(sim_pool) == tried:
                    assert process.poll() is None
                    time.sleep(0.05)
                time.sleep(0.5)  # it is between two tries
                process.send_signal(signal.SIGINT)
                began = time.monotonic()
                _, said = process.communicate(timeout=100)
            assert process.returncode == 130 and said.endswith("xentpm-attest: interrupted\n"), said
            assert "Traceback" not in said and time.monotonic() - began < 30
    finally:
        sim_pool.power_on("host2")


def _tries_in_vain(sim_pool: SimPool) -> int:
    return (sim_pool.directory / "simulator.log").read_text().count("host.call_plugin HOST_OFFLINE")


def test_a_member_s_certificate_is_confirmed_and_the_master_s(sim_pool: SimPool, tmp_path: Path) -> None:
    cli = AttestCli(tmp_path / "station", sim_pool)
    cli.good("init")
    member = sim_pool.ready["hosts"][1]["url"]
    answers = {f"{member} shows": "yes", f"{sim_pool.url} shows": "yes"}
    ended = cli.typed(["enroll", member, *cli.ek_ca()], answers)
    assert ended.status == 0, ended.out
    assert f"{member} is a member of the pool whose master is {sim_pool.url}" in ended.out
    assert cli.run("attest").status == 3
