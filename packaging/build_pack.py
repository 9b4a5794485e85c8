"""Build the supplemental pack for the platform of the interpreter that runs this: RPMs, ISO, zip.

    python3 packaging/build_pack.py [--out dist] [--signing-key FILE|KEY] [--for ID:VERSION]… [--with-grub]

See docs/build-pack.md. Exit status 0 done, 1 failed, 2 usage.
"""

import os
import sys

HERE = os.path.dirname(os.path.abspath(__file__))

if __name__ == "__main__":
    sys.path.insert(0, HERE)
    sys.dont_write_bytecode = True
    from pack.builder import main

    sys.exit(main(os.path.dirname(HERE)))
