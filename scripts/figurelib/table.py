"""The figures: the load of each, the value that is read of its record, and the bound that it must meet."""

from typing import Callable, NamedTuple

NO_PINGS = ("--ping-interval", "0")
JSON = ("--subprotocol", "stentor.v1", "--message", '{"type":"publish","body":"$MSG"}')
# JSON clients begin without a channel, plain ones in the lobby.
IN_LOBBY = "/ws?channel=lobby"


def per_delivery(record):
    return record["server"]["cpu_ns_per_delivery"] / 1000


def per_connect(record):
    return busy_us(record) / record["totals"]["connected"]


def per_ping(record):
    return busy_us(record) / max(1, record["totals"]["pings"])


def memory_per_client(record):
    return record["server"]["private_bytes_per_client"]


def last_p99(record):
    return record["latencies"]["last"]["p99_ns"] / 1000


def busy_us(record):
    """CPU time of the server in the measured time."""
    return record["server"]["cpu_share"] * record["totals"]["seconds"] * 1e6


class Figure(NamedTuple):
    """One figure."""

    # The generator's command and flags, without the time.
    load: tuple
    value: Callable
    unit: str
    # At most so many times the bare loop's value, and at most so much itself.
    ratio_max: float | None = None
    value_max: float | None = None
    flags: tuple = NO_PINGS
    bare_flags: tuple = ()
    shards: int = 1
    # Runs a round, where they are short.
    runs: int = 1
    # Seconds of a run, where they are not those of the options; 0: the load ends by itself.
    seconds: float | None = None
    # A new server for every run: memory that an earlier run has left is no client's.
    fresh: bool = False
    # Path and query of the endpoint.
    path: str = "/ws"
    # The figure whose load is run beside this one in every round of a pair, and the name of the ratio.
    beside: tuple = ()


def fanout(clients, *flags):
    return ("fanout", "-c", str(clients), "--size", "64", "--warmup", "1s", *flags)


EACH = "us/delivery"

# The figures that have a bare loop beside them.
FIGURES = {
    "one-1k": Figure(fanout(1000, "-w", "1"), per_delivery, EACH, 1.10),
    "one-15k": Figure(fanout(15000, "-w", "1"), per_delivery, EACH, 1.10),
    "joined-1k": Figure(fanout(1000, "-w", "16"), per_delivery, EACH, 1.15, bare_flags=("--joined",)),
    "joined-15k": Figure(fanout(15000, "-w", "16"), per_delivery, EACH, 1.15, bare_flags=("--joined",)),
    "all-200": Figure(fanout(200, "-P", "200", "-w", "1"), per_delivery, EACH, 0.19),
    "all-joined": Figure(fanout(200, "-P", "200", "-w", "1"), per_delivery, EACH, bare_flags=("--joined",)),
    "accept": Figure(
        ("connect", "-c", "15000", "--rounds", "1", "--hold", "20ms"),
        per_connect, "us/accept", 1.30, 12, runs=3, seconds=0,
    ),
    "latency": Figure(fanout(1000, "-r", "20"), last_p99, "us-p99", 1.10, seconds=10),
    "ping": Figure(
        ("idle", "-c", "15000"), per_ping, "us/ping", value_max=10, seconds=10,
        flags=("--ping-interval", "5s"), bare_flags=("--ping-interval", "5"),
    ),
}

# The figures that only two binaries are compared by.
PAIRED = {
    "rate-1k": Figure(fanout(1000, "-r", "20"), per_delivery, EACH, seconds=5),
    "large-16": Figure(
        ("fanout", "-c", "1000", "--size", "16k", "--warmup", "1s", "-w", "16"),
        per_delivery, EACH, bare_flags=("--joined",),
    ),
    "json-1k": Figure(fanout(1000, "-w", "1", *JSON), per_delivery, EACH, path=IN_LOBBY, beside=("plain-1k", "plain")),
    "json-1k-16": Figure(fanout(1000, "-w", "16", *JSON), per_delivery, EACH, path=IN_LOBBY, beside=("plain-1k-16", "plain")),
    "shards-15k": Figure(fanout(15000, "-w", "16"), per_delivery, EACH, shards=2, beside=("joined-15k", "one shard")),
    "shards-200": Figure(
        fanout(200, "-P", "200", "-w", "1"), per_delivery, EACH, shards=2, beside=("all-200", "one shard")
    ),
    "idle-15k": Figure(("idle", "-c", "15000"), memory_per_client, "bytes/client", fresh=True),
    "idle-json": Figure(
        ("idle", "-c", "15000", *JSON[:2]), memory_per_client, "bytes/client",
        fresh=True, path=IN_LOBBY, beside=("idle-15k", "plain"),
    ),
}


def plain_as_json(name, bytes_on_the_wire):
    """The plain load whose frames are as long as those that `name`'s JSON clients are sent."""
    window = name.removeprefix("plain-1k").removeprefix("-") or "1"
    load = ("fanout", "-c", "1000", "--size", str(bytes_on_the_wire), "--warmup", "1s", "-w", window)
    return Figure(load, per_delivery, EACH)
