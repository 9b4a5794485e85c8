"""The simulator's directory, the registry of what runs, and the settings that a second start keeps."""

import errno
from pathlib import Path

import pytest

from xentpm_lib.errors import FormatError, UsageError
from xentpm_lib.simulator import registry
from xentpm_lib.simulator.certificates import make_certificate, server_context
from xentpm_lib.simulator.directory import Access, Lock, Settings, SimulatorDirectory
from xentpm_lib.simulator.fleet import settle

ACCESS = Access("http://127.0.0.1:1", "root", "secret", "server.pem")


@pytest.fixture
def directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> SimulatorDirectory:
    (tmp_path / "run").mkdir()
    monkeypatch.setattr(registry, "BASE", tmp_path / "run")
    made = SimulatorDirectory(tmp_path / "simulator")
    made.make()
    return made


def test_settings_come_back(directory: SimulatorDirectory) -> None:
    assert directory.load_settings() is None
    settings = Settings(txt=True, hosts=("host1", "host2"))
    directory.save_settings(settings)
    assert directory.load_settings() == settings
    directory.make()
    path = directory.path / "simulator.json"
    assert path.stat().st_mode & 0o777 == 0o600
    assert directory.path.stat().st_mode & 0o777 == 0o700
    for text in ("", "[]", "{}", '{"hosts": [], "colour": 1}'):
        path.write_text(text)
        with pytest.raises(FormatError):
            directory.load_settings()


def test_passwords_differ() -> None:
    assert Settings().password != Settings().password


def test_a_directory_with_something_else(tmp_path: Path) -> None:
    (tmp_path / "letter.txt").touch()
    with pytest.raises(UsageError, match="not empty"):
        SimulatorDirectory(tmp_path).make()
    with pytest.raises(UsageError):
        SimulatorDirectory(tmp_path / "letter.txt").make()


def test_one_simulator_in_a_directory(directory: SimulatorDirectory) -> None:
    assert not directory.is_running()
    lock = Lock(directory)
    assert directory.is_running()
    with pytest.raises(UsageError, match="runs in .* already"):
        Lock(directory)
    lock.release()
    assert not directory.is_running()


def test_access(directory: SimulatorDirectory) -> None:
    with pytest.raises(UsageError, match="no simulator runs"):
        directory.load_access()
    lock = Lock(directory)
    with pytest.raises(UsageError, match="no simulator runs"):
        directory.load_access()
    directory.save_access(ACCESS)
    assert directory.load_access() == ACCESS
    assert directory.running.stat().st_mode & 0o777 == 0o600
    directory.running.write_text("{}")
    with pytest.raises(FormatError):
        directory.load_access()
    lock.release()


def test_finding_the_only_one(directory: SimulatorDirectory, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no simulator is running"):
        registry.find(None)
    entry = registry.register(directory)
    with pytest.raises(UsageError, match="no simulator is running"):
        registry.find(None)
    assert not entry.exists()  # what a killed simulator left behind
    lock = Lock(directory)
    registry.register(directory)
    assert registry.find(None).path == directory.path
    other = SimulatorDirectory(tmp_path / "other")
    other.make()
    other_lock = Lock(other)
    registry.register(other)
    with pytest.raises(UsageError, match="several simulators are running") as caught:
        registry.find(None)
    assert str(other.path) in caught.value.message and str(directory.path) in caught.value.message
    assert registry.find(other.path).path == other.path
    lock.release()
    other_lock.release()


def test_a_simulator_that_ends_meanwhile(directory: SimulatorDirectory, tmp_path: Path) -> None:
    (registry.registry_folder() / "0").symlink_to(tmp_path / "removed")  # listed, and not there to be read
    assert registry.running() == []


def test_a_registry_that_others_can_write(directory: SimulatorDirectory) -> None:
    registry.registry_folder().chmod(0o777)
    with pytest.raises(UsageError, match="only you"):
        registry.registry_folder()


def test_a_registry_that_is_a_link(directory: SimulatorDirectory, tmp_path: Path) -> None:
    folder = registry.registry_folder()
    folder.rmdir()
    folder.symlink_to(tmp_path)
    with pytest.raises(UsageError, match="only you"):
        registry.registry_folder()


def test_settle() -> None:
    settings, count = settle(None, None, True, False)
    assert (settings.txt, settings.event_log, count) == (True, False, 1)
    saved = Settings(hosts=("host1", "host2"))
    assert settle(saved, None, False, True) == (saved, 2)
    assert settle(saved, 5, False, True) == (saved, 5)
    for wishes in ((1, False, True), (2, True, True), (None, False, False)):
        with pytest.raises(UsageError):
            settle(saved, *wishes)


def test_certificate(tmp_path: Path) -> None:
    from cryptography import x509

    certificate, key = tmp_path / "c.pem", tmp_path / "c.key"
    pem = make_certificate(certificate, key, "host1")
    assert make_certificate(certificate, key, "host1") == pem
    assert key.stat().st_mode & 0o777 == 0o600
    parsed = x509.load_pem_x509_certificate(pem.encode())
    names = parsed.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.DNSName) == ["localhost"]
    assert [str(name) for name in names.get_values_for_type(x509.IPAddress)] == ["127.0.0.1"]
    server_context(certificate, key)


def test_a_directory_that_cannot_be_written_to(
    directory: SimulatorDirectory, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_arguments: object) -> int:
        raise PermissionError(errno.EACCES, "Permission denied", str(directory.path / "lock"))

    monkeypatch.setattr("os.open", refuse)
    with pytest.raises(UsageError, match="cannot write to .*: Permission denied") as caught:
        Lock(directory)
    assert "--dir" in caught.value.hint


def test_a_registry_of_another_environment(
    directory: SimulatorDirectory, monkeypatch: pytest.MonkeyPatch
) -> None:
    lock = Lock(directory)
    registry.register(directory)
    monkeypatch.setenv("XDG_RUNTIME_DIR", "/nowhere")
    monkeypatch.setenv("TMPDIR", "/nowhere")
    assert registry.find(None).path == directory.path
    lock.release()
