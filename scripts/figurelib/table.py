"""The figures: the preset of each, the value that is read of its record, and the bound that it must meet.

`stentor-bench figure NAME` has the loads: bench/src/load/presets.rs.
"""

from typing import Callable, NamedTuple

NO_PINGS = ("--ping-interval", "0")

# JSON clients begin without a channel, plain ones in the lobby.
IN_LOBBY = "/ws?channel=lobby"

# Where clients of other protocols listen. They subscribe by commands, or by the address alone.
CENTRIFUGO = "/connection/websocket"
EVENTS = "/sse?channel=bench"
PUSHER = "/app/bench?protocol=7&client=bench&version=1"

# The app of Pusher's clients, which send more events than an app allows by default.
WITH_APP = (*NO_PINGS, "--config", "bench/pusher.toml")

# The generator puts the number of each client's channel in the place of $C.
CHANNEL_EACH = "/ws?channel=c$C"


def per_delivery(record):
    return record["server"]["cpu_ns_per_delivery"] / 1000


def per_connect(record):
    return busy_us(record) / record["totals"]["connected"]


def per_ping(record):
    return busy_us(record) / max(1, record["totals"]["pings"])


def memory_per_client(record):
    """Returns `None` where the record does not tell it."""
    return record["server"]["private_bytes_per_client"]


def bytes_per_delivery(record):
    """Bytes that each client was sent for a message, with their frames."""
    return record["totals"]["bytes_in"] / max(1, record["totals"]["deliveries_in_time"])


def last_p99(record):
    return record["latencies"]["last"]["p99_ns"] / 1000


def busy_us(record):
    """CPU time of the server in the measured time."""
    return record["server"]["cpu_share"] * record["totals"]["seconds"] * 1e6


class Figure(NamedTuple):
    """One figure."""

    # The preset, and flags that replace its own.
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
    # The preset has a time of its own, or ends by itself: the option does not count.
    own_time: bool = False
    # A new server for every run: memory that an earlier run has left is no client's.
    fresh: bool = False
    # Path and query of the endpoint.
    path: str = "/ws"
    # The figure whose load is run beside this one in every round, in the place of the bare loop's, and the name of
    # the ratio.
    beside: tuple = ()


EACH = "us/delivery"
JOINED = ("--joined",)

# A message goes back to its sender only.
ALONE = ("--alone",)


def of_channels(preset, ratio_max):
    """Ten thousand channels of one client each, beside a bare loop that answers each client alone."""
    return Figure((preset,), per_delivery, EACH, ratio_max, bare_flags=ALONE, path=CHANNEL_EACH, own_time=True)


def of_two_shards(preset, beside):
    """Two shards, beside one that has the same load."""
    return Figure((preset,), per_delivery, EACH, 1.10, shards=2, beside=(beside, "one shard"))


def of_json(preset, beside):
    """JSON clients, beside plain ones that are sent frames of the same length."""
    return Figure((preset,), per_delivery, EACH, 1.05, path=IN_LOBBY, beside=(beside, "plain"))


def of_dialect(preset, path, beside, flags=NO_PINGS):
    """Clients of another protocol, beside plain ones that are sent frames of the same length."""
    return Figure((preset,), per_delivery, EACH, 1.05, flags=flags, path=path, beside=(beside, "plain"))


def idle_of_dialect(preset, path, flags=NO_PINGS):
    """Idle clients of another protocol, beside as many plain ones."""
    return Figure(
        (preset,), memory_per_client, "bytes/client",
        value_max=700, flags=flags, fresh=True, path=path, beside=("idle-10k", "plain"),
    )


def of_compression(preset, how, value, ratio_max):
    """Clients that read compressed messages, beside clients that are sent the same ones as they are."""
    unit = EACH if value is per_delivery else "bytes/delivery"
    flags = (*NO_PINGS, "--compression", how)
    return Figure((f"{preset}-deflated",), value, unit, ratio_max, flags=flags, beside=(preset, "no compression"))


# The figures that have the bare loop or another load beside them.
FIGURES = {
    "one-1k": Figure(("one-1k",), per_delivery, EACH, 1.10),
    "one-15k": Figure(("one-15k",), per_delivery, EACH, 1.10),
    "joined-1k": Figure(("joined-1k",), per_delivery, EACH, 1.15, bare_flags=JOINED),
    "joined-15k": Figure(("joined-15k",), per_delivery, EACH, 1.05, bare_flags=JOINED),
    "large-16": Figure(("large-16",), per_delivery, EACH, 1.05, bare_flags=JOINED),
    "rate-1k": Figure(("rate-1k",), per_delivery, EACH, 1.03, own_time=True),
    "all-200": Figure(("all-200",), per_delivery, EACH, 0.19),
    "all-joined": Figure(("all-200",), per_delivery, EACH, bare_flags=JOINED),
    "channels-10k": of_channels("channels-10k", 1.10),
    "channels-40k": of_channels("channels-40k", 1.10),
    "json-channels-10k": of_channels("json-channels-10k", 1.15),
    "json-channels-40k": of_channels("json-channels-40k", 1.15),
    "shards-15k": of_two_shards("joined-15k", "joined-15k"),
    "shards-200": of_two_shards("all-200", "all-200"),
    "json-1k": of_json("json-1k", "plain-1k"),
    "json-1k-16": of_json("json-1k-16", "plain-1k-16"),
    "centrifugo-1k": of_dialect("centrifugo-1k", CENTRIFUGO, "plain-1k"),
    "centrifugo-10k": of_dialect("centrifugo-10k", CENTRIFUGO, "plain-10k"),
    "protobuf-1k": of_dialect("protobuf-1k", CENTRIFUGO, "plain-1k"),
    "protobuf-10k": of_dialect("protobuf-10k", CENTRIFUGO, "plain-10k"),
    "sse-1k": of_dialect("sse-1k", EVENTS, "plain-1k"),
    "sse-10k": of_dialect("sse-10k", EVENTS, "plain-10k"),
    "deflate-1k": of_compression("chat-1k", "on", per_delivery, 1.10),
    "deflate-1k-bytes": of_compression("chat-1k", "on", bytes_per_delivery, 0.45),
    "shared-1k": of_compression("moved-1k", "shared", per_delivery, 1.00),
    "shared-1k-bytes": of_compression("moved-1k", "shared", bytes_per_delivery, 0.35),
    "pusher-1k": of_dialect("pusher-1k", PUSHER, "plain-1k", WITH_APP),
    "pusher-10k": of_dialect("pusher-10k", PUSHER, "plain-10k", WITH_APP),
    "accept": Figure(("accept",), per_connect, "us/accept", 1.30, 12, runs=3, own_time=True),
    "latency": Figure(("latency",), last_p99, "us-p99", 1.10, own_time=True),
    "ping": Figure(
        ("ping",), per_ping, "us/ping", value_max=10, own_time=True,
        flags=("--ping-interval", "5s"), bare_flags=("--ping-interval", "5"),
    ),
}

# Figures of memory. Without --pair they have rows of their own.
MEMORY = {
    "idle-15k": Figure(("idle-15k",), memory_per_client, "bytes/client", value_max=900, fresh=True),
    "idle-json": Figure(
        ("idle-json",), memory_per_client, "bytes/client",
        value_max=250, fresh=True, path=IN_LOBBY, beside=("idle-15k", "plain"),
    ),
    "idle-10k": Figure(("idle-10k",), memory_per_client, "bytes/client", value_max=900, fresh=True),
    "idle-centrifugo": idle_of_dialect("idle-centrifugo", CENTRIFUGO),
    "idle-protobuf": idle_of_dialect("idle-protobuf", CENTRIFUGO),
    "idle-pusher": idle_of_dialect("idle-pusher", PUSHER, WITH_APP),
    "idle-sse": idle_of_dialect("idle-sse", EVENTS),
}

# The loads of plain clients beside clients of other protocols: a preset, and flags that replace its own.
PLAIN = {
    "plain-1k": ("one-1k",),
    "plain-10k": ("one-15k", "-c", "10000"),
    "plain-1k-16": ("joined-1k",),
}


# The loads beside those of clients that read compressed messages.
WHOLE = ("chat-1k", "moved-1k")


def beside(figure, message_bytes):
    """Returns the figure whose load runs beside another one's. `message_bytes` returns the length of the payload of a
    plain frame that is as long as what the clients of the figure are sent."""
    name = figure.beside[0]
    if name in WHOLE:
        return Figure((name,), figure.value, figure.unit)
    if name not in PLAIN:
        return {**FIGURES, **MEMORY}[name]
    return Figure((*PLAIN[name], "--size", str(message_bytes(figure))), per_delivery, EACH)


def payload_bytes(record):
    """Returns the length of the payload of a plain frame that is as long as what each client of a run was sent for a
    message."""
    totals = record["totals"]
    whole = round(totals["bytes_in"] / totals["deliveries_in_time"])
    return whole - 2 if whole < 128 else whole - 4


def probe(figure):
    """Returns the load of a figure with few clients and for a short time."""
    return (*figure.load, "-c", "200", "--warmup", "100ms", "-d", "500ms")


def timed(figure, seconds):
    """Returns the load with the time that it is to take."""
    return figure.load if figure.own_time else (*figure.load, "-d", f"{round(seconds * 1000)}ms")
