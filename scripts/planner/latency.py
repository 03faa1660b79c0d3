"""Latency against utilisation: a D/G/1 queue with gated bulk service, its wait by Kingman's
formula.

A shard serves publications in ticks. A tick sends its frames to one client after the other, so it
lasts

    T(k) = c + n·s + k·n·(b + w·bytes)      k publications, n clients; c, s, b, w from the CPU fit

and a client hears of it at a moment that is spread evenly over T. Publications come evenly spaced,
λ a second; ρ = λ·T(1). While ρ < 1 each has a tick of its own. Kingman's formula for its wait, and
the bulk's bound on it (whoever waits goes with the next tick, so nobody waits for more than one),
give a quantile q of publish to receipt:

    L_q = l0 + α·T·(q + w_q),    w_q = min(v_q·ρ/(1 − ρ), W_q)

At ρ ≥ 1 the shard never rests: ticks take what came during the last one, k = λ·T(k), so

    T = (c + n·s) / (1 − λ·n·(b + w·bytes)),    w_q = W_q

where W_q is the bound: wait and place in the tick are then two evenly spread times, whose sum's
quantile is 2 − √(2(1−q)) above the middle: 1.86·T for the p99, T for the median. l0 (wake-ups, the
generator), α (how much longer a tick takes on the clock, receivers included, than on the CPU) and
v_q (how uneven arrivals and ticks are) are fitted. Several channels come independently of each
other: v_q then grows towards that of Poisson arrivals.

It is used up to a share JOINED_MAX of time that goes into bytes alone, and where its residuals
allow; else it is refused.
"""

import math
from typing import NamedTuple

from . import lsq

# Over this share of a shard's time for what joining cannot save, there may be no finite tick.
JOINED_MAX = 0.6

# A model whose typical residual is larger describes something else.
RESIDUAL_MAX = 0.25

# What is tried for v, and what it is where the steps do not tell: they hardly do below half of the
# load.
UNEVEN = tuple(step / 50 for step in range(0, 51))
UNEVEN_USUAL = 0.06

# Fits that miss by no more than this times the best are as good.
AS_GOOD = 1.03

QUANTILES = {"p50": 0.5, "p99": 0.99}


def bound(quantile):
    """W_q: the wait that a shard adds which never rests, in ticks: the quantile of the sum of two
    evenly spread times, less that of one.
    """
    both = math.sqrt(2 * quantile) if quantile <= 0.5 else 2 - math.sqrt(2 * (1 - quantile))
    return both - quantile


def wait(quantile, busy, uneven):
    """w_q: how long a publication waits, in ticks."""
    most = bound(quantile)
    if busy >= 1:
        return most
    return min(uneven * busy / (1 - busy), most)


class Curve(NamedTuple):
    """One quantile's fit."""

    quantile: float
    fixed: float  # l0, seconds
    longer: float  # α
    uneven: float  # v
    residuals: tuple  # relative, with the step's name
    drawn: tuple  # (l0, α)

    def at(self, tick_s, busy, channels=1.0, draw=None):
        """Seconds. Independent channels add the wait of Poisson arrivals, ½ ρ/(1 − ρ) ticks in the
        mean; its tail is exponential.
        """
        fixed, longer = (
            (self.fixed, self.longer) if draw is None else self.drawn[draw % len(self.drawn)]
        )
        waits = wait(self.quantile, busy, self.uneven)
        if channels > 1:
            waits += (1 - 1 / channels) * poisson(self.quantile, busy)
        return fixed + longer * tick_s * (self.quantile + waits)

    @property
    def typical(self):
        """The median of the residuals without their signs."""
        return lsq.median([abs(residual) for _, residual in self.residuals])


def poisson(quantile, busy):
    """A quantile of the wait in an M/D/1 queue, in service times: its tail is exponential."""
    if busy >= 1:
        return math.inf
    return max(math.log(busy / (1 - quantile)), 0.0) / (2 * (1 - busy)) if busy > 0 else 0.0


def fit(seen, quantile, seed=1):
    """`seen` are (name, tick, ρ, latency in seconds). None where the model is refused for having
    too little to go by.
    """
    if len(seen) < 4 or len({round(tick, 9) for _, tick, _, _ in seen}) < 3:
        return None
    values = [latency for _, _, _, latency in seen]
    weights = lsq.relative_weights(values, 1e-3)

    def rows(uneven):
        return [
            (1.0, tick * (quantile + wait(quantile, busy, uneven))) for _, tick, busy, _ in seen
        ]

    def missed(uneven):
        found = lsq.nnls(rows(uneven), values, weights)
        # By size, not its square: one bad second in a hundred is no reason to bend.
        return sum(
            abs(lsq.dot(row, found) - value) * weight
            for row, value, weight in zip(rows(uneven), values, weights)
        )

    misses = {uneven: missed(uneven) for uneven in UNEVEN}
    good = AS_GOOD * min(misses.values())
    uneven = min(
        (uneven for uneven in UNEVEN if misses[uneven] <= good),
        key=lambda one: abs(one - UNEVEN_USUAL),
    )
    found = lsq.nnls(rows(uneven), values, weights)
    drawn = lsq.bootstrap(rows(uneven), values, weights, found, 200, seed)
    residuals = [
        (name, lsq.dot(row, found) / value - 1)
        for (name, _, _, value), row in zip(seen, rows(uneven))
    ]
    return Curve(quantile, found[0], found[1], uneven, tuple(residuals), tuple(map(tuple, drawn)))
