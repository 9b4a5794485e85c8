"""From a change on a host to all who are told of it: the real commands, simulated hosts, a real receiver."""

from __future__ import annotations

import base64
import json
import os
import subprocess
import sys

import pytest

from support.http_receiver import Receiver
from support.pool import running_pool

CLI = [sys.executable, "-m", "xentpm_lib.verifier.cli"]


@pytest.fixture(scope="module")
def pool():
    with running_pool(2) as pool:
        yield pool


@pytest.fixture(scope="module")
def receiver():
    with Receiver() as receiver:
        yield receiver


@pytest.fixture(scope="module")
def station(pool, receiver, tmp_path_factory):
    """A station that watches the pool and has every channel. Returns what runs a command of it."""
    place = tmp_path_factory.mktemp("station")
    secret = place / "secret"
    secret.write_text("whsec_" + base64.b64encode(bytes(32)).decode())
    secret.chmod(0o600)
    environment = dict(os.environ, XENTPM_ATTEST_HOME=str(place / "home"), XENTPM_PASSWORD=pool.password)

    def run(*words, status=0):
        ended = subprocess.run([*CLI, *words], capture_output=True, text=True, env=environment, timeout=200)
        assert ended.returncode == status, ended.stdout + ended.stderr
        return ended.stdout

    run("init")
    hook = f'[[notify]]\nname = "hook"\ntype = "webhook"\nurl = "{receiver.url}"\nsecret_file = "{secret}"\n'
    with (place / "home/station.toml").open("a") as file:
        file.write(hook)
    authorities = [word for path in pool.ek_ca for word in ("--ek-ca", str(path))]
    run("enroll", pool.url, "--ca", str(pool.certificate), "--username", pool.username, *authorities)
    run("baseline", "capture", "--all", "--label", "good")
    return run


def _marks(pool, name):
    record = pool.record(name)
    tags = [tag for tag in record["tags"] if tag.startswith("xentpm:")]
    keys = {key: value for key, value in record["other_config"].items() if key.startswith("xentpm_")}
    return tags, keys


def _news(pool, receiver, seen):
    """The messages and the webhooks since the last look: (host, name of the message), (host, state)."""
    names = {host.uuid: host.name for host in pool.hosts}
    found = sorted(pool.messages(), key=lambda message: str(message["timestamp"]))
    messages = [one for one in found if one["uuid"] not in seen]
    bodies = [
        json.loads(request.body) for request in receiver.got if request.headers["webhook-id"] not in seen
    ]
    seen.update(one["uuid"] for one in messages)
    seen.update(one["id"] for one in bodies)
    return (
        sorted((names[one["obj_uuid"]], one["name"]) for one in messages),
        sorted((one["host"]["name"], one["state"]) for one in bodies),
    )


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_everybody_is_told_of_every_change_once(station, pool, receiver):
    seen = set()
    station("attest")
    assert _news(pool, receiver, seen) == ([], [("host1", "trusted"), ("host2", "trusted")])
    assert _marks(pool, "host1")[0] == _marks(pool, "host2")[0] == ["xentpm:trusted"]
    station("attest")
    assert _news(pool, receiver, seen) == ([], [])

    pool.edit("host1", "initrd")
    pool.reboot("host1")
    station("attest", status=3)
    told = ([("host1", "xentpm_host_untrusted")], [("host1", "untrusted-measurement")])
    assert _news(pool, receiver, seen) == told
    tags, keys = _marks(pool, "host1")
    assert (tags, keys["xentpm_state"]) == (["xentpm:untrusted"], "untrusted-measurement")
    assert "PCR_CHANGED" in keys["xentpm_findings"] and "xentpm_expires" not in keys
    station("attest", status=3)
    assert _news(pool, receiver, seen) == ([], [])

    station("baseline", "approve", "host1", "--label", "new initrd", "--yes")
    station("attest")
    assert _news(pool, receiver, seen) == ([("host1", "xentpm_host_trusted")], [("host1", "trusted")])
    assert _marks(pool, "host1")[0] == ["xentpm:trusted"]

    pool.power_off("host2")
    station("attest", status=3)
    told = ([("host2", "xentpm_host_unreachable")], [("host2", "unreachable")])
    assert _news(pool, receiver, seen) == told
    assert _marks(pool, "host2")[0] == ["xentpm:unreachable"]
    pool.power_on("host2")
    station("attest")
    assert _news(pool, receiver, seen) == ([("host2", "xentpm_host_trusted")], [("host2", "trusted")])

    station("forget", "host2", "--yes")
    assert _news(pool, receiver, seen)[1] == [("host2", "not-enrolled")]
    assert _marks(pool, "host2") == ([], {})
    station("forget", "host1", "--yes")  # the last one: its pool goes, too
    assert _marks(pool, "host1") == ([], {})
    counts = {one["name"]: one["waiting"] for one in json.loads(station("--json", "channels", "list"))}
    assert counts == {"messages": 0, "marks": 0, "hook": 0}
