"""Charts as SVG: curves, bands, points, and marks at bounds. Colours come from the page's style
sheet.
"""

import html
import math
from typing import NamedTuple

WIDTH, HEIGHT = 640, 360
LEFT, RIGHT, TOP, BOTTOM = 84, 26, 12, 46


class Series(NamedTuple):
    """What is drawn. A band's data are (x, low, high)."""

    kind: str  # curve, points, band
    label: str
    colour: int
    data: list


class Mark(NamedTuple):
    """A bound: a line across at x or at y."""

    axis: str
    at: float
    label: str


class Scale:
    """From values to places, by ratio or evenly."""

    def __init__(self, low, high, start, end, log):
        self.log, self.start, self.end = log, start, end
        self.lowest, self.highest = low, high
        if log:
            self.low, self.high = math.log10(low), math.log10(high)
        else:
            self.low, self.high = low, high
        if self.high <= self.low:
            self.high = self.low + 1

    def at(self, value):
        """Where a value is, held within the frame."""
        value = math.log10(max(value, 1e-12)) if self.log else value
        part = (value - self.low) / (self.high - self.low)
        return self.start + min(max(part, 0.0), 1.0) * (self.end - self.start)

    def holds(self, value):
        """Whether a value is within the frame."""
        value = math.log10(max(value, 1e-12)) if self.log else value
        return self.low - 1e-9 <= value <= self.high + 1e-9

    def ticks(self):
        """Round values, not too many."""
        if not self.log:
            step = 10 ** math.floor(math.log10((self.high - self.low) / 4))
            step = next(
                step * times
                for times in (1, 2, 5, 10)
                if (self.high - self.low) / (step * times) <= 6
            )
            first = math.ceil(self.low / step - 1e-9)
            return [
                number * step for number in range(first, math.floor(self.high / step + 1e-9) + 1)
            ]
        decades = range(math.floor(self.low), math.ceil(self.high) + 1)
        digits = (
            (1,) if self.high - self.low > 4 else (1, 3) if self.high - self.low > 2 else (1, 2, 5)
        )
        values = [digit * 10.0**decade for decade in decades for digit in digits]
        return [
            value for value in values if self.low - 1e-9 <= math.log10(value) <= self.high + 1e-9
        ]


def _path(points):
    return "M" + "L".join(f"{x:.1f} {y:.1f}" for x, y in points)


def _inside(data, across, up):
    """The part of a curve that lies in the frame: one that ran along its edge would be read as
    flat.
    """
    return [(across.at(x), up.at(y)) for x, y in data if across.holds(x) and up.holds(y)]


def chart(series, marks, titles, shows, logs=(True, True), limits=(None, None)):
    """One figure. `titles` name the axes, `shows` write their values, `limits` are (low, high) of
    each axis or None.
    """
    xs = [point[0] for one in series for point in one.data] + [
        mark.at for mark in marks if mark.axis == "x"
    ]
    ys = [value for one in series for point in one.data for value in point[1:]]
    ys += [mark.at for mark in marks if mark.axis == "y"]
    if not xs or not ys:
        return "<p class=note>Nothing was measured for this.</p>"
    low_x, high_x = limits[0] or _room(xs, logs[0])
    low_y, high_y = limits[1] or _room(ys, logs[1])
    across = Scale(low_x, high_x, LEFT, WIDTH - RIGHT, logs[0])
    up = Scale(low_y, high_y, HEIGHT - BOTTOM, TOP, logs[1])
    parts = [
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{html.escape(titles[1])} by '
        f'{html.escape(titles[0])}">'
    ]
    parts += _axes(across, up, titles, shows)
    for one in sorted(series, key=lambda one: ("band", "curve", "points").index(one.kind)):
        parts += _draw(one, across, up, shows)
    for place, mark in enumerate(marks):
        parts += _mark(mark, across, up, 14 * place)
    return "".join([*parts, "</svg>", _legend(series)])


def _room(values, log):
    if log:
        values = [value for value in values if value > 0] or [1.0]
        return min(values) / 1.3, max(values) * 1.3
    return 0.0, max(values) * 1.1 or 1.0


def _text(x, y, words, kind="", anchor="start", turn=""):
    """Words at a place."""
    return (
        f'<text class="{kind}" x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" '
        f'transform="{turn}">{html.escape(words)}</text>'
    )


def _axes(across, up, titles, shows):
    bottom = HEIGHT - BOTTOM
    for value in across.ticks():
        x = across.at(value)
        yield f"<line class=grid x1={x:.1f} x2={x:.1f} y1={TOP} y2={bottom} />"
        yield _text(x, bottom + 16, shows[0](value), anchor="middle")
    for value in up.ticks():
        y = up.at(value)
        yield f"<line class=grid x1={LEFT} x2={WIDTH - RIGHT} y1={y:.1f} y2={y:.1f} />"
        yield _text(LEFT - 6, y + 4, shows[1](value), anchor="end")
    yield _text((LEFT + WIDTH - RIGHT) / 2, HEIGHT - 8, titles[0], "title", "middle")
    turn = f"translate(14 {(TOP + bottom) / 2}) rotate(-90)"
    yield _text(0, 0, titles[1], "title", "middle", turn)


def _draw(one, across, up, shows):
    colour = f"c{one.colour}"
    if one.kind == "band":
        data = [
            point
            for point in one.data
            if across.holds(point[0]) and point[2] > up.lowest and point[1] < up.highest
        ]
        there = [(across.at(x), up.at(high)) for x, _, high in data]
        back = [(across.at(x), up.at(low)) for x, low, _ in reversed(data)]
        if not data:
            return
        yield f'<path class="band {colour}" d="{_path(there + back)}Z" />'
    elif one.kind == "curve":
        inside = _inside(one.data, across, up)
        if len(inside) > 1:
            yield f'<path class="curve {colour}" d="{_path(inside)}" />'
    else:
        for x, y in one.data:
            said = html.escape(f"{one.label}: {shows[0](x)}, {shows[1](y)}")
            yield f'<circle class="point {colour}" cx={across.at(x):.1f} cy={up.at(y):.1f} r=4>'
            yield f"<title>{said}</title></circle>"


def _mark(mark, across, up, lower):
    if mark.axis == "x":
        x = across.at(mark.at)
        side, shift = ("end", -5) if x > WIDTH / 2 else ("start", 5)
        yield f"<line class=mark x1={x:.1f} x2={x:.1f} y1={TOP} y2={HEIGHT - BOTTOM} />"
        yield _text(x + shift, TOP + 14 + lower, mark.label, "bound", side)
    else:
        y = up.at(mark.at)
        yield f"<line class=mark x1={LEFT} x2={WIDTH - RIGHT} y1={y:.1f} y2={y:.1f} />"
        yield _text(LEFT + 6, y - 5, mark.label, "bound")


def _legend(series):
    seen = []
    for one in series:
        if one.label and one.kind != "band" and (one.label, one.colour, one.kind) not in seen:
            seen.append((one.label, one.colour, one.kind))
    items = "".join(
        f'<li><span class="key {kind} c{colour}"></span>{html.escape(label)}</li>'
        for label, colour, kind in seen
    )
    return f"<ul class=legend>{items}</ul>"


def bars(rows, show):
    """Limits as bars by ratio: (name, value, whether it is the first)."""
    high = max(value for _, value, _ in rows)
    scale = Scale(
        max(min(value for _, value, _ in rows) / 10, 1.0), high * 8, 240, WIDTH - RIGHT, True
    )
    tall = 26 * len(rows) + 10
    parts = [
        f'<svg viewBox="0 0 {WIDTH} {tall}" role="img" aria-label="Clients that each limit allows">'
    ]
    for place, (name, value, first) in enumerate(rows):
        y = 26 * place + 6
        kind, end = "first" if first else "", scale.at(value)
        parts.append(_text(232, y + 14, name, kind, "end"))
        parts.append(
            f'<rect class="bar {kind}" x=240 y={y} width={end - 240:.1f} height=18 rx=3 />'
        )
        parts.append(_text(end + 6, y + 14, show(value), kind))
    return "".join([*parts, "</svg>"])
