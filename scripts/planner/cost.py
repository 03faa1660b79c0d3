"""Memory and CPU of a load, and their fits.

Memory is a + b·clients + c·outbox bytes + d·pages in TCP's buffers: the process and one end of the
kernel's sockets together.

CPU of a shard, in cores, is a + b·deliveries + c·ticks + d·accepts + e·pings, where a delivery's b
has parts that differ in how often they occur: a send (one call, whatever it carries); what a send
costs more if the client's socket has left the caches since the last one; a send to a client that
got nothing for 200 ms (the kernel's retransmission timer has run out meanwhile); each delivery; and
each byte.
"""

import math
from typing import NamedTuple

from . import lsq
from .load import Flow
from .units import Nonsense

# So long after a send the kernel's retransmission timer runs out (TCP_RTO_MIN): it is not taken
# back when the acknowledgement comes, and the next send starts it anew.
TIMER_S = 0.2

# About so much time after a send its socket has left the caches, whoever had them since: it is gone
# with the probability 1 - exp(-gap / COLD_S). How many clients there are adds nothing to that: at
# 10/s 480 clients cost no less each than 7,680, and 480 at 320/s a third less than at 20/s.
COLD_S = 0.1

# A step that uses less of a core is right if it is right within this much.
CPU_FLOOR = 0.02

DRAWS = 300

TERMS = (
    "base",
    "tick",
    "send",
    "cold send",
    "send after 200 ms",
    "delivery",
    "byte",
    "accept",
    "ping",
)


class Fit(NamedTuple):
    """Coefficients by name, their draws, and what the fit missed."""

    names: tuple
    values: tuple
    drawn: tuple
    residuals: tuple  # relative, with the step's name
    points: int

    def interval(self, place):
        """Where 90 % of the draws lie."""
        return lsq.interval([draw[place] for draw in self.drawn])

    @property
    def typical(self):
        """The median of the residuals without their signs."""
        return lsq.median([abs(residual) for _, residual in self.residuals])


def fitted(names, rows, values, floor, labels, seed):
    """Least squares with relative errors, none of the coefficients negative."""
    weights = lsq.relative_weights(values, floor)
    found = lsq.nnls(rows, values, weights)
    drawn = lsq.bootstrap(rows, values, weights, found, DRAWS, seed)
    residuals = [
        ((lsq.dot(row, found) - value) * weight)
        for row, value, weight in zip(rows, values, weights)
    ]
    return Fit(
        tuple(names),
        tuple(found),
        tuple(map(tuple, drawn)),
        tuple(zip(labels, residuals)),
        len(rows),
    )


def flow_of(point):
    """What a measured step asked of each shard, as it was seen."""
    step = point.step
    shards = step.shards
    sends = point.deliveries / point.joined / shards
    return Flow(
        step.clients / shards,
        point.published / point.joined,
        sends,
        point.deliveries / shards,
        point.deliveries / shards * step.bytes,
        point.accepts / shards,
        point.pings / shards,
    )


def cold(gap_s):
    """The share of sends whose socket has left the caches."""
    return -math.expm1(-gap_s / COLD_S)


def terms(flow):
    """The regressors of a shard's CPU, in the order of TERMS."""
    gap_s = flow.clients / flow.sends if flow.sends else math.inf
    late = flow.sends if gap_s >= TIMER_S else 0.0
    return (
        1.0,
        flow.ticks,
        flow.sends,
        flow.sends * cold(gap_s),
        late,
        flow.deliveries,
        flow.bytes,
        flow.accepts,
        flow.pings,
    )


def cpu_points(points):
    """The steps that tell what a shard's CPU costs: one shard, and known."""
    return [
        point
        for point in points
        if point.cpu is not None and point.step.shards == 1 and point.cpu > 0.001
    ]


def fit_cpu(points, seed=1):
    """The CPU of one shard; None if the server's process was not known."""
    used = cpu_points(points)
    if not used:
        return None
    if len({point.step.clients for point in used}) < 2 or len(used) < 4:
        raise Nonsense(
            "one load is not a line: CPU needs at least 4 steps with 2 numbers of clients"
        )
    rows = [terms(flow_of(point)) for point in used]
    return fitted(
        TERMS,
        rows,
        [point.cpu for point in used],
        CPU_FLOOR,
        [point.step.name for point in used],
        seed,
    )


class Memory(NamedTuple):
    """Three fits: the process, the kernel's end of its sockets, and outboxes.

    What lies in TCP's buffers comes and goes with what is under way, so it is a term of its own.
    """

    process: Fit
    kernel: Fit | None
    outbox: float | None  # bytes of memory for a byte in an outbox
    tcp_pages: float | None  # pages of socket buffers for a client under load, at most

    def at(self, clients, outbox_bytes=0.0, draw=None, pages=0.0):
        """Bytes of the process and its end of the sockets, with so many pages in TCP's buffers."""
        total = 0.0
        for fit in (self.process, self.kernel):
            if fit:
                values = fit.values if draw is None else fit.drawn[draw % len(fit.drawn)]
                total += values[0] + values[1] * clients
                if fit is self.kernel:
                    total += values[2] * pages - values[3]
        return total + (self.outbox if self.outbox is not None else 1.0) * outbox_bytes

    @property
    def page_bytes(self):
        """What a page of TCP's buffers takes, with what the kernel keeps about it."""
        return self.kernel.values[2] if self.kernel else 0.0

    def buffers_max(self, clients):
        """Bytes that may lie in TCP's buffers, and what the kernel keeps about them."""
        return self.page_bytes * (self.tcp_pages or 0.0) * clients

    @property
    def client_bytes(self):
        """What one more client costs, with the most that its buffers held."""
        kernel = self.kernel.values[1] if self.kernel else 0.0
        return self.process.values[1] + kernel + self.buffers_max(1)


def memory_of(point):
    """What a step was seen to take: the process and one end of its sockets."""
    return None if point.rss is None else point.rss + (point.kernel or 0.0)


def pages_of(point):
    """Pages in TCP's buffers of one end, at most."""
    return (point.tcp_pages or 0.0) / 2


def fit_memory(points, seed=1):
    """Memory by clients; None if the server's process was not known."""
    used = [
        point
        for point in points
        if point.rss is not None
        and point.step.kind in ("idle", "fanout")
        and point.step.shards == 1
        and point.step.clients >= 100
    ]
    if not used:
        return None
    if len({point.step.clients for point in used}) < 2:
        raise Nonsense("one number of clients is not a line: memory needs at least 2")

    def line(values, which, names, row):
        rows = [row(point) for point in which]
        return fitted(names, rows, values, 1.0, [point.step.name for point in which], seed)

    def by_client(point):
        return (1.0, float(point.step.clients))

    def by_page(point):
        # The kernel has objects at hand that others gave back: the first clients take those.
        return (*by_client(point), pages_of(point), -1.0)

    # The kernel's own coming and going drowns what a few clients cost.
    seen = [point for point in used if point.kernel and point.step.clients >= 400]
    kernel = (
        line([point.kernel for point in seen], seen, ("base", "client", "page", "at hand"), by_page)
        if len({point.step.clients for point in seen}) > 1
        else None
    )
    loaded = [
        pages_of(point) / point.step.clients
        for point in used
        if point.tcp_pages and point.step.clients >= 400
    ]
    return Memory(
        line([point.rss for point in used], used, ("base", "client"), by_client),
        kernel,
        _outbox(points),
        max(loaded, default=None),
    )


def _outbox(points):
    levels = [level for point in points for level in point.levels]
    if len(levels) < 2:
        return None
    found = lsq.nnls(
        [(1.0, queued) for queued, _ in levels],
        [resident for _, resident in levels],
        [1.0] * len(levels),
    )
    return found[1]
