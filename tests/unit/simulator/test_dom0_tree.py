"""Programs that are written to a simulated host's dom0."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from xentpm_lib.simulator.dom0_tree import replace_program


def test_a_program_is_written_by_many_at_once(tmp_path: Path) -> None:
    """As when several terminals are in the dom0 of one host."""
    target = tmp_path / "xentpm"
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda number: replace_program(target, b"%03d" % number * 10000), range(50)))
    assert [path.name for path in tmp_path.iterdir()] == ["xentpm"]
    text = target.read_text()
    assert text == text[:3] * 10000 and target.stat().st_mode & 0o777 == 0o755
