"""The answer as one self-contained page, with curves, measured points and prediction bands."""

import html
import pathlib

from . import curves, record, text
from .answer import sentence
from .chart import bars
from .units import show_count


def page(common, fitted, question, found, checks, held):
    """The whole page."""
    css = (pathlib.Path(__file__).parent / "page.css").read_text(encoding="utf-8")
    misses, verdicts = held
    latency = _section("p99 of publish to receipt", curves.latency(fitted, question, found))
    cpu = _section("CPU of a shard", curves.cpu(fitted, question, found))
    memory = _section("Memory", curves.memory(fitted, found))
    scaling = _section("Scaling over shards", curves.scaling(fitted))
    steps = _pre(text.residuals(fitted)[1:])
    parts = [
        f"<p class=tool>Stentor capacity plan</p><h1>{html.escape(_title(question))}</h1>",
        f"<p class=quick role=alert>{html.escape(record.QUICK)}</p>" if common["quick"] else "",
        f"<p class=verdict>{html.escape(sentence(found))}</p>",
        f"<p class=note>{html.escape(text.source(common, fitted.points))}</p>",
        _section("Limits, as they bite", _bars(found) + _limits(found)),
        f"<div class=pair>{latency}{cpu}</div>",
        f"<div class=pair>{memory}{scaling}</div>",
        _boxes(found),
        _missing(found),
        _what_if(found),
        *(_section("Validation", _pre(text.validation(check))) for check in checks),
        _section("Held out: predicted, and not fitted", _pre(text.holdout(misses, verdicts)[2:])),
        _section(
            "What was learned",
            _pre(text.fits(fitted)[1:])
            + f"<details><summary>Misses, step by step</summary>{steps}</details>",
        ),
    ]
    body = "\n".join(part for part in parts if part)
    title = "Capacity plan (--quick: means nothing)" if common["quick"] else "Capacity plan"
    return (
        "<!doctype html>\n<html lang=en><meta charset=utf-8>"
        "<meta name=viewport content='width=device-width'>"
        f"<title>{title}</title>\n<style>\n{css}</style>\n<body>\n{body}\n</body></html>\n"
    )


def _title(question):
    words = f"{question.rate:g} publications/s of {question.bytes} bytes in "
    if question.channels:
        words += (
            "one channel" if question.channels == 1 else f"each of {question.channels:,} channels"
        )
    else:
        words += f"channels of {question.channel_size:,} clients"
    return words + (f", {question.target:,} clients" if question.target else "")


def _section(title, body):
    return f"<section><h2>{html.escape(title)}</h2>{body}</section>"


def _pre(lines, kind=""):
    return f"<pre class='{kind}'>{html.escape(chr(10).join(lines))}</pre>"


def _bars(found):
    rows = [
        (row["name"], row["clients"], row["limit"] == found["first_limit"])
        for row in found["limits"]
        if row["clients"]
    ]
    return bars(rows, show_count) if rows else ""


def _limits(found):
    cells = ""
    for row in found["limits"]:
        values = [
            row["name"],
            row["value"],
            row["a_client_takes"],
            text.clients_of(row),
            text.between(row["interval"]),
            row["not_determined"] or row["lifted_by"],
        ]
        first = " class=first" if row["limit"] == found["first_limit"] else ""
        cells += (
            f"<tr{first}>" + "".join(f"<td>{html.escape(value)}</td>" for value in values) + "</tr>"
        )
    head = "".join(
        f"<th>{name}</th>"
        for name in ("limit", "here", "a client takes", "clients", "90 %", "lifted by")
    )
    settings = _pre(found["settings"], "words") if found["settings"] else ""
    notes = "".join(f"<p class=note>{html.escape(note)}</p>" for note in found["notes"])
    return f"<table><tr>{head}</tr>{cells}</table>{settings}{notes}"


def _boxes(found):
    lines = []
    for box in found.get("boxes", []):
        lines += text.box_lines(found, box) + [""]
    return _section("Boxes", _pre(lines, "words")) if lines else ""


def _missing(found):
    if not found["missing"]:
        return ""
    head, *rows = text.missing_lines(found)
    return _section("Not determined", _pre([head.rstrip(":"), *rows], "words"))


def _what_if(found):
    if not found["what_if"]:
        return ""
    head = ["", "clients of a box", "deliveries/s", "p99 there", "first limit", "boxes"]
    rows = [text.variant(one) for one in found["what_if"]]
    cells = "".join(
        "<tr>" + "".join(f"<td>{html.escape(cell)}</td>" for cell in row) + "</tr>" for row in rows
    )
    return _section(
        "What if (settings lifted)",
        f"<table><tr>{''.join(f'<th>{name}</th>' for name in head)}</tr>{cells}</table>",
    )
