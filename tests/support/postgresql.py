"""A real PostgreSQL server for tests: private, on loopback and a Unix socket, gone when the tests are.

The server refuses to run as root, so it gets an unprivileged user then. A SIGKILL of the tests ends it too:
the kernel tells it that its parent died, and a watchdog removes its directory.
"""

import contextlib
import os
import secrets
import shutil
import signal
import socket
import subprocess
import time
from glob import glob

from xentpm_lib.simulator.socket_dir import plain_temporary_base
from xentpm_lib.simulator.watchdog import Watchdog

PASSWORD = secrets.token_hex(8)
USER = "xentpm"
ROOM_IN_MEMORY = 2 << 30  # bytes
START_S = 60  # seconds that a server may take to start on a busy machine
_SETTINGS = {
    "listen_addresses": "127.0.0.1,127.0.0.2",  # the second is far away as far as the store knows
    "ssl": "on",
    "fsync": "off",  # nobody pulls the plug in a test
    "max_connections": "40",
    "shared_buffers": "16MB",
    "dynamic_shared_memory_type": "mmap",
    "log_destination": "stderr",
    "autovacuum": "off",
}


def programs():
    """The folder of the newest server's programs."""
    found = sorted(glob("/usr/lib/postgresql/*/bin/postgres"), key=lambda path: float(path.split("/")[4]))
    path = found[-1] if found else shutil.which("postgres")
    assert path, "there is no PostgreSQL server: make test installs it"
    return os.path.dirname(path)


class PostgresServer:
    """One server, and new databases in it."""

    def __init__(self):
        self._watchdog = Watchdog()
        # Not in pytest's own folder, nor in one of root's own: only its user may enter that.
        self.folder = self._watchdog.make_directory("xentpm-pg-", _base())
        self.data = os.path.join(self.folder, "data")
        self.certificate = os.path.join(self.data, "server.crt")
        self.log = os.path.join(self.folder, "log")
        self.port = _free_port()
        self.process = None
        self._databases = 0
        try:
            self._make()
            self.start()
        except BaseException:
            self.close()
            raise

    def url(self, database="postgres", password=PASSWORD):
        """The URL of a database by TCP."""
        return "postgresql+pg8000://{}:{}@127.0.0.1:{}/{}".format(USER, password, self.port, database)

    def socket_url(self, database="postgres"):
        """The URL of a database by Unix socket, which needs no password."""
        path = os.path.join(self.folder, ".s.PGSQL.{}".format(self.port))
        return "postgresql+pg8000://{}@/{}?unix_sock={}".format(USER, database, path)

    def new_database(self):
        """The name of a new and empty database."""
        self._databases += 1
        name = "test{}".format(self._databases)
        self.run("psql", "-qc", "CREATE DATABASE {}".format(name))
        return name

    def drop(self, name):
        """Remove a database: hundreds of them would take minutes to remove at the end."""
        self.run("psql", "-qc", "DROP DATABASE {} WITH (FORCE)".format(name))

    def run(self, program, *arguments):
        """What one of PostgreSQL's own programs prints."""
        environment = {"PGHOST": self.folder, "PGPORT": str(self.port), "PGUSER": USER, "LC_ALL": "C"}
        environment.update(PGDATABASE="postgres", PATH=os.environ["PATH"])
        command = [os.path.join(programs(), program), *arguments]
        return subprocess.run(command, env=environment, check=True, stdout=subprocess.PIPE, text=True).stdout

    def start(self):
        """Start it; returns when it answers."""
        settings = dict(_SETTINGS, port=str(self.port), unix_socket_directories=self.folder)
        options = [each for name, value in settings.items() for each in ("-c", name + "=" + value)]
        with open(self.log, "ab") as log:
            self.process = self._popen("postgres", ["-D", self.data, *options], stdout=log, stderr=log)
        end = time.monotonic() + START_S
        while not self._answers():
            assert self.process.poll() is None and time.monotonic() < end, self._last_words()
            time.sleep(0.05)

    def stop(self, number=signal.SIGINT):
        """End it: SIGINT cuts all connections, SIGQUIT is a crash."""
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(number)
            self.process.wait(START_S)

    def close(self):
        """End it and remove all of it."""
        self.stop(signal.SIGQUIT)
        self._watchdog.close()

    def _make(self):
        if os.geteuid() == 0:
            shutil.chown(self.folder, _unprivileged_user())
        secret = os.path.join(self.folder, "password")
        with open(secret, "w") as file:
            file.write(PASSWORD)
        os.chmod(secret, 0o644)
        arguments = ["--pgdata", self.data, "--username", USER, "--pwfile", secret, "--encoding", "UTF8"]
        arguments += ["--locale", "C", "--auth-host", "scram-sha-256", "--auth-local", "trust", "--no-sync"]
        process = self._popen("initdb", arguments, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        said = process.communicate(timeout=120)[0].decode()
        assert process.returncode == 0, said
        self._make_certificate()

    def _make_certificate(self):
        names = "subjectAltName=IP:127.0.0.1,IP:127.0.0.2"
        arguments = ["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]
        arguments += ["-subj", "/CN=test", "-addext", names, "-days", "2"]
        arguments += ["-keyout", os.path.join(self.data, "server.key"), "-out", self.certificate]
        process = self._popen(shutil.which("openssl"), arguments, stderr=subprocess.DEVNULL)
        assert process.wait(60) == 0

    def _popen(self, program, arguments, **options):
        prefix = ["setpriv", "--pdeathsig", "QUIT"]
        if os.geteuid() == 0:
            user = _unprivileged_user()
            prefix += ["--reuid", user, "--regid", user if user != "nobody" else "nogroup", "--clear-groups"]
        command = [*prefix, os.path.join(programs(), program), *arguments]
        environment = {"PATH": os.environ["PATH"], "LC_ALL": "C"}
        return subprocess.Popen(
            command, cwd="/", env=environment, stdin=subprocess.DEVNULL, start_new_session=True, **options
        )

    def _answers(self):
        try:
            self.run("pg_isready", "-q")
        except subprocess.CalledProcessError:
            return False
        return True

    def _last_words(self):
        with open(self.log, errors="replace") as file:
            return "PostgreSQL did not start:\n" + file.read()[-2000:]


def _base():
    """In memory where there is room: a database is three hundred files."""
    memory = "/dev/shm"
    if os.access(memory, os.W_OK | os.X_OK) and shutil.disk_usage(memory).free > ROOM_IN_MEMORY:
        return memory
    return "/tmp" if os.geteuid() == 0 else plain_temporary_base()


def _unprivileged_user():
    """Debian's package makes the user postgres; nobody is everywhere."""
    import pwd

    names = {entry.pw_name for entry in pwd.getpwall()}
    return "postgres" if "postgres" in names else "nobody"


def _free_port():
    """A port that nobody takes while the server is down: the kernel gives it to no connection."""
    with open("/proc/sys/net/ipv4/ip_local_port_range") as file:
        first = int(file.read().split()[0])
    while True:
        port = 10_000 + secrets.randbelow(first - 10_000) if first > 20_000 else 0
        with socket.socket() as one, contextlib.suppress(OSError):
            one.bind(("127.0.0.1", port))
            return one.getsockname()[1]
