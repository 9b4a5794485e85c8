"""A dom0 on disk with a real software TPM, and the real plugin process started as XAPI starts it."""

import hashlib
import os
import subprocess
import sys
from typing import Any, List, Optional, Tuple
from xml.sax.saxutils import escape
from xmlrpc import client

from support.tpm_proxy import TpmProxy
from xentpm_lib.host.host import Host
from xentpm_lib.host.paths import Paths
from xentpm_lib.simulator.swtpm import Swtpm

REPOSITORY = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
HOST_UUID = "2c6f1a52-6b0e-4d5c-9b0a-6f2a5d3c9e01"
SYSTEM_UUID = "4c4c4544-0037-5210-8052-b4c04f4d3532"
PASSWORD = hashlib.sha1(b"xenroot").hexdigest()
NONCE = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="
LIMIT_S = 300
"""For a call that takes a second or less where nothing else goes on."""
ENVIRONMENT = {"PATH": "/sbin:/usr/sbin:/bin:/usr/bin"}
FOLDERS = (
    "etc/xapi.d/plugins",
    "opt/xensource/tpm/lib",
    "proc",
    "run",
    "sys/class/dmi/id",
    "sys/firmware/efi/efivars",
    "sys/kernel/security/tpm0",
    "var/lib",
)


class PluginFailed(Exception):
    """The ``ErrorDescription`` of a plugin's failure."""

    def __init__(self, description: List[str]) -> None:
        super().__init__(description)
        self.code, self.description = description[0], description


class Dom0:
    """A dom0 below ``root``, its TPM's state in ``tpm_state`` (None: a dom0 without a TPM)."""

    def __init__(self, root: str, tpm_state: Optional[str], python: str = sys.executable) -> None:
        self.root, self.python = root, python
        self.paths = Paths(root, os.path.join(root, "opt/xensource/tpm/config"))
        self.tpm = None if tpm_state is None else Swtpm(tpm_state)
        self._settings = {"password": PASSWORD}
        for folder in FOLDERS:
            os.makedirs(os.path.join(root, folder))
        self._install()
        self.write(
            "etc/xensource-inventory", "PRODUCT_BRAND='XenServer'\nINSTALLATION_UUID='{}'\n".format(HOST_UUID)
        )
        self.write("sys/class/dmi/id/product_uuid", SYSTEM_UUID.upper() + "\n")
        self.write("proc/cpuinfo", "processor\t: 0\nflags\t\t: fpu aes smx\n")
        self.configure(tcti="device:/dev/absent" if self.tpm is None else self.tpm.tcti)

    @property
    def plugin(self) -> str:
        """The plugin's path."""
        return os.path.join(self.root, "etc/xapi.d/plugins/tpm")

    def host(self) -> Host:
        """This dom0 as the code under test sees it, for tests that need no process."""
        return Host(self.paths)

    def configure(self, **settings: Optional[str]) -> None:
        """Write the configuration with these settings changed; None takes a line out."""
        self._settings.update({key: value for key, value in settings.items() if value is not None})
        for key in [key for key, value in settings.items() if value is None]:
            self._settings.pop(key, None)
        self.write_config("".join("{}={}\n".format(*item) for item in sorted(self._settings.items())))

    def write_config(self, text: str, mode: int = 0o600) -> None:
        """Write the configuration as it is given."""
        self.write("opt/xensource/tpm/config", text)
        os.chmod(self.paths.config, mode)

    def write(self, relative: str, text: str) -> None:
        """Write a file below the root."""
        with open(os.path.join(self.root, relative), "w") as file:
            file.write(text)

    def proxy(self) -> TpmProxy:
        """Put a `TpmProxy` between this dom0 and its TPM; the caller closes it."""
        assert self.tpm is not None
        target = self.tpm.tcti.partition("path=")[2]
        proxy = TpmProxy(target + ".proxy", target)
        self.configure(tcti=proxy.tcti)
        return proxy

    def call(self, function: str, **arguments: str) -> str:
        """Call the plugin in a process of its own. Raises: PluginFailed."""
        return outcome(*self.start(function, **arguments).communicate())

    def start(self, function: str, **arguments: str) -> "PluginProcess":
        """Start the plugin as XAPI does: one argument, nothing but PATH, a stdin that cannot be read."""
        return PluginProcess([self.plugin, method_call(function, arguments)])

    def cli(self, *options: str) -> Tuple[int, str, str]:
        """Run the command line: exit status, stdout, stderr."""
        command = [self.python, "-m", "xentpm_lib.host.cli", "--config", self.paths.config]
        process = subprocess.Popen(
            command + list(options),
            cwd=REPOSITORY,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            universal_newlines=True,
        )
        out, err = process.communicate(timeout=LIMIT_S)
        return process.returncode, out, err

    def _install(self) -> None:
        with open(os.path.join(REPOSITORY, "plugins/tpm")) as file:
            body = file.read().split("\n", 1)[1]
        self.write("etc/xapi.d/plugins/tpm", "#!{} -I\n{}".format(self.python, body))
        os.chmod(self.plugin, 0o755)
        library = os.path.join(self.root, "opt/xensource/tpm/lib/xentpm_lib")
        os.symlink(os.path.join(REPOSITORY, "xentpm_lib"), library)


class PluginProcess(subprocess.Popen):  # type: ignore[type-arg]
    """A running plugin."""

    def __init__(self, command: List[str]) -> None:
        stdin = os.open("/dev/null", os.O_WRONLY)
        try:
            super().__init__(
                [_utf8(word) for word in command],
                cwd="/",
                env=ENVIRONMENT,
                stdin=stdin,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                start_new_session=True,
                restore_signals=False,
            )
        finally:
            os.close(stdin)

    def communicate(self, input: Any = None, timeout: Optional[float] = LIMIT_S) -> Any:
        """stdout, stderr and the exit status."""
        out, err = super().communicate(input, timeout)
        return out, err, self.returncode


def _utf8(word: Any) -> Any:
    """An argument as XAPI gives it, whatever the locale is; bytes as they are."""
    return word.encode("utf-8", "surrogateescape") if isinstance(word, str) else word


def method_call(function: str, arguments: Any) -> str:
    """The XML as XAPI writes it."""
    members = "".join(
        "<member><name>{}</name>{}</member>".format(
            escape(name), "<value>{}</value>".format(escape(value)) if value else "<value/>"
        )
        for name, value in arguments.items()
    )
    return (
        "<?xml version='1.0'?><methodCall><methodName>{}</methodName><params>"
        "<param><value>OpaqueRef:secret</value></param><param><value><struct>{}</struct></value></param></params></methodCall>"
    ).format(escape(function), members)


def outcome(out: bytes, err: bytes, status: int) -> str:
    """What XAPI makes of a plugin's output. Raises: PluginFailed."""
    assert status == 0, (status, out, err)
    ((result,), _) = client.loads(out.decode("utf-8"))
    if result["Status"] == "Failure":
        raise PluginFailed(result["ErrorDescription"])
    assert result["Status"] == "Success"
    assert isinstance(result["Value"], str)
    return result["Value"]
