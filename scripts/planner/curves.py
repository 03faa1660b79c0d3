"""The charts of a plan: p99, CPU and memory by clients, and speed by shards."""

import html
import math

from . import cost, model
from .chart import Mark, Series, chart
from .load import Load
from .lsq import interval
from .units import show_count, show_share, show_time

# Points of a curve, and draws of a band.
PLACES, DRAWS = 48, 60

MIB = float(1 << 20)


def _reach(fitted, question, found):
    """Client numbers for a curve: from a few to beyond what is measured and what fits."""
    measured = [point.step.clients for point in fitted.points if point.step.kind == "fanout"]
    ends = [
        row["clients"]
        for row in found["limits"]
        if row["limit"] in ("p99", "cpu") and row["clients"]
    ]
    high = 1.5 * max([*measured, *ends, 1000])
    low = min([clients for clients in measured if clients >= 100] or [1000]) / 2
    return [low * (high / low) ** (place / (PLACES - 1)) for place in range(PLACES)]


def _rates(fitted, question):
    """The measured rates of messages of this size that are nearest to what is asked."""
    columns = {}
    for point in fitted.points:
        step = point.step
        if step.kind == "fanout" and (step.shards, step.channels) == (1, 1) and step.clients >= 100:
            columns.setdefault((step.bytes, step.rate), []).append(point)
    sizes = {size for size, _ in columns}
    if not sizes:
        return []
    size = min(sizes, key=lambda size: (abs(math.log(size / question.bytes)), size))
    rates = [rate for own, rate in columns if own == size and len(columns[own, rate]) > 1]
    rates.sort(key=lambda rate: (abs(math.log(rate / question.rate)), rate))
    return [(size, rate, columns[size, rate]) for rate in rates[:3]]


def _curves(fitted, question, found, value, spread):
    """The curve of what is asked with its band; measured rates with their curves and points."""
    clients = _reach(fitted, question, found)
    known = fitted.efficiency(question.shards) or question.efficiency

    def along(load_of, draw=None):
        return [value(fitted.expect(load_of(count), draw, known)) for count in clients]

    own = along(question.load)
    drawn = [along(question.load, draw) for draw in range(min(fitted.draws, DRAWS))]
    low, high = interval([1 + miss for _, miss in spread]) if len(spread) > 4 else (1.0, 1.0)
    # A prediction is as far off as the coefficients and as a step is from its fit.
    ends = [interval([one[place] for one in drawn]) for place in range(PLACES)]
    band = [
        (count, max(least / max(high, 1e-9), 1e-9), most / max(low, 1e-9))
        for count, (least, most) in zip(clients, ends)
        if math.isfinite(most)
    ]
    series = [
        Series("band", "", 0, band),
        Series(
            "curve",
            f"predicted, {question.rate:g}/s of {question.bytes} bytes",
            0,
            [(count, seen) for count, seen in zip(clients, own) if math.isfinite(seen)],
        ),
    ]
    for colour, (size, rate, points) in enumerate(_rates(fitted, question), 1):
        curve = along(lambda count: Load(count, rate, size))  # noqa: B023
        series.append(
            Series(
                "curve",
                f"predicted, {rate:g}/s of {size} bytes",
                colour,
                [(count, seen) for count, seen in zip(clients, curve) if math.isfinite(seen)],
            )
        )
        series.append(
            Series(
                "points",
                f"measured, {rate:g}/s of {size} bytes",
                colour,
                [
                    (point.step.clients, seen(point))
                    for point in points
                    for seen in [value.measured]
                    if seen(point)
                ],
            )
        )
    return series


class Value:
    """What of an expectation, and of a point, a chart shows."""

    def __init__(self, expected, measured):
        self.expected, self.measured = expected, measured

    def __call__(self, seen):
        return self.expected(seen)


def _first(found, key):
    row = next((row for row in found["limits"] if row["limit"] == key and row["clients"]), None)
    marks = [Mark("x", row["clients"], f"{show_count(row['clients'])} clients")] if row else []
    first = next(row for row in found["limits"] if row["limit"] == found["first_limit"])
    if first["limit"] != key and first["clients"]:
        marks.append(Mark("x", first["clients"], f"first: {first['name']}"))
    return marks


def latency(fitted, question, found):
    """p99 by clients."""
    if fitted.p99 is None:
        return f"<p class=note>No model: {html.escape(fitted.refused)}</p>"
    value = Value(lambda seen: seen.p99, lambda point: point.p99)
    series = _curves(fitted, question, found, value, fitted.p99.residuals)
    marks = [
        Mark("y", question.p99_s, f"p99 within {show_time(question.p99_s)}"),
        *_first(found, "p99"),
    ]
    ys = [y for one in series for point in one.data for y in point[1:] if one.kind == "points"]
    ends = (min([*ys, question.p99_s]) / 2, max([*ys, question.p99_s]) * 3)
    return chart(series, marks, ("clients", "p99"), (show_count, show_time), limits=(None, ends))


def cpu(fitted, question, found):
    """CPU by clients."""
    if fitted.cpu is None:
        return "<p class=note>Not measured: the server's process was not known.</p>"
    value = Value(lambda seen: seen.cpu, lambda point: point.cpu)
    series = _curves(fitted, question, found, value, fitted.cpu.residuals)
    marks = [
        Mark("y", question.cpu_max, f"at most {show_share(question.cpu_max)}"),
        *_first(found, "cpu"),
    ]
    return chart(
        series,
        marks,
        ("clients", "share of a core"),
        (show_count, show_share),
        limits=(None, (0.005, 1.5)),
    )


def memory(fitted, found):
    """Memory by clients, the kernel's part included."""
    if fitted.memory is None:
        return "<p class=note>Not measured: the server's process was not known.</p>"
    seen = [
        (point.step.clients, cost.memory_of(point) / MIB)
        for point in fitted.points
        if point.step.kind in ("idle", "fanout") and point.step.clients >= 400 and point.kernel
    ]
    if not seen:
        return "<p class=note>Not measured.</p>"
    most = 2.5 * max(clients for clients, _ in seen)
    places = [most * place / (PLACES - 1) for place in range(PLACES)]
    draws = range(len(fitted.memory.process.drawn))
    band = [
        (clients, *interval([fitted.memory.at(clients, 0.0, draw) / MIB for draw in draws]))
        for clients in places
    ]
    series = [
        Series("band", "", 0, band),
        Series(
            "curve",
            "predicted",
            0,
            [(clients, fitted.memory.at(clients) / MIB) for clients in places],
        ),
        Series("points", "measured", 1, seen),
    ]
    first = next(row for row in found["limits"] if row["limit"] == found["first_limit"])
    marks = (
        [Mark("x", first["clients"], f"first: {first['name']}")]
        if (first["clients"] or most) < most
        else []
    )
    return chart(
        series,
        marks,
        ("clients", "process and its end of the sockets"),
        (show_count, lambda value: f"{value:g} MiB"),
        logs=(False, False),
    )


def scaling(fitted):
    """The law over shards, or why there is none."""
    law = fitted.scaling
    words = (
        f"<p class=note>Not determined: {html.escape(law.not_determined)}.</p>"
        if law.not_determined
        else ""
    )
    seen = model.swept(fitted.points)
    if len(seen) < 2:
        return words
    series = [Series("points", "measured", 1, seen)]
    if law.rate:
        most = max(law.most, 2)
        series.append(
            Series(
                "curve",
                "Universal Scalability Law",
                0,
                [(n / 4, law.speed(n / 4)) for n in range(4, 4 * most + 1)],
            )
        )
    return words + chart(
        series,
        [],
        ("shards", "deliveries/s at full use"),
        (show_count, show_count),
        logs=(False, False),
    )
