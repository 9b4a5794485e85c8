"""The documents keep up with the code: the list of error codes is complete, the sample verifier refuses."""

import ast
import re
import runpy
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, utils

from xentpm_lib import errors
from xentpm_lib.evidence import tpm_structures as ts
from xentpm_lib.evidence.algorithms import digest, digest_size
from xentpm_lib.evidence.encoding import encode_base64
from xentpm_lib.evidence.identity import Identity
from xentpm_lib.evidence.pcr import PcrSelection, composite_digest
from xentpm_lib.evidence.quote import CertifiedTag, QuoteEvidence
from xentpm_lib.verifier.station_config import parse_config

ROOT = Path(__file__).resolve().parents[2]
LAYERS = ("evidence", "tpm", "host")
CODE = re.compile(r"XENTPM_[A-Z0-9_]+")
CODE_ARGUMENT = 2  # of XenTpmError and its children: message, hint, code
ERRORS = {name: getattr(errors, name) for name in errors.__all__}
VARIABLES = {"XENTPM_ATTEST_HOME", "XENTPM_DEBUG", "XENTPM_PASSWORD"}  # of the environment: no codes
OF_THE_PLUGIN = "faults.py"  # names the codes that a host's plugin answers with


def _sources():
    files = [path for layer in LAYERS for path in (ROOT / "xentpm_lib" / layer).rglob("*.py")]
    return sorted(files) + sorted(path for path in (ROOT / "plugins").iterdir() if path.is_file())


def _verifier_sources():
    files = [
        path for layer in ("verifier", "evidence") for path in (ROOT / "xentpm_lib" / layer).rglob("*.py")
    ]
    return sorted(path for path in files if path.name != OF_THE_PLUGIN)


def _docstrings(tree):
    """The constants that are docstrings: they may name a code that their function does not make."""
    bodies = [node.body for node in ast.walk(tree) if hasattr(node, "body") and isinstance(node.body, list)]
    first = [body[0] for body in bodies if body and isinstance(body[0], ast.Expr)]
    return {id(statement.value) for statement in first}


def _without_code(call):
    return len(call.args) <= CODE_ARGUMENT and not any(word.arg == "code" for word in call.keywords)


def codes_in(text):
    """The codes that a source can make: those it spells out, and those that its errors have by default."""
    tree = ast.parse(text)
    documentation = _docstrings(tree)
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in documentation:
            found.update(CODE.findall(node.value))
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in ERRORS:
            if _without_code(node):
                found.add(ERRORS[node.func.id].default_code)
    return found


def _documented(document="docs/plugin-api.md"):
    text = (ROOT / document).read_text("utf-8")
    rows = re.findall(r"^\| `(XENTPM_[A-Z0-9_]+)` \| (.*) \| (.*) \|$", text, re.MULTILINE)
    return [code for code, meaning, step in rows if meaning and step]


def test_every_error_code_is_in_the_list_and_the_list_has_no_other():
    made = set().union(*(codes_in(path.read_text("utf-8")) for path in _sources()))
    assert made == set(_documented())


def test_every_error_code_of_the_verifier_is_in_its_list_and_the_list_has_no_other():
    made = set().union(*(codes_in(path.read_text("utf-8")) for path in _verifier_sources()))
    assert made - VARIABLES == set(_documented("docs/verifier.md"))


@pytest.mark.parametrize("document", ["docs/plugin-api.md", "docs/verifier.md"])
def test_the_list_is_in_alphabetical_order_and_has_no_code_twice(document):
    codes = _documented(document)
    assert codes == sorted(set(codes))


@pytest.mark.parametrize(
    ("source", "codes"),
    [
        ("def f():\n    '''XENTPM_A'''\n", set()),
        ("raise TpmError('m', 'h', 'XENTPM_A')\n", {"XENTPM_A"}),
        ("raise FormatError('m', code='XENTPM_B', where='w')\n", {"XENTPM_B"}),
        ("raise UsageError('m', 'h')\n", {"XENTPM_BAD_ARGUMENT"}),
        ("raise TpmError('m', rc=5)\n", {"XENTPM_TPM_ERROR"}),
        ("TEXT = '<value>XENTPM_C</value>'\n", {"XENTPM_C"}),
    ],
)
def test_codes_are_found(source, codes):
    assert codes_in(source) == codes


@pytest.mark.parametrize("path", sorted((ROOT / "docs").rglob("*.md")), ids=lambda path: path.name)
def test_documents_that_a_document_names_are_there(path):
    text = path.read_text("utf-8")
    named = re.findall(r"docs/[\w/-]+\.md", text)
    assert [name for name in named if not (ROOT / name).is_file()] == []


def test_every_decision_is_in_the_list_of_the_architecture():
    text = (ROOT / "docs/architecture.md").read_text("utf-8")
    records = {path.relative_to(ROOT).as_posix() for path in (ROOT / "docs/adr").glob("*.md")}
    assert set(re.findall(r"^\| (docs/adr/[\w.-]+\.md) \| .* \|$", text, re.MULTILINE)) == records


def test_the_readme_is_short_and_names_every_document():
    text = (ROOT / "README.md").read_text("utf-8")
    assert len(text.splitlines()) < 200
    assert [path.name for path in (ROOT / "docs").glob("*.md") if f"(docs/{path.name})" not in text] == []


def _blocks(document, language):
    text = (ROOT / document).read_text("utf-8")
    return re.findall(rf"^```{language}\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd is not installed")
def test_the_service_of_the_verifier_is_one_that_systemd_takes(tmp_path):
    text = (ROOT / "packaging/station/xentpm-attest.service").read_text("utf-8")
    unit = tmp_path / "xentpm-attest.service"
    unit.write_text(text.replace("/opt/xentpm/bin/xentpm-attest", sys.executable), "utf-8")
    ended = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", str(unit)], capture_output=True, text=True, timeout=60
    )
    assert (ended.returncode, unit.name in ended.stderr) == (0, False), ended.stderr


def test_the_configuration_in_the_verifiers_document_has_no_mistake():
    (text,) = _blocks("docs/verifier.md", "toml")
    config, mistakes = parse_config(text)
    assert mistakes == ()
    assert config.store.url.startswith("postgresql")


NONCE, TAG = bytes(range(32)), bytes(range(1, 33))
UUID = "01234567-89ab-cdef-0123-456789abcdef"
KEY = ec.derive_private_key(0x1234567, ec.SECP256R1())
AK_ATTRIBUTES = ts.FIXED_TPM | ts.FIXED_PARENT | ts.SENSITIVE_DATA_ORIGIN | ts.USER_WITH_AUTH | ts.RESTRICTED
TAG_ATTRIBUTES = ts.NV_OWNERWRITE | ts.NV_OWNERREAD | ts.NV_AUTHREAD | ts.NV_NO_DA | ts.NV_WRITTEN


def _programs(path):
    """The Python programs in a document, each as its text."""
    return re.findall(r"^```python\n(.*?)^```$", (ROOT / path).read_text("utf-8"), re.MULTILINE | re.DOTALL)


def _signed(attest):
    """``attest`` as bytes, and KEY's signature as a TPM gives it."""
    r, s = utils.decode_dss_signature(KEY.sign(attest.to_bytes(), ec.ECDSA(hashes.SHA256())))
    signature = ts.Signature("ecdsa", "sha256", r=r.to_bytes(32, "big"), s=s.to_bytes(32, "big"))
    return attest.to_bytes(), signature.to_bytes()


def _attest(kind, **content):
    return ts.Attest(kind, b"\0\x0b" + bytes(32), content.pop("nonce", NONCE), 1, 1, 0, True, 1, **content)


def _quote(pcrs="sha256:all", value=b"\1", kind="quote", nonce=NONCE):
    """Attest, signature and PCR values of a quote over ``pcrs``, all of one value."""
    if kind != "quote":
        return _tag()[1:] + ({"sha256": {0: bytes(32)}},)
    selection = PcrSelection.from_text(pcrs)
    values = {bank: {i: value * digest_size(bank) for i in indices} for bank, indices in selection.banks}
    info = ts.QuoteInfo(selection, composite_digest(values, selection, "sha256"))
    return _signed(_attest("quote", quote=info, nonce=nonce)) + (values,)


def _tag(contents=TAG, offset=0, kind="nv_certify", certified=None, nonce=NONCE, **public):
    """nv_public, attest and signature of an asset tag; ``certified``: the index that the statement is of."""
    fields = {"index": 0x01C10110, "name_alg": "sha256", "attributes": TAG_ATTRIBUTES, "data_size": 32}
    index = ts.NvPublic(**dict(fields, **public))
    if kind != "nv_certify":
        return (index.to_tpm2b(),) + _quote()[:2]
    name = ts.NvPublic(**dict(fields, index=certified)).name() if certified else index.name()
    info = ts.NvCertifyInfo(name, offset, contents)
    return (index.to_tpm2b(),) + _signed(_attest("nv_certify", nv=info, nonce=nonce))


def _ak():
    point = KEY.public_key().public_numbers()
    coordinates = {"x": point.x.to_bytes(32, "big"), "y": point.y.to_bytes(32, "big")}
    scheme = ts.Scheme("ecdsa", "sha256")
    return ts.Public(
        "ecc", "sha256", AK_ATTRIBUTES | ts.SIGN, scheme=scheme, curve="nist_p256", **coordinates
    )


@pytest.fixture
def check_quote(tmp_path, monkeypatch, capsys):
    """Runs check_quote.py of docs/plugin-api.md over a quote and a tag; returns all that it says."""
    (text,) = [text for text in _programs("docs/plugin-api.md") if text.startswith('"""check_quote.py')]
    program = tmp_path / "check_quote.py"
    program.write_text(text, "ascii")
    identity = Identity(ek_certificate=None, ek=_ak(), ak=_ak(), system_uuid=UUID)
    (tmp_path / "identity.xml").write_text(identity.to_xml() + "\n", "ascii")

    def run(quote, tag, *words):
        evidence = QuoteEvidence(
            untrusted_host_uuid=UUID,
            untrusted_created="2026-01-31T23:59:59Z",
            untrusted_ak_name=_ak().name(),
            untrusted_ak_public=_ak().to_tpm2b(),
            attest=quote[0],
            signature=quote[1],
            untrusted_pcrs=quote[2],
            asset_tag=tag and CertifiedTag(*tag),
            untrusted_event_log=None,
            untrusted_boot_log=None,
        )
        (tmp_path / "quote.json").write_text(evidence.to_json() + "\n", "ascii")
        arguments = words or (encode_base64(NONCE), "identity.xml", "quote.json")
        monkeypatch.chdir(tmp_path)
        monkeypatch.setattr(sys, "argv", [str(program), *arguments])
        try:
            runpy.run_path(str(program), run_name="__main__")
        except SystemExit as end:
            return capsys.readouterr().out + str(end.code)
        return capsys.readouterr().out

    return run


def test_the_program_accepts_what_is_good(check_quote):
    good = "quote: good, PCRs sha256:all\nasset tag: "
    assert check_quote(_quote(), _tag()) == good + "good, {}\n".format(TAG.hex())
    assert check_quote(_quote(), None) == good + "none\n"


@pytest.mark.parametrize(
    ("quote", "said"),
    [
        ({"nonce": bytes(32)}, "another nonce: this is not the answer to our question"),
        ({"kind": "nv_certify"}, "this is no quote"),
        ({"pcrs": "sha384:all"}, "a quote over sha384:all, not over sha256:all"),
        ({"pcrs": "sha256:0"}, "a quote over sha256:0, not over sha256:all"),
        ({"pcrs": "sha256:all+sha384:all"}, "a quote over sha256:all+sha384:all, not over sha256:all"),
        ({"value": b"\0"}, "the firmware does not measure into this bank: anybody in dom0 can fill it"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_the_program_refuses_a_quote(check_quote, quote, said):
    assert check_quote(_quote(**quote), None) == said


def test_the_program_refuses_values_and_signatures_of_something_else(check_quote):
    attest, signature, _ = _quote()
    assert check_quote((attest, signature, _quote(value=b"\2")[2]), None).startswith("the PCR values are not")
    assert check_quote((attest, _quote(nonce=TAG)[1], _quote()[2]), None).startswith(
        "the attestation key did"
    )
    assert check_quote(_quote(), None, "x") == "usage: check_quote.py NONCE IDENTITY.xml QUOTE.json"
    assert check_quote(_quote(), None, "x", "y", "z").startswith("this cannot be read: NONCE: ")


@pytest.mark.parametrize(
    ("tag", "said"),
    [
        ({"nonce": bytes(32)}, "another nonce: this is not the answer to our question"),
        ({"kind": "quote"}, "the asset tag is of another NV index"),
        ({"index": 0x01C10111}, "the asset tag is of another NV index"),
        ({"certified": 0x01C10111}, "the asset tag is of another NV index"),
        ({"attributes": TAG_ATTRIBUTES | ts.NV_AUTHWRITE}, "the NV index was not made as an asset tag"),
        ({"attributes": TAG_ATTRIBUTES & ~ts.NV_WRITTEN}, "the NV index was not made as an asset tag"),
        ({"auth_policy": digest("sha256", b"")}, "the NV index was not made as an asset tag"),
        ({"data_size": 33, "contents": TAG + b"1"}, "the NV index was not made as an asset tag"),
        ({"data_size": 48}, "this is a part of an asset tag only"),
        ({"data_size": 48, "offset": 16}, "this is a part of an asset tag only"),
        ({"contents": TAG[:20]}, "this is a part of an asset tag only"),
    ],
)
def test_the_program_refuses_an_asset_tag(check_quote, tag, said):
    assert check_quote(_quote(), _tag(**tag)) == "quote: good, PCRs sha256:all\n" + said


@pytest.mark.parametrize("path", ["docs/plugin-api.md", "docs/evidence-format.md"])
def test_programs_in_documents_compile(path):
    assert [ast.parse(text) for text in _programs(path)]


@pytest.mark.parametrize("path", sorted((ROOT / "docs").rglob("*.md")), ids=lambda path: path.name)
def test_no_command_has_a_password_or_the_dash_that_sha1sum_prints(path):
    text = path.read_text("utf-8")
    assert re.findall(r".* -p hex:.*", text) == []
    assert re.findall(r".*\| sha1sum(?! \\?\| cut -c1-40).*", text) == []
