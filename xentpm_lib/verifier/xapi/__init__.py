"""Talking to pools through XAPI: bounded in time and size, over TLS that is never off."""
