"""The lab: a real measured boot of Xen and a dom0 in an emulated machine: docs/lab.md, ``make lab``."""
