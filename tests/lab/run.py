"""``python -m lab.run PORT COMMAND``: a shell command in the dom0 of a machine that was kept."""

import sys

from lab.dom0 import Agent

if __name__ == "__main__":
    ended = Agent(int(sys.argv[1])).run(" ".join(sys.argv[2:]))
    sys.stdout.write(ended.out)
    sys.stderr.write(ended.err)
    sys.exit(ended.status)
