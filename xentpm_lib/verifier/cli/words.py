"""Words of a command line that have to mean something, and times as people write them."""

from __future__ import annotations

import argparse
import time
from urllib.parse import urlsplit

from xentpm_lib.errors import UsageError, XenTpmError
from xentpm_lib.verifier.errors import CollectionError
from xentpm_lib.verifier.findings import FINDING_KINDS

__all__ = ["advice", "ago", "checked_url", "clock_time", "count", "digest", "label", "span", "tag", "url"]

_MAX_LABEL = 100  # characters
_MAX_COUNT = 100_000
_SHA256_DIGITS = 64
_TAG_SIZES = (20, 32, 48)  # bytes
_SPANS = ((86400, "d"), (3600, "h"), (60, "min"))


def checked_url(text: str) -> str:
    """As ``url``. Raises: UsageError."""
    try:
        return url(text)
    except argparse.ArgumentTypeError as error:
        raise UsageError(
            str(error), "An enrolled pool can be given by its name, too: xentpm-attest pool list."
        ) from error


def advice(error: XenTpmError) -> str:
    """What to do about an error that brings no hint of its own."""
    return FINDING_KINDS[error.finding].advice if isinstance(error, CollectionError) else ""


def url(text: str) -> str:
    """A pool's URL; ``https://`` may be left out."""
    whole = text if "://" in text else f"https://{text}"
    try:
        parts = urlsplit(whole)
        good = parts.scheme == "https" and bool(parts.hostname) and parts.port != 0
    except ValueError:
        good = False
    if not good or not whole.isprintable() or " " in whole:
        raise argparse.ArgumentTypeError(f"wanted a URL such as https://pool.example.com, got {text!a}")
    if parts.username or parts.password:
        raise argparse.ArgumentTypeError(
            "a URL holds no user name and no password: use --username; the password is asked for"
        )
    if parts.path not in ("", "/") or parts.query or parts.fragment:
        raise argparse.ArgumentTypeError(f"wanted a URL that ends after the host name or port, got {text!a}")
    return whole.rstrip("/")


def digest(text: str) -> str:
    """A SHA-256 fingerprint as openssl or a browser writes it, as 64 lower-case hex digits."""
    plain = text.strip().removeprefix("SHA256:").removeprefix("sha256:").replace(":", "").lower()
    if len(plain) != _SHA256_DIGITS or set(plain) - set("0123456789abcdef"):
        raise argparse.ArgumentTypeError(
            f"wanted a SHA-256 fingerprint, 64 hex digits with or without colons, got {text!a}"
        )
    return plain


def label(text: str) -> str:
    """A name that people give: printable, 1 to 100 characters."""
    if not 1 <= len(text.strip()) <= _MAX_LABEL or not text.isprintable():
        raise argparse.ArgumentTypeError(f"wanted 1 to {_MAX_LABEL} printable characters, got {text!a}")
    return text.strip()


def count(text: str) -> int:
    """A number from 1 on."""
    if not (text.isascii() and text.isdigit() and len(text) < 10 and 1 <= int(text) <= _MAX_COUNT):
        raise argparse.ArgumentTypeError(f"wanted a number from 1 to {_MAX_COUNT}, got {text!a}")
    return int(text)


def tag(text: str) -> bytes:
    """An asset tag in hex: 20, 32 or 48 bytes."""
    try:
        value = bytes.fromhex(text) if text.isascii() and not any(map(str.isspace, text)) else b""
    except ValueError:
        value = b""
    if len(value) not in _TAG_SIZES:
        raise argparse.ArgumentTypeError(
            f"wanted 40, 64 or 96 hex digits (what `xentpm --tpm_get_asset_tag` prints), got {text[:50]!a}"
        )
    return value


def clock_time(at: float | None) -> str:
    """``2026-11-23 18:48:10 UTC``; empty for None."""
    return "" if at is None else time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(at))


def span(seconds: float) -> str:
    """``42 s``, ``5 min``, ``3 h``, ``12 d``: rounded down."""
    for unit, name in _SPANS:
        if seconds >= unit:
            return f"{int(seconds // unit)} {name}"
    return f"{max(0, int(seconds))} s"


def ago(at: float | None, now: float) -> str:
    """``5 min ago``; empty for None."""
    return "" if at is None else f"{span(now - at)} ago"
