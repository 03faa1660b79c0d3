"""All fits together: what a load takes, and how long its messages take."""

import math
from typing import NamedTuple

from . import cost, latency, lsq, usl
from .load import Flow, Load

# Bytes of a WebSocket header from the server, by payload.
HEADERS = ((125, 2), (65_535, 4), (math.inf, 10))

# TCP and IP with timestamps, and Ethernet with its gap, preamble and checksum.
SEGMENT_BYTES = 52 + 38
SEGMENT_PAYLOAD = 1448


# The law is not asked about more shards than so many times the most that were measured.
BEYOND = 2


class Expected(NamedTuple):
    """What a load is expected to do to the fullest shard. Shares are of a core, times seconds."""

    cpu: float  # 1 is all of it
    busy: float  # ρ: what it would be if nothing were joined
    joined: float  # publications in a send
    tick_s: float
    p50: float | None
    p99: float | None


class Model(NamedTuple):
    """What was learned from a set of points."""

    cpu: cost.Fit | None
    memory: cost.Memory | None
    p50: latency.Curve | None
    p99: latency.Curve | None
    refused: str  # why the latencies have no model
    scaling: usl.Scaling
    points: tuple

    @property
    def draws(self):
        """Of how many draws an interval is made."""
        return len(self.cpu.drawn) if self.cpu else 0

    def efficiency(self, shards):
        """How much of its speed a shard keeps among others: as measured, else by the law; None: not
        determined.
        """
        if shards == 1:
            return 1.0
        speeds = dict(swept(self.points))
        if shards in speeds and 1 in speeds:
            return speeds[shards] / shards / speeds[1]
        if self.scaling.not_determined or shards > BEYOND * self.scaling.most:
            return None
        return self.scaling.speed(shards) / shards / self.scaling.speed(1)

    def expect(self, load, draw=None, efficiency=None):
        """What a load does; None without a CPU fit."""
        if self.cpu is None:
            return None
        values = self.cpu.values if draw is None else self.cpu.drawn[draw]
        slower = efficiency if efficiency is not None else self.efficiency(load.shards) or 1.0
        busy, tick_s, joined, bytes_share = spend(load, values, slower)
        endless = tick_s == math.inf or bytes_share > latency.JOINED_MAX

        def at(curve):
            if curve is None:
                return None
            return math.inf if endless else curve.at(tick_s, busy, load.channels_here, draw)

        return Expected(min(busy, 1.0), busy, joined, tick_s, at(self.p50), at(self.p99))


def spend(load, values, slower=1.0):
    """ρ, the length of a tick, how many publications share it, and the share of time that joining
    cannot save.
    """
    each = load.clients / load.shards
    ticks = load.rate * load.channels_here
    sends = load.rate * each
    silent = each / load.ping_s if load.ping_s else 0.0
    flow = Flow(each, ticks, sends, sends, sends * load.bytes, load.accepts / load.shards, silent)
    parts = [value * coefficient / slower for value, coefficient in zip(cost.terms(flow), values)]
    names = dict(zip(cost.TERMS, parts))
    stays = names["base"] + names["accept"] + names["ping"]
    joinable = names["tick"] + names["send"] + names["cold send"] + names["send after 200 ms"]
    per_byte = names["delivery"] + names["byte"]
    busy = stays + joinable + per_byte
    if ticks <= 0:
        return busy, 0.0, 1.0, per_byte
    if busy <= 1:
        return busy, (joinable + per_byte) / ticks, 1.0, per_byte
    left = 1 - stays - per_byte
    if left <= 0:
        return busy, math.inf, math.inf, per_byte
    joined = joinable / left
    return busy, (joinable + per_byte * joined) / ticks, joined, per_byte


def learn(points, seed=1):
    """Fits everything that the points allow."""
    cpu = cost.fit_cpu(points, seed)
    memory = cost.fit_memory(points, seed)
    curves, refused = (None, None), "the server's process was not known"
    if cpu:
        curves, refused = _latencies(points, cpu, seed)
    return Model(cpu, memory, *curves, refused, scaling_of(points, seed), tuple(points))


def load_of(step):
    """The load that a step was."""
    return Load(
        step.clients, step.rate / step.channels, step.bytes, step.channels, step.ping_s, step.shards
    )


def latency_points(points):
    """The steps whose latencies say something about the server: the generator kept up, one shard,
    one channel.
    """
    return [
        point
        for point in points
        if point.step.kind == "fanout"
        and point.valid
        and point.p99
        and point.step.shards == 1
        and point.step.channels == 1
    ]


def _latencies(points, cpu, seed):
    seen = []
    for point in latency_points(points):
        busy, tick_s, _, bytes_share = spend(load_of(point.step), cpu.values)
        if bytes_share <= latency.JOINED_MAX:
            seen.append((point.step.name, tick_s, busy, point))
    curves = [
        latency.fit(
            [(name, tick, busy, getattr(point, which)) for name, tick, busy, point in seen],
            quantile,
            seed,
        )
        for which, quantile in latency.QUANTILES.items()
    ]
    if None in curves:
        return (None, None), f"{len(seen)} steps with latencies are too few"
    if curves[1].typical > latency.RESIDUAL_MAX:
        return (
            None,
            None,
        ), f"it misses the measured p99 by {100 * curves[1].typical:.0f} % as a rule"
    return tuple(curves), ""


def swept(points):
    """(shards, deliveries a second if all their time were used) of the steps that differ in nothing
    else.
    """
    return [
        (point.step.shards, point.deliveries / point.cpu * point.step.shards)
        for point in points
        if point.step.kind == "fanout"
        and point.cpu
        and point.step.channels == 1
        and point.step.clients == 1000 * point.step.shards
        and point.step.rate == 80
        and point.step.bytes == 128
    ]


def scaling_of(points, seed):
    """The law over counts of shards."""
    return usl.scaling(swept(points), seed)


def wire_bytes(size):
    """Bytes on the wire for one delivery that is sent alone."""
    framed = size + next(header for most, header in HEADERS if size <= most)
    return framed + SEGMENT_BYTES * math.ceil(framed / SEGMENT_PAYLOAD)


def most(fits, high):
    """The greatest number up to `high` that fits, where less fits as well."""
    if fits(high):
        return high
    low = 0.0
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if fits(middle) else (low, middle)
    return low


def band(values):
    """A 90 % interval of what draws gave; None of nothing."""
    known = [value for value in values if value is not None]
    return lsq.interval(known) if known else None
