"""Attacks on the asset tag: an expected one, shown by a host that does not have it."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import Any

import pytest

from support.evidence_maker import ASSET_TAG_ATTRIBUTES, ASSET_TAG_INDEX, make_key
from xentpm_lib.evidence import attributes as bits
from xentpm_lib.evidence.attest import Attest
from xentpm_lib.evidence.nv_public import NvPublic
from xentpm_lib.verifier.appraisal import asset_tag

EXPECTED, OWN = bytes(range(32)), b"\xaa" * 32


@pytest.fixture
def thief(desk: Any) -> Any:
    """A desk for a host that has another tag than the expected one."""
    desk.attester.tag = OWN
    desk.caught(desk.ask(), "ASSET_TAG_WRONG")
    return desk


def test_asset_tag_certified_by_another_key(thief: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Any key signs that the index holds the expected tag."""
    attack = {"tag_nv": {"contents": EXPECTED}, "tag_key": make_key()}
    thief.caught(thief.ask(**attack), "ASSET_TAG_INVALID")

    def believed(statement: Any, *_anything: object) -> Attest:
        return Attest.from_bytes(statement.untrusted_attest)

    monkeypatch.setattr(asset_tag, "check_statement", believed)
    thief.believed(thief.ask(**attack))


def test_asset_tag_of_another_index(thief: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Root defines an index of his own, writes the expected tag there, and has the TPM certify that."""
    index = NvPublic(0x01C10111, "sha256", ASSET_TAG_ATTRIBUTES, len(EXPECTED))
    attack = {
        "nv_public": {"index": index.index},
        "tag_nv": {"contents": EXPECTED, "index_name": index.name()},
    }
    thief.caught(thief.ask(**attack), "ASSET_TAG_INVALID")
    monkeypatch.setattr(asset_tag, "TAG_INDEX", index.index)
    thief.believed(thief.ask(**attack))


def test_asset_tag_of_another_index_under_the_right_number(thief: Any, blind: Callable[..., None]) -> None:
    """The same, with the public area of the real index beside it: the Name in the certificate is another."""
    name = NvPublic(0x01C10111, "sha256", ASSET_TAG_ATTRIBUTES, len(EXPECTED)).name()
    attack = {"tag_nv": {"contents": EXPECTED, "index_name": name}}
    thief.caught(thief.ask(**attack), "ASSET_TAG_INVALID")
    blind(asset_tag, name)
    thief.believed(thief.ask(**attack))


def test_asset_tag_that_anybody_can_write(thief: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """The index was taken away and made anew, so that it can be written without the owner's password."""
    attributes = ASSET_TAG_ATTRIBUTES | bits.NV_AUTHWRITE
    index = NvPublic(ASSET_TAG_INDEX, "sha256", attributes, len(EXPECTED))
    attack = {
        "nv_public": {"attributes": attributes},
        "tag_nv": {"contents": EXPECTED, "index_name": index.name()},
    }
    thief.caught(thief.ask(**attack), "ASSET_TAG_INVALID")
    monkeypatch.setattr(asset_tag, "TAG_ATTRIBUTES", attributes)
    thief.believed(thief.ask(**attack))


def test_asset_tag_of_before(desk: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A certificate that was made in another boot, before the tag was changed, with a nonce known since."""
    attack = {"tag_attest": {"reset_count": desk.attester.reset_count - 1}}
    desk.caught(desk.ask(**attack), "ASSET_TAG_INVALID")
    monkeypatch.setattr(asset_tag, "_check_same_time", lambda *_anything: None)
    desk.believed(desk.ask(**attack))


def test_part_of_an_asset_tag(thief: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """An index that is larger than a tag holds the expected one somewhere."""
    attack = {"tag_nv": {"contents": EXPECTED, "offset": 16}}
    thief.caught(thief.ask(**attack), "ASSET_TAG_INVALID")
    monkeypatch.setattr(asset_tag, "_whole_tag", lambda nv, _index: nv.contents)
    thief.believed(thief.ask(**attack))


def test_asset_tag_left_out(thief: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """The host says that it has none."""
    attack = {"evidence": {"asset_tag": None}}
    thief.caught(thief.ask(**attack), "ASSET_TAG_MISSING")
    appraise = import_module("xentpm_lib.verifier.appraisal.appraise")
    monkeypatch.setattr(appraise, "tag_findings", lambda *_anything: ())
    thief.believed(thief.ask(**attack))
