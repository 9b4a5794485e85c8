"""The pool class: one pool, its record, its master."""

from __future__ import annotations

from collections.abc import Callable

from xentpm_lib.simulator.xapi.methods import NULL_REF, Method, RecordOf, Records, ref_of
from xentpm_lib.simulator.xml_values import DateTime, Value

__all__ = ["pool_methods"]


def pool_methods(uuid: str, name: str, master: Callable[[], str]) -> list[Method]:
    """The methods of the class pool; ``master`` gives the reference of the master."""

    def record() -> dict[str, Value]:
        return _record(uuid, name, master())

    objects: dict[str, RecordOf] = {ref_of("pool", uuid): record}
    return Records("pool", record(), lambda: objects).methods()


def _record(uuid: str, name: str, master: str) -> dict[str, Value]:
    empty_lists: tuple[str, ...] = (
        "allowed_operations",
        "ha_statefiles",
        "metadata_VDIs",
        "repositories",
        "tags",
    )
    empty_maps: tuple[str, ...] = (
        "blobs",
        "cpu_info",
        "current_operations",
        "guest_agent_config",
        "ha_configuration",
        "gui_config",
        "health_check_config",
        "other_config",
        "restrictions",
    )
    return {
        **{field: [] for field in empty_lists},
        **{field: {} for field in empty_maps},
        "uuid": uuid,
        "name_label": name,
        "name_description": "",
        "master": master,
        "coordinator_bias": True,
        "crash_dump_SR": NULL_REF,
        "default_SR": NULL_REF,
        "ha_enabled": False,
        "ha_host_failures_to_tolerate": 0,
        "ha_overcommitted": False,
        "ha_plan_exists_for": 0,
        "igmp_snooping_enabled": False,
        "last_update_sync": DateTime("19700101T00:00:00Z"),
        "live_patching_disabled": False,
        "migration_compression": False,
        "redo_log_enabled": False,
        "redo_log_vdi": NULL_REF,
        "suspend_image_SR": NULL_REF,
        "tls_verification_enabled": True,
        "vswitch_controller": "",
        "wlb_enabled": False,
        "wlb_url": "",
        "wlb_username": "",
        "wlb_verify_cert": False,
    }
