"""tpm2-tools against a dom0's TPM: what other software, or an administrator, does to it."""

import os
import subprocess
from typing import Any

from support.dom0 import PASSWORD

OWNER = "hex:" + PASSWORD
"""The owner's password of every `Dom0`, as tpm2-tools take it."""


class Tpm2Failed(Exception):
    """A tool ended with an error; the text is its stderr."""


def tpm2(dom0: Any, command: str, *arguments: str, **options: Any) -> str:
    """Run ``tpm2 command arguments`` with the TPM of ``dom0``; returns stdout.

    ``cwd``: where relative file names are, the dom0's root unless given. Raises: Tpm2Failed.
    """
    environment = dict(os.environ, TPM2TOOLS_TCTI=dom0.tpm.tcti, TSS2_LOG="all+none")
    return run_tool(["tpm2", command] + list(arguments), options.get("cwd") or dom0.root, environment)


def run_tool(command: Any, cwd: str, environment: Any = None) -> str:
    """Run a program without a TPM. Raises: Tpm2Failed."""
    process = subprocess.Popen(
        list(command), cwd=cwd, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    out, err = process.communicate(timeout=300)
    if process.returncode != 0:
        raise Tpm2Failed("{}: {}".format(" ".join(command), err.decode("utf-8", "replace")))
    return out.decode("utf-8", "replace")


def flush(dom0: Any) -> None:
    """Flush what the tools left in the TPM: there is no resource manager between them."""
    for kind in ("-t", "-l", "-s"):
        tpm2(dom0, "flushcontext", kind)
