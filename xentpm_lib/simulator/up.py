"""``xentpm-sim up``: a pool in the foreground, from its start to the last thing cleaned up."""

from __future__ import annotations

import json
import logging
import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from xentpm_lib.errors import UsageError, XenTpmError
from xentpm_lib.simulator import registry
from xentpm_lib.simulator.addresses import Addresses, address_of
from xentpm_lib.simulator.directory import Access, Lock, Settings, SimulatorDirectory
from xentpm_lib.simulator.ending import Ended, Ending
from xentpm_lib.simulator.fleet import Check, Factory, power_on_all, prepare, settle
from xentpm_lib.simulator.invocation import command
from xentpm_lib.simulator.os_errors import reason_of
from xentpm_lib.simulator.watchdog import Watchdog
from xentpm_lib.simulator.xapi.hosts import Host
from xentpm_lib.simulator.xapi.machine import Machine
from xentpm_lib.simulator.xapi.service import Xapi
from xentpm_lib.simulator.xapi.store import Store

__all__ = ["Options", "Pool", "running_pool", "up"]

_LOG = logging.getLogger(__name__)


@dataclass(frozen=True)
class Options:
    """What the command line asks for. ``directory`` None: a private one, removed at the end."""

    hosts: int | None = None
    txt: bool = False
    event_log: bool = True
    plain_http: bool = False
    port: int = 0
    directory: Path | None = None
    json: bool = False
    until_eof: bool = False


@dataclass(frozen=True)
class Pool:
    """A pool that answers. access: by its master. control: how ``xentpm-sim`` reaches it."""

    access: Access
    control: Access
    certificates: Path
    hosts: list[Host]
    addresses: Addresses

    def as_json(self) -> str:
        """The line for programs."""
        hosts = [
            {
                "url": self.addresses.url(host),
                "uuid": host.machine.uuid,
                "ref": host.ref,
                "name": host.machine.name,
                "dir": str(host.machine.directory),
                "tcti": host.machine.tcti,
            }
            for host in self.hosts
        ]
        access = self.access
        return json.dumps(
            {
                "url": access.url,
                "username": access.username,
                "password": access.password,
                "certificate": access.certificate,
                "certificates": str(self.certificates),
                "control": self.control.url,
                "hosts": hosts,
            }
        )


def up(options: Options, factory: Factory) -> int:
    """Run a pool until SIGINT, SIGTERM or SIGHUP, or until stdin ends where that is asked for.

    Returns the exit status. Raises: XenTpmError.
    """
    ending = Ending(options.until_eof)
    ending.install()
    try:
        with suppress(Ended), running_pool(options, factory, ending.check) as pool:
            _announce(pool, options)
            ending.wait()
        _report("stopped")
    finally:
        ending.close()
    return 0


def _announce(pool: Pool, options: Options) -> None:
    text = pool.as_json() if options.json else _for_people(pool, options.directory)
    with suppress(BrokenPipeError):
        print(text, flush=True)


def _report(text: str) -> None:
    with suppress(OSError):
        print(text, file=sys.stderr, flush=True)


@contextmanager
def running_pool(options: Options, factory: Factory, check: Check) -> Iterator[Pool]:
    """A pool that answers until the block ends. Raises: XenTpmError; what ``check`` raises, called often."""
    with ExitStack() as stack:
        watchdog = Watchdog()
        stack.callback(watchdog.close)  # the last thing to happen
        directory = _open_directory(options, watchdog, stack)
        addresses = Addresses(directory, options.plain_http, options.port)
        stack.callback(addresses.stop)  # where the start fails
        check()
        settings, machines = _machines(directory, options, factory, stack, check)
        hosts, xapi = _service(directory, settings, machines, watchdog, addresses)
        check()
        stack.callback(addresses.stop)  # before the machines are switched off
        addresses.start(xapi, hosts)
        yield _published(directory, settings, addresses, xapi, stack)


def _open_directory(options: Options, watchdog: Watchdog, stack: ExitStack) -> SimulatorDirectory:
    """The directory, locked; a private one is removed at the end, by the watchdog if need be."""
    if options.directory is None:
        path = _private_directory(watchdog)
    else:
        path = options.directory.absolute()
    directory = SimulatorDirectory(path)
    directory.make()
    stack.callback(Lock(directory).release)
    stack.enter_context(_logging_to(directory.log))
    return directory


def _private_directory(watchdog: Watchdog) -> Path:
    try:
        return Path(watchdog.make_directory("xentpm-sim-", tempfile.gettempdir()))
    except OSError as error:
        hint = "set TMPDIR to a directory that you can write to, or name one with --dir"
        raise UsageError(f"no place for the hosts: {reason_of(error)}", hint) from error


@contextmanager
def _logging_to(path: Path) -> Iterator[None]:
    """The simulator's log: calls and faults, never arguments."""
    os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600))
    handler = logging.FileHandler(path, encoding="utf-8")
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    logger = logging.getLogger("xentpm_lib")
    level, logger.propagate = logger.level, False
    logger.setLevel(logging.INFO)
    logger.addHandler(handler)
    try:
        yield
    finally:
        logger.removeHandler(handler)
        logger.setLevel(level)
        logger.propagate = True
        handler.close()


def _machines(
    directory: SimulatorDirectory, options: Options, factory: Factory, stack: ExitStack, check: Check
) -> tuple[Settings, list[Machine]]:
    """The machines, booted; they are switched off at the end."""
    saved = directory.load_settings()
    settings, count = settle(saved, options.hosts, options.txt, options.event_log)
    directory.save_settings(settings)
    machines = prepare(directory, settings, count, factory, _report, check)
    stack.callback(_power_off, machines)
    power_on_all(machines, _report, check)
    return settings, machines


def _service(
    directory: SimulatorDirectory,
    settings: Settings,
    machines: list[Machine],
    watchdog: Watchdog,
    addresses: Addresses,
) -> tuple[list[Host], Xapi]:
    store = Store(directory.database)
    hosts = []
    for number, machine in enumerate(machines, 1):
        certificate = addresses.certificate(machine, number)
        hosts.append(Host(machine, address_of(number), certificate, store.host(machine.uuid)))
    store.save()
    for warning in filter(None, (host.boot_warning() for host in hosts)):
        _report(f"warning: {warning}")
    return hosts, Xapi(hosts, store, settings.username, settings.password, watch=watchdog)


def _published(
    directory: SimulatorDirectory, settings: Settings, addresses: Addresses, xapi: Xapi, stack: ExitStack
) -> Pool:
    """The pool, that other terminals find now."""
    hosts, user = xapi.hosts, (settings.username, settings.password)
    trusted = directory.certificate if hosts.master is hosts.all()[0] else directory.certificates
    access = Access(addresses.url(hosts.master), *user, str(trusted))
    control = Access(addresses.control, *user, str(directory.certificate))
    _publish(directory, control, stack)
    return Pool(access, control, directory.certificates, hosts.all(), addresses)


def _publish(directory: SimulatorDirectory, access: Access, stack: ExitStack) -> None:
    """Let other terminals find the pool. What a SIGKILL leaves of this is known by the free lock."""
    directory.save_access(access)
    stack.callback(directory.running.unlink, missing_ok=True)
    try:
        stack.callback(registry.register(directory).unlink, missing_ok=True)
    except (UsageError, OSError) as error:
        _report(f"warning: other terminals find this pool with --dir {directory.path} only: {error}")


def _power_off(machines: list[Machine]) -> None:
    for machine in machines:
        try:
            if machine.powered:
                machine.power_off()
        except (XenTpmError, OSError):
            _LOG.exception("%s: power off", machine.name)


def _examples(pool: Pool, given: Path | None) -> Iterator[str]:
    """Commands to try, with the directory where it has to be said."""
    first, place = pool.hosts[0].machine, Path(pool.access.certificate).parent
    said = ["--dir", str(place)] if given is not None or not _alone(place) else []
    plugin = ["plugin=tpm", "fn=tpm_get_status"]
    yield command("xe", *said, "host-list")
    yield command("xe", *said, "host-call-plugin", f"host-uuid={first.uuid}", *plugin)
    yield command("host", "run", *said, first.name, "xentpm", "--status")
    yield command("host", "edit", *said, first.name, "initrd")
    yield command("host", "reboot", *said, first.name)


def _alone(place: Path) -> bool:
    """Whether this simulator is the only one to be found."""
    try:
        return [directory.path for directory in registry.running()] == [place]
    except (UsageError, OSError):
        return False


def _for_people(pool: Pool, given: Path | None) -> str:
    """What a person needs to begin."""
    access = pool.access
    examples = "\n".join(f"  {line}" for line in _examples(pool, given))
    hosts = "\n".join(f"  {host.machine.name:<12} {host.machine.uuid}" for host in pool.hosts)
    return f"""
A pool of simulated hosts is up.

  URL          {access.url}
  user         {access.username}
  password     {access.password}
  certificate  {access.certificate}
{hosts}

Try, in another terminal:

{examples}

Ctrl-C ends it.
"""
