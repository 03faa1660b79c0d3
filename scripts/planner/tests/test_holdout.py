"""The held-out check tells a model that is right from one that is not."""

import copy
import unittest

from planner import cost, holdout, points
from planner.tests import made_up


def measured(change=None, noise=0.02):
    records = copy.deepcopy(made_up.records(noise=noise))
    for _, record in records:
        if change:
            change(record)
    return points.of(records, 2)


class HeldOut(unittest.TestCase):
    def test_a_server_that_does_as_the_model_says_is_predicted(self):
        misses, verdicts = holdout.check(measured(), 0.05)
        for verdict in verdicts:
            self.assertTrue(verdict["met"], verdict)
            self.assertGreater(verdict["points"], 2)
        self.assertTrue(
            all(miss.beyond >= 2 for miss in misses), [miss for miss in misses if miss.beyond < 2]
        )

    def test_nothing_that_is_fitted_is_predicted(self):
        fitted, held, largest = holdout.cut_at([1, 2, 4, 5, 8, 16], lambda load: load)
        self.assertEqual((fitted, held, largest), ([1, 2, 4], [8, 16], 4))

    def test_what_lies_in_tcp_s_buffers_is_told_from_what_clients_cost(self):
        kernel = cost.fit_memory(measured()).kernel
        _, client, page, _ = kernel.values
        self.assertAlmostEqual(client / made_up.KERNEL_CLIENT, 1, delta=0.02)
        self.assertAlmostEqual(page / made_up.PAGE, 1, delta=0.05)

    def test_what_the_kernel_has_at_hand_makes_the_first_clients_cheap(self):
        at_hand = 5e5

        def less(record):
            if "runs" in record:
                seen = record["memory"]["kernel_bytes"] - 2 * (made_up.KERNEL + at_hand)
                record["memory"]["kernel_bytes"] = max(int(seen), 1)

        kernel = cost.fit_memory(measured(less)).kernel
        self.assertAlmostEqual(kernel.values[1] / made_up.KERNEL_CLIENT, 1, delta=0.02)
        self.assertAlmostEqual(kernel.values[3] / at_hand, 1, delta=0.1)

    def test_memory_that_grows_faster_is_caught(self):
        def square(record):
            if "runs" in record:
                record["memory"]["kernel_bytes"] = record["step"]["clients"] ** 2

        _, verdicts = holdout.check(measured(square), 0.05)
        self.assertFalse(
            next(verdict for verdict in verdicts if verdict["what"] == "memory")["met"]
        )

    def test_cpu_that_grows_faster_is_caught(self):
        def faster(record):
            if record["step"]["kind"] == "fanout":
                load = record["step"]["clients"] * record["step"]["rate"]
                for second in record["runs"][0]["series"]:
                    second["server_cpu_share"] *= 2.0 if load > 40_000 else 1.0

        _, verdicts = holdout.check(measured(faster), 0.05)
        self.assertFalse(next(verdict for verdict in verdicts if verdict["what"] == "cpu")["met"])

    def test_a_knee_that_comes_earlier_is_caught(self):
        def earlier(record):
            if record["step"]["kind"] == "fanout" and record["step"]["clients"] > 2000:
                latency = record["runs"][0]["latencies"]["delivery"]
                latency.update({key: 3 * value for key, value in latency.items()})

        _, verdicts = holdout.check(measured(earlier), 0.05)
        self.assertFalse(next(verdict for verdict in verdicts if verdict["what"] == "knee")["met"])

    def test_the_seen_knee_lies_between_two_steps(self):
        seen = [
            points.Point(points.Step("fanout", clients, 20.0), 1, True, True, p99=p99)
            for clients, p99 in ((1000, 0.01), (2000, 0.04), (4000, 0.08))
        ]
        # By ratio: from 40 to 80 ms over one doubling, so 50 ms at 2,000 x 1.25.
        self.assertAlmostEqual(holdout.knee_seen(seen, 0.05), 2500, 0)
        self.assertIsNone(holdout.knee_seen(seen, 0.2))
        late = [point._replace(valid=False) for point in seen]
        self.assertIsNone(holdout.knee_seen(late, 0.05))

    def test_too_little_says_so(self):
        few = [point for point in measured() if point.step.clients == 1000]
        misses, verdicts = holdout.check(few, 0.05)
        self.assertEqual(misses, [])
        self.assertFalse(any(verdict["met"] for verdict in verdicts))
