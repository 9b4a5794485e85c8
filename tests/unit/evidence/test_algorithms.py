"""evidence/algorithms.py: the table, and computing."""

import hashlib

import pytest

from xentpm_lib.evidence import algorithms
from xentpm_lib.evidence.algorithms import HASHES, digest, digest_size, hash_by_id, hash_by_name


@pytest.mark.parametrize("name", ["sha1", "sha256", "sha384", "sha512", "sha3_256", "sha3_384", "sha3_512"])
def test_digest_is_hashlibs(name):
    assert digest(name, b"data") == hashlib.new(name, b"data").digest()
    assert len(digest(name, b"")) == digest_size(name)


def test_each_algorithm_is_found_by_name_and_by_identifier():
    for algorithm in HASHES:
        assert hash_by_name(algorithm.name) is hash_by_id(algorithm.tpm_id) is algorithm


def test_the_largest_digest_fits():
    assert max(algorithm.size for algorithm in HASHES) == algorithms.MAX_DIGEST_SIZE


def test_refusals(refuses):
    refuses("here", "0x0010 is no hash algorithm", hash_by_id, 0x10, "here")
    refuses(
        "here", "'SHA256' is no hash algorithm, expected one of sha1, sha256", hash_by_name, "SHA256", "here"
    )
    refuses("", "'md5' is no hash", digest, "md5", b"")


def test_an_algorithm_that_openssl_lacks(refuses, monkeypatch):
    monkeypatch.setitem(algorithms._HASHLIB_NAMES, "sm3_256", "no such digest")
    refuses("", "cannot compute sm3_256", digest, "sm3_256", b"")
