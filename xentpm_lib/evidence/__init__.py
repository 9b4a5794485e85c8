"""The formats that travel between a host and a verifier: bytes and text to records and back.

Pure functions only: no file, no network, no TPM, no clock, no configuration. Every parser takes
exact lengths, refuses trailing bytes and oversized input, and raises nothing but
``xentpm_lib.errors.FormatError``; what a builder writes, its parser reads back to an equal record.
Parsing proves nothing: whether evidence holds is for the verifier to decide.
"""
