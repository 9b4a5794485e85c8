"""The station's directory and configuration: made safely, checked to the last key, without a secret in it."""

from __future__ import annotations

import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from xentpm_lib.errors import UsageError
from xentpm_lib.verifier.errors import StoreError
from xentpm_lib.verifier.notify.config import ChannelKind
from xentpm_lib.verifier.result import State
from xentpm_lib.verifier.secret import Secret, SecretRef
from xentpm_lib.verifier.station import Station, default_home
from xentpm_lib.verifier.station_config import DEFAULT_TEXT, load_config, parse_config


def _mode(path):
    return stat.S_IMODE(path.stat().st_mode)


class TestDirectory:
    """init and open."""

    def test_a_new_station_is_only_its_users(self, tmp_path):
        home = tmp_path / "a/station"
        with Station.init(home) as station:
            assert station.registry.hosts() == ()
            assert [channel.name for channel in station.channels] == ["messages", "marks"]
        assert _mode(home) == 0o700
        found = {path.name: _mode(path) for path in home.iterdir()}
        assert found.pop("keys") == 0o700
        assert set(found.values()) == {0o600}
        assert {"station.toml", "store.sqlite"} <= set(found)

    def test_init_keeps_what_is_there(self, tmp_path):
        Station.init(tmp_path / "s").close()
        (tmp_path / "s/station.toml").write_text("version = 1\n")
        before = (tmp_path / "s/keys/master.key").read_bytes()
        with Station.init(tmp_path / "s") as station:
            assert station.channels == ()
        assert (tmp_path / "s/keys/master.key").read_bytes() == before

    def test_two_that_start_at_once_make_one_station(self, tmp_path):
        with ThreadPoolExecutor(4) as threads:
            made = list(threads.map(lambda _: Station.init(tmp_path / "s"), range(4)))
        assert len({station.keys.ledger_key for station in made}) == 1
        for station in made:
            station.close()

    def test_without_a_station_it_says_how_to_make_one(self, tmp_path):
        with pytest.raises(UsageError) as failure:
            Station.open(tmp_path)
        assert "xentpm-attest init" in failure.value.hint

    def test_lost_keys_are_to_be_restored_and_not_made_anew(self, tmp_path):
        home = tmp_path / "s"
        Station.init(home).close()
        (home / "keys").rename(tmp_path / "backup")
        for begin in (Station.open, Station.init, Station.open):
            with pytest.raises(StoreError) as failure:
                begin(home)
            assert failure.value.code == "XENTPM_KEYS"
            assert failure.value.hint.startswith("Restore the keys directory from a backup.")
            assert not (home / "keys").exists()
        (tmp_path / "backup").rename(home / "keys")
        Station.open(home).close()

    def test_keys_without_a_store_are_made_anew(self, tmp_path):
        home = tmp_path / "s"
        Station.init(home).close()
        (home / "keys").rename(tmp_path / "backup")
        for path in home.glob("store.sqlite*"):
            path.unlink()
        Station.init(home).close()

    def test_a_directory_that_others_can_write_to_is_refused(self, tmp_path):
        Station.init(tmp_path / "s").close()
        (tmp_path / "s").chmod(0o777)
        with pytest.raises(UsageError, match="0777"):
            Station.open(tmp_path / "s")

    def test_keys_that_others_can_read_are_refused(self, tmp_path):
        Station.init(tmp_path / "s").close()
        (tmp_path / "s/keys/master.key").chmod(0o644)
        with pytest.raises(StoreError):
            Station.open(tmp_path / "s")

    def test_a_place_that_cannot_be_is_an_error(self, tmp_path):
        (tmp_path / "file").write_text("")
        with pytest.raises(UsageError):
            Station.init(tmp_path / "file/station")

    def test_where_it_is(self, monkeypatch, tmp_path):
        assert default_home({"XENTPM_ATTEST_HOME": "/srv/x"}) == Path("/srv/x")
        monkeypatch.setattr("os.geteuid", lambda: 0)
        assert default_home({}) == Path("/var/lib/xentpm-attest")
        monkeypatch.setattr("os.geteuid", lambda: 1000)
        assert default_home({"XDG_STATE_HOME": "/home/a/state"}) == Path("/home/a/state/xentpm-attest")
        assert default_home({"XDG_STATE_HOME": "relative"}) == Path.home() / ".local/state/xentpm-attest"


HOOK = '[[notify]]\nname = "hook"\ntype = "webhook"\nurl = "https://a.example/x"\nsecret_file = "/s"\n'


class TestConfig:
    """station.toml."""

    def test_the_default_has_no_mistake_nor_has_it_with_all_examples(self):
        config, mistakes = parse_config(DEFAULT_TEXT)
        assert mistakes == ()
        assert [channel.kind for channel in config.channels] == [
            ChannelKind.XAPI_MESSAGE,
            ChannelKind.XAPI_MARKS,
        ]
        lines = [
            line.removeprefix("#") if line[:2] not in ("# ", "#") else ""
            for line in DEFAULT_TEXT.splitlines()
        ]
        config, mistakes = parse_config("\n".join(lines))
        assert mistakes == ()
        assert [channel.name for channel in config.channels] == ["messages", "marks", "tickets", "mail"]
        assert config.channels[2].secret == SecretRef(file="/etc/xentpm-attest/tickets.secret")
        assert State.UNREACHABLE not in config.channels[3].states

    def test_a_key_that_is_nearly_right_is_told_with_the_right_one(self):
        _, mistakes = parse_config(HOOK.replace("secret_file", "secretfile"))
        assert "Did you mean secret_file?" in {one.hint for one in mistakes}

    def test_of_a_channel_of_an_unknown_type_nothing_else_is_judged(self):
        _, mistakes = parse_config("version = 1\n" + HOOK.replace("webhook", "webhok"))
        assert [one.path for one in mistakes] == ["notify[0].type"]

    @pytest.mark.parametrize(
        ("text", "path"),
        [
            ("", "version"),
            ("version = 2", "version"),
            ("version = 1\nother = 1", "other"),
            ('version = 1\n[store]\nurl = "mysql://u@h/d"', "store.url"),
            ('version = 1\n[store]\nurl = "postgresql+pg8000://u:secret@h/d"', "store.url"),
            ('version = 1\n[store]\nurl = "postgresql+pg8000://h/d"', "store.url"),
            ('version = 1\n[store]\nurl = "sqlite:///relative"', "store.url"),
            (
                'version = 1\n[store]\nurl = "postgresql+pg8000://u@h/d"\npassword = "secret"',
                "store.password",
            ),
            ('version = 1\n[store]\npassword_file = "/x"', "store.password_file"),
            ("version = 1\n" + HOOK + HOOK, "notify[1].name"),
            ("version = 1\n" + HOOK.replace('"hook"', '"disable_host"'), "notify[0].name"),
            ("version = 1\n" + HOOK.replace('"hook"', '"Hook 1"'), "notify[0].name"),
            ("version = 1\n" + HOOK.replace('"webhook"', '"disable_host"'), "notify[0].type"),
            ("version = 1\n" + HOOK.replace("https", "http"), "notify[0].url"),
            ("version = 1\n" + HOOK.replace("https://", "https://u:secret@"), "notify[0].url"),
            ("version = 1\n" + HOOK.replace("/x", "/x#y"), "notify[0].url"),
            ("version = 1\n" + HOOK.replace('"/s"', '"s"'), "notify[0].secret_file"),
            ("version = 1\n" + HOOK.replace("secret_file", "secret"), "notify[0].secret"),
            ("version = 1\n" + HOOK + 'secret_env = "S"', "notify[0]"),
            ("version = 1\n" + HOOK + 'timeout = "0s"', "notify[0].timeout"),
            ("version = 1\n" + HOOK + 'give_up = "forever"', "notify[0].give_up"),
            ("version = 1\n" + HOOK + "states = []", "notify[0].states"),
            ("version = 1\n" + HOOK + 'states = ["fine"]', "notify[0].states[0]"),
            ("version = 1\n" + HOOK + "verify = false", "notify[0].verify"),
            (
                'version = 1\n[[notify]]\nname = "m"\ntype = "xapi_marks"\nstates = ["stale"]',
                "notify[0].states",
            ),
        ],
    )
    def test_mistakes_have_their_path_and_no_secret(self, text, path):
        _, mistakes = parse_config(text)
        assert path in [mistake.path for mistake in mistakes]
        assert "secret@" not in str(mistakes) and "'secret'" not in str(mistakes)

    def test_all_mistakes_are_told_at_once(self, tmp_path):
        path = tmp_path / "station.toml"
        path.write_text("version = 1\nother = 1\n" + HOOK.replace("https", "http") + "x = 1\n")
        with pytest.raises(UsageError, match="3 mistakes") as failure:
            load_config(path)
        assert all(one in failure.value.message for one in ("other", "notify[0].url", "notify[0].x"))

    def test_a_file_that_cannot_be_read(self, tmp_path):
        (tmp_path / "station.toml").write_bytes(b"\xff")
        with pytest.raises(UsageError, match="UTF-8"):
            load_config(tmp_path / "station.toml")

    def test_the_stores_address(self, tmp_path):
        config, _ = parse_config("version = 1")
        assert config.store.address(Path("/s")) == "sqlite:////s/store.sqlite"
        text = 'version = 1\n[store]\nurl = "postgresql+pg8000://u@h/d"\npassword_env = "PW"'
        config, mistakes = parse_config(text)
        assert mistakes == ()
        found = config.store.address(tmp_path, {"PW": "a/b@c%"})
        assert found == "postgresql+pg8000://u:a%2Fb%40c%25@h/d"


class TestSecret:
    """Where secrets are."""

    def test_a_secret_shows_nothing(self):
        secret = Secret("hunter2")
        assert "hunter2" not in f"{secret!r} {secret} {[secret]}"
        assert secret.reveal() == "hunter2"

    def test_from_the_environment(self):
        assert SecretRef(env="PW").read({"PW": " x \n"}).reveal() == "x"
        for environ in ({}, {"PW": ""}):
            with pytest.raises(UsageError):
                SecretRef(env="PW").read(environ)

    @pytest.mark.parametrize("mode", [0o600, 0o400, 0o640, 0o440])
    def test_from_a_file(self, tmp_path, mode):
        path = tmp_path / "s"
        path.write_text("x\n")
        path.chmod(mode)
        assert SecretRef(file=str(path)).read().reveal() == "x"

    @pytest.mark.parametrize("mode", [0o644, 0o604, 0o660, 0o622])
    def test_not_from_a_file_that_others_can_read_or_change(self, tmp_path, mode):
        path = tmp_path / "s"
        path.write_text("x\n")
        path.chmod(mode)
        with pytest.raises(UsageError, match=f"{mode:04o}"):
            SecretRef(file=str(path)).read()

    def test_not_from_what_is_no_file_or_too_long_or_no_text(self, tmp_path):
        for content in (b"x" * 5000, b"\xff", b""):
            path = tmp_path / "s"
            path.write_bytes(content)
            path.chmod(0o600)
            with pytest.raises(UsageError):
                SecretRef(file=str(path)).read()
        for name in (str(tmp_path), str(tmp_path / "none"), "/dev/null"):
            with pytest.raises(UsageError):
                SecretRef(file=name).read()
