"""A dynamic launch: what the processor, tboot's launch policy and tboot measure on a TXT machine.

PCR 17 SINIT and launch policy; 18 tboot, then Xen; 19 the dom0 kernel and its initrd; 22 the asset tag.
A module's digest is H(H(command line) ‖ H(file)), the command line being without the file's name.
"""

from __future__ import annotations

from xentpm_lib.errors import FormatError, TpmError
from xentpm_lib.evidence.algorithms import digest, digest_size
from xentpm_lib.simulator import tpm_wire
from xentpm_lib.simulator.grub import BootModule
from xentpm_lib.simulator.measurement import BANKS, Measurement, measure
from xentpm_lib.simulator.swtpm import Swtpm

__all__ = ["dynamic_launch"]

EV_DYNAMIC_LAUNCH = 0x00000400
"""Base of the event types of dynamic launches. Their log is not among what Linux shows."""

ASSET_TAG_INDEX = 0x01C10110
LAUNCH_PCR, ENVIRONMENT_PCR, MODULES_PCR, TAG_PCR = 17, 18, 19, 22
_PROCESSOR = 4
_MEASURED_ENVIRONMENT = 2
_DEFAULT_POLICY = b"tboot: the default launch policy: any tboot, any modules\n"


def dynamic_launch(tpm: Swtpm, modules: list[BootModule]) -> list[Measurement]:
    """Do a dynamic launch of tboot, Xen, kernel, initrd and SINIT; return what it measured.

    Raises: FormatError when these are not the modules, TpmError.
    """
    if len(modules) != 5 or "tboot" not in modules[0].path:
        raise FormatError(
            "a launch needs tboot, Xen, kernel, initrd and SINIT in this order", where="grub.cfg"
        )
    sinit = modules[-1].content
    tpm.dynamic_launch(sinit)
    first = measure(LAUNCH_PCR, EV_DYNAMIC_LAUNCH, sinit, b"SINIT", _PROCESSOR)
    rest = [measure(LAUNCH_PCR, EV_DYNAMIC_LAUNCH, _DEFAULT_POLICY, b"launch policy", _MEASURED_ENVIRONMENT)]
    rest += [_module(ENVIRONMENT_PCR, module) for module in modules[:2]]
    rest += [_module(MODULES_PCR, module) for module in modules[2:4]]
    rest += _asset_tag(tpm)
    for measurement in rest:
        tpm.extend(measurement.pcr, measurement.digests, measurement.locality)
    return [first, *rest]


def _module(pcr: int, module: BootModule) -> Measurement:
    text = module.arguments.encode("utf-8")
    digests = {bank: digest(bank, digest(bank, text) + digest(bank, module.content)) for bank in BANKS}
    return Measurement(pcr, EV_DYNAMIC_LAUNCH, digests, module.path.encode("utf-8"), _MEASURED_ENVIRONMENT)


def _asset_tag(tpm: Swtpm) -> list[Measurement]:
    """Measure the asset tag; nothing where there is none, or none that can be read without a password."""
    try:
        public = tpm.run("TPM2_NV_ReadPublic", tpm_wire.nv_read_public(ASSET_TAG_INDEX))
        size = tpm_wire.parse_nv_size(public)
        tag = tpm_wire.parse_nv_data(tpm.run("TPM2_NV_Read", tpm_wire.nv_read(ASSET_TAG_INDEX, size)))
    except TpmError as error:
        if error.rc is None:
            raise
        return []
    digests = {bank: tag if len(tag) == digest_size(bank) else digest(bank, tag) for bank in BANKS}
    return [Measurement(TAG_PCR, EV_DYNAMIC_LAUNCH, digests, tag, _MEASURED_ENVIRONMENT)]
