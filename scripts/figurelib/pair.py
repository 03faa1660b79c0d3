"""Two server binaries side by side: each round runs both, so that a machine that is slow for a while is slow for both."""

import contextlib

from figurelib.report import (
    NOT_TOLD, doubts, kept, lost, median_told, number, ratio_of, ratios_of, row, spread,
)
from figurelib.server import stentor
from figurelib.table import FIGURES, MEMORY, beside, payload_bytes, probe, timed

# Figures of the bare loop's own kind, which are the same load here as their neighbour.
NOT_PAIRED = ("all-joined",)
ALL = {name: figure for name, figure in {**FIGURES, **MEMORY}.items() if name not in NOT_PAIRED}


class Pair:
    """What the options say, and the results."""

    def __init__(self, commands, rounds, seconds, results):
        self.commands, self.rounds, self.seconds, self.results = commands, rounds, seconds, results

    def head(self):
        row("figure", "unit", "old", "new", "new/old", "min..max")

    def compare(self, name):
        """Runs one figure, and the one beside it, on both servers in turn, and prints the ratios of the medians."""
        figure = ALL[name]
        other, word = (beside(figure, self.message_bytes), figure.beside[1]) if figure.beside else (None, "")
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

    def message_bytes(self, figure):
        """As a short run of the figure's load against the new server tells it."""
        with self.server(figure, 1) as server:
            return payload_bytes(server.measure(probe(figure), figure.path))

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
        before, after = median_told(old), median_told(new)
        count = sum(lost(run) for run in runs)
        untold = sum(value is None for value in (*old, *new))
        parts = (f"lost {count}" if count else "", f"{untold} runs: {NOT_TOLD}" if untold else "", doubts(runs))
        spreads = spread(ratios_of(new, old))
        row(name, unit, number(before), number(after), ratio_of(after, before), spreads, "", ", ".join(filter(None, parts)))

    def beside_row(self, name, word, values):
        """The ratio of a figure to the one beside it, of each server by itself."""
        ratios = [ratios_of(values[0, side], values[1, side]) for side in (0, 1)]
        medians = [[median_told(values[place, side]) for place in (0, 1)] for side in (0, 1)]
        texts = (ratio_of(*pair) for pair in medians)
        row("", f"/ {word}", *texts, "", spread(ratios[1]), "", "min..max of the new one's rounds")
        old, new = (None if None in pair else pair[0] / pair[1] for pair in medians)
        self.results.add(f"{name} / {word}", old=old, new=new, ratios={"old": ratios[0], "new": ratios[1]})
