"""Stentor beside the bare loop, or beside itself under another load: the figures of the README.

A ratio is taken within each round; the median of the rounds' ratios is the figure.
"""

import statistics
import time

from figurelib.cross import cross
from figurelib.report import NOT_TOLD, kept, lost, median_told, number, row, spread
from figurelib.server import bare_loop, cpu_seconds, stentor
from figurelib.table import FIGURES, MEMORY, beside, payload_bytes, probe, timed

# Figures that are no ratio.
SINGLE = ["idle", "idle-json", "idle-centrifugo", "idle-protobuf", "idle-pusher", "idle-sse", "asleep", "cross"]


class Bare:
    """What the options say, and the results."""

    def __init__(self, command, rounds, seconds, results):
        self.command, self.rounds, self.seconds, self.results = command, rounds, seconds, results

    def head(self):
        row("figure", "unit", "stentor", "bare", "ratio", "min..max", "at most")

    def compare(self, name):
        if name in SINGLE:
            return self.idle_of(name) if name.startswith("idle-") else getattr(self, name)()
        figure = FIGURES[name]
        other = beside(figure, self.message_bytes) if figure.beside else figure
        resting = self.resting(figure) if name == "ping" else (0.0, 0.0)
        runs = []
        with self.server(figure) as ours, self.server(other) if figure.beside else bare_loop(figure.bare_flags) as bare:
            loads = {ours: figure, bare: other}
            for turn in range(self.rounds * figure.runs):
                # Each goes first as often as the other.
                order = (ours, bare) if turn % 2 == 0 else (bare, ours)
                records = {server: self.run(server, loads[server]) for server in order}
                runs.append((records[ours], records[bare]))
        pairs = [tuple(less(figure, record, share) for record, share in zip(run, resting)) for run in runs]
        ratios = [ours / theirs for ours, theirs in pairs]
        value, of_bare = (statistics.median(column) for column in zip(*pairs))
        ratio = statistics.median(ratios)
        count = sum(lost(record) for run in runs for record in run)
        asked, met = verdict(figure, value, ratio)
        met = met and count == 0
        text = f"lost {count}" if count else "" if not asked else "ok" if met else "over"
        text += f"   beside {figure.beside[1]}, not the bare loop" if figure.beside else ""
        row(name, figure.unit, number(value), number(of_bare), f"{ratio:.3f}", spread(ratios), ", ".join(asked), text)
        self.results.add(
            name, unit=figure.unit, ours=value, bare=of_bare, ratio=ratio, ratios=ratios, met=met,
            runs=[[kept(record) for record in run] for run in runs],
        )

    def server(self, figure):
        return stentor(self.command, figure.flags, figure.shards)

    def run(self, server, figure):
        return server.measure(timed(figure, self.seconds), figure.path)

    def message_bytes(self, figure):
        """As a short run of the figure's load tells it."""
        with self.server(figure) as server:
            return payload_bytes(server.measure(probe(figure), figure.path))

    def resting(self, figure):
        """The share of a core that as many clients cost while nobody pings: not the pings' cost."""
        load = (*figure.load, "--warmup", "1s", "-d", "3s")
        with stentor(self.command) as ours, bare_loop() as bare:
            return [server.measure(load)["server"]["cpu_share"] for server in (ours, bare)]

    def cross(self):
        cross(self.command, self.rounds, self.seconds, self.results)

    def idle(self):
        """Private memory of idle clients, of a new server each time."""
        figure = MEMORY["idle-15k"]
        runs = [self.of_new_server(figure) for _ in range(min(self.rounds, 3))]
        value = median_told(figure.value(run) for run in runs)
        share = statistics.median(run["server"]["cpu_share"] for run in runs) * 100
        text = within(value, figure.value_max) + f"   {share:.3f} % of a core meanwhile"
        row("idle-15k", figure.unit, number(value), "", "", "", "900, aim 500", text)
        self.results.add("idle-15k", bytes=value, cpu_share=share / 100, runs=[kept(run) for run in runs])

    def idle_of(self, name):
        """Private memory of idle clients of another protocol than the plain one, and beyond that of plain ones."""
        figure, runs = MEMORY[name], []
        plain = beside(figure, self.message_bytes)
        for _ in range(min(self.rounds, 3)):
            runs.append([self.of_new_server(one) for one in (figure, plain)])
        value, of_plain = (median_told(map(figure.value, column)) for column in zip(*runs))
        beyond = None if None in (value, of_plain) else value - of_plain
        # Clients of stentor.v1 are bounded by what they take beyond plain ones, others by all that they take.
        judged, bound = (beyond, "plain + ") if name == "idle-json" else (value, "")
        text = f"{within(judged, figure.value_max)}   {number(beyond)} beyond plain, not the bare loop"
        row(name, figure.unit, number(value), number(of_plain), "", "", f"{bound}{figure.value_max}", text)
        self.results.add(
            name, bytes=value, plain_bytes=of_plain, beyond=beyond,
            runs=[[kept(run) for run in pair] for pair in runs],
        )

    def of_new_server(self, figure):
        with self.server(figure) as server:
            return self.run(server, figure)

    def asleep(self):
        """CPU of a server without clients."""
        with stentor(self.command, (), shards=2) as server:
            time.sleep(1)
            before, began = cpu_seconds(server.child.pid), time.monotonic()
            time.sleep(self.seconds * 3)
            share = (cpu_seconds(server.child.pid) - before) / (time.monotonic() - began) * 100
        row("asleep", "% of a core", f"{share:.4f}", "", "", "", "0.1, 2 shards", "ok" if share < 0.1 else "over")
        self.results.add("asleep", share=share / 100)


def less(figure, record, resting):
    """Returns a run's value, less the share of a core that the server costs at rest."""
    pings = record["totals"]["pings"]
    value = figure.value(record)
    return value - resting * record["totals"]["seconds"] * 1e6 / pings if resting else value


def within(value, most):
    """Returns a verdict in a word."""
    return NOT_TOLD if value is None else "ok" if value <= most else "over"


def verdict(figure, value, ratio):
    """Returns the bounds in words, and `True` if a figure is within them."""
    asked, met = [], True
    if figure.value_max is not None:
        asked.append(f"{figure.value_max:g} us")
    if figure.ratio_max is not None:
        asked.append(f"{figure.ratio_max:.2f} x")
        met = ratio <= figure.ratio_max
    elif figure.value_max is not None:
        met = value <= figure.value_max
    return asked, met
