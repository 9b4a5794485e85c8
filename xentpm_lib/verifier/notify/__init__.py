"""Telling people and orchestrators of a change of state, once: XAPI, webhooks, mail and chat.

``change`` makes the notifications (pure), the store's outbox keeps them, ``dispatcher`` delivers them.
"""
