"""The record of a host: every field of XAPI's, with values as a XenServer 8 host has them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from xentpm_lib.simulator.xapi.methods import NULL_REF, now, ref_of
from xentpm_lib.simulator.xml_values import DateTime, Value

__all__ = ["HostFacts", "SOFTWARE_VERSION", "host_record", "metrics_record"]

SOFTWARE_VERSION = {
    "product_version": "8.4.0",
    "product_version_text": "8",
    "product_version_text_short": "8",
    "product_brand": "XenServer",
    "platform_name": "XCP",
    "platform_version": "3.4.0",
    "build_number": "stream",
    "git_id": "0",
    "hostname": "localhost",
    "date": "20260105T00:00:00Z",
    "dbv": "0.0.1",
    "xapi": "25.33",
    "xapi_build": "25.33.1",
    "xen": "4.17.5-23",
    "linux": "4.19.0+1",
    "network_backend": "openvswitch",
    "db_schema": "5.790",
    "xencenter_min": "2.21",
    "xencenter_max": "2.21",
}

_BIOS_STRINGS = {
    "bios-vendor": "EDK II",
    "bios-version": "2026.01",
    "system-manufacturer": "xentpm",
    "system-product-name": "Simulated server",
    "system-version": "1",
    "baseboard-manufacturer": "xentpm",
    "baseboard-product-name": "Simulated board",
    "baseboard-version": "1",
    "enclosure-asset-tag": "",
    "hp-rombios": "",
    "oem-1": "Xen",
}

_CPU_INFO = {
    "cpu_count": "4",
    "socket_count": "1",
    "threads_per_core": "1",
    "vendor": "GenuineIntel",
    "speed": "2400.000",
    "modelname": "Simulated CPU @ 2.40GHz",
    "family": "6",
    "model": "85",
    "stepping": "7",
    "features": "",
}
_FALLBACK_FLAGS = "fpu de tsc msr pae sse sse2 ssse3 sse4_1 sse4_2 aes"

_MEMORY_TOTAL = 16 * 1024**3
_MEMORY_FREE = 12 * 1024**3


@dataclass(frozen=True)
class HostFacts:
    """What differs from host to host and from moment to moment."""

    uuid: str
    name: str
    address: str
    root: Path
    enabled: bool
    live: bool
    booted: DateTime
    other_config: dict[str, str]
    tags: list[str]

    @property
    def description(self) -> str:
        """The host's name-description, as the installer writes it."""
        return "Default install"


def host_record(facts: HostFacts) -> dict[str, Value]:
    """The whole record."""
    return {
        "uuid": facts.uuid,
        "name_label": facts.name,
        "name_description": facts.description,
        "hostname": facts.name,
        "address": facts.address,
        "enabled": facts.enabled,
        "other_config": dict(facts.other_config),
        "tags": list(facts.tags),
        "metrics": ref_of("host_metrics", facts.uuid),
        "control_domain": ref_of("VM", facts.uuid),
        "software_version": {**SOFTWARE_VERSION, "hostname": facts.name},
        "bios_strings": {**_BIOS_STRINGS, "system-serial-number": f"SIM-{facts.uuid[:8].upper()}"},
        "cpu_info": {**_CPU_INFO, "flags": _cpu_flags(facts.root)},
        "allowed_operations": _allowed_operations(facts),
        **_always(facts.uuid),
    }


def _allowed_operations(facts: HostFacts) -> list[str]:
    if not facts.live:
        return ["power_on"]
    return ["provision", "evacuate", "VM.start"] if facts.enabled else ["evacuate", "reboot", "shutdown"]


def _cpu_flags(root: Path) -> str:
    """The flags of the host's own /proc/cpuinfo, so that its plugin and its XAPI agree."""
    try:
        lines = (root / "proc/cpuinfo").read_text(errors="replace").splitlines()
    except OSError:
        lines = []
    flags = [line.partition(":")[2].strip() for line in lines if line.startswith("flags")]
    return flags[0] if flags else _FALLBACK_FLAGS


_EMPTY_LISTS: tuple[str, ...] = (
    "resident_VMs",
    "PIFs",
    "crashdumps",
    "patches",
    "updates",
    "PBDs",
    "host_CPUs",
    "ha_statefiles",
    "ha_network_peers",
    "PCIs",
    "PGPUs",
    "PUSBs",
    "updates_requiring_reboot",
    "features",
    "certificates",
    "pending_guidances",
    "pending_guidances_recommended",
    "pending_guidances_full",
)
_EMPTY_MAPS: tuple[str, ...] = (
    "current_operations",
    "API_version_vendor_implementation",
    "cpu_configuration",
    "logging",
    "license_params",
    "blobs",
    "external_auth_configuration",
    "power_on_config",
    "guest_VCPUs_params",
)


def _always(uuid: str) -> dict[str, Value]:
    """Fields that are the same on every simulated host."""
    return {
        **{name: [] for name in _EMPTY_LISTS},
        **{name: {} for name in _EMPTY_MAPS},
        "API_version_major": 2,
        "API_version_minor": 21,
        "API_version_vendor": "XenSource",
        "capabilities": ["xen-3.0-x86_64", "hvm-3.0-x86_32", "hvm-3.0-x86_64"],
        "chipset_info": {"iommu": "true"},
        "crash_dump_sr": NULL_REF,
        "display": "enabled",
        "edition": "express",
        "editions": ["express", "standard", "premium"],
        "external_auth_service_name": "",
        "external_auth_type": "",
        "https_only": False,
        "iscsi_iqn": f"iqn.2026-01.example.xentpm:{uuid[:8]}",
        "last_software_update": DateTime("19700101T00:00:00Z"),
        "latest_synced_updates_applied": "unknown",
        "license_server": {"address": "localhost", "port": "27000"},
        "local_cache_sr": NULL_REF,
        "memory_overhead": 512 * 1024**2,
        "multipathing": False,
        "numa_affinity_policy": "default_policy",
        "power_on_mode": "",
        "sched_policy": "credit",
        "ssl_legacy": False,
        "supported_bootloaders": ["pygrub", "eliloader"],
        "suspend_image_sr": NULL_REF,
        "tls_verification_enabled": True,
        "uefi_certificates": "",
        "virtual_hardware_platform_versions": [0, 1, 2],
    }


def metrics_record(facts: HostFacts) -> dict[str, Value]:
    """The host_metrics record: whether the host is live, since when, and its memory."""
    return {
        "uuid": ref_of("host_metrics.uuid", facts.uuid).partition(":")[2],
        "memory_total": _MEMORY_TOTAL,
        "memory_free": _MEMORY_FREE if facts.live else 0,
        "live": facts.live,
        "last_updated": now(),
        "other_config": {},
    }
