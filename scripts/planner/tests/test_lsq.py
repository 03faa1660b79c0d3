"""Least squares by hand, and with what chance does."""

import itertools
import random
import unittest

from planner import lsq


class LeastSquares(unittest.TestCase):
    def test_two_points_make_a_line(self):
        found = lsq.nnls([(1, 1), (1, 3)], [5, 9], [1, 1])
        self.assertAlmostEqual(found[0], 3)
        self.assertAlmostEqual(found[1], 2)

    def test_three_points_by_hand(self):
        # Least squares of (0, 1), (1, 2), (2, 4): slope 3/2, intercept 5/6.
        found = lsq.nnls([(1, 0), (1, 1), (1, 2)], [1, 2, 4], [1, 1, 1])
        self.assertAlmostEqual(found[0], 5 / 6)
        self.assertAlmostEqual(found[1], 3 / 2)

    def test_nothing_costs_less_than_nothing(self):
        # The line through these falls: its slope is held at 0, and the mean is left.
        found = lsq.nnls([(1, 0), (1, 1), (1, 2)], [3, 2, 1], [1, 1, 1])
        self.assertAlmostEqual(found[0], 2)
        self.assertEqual(found[1], 0)

    def test_it_finds_what_trying_every_set_of_coefficients_finds(self):
        chance = random.Random(3)
        for _ in range(200):
            rows = [[chance.gauss(0, 1) for _ in range(4)] for _ in range(6)]
            values = [chance.gauss(0, 1) for _ in range(6)]
            best = min(self.tried(rows, values), key=lambda found: self.missed(rows, values, found))
            found = lsq.nnls(rows, values, [1.0] * 6)
            self.assertGreaterEqual(min(found), 0)
            self.assertAlmostEqual(
                self.missed(rows, values, found), self.missed(rows, values, best)
            )

    def missed(self, rows, values, found):
        return sum((lsq.dot(row, found) - value) ** 2 for row, value in zip(rows, values))

    def tried(self, rows, values):
        """The least squares of every set of columns that come out without a negative one."""
        yield [0.0] * 4
        for size in range(1, 5):
            for chosen in itertools.combinations(range(4), size):
                normal = [[sum(row[i] * row[j] for row in rows) for j in chosen] for i in chosen]
                right = [sum(row[i] * value for row, value in zip(rows, values)) for i in chosen]
                solution = lsq.solve(normal, right)
                if solution and min(solution) >= 0:
                    found = [0.0] * 4
                    for place, value in zip(chosen, solution):
                        found[place] = value
                    yield found

    def test_weights_say_who_is_right(self):
        found = lsq.nnls([(1,), (1,)], [1, 4], [1, 2])
        # (1·1 + 4·4) / (1 + 4)
        self.assertAlmostEqual(found[0], 17 / 5)

    def test_units_do_not_matter(self):
        rows = [(1.0, clients) for clients in (1000, 2000, 4000)]
        for unit in (1e-9, 1.0, 1e9):
            values = [unit * (7e6 + 4500 * clients) for _, clients in rows]
            found = lsq.nnls(rows, values, lsq.relative_weights(values, 0))
            self.assertAlmostEqual(found[0] / unit / 7e6, 1)
            self.assertAlmostEqual(found[1] / unit / 4500, 1)

    def test_known_coefficients_come_out_of_noise_within_their_intervals(self):
        chance = random.Random(7)
        truth = (0.01, 5e-6, 30e-6)
        rows = [
            (1.0, deliveries, ticks)
            for deliveries in (1e3, 1e4, 5e4, 1e5)
            for ticks in (10, 100, 1000)
        ]
        values = [lsq.dot(row, truth) * (1 + chance.gauss(0, 0.03)) for row in rows]
        weights = lsq.relative_weights(values, 0.001)
        found = lsq.nnls(rows, values, weights)
        drawn = lsq.bootstrap(rows, values, weights, found, 200, 1)
        for place, right in enumerate(truth):
            self.assertLess(abs(found[place] / right - 1), 0.1)
            low, high = lsq.interval([draw[place] for draw in drawn], 0.98)
            self.assertTrue(low <= right <= high, f"{low} {right} {high}")

    def test_chance_has_a_seed(self):
        rows, values, weights = [(1.0, x) for x in range(1, 6)], [1, 2.2, 2.9, 4.1, 5], [1] * 5
        found = lsq.nnls(rows, values, weights)
        once, again, other = (
            lsq.bootstrap(rows, values, weights, found, 5, seed) for seed in (1, 1, 2)
        )
        self.assertEqual(once, again)
        self.assertNotEqual(once, other)

    def test_quantiles_lie_between_neighbours(self):
        self.assertEqual(lsq.median([3, 1, 2]), 2)
        self.assertEqual(lsq.median([1, 2]), 1.5)
        self.assertEqual(lsq.quantile([0, 10], 0.25), 2.5)
        low, high = lsq.interval([0, 10], 0.9)
        self.assertAlmostEqual(low, 0.5)
        self.assertAlmostEqual(high, 9.5)
