"""The documents keep up with the code: the list of error codes is complete and has nothing too much."""

import ast
import re
from pathlib import Path

import pytest

from xentpm_lib import errors

ROOT = Path(__file__).resolve().parents[2]
LAYERS = ("evidence", "tpm", "host")
CODE = re.compile(r"XENTPM_[A-Z0-9_]+")
CODE_ARGUMENT = 2  # of XenTpmError and its children: message, hint, code
ERRORS = {name: getattr(errors, name) for name in errors.__all__}


def _sources():
    files = [path for layer in LAYERS for path in (ROOT / "xentpm_lib" / layer).rglob("*.py")]
    return sorted(files) + sorted(path for path in (ROOT / "plugins").iterdir() if path.is_file())


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


def _documented():
    text = (ROOT / "docs/plugin-api.md").read_text("utf-8")
    rows = re.findall(r"^\| `(XENTPM_[A-Z0-9_]+)` \| (.*) \| (.*) \|$", text, re.MULTILINE)
    return [code for code, meaning, step in rows if meaning and step]


def test_every_error_code_is_in_the_list_and_the_list_has_no_other():
    made = set().union(*(codes_in(path.read_text("utf-8")) for path in _sources()))
    assert made == set(_documented())


def test_the_list_is_in_alphabetical_order_and_has_no_code_twice():
    codes = _documented()
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
