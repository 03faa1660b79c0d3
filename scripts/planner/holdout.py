"""Fits on part of the ladder, predicts the rest, and says by how much it is wrong.

Nothing that is predicted lies within twice the largest load that was fitted. Memory is cut by
clients and CPU by deliveries a second, at a quarter of the greatest; a shard that is full is left
out of the CPU, for it is easily predicted. The knee is the number of clients at which the p99
breaks its bound: for each rate it is predicted from the steps with at most half the clients and
half the deliveries of the measured one.
"""

import math
from typing import NamedTuple

from . import cost, model
from .limits import CLIENTS_MAX
from .load import Load
from .lsq import median
from .units import Nonsense

# What is to be reached by the typical prediction.
GOALS = {"memory": 0.05, "cpu": 0.10, "knee": 0.15}

# A shard is full that works for more of the time than this, or joins more publications than this as
# a rule.
FULL, JOINED = 0.95, 1.15


class Miss(NamedTuple):
    """One prediction of what was not fitted."""

    what: str
    name: str
    beyond: float  # times the largest fitted load
    predicted: float
    seen: float

    @property
    def error(self):
        """Relative."""
        return self.predicted / self.seen - 1


def cut_at(points, load):
    """Points with at most a quarter of the greatest load, and those from twice the largest of
    these.
    """
    most = max((load(point) for point in points), default=0.0)
    fitted = [point for point in points if load(point) <= most / 4]
    largest = max((load(point) for point in fitted), default=0.0)
    held = [point for point in points if load(point) >= 2 * largest] if fitted else []
    return fitted, held, largest


def memory(points, seed=1):
    """Few clients are fitted, many predicted; what lay in TCP's buffers is taken as it was."""
    known = [
        point
        for point in points
        if cost.memory_of(point) is not None
        and point.kernel
        and point.step.kind in ("idle", "fanout")
        and point.step.shards == 1
        and point.step.clients >= 400
    ]
    fitted, held, largest = cut_at(known, lambda point: point.step.clients)
    if len({point.step.clients for point in fitted}) < 2:
        return []
    found = cost.fit_memory(fitted, seed)
    return [
        Miss(
            "memory",
            point.step.name,
            point.step.clients / largest,
            found.at(point.step.clients, pages=cost.pages_of(point)),
            cost.memory_of(point),
        )
        for point in held
    ]


def cpu(points, seed=1):
    """Few deliveries are fitted, many predicted. What accepts and pings cost is fitted as well."""
    known = [
        point
        for point in cost.cpu_points(points)
        if point.step.kind == "fanout" and point.cpu < FULL and point.joined < JOINED
    ]
    fitted, held, largest = cut_at(known, lambda point: point.deliveries)
    others = [point for point in cost.cpu_points(points) if point.step.kind != "fanout"]
    if len({point.step.clients for point in fitted}) < 2 or len(fitted) + len(others) < 4:
        return []
    found = model.learn([*fitted, *others], seed)
    return [
        Miss(
            "cpu",
            point.step.name,
            point.deliveries / largest,
            found.expect(model.load_of(point.step)).cpu,
            point.cpu,
        )
        for point in held
    ]


def knee_seen(column, p99_s):
    """Where the p99 of one rate's points breaks the bound, between the two that tell; None if it
    does not, or if the generator was late there.
    """
    column = sorted(column, key=lambda point: point.step.clients)
    for below, above in zip(column, column[1:]):
        if below.p99 <= p99_s < above.p99:
            if not (below.valid and above.valid):
                return None
            part = math.log(p99_s / below.p99) / math.log(above.p99 / below.p99)
            return below.step.clients * (above.step.clients / below.step.clients) ** part
    return None


def knee_of(fitted, rate, size, p99_s):
    """Where a model's p99 breaks the bound."""
    return model.most(
        lambda clients: fitted.expect(Load(clients, rate, size)).p99 <= p99_s, CLIENTS_MAX
    )


def knees(points, p99_s, seed=1):
    """The knee of each rate."""
    columns, found = {}, []
    for point in points:
        step = point.step
        if (
            step.kind == "fanout"
            and point.p99
            and (step.shards, step.channels) == (1, 1)
            and step.clients >= 250
        ):
            columns.setdefault((step.rate, step.bytes), []).append(point)
    for (rate, size), column in sorted(columns.items()):
        seen = knee_seen(column, p99_s)
        if seen is None:
            continue
        part = [
            point
            for point in points
            if point.step.kind != "fanout"
            or (point.step.clients <= seen / 2 and point.deliveries <= seen * rate / 2)
        ]
        try:
            fitted = model.learn(part, seed)
        except Nonsense:
            continue
        if fitted.p99 is None:
            continue
        largest = max(point.step.clients for point in part if point.step.kind == "fanout")
        found.append(
            Miss(
                "knee",
                f"{rate:g}/s of {size} bytes",
                seen / largest,
                knee_of(fitted, rate, size, p99_s),
                seen,
            )
        )
    return found


def check(points, p99_s, seed=1):
    """All three, with what was reached."""
    misses = [*memory(points, seed), *cpu(points, seed), *knees(points, p99_s, seed)]
    verdicts = []
    for what, goal in GOALS.items():
        errors = [abs(miss.error) for miss in misses if miss.what == what]
        if not errors:
            verdicts.append(
                {
                    "what": what,
                    "goal": goal,
                    "points": 0,
                    "typical": None,
                    "worst": None,
                    "met": False,
                }
            )
            continue
        typical = median(errors)
        verdicts.append(
            {
                "what": what,
                "goal": goal,
                "points": len(errors),
                "typical": typical,
                "worst": max(errors),
                "within": sum(error <= goal for error in errors),
                "met": typical <= goal,
            }
        )
    return misses, verdicts
