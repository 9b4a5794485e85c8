"""A server that misbehaves, and a client of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from support.hostile_server import Call, HostileServer, failure, success
from xentpm_lib.verifier.records import PoolRecord, TlsTrust
from xentpm_lib.verifier.xapi.pool import Credentials, PoolClient, XapiOptions

POOL_ID = "5bb1d0a8-0f4d-4d4c-9d0a-7b9f6b6a1111"
HOST = "a6cc761c-d5d8-4725-8646-2071754ea0ef"
PASSWORD = "correct-horse"
SESSION = "OpaqueRef:0f0f0f0f-session"
MASTER = "OpaqueRef:master"


def ordinary(call: Call, pool_id: str = POOL_ID) -> bool:
    """Answer as a master does what a client asks first; False for all else."""
    if call.method == "session.login_with_password":
        good = call.params[:2] == ("root", PASSWORD)
        call.answer(success(SESSION) if good else failure("SESSION_AUTHENTICATION_FAILED", *call.params[:2]))
    elif call.params and call.params[0] != SESSION:
        call.answer(failure("SESSION_INVALID", str(call.params[0])))
    elif call.method == "pool.get_all_records":
        record = {"uuid": pool_id, "name_label": "pool", "master": MASTER}
        call.answer(success({"OpaqueRef:pool": record}))
    elif call.method == "host.get_by_uuid":
        call.answer(success("OpaqueRef:host-" + call.params[1]))
    elif call.method == "session.logout":
        call.answer(success(""))
    else:
        return False
    return True


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Callable[..., HostileServer]]:
    """Starts a server: ``serve(script)``; the script gets what ``ordinary`` leaves to it."""
    with ExitStack() as stack:

        def start(script: Callable[[Call], None], raw: bool = False, **options: Any) -> HostileServer:
            def whole(call: Call) -> None:
                if raw or not ordinary(call):
                    script(call)

            return stack.enter_context(HostileServer(tmp_path, whole, **options))

        yield start


@pytest.fixture
def connect() -> Iterator[Callable[..., PoolClient]]:
    """A client of servers: ``connect(server, …)``. Time limits are short only where a test makes them so."""
    with ExitStack() as stack:

        def make(*servers: HostileServer, password: str = PASSWORD, **changes: Any) -> PoolClient:
            fields = {
                "pool_id": POOL_ID,
                "name": "pool",
                "addresses": tuple(server.url for server in servers),
                "tls": TlsTrust(ca_pem="".join(server.pem for server in servers)),
            }
            limits = {"call_s": 60.0, "login_s": 30.0, "logout_s": 10.0}
            limits.update({name: changes.pop(name) for name in limits if name in changes})
            options = XapiOptions(**limits)
            record = PoolRecord(**{**fields, **changes})
            return stack.enter_context(PoolClient(record, lambda: Credentials("root", password), options))

        yield make
