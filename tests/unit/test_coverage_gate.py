"""scripts/coverage_gate.py: layers by name, lines and branches apart, nothing measured is not good."""

import importlib.util
from pathlib import Path

import pytest

LAYERS = ("evidence", "tpm", "host", "verifier")
_PATH = Path(__file__).resolve().parents[2] / "scripts" / "coverage_gate.py"


@pytest.fixture(scope="module")
def gate():
    spec = importlib.util.spec_from_file_location("coverage_gate", _PATH)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _file(lines, covered, branches, covered_branches):
    names = ("num_statements", "covered_lines", "num_branches", "covered_branches")
    return {"summary": dict(zip(names, (lines, covered, branches, covered_branches), strict=True))}


def _files(**changed):
    files = {"xentpm_lib/{}/a.py".format(layer): _file(10, 10, 4, 4) for layer in LAYERS}
    files["xentpm_lib/simulator/a.py"] = _file(10, 0, 4, 0)
    files.update({"xentpm_lib/{}/b.py".format(layer): value for layer, value in changed.items()})
    return files


def test_all_covered(gate):
    lines, good = gate.judge(_files())
    assert good and len(lines) == len(LAYERS) and all(line.endswith(": ok") for line in lines)


def test_a_branch_of_evidence_is_missing(gate):
    lines, good = gate.judge(_files(evidence=_file(5, 5, 2, 1)))
    assert not good
    assert lines[0] == "coverage of evidence  lines 100.00 %, branches  83.33 %, least 100 %: TOO LOW"


def test_ninety_percent_are_enough_of_the_others(gate):
    assert gate.judge(_files(tpm=_file(10, 8, 16, 14)))[1]
    assert not gate.judge(_files(host=_file(100, 100, 100, 80)))[1]
    assert not gate.judge(_files(host=_file(100, 80, 0, 0)))[1]


def test_a_layer_without_files_is_not_good(gate):
    files = {name: value for name, value in _files().items() if "/tpm/" not in name}
    assert not gate.judge(files)[1]


def test_absolute_paths_count_as_well(gate):
    assert gate.judge({"/a/xentpm_lib/x/" + name: value for name, value in _files().items()})[1]
