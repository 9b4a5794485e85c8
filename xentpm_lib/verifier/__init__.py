"""Remote attestation: decides, from a management station, whether each host of a fleet is trusted.

Knows the evidence formats and XAPI; touches no TPM. Python 3.10 or newer.
"""
