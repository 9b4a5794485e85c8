"""XAPI's object model as a client of the ``tpm`` plugin sees it, without any transport."""
