"""From the read of a publication on one shard to its send on another, and the floor under that.

The server's own histogram has the first; the second is a thread that wakes another by an eventfd. The clients only
cause it: one message at a time, from a publisher on one shard to the only subscriber of its channel, on the other.
"""

import contextlib
import json
import statistics
import subprocess
import time
import urllib.request

from figurelib.report import row, spread
from figurelib.server import BENCH, free_port, stentor
from figurelib.wire import Client

# Clients that are tried: one in 32,768 runs has all of them on one of two shards.
TRIED = 16

# The pause before each message: both shards sleep when it comes.
PAUSE_S = 0.002


def cross(command, rounds, seconds, results):
    runs = []
    for _ in range(rounds):
        admin = free_port()
        with stentor(command, shards=2, admin=f"127.0.0.1:{admin}") as server:
            lost = messages(server.port, seconds * 2)
            with urllib.request.urlopen(f"http://127.0.0.1:{admin}/api/latency.hgrm") as response:
                p50, p99 = quantiles_us(response.read().decode())
        wake = subprocess.run([BENCH, "wake", "-d", f"{seconds * 2:g}s"], check=True, capture_output=True)
        runs.append({"p50_us": p50, "p99_us": p99, "lost": lost, "wake": json.loads(wake.stdout)})
    p50, p99 = (statistics.median(run[key] for run in runs) for key in ("p50_us", "p99_us"))
    floor50, floor99 = (statistics.median(run["wake"][key] for run in runs) for key in ("p50_us", "p99_us"))
    ratios = [run["p99_us"] / run["wake"]["p99_us"] for run in runs]
    lost = sum(run["lost"] for run in runs)
    verdict = f"lost {lost}" if lost else "ok" if p99 < 100 else "over"
    ratio = f"{statistics.median(ratios):.3f}"
    row("cross", "us-p99", f"{p99:.0f}", f"{floor99:.0f}", ratio, spread(ratios), "100 us", verdict)
    row("", "us-p50", f"{p50:.0f}", f"{floor50:.0f}")
    results.add(
        "cross", p50_us=p50, p99_us=p99, floor_p50_us=floor50, floor_p99_us=floor99, ratios=ratios, runs=runs
    )


def messages(port, seconds):
    """Sends one message after the other from one shard to the other; returns the number that did not come."""
    with contextlib.ExitStack() as stack:
        clients = [stack.enter_context(Client(port)) for _ in range(TRIED)]
        publisher = clients[0]
        subscriber = next(client for client in clients if client.shard != publisher.shard)
        subscriber.say(type="join", channel="bench")
        subscriber.until("joined")
        lost, number, until = 0, 0, time.monotonic() + seconds
        while time.monotonic() < until:
            time.sleep(PAUSE_S)
            number += 1
            publisher.say(type="publish", channel="bench", body=number)
            lost += json.loads(subscriber.until("message"))["body"] != number
    return lost


def quantiles_us(hgrm):
    """Returns p50 and p99 of a percentile file in milliseconds."""
    lines = (line.split() for line in hgrm.splitlines())
    rows = [(float(words[0]), float(words[1])) for words in lines if len(words) >= 3 and words[0][0].isdigit()]
    return tuple(next(ms * 1000 for ms, quantile in rows if quantile >= at) for at in (0.5, 0.99))
