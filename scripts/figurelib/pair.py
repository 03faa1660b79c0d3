"""Two server binaries side by side: each round runs both, so that a machine that is slow for a while is slow for both."""

import contextlib
import statistics

from figurelib.report import doubts, kept, lost, number, row, spread
from figurelib.server import stentor
from figurelib.table import FIGURES, PAIRED, plain_as_json, timed
from figurelib.wire import json_message_bytes

# Figures of the bare loop's own kind, which are the same load here as their neighbour.
NOT_PAIRED = ("all-joined",)
ALL = {name: figure for name, figure in {**FIGURES, **PAIRED}.items() if name not in NOT_PAIRED}


class Pair:
    """What the options say, and the results."""

    def __init__(self, commands, rounds, seconds, results):
        self.commands, self.rounds, self.seconds, self.results = commands, rounds, seconds, results

    def head(self):
        row("figure", "unit", "old", "new", "new/old", "min..max")

    def compare(self, name):
        """Runs one figure, and the one beside it, on both servers in turn, and prints the ratios of the medians."""
        figure = ALL[name]
        other, word = (self.beside(figure.beside[0]), figure.beside[1]) if figure.beside else (None, "")
        figures = [one for one in (figure, other) if one]
        found = {(place, side): [] for place in range(len(figures)) for side in (0, 1)}
        with contextlib.ExitStack() as stack:
            servers = self.start(stack, figures)
            for turn in range(self.rounds * figure.runs):
                # Each side goes first as often as the other.
                for side in (0, 1) if turn % 2 == 0 else (1, 0):
                    for place, one in enumerate(figures):
                        found[place, side].append(self.run(one, servers, side, place))
        values = {key: [figures[key[0]].value(run) for run in runs] for key, runs in found.items()}
        self.row(name, figure.unit, values[0, 0], values[0, 1], found[0, 0] + found[0, 1])
        if other:
            self.beside_row(name, word, values)
        runs = {f"{place}-{'old new'.split()[side]}": [kept(run) for run in runs] for (place, side), runs in found.items()}
        self.results.add(name, unit=figure.unit, old=values[0, 0], new=values[0, 1], runs=runs)

    def beside(self, name):
        if name.startswith("plain-1k"):
            with self.server(PAIRED["json-1k"], 1) as server:
                return plain_as_json(name, json_message_bytes(server.port, 64))
        return ALL[name]

    def server(self, figure, side):
        return stentor(self.commands[side], figure.flags, figure.shards)

    def start(self, stack, figures):
        """Starts the servers of figures whose runs share one. Figures of the same flags share a server."""
        servers = {}
        for side in (0, 1):
            for place, figure in enumerate(figures):
                kind = (side, figure.flags, figure.shards)
                if not figure.fresh and kind not in servers:
                    servers[kind] = stack.enter_context(self.server(figure, side))
                servers[side, place] = servers.get(kind)
        return servers

    def run(self, figure, servers, side, place):
        load = timed(figure, self.seconds)
        if server := servers[side, place]:
            return server.measure(load, figure.path)
        with self.server(figure, side) as server:
            return server.measure(load, figure.path)

    def row(self, name, unit, old, new, runs):
        ratios = [after / before for before, after in zip(old, new)]
        before, after = statistics.median(old), statistics.median(new)
        count = sum(lost(run) for run in runs)
        notes = ", ".join(filter(None, (f"lost {count}" if count else "", doubts(runs))))
        row(name, unit, number(before), number(after), f"{after / before:.3f}", spread(ratios), "", notes)

    def beside_row(self, name, word, values):
        """The ratio of a figure to the one beside it, of each server by itself."""
        ratios = [[one / other for one, other in zip(values[0, side], values[1, side])] for side in (0, 1)]
        medians = [statistics.median(values[0, side]) / statistics.median(values[1, side]) for side in (0, 1)]
        texts = (f"{median:.3f}" for median in medians)
        row("", f"/ {word}", *texts, "", spread(ratios[1]), "", "min..max of the new one's rounds")
        self.results.add(f"{name} / {word}", old=medians[0], new=medians[1], ratios={"old": ratios[0], "new": ratios[1]})
