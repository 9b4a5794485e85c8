"""xentpm: measured boot and remote attestation for XenServer, Citrix Hypervisor and XCP-ng hosts."""

__version__ = "0.1.0"
