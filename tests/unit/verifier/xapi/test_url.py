"""Addresses of pools."""

import pytest

from xentpm_lib.errors import UsageError
from xentpm_lib.verifier.xapi.url import Address, parse_url


@pytest.mark.parametrize(
    ("text", "url"),
    [
        ("https://pool.example", "https://pool.example"),
        ("pool.example", "https://pool.example"),
        ("POOL.example/", "https://pool.example"),
        ("https://pool:443", "https://pool"),
        ("https://10.0.0.1:8443/", "https://10.0.0.1:8443"),
        ("https://[2001:DB8::1]", "https://[2001:db8::1]"),
        ("[::1]:8443", "https://[::1]:8443"),
    ],
)
def test_good(text: str, url: str) -> None:
    assert parse_url(text).url == url
    assert parse_url(url).url == url


@pytest.mark.parametrize(
    "text",
    [
        "",
        "http://pool.example",
        "ftp://pool",
        "https://",
        "https://root:secret@pool",
        "https://pool/path",
        "https://pool?x",
        "https://pool#x",
        "https://pool:0",
        "https://pool:65536",
        "https://pool:x",
        "https://po ol",
        "https://pool\n",
        "https://-",
        "https://[::1",
        "https://[zz]",
        "https://::1",
        "https://pool..example",
        "https://" + "a" * 300,
        "https://pool\\example",
        "https://p\u00f6ol",
    ],
)
def test_bad(text: str) -> None:
    with pytest.raises(UsageError):
        parse_url(text)


def test_another_host_of_the_pool() -> None:
    address = Address("10.0.0.1", 8443)
    assert address.at("10.0.0.2").url == "https://10.0.0.2:8443"
    assert address.at("fe80::1").url == address.at("[fe80::1]").url == "https://[fe80::1]:8443"
    for bad in ("", "10.0.0.2:443", "x@y", "http://x", "a b", "x/y", "OpaqueRef:NULL"):
        with pytest.raises(UsageError):
            address.at(bad)
