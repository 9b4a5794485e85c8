"""Credentials: the password comes back, and whoever has the database has nothing."""

import os
from contextlib import suppress
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from support.stores import make_evidence, make_result
from xentpm_lib.errors import UsageError
from xentpm_lib.verifier.ledger_bodies import note
from xentpm_lib.verifier.secret import Secret, SecretRef
from xentpm_lib.verifier.store import Recorded, StoredCredentials

PASSWORD = "correct horse battery staple"


def test_a_kept_password(station):
    store = station.open()
    assert store.get_credentials("p-1") is None
    store.put_credentials("p-1", StoredCredentials("root", Secret("old")))
    store.put_credentials("p-1", StoredCredentials("röot", Secret("pass wörd\n")))
    found = station.open().get_credentials("p-1")
    assert found.username == "röot"
    assert found.password().reveal() == "pass wörd\n"
    store.drop_credentials("p-1")
    assert store.get_credentials("p-1") is None


def test_a_password_that_is_elsewhere(station, tmp_path, monkeypatch):
    store = station.open()
    path = tmp_path / "password"
    path.write_text("from file\n")
    path.chmod(0o600)
    monkeypatch.setenv("POOL_PASSWORD", "from environment")
    store.put_credentials("p-1", StoredCredentials("root", SecretRef(file=str(path))))
    store.put_credentials("p-2", StoredCredentials("root", SecretRef(env="POOL_PASSWORD")))
    assert store.get_credentials("p-1").password().reveal() == "from file"
    assert store.get_credentials("p-2").password().reveal() == "from environment"
    path.write_text("changed")
    assert store.get_credentials("p-1").password().reveal() == "changed"


def test_nothing_shows_a_password(station):
    store = station.open()
    given = StoredCredentials("root", Secret(PASSWORD))
    store.put_credentials("p-1", given)
    for shown in (repr(given), repr(store.get_credentials("p-1")), str(store.get_credentials("p-1"))):
        assert PASSWORD not in shown
    for bad in ("", "x" * 4097):
        with pytest.raises(UsageError) as caught:
            store.put_credentials("p-1", StoredCredentials("root", Secret(bad)))
        assert "xxx" not in str(caught.value)


def test_a_stolen_database_has_no_secret(station, request):
    """Neither password nor keys, in no encoding, in none of its files; not even the password's length."""
    store = station.open()
    for number, password in enumerate((PASSWORD, "short")):
        store.put_credentials("p-{}".format(number), StoredCredentials("root", Secret(password)))
    store.append(*note("p-1", "password changed"), who="jo")
    store.record([Recorded(make_result(), make_evidence()[1])])
    sizes = station.by_hand("SELECT LENGTH(value) FROM credentials")
    assert sizes[0] == sizes[1]
    stolen = files_of(station, request)
    assert b"password changed" in stolen
    master = open(os.path.join(station.keys.directory, "master.key")).read().strip()
    keys = (bytes.fromhex(master), station.keys.ledger_key, station.keys.credential_key)
    for secret in (PASSWORD.encode(), master.encode(), *keys):
        for spelled in (secret, secret.hex().encode(), secret.hex().upper().encode()):
            assert spelled not in stolen


def files_of(station, request):
    """All bytes of the database, its log and its indices."""
    if station.kind == "sqlite":
        return b"".join(
            path.read_bytes() for path in request.getfixturevalue("tmp_path").glob("store.sqlite*")
        )
    server = request.getfixturevalue("postgresql")
    server.run("psql", "-qc", "CHECKPOINT")
    query = "SELECT oid FROM pg_database WHERE datname = '{}'".format(urlsplit(station.url).path[1:])
    number = server.run("psql", "-qAtc", query).strip()
    stolen = []
    for folder, folders, names in os.walk(server.data):
        if folder == os.path.join(server.data, "base"):
            assert number in folders
            folders[:] = [number]  # the others are those of other tests
        for name in names:
            with suppress(FileNotFoundError):  # the server makes and removes files of its own
                stolen.append(Path(folder, name).read_bytes())
    return b"".join(stolen)
