"""Where it is measured: this host, a server and its generator, and the steps that are kept."""

import os

from . import host, limits, machine, measure, points, record, steps, store
from .options import sweep_of
from .units import Nonsense

# The ladder is climbed at least this far, whatever p99 is asked for: a model of a few clients knows
# little.
CLIMB_P99_S = 0.05
CLIMB_CPU = 0.95

# A run at a predicted point.
VALIDATION_S = 6.0

# A validation has a generator for each channel.
CHANNELS_MAX = 64

# The generator's messages begin with their stamp.
BYTES_MIN = 48


def _digest(path):
    try:
        return machine.digest(path)
    except OSError as error:
        raise Nonsense(f"{path}: {error.strerror}; scripts/plan.sh builds it") from None


class Site:
    """This host, and what is measured on it."""

    def __init__(self, options):
        self.limits = {**host.limits(), "needs": host.needs(options.server)}
        others = limits.reserved(self.limits, self.limits["cores"])
        self.clients_max = self.limits["nofile"] - max(others, steps.GENERATOR_DESCRIPTORS)
        target = None
        if options.url:
            target = machine.Target(options.url, options.server_pid, options.admin)
            server = {"url": options.url}
            letters = (letter if letter.isalnum() else "-" for letter in options.url)
            name = "url-" + "".join(letters).strip("-")
        else:
            if options.server_pid or options.admin:
                raise Nonsense("--server-pid and --admin say more about a --url")
            name = _digest(options.server)
            server = {"file": os.path.basename(options.server), "digest": name}
        _digest(options.bench)
        facts = host.facts()
        self.store = store.Store(options.data, host.identity(facts), name)
        self.store.keep_host(facts, self.limits, server)
        bench = machine.Bench(options.bench)
        self.rig = measure.Rig(bench, options.server, target, options.patience)

    def climb(self, options):
        """All rounds of the ladder."""
        if options.quick:
            design, tries, rounds = steps.quick(self.clients_max), 1, 1
        else:
            one = options.channels in (None, 1) and not options.channel_size
            asked = (options.rate, max(options.bytes, BYTES_MIN)) if one else None
            cores = self.limits["cores"]
            sweep = sweep_of(options, cores, steps.shard_counts(cores))
            design = steps.full(self.clients_max, asked, sweep)
            tries, rounds = measure.TRIES, options.rounds
        self.rig.bench.warm_up_s = design.warm_up_s
        bounds = max(options.p99, CLIMB_P99_S), CLIMB_CPU
        measure.Climb(self.rig, self.store, design, bounds, tries).run(rounds)

    def validate(self, fitted, question, clients, what):
        """One run at a predicted point: predicted and seen; None where it cannot be run here."""
        channels = max(int(question.load(clients).channels), 1)
        clients = min(int(clients), self.clients_max) // channels * channels
        if clients < channels * question.shards or channels > CHANNELS_MAX:
            return None
        size = max(question.bytes, BYTES_MIN)
        more = {"shards": question.shards, "channels": channels, "seconds": VALIDATION_S}
        step = steps.fanout(clients, question.rate * channels, size, **more)
        kept = {"step": step._asdict(), **self.rig.calmly(step, 2)}
        (seen,) = points.of([("the validation", kept)], self.limits["cores"])
        return record.validation(fitted, question, seen, what)
