"""What people type, and what they read: counts, rates, times, bytes, shares."""

import math
import re


class Nonsense(Exception):
    """What was typed or stored makes no sense: one line for people, exit code 2."""


COUNTS = {"": 1, "k": 1e3, "K": 1e3, "m": 1e6, "M": 1e6, "G": 1e9}
TIMES = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "min": 60.0}
SIZES = {
    "": 1,
    "B": 1,
    "kB": 1e3,
    "k": 1e3,
    "K": 1e3,
    "MB": 1e6,
    "M": 1e6,
    "GB": 1e9,
    "G": 1e9,
    "KiB": 1 << 10,
    "MiB": 1 << 20,
    "GiB": 1 << 30,
}
BITS = {"bit/s": 1, "kbit/s": 1e3, "Mbit/s": 1e6, "Gbit/s": 1e9}
NUMBER = re.compile(r"(-?[0-9]+(?:_[0-9]{3})*(?:\.[0-9]*)?(?:e[0-9]+)?)\s*(.*)", re.ASCII)


def _split(text, what):
    match = NUMBER.fullmatch(text.strip())
    if not match:
        raise Nonsense(f"{what}: {text!r} is not a number")
    value = float(match[1].replace("_", ""))
    if value < 0:
        raise Nonsense(f"{what}: {text} is negative")
    if not math.isfinite(value):
        raise Nonsense(f"{what}: {text} has no end")
    return value, match[2]


def _scaled(text, what, units, example):
    value, unit = _split(text, what)
    if unit not in units:
        if unit == "":
            raise Nonsense(f"{what}: {text} has no unit, such as {example}")
        raise Nonsense(f"{what}: {text} is not in a unit that it can have, such as {example}")
    return value * units[unit]


def count(text, what="a count"):
    """Whole things: 1000000, 1M, 10k."""
    value = _scaled(text, what, COUNTS, "10k")
    if value != int(value):
        raise Nonsense(f"{what}: {text} is not a whole number")
    return int(value)


def positive(text, what="a count"):
    """A count of at least one."""
    value = count(text, what)
    if value < 1:
        raise Nonsense(f"{what}: there must be at least one")
    return value


def rate(text, what="a rate"):
    """So many a second: 10, 10/s, 1k/s, or 6/m."""
    text, seconds = (text[:-2], 1) if text.endswith("/s") else (text, 1)
    if text.endswith("/m"):
        text, seconds = text[:-2], 60
    value = _scaled(text, what, COUNTS, "10/s") / seconds
    if value <= 0:
        raise Nonsense(f"{what}: it must be more than 0/s")
    return value


def time(text, what="a time"):
    """Seconds: 50ms, 2s. 0 needs no unit."""
    if text.strip() == "0":
        return 0.0
    return _scaled(text, what, TIMES, "50ms")


def size(text, what="a size"):
    """Bytes: 256, 1KiB, 64kB."""
    value = _scaled(text, what, SIZES, "1KiB")
    if value != int(value):
        raise Nonsense(f"{what}: {text} is not a whole number of bytes")
    return int(value)


def share(text, what="a share"):
    """A part of one: 30%, 0.3."""
    value, unit = _split(text, what)
    if unit not in ("", "%"):
        raise Nonsense(f"{what}: {text} is not a share, such as 30%")
    value = value / 100 if unit else value
    if value >= 1:
        raise Nonsense(f"{what}: {text} leaves nothing: it must be less than 100%")
    return value


def bits(text, what="a speed"):
    """Bits a second: 10Gbit/s."""
    return _scaled(text, what, BITS, "10Gbit/s")


def digits(value, places=3):
    """A number rounded to so many digits that count: the same on every machine."""
    if value == 0 or not math.isfinite(value):
        return value
    return round(value, places - 1 - math.floor(math.log10(abs(value))))


def show_count(value):
    """1,234,567, of what is not known more exactly than to three digits."""
    if not math.isfinite(value):
        return "no bound"
    return f"{int(digits(value)):,}" if value >= 1000 else f"{digits(value):g}"


def show_time(seconds):
    """With the unit that makes it readable."""
    if not math.isfinite(seconds):
        return "never"
    for unit, scale in (("s", 1.0), ("ms", 1e-3), ("µs", 1e-6)):
        if seconds >= scale:
            return f"{digits(seconds / scale):g} {unit}"
    return f"{digits(seconds / 1e-6):g} µs"


def show_size(value):
    """Bytes for people."""
    for unit, scale in (("TiB", 1 << 40), ("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)):
        if value >= scale:
            return f"{digits(value / scale):g} {unit}"
    return f"{digits(value):g} B"


def show_share(value):
    """A share in percent."""
    return f"{100 * value:.3g} %"
