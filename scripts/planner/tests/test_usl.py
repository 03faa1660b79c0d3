"""Scaling: known parameters come back, and what cannot be known is not said."""

import math
import random
import unittest

from planner import usl

# Most at 35 shards.
RATE, CONTENTION, COHERENCY = 200_000.0, 0.02, 0.0008
PEAK = math.sqrt((1 - CONTENTION) / COHERENCY)


def speed(shards, contention=CONTENTION, coherency=COHERENCY):
    return RATE * shards / (1 + contention * (shards - 1) + coherency * shards * (shards - 1))


def noisy(counts, seed, repeats=3, **law):
    chance = random.Random(seed)
    return [
        (shards, speed(shards, **law) * (1 + chance.gauss(0, 0.03)))
        for shards in counts
        for _ in range(repeats)
    ]


class Scaling(unittest.TestCase):
    def test_the_law_by_hand(self):
        # 4 shards, σ = 0.1, κ = 0.01: 4 / (1 + 0.3 + 0.12) of one shard's speed.
        curve = usl.Scaling(rate=100.0, contention=0.1, coherency=0.01)
        self.assertAlmostEqual(curve.speed(4), 400 / 1.42)
        self.assertEqual(curve.speed(1), 100)

    def test_exact_points_give_the_parameters(self):
        rate, contention, coherency, peak = usl.fit(
            [(shards, speed(shards)) for shards in (1, 2, 4, 8, 16, 32)]
        )
        self.assertAlmostEqual(rate / RATE, 1)
        self.assertAlmostEqual(contention, CONTENTION)
        self.assertAlmostEqual(coherency, COHERENCY)
        self.assertAlmostEqual(peak, PEAK)

    def test_known_parameters_come_out_of_noise(self):
        for seed in range(5):
            found = usl.scaling(noisy((1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 40, 48), seed), seed)
            self.assertEqual(found.not_determined, "")
            self.assertLess(abs(found.peak / PEAK - 1), 0.15)
            self.assertLess(abs(found.rate / RATE - 1), 0.05)
            self.assertLess(abs(found.coherency / COHERENCY - 1), 0.35)
            low, high = found.intervals["peak"]
            self.assertTrue(low < found.peak < high)

    def test_six_points_determine_nothing(self):
        found = usl.scaling(noisy((1, 2, 3, 4, 6, 8), 1))
        self.assertIn("6 counts of shards", found.not_determined)
        # Repeats are no more counts.
        found = usl.scaling(noisy((1, 2, 3, 4, 6, 8), 1, repeats=20))
        self.assertIn("it takes 8", found.not_determined)

    def test_points_short_of_half_the_peak_determine_nothing(self):
        found = usl.scaling([(shards, speed(shards)) for shards in (1, 2, 3, 4, 5, 6, 7, 8)])
        self.assertIn("short of half the peak", found.not_determined)
        self.assertIn("8 shards", found.not_determined)

    def test_perfect_scaling_has_no_peak(self):
        found = usl.scaling([(shards, RATE * shards) for shards in range(1, 17)])
        self.assertIn("infinity", found.not_determined)

    def test_contention_stays_within_its_bound(self):
        # Slower with every shard: σ would be more than 1.
        rate, contention, _, peak = usl.fit([(shards, 100 / shards) for shards in range(1, 9)])
        self.assertLessEqual(contention, 1)
        self.assertGreater(rate, 0)
        self.assertGreaterEqual(peak, 1)
