"""A load as a question: what is asked of one box."""

import math
from typing import NamedTuple


class Load(NamedTuple):
    """Clients spread evenly over channels and shards."""

    clients: float
    rate: float  # publications a second in each channel
    bytes: int = 128
    channels: float = 1
    ping_s: float = 0.0  # each silent client is pinged so often; 0: never
    shards: int = 1
    accepts: float = 0.0  # connects a second

    @property
    def channels_here(self):
        """Channels with at least one client on a shard, if clients come by chance."""
        each = self.clients / self.shards
        if self.channels <= 1 or each <= 0:
            return min(self.channels, max(each, 0.0))
        return self.channels * -math.expm1(-each / self.channels)

    @property
    def members(self):
        """Clients of a channel on one shard."""
        return self.clients / self.shards / max(self.channels_here, 1e-12)

    @property
    def deliveries(self):
        """Receipts a second, in all."""
        return self.clients * self.rate


class Flow(NamedTuple):
    """What one shard does in a second."""

    clients: float
    ticks: float
    sends: float
    deliveries: float
    bytes: float  # of payload
    accepts: float
    pings: float
