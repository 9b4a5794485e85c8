"""A pool of simulated hosts in a process of its own, for tests: real TPMs, the real plugin, XAPI over TLS.

    with running_pool(hosts=2) as pool:
        pool.url, pool.username, pool.password, pool.certificate
        pool.edit("host1", "initrd")
        pool.reboot("host1")

or, in a conftest.py, ``from support.pool import sim_pool`` for a pool of two hosts that all tests of a
module share, and ``new_pool`` for a function that starts one for a single test. The pool ends with the
test, and with the test run even if that is killed.
"""

import json
import os
import subprocess
import sys
import tempfile
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, Callable, Dict, Iterator, List, NamedTuple, Optional

import pytest
import XenAPI

from support import fake_machine

__all__ = ["SimHost", "SimPool", "new_pool", "running_pool", "sim_pool"]

ROOT = Path(__file__).resolve().parents[2]
PROGRAM = [sys.executable, fake_machine.__file__]  # as xentpm-sim, but known to nobody else on this machine
_LIMIT_S = 200


class SimHost(NamedTuple):
    """A host as ``up --json`` tells of it. ``dir``: ``dir/root`` is its ``/``, ``dir/tpm`` its TPM."""

    url: str
    uuid: str
    ref: str
    name: str
    dir: Path
    tcti: str


class SimPool:
    """A pool that runs.

    url: of the first host, the master. certificate: PEM file with that host's certificate.
    certificates: those of all hosts; each answers at an address of its own, ``host.url``.
    """

    def __init__(self, process: "subprocess.Popen[str]", ready: Dict[str, Any], env: Dict[str, str]) -> None:
        self.process = process
        self.ready = ready
        self.environment = env
        self.url: str = ready["url"]
        self.username: str = ready["username"]
        self.password: str = ready["password"]
        self.certificate = Path(ready["certificate"])
        self.certificates = Path(ready["certificates"])
        fields = SimHost._fields
        self.hosts: List[SimHost] = [
            SimHost(**{**{name: host[name] for name in fields}, "dir": Path(host["dir"])})
            for host in ready["hosts"]
        ]

    @property
    def directory(self) -> Path:
        """The simulator's directory; ``simulator.log`` is in it."""
        return self.certificate.parent

    @property
    def ek_ca(self) -> List[Path]:
        """PEM files: the root and the issuer of the TPMs' certificates."""
        return [self.directory / "ca/root.pem", self.directory / "ca/issuer.pem"]

    def host(self, name: str) -> SimHost:
        """The host of a name or uuid."""
        return next(host for host in self.hosts if name in (host.name, host.uuid))

    def session(self, url: str = "") -> Any:
        """A new session of the plain client, which trusts anybody; log out with ``.xenapi.logout()``."""
        session = XenAPI.Session(url or self.url, ignore_ssl=True)
        session.xenapi.login_with_password(self.username, self.password, "1.0", "tests")
        return session

    def sim(self, *words: str) -> str:
        """Run ``xentpm-sim`` with these words; returns its output."""
        ended = subprocess.run(
            [*PROGRAM, *words],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            universal_newlines=True,
            env=self.environment,
            timeout=_LIMIT_S,
        )
        assert ended.returncode == 0, ended.stderr
        return ended.stdout

    def edit(self, name: str, component: str, append: str = "", content: str = "") -> None:
        """Change what stands for a component; the next boot measures it."""
        self._call("host_edit", name, component, append, content)

    def reboot(self, name: str) -> None:
        """Press the reset button; returns when the host is up again."""
        self._call("host_reboot", name)

    def power_off(self, name: str) -> None:
        """Switch a host off."""
        self._call("host_power_off", name)

    def power_on(self, name: str) -> None:
        """Switch a host on; returns when it is up."""
        self._call("host_power_on", name)

    def replace_tpm(self, name: str) -> None:
        """Put another TPM in; a host that runs is rebooted."""
        self._call("host_replace_tpm", name)

    def promote(self, name: str) -> None:
        """Make a host the master, as pool-emergency-transition-to-master; all sessions end."""
        self._call("host_promote", name)

    def call_plugin(self, name: str, function: str, **args: str) -> str:
        """Call a function of a host's plugin ``tpm``."""
        with self._api() as api:
            return str(api.host.call_plugin(self.host(name).ref, "tpm", function, args))

    def messages(self) -> List[Dict[str, Any]]:
        """The pool's messages."""
        with self._api() as api:
            return list(api.message.get_all_records().values())

    def record(self, name: str) -> Dict[str, Any]:
        """A host's record."""
        with self._api() as api:
            return dict(api.host.get_record(self.host(name).ref))

    def _call(self, method: str, name: str, *params: str) -> None:
        with self._api() as api:
            getattr(api.simulator, method)(self.host(name).ref, *params)

    @contextmanager
    def _api(self) -> Iterator[Any]:
        session = self.session(self.ready["control"])
        try:
            yield session.xenapi
        finally:
            session.xenapi.session.logout()


@contextmanager
def running_pool(hosts: int = 1, *options: str, directory: Optional[Path] = None) -> Iterator[SimPool]:
    """A pool with so many hosts. options: further words for ``xentpm-sim up``, as ``--txt``."""
    with ExitStack() as stack:
        place = stack.enter_context(tempfile.TemporaryDirectory(prefix="xp-"))
        env = dict(os.environ, PYTHONPATH=f"{ROOT}:{ROOT / 'tests'}", TMPDIR=place, REAL_MACHINES="1")
        log = stack.enter_context(open(os.path.join(place, "stderr"), "w+", encoding="utf-8"))
        words = ["up", "--json", "--until-eof", "--hosts", str(hosts), *options]
        if directory is not None:
            words += ["--dir", str(directory)]
        process = subprocess.Popen(
            [*PROGRAM, *words],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
            universal_newlines=True,
            env=env,
        )
        stack.callback(_end, process)
        assert process.stdout is not None
        line = process.stdout.readline()
        if not line:
            log.seek(0)
            raise AssertionError(f"the simulator does not start: {log.read()}")
        yield SimPool(process, json.loads(line), env)


def _end(process: "subprocess.Popen[str]") -> None:
    try:
        process.communicate(timeout=_LIMIT_S)  # its stdin ends, and so does the pool
    except subprocess.TimeoutExpired:
        process.kill()
        process.communicate()


@pytest.fixture(scope="module")
def sim_pool() -> Iterator[SimPool]:
    """A pool of two hosts for a module's tests; who breaks something mends it."""
    with running_pool(2) as pool:
        yield pool


@pytest.fixture
def new_pool() -> Iterator[Callable[..., SimPool]]:
    """Starts a pool for this test only: ``new_pool(hosts, *options)``."""
    with ExitStack() as stack:
        yield lambda *args, **kwargs: stack.enter_context(running_pool(*args, **kwargs))
