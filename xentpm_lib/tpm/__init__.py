"""The only code of the project that talks to a TPM: tpm2-pytss's ESAPI, one connection at a time."""
