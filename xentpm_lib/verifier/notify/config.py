"""The channels, as ``[[notify]]`` tables of the station's configuration describe them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from enum import Enum
from urllib.parse import urlsplit

from xentpm_lib.verifier.result import State
from xentpm_lib.verifier.secret import SecretRef
from xentpm_lib.verifier.toml_reader import Table

__all__ = ["BUILT_IN", "ChannelConfig", "ChannelKind", "channel_named", "read_channels", "read_secret_ref"]

DEFAULT_GIVE_UP_S = 3 * 86400.0
DEFAULT_TIMEOUT_S = 20.0
_NAME = "[a-z0-9][a-z0-9_-]{0,63}"
_ENV_NAME = "[A-Za-z_][A-Za-z0-9_]{0,127}"
_LOOPBACK = ("localhost", "127.0.0.1", "::1")
_MAX_CHANNELS = 32


class ChannelKind(str, Enum):
    """What a channel does with a notification."""

    XAPI_MESSAGE = "xapi_message"
    XAPI_MARKS = "xapi_marks"
    WEBHOOK = "webhook"
    APPRISE = "apprise"
    DISABLE_HOST = "disable_host"


@dataclass(frozen=True, slots=True)
class ChannelConfig:
    """One channel. All times in seconds.

    states: told of a change that enters or leaves one of these. timeout: of one delivery.
    give_up: how long a notification is tried; after that it is given up and reported.
    url, ca_file, proxy, secret: of a webhook. address: where an Apprise URL is, which holds a password.
    """

    name: str
    kind: ChannelKind
    states: frozenset[State] = field(default_factory=lambda: frozenset(State))
    timeout: float = DEFAULT_TIMEOUT_S
    give_up: float = DEFAULT_GIVE_UP_S
    url: str = ""
    ca_file: str = ""
    proxy: str = ""
    secret: SecretRef | None = None
    address: SecretRef | None = None

    @property
    def latest_only(self) -> bool:
        """Whether only the newest notification of a host counts, because it overwrites the older ones."""
        return self.kind in (ChannelKind.XAPI_MARKS, ChannelKind.DISABLE_HOST)

    @property
    def per_pool(self) -> bool:
        """Whether it speaks with the host's pool, so that trouble is one pool's and not the channel's."""
        return self.kind in (ChannelKind.XAPI_MARKS, ChannelKind.XAPI_MESSAGE, ChannelKind.DISABLE_HOST)


BUILT_IN = ChannelConfig("disable_host", ChannelKind.DISABLE_HOST)
"""Always there; a policy with ``[actions] disable_host = true`` uses it. No other has its name."""

_CONFIGURABLE = {kind.value: kind for kind in ChannelKind if kind is not ChannelKind.DISABLE_HOST}
_STATES = {state.value: state for state in State}


def channel_named(channels: Sequence[ChannelConfig], name: str) -> ChannelConfig | None:
    """The channel of that name; None when there is none."""
    return next((channel for channel in channels if channel.name == name), None)


def read_channels(root: Table) -> tuple[ChannelConfig, ...]:
    """The channels of a configuration; mistakes are noted in the table."""
    tables = root.tables("notify")
    if len(tables) > _MAX_CHANNELS:
        root.wrong("notify", f"{len(tables)} channels, at most {_MAX_CHANNELS}")
        tables = tables[:_MAX_CHANNELS]
    channels: list[ChannelConfig] = []
    for table in tables:
        channel = _read_channel(table)
        if channel.name == BUILT_IN.name:
            table.wrong("name", "is the name of a built-in channel", "Choose another name.")
        elif channel_named(channels, channel.name) is not None:
            table.wrong("name", f"{channel.name} is the name of another channel, too")
        channels.append(channel)
    return tuple(channels)


def _read_channel(table: Table) -> ChannelConfig:
    name = table.text("name", pattern=_NAME, hint="Lower-case letters, digits, - and _.")
    kind = table.choice("type", _CONFIGURABLE)
    if not table.right("type"):
        table.offer(*table.keys())  # which keys there are depends on it
        return ChannelConfig(name, kind)
    channel = ChannelConfig(
        name,
        kind,
        timeout=table.duration("timeout", DEFAULT_TIMEOUT_S, minimum=1.0, maximum=300.0),
        give_up=table.duration("give_up", DEFAULT_GIVE_UP_S, minimum=60.0, maximum=30 * 86400.0),
    )
    if kind is ChannelKind.XAPI_MARKS:
        return channel
    channel = replace(channel, states=table.choices("states", _STATES, frozenset(State)))
    if kind is ChannelKind.WEBHOOK:
        table.offer("ca_file", "proxy")
        return replace(
            channel,
            url=_web_address(table, "url", https=True),
            ca_file=_absolute(table, "ca_file"),
            proxy=_web_address(table, "proxy", https=False) if table.has("proxy") else "",
            secret=read_secret_ref(table, "secret"),
        )
    if kind is ChannelKind.APPRISE:
        return replace(channel, address=read_secret_ref(table, "url"))
    return channel


def read_secret_ref(table: Table, what: str, required: bool = True) -> SecretRef | None:
    """Where a secret is: ``<what>_file`` or ``<what>_env``, one of them. The mistake is noted."""
    file_key, env_key = f"{what}_file", f"{what}_env"
    table.offer(file_key, env_key)
    file = _absolute(table, file_key)
    env = table.text(env_key, "", pattern=_ENV_NAME, empty=True) if table.has(env_key) else ""
    if table.has(what):
        table.text(what, "", empty=True)
        hint = f"Put it into a file of its own (mode 0600) and name that: {file_key}."
        table.wrong(what, "a secret must not be in this file", hint)
    elif bool(file) == bool(env) and (required or file):
        table.wrong("", f"expected one of {file_key} and {env_key}")
    return SecretRef(file, env) if bool(file) != bool(env) else None


def _absolute(table: Table, key: str) -> str:
    if not table.has(key):
        return ""
    path = table.text(key, "")
    if path and not path.startswith("/"):
        table.wrong(key, "expected an absolute path")
    return path


def _web_address(table: Table, key: str, https: bool) -> str:
    url = table.text(key)
    if url:
        _check_address(table, key, url, https)
    return url


def _check_address(table: Table, key: str, url: str, https: bool) -> None:
    try:
        parts = urlsplit(url)
        host, _port = parts.hostname or "", parts.port
    except ValueError:
        table.wrong(key, "it is no URL")
        return
    if parts.scheme not in ("http", "https") or not host or re.search(r"[\s\\]", url):
        table.wrong(key, "expected a URL that begins with https://")
    elif parts.username is not None or parts.password is not None:
        table.wrong(key, "a password must not be in this file", "The signature says who sent it.")
    elif parts.fragment:
        table.wrong(key, "a URL to send to has no #")
    elif https and parts.scheme == "http" and host not in _LOOPBACK:
        table.wrong(key, "expected https, got http", "Plain HTTP is for a receiver on this machine only.")
