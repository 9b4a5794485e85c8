"""The demo's client of its pool."""

from __future__ import annotations

import time
from pathlib import Path

import XenAPI

from xentpm_lib.simulator.certificates import make_certificate, server_context
from xentpm_lib.simulator.demo.pool import _trusting
from xentpm_lib.simulator.server import Endpoint


class _Api:
    live = True

    def call(self, _name: str, _params: object) -> str:
        return "an answer"


def test_a_pool_that_was_asked_nothing_for_long(tmp_path: Path) -> None:
    """Its server has closed the connection by then, as a real one does."""
    certificate, key = tmp_path / "certificate.pem", tmp_path / "key.pem"
    make_certificate(certificate, key, "pool", "127.0.0.1")
    endpoint = Endpoint(server_context(certificate, key), idle_timeout_s=0.1)
    endpoint.start(_Api())
    try:
        api = XenAPI.Session(endpoint.urls[0], transport=_trusting(str(certificate)))
        api.xenapi.login_with_password("root", "password", "1.0", "tests")
        time.sleep(0.5)
        assert api.xenapi.host.get_all() == "an answer"
    finally:
        endpoint.stop()
