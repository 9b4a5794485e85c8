"""A pool whose hosts answer at addresses of their own: redirection, a dead master, a new one."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import XenAPI

from support import fake_machine

PROGRAM = [sys.executable, fake_machine.__file__]
ROOT = Path(__file__).parents[3]


@pytest.fixture(params=["https", "http"])
def ready(request: pytest.FixtureRequest, tmp_path: Path) -> Any:
    """What ``up --json`` says of a pool of three hosts, and a way to run ``xentpm-sim``."""
    env = {**os.environ, "PYTHONPATH": f"{ROOT}:{ROOT / 'tests'}", "TMPDIR": str(tmp_path)}
    words = ["--http"] if request.param == "http" else []
    process = subprocess.Popen(
        [*PROGRAM, "up", "--json", "--until-eof", "--hosts", "3", *words],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=env,
    )
    assert process.stdout is not None
    told = json.loads(process.stdout.readline())

    def sim(*words: str) -> str:
        return subprocess.run(
            [*PROGRAM, *words], check=True, capture_output=True, text=True, env=env, timeout=100
        ).stdout

    yield told, sim
    process.communicate(timeout=100)
    assert process.returncode == 0


def session(ready: dict[str, Any], url: str) -> Any:
    opened = XenAPI.Session(url, ignore_ssl=url.startswith("https"))
    opened.xenapi.login_with_password(ready["username"], ready["password"])
    return opened.xenapi


def test_the_life_of_a_master(ready: Any) -> None:
    told, sim = ready
    urls = [host["url"] for host in told["hosts"]]
    assert told["url"] == urls[0]
    assert [url.split(":")[1] for url in urls] == ["//127.0.0.1", "//127.0.0.2", "//127.0.0.3"]
    for url in urls[1:]:
        with pytest.raises(XenAPI.Failure) as caught:
            session(told, url)
        assert caught.value.details == ["HOST_IS_SLAVE", "127.0.0.1"]
    first = session(told, urls[0])
    sim("host", "power-off", "host1")
    for attempt in (first.host.get_all, lambda: session(told, urls[0])):
        with pytest.raises((OSError, EOFError, Exception)) as broken:
            attempt()
        assert not isinstance(broken.value, XenAPI.Failure)
    assert sim("host", "promote", "host3") == "host3 is the pool's master\n"
    third = session(told, urls[2])
    (pool,) = third.pool.get_all_records().values()
    assert pool["master"] == told["hosts"][2]["ref"]
    with pytest.raises(XenAPI.Failure) as caught:
        third.host.call_plugin(told["hosts"][0]["ref"], "tpm", "f", {})
    assert caught.value.details[0] == "HOST_OFFLINE"
    sim("host", "power-on", "host1")
    with pytest.raises(XenAPI.Failure) as caught:
        session(told, urls[0])
    assert caught.value.details == ["HOST_IS_SLAVE", "127.0.0.3"]
    assert third.host.call_plugin(told["hosts"][0]["ref"], "tpm", "f", {}) == "I am host1"


def test_each_host_has_a_certificate_of_its_own(ready: Any) -> None:
    told, _sim = ready
    api = session(told, told["url"])
    certificates = [api.host.get_server_certificate(host["ref"]) for host in told["hosts"]]
    assert len(set(certificates)) == 3
    assert "".join(certificates) == Path(told["certificates"]).read_text()
