"""The channels of a configuration, ready to deliver."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from xentpm_lib.verifier.notify.apprise_channel import AppriseChannel
from xentpm_lib.verifier.notify.config import BUILT_IN, ChannelConfig, ChannelKind
from xentpm_lib.verifier.notify.delivery import Channel
from xentpm_lib.verifier.notify.xapi_channels import DisableHostChannel, MarksChannel, MessageChannel, Pool

__all__ = ["channel_of", "channels_of"]


def channels_of(configs: Sequence[ChannelConfig], pools: Callable[[str], Pool]) -> list[Channel]:
    """A channel for each configuration, and the built-in one. pools: a pool's client by the pool's id."""
    return [channel_of(config, pools) for config in (*configs, BUILT_IN)]


def channel_of(config: ChannelConfig, pools: Callable[[str], Pool]) -> Channel:
    """The channel of one configuration. Opens nothing: secrets are read when something is delivered."""
    if config.kind is ChannelKind.WEBHOOK:
        from xentpm_lib.verifier.notify.webhook import WebhookChannel  # slow to load, and not everybody's

        return WebhookChannel(config)
    if config.kind is ChannelKind.APPRISE:
        return AppriseChannel(config)
    if config.kind is ChannelKind.XAPI_MESSAGE:
        return MessageChannel(config, pools)
    if config.kind is ChannelKind.XAPI_MARKS:
        return MarksChannel(config, pools)
    return DisableHostChannel(config, pools)
