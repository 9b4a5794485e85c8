"""``xentpm-attest enroll`` and ``pool``: who is believed, what is asked, what is refused. Real processes."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path

import pytest

from support.attest_cli import AttestCli
from support.pool import SimPool
from xentpm_lib.verifier.ledger_bodies import host_enrolled, pool_changed
from xentpm_lib.verifier.records import TlsTrust
from xentpm_lib.verifier.station import Station
from xentpm_lib.verifier.xapi.tls import fetch_certificate
from xentpm_lib.verifier.xapi.url import parse_url


@contextmanager
def forwarding(address: str, url: str) -> Iterator[None]:
    """The server of the URL at another address of this machine, too, at the same port."""
    host, port = parse_url(url)

    def carry(one: socket.socket, other: socket.socket) -> None:
        with suppress(OSError):
            while data := one.recv(65536):
                other.sendall(data)
        with suppress(OSError):
            other.shutdown(socket.SHUT_WR)

    def accept() -> None:
        with suppress(OSError):
            while True:
                near = listener.accept()[0]
                far = socket.create_connection((host, port))
                for pair in ((near, far), (far, near)):
                    threading.Thread(target=carry, args=pair, daemon=True).start()

    with socket.create_server((address, port)) as listener:
        threading.Thread(target=accept, daemon=True).start()
        yield
        listener.shutdown(socket.SHUT_RDWR)


@pytest.fixture
def station(tmp_path: Path, sim_pool: SimPool) -> AttestCli:
    made = AttestCli(tmp_path / "station", sim_pool)
    made.good("init")
    return made


def test_with_the_authority_s_certificate(station: AttestCli, sim_pool: SimPool) -> None:
    done = station.json("enroll", sim_pool.url, *station.trust())
    assert [(host["name"], host["outcome"], host["ek_trust"]) for host in done["hosts"]] == [
        ("host1", "enrolled", "certificate"),
        ("host2", "enrolled", "certificate"),
    ]
    assert done["policy"] == "uefi-grub" and done["group"] == "default"
    again = station.run("enroll")  # the only pool: nothing has to be said or asked again
    assert again.status == 0 and again.out.count("unchanged") == 2
    assert {host["state"] for host in station.json("hosts", status=3)} == {"stale"}


def test_a_fingerprint_confirmed_once(tmp_path: Path, sim_pool: SimPool) -> None:
    station = AttestCli(tmp_path / "station", sim_pool, secret=False)
    station.good("init")
    words = ["enroll", sim_pool.url, *station.ek_ca()]
    shown = fetch_certificate(sim_pool.url)

    refused = station.typed(words, {"Is it the same": "no"})
    assert refused.status == 1 and "was not confirmed, so nothing was sent to it" in refused.out
    assert shown.for_people in refused.out and f"--pin {shown.pin}" in refused.out
    assert station.run("pool", "list").out == ""

    enrolled = station.typed(words, {"Is it the same": "yes", "Password of root": sim_pool.password})
    assert enrolled.status == 0 and enrolled.out.count("enrolled") >= 2
    (pool,) = station.json("pool", "list")
    assert pool["recognised_by"] == "2 pinned certificates"  # the other member's came from the master
    assert station.json("attest", "host2", status=3)[0]["state"] == "pending-approval"


def test_without_a_terminal_nothing_is_confirmed(station: AttestCli, sim_pool: SimPool) -> None:
    ended = station.run("enroll", sim_pool.url, *station.ek_ca())
    assert ended.status == 1 and "--pin " in ended.err and fetch_certificate(sim_pool.url).pin in ended.err
    other = station.run("enroll", sim_pool.url, "--pin", "00" * 32, *station.ek_ca())
    assert other.status == 1 and "another certificate than the pinned" in other.err
    assert "there is no terminal to ask at" in ended.err and "the --pin or --ca is wrong" in other.err.lower()


def test_wrong_password(station: AttestCli, sim_pool: SimPool) -> None:
    ended = station.run("enroll", sim_pool.url, *station.trust(), XENTPM_PASSWORD="not-the-password")
    assert ended.status == 1 and "hint: " in ended.err and "not-the-password" not in ended.err
    assert "user name or password are wrong" in ended.err and "Nothing was kept" in ended.err
    assert station.run("pool", "list").out == ""


def test_no_password(tmp_path: Path, sim_pool: SimPool) -> None:
    station = AttestCli(tmp_path / "station", sim_pool, secret=False)
    station.good("init")
    ended = station.run("enroll", sim_pool.url, *station.trust())
    assert ended.status == 1 and "no terminal to ask" in ended.err and "--password-file" in ended.err


def test_a_password_file(tmp_path: Path, sim_pool: SimPool) -> None:
    station = AttestCli(tmp_path / "station", sim_pool, secret=False)
    station.good("init")
    file = tmp_path / "password"
    file.write_text(sim_pool.password + "\n")
    file.chmod(0o644)
    words = ["enroll", sim_pool.url, *station.trust(), "--password-file", str(file)]
    assert "mode 0644" in station.run(*words).err
    file.chmod(0o600)
    station.good(*words, "--keep-password", "file")
    assert str(file) in station.json("pool", "list")[0]["login"]
    assert station.run("attest").status == 3
    file.unlink()
    ended = station.run("pool", "list")
    assert ended.status == 0
    (result, _) = station.json("attest", status=3)
    assert result["state"] == "unreachable"


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("http://127.0.0.1", "wanted a URL such as https://pool.example.com"),
        ("https://root:pw@127.0.0.1", "a URL holds no user name and no password"),
        ("https://127.0.0.1/xapi", "ends after the host name or port"),
        ("https://nowhere.invalid", "https://nowhere.invalid: "),
    ],
)
def test_wrong_url(station: AttestCli, url: str, said: str) -> None:
    ended = station.run("enroll", url, *station.trust())
    assert ended.status == 1 and said in ended.err and "hint: " in ended.err, ended.err


def test_nobody_listens(station: AttestCli) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        url = f"https://127.0.0.1:{taken.getsockname()[1]}"
        ended = station.run("enroll", url)
    assert ended.status == 1 and f"{url}: " in ended.err and "refused" in ended.err.lower()


def test_a_tpm_that_nobody_vouches_for(station: AttestCli, sim_pool: SimPool) -> None:
    ca = str(sim_pool.ready["certificates"])
    ended = station.run("enroll", sim_pool.url, "--ca", ca)
    assert ended.status == 1 and ended.out.count("failed") == 2
    assert "--ek-ca" in ended.err or "--ek-pin" in ended.err
    assert "the EK certificate is from CN=swtpm-localca" in ended.err
    assert station.json("hosts") == []
    early = station.run("enroll", sim_pool.url, "--ek-ca", "/nowhere")
    assert "/nowhere" in early.err and "certificate" not in early.err.split("hint")[0], early
    for words in (["--ek-ca", "/nowhere"], ["--ek-pin", "/nowhere"]):
        ended = station.run("enroll", sim_pool.url, "--ca", ca, *words)
        assert ended.status == 1 and "/nowhere" in ended.err and "hint: Give" in ended.err


def test_a_pinned_endorsement_key(station: AttestCli, sim_pool: SimPool, tmp_path: Path) -> None:
    keys = tmp_path / "keys.pem"
    identity = sim_pool.call_plugin("host1", "tpm_get_attestation_identity")
    keys.write_text(identity.split("<xentxt:TPM_Endorsement_KEY_PEM>")[1].split("<")[0])
    ca = str(sim_pool.ready["certificates"])
    done = station.json("enroll", sim_pool.url, "--ca", ca, "--ek-pin", str(keys), "--host", "host1")
    assert [(host["outcome"], host["ek_trust"]) for host in done["hosts"]] == [("enrolled", "pinned")]
    assert "pinned" in station.run("show", "host1").out


def test_first_use_only_where_the_policy_says_so(
    station: AttestCli, sim_pool: SimPool, tmp_path: Path
) -> None:
    policy = tmp_path / "lab.toml"
    text = station.good("policy", "show", "uefi-grub")
    policy.write_text(text.replace('["certificate", "pinned"]', '["certificate", "pinned", "first_use"]'))
    ca = str(sim_pool.ready["certificates"])
    ended = station.run("enroll", sim_pool.url, "--ca", ca, "--policy", str(policy))
    assert ended.status == 0 and "warning: " in ended.err and "first use" in ended.err
    assert "trusted on first use" in station.run("show", "host1").out
    (result, _) = station.json("attest", status=3)
    assert "EK_FIRST_USE" in {found["code"] for found in result["findings"]}


def test_a_member_s_address_a_group_and_a_policy(station: AttestCli, sim_pool: SimPool) -> None:
    member = sim_pool.ready["hosts"][1]["url"]
    done = station.json("enroll", member, *station.trust(), "--group", "rack7", "--policy", "firmware")
    assert len(done["hosts"]) == 2 and done["policy"] == "firmware"
    assert {host["host"]["group"] for host in station.json("hosts", status=3)} == {"rack7"}
    ended = station.run("enroll", member, *station.trust(), "--host", "host9")
    assert ended.status == 1 and "the pool has no host 'host9'; it has: host1, host2" in ended.err
    ended = station.run("enroll", member, *station.trust(), "--policy", "firmwar")
    assert ended.status == 1 and "there is no policy 'firmwar'" in ended.err


def test_a_pool_that_has_moved(station: AttestCli, sim_pool: SimPool) -> None:
    """At another address, with another certificate: on the administrator's word, and a known TPM's."""
    station.good("enroll", sim_pool.url, *station.trust())
    moved = sim_pool.url.replace("127.0.0.1", "127.0.0.7")
    pin = fetch_certificate(sim_pool.url).pin
    with forwarding("127.0.0.7", sim_pool.url):
        words = ["enroll", moved, "--pin", pin, *station.ek_ca()]
        refused = station.run(*words)
        assert refused.status == 1 and "enroll --replace" in refused.err, refused
        assert "says that it is the pool Simulated pool" in refused.err
        (pool,) = station.json("pool", "list")
        assert pool["addresses"][0] == sim_pool.url and pool["recognised_by"] == "an authority"
        taken = station.run(*words, "--replace")
        assert taken.status == 0, taken
        assert f"is changed: it is asked at {moved}" in taken.err
        assert "is changed: it is recognised by 2 pinned certificates, and was by an authority" in taken.err
        (pool,) = station.json("pool", "list")
        assert pool["addresses"][0] == moved
    with forwarding("127.0.0.8", sim_pool.url):  # elsewhere, but it shows a certificate that is pinned
        found = station.json("enroll", moved.replace(".7", ".8"), "--pin", pin, *station.ek_ca())
        assert {one["outcome"] for one in found["hosts"]} == {"unchanged"}


def test_forget(station: AttestCli, sim_pool: SimPool) -> None:
    station.good("enroll", sim_pool.url, *station.trust())
    uuid = station.json("show", "host2", status=3)["host"]["uuid"]
    asked = station.run("forget", "host2")
    assert asked.status == 1 and "no terminal to ask at: host2 is watched as before" in asked.err
    station.good("forget", "host2", "--yes")
    assert "forgotten" in station.good("history", uuid)
    assert "by its UUID" in station.run("history", "host2").err
    assert [one["host"]["name"] for one in station.json("hosts", status=3)] == ["host1"]
    ended = station.run("forget", "host2")
    assert ended.status == 1 and "there is no enrolled host 'host2'" in ended.err
    station.good("forget", "host1", "--yes")
    assert station.json("pool", "list") == []


def test_another_log_in_and_other_certificates(station: AttestCli, sim_pool: SimPool) -> None:
    station.good("enroll", sim_pool.url, *station.trust())
    (pool,) = station.json("pool", "list")
    wrong = station.run("pool", "password", pool["name"], XENTPM_PASSWORD="wrong")
    assert wrong.status == 1 and station.run("attest").status == 3
    assert "accepts the password" in station.good("pool", "password", sim_pool.url)
    unknown = station.run("pool", "password", "nobody")
    assert unknown.status == 1 and f"known: {pool['name']}" in unknown.err
    pin = fetch_certificate(sim_pool.url).pin
    assert station.run("pool", "pin", sim_pool.url, "--pin", "11" * 32).status == 1
    station.good("pool", "pin", sim_pool.url, "--pin", pin)
    assert station.json("pool", "list")[0]["recognised_by"] == "2 pinned certificates"


def test_a_pool_with_another_master_is_mended(station: AttestCli, sim_pool: SimPool) -> None:
    old, new = sim_pool.hosts
    station.good("enroll", sim_pool.url, *station.trust())
    with Station.open(station.home) as opened:  # as if the new master had got a new certificate as well
        (pool,) = opened.registry.pools()
        only = replace(pool, addresses=(old.url,), tls=TlsTrust(pins=(fetch_certificate(old.url).pin,)))
        opened.store.append(*pool_changed(only), who="before")
    shown = fetch_certificate(new.url)
    sim_pool.promote(new.name)
    try:
        assert {one["state"] for one in station.json("attest", status=3)} == {"unreachable"}
        unasked = station.run("pool", "pin", pool.name)
        assert unasked.status == 1 and f"--pin {shown.pin}" in unasked.err
        wrong = station.run("pool", "pin", pool.name, "--pin", fetch_certificate(old.url).pin)
        assert wrong.status == 1 and "xentpm-attest pool pin" not in wrong.err
        assert f"master is {new.url}" in wrong.err and f"--pin {shown.pin}" in wrong.err
        mended = station.typed(["pool", "pin", pool.name], {"Is it the same": "yes"})
        assert mended.status == 0 and f"is {new.url} now" in mended.out and shown.for_people in mended.out
        (listed,) = station.json("pool", "list")
        assert listed["addresses"][0] == new.url and listed["recognised_by"] == "2 pinned certificates"
        assert {one["state"] for one in station.json("attest", status=3)} == {"pending-approval"}
    finally:
        sim_pool.promote(old.name)


def test_the_same_host_enrolled_anew(station: AttestCli, sim_pool: SimPool) -> None:
    """After its TPM was cleared: its clock begins anew, and findings that last are over."""
    station.good("enroll", sim_pool.url, *station.trust())
    before = station.json("show", "host2", status=3)["enrolled_at"]
    (view, _) = station.json("hosts", status=3)
    assert view["state"] == "stale"
    told = station.run("hosts").out
    assert "not attested yet: xentpm-attest attest host1" in told
    (done,) = station.json("enroll", "--replace", "--host", "host2", *station.ek_ca())["hosts"]
    assert done["outcome"] == "enrolled anew, same keys"
    assert station.json("show", "host2", status=3)["enrolled_at"] > before


def test_enrolled_while_the_clock_was_ahead(station: AttestCli, sim_pool: SimPool) -> None:
    """The ledger's order says which results are of which enrolment, whatever a clock said."""
    station.good("enroll", sim_pool.url, *station.trust())
    with Station.open(station.home) as opened:
        host = opened.registry.host("host2")
        ahead = replace(host, enrolled_at=time.time() + 864_000)
        opened.store.append(*host_enrolled(ahead), who="a clock")
    assert station.run("attest", "host2").status == 3
    (view,) = [one for one in station.json("hosts", status=3) if one["host"]["name"] == "host2"]
    assert view["state"] == "pending-approval"
    assert station.run("token", "host2").out.count(".") == 2


def test_no_station(tmp_path: Path) -> None:
    station = AttestCli(tmp_path / "nothing")
    ended = station.run("hosts")
    assert ended.status == 1 and "there is no station in" in ended.err and "xentpm-attest init" in ended.err
    station.good("init")
    assert (tmp_path / "nothing").stat().st_mode & 0o077 == 0
    assert station.run("attest").err.count("no host is enrolled") == 1
