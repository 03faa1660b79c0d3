"""The queueing model by hand."""

import math
import unittest

from planner import latency, model
from planner.cost import TERMS
from planner.load import Load
from planner.tests import made_up

COSTS = {
    "base": 0.0,
    "tick": 0.0,
    "send": 4e-6,
    "cold send": 0.0,
    "send after 200 ms": 0.0,
    "delivery": 0.0,
    "byte": 0.0,
    "accept": 0.0,
    "ping": 0.0,
}


def values(**costs):
    return tuple({**COSTS, **costs}[name] for name in TERMS)


class Queue(unittest.TestCase):
    def test_a_shard_with_time_sends_each_publication_alone(self):
        # 1,000 clients x 4 µs = 4 ms, 50 times a second: ρ = 0.2.
        busy, tick_s, joined, _ = model.spend(Load(1000, 50.0), values())
        self.assertAlmostEqual(busy, 0.2)
        self.assertAlmostEqual(tick_s, 0.004)
        self.assertEqual(joined, 1)

    def test_a_full_shard_joins_what_came_meanwhile(self):
        # 1,000 clients at 500/s: 2 seconds of sends in each, so two publications share one; bytes
        # come on top.
        busy, tick_s, joined, _ = model.spend(Load(1000, 500.0), values())
        self.assertAlmostEqual(busy, 2)
        self.assertAlmostEqual(joined, 2)
        self.assertAlmostEqual(tick_s, 0.004)
        # A delivery of 0.5 µs takes 0.25 of each second: T = 4 ms / 0.75, k = 500·T.
        _, tick_s, joined, share = model.spend(Load(1000, 500.0), values(delivery=0.5e-6))
        self.assertAlmostEqual(share, 0.25)
        self.assertAlmostEqual(tick_s, 0.004 / 0.75)
        self.assertAlmostEqual(joined, 500 * 0.004 / 0.75)

    def test_bytes_that_take_all_the_time_have_no_tick(self):
        _, tick_s, joined, _ = model.spend(Load(1000, 500.0), values(delivery=2e-6))
        self.assertEqual((tick_s, joined), (math.inf, math.inf))

    def test_a_silent_socket_costs_its_timer(self):
        extra = values(**{"send after 200 ms": 1e-6})
        self.assertAlmostEqual(model.spend(Load(1000, 4.0), extra)[0], 4000 * 5e-6)
        self.assertAlmostEqual(model.spend(Load(1000, 6.0), extra)[0], 6000 * 4e-6)

    def test_shards_and_channels_share_the_clients(self):
        # 8,000 clients on 4 shards: 2,000 each; 4 ms x 2 a publication.
        busy, tick_s, _, _ = model.spend(Load(8000, 10.0, shards=4), values())
        self.assertAlmostEqual(busy, 0.08)
        self.assertAlmostEqual(tick_s, 0.008)
        # In 10 channels: a tenth of the clients for each tick, ten times the ticks.
        busy, tick_s, _, _ = model.spend(Load(10_000, 10.0, channels=10), values())
        self.assertAlmostEqual(busy, 0.4)
        self.assertAlmostEqual(tick_s, 0.004)

    def test_the_bound_of_a_wait(self):
        # Two evenly spread times: 2 - sqrt(0.02) = 1.8586 at the p99, 1 in the middle; less one of
        # them.
        self.assertAlmostEqual(latency.bound(0.99), 2 - math.sqrt(0.02) - 0.99)
        self.assertAlmostEqual(latency.bound(0.5), 0.5)

    def test_waits(self):
        self.assertEqual(latency.wait(0.99, 0.0, 0.1), 0)
        self.assertAlmostEqual(latency.wait(0.99, 0.5, 0.1), 0.1)
        self.assertAlmostEqual(latency.wait(0.99, 0.9, 0.5), latency.bound(0.99))
        self.assertAlmostEqual(latency.wait(0.99, 1.5, 0.0), latency.bound(0.99))
        # M/D/1 at ρ = 0.5: P(W > t) = 0.5·exp(-t), so the p99 is ln 50 service times.
        self.assertAlmostEqual(latency.poisson(0.99, 0.5), math.log(50))
        self.assertEqual(latency.poisson(0.5, 0.3), 0)

    def test_known_parameters_come_back(self):
        seen = []
        for step in made_up.ladder():
            if step.kind == "fanout":
                busy, tick_s, _, _ = made_up.truth(step)
                seen.append((step.name, tick_s, busy, made_up.quantile(step, 0.99)))
        curve = latency.fit(seen, 0.99)
        self.assertAlmostEqual(curve.fixed, made_up.FIXED_S, 5)
        self.assertAlmostEqual(curve.longer, made_up.LONGER, 3)
        self.assertAlmostEqual(curve.uneven, made_up.UNEVEN)
        self.assertLess(curve.typical, 1e-6)

    def test_too_few_steps_have_no_model(self):
        self.assertIsNone(latency.fit([("one", 0.001, 0.1, 0.002)] * 9, 0.99))

    def test_latencies_of_another_kind_are_refused(self):
        """A p99 that falls as ticks grow is no queue."""
        records = made_up.records(noise=0.0, repeats=1)
        for _, record in records:
            for run in record.get("runs", ()):
                latency_of = run["latencies"].get("delivery")
                if latency_of:
                    shuffled = 1e9 / record["step"]["clients"] ** 1.5
                    latency_of.update(p50_ns=shuffled, p99_ns=shuffled * 2, max_ns=shuffled * 3)
        from planner import points

        fitted = model.learn(points.of(records, 2))
        self.assertIsNone(fitted.p99)
        self.assertIn("misses the measured p99", fitted.refused)
