"""What each limit allows, in clients of one box, and what lifts it."""

import math
from typing import NamedTuple

from . import model as models
from .load import Load
from .units import show_count, show_share, show_size, show_time

# What servers needed that could not tell it yet. One that can is asked: `stentor doctor --json`.
ASSUMED = {
    "process_descriptors": 16,
    "spare_descriptors": 48,
    "shard_descriptors": 8,
    "shard_locked_bytes": 512 << 10,
}

# Settings are lifted to at least this many clients: there is no reason to come again.
MANY = 1_000_000

# Where a search for a client number ends.
CLIENTS_MAX = 1e9

DRAWS = 100

# What is missing is made by these. A server that the planner did not start needs its process named.
CLIMB = "scripts/plan.sh measure --rounds 4"
WITH_PROCESS = "scripts/plan.sh measure, and with --url also --server-pid PID"
CARD = "ethtool CARD, and its speed as --nic 10Gbit/s"


class Question(NamedTuple):
    """What is asked, apart from the host."""

    rate: float  # publications a second in each channel
    bytes: int
    p99_s: float
    cpu_max: float  # of the fullest shard
    channels: float  # if positive: so many, whatever the number of clients
    channel_size: float  # else: clients of each
    ping_s: float
    shards: int
    efficiency: float | None  # assumed, where scaling is not determined
    outbox_bytes: float  # the most that waits for slow clients of one shard
    nic: float | None  # bit/s
    headroom: float
    target: float | None
    recover_s: float

    def load(self, clients):
        """So many clients of this kind."""
        channels = self.channels or max(clients / self.channel_size, 1.0)
        return Load(clients, self.rate, self.bytes, channels, self.ping_s, self.shards)


class Row(NamedTuple):
    """One limit. `clients` is infinite where it binds nobody, None where it could not be
    determined.
    """

    key: str
    name: str
    value: str
    each: str
    clients: float | None
    interval: tuple | None
    lift: str
    why_not: str = ""
    measured_by: str = ""  # the command that makes what is missing


def rows(host, fitted, question):
    """All limits, in the order in which they bite; what could not be determined comes last."""
    found = [
        *_descriptors(host, question),
        *_work(fitted, question),
        *_memory(host, fitted, question),
        *_network(host, question),
    ]
    return sorted(found, key=lambda row: (row.clients is None, row.clients or 0.0, row.key))


def _row(key, name, value, each, clients, lift="", interval=None):
    return Row(key, name, value, each, max(clients, 0.0), interval, lift)


def _unknown(key, name, value, why, command, each=""):
    """A limit that could not be determined."""
    return Row(key, name, value, each, None, None, "", why, command)


def needs(host):
    """What the server told of its needs, or what is assumed of one that did not."""
    return {**ASSUMED, **(host.get("needs") or {})}


def reserved(host, shards):
    """Descriptors of a server that are no clients."""
    each = needs(host)
    fixed = each["process_descriptors"] + each["spare_descriptors"]
    return fixed + each["shard_descriptors"] * shards


def _descriptors(host, question):
    used = reserved(host, question.shards)
    wanted = max(2 * MANY, 2 * int(question.target or 0))
    yield _row(
        "nofile",
        "open files (nofile)",
        show_count(host["nofile"]),
        "1 descriptor",
        host["nofile"] - used,
        f"LimitNOFILE={MANY if wanted <= 2 * MANY else wanted} in the unit, or ulimit -Hn before",
    )
    if host["nr_open"] is not None:
        yield _row(
            "nr_open",
            "the most that nofile can be",
            show_count(host["nr_open"]),
            "1 descriptor",
            host["nr_open"] - used,
            f"sysctl -w fs.nr_open={wanted}",
        )
    if host["file_max"] is not None:
        yield _row(
            "file_max",
            "open files of the whole host",
            show_count(host["file_max"]),
            "1 file",
            host["file_max"] - used,
            f"sysctl -w fs.file-max={2 * wanted}",
        )
    if host["watches"] is not None:
        yield _row(
            "watches",
            "watched sockets of the user",
            show_count(host["watches"]),
            "1 watch",
            host["watches"],
            f"sysctl -w fs.epoll.max_user_watches={wanted}",
        )
    if host["conntrack_max"] is not None:
        yield _row(
            "conntrack",
            "connections that netfilter tracks",
            show_count(host["conntrack_max"]),
            "1 entry",
            host["conntrack_max"] - (host["conntrack_count"] or 0),
            f"sysctl -w net.netfilter.nf_conntrack_max={wanted}, or do not track this port",
        )


def _work(fitted, question):
    cpu = ("cpu", "CPU of a shard", show_share(question.cpu_max))
    p99 = ("p99", "p99 of publish to receipt", show_time(question.p99_s))
    if fitted.cpu is None:
        yield _unknown(*cpu, "not measured", WITH_PROCESS)
        yield _unknown(*p99, fitted.refused, WITH_PROCESS)
        return
    efficiency = fitted.efficiency(question.shards) or question.efficiency
    if efficiency is None:
        words = fitted.scaling.not_determined or "too far beyond what was measured"
        why = f"{question.shards} shards: {words}"
        counts = ",".join(map(str, _counts(question.shards)))
        command = f"scripts/plan.sh measure --sweep {counts}, or --efficiency as an assumption"
        yield _unknown(*cpu, why, command)
        yield _unknown(*p99, why, command)
        return

    def within(bound, draw=None):
        return models.most(
            lambda clients: bound(fitted.expect(question.load(clients), draw, efficiency)),
            CLIENTS_MAX,
        )

    def among(bound):
        return models.band([within(bound, draw) for draw in range(min(fitted.draws, DRAWS))])

    more = "more shards or boxes, fewer or joined messages"
    bound = lambda seen: seen.busy <= question.cpu_max  # noqa: E731
    clients = within(bound)
    each = fitted.expect(question.load(max(clients, 1.0)), None, efficiency).busy / max(
        clients, 1.0
    )
    yield _row(
        *cpu,
        f"{show_time(each * question.shards)}/s",
        clients,
        more,
        among(bound),
    )
    if fitted.p99 is None:
        yield _unknown(*p99, fitted.refused, CLIMB)
        return
    bound = lambda seen: seen.p99 <= question.p99_s  # noqa: E731
    yield _row(
        *p99,
        "",
        within(bound),
        "more shards or boxes: each then has fewer of a channel's clients",
        among(bound),
    )


def _memory(host, fitted, question):
    if host["memory_bytes"] is not None and fitted.memory is not None:
        memory = fitted.memory
        waiting = question.outbox_bytes * question.shards
        base = memory.at(0, waiting)

        def holds(each, start):
            return (host["memory_bytes"] - start) / each if each > 0 else math.inf

        drawn = [
            holds(
                sum(part.drawn[draw][1] for part in (memory.process, memory.kernel) if part)
                + memory.buffers_max(1),
                base,
            )
            for draw in range(DRAWS)
        ]
        yield _row(
            "memory",
            "memory, the kernel's part included",
            show_size(host["memory_bytes"]),
            show_size(memory.client_bytes),
            holds(memory.client_bytes, base),
            "more memory",
            models.band(drawn),
        )
        if host["tcp_mem_pages"] is not None and memory.tcp_pages:
            pages = host["tcp_mem_pages"]
            lifted = max(2 * pages, int(memory.tcp_pages * MANY))
            yield _row(
                "tcp_mem",
                "TCP's buffers (tcp_mem)",
                f"{show_count(pages)} pages",
                show_size(memory.tcp_pages * host["page_bytes"]),
                pages / memory.tcp_pages,
                f"sysctl -w net.ipv4.tcp_mem='{lifted // 2} {lifted * 3 // 4} {lifted}'",
            )
    elif fitted.memory is None:
        yield _unknown(
            "memory",
            "memory, the kernel's part included",
            show_size(host["memory_bytes"] or 0),
            "not measured",
            WITH_PROCESS,
        )


def _counts(shards):
    """Counts of shards to measure up to so many: at least the three that a law takes."""
    powers = [1 << power for power in range(16) if 1 << power < shards]
    return sorted({*powers, 1, 2, shards})


def _network(host, question):
    known = [speed for speed in host["cards"].values() if speed]
    speed = question.nic or (max(known) if known else None)
    each = question.rate * models.wire_bytes(question.bytes) * 8
    if speed:
        yield _row(
            "nic",
            "network card",
            f"{speed / 1e9:g} Gbit/s",
            f"{each / 1e3:.3g} kbit/s",
            speed / each,
            "a faster card, smaller messages",
        )
    else:
        yield _unknown(
            "nic",
            "network card",
            "not known",
            "the card does not say how fast it is",
            CARD,
            f"{each / 1e3:.3g} kbit/s",
        )


def notes(host, fitted, question):
    """Limits that bind no number of clients, but something else."""
    found = []
    locked = needs(host)["shard_locked_bytes"] * question.shards
    if host["memlock"] < locked:
        found.append(
            f"memlock {show_size(host['memlock'])} is too little for {question.shards} shards: "
            f"LimitMEMLOCK={locked}"
        )
    if host["cpu_quota"] is not None and host["cpu_quota"] < question.shards:
        found.append(
            f"the control group allows {host['cpu_quota']:g} cores for {question.shards} shards"
        )
    if host["somaxconn"] is not None:
        found.append(
            f"{host['somaxconn'] * question.shards:,} connects may wait to be accepted "
            "(net.core.somaxconn for each shard; the server's --backlog asks for 4,096): "
            "of more at once the rest tries again a second later"
        )
    if host["ports"] is not None:
        found.append(
            f"a generator or proxy at one address has {host['ports']:,} ports to here: "
            "sysctl -w net.ipv4.ip_local_port_range='1024 65535', or more addresses"
        )
    if host["tcp_mem_pages"] is not None and host["tcp_wmem_max"]:
        stalled = host["tcp_mem_pages"] * host["page_bytes"] / host["tcp_wmem_max"]
        found.append(
            f"{show_count(stalled)} clients that stop reading can fill tcp_mem with "
            f"{show_size(host['tcp_wmem_max'])} of send buffer each (tcp_wmem): "
            "--send-buffer-bytes or net.ipv4.tcp_wmem bounds it"
        )
    if fitted.memory is not None and fitted.memory.outbox is None:
        found.append("outboxes were not measured: a byte in one is taken for a byte of memory")
    return found
