"""Climbs the ladder: every step that is not there yet, with a line that says what it does and how
long it will take.
"""

import sys
import time

from . import machine, outbox, steps
from .machine import Failed
from .store import counted, strip

# A process that waits longer for a core than this share of the time shares it with something that
# is not measured.
WAITED_MAX = 0.04

# How often a disturbed step is tried again.
TRIES = 3

# Other processes' share of the cores while nothing is measured, above which a step waits.
BUSY_MAX = 0.10


def busy_share(seconds=0.25):
    """The share of all cores' time that is used."""

    def look():
        with open("/proc/stat", encoding="ascii") as file:
            ticks = [int(word) for word in file.readline().split()[1:9]]
        return sum(ticks) - ticks[3] - ticks[4], sum(ticks)

    used, whole = look()
    time.sleep(seconds)
    used_then, whole_then = look()
    return (used_then - used) / max(whole_then - whole, 1)


class Progress:
    """One line: what is being done, and about how long the rest takes."""

    def __init__(self, stream=sys.stderr):
        self.stream, self.live = stream, stream.isatty()
        self.done_s, self.took_s, self.left_s, self.number = 0.0, 0.0, 0.0, 0

    def say(self, text):
        """What stays on the screen."""
        print(("\r\x1b[K" if self.live else "") + f"plan: {text}", file=self.stream, flush=True)

    def step(self, step, repeat, repeats):
        """Before a step."""
        self.number += 1
        slower = self.took_s / self.done_s if self.done_s else 1.0
        left = max(self.left_s * slower, 1.0)
        words = {
            "fanout": f"{step.clients:,} clients, {step.rate:g}/s of {step.bytes} bytes",
            "idle": f"{step.clients:,} idle clients"
            + (f", pinged every {step.ping_s:g} s" if step.ping_s else ""),
            "connect": f"{step.clients:,} clients connect"
            + (f", {step.ramp:g}/s" if step.ramp else " at once"),
            "outbox": f"{step.clients} clients that do not read",
        }[step.kind]
        words += f", {step.channels} channels" if step.channels > 1 else ""
        words += f", {step.shards} shards" if step.shards > 1 else ""
        minutes = f"{left / 60:.0f} min" if left >= 90 else f"{left:.0f} s"
        text = f"plan: step {self.number}: {words}; round {repeat + 1} of {repeats}"
        text += f", about {minutes} left"
        print(
            f"\r\x1b[K{text}" if self.live else text,
            end="" if self.live else "\n",
            file=self.stream,
            flush=True,
        )

    def finished(self, step, took_s):
        """After a step."""
        self.done_s += step.expected_s
        self.took_s += took_s
        self.left_s = max(self.left_s - step.expected_s, 0.0)

    def end(self):
        """The line is done with."""
        if self.live:
            print("\r\x1b[K", end="", file=self.stream, flush=True)


class Rig:
    """What a step is measured with."""

    def __init__(self, bench, binary=None, target=None, patience_s=8.0):
        self.bench, self.binary, self.target, self.patience_s = bench, binary, target, patience_s

    def can(self, step):
        """Whether a server that is there already can be asked for this."""
        return self.target is None or (
            step.kind != "outbox" and step.shards == 1 and not step.ping_s
        )

    def once(self, step):
        """Measures a step: what is kept of it."""
        layout = machine.Layout(step.shards)
        flags = ["--ping-interval", f"{step.ping_s:g}s" if step.ping_s else "0"]
        if step.kind == "outbox":
            with machine.Server(self.binary, layout, outbox.FLAGS) as server:
                return {"levels": outbox.run(server, step.clients)}
        with self.target or machine.Server(self.binary, layout, flags) as server:
            before = server.counters()
            watch = machine.Watch(server)
            runs = self.bench.run(step, server, layout, watch)
            after = server.counters()
            return {
                "runs": [strip(run) for run in runs],
                "counters": counted(before, after),
                "memory": watch.memory(),
                "waited": watch.waited(),
            }

    def calmly(self, step, tries):
        """Measures a step while nothing else runs, if that can be had; else the calmest of some
        tries.
        """
        found = []
        for _ in range(tries):
            deadline = time.monotonic() + self.patience_s
            while tries > 1 and busy_share() > BUSY_MAX and time.monotonic() < deadline:
                pass
            record = self.once(step)
            found.append(record)
            if waited(record) <= WAITED_MAX:
                break
        return min(found, key=waited)


def waited(record):
    """The longest share of a step for which one of its processes waited for a core."""
    return max(
        (share for share in record.get("waited", {}).values() if share is not None), default=0.0
    )


def breaks(record, p99_s, cpu_max):
    """Whether a step is past the p99 or the CPU that is asked for, or failed its clients."""
    if "failed" in record:
        return True
    run = record["runs"][0]
    latency = run["latencies"].get("delivery")
    lost = sum(
        one["totals"]["lost"] + sum(one["totals"]["failures"].values()) for one in record["runs"]
    )
    shares = [one["server"]["cpu_share"] for one in record["runs"] if one["server"]]
    return (
        latency is None
        or latency["p99_ns"] > p99_s * 1e9
        or lost > 0
        or max(shares, default=0.0) > cpu_max
    )


class Climb:
    """One run of the ladder."""

    def __init__(self, rig, store, design, bounds, tries=TRIES, progress=None):
        self.rig, self.store, self.design, self.tries = rig, store, design, tries
        self.p99_s, self.cpu_max = bounds
        self.progress = progress or Progress()
        self.round, self.rounds = 0, 0

    def take(self, step):
        """A step of this round: as it was kept, or measured now. None if it cannot be measured
        here.
        """
        record = self.store.read(step, self.round)
        if record is None and self.rig.can(step):
            self.progress.step(step, self.round, self.rounds)
            began = time.monotonic()
            try:
                record = self.rig.calmly(step, self.tries)
            except Failed as error:
                self.progress.say(f"{step.name}: {error}")
                record = {"failed": str(error)}
            self.store.keep(step, self.round, record)
            self.progress.finished(step, time.monotonic() - began)
        return record

    def column(self, column):
        """Climbs one rate until a bound breaks, then looks between the last two levels."""
        below, above = None, None
        for clients in column.clients:
            record = self.take(steps.fanout(clients, column.rate, column.bytes, **self.seconds()))
            if breaks(record, self.p99_s, self.cpu_max):
                above = clients
                break
            below = clients
        for _ in range(2 if column.refine else 0):
            middle = steps.between(below, above) if below and above else None
            if middle is None:
                break
            record = self.take(steps.fanout(middle, column.rate, column.bytes, **self.seconds()))
            broken = breaks(record, self.p99_s, self.cpu_max)
            below, above = (below, middle) if broken else (middle, above)

    def seconds(self):
        """The quick ladder's steps are all short."""
        return {"seconds": 0.5} if self.design.warm_up_s < 1 else {}

    def expected_s(self):
        """About how long a round takes, before anything is known: the steps below what one core can
        do.
        """
        likely = [
            steps.fanout(clients, column.rate, column.bytes, **self.seconds())
            for column in self.design.columns
            for clients in column.clients
            if clients * column.rate < 400_000 and clients < 10_000
        ]
        return sum(step.expected_s for step in [*likely, *self.design.others])

    def run(self, rounds):
        """As many rounds as are asked for beyond the whole ones that are there."""
        there = self.store.counts()
        first = min(
            (there.get(step.name, 0) for step in self.design.others if self.rig.can(step)),
            default=0,
        )
        # What was begun is finished; what is whole gets as many more.
        self.rounds = (first // rounds + 1) * rounds
        self.progress.left_s = self.expected_s() * (self.rounds - first)
        for self.round in range(first, self.rounds):
            for column in self.design.columns:
                self.column(column)
            for step in self.design.others:
                self.take(step)
        self.progress.end()
