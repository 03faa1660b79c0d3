"""Runs made up with PyPI's hdrhistogram, for tests of what the bench makes of runs.

python sample_runs.py DIR writes three of them: steady.json, stalled.json and noisy.json.
"""

import json
import math
import os
import random
import sys

from hdrh.histogram import HdrHistogram

HOUR_NS = 3_600_000_000_000


def empty():
    return HdrHistogram(1, HOUR_NS, 3)


def latency(histogram):
    at = histogram.get_value_at_percentile
    return {
        "count": histogram.get_total_count(),
        "min_ns": histogram.get_min_value(),
        "mean_ns": histogram.get_mean_value(),
        "p50_ns": at(50),
        "p90_ns": at(90),
        "p99_ns": at(99),
        "p999_ns": at(99.9),
        "p9999_ns": at(99.99),
        "max_ns": histogram.get_max_value(),
        "histogram": histogram.encode().decode(),
    }


def run(label, seed, median_ms, sigma, stall_at=None, seconds=60, receipts=2000):
    """A run of `seconds` histograms and one of all; the second return is the latter."""
    chance = random.Random(seed)
    whole, series = empty(), []
    for second in range(seconds):
        histogram = empty()
        cpu = 0.4 * median_ms + chance.uniform(-0.02, 0.02)
        deliveries = receipts + chance.randrange(-40, 40)
        for number in range(deliveries):
            ms = median_ms * math.exp(chance.gauss(0, sigma))
            if stall_at == second:
                # What was meant to leave during a stall waits for its end.
                ms += 700 * (1 - number / deliveries)
            histogram.record_value(max(1, round(ms * 1e6)))
        whole.add(histogram)
        series.append({
            "at_s": float(second),
            "published": deliveries // 40,
            "deliveries": deliveries,
            "server_cpu_share": cpu if stall_at != second else 0.05,
            "generator_cpu_share": 0.3,
            "histogram": histogram.encode().decode(),
        })
    deliveries = whole.get_total_count()
    return {
        "schema_version": 1,
        "command": "fanout",
        "command_line": ["stentor-bench", "fanout", "ws://10.0.0.2:9001/ws", "-c", "40", "-r", "50"],
        "label": label,
        "version": "0.1.0",
        "seed": seed,
        "began_unix_ms": 1_700_000_000_250,
        "host": {
            "name": "bench-1", "kernel": "Linux 6.12.0", "cpu": "AMD EPYC 9554 64-Core Processor",
            "cores": 8, "memory_bytes": 34_359_738_368, "load": 0.42, "steal": 0.001,
        },
        "target": {"url": "ws://10.0.0.2:9001/ws", "transport": "tcp", "dialect": "plain"},
        "load": {
            "clients": 40, "publishers": 1, "bytes": 128, "window": None, "rate": 50.0,
            "seconds": float(seconds), "warm_up_s": 5.0,
        },
        "totals": {
            "seconds": float(seconds), "published": deliveries // 40, "deliveries": deliveries,
            "lost": 0 if stall_at is None else 40, "duplicated": 0, "out_of_order": 0,
            "disordered_clients": 0, "bytes_in": deliveries * 132, "connected": 40,
            "disconnects": {} if stall_at is None else {"1006": 1}, "failures": {},
        },
        "latencies": {"delivery": latency(whole)},
        "server": {
            "pid": 4711, "user_s": 9.0, "system_s": 15.0, "cpu_share": 0.4 * median_ms,
            "cpu_ns_per_delivery": 960.0 * median_ms, "rss_bytes": 48_000_000,
            "pss_bytes": 47_000_000, "private_bytes": 45_000_000,
            "private_bytes_per_client": 3120.0,
        },
        "generator": {
            "threads": 2, "agents": 1, "cpu_share": 0.3, "cpu_ns_per_receipt": 402.0,
        },
        "series": series,
        "thresholds": [
            {"threshold": "delivery.p99<20ms", "found": 3.4, "met": True},
            {"threshold": "lost==0", "found": 0.0 if stall_at is None else 40.0,
             "met": stall_at is None},
        ],
        "faults": [] if stall_at is None else [{
            "what": "the host stole 12 % of the time",
            "remedy": "measure on a host of its own",
        }],
    }, whole


def main(directory):
    os.makedirs(directory, exist_ok=True)
    for name, args in {
        "steady": ("steady", 1, 1.0, 0.35),
        "stalled": ("stalled", 2, 1.1, 0.35, 37),
        "noisy": ("noisy", 3, 1.6, 0.8),
    }.items():
        with open(os.path.join(directory, name + ".json"), "w", encoding="utf-8") as file:
            json.dump(run(*args)[0], file)


if __name__ == "__main__":
    main(sys.argv[1])
