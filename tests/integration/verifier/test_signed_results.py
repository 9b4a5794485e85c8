"""From a simulated host to an orchestrator: enrolled, attested, and its result checked offline with PyJWT."""

import json
import os
import subprocess
import sys
import time

import jwt
import pytest

from support.pool import ROOT
from xentpm_lib.errors import EvidenceError
from xentpm_lib.verifier.result import State, Verdict
from xentpm_lib.verifier.token import verify_token

_LIMIT_S = 200


@pytest.fixture
def attest(new_pool, tmp_path):
    """A pool of one host, and a function that runs xentpm-attest on a station: exit status and output."""
    pool = new_pool(hosts=1)
    environment = {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": str(ROOT),
        "XENTPM_ATTEST_HOME": str(tmp_path / "station"),
        "XENTPM_PASSWORD": pool.password,
    }

    def run(*words):
        command = [sys.executable, "-m", "xentpm_lib.verifier.cli", *words]
        ended = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=_LIMIT_S)
        assert "Traceback" not in ended.stderr, ended.stderr
        return ended.returncode, ended.stdout, ended.stderr

    assert run("init")[0] == 0
    authorities = [word for path in pool.ek_ca for word in ("--ek-ca", str(path))]
    options = ["--username", pool.username, "--ca", str(pool.certificates), *authorities]
    status, _, err = run("enroll", pool.url, *options)
    assert status == 0, err
    return pool, run


def test_an_orchestrator_checks_what_the_station_says(attest):
    pool, run = attest
    host = pool.hosts[0]
    keys = run("keys", "jwks")[1]

    # Nothing to compare with yet: a token that says nothing of the host.
    assert run("attest", host.name)[0] == 3
    status, token, _ = run("token", host.name)
    assert status == 3
    verified = verify_token(token.strip(), keys, time.time(), host.uuid)
    assert (verified.status, verified.result.state) == ("none", State.PENDING_APPROVAL)

    # Trusted.
    assert run("baseline", "capture", host.name, "--label", "good")[0] == 0
    assert run("attest", host.name)[0] == 0
    status, token, _ = run("token", host.name)
    assert status == 0
    verified = verify_token(token.strip(), keys, time.time(), host.uuid)
    assert (verified.status, verified.result.verdict) == ("affirming", Verdict.TRUSTED)
    assert verified.result.ek_trust == "certificate"
    key = jwt.PyJWKSet.from_json(keys)[verified.key_id].key
    claims = jwt.decode(token.strip(), key, algorithms=["ES256"])
    assert claims["sub"] == host.uuid
    assert claims["submods"][host.uuid]["ear.status"] == "affirming"

    # It ends by itself.
    with pytest.raises(EvidenceError, match="expired"):
        verify_token(token.strip(), keys, claims["exp"], host.uuid)

    # Another initrd.
    pool.edit(host.name, "initrd", append="rootkit")
    pool.reboot(host.name)
    assert run("attest", host.name)[0] == 3
    status, text, _ = run("token", "--json", host.name)
    assert status == 3
    verified = verify_token(json.loads(text)["token"], keys, time.time(), host.uuid)
    assert (verified.status, verified.result.state) == ("contraindicated", State.UNTRUSTED_MEASUREMENT)
    assert any(found.code == "PCR_CHANGED" for found in verified.result.findings)
