"""Rows on standard output, and the results as JSON."""

import json
import os
import statistics

ROW = "{:<17} {:<13} {:>9} {:>9} {:>7} {:<14} {:<12} {}"


def row(*columns):
    print(ROW.format(*columns, *[""] * (8 - len(columns))).rstrip(), flush=True)


NOT_TOLD = "not told"


def median_told(values):
    """Returns the median of the values that are told, and `None` where none is."""
    return statistics.median(told) if (told := [value for value in values if value is not None]) else None


def number(value):
    return NOT_TOLD if value is None else f"{value:.{0 if abs(value) > 100 else 3}f}"


def ratio_of(value, beside):
    return NOT_TOLD if None in (value, beside) else f"{value / beside:.3f}"


def ratios_of(values, besides):
    """Returns the ratio of each round in which both are told."""
    return [value / beside for value, beside in zip(values, besides) if None not in (value, beside)]


def spread(ratios):
    return "" if not ratios else f"{min(ratios):.3f}..{max(ratios):.3f}"


class Results:
    """The results of all figures."""

    def __init__(self):
        self.rows = []

    def add(self, name, **result):
        self.rows.append({"figure": name, **result})

    def write(self, path):
        os.makedirs(os.path.dirname(path) or ".", exist_ok=True)
        with open(path, "w") as file:
            found = {"kernel": os.uname().release, "cores": os.cpu_count(), "results": self.rows}
            json.dump(found, file, indent=1)


def lost(record):
    """Returns the number of receipts that were lost, came twice or came in another order."""
    totals = record["totals"]
    failed = sum(totals["failures"].values())
    return totals["lost"] + totals["duplicated"] + totals["out_of_order"] + failed


def kept(record):
    """Returns a record without its histograms, which are not needed in the results."""
    latencies = {
        name: {key: value for key, value in latency.items() if key != "histogram"}
        for name, latency in record["latencies"].items()
    }
    parts = ("command_line", "load", "totals", "server", "generator", "faults")
    return {**{part: record[part] for part in parts}, "latencies": latencies}


def doubts(records):
    """Returns what the generator itself found wrong with its runs, in one line."""
    counts = {}
    for record in records:
        for fault in record["faults"]:
            what = fault["what"].split(":")[0]
            counts[what] = counts.get(what, 0) + 1
    return "; ".join(f"{count} runs: {what}" for what, count in counts.items())
