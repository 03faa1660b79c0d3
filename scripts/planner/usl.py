"""Scaling over shards by Gunther's Universal Scalability Law.

    X(N) = λ N / (1 + σ (N − 1) + κ N (N − 1))

X is what N shards do, λ what one does, σ the share that they queue for (contention), κ what they
spend on agreeing with each other (coherency). The most is done by N* = √((1 − σ) / κ) shards.
Divided through it is linear in 1/λ, σ/λ and κ/λ, so that it is fitted by least squares with bounds:
none below 0, σ not above 1.
"""

import math
import random
from typing import NamedTuple

from . import lsq

# Fewer counts of shards than this determine nothing: from six points a peak of 35 came out as 14 to
# 31,000.
POINTS_MIN = 8

DRAWS = 400


class Scaling(NamedTuple):
    """What was found. Without a reason it is determined."""

    rate: float = 0.0  # λ
    contention: float = 0.0  # σ
    coherency: float = 0.0  # κ
    peak: float = math.inf  # N*
    most: int = 1  # the greatest N that was measured
    intervals: dict = {}  # 90 %, of each of the four
    residuals: tuple = ()  # relative
    not_determined: str = ""

    def speed(self, shards):
        """X at N."""
        return (
            self.rate
            * shards
            / (1 + self.contention * (shards - 1) + self.coherency * shards * (shards - 1))
        )


def fit(points):
    """The law through (N, X)."""
    rows = [(1.0, n - 1.0, n * (n - 1.0)) for n, _ in points]
    values = [n / x for n, x in points]
    weights = lsq.relative_weights(values, 0)
    found = lsq.nnls(rows, values, weights)
    if found[1] > found[0] > 0:
        # σ at its bound: λ and κ are what is left to choose.
        inverse, coherency = lsq.nnls([(row[0] + row[1], row[2]) for row in rows], values, weights)
        found = [inverse, inverse, coherency]
    if found[0] <= 0:
        return None
    contention, coherency = found[1] / found[0], found[2] / found[0]
    peak = math.sqrt((1 - contention) / coherency) if coherency > 0 and contention < 1 else math.inf
    return 1 / found[0], contention, coherency, max(peak, 1.0)


def scaling(points, seed=1):
    """Fits (shards, throughput) with 90 % intervals, or says why not."""
    by_count = {}
    for shards, speed in points:
        by_count.setdefault(shards, []).append(speed)
    most = max(by_count, default=1)
    if len(by_count) < POINTS_MIN:
        words = f"{len(by_count)} counts of shards were measured, and it takes {POINTS_MIN}"
        return Scaling(most=most, not_determined=words)
    found = fit(points)
    if found is None:
        return Scaling(most=most, not_determined="the points do not follow the law")
    rate, contention, coherency, peak = found
    curve = Scaling(rate, contention, coherency, peak, most)
    residuals = [speed / curve.speed(shards) - 1 for shards, speed in points]
    drawn = _again(points, curve, residuals, seed)
    intervals = {
        name: lsq.interval([draw[place] for draw in drawn])
        for place, name in enumerate(("rate", "contention", "coherency", "peak"))
    }
    curve = curve._replace(intervals=intervals, residuals=tuple(residuals))
    if 2 * most < peak:
        shown = "infinity" if math.isinf(peak) else f"{peak:.0f}"
        words = (
            f"the points end at {most} shards, short of half the peak that they point to ({shown})"
        )
        return curve._replace(not_determined=words)
    return curve


def _again(points, curve, residuals, seed):
    chance = random.Random(seed)
    widen = (len(points) / max(len(points) - 3, 1)) ** 0.5
    mean = sum(residuals) / len(residuals)
    residuals = [(residual - mean) * widen for residual in residuals]
    drawn = []
    for _ in range(DRAWS):
        again = [
            (
                shards,
                curve.speed(shards)
                * max(1 + residuals[int(chance.random() * len(residuals))], 0.01),
            )
            for shards, _ in points
        ]
        found = fit(again)
        if found:
            drawn.append(found)
    return drawn or [(curve.rate, curve.contention, curve.coherency, curve.peak)]
