"""The two RPMs: the payload, and the one that tells XAPI that the update is applied."""

import glob
import os
from typing import Dict

from pack.tools import PackError, run

__all__ = ["build_rpm"]

_REPRODUCIBLE = {
    "_buildhost": "reproducible",
    "use_source_date_epoch_as_buildtime": "1",
    "clamp_mtime_to_source_date_epoch": "1",
    "source_date_epoch_from_changelog": "0",
    "_binary_payload": "w6.xzdio",  # what every release of XenServer and XCP-ng unpacks
    "_source_filedigest_algorithm": "8",
    "_binary_filedigest_algorithm": "8",
    "vendor": "xentpm",
    "packager": "%{nil}",
}


def build_rpm(spec: str, work: str, machine: str, epoch: int, macros: Dict[str, str]) -> str:
    """Build the RPM of ``spec`` with ``macros`` below the new folder ``work``; returns its path.

    Raises:
        PackError: rpmbuild failed.
    """
    os.makedirs(work)
    defines = dict(_REPRODUCIBLE, _topdir=work, _tmppath=os.path.join(work, "tmp"), **macros)
    command = ["rpmbuild", "-bb", "--quiet", "--target", machine]
    for name, value in sorted(defines.items()):
        command += ["--define", "{} {}".format(name, value)]
    run(command + [spec], environment={"SOURCE_DATE_EPOCH": str(epoch)})
    found = glob.glob(os.path.join(work, "RPMS", "*", "*.rpm"))
    if len(found) != 1:
        raise PackError("rpmbuild made {} packages of {}, not 1".format(len(found), spec))
    return found[0]
