"""From stored steps to numbers that can be fitted: one point for each load, the middle of its
repeats.

The CPU of a point is the median over all its seconds: what else goes on in a host for a second or
two then moves nothing. Repeats that waited for a core are left out where there are others.
"""

import math
from typing import NamedTuple

from .lsq import median
from .measure import WAITED_MAX, waited
from .steps import Step
from .units import Nonsense

# The first thing wrong with a generator's run that makes its latencies useless and its CPU figures
# no worse.
LATE = "the generator was late"


class Point(NamedTuple):
    """One load as it was seen. Rates are a second, times seconds, sizes bytes; None: not seen."""

    step: Step
    repeats: int
    calm: bool  # nothing else ran
    valid: bool  # the generator kept up
    seconds: float = 0.0
    cpu: float | None = None  # cores
    deliveries: float = 0.0
    published: float = 0.0
    joined: float = 1.0  # publications that leave in one send
    accepts: float = 0.0
    pings: float = 0.0
    p50: float | None = None
    p99: float | None = None
    p99_all: tuple = ()  # of each repeat
    rss: float | None = None
    kernel: float | None = None  # of one end of all connections
    tcp_pages: float | None = None
    levels: tuple = ()  # outbox bytes and resident bytes


def number(record, path, where, most=None):
    """A field of a record: there, a number, not negative, not more than it can be."""
    value = record
    for key in path.split("."):
        if not isinstance(value, dict) or key not in value:
            raise Nonsense(f"{where}: {path} is missing")
        value = value[key]
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
        raise Nonsense(f"{where}: {path} is {value!r}, not a number")
    if value < 0:
        raise Nonsense(f"{where}: {path} is {value:g}, and cannot be negative")
    if most is not None and value > most:
        raise Nonsense(
            f"{where}: {path} is {value:g}, more than the {most:g} that it can be: mixed units?"
        )
    return float(value)


def of(records, cores):
    """All points of a set of records."""
    by_load = {}
    for where, record in records:
        if not isinstance(record, dict) or not isinstance(record.get("step"), dict):
            raise Nonsense(f"{where}: step is missing")
        for field in Step._fields:
            if field != "kind":
                number(record, f"step.{field}", where)
        unknown = set(record["step"]) - set(Step._fields)
        if unknown:
            raise Nonsense(f"{where}: step.{min(unknown)} is not known")
        if "failed" in record:
            continue
        step = Step(**record["step"])
        by_load.setdefault(step.name, []).append((where, record, step))
    return [_point(repeats, cores) for _, repeats in sorted(by_load.items())]


def _point(repeats, cores):
    calm = [repeat for repeat in repeats if waited(repeat[1]) <= WAITED_MAX]
    used = calm or repeats
    step = used[0][2]
    if step.kind == "outbox":
        levels = [level for where, record, _ in used for level in _levels(where, record)]
        return Point(step, len(used), True, True, levels=tuple(levels))
    seen = [_repeat(*repeat, cores) for repeat in used]
    merged = {}
    for name in (
        "seconds",
        "deliveries",
        "published",
        "joined",
        "accepts",
        "pings",
        "p50",
        "p99",
        "rss",
        "kernel",
        "tcp_pages",
    ):
        values = [one[name] for one in seen if one[name] is not None]
        merged[name] = median(values) if values else None
    costs = [cost for one in seen for cost in one["costs"]]
    shares = [one["cpu"] for one in seen if one["cpu"] is not None]
    cpu = median(shares) if shares else None
    if costs and cpu is not None:
        cpu = median(costs) * merged["deliveries"]
    valid = [one["valid"] for one in seen]
    p99_all = tuple(one["p99"] for one in seen if one["p99"] is not None)
    return Point(
        step, len(used), bool(calm), sum(valid) * 2 > len(valid), cpu=cpu, p99_all=p99_all, **merged
    )


def _levels(where, record):
    levels = record.get("levels")
    if not isinstance(levels, list) or not levels:
        raise Nonsense(f"{where}: levels is missing")
    for place, level in enumerate(levels):
        if not isinstance(level, list) or len(level) != 2:
            raise Nonsense(f"{where}: levels.{place} is not a pair of sizes")
        for part, value in enumerate(level):
            number({"value": value}, "value", f"{where}: levels.{place}.{part}")
    return [tuple(map(float, level)) for level in levels]


def _repeat(where, record, step, cores):
    """What one repeat saw: the sum over the generators of its channels."""
    runs = record.get("runs")
    if not isinstance(runs, list) or not runs:
        raise Nonsense(f"{where}: runs is missing")
    seen = [_run(run, where, step, cores) for run in runs]
    total = {
        name: sum(one[name] for one in seen)
        for name in ("deliveries", "published", "accepts", "pings")
    }
    # Each generator looked at the same server.
    shares = [one["cpu"] for one in seen if one["cpu"] is not None]
    total["cpu"] = median(shares) if shares else None
    total["seconds"] = median([one["seconds"] for one in seen])
    total["costs"] = seen[0]["costs"] if len(seen) == 1 else []
    total["valid"] = all(one["valid"] for one in seen)
    for name in ("p50", "p99"):
        values = [one[name] for one in seen if one[name] is not None]
        total[name] = max(values) if values else None
    counters, memory = record.get("counters"), record.get("memory") or {}
    total["joined"] = 1.0
    if counters and number(record, "counters.sends_total", where) > 0:
        total["joined"] = max(
            number(record, "counters.deliveries_total", where) / counters["sends_total"], 1.0
        )
    total["rss"] = memory.get("rss_bytes") and number(record, "memory.rss_bytes", where)
    total["tcp_pages"] = memory.get("tcp_pages") and number(record, "memory.tcp_pages", where)
    # Both ends of every connection are here, and alike.
    total["kernel"] = (
        memory.get("kernel_bytes") and number(record, "memory.kernel_bytes", where) / 2
    )
    return total


def _run(run, where, step, cores):
    seconds = number(run, "totals.seconds", where)
    if seconds <= 0:
        raise Nonsense(f"{where}: totals.seconds is 0")
    connected = number(run, "totals.connected", where)
    published, deliveries = (
        number(run, "totals.published", where),
        number(run, "totals.deliveries", where),
    )
    number(run, "totals.deliveries", where, most=1.01 * published * connected + connected)
    seen = {
        "seconds": seconds,
        "published": published / seconds,
        "deliveries": deliveries / seconds,
        "pings": number(run, "totals.pings", where) / seconds if step.kind == "idle" else 0.0,
        "accepts": connected / seconds if step.kind == "connect" else 0.0,
        "cpu": None,
        "costs": [],
        "p50": None,
        "p99": None,
    }
    if run.get("server"):
        # A connect storm's CPU is told by the time that connecting took, which closing is not part
        # of.
        most = None if step.kind == "connect" else 1.1 * (cores + 1)
        seen["cpu"] = number(run, "server.cpu_share", where, most=most)
        if step.kind == "fanout":
            seen["costs"] = _costs(run)
    delivery = run.get("latencies", {}).get("delivery")
    if step.kind == "fanout" and delivery:
        worst = number(run, "latencies.delivery.max_ns", where)
        seen["p99"] = number(run, "latencies.delivery.p99_ns", where, most=1.01 * worst) / 1e9
        seen["p50"] = (
            number(run, "latencies.delivery.p50_ns", where, most=1.01 * 1e9 * seen["p99"]) / 1e9
        )
    faults = [fault.get("what", "") for fault in run.get("faults", [])]
    seen["valid"] = not faults
    return seen


def _costs(run):
    """CPU seconds for a delivery, in each second of a run that was a whole one."""
    whole = [
        second
        for second in run.get("series", [])
        if second.get("server_cpu_share") is not None and second.get("deliveries")
    ]
    if len(whole) < 3:
        return []
    usual = median([second["deliveries"] for second in whole])
    return [
        second["server_cpu_share"] / second["deliveries"]
        for second in whole
        if second["deliveries"] > usual / 2
    ]
