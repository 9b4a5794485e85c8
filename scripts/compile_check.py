"""Compile files without running or writing anything: ``python3.6 scripts/compile_check.py FILE|DIRECTORY …``.

Run by the oldest Python that dom0 has, it finds syntax that this Python does not know.
"""

import os
import sys
from typing import Iterator, List


def python_files(paths: List[str]) -> Iterator[str]:
    """The files given, and every ``.py`` below the directories given."""
    for path in paths:
        if not os.path.isdir(path):
            yield path
        for folder, _, names in os.walk(path):
            for name in sorted(names):
                if name.endswith(".py"):
                    yield os.path.join(folder, name)


def main() -> int:
    """Exit status 0 when every file compiles and there was at least one, 1 when not."""
    bad = count = 0
    for path in python_files(sys.argv[1:]):
        count += 1
        try:
            with open(path, encoding="utf-8") as file:
                compile(file.read(), path, "exec")
        except (OSError, SyntaxError, UnicodeDecodeError) as error:
            bad += 1
            print("{}:{}: {}".format(path, getattr(error, "lineno", "?"), error))
    print("Python {}.{} compiled {} files, {} of them with errors".format(*sys.version_info[:2], count, bad))
    return 1 if bad or not count else 0


if __name__ == "__main__":
    sys.exit(main())
