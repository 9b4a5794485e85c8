"""What makes a folder with RPMs a supplemental pack: the format up to 7.0, and the one of 7.1 and 8.x."""

import hashlib
import os
import uuid
from typing import NamedTuple, Sequence
from xml.sax.saxutils import escape, quoteattr

from pack.tools import run

__all__ = ["DESCRIPTION", "Release", "write_legacy", "write_repodata", "write_update"]

DESCRIPTION = "Measured boot and remote attestation (xentpm)"
_SPACE = uuid.UUID("5b9dcd2e-6f5b-5a60-9a3c-0d6c3a5f5a10")

_REPOSITORY = """<?xml version="1.0" encoding="utf-8"?>
<repository originator="xentpm" name="xentpm" product="XenServer" version={version} build={release}>
  <description>{description}</description>
  <requires originator="xs" name="main" test="ge" version="7.0.0"/>
</repository>
"""
_PACKAGES = """<?xml version="1.0" encoding="utf-8"?>
<packages>
  <package label="xentpm" type="rpm" size="{size}" md5="{md5}">{name}</package>
</packages>
"""
_UPDATE = """<?xml version="1.0" encoding="utf-8"?>
<update name-label="xentpm" version={version} uuid="{uuid}" installation-size="{size}"
    after-apply-guidance="restartHost" key={key}>
  <name-description>{description}</name-description>
</update>
"""
_COMPS = """<?xml version="1.0" encoding="utf-8"?>
<comps>
  <group>
    <id>update</id>
    <name>update</name>
    <default>true</default>
    <uservisible>true</uservisible>
    <packagelist>
      <packagereq type="mandatory">xentpm</packagereq>
      <packagereq type="mandatory">update-xentpm</packagereq>
    </packagelist>
  </group>
</comps>
"""


class Release(NamedTuple):
    """``release`` names the platform too: ``1.debian12``."""

    version: str
    release: str

    @property
    def uuid(self) -> str:
        """The update's: always the same for the same version and platform."""
        return str(uuid.uuid5(_SPACE, "xentpm-{}-{}".format(*self)))


def write_legacy(root: str, release: Release, rpm: str) -> None:
    """Write XS-REPOSITORY and XS-PACKAGES for ``rpm``, a path below ``root``."""
    with open(os.path.join(root, rpm), "rb") as file:
        data = file.read()
    # XAPI's version has numbers only; what follows the first one in the release is the platform
    words = {
        "version": quoteattr(release.version),
        "release": quoteattr(release.release.split(".")[0]),
        "description": escape(DESCRIPTION),
        "size": len(data),
        "md5": hashlib.md5(data).hexdigest(),
        "name": escape(rpm),
    }
    _write(os.path.join(root, "XS-REPOSITORY"), _REPOSITORY.format(**words))
    _write(os.path.join(root, "XS-PACKAGES"), _PACKAGES.format(**words))


def write_update(path: str, release: Release, size: int, key: str) -> None:
    """Write update.xml; ``size`` in bytes, ``key``: the public key's file name, empty where unsigned."""
    words = {"version": quoteattr(release.version), "uuid": release.uuid, "size": size, "key": quoteattr(key)}
    text = _UPDATE.format(description=escape(DESCRIPTION), **words)
    _write(path, text)


def write_repodata(root: str, work: str, epoch: int, files: Sequence[str]) -> None:
    """Make ``repodata`` over the RPMs in ``root``, with their group. Raises: PackError."""
    comps = os.path.join(work, "comps.xml")
    _write(comps, _COMPS)
    for path in list(files) + [comps]:
        os.utime(path, (epoch, epoch))
    command = ["createrepo_c", "--quiet", "--no-database", "--simple-md-filenames", "--checksum", "sha256"]
    command += ["--general-compress-type", "gz", "--revision", str(epoch), "--set-timestamp-to-revision"]
    run(command + ["--groupfile", comps, root], environment={"SOURCE_DATE_EPOCH": str(epoch)})


def _write(path: str, text: str) -> None:
    with open(path, "w", encoding="utf-8") as file:
        file.write(text)
