"""``python -m lab``: the story, and the legacy variant. Exit status: 0 good, 1 failed, 130 after Ctrl-C."""

from __future__ import annotations

import argparse
import os
import signal
import sys
import tempfile
from pathlib import Path

from lab import legacy
from lab.failures import LabError
from lab.images import prepared
from lab.progress import say, total
from lab.story import Story
from xentpm_lib.errors import XenTpmError
from xentpm_lib.simulator.watchdog import Watchdog

_SHOWN_LINES = 120  # of a serial console


def main() -> int:
    """Run the lab."""
    options = _parser().parse_args()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.default_int_handler)
    watchdog = Watchdog()
    try:
        place = Path(watchdog.make_directory("xentpm-lab-", tempfile.gettempdir()))
        return _run(options, place)
    except KeyboardInterrupt:
        say("interrupted; nothing is left behind")
        return 130
    finally:
        watchdog.close()


def _run(options: argparse.Namespace, place: Path) -> int:
    images = prepared(options.cache)
    story = Story(images, options.pack, place)
    try:
        story.tell()
        legacy.tell(images, place)
    except (AssertionError, LabError, XenTpmError) as error:
        say(f"\nThe lab failed: {error}\n")
        _show_logs(story)
        return 1
    else:
        say(f"The lab is good: {story.machine.boots} boots, {total()} in all")
        return 0
    finally:
        if options.keep and story.machine.runs:
            _keep(story)
        story.end()


def _show_logs(story: Story) -> None:
    """The console of each boot."""
    for log in sorted(story.machine.directory.glob("boot-*.log")):
        lines = log.read_bytes().decode("utf-8", "replace").splitlines()
        say(f"\n--- {log.name}, the last of {len(lines)} lines")
        for line in lines[-_SHOWN_LINES:]:
            say("".join(letter for letter in line if letter.isprintable() or letter == "\t"))


def _keep(story: Story) -> None:
    machine = story.machine
    say(f"\nThe machine runs until Ctrl-C.\n  files      {machine.directory}\n  console    {machine.log}")
    say(f"  in dom0    {sys.executable} -m lab.run {machine.agent_port} 'xentpm-boot probe'   (in tests/)")
    say(f"  XAPI       https://127.0.0.1:{machine.xapi_port}, root, password {story.password}")
    say(f"  verifier   XENTPM_ATTEST_HOME={story.station.home} xentpm-attest attest")
    signal.pause()


def _parser() -> argparse.ArgumentParser:
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "xentpm/lab"
    parser = argparse.ArgumentParser(
        prog="make lab ARGS=…", description="A real measured boot of Xen, emulated."
    )
    parser.add_argument("--pack", type=Path, required=True, metavar="ISO", help="the supplemental pack")
    parser.add_argument("--cache", type=Path, default=cache, help="where images are kept (%(default)s)")
    parser.add_argument("--keep", action="store_true", help="keep the machine running at the end")
    return parser


if __name__ == "__main__":
    sys.exit(main())
