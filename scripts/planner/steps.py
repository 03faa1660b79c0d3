"""What a ladder of loads consists of. Pure: nothing here runs anything.

The clients and the rate vary together (a factor design): what one of them costs cannot be told from
what the other costs if only one moves at a time. Each rate is a column that is climbed until the
p99 or the CPU breaks its bound.
"""

from typing import NamedTuple

# Below this many deliveries a second a step says little in the time it has.
DELIVERIES_MIN = 3_000

# Descriptors that the generator keeps for itself beside its clients, and some to spare.
GENERATOR_DESCRIPTORS = 200


class Step(NamedTuple):
    """One load. What does not apply is 0."""

    kind: str  # fanout, idle, connect, outbox
    clients: int
    rate: float = 0.0  # publications a second in all
    bytes: int = 128
    ping_s: float = 0.0
    shards: int = 1
    ramp: float = 0.0  # connects a second; 0: all at once
    channels: int = 1
    seconds: float = 4.0

    @property
    def name(self):
        """The step's name in files. How long it was measured is not part of what it is."""
        words = [self.kind, f"c{self.clients}"]
        if self.rate:
            words += [f"r{self.rate:g}"]
        if self.kind == "fanout":
            words += [f"b{self.bytes}"]
        for letter, value, usual in (
            ("p", self.ping_s, 0),
            ("a", self.ramp, 0),
            ("h", self.channels, 1),
            ("s", self.shards, 1),
        ):
            if value != usual:
                words.append(f"{letter}{value:g}")
        return "-".join(words)

    @property
    def expected_s(self):
        """About how long it takes, start and end included."""
        over = 2.0 if self.kind == "fanout" else 1.0
        return self.seconds + over + self.clients / 12_000


# The quick ladder's fan-outs are shorter than this, and all others longer.
QUICK_S_MAX = 1.0


def is_quick(step):
    """Whether a fan-out, as kept, is of the quick ladder: too short to mean anything."""
    return step["kind"] == "fanout" and step["seconds"] < QUICK_S_MAX


class Column(NamedTuple):
    """One rate and message size, climbed over clients."""

    rate: float
    bytes: int
    clients: tuple
    refine: bool  # whether the level that breaks a bound is looked for more closely


class Design(NamedTuple):
    """The whole ladder."""

    columns: list
    others: list  # steps that are run whatever comes
    warm_up_s: float


def seconds_of(rate):
    """Long enough for a p99 of publications, not of one."""
    return 5.0 if rate < 10 else 3.5


def fanout(clients, rate, size=128, **more):
    """A fan-out for as long as its rate asks for."""
    return Step(
        "fanout", clients, rate, size, seconds=more.pop("seconds", seconds_of(rate)), **more
    )


def full(clients_max, target=None, sweep=()):
    """The ladder of a real run, for a host whose generator can hold so many clients. `target` is
    the load that the plan is for: rate and bytes; it gets a column of its own. `sweep` says which
    counts of shards to compare.
    """
    columns = [
        climb(rate, 128, clients_max, refine=rate in (8, 20)) for rate in (4, 8, 20, 80, 320)
    ]
    columns += [
        climb(rate, size, clients_max, least=480, factor=4)
        for size in (1024, 4096)
        for rate in (20, 80)
    ]
    if target and target not in [(column.rate, column.bytes) for column in columns]:
        columns.append(climb(*target, clients_max, refine=True))
    # What a tick costs, what joined messages cost, and several channels at once.
    others = [fanout(10, 500), fanout(10, 2000), fanout(200, 2000), fanout(1000, 1000)]
    others += [fanout(4000, 160), fanout(2000, 40, channels=4)]
    # Memory, pings, storms, and outboxes.
    most = min(clients_max, 16_000)
    others += [Step("idle", most // part, seconds=1.5) for part in (16, 8, 4, 2, 1)]
    others += [Step("idle", most // 4, ping_s=ping_s, seconds=4.0) for ping_s in (0.5, 2.0)]
    others += [Step("connect", most // part, seconds=1.0) for part in (4, 2)]
    others += [Step("connect", most // 4, ramp=2000, seconds=1.0)]
    others += [Step("outbox", 40, seconds=3.0)]
    others += [fanout(1000 * shards, 80, shards=shards) for shards in sweep]
    others = [step for step in others if step.clients <= clients_max]
    return Design([column for column in columns if column.clients], others, 1.5)


def quick(clients_max):
    """A ladder for tests: the same kinds of step, few and short. Its figures mean nothing."""
    columns = [
        Column(rate, size, (100, 200, 400), False)
        for rate, size in ((20, 128), (80, 128), (40, 1024))
    ]
    others = [
        fanout(10, 500, seconds=0.5),
        Step("connect", 200, seconds=0.2),
        Step("outbox", 4, seconds=0.5),
    ]
    others += [Step("idle", 200, ping_s=0.2, seconds=1.0)]
    others += [Step("idle", clients, seconds=0.3) for clients in (200, 400, 800)]
    return Design(columns, [step for step in others if step.clients <= clients_max], 0.2)


def climb(rate, size, clients_max, least=60, factor=2, refine=False):
    """One column: client levels from where a step says something. All columns share their levels,
    and the fast ones begin with few clients: only there is a socket still in the cache.
    """
    while least * rate < DELIVERIES_MIN:
        least *= 2
    found = []
    while least <= clients_max:
        found.append(least)
        least *= factor
    return Column(rate, size, tuple(found), refine)


def between(below, above):
    """The level between two, on a scale of ratios; None if they are close."""
    middle = int(round((below * above) ** 0.5, -1))
    return middle if below * 1.05 < middle < above / 1.05 else None


def shard_counts(cores):
    """Counts of shards for a sweep on so many cores: each while they are few, then every other."""
    return [count for count in range(1, cores + 1) if count <= 4 or count % 2 == 0]
