"""A simulated host: a directory with a software TPM, a dom0 file system and the files that it boots from.

    machine = Machine.create(directory, "host-1")
    machine.power_on()                   # starts the TPM, measures, runs the boot-time unit
    machine.edit("initrd")
    machine.reboot()                     # and PCR 9 is another one

``<directory>/root`` stands for ``/`` of dom0, ``<directory>/tpm`` is the TPM's chip.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import threading
from pathlib import Path

from xentpm_lib.simulator import components, dom0_tree
from xentpm_lib.simulator.boot import measured_boot, write_event_log
from xentpm_lib.simulator.boot_files import COMMAND_LINES, FILES, BootFiles, root_label
from xentpm_lib.simulator.boot_unit import BootReport, run_boot_unit
from xentpm_lib.simulator.machine_record import (
    MachineRecord,
    all_or_nothing,
    checked_name,
    checked_python,
    checked_uuid,
    clear_errors,
)
from xentpm_lib.simulator.swtpm import Swtpm

__all__ = ["Machine"]

_DEFAULT_AUTH = hashlib.sha1(b"xenroot").hexdigest()


class Machine:
    """One simulated host. Its methods may be called from several threads."""

    def __init__(self, directory: Path, record: MachineRecord, python: str) -> None:
        """Use :meth:`create` or :meth:`load`."""
        self._directory = directory
        self._record = record
        self._python = python
        self._lock = threading.RLock()
        self._files = BootFiles(self.root, record.txt)
        self._tpm = Swtpm(str(self._state_dir))
        self._report: BootReport | None = None

    # Making

    @classmethod
    def create(
        cls,
        directory: Path | str,
        name: str,
        uuid: str | None = None,
        *,
        txt: bool = False,
        event_log: bool = True,
        ecc_ek: bool = False,
        ca_dir: Path | str | None = None,
        plugin_source: Path | str | None = None,
        python: str | None = None,
        label: str | None = None,
    ) -> Machine:
        """Make a host that is switched off, in a directory that is new or empty.

        uuid: its XAPI uuid, a random one unless given. txt: whether it boots by a dynamic launch.
        event_log: whether dom0 shows the firmware's. ecc_ek: see ``Swtpm.manufacture``.
        ca_dir: the CA that certifies its TPM, ``<directory>/ca`` unless given; hosts may share one.
        plugin_source, python: what runs as the plugin, this project's and this interpreter unless given.
        label: of its root file system, another one on each host unless given.
        Raises: UsageError when that cannot be done; then nothing is left behind.
        """
        place = Path(directory).absolute()
        record = MachineRecord(
            name=checked_name(name),
            uuid=checked_uuid(uuid),
            txt=txt,
            event_log=event_log,
            ca_dir=os.path.relpath(Path(ca_dir).absolute() if ca_dir else place / "ca", place),
            plugin=str(Path(plugin_source).absolute()) if plugin_source else "",
            ecc_ek=ecc_ek,
        )
        machine = cls(place, record, checked_python(python))
        with all_or_nothing(place):
            machine._install(label or root_label(record.uuid))
        return machine

    @classmethod
    def load(cls, directory: Path | str, *, python: str | None = None) -> Machine:
        """Return the host that :meth:`create` made in a directory, switched off, with today's plugin.

        Raises: UsageError when there is none, FormatError when its description is damaged.
        """
        place = Path(directory).absolute()
        machine = cls(place, MachineRecord.read(place), checked_python(python))
        with clear_errors(place):
            dom0_tree.install_software(machine.root, machine._plugin_source, machine._python)
            dom0_tree.set_tcti(machine.root, machine.tcti)
        return machine

    # Looking

    @property
    def name(self) -> str:
        """The host's name-label and host name."""
        return self._record.name

    @property
    def uuid(self) -> str:
        """The host's XAPI uuid."""
        return self._record.uuid

    @property
    def txt(self) -> bool:
        """Whether the host boots by a dynamic launch."""
        return self._record.txt

    @property
    def directory(self) -> Path:
        """The directory that holds everything of the host."""
        return self._directory

    @property
    def root(self) -> Path:
        """The directory that stands for ``/`` of the host's dom0."""
        return self._directory / "root"

    @property
    def plugin_path(self) -> Path:
        """The host's copy of the plugin, executable."""
        return self.root / dom0_tree.PLUGIN

    @property
    def ca_dir(self) -> Path:
        """The CA of the host's TPM: ``root.pem`` and ``issuer.pem`` are its certificates."""
        return Path(os.path.normpath(self._directory / self._record.ca_dir))

    @property
    def tcti(self) -> str:
        """The configuration string that reaches the host's TPM while the host runs."""
        return self._tpm.tcti

    @property
    def tpm(self) -> Swtpm:
        """The TPM itself, as somebody with a probe on the main board sees it."""
        return self._tpm

    @property
    def powered(self) -> bool:
        """Whether the host runs, started by this object."""
        return self._tpm.running

    @property
    def boot_report(self) -> BootReport | None:
        """How the last boot went; None before the first."""
        return self._report

    # Power

    def power_on(self) -> None:
        """Boot: start the TPM, measure, run the boot-time unit. Nothing happens when the host runs.

        The unit's failure is told by :attr:`boot_report` only.
        Raises: UsageError or FormatError when the host cannot boot from its files, TpmError; the host is
        off then.
        """
        with self._lock:
            if self.powered:
                return
            self._tpm.start()
            try:
                with clear_errors(self._directory):
                    self._boot()
            except BaseException:
                self._tpm.kill()
                raise

    def power_off(self) -> None:
        """Switch the host off, its TPM in order. Nothing happens when it is off."""
        with self._lock:
            self._tpm.stop()

    def reboot(self) -> None:
        """Switch the host off and on. Raises: as :meth:`power_on`."""
        with self._lock:
            self.power_off()
            self.power_on()

    def replace_tpm(self) -> None:
        """Put another new TPM in, with other keys, as after a change of the main board.

        A host that runs is rebooted. Raises: UsageError, the old TPM being kept; as :meth:`power_on`.
        """
        with self._lock:
            running = self.powered
            new = self._directory / "tpm.new"
            old = self._directory / "tpm.old"
            with clear_errors(self._directory):
                for path in (new, old):
                    shutil.rmtree(path, ignore_errors=True)
                self._manufacture(new)
                self.power_off()
                self._state_dir.rename(old)
                new.rename(self._state_dir)
                shutil.rmtree(old, ignore_errors=True)
            if running:
                self.power_on()

    # Editing

    def components(self) -> tuple[str, ...]:
        """Return the names of what can be edited."""
        return FILES + COMMAND_LINES

    def edit(
        self, component: str, *, content: bytes | str | None = None, append: bytes | str | None = None
    ) -> None:
        """Change a component on the disk: replace it, or append to it; the next boot measures it.

        Without either, a mark is appended. To a command line a word is appended.
        Raises: UsageError for an unknown component, or text that cannot be a command line.
        """
        with self._lock, clear_errors(self._directory):
            components.edit(self._files, component, content, append)

    def command_line(self, component: str) -> str:
        """Return what ``xen-cmdline`` or ``kernel-cmdline`` is. Raises: UsageError, FormatError."""
        with clear_errors(self._directory):
            return components.command_line(self._files, component)

    # Within

    @property
    def _state_dir(self) -> Path:
        return self._directory / "tpm"

    @property
    def _plugin_source(self) -> Path:
        return Path(self._record.plugin) if self._record.plugin else dom0_tree.default_plugin()

    def _install(self, label: str) -> None:
        dom0_tree.write_tree(self.root, dom0_tree.Identity(self.name, self.uuid), self.txt)
        self._files.write_new(label)
        tag_pcr = "22" if self.txt else "15"
        settings = {"password": _DEFAULT_AUTH, "tcti": self.tcti, "asset_tag_pcr": tag_pcr}
        dom0_tree.write_config(self.root, settings)
        dom0_tree.install_software(self.root, self._plugin_source, self._python)
        self._manufacture(self._state_dir)
        self._record.write(self._directory)

    def _manufacture(self, state_dir: Path) -> None:
        Swtpm.manufacture(str(state_dir), str(self.ca_dir), ecc_ek=self._record.ecc_ek)

    def _boot(self) -> None:
        measurements = measured_boot(self._tpm, self._files, self.uuid)
        write_event_log(self.root, measurements if self._record.event_log else None)
        status, errors = run_boot_unit(self.root, self._python)
        self._report = BootReport(tuple(measurements), status, errors)
