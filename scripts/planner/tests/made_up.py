"""A server that was never measured: its costs are known, so it can be told whether a fit finds
them.
"""

import math
import random

from planner import latency, model
from planner.cost import TERMS
from planner.load import Load
from planner.steps import Step, fanout

COSTS = {
    "base": 0.004,
    "tick": 30e-6,
    "send": 4e-6,
    "cold send": 1.5e-6,
    "send after 200 ms": 3e-6,
    "delivery": 0.05e-6,
    "byte": 0.3e-9,
    "accept": 15e-6,
    "ping": 8e-6,
}
VALUES = tuple(COSTS[name] for name in TERMS)

PROCESS, CLIENT, KERNEL, KERNEL_CLIENT = 7_000_000.0, 100.0, 2_000_000.0, 4_400.0
# A page of TCP buffers, with what the kernel keeps about it.
PAGE = 4_500.0
FIXED_S, LONGER, UNEVEN = 0.4e-3, 1.2, 0.06

HOST = {
    "name": "made-up",
    "kernel": "Linux 6.18",
    "cpu": "none",
    "cores": 2,
    "memory_bytes": 25_000_000_000,
}
LIMITS = {
    "cores": 2,
    "cpu_quota": None,
    "nofile": 20_000,
    "nr_open": 1_048_576,
    "file_max": 2_000_000,
    "memlock": 8 << 20,
    "memory_bytes": 24_000_000_000,
    "page_bytes": 4096,
    "tcp_mem_pages": 575_802,
    "tcp_wmem_max": 4 << 20,
    "wmem_max": 212_992,
    "somaxconn": 4096,
    "syn_backlog": 2048,
    "ports": 28_232,
    "watches": 5_000_000,
    "conntrack_max": 262_144,
    "conntrack_count": 0,
    "cards": {"eth0": None},
}
COMMON = {"schema": 1, "host": HOST, "limits": LIMITS, "server": {"file": "stentor", "digest": "0"}}


def truth(step):
    """What the made-up server does under a step's load."""
    load = Load(
        step.clients, step.rate / step.channels, step.bytes, step.channels, step.ping_s, step.shards
    )
    return model.spend(load, VALUES)


def quantile(step, share):
    """The made-up latency."""
    busy, tick_s, _, _ = truth(step)
    return FIXED_S + LONGER * tick_s * (share + latency.wait(share, busy, UNEVEN))


def record(step, chance, noise):
    """A step as it would have been stored."""

    def about(value):
        return value * math.exp(chance.gauss(0, noise))

    # What is under way when someone looks is a matter of chance.
    pages = int(step.clients * chance.random()) if step.kind == "fanout" else 0
    memory = {
        "rss_bytes": int(about(PROCESS) + CLIENT * step.clients),
        "rss_before_bytes": int(PROCESS),
        "kernel_bytes": int(2 * (KERNEL + KERNEL_CLIENT * about(step.clients)) + PAGE * pages),
        "tcp_pages": pages,
    }
    run = {
        "totals": {
            "seconds": step.seconds,
            "published": 0,
            "deliveries": 0,
            "lost": 0,
            "connected": step.clients,
            "pings": 0,
            "failures": {},
        },
        "latencies": {},
        "series": [],
        "faults": [],
        "server": {"cpu_share": 0.0},
    }
    counters = {"sends_total": 0, "deliveries_total": 0}
    if step.kind == "fanout":
        busy, _, joined, _ = truth(step)
        published = int(step.rate * step.seconds)
        run["totals"].update(published=published, deliveries=published * step.clients)
        share = about(min(busy, 1.0))
        run["server"]["cpu_share"] = share
        each = step.rate * step.clients
        run["series"] = [
            {"server_cpu_share": about(share), "deliveries": each} for _ in range(int(step.seconds))
        ]
        p50, p99 = about(quantile(step, 0.5)), about(quantile(step, 0.99))
        run["latencies"]["delivery"] = {
            "p50_ns": p50 * 1e9,
            "p99_ns": p99 * 1e9,
            "max_ns": p99 * 2e9,
        }
        counters = {"deliveries_total": each * 10, "sends_total": each * 10 / joined}
    elif step.kind == "connect":
        run["totals"]["connected"] = 2 * step.clients
        each = 2 * step.clients / step.seconds
        run["server"]["cpu_share"] = about(COSTS["base"] + COSTS["accept"] * each)
    elif step.ping_s:
        run["totals"]["pings"] = int(step.clients / step.ping_s * step.seconds)
        run["server"]["cpu_share"] = about(
            COSTS["base"] + COSTS["ping"] * step.clients / step.ping_s
        )
    return {
        "schema": 1,
        "step": step._asdict(),
        "repeat": 0,
        "runs": [run],
        "counters": counters,
        "memory": memory,
        "waited": {"server": 0.0, "generator": 0.0},
    }


def ladder(p99_s=0.05):
    """The steps of a climb until the p99 breaks, and the others."""
    found = [
        fanout(clients, rate)
        for clients, rate in ((10, 500), (10, 2000), (200, 2000), (1000, 1000))
    ]
    for rate, size in ((4, 128), (8, 128), (20, 128), (80, 128), (20, 1024), (80, 1024)):
        for clients in (250, 500, 1000, 2000, 2800, 4000, 5600, 8000, 16000):
            step = fanout(clients, rate, size)
            if clients * rate < 3000:
                continue
            found.append(step)
            if quantile(step, 0.99) > p99_s:
                break
    found += [Step("idle", clients, seconds=1.5) for clients in (1000, 2000, 4000, 8000, 16000)]
    found += [Step("idle", 8000, ping_s=ping_s) for ping_s in (0.5, 2.0)]
    found += [Step("connect", clients, seconds=1.0) for clients in (4000, 8000)]
    return found


def sweep(counts, contention=0.02, coherency=0.0015):
    """Steps that differ in their shards alone: what more shards cost, a delivery costs more."""
    found = []
    for shards in counts:
        step = fanout(1000 * shards, 80, shards=shards)
        record_of = record(step, random.Random(shards), 0.0)
        slower = 1 + contention * (shards - 1) + coherency * shards * (shards - 1)
        run = record_of["runs"][0]
        share = shards * truth(fanout(1000, 80))[0] * slower
        run["server"]["cpu_share"] = share
        for second in run["series"]:
            second["server_cpu_share"] = share
        found.append((f"{step.name}.r0.json", record_of))
    return found


def records(seed=1, noise=0.03, repeats=3):
    """All of them, so many times."""
    chance = random.Random(seed)
    found = []
    for repeat in range(repeats):
        for step in ladder():
            found.append(
                (f"{step.name}.r{repeat}.json", {**record(step, chance, noise), "repeat": repeat})
            )
    levels = [[queued, int(PROCESS + 1.03 * queued)] for queued in (0, 10_000_000, 20_000_000)]
    outbox = {"schema": 1, "step": Step("outbox", 40)._asdict(), "repeat": 0, "levels": levels}
    return [*found, ("outbox-c40.r0.json", outbox)]
