"""What people type, and what they read: counts, rates, times, bytes, shares."""

import math
import re


class Nonsense(Exception):
    """What was typed or stored makes no sense: one line for people, exit code 2."""


# The grammar is that of the crate in src/units, whose vectors.json the tests of both read.
NS = 1_000_000_000
COUNTS = {"": 1, "k": 10**3, "m": 10**6, "g": 10**9}
# A letter alone is a power of 1,024, as in the settings of most servers.
SIZES = {
    "": 1,
    "b": 1,
    "k": 1 << 10,
    "kib": 1 << 10,
    "m": 1 << 20,
    "mib": 1 << 20,
    "g": 1 << 30,
    "gib": 1 << 30,
    "t": 1 << 40,
    "tib": 1 << 40,
    "kb": 10**3,
    "mb": 10**6,
    "gb": 10**9,
}
# In nanoseconds.
TIMES = {
    "d": 86_400 * NS,
    "h": 3_600 * NS,
    "m": 60 * NS,
    "min": 60 * NS,
    "s": NS,
    "sec": NS,
    "ms": 10**6,
    "us": 1000,
    "µs": 1000,
    "μs": 1000,
    "ns": 1,
}
TIME_MAX = 30 * 86_400 * NS
PERIODS = {"s": 1, "sec": 1, "m": 60, "min": 60, "h": 3600}
BITS = {"bit/s": 1, "kbit/s": 1e3, "mbit/s": 1e6, "gbit/s": 1e9}
SIZE_MAX = (1 << 64) - 1
DIGITS_MAX = EXPONENT_MAX = 18

NUMBER = re.compile(r"([0-9]+(?:_[0-9]+)*)(?:\.([0-9]+))?(?:[eE]([0-9]+))?", re.ASCII)
LETTERS = re.compile(r"[^\W\d_]*")


def _number(text):
    """What a text begins with, as (whole, parts): whole / parts is exact. And what follows it."""
    match = NUMBER.match(text)
    if not match:
        return None, text
    digits = match[1].replace("_", "") + (match[2] or "")
    exponent = int(match[3] or 0)
    if len(digits) > DIGITS_MAX or exponent > EXPONENT_MAX:
        return None, text
    return (int(digits) * 10**exponent, 10 ** len(match[2] or "")), text[match.end() :].lstrip()


def _wrong(text, what, example):
    return Nonsense(f"{what}: {text!r} is not one such as {example}")


def _split(text, what, units, example):
    number, unit = _number(text.strip())
    if number is None or unit.strip().lower() not in units:
        raise _wrong(text, what, example)
    return number, units[unit.strip().lower()]


def _whole(text, what, units, example):
    (whole, parts), unit = _split(text, what, units, example)
    if whole * unit % parts or whole * unit // parts > SIZE_MAX:
        raise Nonsense(f"{what}: {text!r} is not a whole number such as {example}")
    return whole * unit // parts


def count(text, what="a count"):
    """Whole things: 1000000, 1M, 10k."""
    return _whole(text, what, COUNTS, "800 or 10k")


def positive(text, what="a count"):
    """A count of at least one."""
    value = count(text, what)
    if value < 1:
        raise Nonsense(f"{what}: there must be at least one")
    return value


def rate(text, what="a rate"):
    """So many a second: 10, 10/s, 1k/s, or 6/m."""
    amount, slash, period = text.partition("/")
    seconds = PERIODS.get(period.strip().lower() if slash else "s")
    if seconds is None:
        raise _wrong(text, what, "500/s")
    (whole, parts), unit = _split(amount, what, COUNTS, "500/s")
    value = whole / parts * unit / seconds
    if value <= 0:
        raise Nonsense(f"{what}: {text!r} is not more than 0/s")
    return value


def time_ns(text, what="a time"):
    """Nanoseconds: 50ms, 1m30s; without a unit it is in seconds."""
    example = "25s, 1m30s or 250ms"
    rest, total, last = text.strip(), 0, None
    while True:
        number, behind = _number(rest)
        if number is None:
            raise _wrong(text, what, example)
        unit = LETTERS.match(behind)[0]
        behind = behind[len(unit) :].lstrip()
        bare = not unit and last is None and not behind
        ns = NS if bare else TIMES.get(unit)
        if ns is None or (last is not None and ns >= last):
            raise _wrong(text, what, example)
        if number[0] * ns % number[1]:
            raise Nonsense(f"{what}: {text!r} is finer than a nanosecond")
        total += number[0] * ns // number[1]
        rest, last = behind, ns
        if not rest:
            break
    if total > TIME_MAX:
        raise Nonsense(f"{what}: {text!r} is more than 30 days")
    return total


def time(text, what="a time"):
    """Seconds: 50ms, 1m30s, 2."""
    return time_ns(text, what) / NS


def size(text, what="a size"):
    """Bytes: 256, 1KiB, 64kB; k alone is 1,024."""
    return _whole(text, what, SIZES, "65536 or 64KiB")


def portion(text, what="a share"):
    """A part of one, or more: 30%, 0.3."""
    number, unit = _number(text.strip())
    if number is None or unit not in ("", "%"):
        raise _wrong(text, what, "30%")
    value = number[0] / number[1]
    return value / 100 if unit else value


def share(text, what="a share"):
    """A part of one that leaves something: 30%, 0.3."""
    value = portion(text, what)
    if value >= 1:
        raise Nonsense(f"{what}: {text} leaves nothing: it must be less than 100%")
    return value


def bits(text, what="a speed"):
    """Bits a second: 10Gbit/s."""
    (whole, parts), unit = _split(text, what, BITS, "10Gbit/s")
    return whole / parts * unit


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
