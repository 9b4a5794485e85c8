"""What each option of ``xentpm`` does: ``(host, value) -> Outcome``."""

import json
from contextlib import suppress
from typing import Any, Dict, NamedTuple, Optional

from xentpm_lib.errors import XenTpmError
from xentpm_lib.evidence.encoding import encode_base64
from xentpm_lib.host import functions
from xentpm_lib.host.host import Host
from xentpm_lib.host.status import FAILED, status_of
from xentpm_lib.tpm.endorsement import endorsement_key
from xentpm_lib.tpm.ownership import is_owned
from xentpm_lib.tpm.ownership import take_ownership as take_tpm
from xentpm_lib.tpm.tag_pcr import TagPcr

__all__ = ["Outcome"]


class Outcome(NamedTuple):
    """``text`` for people; ``data`` for programs, ``{"result": text}`` where there is nothing more to say."""

    text: str
    data: Optional[Dict[str, Any]] = None
    exit_status: int = 0

    def to_json(self) -> str:
        """One JSON document."""
        return json.dumps({"result": self.text} if self.data is None else self.data)


def status(host: Host, _value: str) -> Outcome:
    """``--status``: exit status 1 when a check failed."""
    found = status_of(host.paths)
    return Outcome(found.to_table(), json.loads(found.to_json()), 1 if found.state == FAILED else 0)


def is_tpm_owned(host: Host, _value: str) -> Outcome:
    """``--is_tpm_owned``: exit status 1 when owned, as the original has it."""
    with host.tpm("is_tpm_owned") as tpm:
        owned = is_owned(tpm.esys, tpm.owner_auth)
    text = "The TPM is owned by this host." if owned else "The TPM is not owned by this host."
    return Outcome(text, {"owned": owned}, 1 if owned else 0)


def take_ownership(host: Host, _value: str) -> Outcome:
    """``--take_ownership``: succeeds when the TPM is ours already."""
    with host.tpm("take_ownership") as tpm:
        changed = take_tpm(tpm.esys, tpm.owner_auth).changed
    return Outcome(
        "The TPM is owned by this host{}.".format(" now" if changed else " already"), {"changed": changed}
    )


def get_ekey(host: Host, _value: str) -> Outcome:
    """``--get_ekey``"""
    with host.tpm("get_ekey") as tpm:
        return Outcome(endorsement_key(tpm.esys, tpm.owner_auth).public.pem().rstrip("\n"))


def get_ekcert(host: Host, _value: str) -> Outcome:
    """``--get_ekcert``"""
    return Outcome(encode_base64(functions.read_identity(host).ek_certificate or b""))


def gen_aik(host: Host, _unused_certificate: str) -> Outcome:
    """``--gen_aik``: a TPM 2.0 needs no certificate of a privacy CA to make the key."""
    with host.tpm("gen_aik") as tpm:
        return Outcome(tpm.keys.attestation_key().name.hex())


def get_aik_pem(host: Host, _value: str) -> Outcome:
    """``--get_aik_pem``"""
    with host.tpm("get_aik_pem") as tpm:
        return Outcome(tpm.keys.attestation_key().public.pem().rstrip("\n"))


def get_aik_tcpa(host: Host, _value: str) -> Outcome:
    """``--get_aik_tcpa``"""
    with host.tpm("get_aik_tcpa") as tpm:
        return Outcome(encode_base64(tpm.keys.attestation_key().public.to_tpm2b()))


def tpm_challenge(host: Host, challenge: str) -> Outcome:
    """``--tpm_challenge``"""
    return Outcome(functions.answer_challenge(host, {"challenge": challenge}))


def tpm_quote(host: Host, nonce: str) -> Outcome:
    """``--tpm_quote``"""
    text = functions.get_quote(host, {"nonce": nonce})
    return Outcome(text, json.loads(text))


def set_asset_tag(host: Host, tag: str) -> Outcome:
    """``--tpm_set_asset_tag``"""
    return _tag_outcome(functions.set_asset_tag(host, {"tag": tag}))


def clear_asset_tag(host: Host, _value: str) -> Outcome:
    """``--tpm_clear_asset_tag``"""
    return _tag_outcome(functions.clear_asset_tag(host, {}))


def get_asset_tag(host: Host, _value: str) -> Outcome:
    """``--tpm_get_asset_tag``: the hex digits alone, for scripts; an empty line where there is no tag."""
    data = json.loads(functions.get_asset_tag(host, {}))
    return Outcome(data["asset_tag"] or "", data)


def rotate_ak(host: Host, _value: str) -> Outcome:
    """``--rotate_ak``"""
    with host.tpm("rotate_ak") as tpm:
        name = tpm.keys.rotate().name.hex()
    return Outcome("The attestation key is new: {}. Enrol this host again.".format(name), {"ak_name": name})


def boot(host: Host, _value: str) -> Outcome:
    """``--boot``: everything that can be done is done before the first failure is told."""
    index = host.config.asset_tag_pcr
    with host.tpm("boot") as tpm:
        try:
            take_tpm(tpm.esys, tpm.owner_auth)
            endorsement_key(tpm.esys, tpm.owner_auth)
            tpm.keys.attestation_key()
        except XenTpmError:
            with suppress(XenTpmError):  # the first failure is the one to tell
                _extend(tpm.esys, index, tpm.tag.peek())
            raise
        tag = tpm.tag.get()
        extended = _extend(tpm.esys, index, tag)
    told = "none" if tag is None else "{} in PCR {}".format(tag.hex(), index) if extended else tag.hex()
    return Outcome("The TPM is ready; asset tag: {}.".format(told), {"asset_tag": tag.hex() if tag else None})


def _extend(esys: Any, index: Optional[int], tag: Optional[bytes]) -> bool:
    if index is None or tag is None:
        return False
    TagPcr(esys, index).extend_once(tag)
    return True


def _tag_outcome(text: str) -> Outcome:
    data = json.loads(text)
    if data["asset_tag"]:
        told = "The asset tag is {}.".format(data["asset_tag"])
        later = " Restart the host: then a PCR shows it too."
    else:
        told, later = "There is no asset tag.", " A PCR shows the earlier one until the host is restarted."
    return Outcome(told + (later if data["reboot_required"] else ""), data)
