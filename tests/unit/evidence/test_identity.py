"""evidence/identity.py: what clients search for, and one spelling only."""

import xml.etree.ElementTree as ElementTree

import pytest

from xentpm_lib.evidence.encoding import encode_base64
from xentpm_lib.evidence.identity import Identity
from xentpm_lib.evidence.tpm_structures import Public

UUID = "4C4C4544-0042-3010-8054-b9c04f383132"
PREFIX = "{http://www.XenTxt.org/XenTxtGetAIK}"
SHORT = b"\x30\x03abc"


@pytest.fixture
def identity(vectors):
    folder = vectors / "swtpm" / "rsa"
    return Identity(
        (folder / "ek.certificate").read_bytes(),
        Public.from_tpm2b((folder / "ek.tpm2b").read_bytes()),
        Public.from_tpm2b((folder / "ak.tpm2b").read_bytes()),
        UUID,
    )


def test_as_clients_search_it(identity):
    text = identity.to_xml()

    def search(name):
        opening = "<xentxt:{}>".format(name)
        return text[text.index(opening) + len(opening) : text.index("</xentxt:{}>".format(name))]

    assert search("TPM_Endorsement_Certficate") == encode_base64(identity.ek_certificate)
    assert search("TPM_Endorsement_KEY_PEM") == identity.ek.pem()
    assert search("TPM_Attestation_KEY_PEM") == identity.ak.pem()
    assert search("TPM_Attestation_KEY_PEM").startswith("-----BEGIN PUBLIC KEY-----\n")
    assert search("TPM_Attestation_KEY_TCPA") == encode_base64(identity.ak.to_tpm2b())
    assert search("System_UUID") == UUID


def test_as_an_xml_parser_reads_it(identity):
    root = ElementTree.fromstring(identity._replace(ek_certificate_chain=(SHORT,)).to_xml())
    assert root.tag == PREFIX + "xentxtdata"
    assert [(child.tag[len(PREFIX) :], len(child), child.attrib) for child in root] == [
        (name, 0, {})
        for name in (
            "TPM_Endorsement_Certficate",
            "TPM_Endorsement_KEY_PEM",
            "TPM_Attestation_KEY_PEM",
            "TPM_Attestation_KEY_TCPA",
            "System_UUID",
            "TPM_Version",
            "TPM_Endorsement_KEY_TPM2B",
            "TPM_Endorsement_Certificate_Chain",
        )
    ]
    assert root.find(PREFIX + "TPM_Version").text == "2.0"


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"ek_certificate": None},
        {"system_uuid": ""},
        {"ek_certificate_chain": (SHORT, b"\x30\x00", SHORT)},
    ],
)
@pytest.mark.parametrize("newline", ["", "\n"])
def test_round_trips(identity, changes, newline):
    changed = identity._replace(**changes)
    assert Identity.from_xml(changed.to_xml() + newline) == changed


def test_no_self_closing_tag(identity):
    text = identity._replace(ek_certificate=None, system_uuid="").to_xml()
    assert "/>" not in text
    assert "<xentxt:TPM_Endorsement_Certficate></xentxt:TPM_Endorsement_Certficate>" in text


UUID_ELEMENT = "<xentxt:System_UUID>{}</xentxt:System_UUID>".format(UUID)
EMPTY_CHAIN = "<xentxt:TPM_Endorsement_Certificate_Chain></xentxt:TPM_Endorsement_Certificate_Chain>\n"
FOOT = "</xentxt:xentxtdata>"


@pytest.mark.parametrize(
    "old, new, where, fragment",
    [
        ("<?xml", " <?xml", "identity", "not an xentxt:xentxtdata document"),
        ("UTF-8", "utf-8", "identity", "not an xentxt:xentxtdata document"),
        (FOOT, "", "identity", "not an xentxt:xentxtdata document"),
        (FOOT, FOOT + "\n\n", "identity", "not an xentxt:xentxtdata document"),
        (FOOT, "<more/>" + FOOT, "identity", "something follows the last element"),
        (
            FOOT,
            EMPTY_CHAIN + FOOT,
            "TPM_Endorsement_Certificate_Chain",
            "not what the other elements make it",
        ),
        (UUID_ELEMENT, "", "System_UUID", "missing or not in its place"),
        (UUID_ELEMENT, UUID_ELEMENT + UUID_ELEMENT, "System_UUID", "not a UUID"),
        (UUID_ELEMENT, UUID_ELEMENT + "\n" + UUID_ELEMENT, "TPM_Version", "missing or not in its place"),
        (UUID_ELEMENT, "<!-- -->" + UUID_ELEMENT, "System_UUID", "missing or not in its place"),
        (UUID_ELEMENT, UUID_ELEMENT.replace("UUID>4", "UUID a='b'>4"), "System_UUID", "missing"),
        (UUID, "&uuid;", "System_UUID", "not a UUID"),
        (UUID, UUID + "</xentxt:System_UUID>\n<xentxt:System_UUID>" + UUID, "TPM_Version", "missing"),
        (UUID, " " + UUID, "System_UUID", "not a UUID"),
        ("2.0", "1.2", "TPM_Version", "not what the other elements make it"),
        ("2.0", "<![CDATA[2.0]]>", "TPM_Version", "not what"),
        ("Certficate>MII", "Certficate>\nMII", "TPM_Endorsement_Certficate", "white space"),
        ("Certficate>MII", "Certficate>NII", "TPM_Endorsement_Certficate", "does not start with a DER"),
        ("-----BEGIN", " -----BEGIN", "TPM_Endorsement_KEY_PEM", "not what the other elements make it"),
        ("\n-----END", "\r\n-----END", "TPM_Endorsement_KEY_PEM", "not what the other elements make it"),
        ("KEY_TCPA>ARgAAQ", "KEY_TCPA>ARkAAQ", "offset 2", "281 bytes wanted"),
    ],
)
def test_refusals(refuses, identity, old, new, where, fragment):
    text = identity.to_xml()
    assert old in text
    refuses(where, fragment, Identity.from_xml, text.replace(old, new, 1))


def test_the_keys_must_be_the_pems_keys(refuses, identity, vectors):
    other = Public.from_tpm2b((vectors / "swtpm" / "ecc" / "ak.tpm2b").read_bytes())
    text = identity.to_xml().replace(identity.ak.pem(), other.pem())
    refuses("TPM_Attestation_KEY_PEM", "not what the other elements make it", Identity.from_xml, text)


def test_too_long(refuses):
    refuses("identity", "longer than 262144 characters", Identity.from_xml, " " * 262145)


@pytest.mark.parametrize(
    "changes, where, fragment",
    [
        ({"system_uuid": "</xentxt:System_UUID>"}, "System_UUID", "not a UUID"),
        ({"ek_certificate": SHORT + b"\0"}, "TPM_Endorsement_Certficate", "trailing bytes"),
        ({"ek_certificate": b""}, "TPM_Endorsement_Certficate", "does not start"),
        ({"ek_certificate_chain": (b"",)}, "TPM_Endorsement_Certificate_Chain", "not one certificate"),
        ({"ek_certificate_chain": (SHORT * 2,)}, "TPM_Endorsement_Certificate_Chain", "not one certificate"),
        ({"ek_certificate_chain": (SHORT,) * 17}, "TPM_Endorsement_Certificate_Chain", "over 16"),
        (
            {"ek_certificate_chain": (b"\x30\x82\x3f\x00" + bytes(0x3F00),) * 5},
            "TPM_Endorsement_Certificate_Chain",
            "80660 bytes, at most 65536",
        ),
        ({"ak": Public("ecc", "sha256", 0, curve="nist_p256")}, "unique", "no usable public key"),
    ],
)
def test_building_what_cannot_be(refuses, identity, changes, where, fragment):
    refuses(where, fragment, identity._replace(**changes).to_xml)
