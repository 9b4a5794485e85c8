"""What the evidence layer's builders write, its parsers read back to an equal record."""

from hypothesis import given
from hypothesis import strategies as st

from xentpm_lib.evidence.algorithms import HASHES
from xentpm_lib.evidence.boot_log import BootEvent
from xentpm_lib.evidence.credential_file import Credential
from xentpm_lib.evidence.encoding import decode_base64, decode_hex, encode_base64, encode_hex
from xentpm_lib.evidence.event_log import Event, EventLog, build_event_log, parse_event_log
from xentpm_lib.evidence.event_types import EV_NO_ACTION
from xentpm_lib.evidence.identity import Identity
from xentpm_lib.evidence.pcr import PcrSelection, replay
from xentpm_lib.evidence.quote import CertifiedTag, QuoteEvidence
from xentpm_lib.evidence.tpm_structures import (
    Attest,
    NvCertifyInfo,
    NvPublic,
    Public,
    QuoteInfo,
    Scheme,
    Signature,
    Symmetric,
)

SIZES = {algorithm.name: algorithm.size for algorithm in HASHES}
IDS = {algorithm.name: algorithm.tpm_id for algorithm in HASHES}
banks = st.sampled_from(sorted(SIZES))
pcrs = st.integers(0, 23)
u16, u32, u64 = (st.integers(0, (1 << bits) - 1) for bits in (16, 32, 64))


def records(kind, *arguments, **fields):
    """Records of ``kind`` with these fields and no others; ``st.builds`` alone would fill in the rest."""
    return st.builds(lambda *given, **named: kind(*given, **named), *arguments, **fields)


def exactly(size):
    return st.binary(min_size=size, max_size=size)


def digest_of(bank):
    return exactly(SIZES[bank])


names = banks.flatmap(lambda bank: digest_of(bank).map(lambda digest: IDS[bank].to_bytes(2, "big") + digest))
selections = st.lists(
    st.tuples(banks, st.sets(pcrs).map(sorted).map(tuple)), max_size=8, unique_by=lambda bank: bank[0]
).map(lambda listed: PcrSelection(tuple(listed)))
attests = records(
    Attest,
    type=st.just("quote"),
    qualified_signer=names,
    extra_data=st.binary(max_size=66),
    clock=u64,
    reset_count=u32,
    restart_count=u32,
    safe=st.booleans(),
    firmware_version=u64,
    quote=records(QuoteInfo, selections, st.binary(max_size=64)),
)
nv_attests = st.builds(
    lambda attest, nv: attest._replace(type="nv_certify", quote=None, nv=nv),
    attests,
    records(NvCertifyInfo, names, u16, st.binary(max_size=2048)),
)
ciphers = records(
    Symmetric, st.sampled_from(["aes", "sm4", "camellia"]), st.sampled_from([128, 192, 256]), st.just("cfb")
)
common = {
    "attributes": st.integers(0, (1 << 20) - 1).map(lambda bits: bits & 0x000F0FF6),
    "symmetric": st.none() | ciphers,
}


def schemes(*kinds):
    return st.none() | records(Scheme, st.sampled_from(kinds), banks)


rsa_publics = records(
    Public,
    type=st.just("rsa"),
    name_alg=banks,
    scheme=schemes("rsassa", "rsapss", "oaep") | st.just(Scheme("rsaes", None)),
    key_bits=st.sampled_from([1024, 2048, 3072, 4096]),
    exponent=st.sampled_from([0, 3, 65537, (1 << 32) - 1]),
    modulus=st.binary(max_size=512),
    **common,
)
ecc_publics = records(
    Public,
    type=st.just("ecc"),
    name_alg=banks,
    scheme=schemes("ecdsa", "ecdh", "sm2", "ecschnorr"),
    curve=st.sampled_from(["nist_p256", "nist_p384", "nist_p521"]),
    x=st.binary(max_size=66),
    y=st.binary(max_size=66),
    **common,
)
publics = (rsa_publics | ecc_publics).flatmap(
    lambda public: st.sampled_from([0, SIZES[public.name_alg]]).map(
        lambda size: public._replace(auth_policy=b"p" * size)
    )
)
keys = ecc_publics.map(
    lambda public: public._replace(x=(public.x + b"\1")[-32:], y=public.y[:32] + b"\1" * 32)
)
keys = keys.map(lambda public: public._replace(y=public.y[:32]))
signatures = records(
    Signature, st.sampled_from(["rsassa", "rsapss"]), banks, rsa=st.binary(min_size=1, max_size=512)
) | records(
    Signature,
    st.just("ecdsa"),
    banks,
    r=st.binary(min_size=1, max_size=66),
    s=st.binary(min_size=1, max_size=66),
)
nv_publics = records(
    NvPublic,
    index=st.integers(0x01000000, 0x01FFFFFF),
    name_alg=banks,
    attributes=u32.map(lambda bits: bits & 0xFE0FFCFF),
    data_size=u16,
)
credentials = records(Credential, st.binary(min_size=1, max_size=132), st.binary(min_size=1, max_size=512))


@given(selections)
def test_pcr_selection(selection):
    assert PcrSelection.from_bytes(selection.to_bytes()) == selection


@given(selections)
def test_pcr_selection_text(selection):
    if selection.banks and all(indices for _, indices in selection.banks):
        assert PcrSelection.from_text(selection.to_text()) == selection


@given(publics)
def test_public(public):
    assert Public.from_tpmt(public.to_tpmt()) == public
    assert Public.from_tpm2b(public.to_tpm2b()) == public


@given(attests | nv_attests)
def test_attest(attest):
    assert Attest.from_bytes(attest.to_bytes()) == attest


@given(signatures)
def test_signature(signature):
    assert Signature.from_bytes(signature.to_bytes()) == signature


@given(nv_publics)
def test_nv_public(public):
    assert NvPublic.from_tpm2b(public.to_tpm2b()) == public


@given(credentials)
def test_credential(credential):
    assert Credential.from_bytes(credential.to_bytes()) == credential


@given(st.binary(max_size=200))
def test_encodings(data):
    assert decode_base64(encode_base64(data), "x", 0, 200) == data
    assert decode_hex(encode_hex(data), "x", 0, 200) == data


unknown_banks = st.integers(0x100, 0xFFFF).map("0x{:04x}".format)
bank_tables = st.dictionaries(unknown_banks, st.integers(1, 128), max_size=3).flatmap(
    lambda unknown: st.lists(banks, min_size=1, unique=True).map(
        lambda known: dict(unknown, **{bank: SIZES[bank] for bank in known})
    )
)


def events_of(table):
    digests = st.fixed_dictionaries({bank: exactly(size) for bank, size in table.items()})
    extending = records(Event, pcrs, u32, digests, st.binary(max_size=100))
    silent = records(Event, u32, st.just(EV_NO_ACTION), digests, st.binary(max_size=100))
    return st.lists(extending | silent, max_size=5).map(tuple)


logs = bank_tables.flatmap(lambda table: records(EventLog, st.just(table), events_of(table))) | records(
    EventLog,
    st.just({"sha1": 20}),
    events_of({"sha1": 20}).filter(bool),
    st.just(False),
)


@given(logs)
def test_event_log(log):
    assert parse_event_log(build_event_log(log)) == log


@given(st.lists(st.tuples(pcrs, digest_of("sha256")), max_size=5))
def test_replay_in_two_parts_is_replay_in_one(events):
    half = len(events) // 2
    assert replay("sha256", events[half:], replay("sha256", events[:half])) == replay("sha256", events)


certificates = st.binary(max_size=100).map(lambda body: b"\x30" + bytes((len(body),)) + body)
uuids = st.uuids().map(str)


@given(
    records(
        Identity,
        ek_certificate=st.none() | certificates,
        ek=keys,
        ak=keys,
        system_uuid=uuids | uuids.map(str.upper) | st.just(""),
        ek_certificate_chain=st.lists(certificates, max_size=3).map(tuple),
    )
)
def test_identity(identity):
    assert Identity.from_xml(identity.to_xml()) == identity


blobs = st.binary(min_size=1, max_size=80)
bank_values = banks.flatmap(
    lambda bank: st.dictionaries(pcrs, digest_of(bank), min_size=1, max_size=4).map(
        lambda found: (bank, found)
    )
)
boot_events = records(
    BootEvent,
    pcr=pcrs,
    digests=st.fixed_dictionaries({"sha256": digest_of("sha256")}),
    description=st.text([chr(code) for code in range(32, 127)] + ["\n", "\t"], max_size=50),
)


@given(
    records(
        QuoteEvidence,
        attest=blobs,
        signature=blobs,
        untrusted_host_uuid=uuids,
        untrusted_created=st.datetimes().map(lambda moment: moment.replace(microsecond=0).isoformat() + "Z"),
        untrusted_ak_name=names,
        untrusted_ak_public=blobs,
        untrusted_pcrs=st.lists(bank_values, min_size=1).map(dict),
        asset_tag=st.none() | records(CertifiedTag, blobs, blobs, blobs),
        untrusted_event_log=st.none() | blobs,
        untrusted_boot_log=st.none() | st.lists(boot_events, max_size=3).map(tuple),
    )
)
def test_quote_evidence(evidence):
    assert QuoteEvidence.from_json(evidence.to_json()) == evidence
