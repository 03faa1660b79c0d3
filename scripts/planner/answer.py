"""Which limit comes first, how many boxes a target needs, what the death of one does, what if."""

import math

from . import limits, model
from .units import Nonsense, digits, positive, rate, show_count, show_time, size, time

# Limits that a setting lifts; the others end with the machine.
SETTINGS = ("nofile", "nr_open", "file_max", "watches", "conntrack", "tcp_mem")

WHAT_IF = {
    "size": ("bytes", size),
    "bytes": ("bytes", size),
    "rate": ("rate", rate),
    "p99": ("p99_s", time),
    "channels": ("channels", positive),
    "channel-size": ("channel_size", positive),
    "clients": ("target", positive),
    "ping": ("ping_s", time),
    "shards": ("shards", positive),
}


def capacity(rows):
    """The first limit among those that could be determined."""
    known = [row for row in rows if row.clients is not None]
    return min(known, key=lambda row: row.clients) if known else None


def answer(host, fitted, question, what_if=()):
    """The whole answer, as what becomes JSON."""
    rows = limits.rows(host, fitted, question)
    first = capacity(rows)
    if first is None or math.isinf(first.clients):
        raise Nonsense("no limit could be determined: nothing of the server was measured")
    lifted = capacity([row for row in rows if row.key not in SETTINGS])
    found = {
        "question": _question(question),
        "limits": [_limit(row) for row in rows],
        "first_limit": first.key,
        "capacity": _at(fitted, question, first.clients),
        "interval": _both(first.interval),
        "lifted": None,
        "settings": settings(rows, lifted),
        "notes": limits.notes(host, fitted, question),
        "scaling": _scaling(fitted),
    }
    if lifted is not None and lifted.clients > first.clients:
        found["lifted"] = {
            "limit": lifted.key,
            **_at(fitted, question, lifted.clients),
            "interval": _both(lifted.interval),
        }
    found["missing"] = missing(rows)
    if question.target and not found["missing"]:
        found["boxes"] = [boxes(fitted, question, first, "as it is set up")]
        if found["lifted"]:
            found["boxes"].append(boxes(fitted, question, lifted, "with the settings lifted"))
    found["what_if"] = [variant(host, fitted, question, text) for text in what_if]
    return found


def missing(rows):
    """The limits that could not be determined, with what determines them. One of them may be the
    first, so where there are any nobody can say how many boxes it takes.
    """
    return [
        {"limit": row.key, "name": row.name, "why": row.why_not, "measured_by": row.measured_by}
        for row in rows
        if row.clients is None
    ]


def _question(question):
    found = {key: value for key, value in question._asdict().items() if value is not None}
    found["channels"] = question.channels or None
    found["channel_size"] = None if question.channels else question.channel_size
    return {key: value for key, value in found.items() if value is not None}


def _both(interval):
    return None if interval is None else [digits(value, 3) for value in interval]


def _limit(row):
    clients = None if row.clients is None or math.isinf(row.clients) else int(digits(row.clients))
    return {
        "limit": row.key,
        "name": row.name,
        "value": row.value,
        "a_client_takes": row.each,
        "clients": clients,
        "interval": _both(row.interval),
        "lifted_by": row.lift,
        "not_determined": row.why_not,
    }


def _at(fitted, question, clients):
    """What a box does with so many clients."""
    clients = max(clients, 1.0)
    found = {"clients": int(clients), "deliveries_per_s": digits(clients * question.rate, 3)}
    efficiency = fitted.efficiency(question.shards) or question.efficiency
    if fitted.cpu is not None and efficiency is not None:
        seen = fitted.expect(question.load(clients), None, efficiency)
        found["cpu_share"] = digits(seen.cpu, 3)
        found["joined"] = None if math.isinf(seen.joined) else digits(seen.joined, 3)
        for name in ("p50", "p99"):
            value = getattr(seen, name)
            found[f"{name}_s"] = None if value is None or math.isinf(value) else digits(value, 3)
    if fitted.memory is not None:
        waiting = question.outbox_bytes * question.shards
        found["memory_bytes"] = int(digits(fitted.memory.at(clients), 3))
        found["tcp_bytes_max"] = int(digits(fitted.memory.buffers_max(clients), 3))
        found["memory_bytes_slow"] = int(digits(fitted.memory.at(clients, waiting), 3))
    return found


def settings(rows, lifted):
    """The lines that lift what can be lifted and would end before the machine does."""
    if lifted is None:
        return []
    known = [row for row in rows if row.key in SETTINGS and row.clients is not None]
    return [row.lift for row in known if row.clients < lifted.clients]


def boxes(fitted, question, limit, setup):
    """How many boxes hold the target with head-room, one of them to spare; and what its death does
    to the others.
    """
    # A search ends a hair below what it looks for.
    each = math.floor(limit.clients * (1 - question.headroom) + 1e-6)
    if each < 1:
        raise Nonsense("a box holds not one client with this head-room: ask for less")
    needed = math.ceil(question.target / each)
    found = {
        "setup": setup,
        "limit": limit.key,
        "clients_each_at_most": each,
        "needed": needed,
        "with_spare": needed + 1,
        "usual": _at(fitted, question, question.target / (needed + 1)),
        "after_a_death": _at(fitted, question, question.target / needed),
    }
    low_high = limit.interval
    if low_high:
        ends = [max(math.floor(end * (1 - question.headroom)), 1) for end in reversed(low_high)]
        found["needed_interval"] = [math.ceil(question.target / end) for end in ends]
    found["storm"] = storm(fitted, question, needed)
    return found


def storm(fitted, question, needed):
    """One of needed + 1 boxes dies: its clients come back to the others, at once."""
    orphans = question.target / (needed + 1)
    each = orphans / needed
    found = {
        "clients": math.ceil(orphans),
        "clients_each": math.ceil(each),
        "within_s": question.recover_s,
        "accepts_per_s_needed": digits(each / question.recover_s, 3),
    }
    efficiency = fitted.efficiency(question.shards) or question.efficiency
    if fitted.cpu is None or efficiency is None:
        return found
    cost = fitted.cpu.values[fitted.cpu.names.index("accept")] / efficiency
    # What is left of a shard when all have come: the last of them is accepted beside the fan-out of
    # all.
    left = 1 - fitted.expect(question.load(question.target / needed), None, efficiency).busy
    if cost > 0 and left > 0:
        found["accepts_per_s"] = digits(question.shards * left / cost, 3)
        found["seconds"] = digits(each / (question.shards * left / cost), 3)
        found["in_time"] = found["seconds"] <= question.recover_s
    elif cost > 0:
        found["in_time"] = False
    return found


def _scaling(fitted):
    scaling = fitted.scaling
    found = {
        "most": scaling.most,
        "not_determined": scaling.not_determined,
        "measured": [[shards, digits(speed)] for shards, speed in model.swept(fitted.points)],
    }
    if not scaling.not_determined:
        found.update(
            contention=digits(scaling.contention),
            coherency=digits(scaling.coherency),
            peak=None if math.isinf(scaling.peak) else digits(scaling.peak),
            intervals={
                name: [None if math.isinf(end) else digits(end) for end in ends]
                for name, ends in scaling.intervals.items()
            },
        )
    return found


def variant(host, fitted, question, text):
    """The same question with some words changed: size=512,rate=20."""
    changed = {}
    for word in text.split(","):
        name, equals, value = word.partition("=")
        if not equals or name.strip() not in WHAT_IF:
            raise Nonsense(
                f"--what-if {text}: {word!r} is not one of {', '.join(WHAT_IF)} with a value"
            )
        field, read = WHAT_IF[name.strip()]
        changed[field] = read(value, f"--what-if {name.strip()}")
    if "channel_size" in changed:
        changed["channels"] = 0
    other = question._replace(**changed)
    if other.p99_s <= 0:
        raise Nonsense(f"--what-if {text}: the p99 must be more than 0")
    rows = limits.rows(host, fitted, other)
    first = capacity(rows)
    lifted = capacity([row for row in rows if row.key not in SETTINGS])
    found = {
        "what_if": text,
        "first_limit": first.key,
        "capacity": _at(fitted, other, first.clients),
        "lifted": None
        if lifted is None
        else {"limit": lifted.key, **_at(fitted, other, lifted.clients)},
    }
    if other.target and not missing(rows):
        best = lifted if lifted is not None else first
        found["boxes"] = boxes(fitted, other, best, "with the settings lifted")
    return found


def sentence(found):
    """The answer in one breath."""
    at = found["capacity"]
    name = next(row["name"] for row in found["limits"] if row["limit"] == found["first_limit"])
    words = f"This box: {show_count(at['clients'])} clients, "
    words += f"{show_count(at['deliveries_per_s'])} deliveries/s"
    missing = [
        row["name"]
        for row in found["limits"]
        if row["not_determined"] and row["limit"] in ("p99", "cpu")
    ]
    words += f", {' and '.join(missing)} not determined" if missing else ""
    words += "" if missing else f" at p99 within {show_time(found['question']['p99_s'])}"
    words += f". First limit: {name}"
    if found["interval"]:
        low, high = found["interval"]
        words += f" (90 %: {show_count(low)} to {show_count(high)} clients)"
    words += "."
    if found["lifted"]:
        later = next(
            row["name"] for row in found["limits"] if row["limit"] == found["lifted"]["limit"]
        )
        more = show_count(found["lifted"]["clients"])
        words += f" With the settings lifted: {more} clients, then {later}."
    return words
