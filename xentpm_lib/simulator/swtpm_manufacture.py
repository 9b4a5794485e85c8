"""Making software TPMs with certificates of a local CA.

swtpm's tools split some paths at commas and blanks. So they get to see only short ones: symbolic links
in a private temporary directory. Their temporary files go there, too. It is removed afterwards, by a
process of its own, so that a SIGKILL leaves nothing behind.
"""

import os
import shutil
import subprocess
from contextlib import contextmanager
from typing import Iterator, Sequence

from xentpm_lib.errors import UsageError
from xentpm_lib.simulator.os_errors import hint_for, reason_of
from xentpm_lib.simulator.socket_dir import plain_temporary_base
from xentpm_lib.simulator.swtpm_process import find_program, start_bound
from xentpm_lib.simulator.watchdog import Watchdog

__all__ = ["ISSUER_NAME", "ROOT_NAME", "STATE_FILE", "manufacture", "sign_key"]

STATE_FILE = "tpm2-00.permall"
ROOT_NAME = "root.pem"
ISSUER_NAME = "issuer.pem"
MANUFACTURE_LIMIT_S = 120.0
_ROOM = 1 << 20  # bytes; with less the disk is as good as full

_SETUP_CONFIG = """\
create_certs_tool = {localca}
create_certs_tool_config = {work}/localca.conf
create_certs_tool_options = {work}/localca.options
"""
_CA_CONFIG = """\
statedir = {work}/ca
signingkey = {work}/ca/signkey.pem
issuercert = {work}/ca/issuercert.pem
certserial = {work}/ca/certserial
"""
_CA_OPTIONS = """\
--platform-manufacturer XenTPM
--platform-version 1.0
--platform-model Simulator
"""
# swtpm_setup starts a swtpm of its own as a daemon, which nothing ends when swtpm_setup is killed. So it is
# told who swtpm_setup is, and a shell beside it looks whether that one is still there; a zombie, which its
# new parent may leave for long, is not. That shell also removes the file with swtpm's process id, which
# swtpm_setup always puts into /tmp.
_WITH_PID = 'export XENTPM_SETUP=$$; exec "$@"'
_BOUND_SWTPM = """\
lives() {{
    read -r stat <"/proc/$1/stat" || return 1
    case "$stat" in *") Z "* | *") X "*) return 1 ;; esac
}}
watch() {{
    while lives "$XENTPM_SETUP"; do sleep 0.1; done
    kill -KILL "$1"
    rm -f "$2"
}}
for word; do
    case "$word" in file=*/.swtpm_setup.pidfile.*) pidfile="${{word#file=}}" ;; esac
done
case " $* " in
    *" --ctrl "*) watch $$ "$pidfile" </dev/null >/dev/null 2>&1 3>&- 4>&- 5>&- 6>&- 7>&- 8>&- 9>&- & ;;
esac
exec {swtpm} "$@"
"""
_MADE_BY_TOOLS = {ROOT_NAME: "swtpm-localca-rootca-cert.pem", ISSUER_NAME: "issuercert.pem"}


def manufacture(state_dir: str, ca_dir: str, banks: Sequence[str]) -> None:
    """Make a TPM in ``state_dir`` (see ``Swtpm.manufacture``).

    Raises: UsageError when the tools are missing or fail, or there is a TPM already.
    """
    if os.path.exists(os.path.join(state_dir, STATE_FILE)):
        raise UsageError("there is a software TPM in {} already".format(state_dir))
    with _workplace(ca_dir, state_dir) as work:
        command = [
            "/bin/sh", "-c", _WITH_PID, "sh", find_program("swtpm_setup"), "--tpm2",
            "--tpm", _bound_swtpm(work), "--tpm-state", work + "/state",
            "--config", work + "/setup.conf", "--create-ek-cert", "--create-platform-cert",
            "--pcr-banks", ",".join(banks), "--logfile", work + "/tool.log",
        ]  # fmt: skip
        try:
            _run("swtpm_setup", command, work, state_dir)
        except UsageError:
            _remove(os.path.join(state_dir, STATE_FILE))
            raise


def _bound_swtpm(work: str) -> str:
    """Write a script that runs swtpm and return the command line that swtpm_setup takes for it."""
    script = os.path.join(work, "swtpm.sh")
    with open(script, "w") as out:
        out.write(_BOUND_SWTPM.format(swtpm=find_program("swtpm")))
    return "/bin/sh {} socket".format(script)


def sign_key(ca_dir: str, key: str) -> bytes:
    """Return the DER of an endorsement certificate for a key as ``swtpm_localca --ek`` takes it.

    Raises: UsageError when the tools are missing or fail.
    """
    with _workplace(ca_dir) as work:
        command = [
            find_program("swtpm_localca"), "--type", "ek", "--ek", key, "--dir", work, "--tpm2",
            "--tpm-spec-family", "2.0", "--tpm-spec-level", "0", "--tpm-spec-revision", "164",
            "--tpm-manufacturer", "id:00001014", "--tpm-model", "swtpm", "--tpm-version", "id:20191023",
            "--configfile", work + "/localca.conf", "--optsfile", work + "/localca.options",
            "--logfile", work + "/tool.log",
        ]  # fmt: skip
        _run("swtpm_localca", command, work, ca_dir)
        with open(os.path.join(work, "ek.cert"), "rb") as certificate:
            return certificate.read()


@contextmanager
def _workplace(ca_dir: str, state_dir: str = "") -> Iterator[str]:
    """Yield a temporary directory with the tools' configuration and the links ``ca`` and ``state``."""
    for program in ("swtpm_cert", "certtool"):
        find_program(program)
    try:
        os.makedirs(ca_dir, mode=0o700, exist_ok=True)
        if state_dir:
            os.makedirs(state_dir, mode=0o700, exist_ok=True)
        watchdog = Watchdog()
        try:
            work = watchdog.make_directory("xentpm-make-", plain_temporary_base())
            _lay_out(work, ca_dir, state_dir)
            yield work
            _name_certificates(ca_dir)
        finally:
            watchdog.close()
    except OSError as error:
        message = "cannot make a software TPM: {}".format(reason_of(error))
        raise UsageError(message, hint_for(error)) from error


def _lay_out(work: str, ca_dir: str, state_dir: str) -> None:
    os.symlink(os.path.abspath(ca_dir), os.path.join(work, "ca"))
    if state_dir:
        os.symlink(os.path.abspath(state_dir), os.path.join(work, "state"))
    texts = {"setup.conf": _SETUP_CONFIG, "localca.conf": _CA_CONFIG, "localca.options": _CA_OPTIONS}
    for name, text in texts.items():
        with open(os.path.join(work, name), "w") as out:
            out.write(text.format(work=work, localca=find_program("swtpm_localca")))


def _name_certificates(ca_dir: str) -> None:
    """Give the CA's certificates their plain names. The tools made them, one process at a time."""
    for name, made in _MADE_BY_TOOLS.items():
        try:
            os.symlink(made, os.path.join(ca_dir, name))
        except FileExistsError:
            pass


def _run(name: str, command: Sequence[str], work: str, place: str) -> None:
    """Run a tool that writes to ``place`` to its end. Raises: UsageError with the end of its log."""
    log_path = os.path.join(work, "tool.log")
    with open(os.path.join(work, "output.log"), "wb") as output:
        process = start_bound(command, work, output, environment=dict(os.environ, TMPDIR=work))
    try:
        status = process.wait(MANUFACTURE_LIMIT_S)
    except subprocess.TimeoutExpired:
        status = -1
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()
    if status != 0:
        said = _tail(log_path) or _tail(os.path.join(work, "output.log")) or "it said nothing"
        raise UsageError("{} failed ({}): {}".format(name, status, said), _advice(work, place))


def _advice(*directories: str) -> str:
    """Return what can be done about a tool that failed: look at what it writes to."""
    for directory in directories:
        if not os.access(directory, os.W_OK):
            return "make {} writable".format(directory)
        if shutil.disk_usage(directory).free < _ROOM:
            return "the disk that {} is on is full: make room".format(directory)
    return "see that swtpm, swtpm-tools and gnutls-bin are of one release, and install them again"


def _tail(path: str) -> str:
    try:
        with open(path, "rb") as log:
            return log.read()[-400:].decode("utf-8", "replace").strip()
    except OSError:
        return ""


def _remove(path: str) -> None:
    try:
        os.unlink(path)
    except OSError:
        pass
