"""README.md: every test, finding and defence that it names exists, and no test is left out."""

from __future__ import annotations

import ast
import pkgutil
import re
from pathlib import Path

import pytest

from xentpm_lib.verifier.findings import FINDING_KINDS

HERE = Path(__file__).parent
ROWS = [
    [cell.strip() for cell in line.strip("| ").split(" | ")]
    for line in (HERE / "README.md").read_text(encoding="utf-8").splitlines()
    if line.startswith("|") and not line.startswith(("|---", "| attack |"))
]
PUBLISHED = (  # what the project promises to cover
    "CVE-2021-3406",
    "CVE-2021-42299",
    "CVE-2022-0317",
    "CVE-2022-1053",
    "CVE-2022-3500",
    "CVE-2023-3674",
    "CVE-2023-38201",
    "CVE-2024-29038",
    "CVE-2024-29039",
    "CVE-2024-29040",
    "CVE-2025-13609",
)


def names_of_tests() -> list[str]:
    """The tests of this folder but those of this file."""
    files = (path for path in HERE.glob("test_*.py") if path != Path(__file__))
    parsed = [node for path in files for node in ast.parse(path.read_text(encoding="utf-8")).body]
    return [node.name for node in parsed if isinstance(node, ast.FunctionDef) and node.name[:5] == "test_"]


def test_rows_are_whole() -> None:
    assert len(ROWS) > 60
    assert [row for row in ROWS if len(row) != 4 or not all(row)] == []


def test_every_test_is_in_the_index_once() -> None:
    named = [name for row in ROWS for name in re.findall(r"`(\w+)`", row[1])]
    assert sorted(named) == sorted(names_of_tests())


def test_every_defence_exists() -> None:
    for row in ROWS:
        for name in re.findall(r"`(.+?)`", row[3]):
            pkgutil.resolve_name("xentpm_lib." + name)


def test_every_finding_exists() -> None:
    for row in ROWS:
        for code in re.findall(r"\b[A-Z]+_[A-Z_]+\b", row[2]):
            assert code.startswith("XENTPM_") or code in FINDING_KINDS, code


@pytest.mark.parametrize("cve", PUBLISHED)
def test_every_published_attack_is_covered(cve: str) -> None:
    rows = [row for row in ROWS if cve in row[0]]
    assert any(cve.lower().replace("-", "_") in row[1] for row in rows)
