"""What the simulator's ``call_plugin`` adds to the plugin process that it starts."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from xmlrpc import client

from measuring import Cost, Program, Samples, run
from workload import ENVIRONMENT, NONCE, ROOT, method_call

__all__ = ["measure_calls"]

FUNCTION = "tpm_get_quote"
_START = [sys.executable, "-m", "xentpm_lib.simulator.cli", "up", "--hosts", "1", "--http", "--json"]
_END_LIMIT_S = 20


def measure_calls(rounds: int) -> tuple[Samples, Samples]:
    """A quote through XML-RPC, and the same plugin process alone, in turns."""
    with _simulator() as pool:
        host = pool["hosts"][0]
        plugin = str(Path(host["dir"]) / "root/etc/xapi.d/plugins/tpm")
        alone = Program(FUNCTION, [[plugin, method_call(FUNCTION, {"nonce": NONCE})]], ENVIRONMENT)
        api: Any = client.ServerProxy(pool["url"])
        session = api.session.login_with_password(pool["username"], pool["password"])["Value"]
        through, direct = Samples(), Samples()
        for _ in range(rounds):
            through.costs.append(_call(api, session, host["ref"]))
            direct.costs.append(run(alone))
        api.session.logout(session)
        api("close")()
        return through, direct


def _call(api: Any, session: str, host: str) -> Cost:
    begin = time.perf_counter()
    answer = api.host.call_plugin(session, host, "tpm", FUNCTION, {"nonce": NONCE})
    if answer["Status"] != "Success":
        raise RuntimeError(f"the simulator answered {answer}")
    return Cost(1000 * (time.perf_counter() - begin), 0)


@contextmanager
def _simulator() -> Iterator[dict[str, Any]]:
    process = subprocess.Popen(_START, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    try:
        assert process.stdout is not None
        yield json.loads(process.stdout.readline())
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(_END_LIMIT_S)
