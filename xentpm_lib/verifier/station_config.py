"""The station's configuration, ``station.toml``: where the store is, and which channels there are.

    version = 1
    [store]
    url = "postgresql+pg8000://xentpm@db.example.org/xentpm"
    password_file = "/etc/xentpm-attest/db.password"
    [[notify]]
    name = "tickets"
    type = "webhook"
    url = "https://tickets.example.org/xentpm"
    secret_file = "/etc/xentpm-attest/tickets.secret"

No secret is in it, so that it can be shown and kept under version control.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote, urlsplit

from xentpm_lib.errors import UsageError
from xentpm_lib.verifier.files import open_file
from xentpm_lib.verifier.notify.config import ChannelConfig, read_channels, read_secret_ref
from xentpm_lib.verifier.secret import SecretRef
from xentpm_lib.verifier.toml_reader import MAX_TOML_LENGTH, Mistake, Table, parse_toml

__all__ = ["DEFAULT_TEXT", "StationConfig", "StoreConfig", "load_config", "parse_config"]

_POSTGRESQL = "postgresql+pg8000"
_STORE_HINT = 'For instance "postgresql+pg8000://user@host/database"; leave it out for SQLite.'

DEFAULT_TEXT = """\
# What xentpm-attest uses besides its defaults. `xentpm-attest channels` shows what came of it.
# No secret belongs here: name a file (mode 0600) or an environment variable that holds it.
version = 1

# Where records and results are kept. Without this: store.sqlite beside this file.
#[store]
#url = "postgresql+pg8000://xentpm@db.example.org/xentpm"
#password_file = "/etc/xentpm-attest/db.password"

# A message on the host: XenCenter and Xen Orchestra show it, the pool's mail alarm sends it.
[[notify]]
name = "messages"
type = "xapi_message"

# Tags and other_config keys on the host, for orchestrators that read XAPI.
[[notify]]
name = "marks"
type = "xapi_marks"

# A signed HTTP request. Make the secret: echo "whsec_$(openssl rand -base64 32)"
#[[notify]]
#name = "tickets"
#type = "webhook"
#url = "https://tickets.example.org/xentpm"
#secret_file = "/etc/xentpm-attest/tickets.secret"

# Mail or chat: the file holds one Apprise URL, such as mailtos://user:password@mail.example.org?to=ops@example.org
#[[notify]]
#name = "mail"
#type = "apprise"
#url_file = "/etc/xentpm-attest/mail.url"
#states = ["untrusted-measurement", "untrusted-key", "untrusted-evidence"]
"""


@dataclass(frozen=True, slots=True)
class StoreConfig:
    """Where the store is. url: of SQLAlchemy, without a password; empty: SQLite beside station.toml."""

    url: str = ""
    password: SecretRef | None = None

    def address(self, home: Path, environ: Mapping[str, str] | None = None) -> str:
        """The URL to open, with the password in it: never to be shown.

        Raises:
            UsageError: the password cannot be read.
        """
        if not self.url:
            return f"sqlite:///{home / 'store.sqlite'}"
        if self.password is None:
            return self.url
        scheme, rest = self.url.split("://", 1)
        account, host = rest.split("@", 1)
        return f"{scheme}://{account}:{quote(self.password.read(environ).reveal(), safe='')}@{host}"


@dataclass(frozen=True, slots=True)
class StationConfig:
    """A configuration without mistakes in it."""

    store: StoreConfig = StoreConfig()
    channels: tuple[ChannelConfig, ...] = ()


def load_config(path: Path) -> StationConfig:
    """The configuration in a file.

    Raises:
        UsageError: it cannot be read, or has mistakes: all of them, each with its path.
    """
    try:
        with open_file(path) as file:
            text = file.read(4 * MAX_TOML_LENGTH + 1).decode("utf-8")
    except FileNotFoundError as error:
        raise UsageError(f"there is no {path}", "Make the station: xentpm-attest init") from error
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        raise UsageError(f"cannot read {path}: {reason}") from error
    config, mistakes = parse_config(text)
    if mistakes:
        told = "".join(f"\n  {one}{f' ({one.hint})' if one.hint else ''}" for one in mistakes)
        raise UsageError(f"{path} has {len(mistakes)} mistake{'s' * (len(mistakes) > 1)}:{told}")
    return config


def parse_config(text: str) -> tuple[StationConfig, tuple[Mistake, ...]]:
    """The configuration that the text says, of use only where there are no mistakes."""
    root = parse_toml(text)
    if not root.mistakes:
        root.integer("version", minimum=1, maximum=1)
        config = StationConfig(_read_store(root.table("store")), read_channels(root))
        root.finish()
        return config, tuple(root.mistakes)
    return StationConfig(), tuple(root.mistakes)


def _read_store(table: Table) -> StoreConfig:
    if not table.has("url"):
        return StoreConfig()
    url = table.text("url")
    password = read_secret_ref(table, "password", required=False)
    problem = _url_problem(url, password is not None)
    if url and problem:
        table.wrong("url", problem, _STORE_HINT)
    return StoreConfig(url, password)


def _url_problem(url: str, with_password: bool) -> str:
    try:
        parts = urlsplit(url)
        _port = parts.port
    except ValueError:
        return "it is no URL"
    if parts.scheme == "sqlite":
        return _sqlite_problem(url, with_password)
    if parts.scheme != _POSTGRESQL:
        return f"expected {_POSTGRESQL}:// or sqlite:///"
    if parts.password is not None:
        return "a password must not be in this file: use password_file or password_env"
    if not parts.username or not parts.path.strip("/"):
        return "expected a user, a host and a database"
    return ""


def _sqlite_problem(url: str, with_password: bool) -> str:
    if not url.startswith("sqlite:////"):
        return "expected an absolute path: sqlite:////var/lib/…"
    return "SQLite has no password" if with_password else ""
