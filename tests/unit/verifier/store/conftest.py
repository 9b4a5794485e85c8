"""Every test of the store runs on SQLite and on a real PostgreSQL server."""

import pytest

from support.postgresql import PostgresServer
from support.stores import Station


@pytest.fixture(scope="session")
def postgresql():
    server = PostgresServer()
    yield server
    server.close()


@pytest.fixture(params=["sqlite", "postgresql"])
def store_url(request, tmp_path):
    if request.param == "sqlite":
        yield "sqlite:///{}/store.sqlite".format(tmp_path)
        return
    server = request.getfixturevalue("postgresql")
    name = server.new_database()
    yield server.url(name)
    server.drop(name)


@pytest.fixture
def station(store_url, tmp_path):
    station = Station(tmp_path, store_url)
    yield station
    station.close()
