"""Hosts that behave like XenServer hosts: a software TPM, files that a boot measures, a XAPI endpoint.

For tests, demonstrations and the development of attestation clients. Nothing here runs on a real host.
"""
