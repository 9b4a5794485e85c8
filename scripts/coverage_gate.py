"""The least coverage of each layer: ``coverage json -o FILE`` first, then ``coverage_gate.py FILE``.

Lines and branches are counted apart, so that many lines cannot make up for branches. A layer without
any line measured fails: nothing was tested.
"""

import json
import os
import sys
from typing import Any, Dict, List, NamedTuple, Tuple

#: layer: least percentage of lines and of branches
GATES = {"evidence": 100.0, "tpm": 90.0, "host": 90.0, "verifier": 85.0}


class Count(NamedTuple):
    """What of a layer was there and what of it ran."""

    lines: int
    covered_lines: int
    branches: int
    covered_branches: int

    def percentages(self) -> Tuple[float, float]:
        """Lines, branches; 0 % of no lines, 100 % of no branches."""
        lines = 100.0 * self.covered_lines / self.lines if self.lines else 0.0
        return lines, (100.0 * self.covered_branches / self.branches if self.branches else 100.0)


def count_layer(files: Dict[str, Any], layer: str) -> Count:
    """Add up the files of one layer in coverage.py's JSON report."""
    total = Count(0, 0, 0, 0)
    for name, report in files.items():
        if name.replace(os.sep, "/").split("xentpm_lib/")[-1].startswith(layer + "/"):
            one = report["summary"]
            values = ("num_statements", "covered_lines", "num_branches", "covered_branches")
            total = Count(*(old + int(one.get(key, 0)) for old, key in zip(total, values)))
    return total


def judge(files: Dict[str, Any]) -> Tuple[List[str], bool]:
    """One line for each layer, and whether all are high enough."""
    lines, good = [], True
    for layer, least in sorted(GATES.items()):
        by_line, by_branch = count_layer(files, layer).percentages()
        enough = min(by_line, by_branch) >= least
        good = good and enough
        text = "coverage of {:9} lines {:6.2f} %, branches {:6.2f} %, least {:.0f} %: {}"
        lines.append(text.format(layer, by_line, by_branch, least, "ok" if enough else "TOO LOW"))
    return lines, good


def main() -> int:
    """Exit status 0 when every layer is high enough, 1 when not."""
    with open(sys.argv[1]) as file:
        report = json.load(file)
    if not report["meta"]["branch_coverage"]:
        print("coverage: no branches were measured")
        return 1
    lines, good = judge(report["files"])
    print("\n".join(lines))
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
