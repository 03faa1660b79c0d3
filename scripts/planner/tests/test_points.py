"""What is stored is believed only where it makes sense."""

import contextlib
import copy
import io
import json
import os
import pathlib
import tempfile
import unittest

from planner import points
from planner.cli import main
from planner.steps import Step, fanout
from planner.tests import made_up
from planner.units import Nonsense


def records():
    return copy.deepcopy(made_up.records(repeats=1))


def stored(folder, common, some):
    folder = pathlib.Path(folder) / "made-up"
    folder.mkdir()
    (folder / "host.json").write_text(json.dumps(common))
    for name, record in some:
        (folder / name).write_text(json.dumps(record))


def said(*words):
    """Exit code and what it says on standard error."""
    with (
        contextlib.redirect_stderr(io.StringIO()) as err,
        contextlib.redirect_stdout(io.StringIO()),
    ):
        code = main(list(words))
    return code, err.getvalue()


class Points(unittest.TestCase):
    def test_a_point_is_the_middle_of_its_repeats(self):
        step = fanout(1000, 20)
        three = []
        for share, p99 in ((0.3, 5e6), (0.1, 9e6), (0.2, 6e6)):
            record = made_up.record(step, made_up.random.Random(1), 0.0)
            run = record["runs"][0]
            run["server"]["cpu_share"] = share
            run["series"] = [{"server_cpu_share": share, "deliveries": 20_000}] * 4
            run["latencies"]["delivery"].update(p50_ns=1e6, p99_ns=p99, max_ns=1e7)
            three.append(("one", record))
        (point,) = points.of(three, 2)
        self.assertEqual(point.repeats, 3)
        self.assertAlmostEqual(point.cpu, 0.2)
        self.assertAlmostEqual(point.p99, 0.006)
        self.assertEqual(point.deliveries, 20_000)

    def test_a_second_in_which_something_else_ran_moves_nothing(self):
        record = made_up.record(fanout(1000, 20), made_up.random.Random(1), 0.0)
        shares = [0.1, 0.1, 0.9, 0.1, 0.1]
        record["runs"][0]["series"] = [
            {"server_cpu_share": share, "deliveries": 20_000} for share in shares
        ]
        (point,) = points.of([("one", record)], 2)
        self.assertAlmostEqual(point.cpu, 0.1)

    def test_disturbed_repeats_are_left_out_where_there_are_others(self):
        calm, disturbed = (
            made_up.record(fanout(1000, 20), made_up.random.Random(seed), 0.0) for seed in (1, 1)
        )
        disturbed["waited"]["generator"] = 0.2
        disturbed["runs"][0]["latencies"]["delivery"].update(p99_ns=9e9, max_ns=9.1e9)
        (point,) = points.of([("one", calm), ("two", disturbed)], 2)
        self.assertEqual((point.repeats, point.calm), (1, True))
        self.assertLess(point.p99, 0.1)
        (point,) = points.of([("two", disturbed)], 2)
        self.assertFalse(point.calm)

    def test_failed_steps_are_no_points(self):
        failed = {"schema": 1, "step": Step("connect", 100)._asdict(), "repeat": 0, "failed": "no"}
        self.assertEqual(points.of([("one", failed)], 2), [])

    def test_sums_over_channels(self):
        record = made_up.record(fanout(1000, 20), made_up.random.Random(1), 0.0)
        record["step"]["channels"] = 2
        record["runs"] *= 2
        (point,) = points.of([("one", record)], 2)
        self.assertEqual(point.deliveries, 40_000)


class Nonsensical(unittest.TestCase):
    """Each ends with 2 and one line that names the place."""

    def refused(self, path, value, word):
        some = records()
        name, record = next((name, record) for name, record in some if name.startswith("fanout"))
        *way, last = path.split(".")
        place = record
        for key in way:
            place = place[int(key) if key.isdigit() else key]
        if value is None:
            del place[last]
        else:
            place[last] = value
        with tempfile.TemporaryDirectory() as folder:
            stored(folder, made_up.COMMON, some)
            code, line = said("plan", "--data", folder)
        self.assertEqual(code, 2, line)
        self.assertEqual(line.count("\n"), 1, line)
        self.assertIn(name.removesuffix(".json"), line)
        self.assertIn(word, line)

    def test_negative(self):
        self.refused("runs.0.totals.deliveries", -3, "negative")
        self.refused("step.clients", -1, "negative")
        self.refused("memory.rss_bytes", -1, "negative")

    def test_missing(self):
        self.refused("runs.0.totals.published", None, "totals.published is missing")
        self.refused("runs", None, "runs is missing")
        self.refused("step", None, "step is missing")
        self.refused("runs.0.latencies.delivery.p99_ns", None, "p99_ns is missing")
        self.refused("step.rate", None, "step.rate is missing")

    def test_no_number(self):
        self.refused("runs.0.server.cpu_share", "a lot", "not a number")
        self.refused("runs.0.totals.deliveries", float("nan"), "not a number")
        self.refused("runs.0.totals.deliveries", True, "not a number")

    def test_mixed_units(self):
        # A share in percent, a p99 in seconds below a p50 in nanoseconds, deliveries beyond what
        # was published.
        self.refused("runs.0.server.cpu_share", 45.0, "mixed units")
        self.refused("runs.0.latencies.delivery.p99_ns", 0.008, "mixed units")
        self.refused("runs.0.totals.deliveries", 1e12, "mixed units")

    def test_one_point_is_not_a_line(self):
        some = [
            (name, record) for name, record in records() if name.startswith("fanout-c1000-r20-b128")
        ]
        self.assertEqual(len(some), 1)
        with tempfile.TemporaryDirectory() as folder:
            stored(folder, made_up.COMMON, some)
            code, line = said("plan", "--data", folder)
        self.assertEqual((code, line.count("\n")), (2, 1))
        self.assertIn("not a line", line)

    def test_files_that_are_none(self):
        with tempfile.TemporaryDirectory() as folder:
            self.assertIn(
                "nothing was measured", said("plan", "--data", os.path.join(folder, "no"))[1]
            )
            self.assertIn("no measurements", said("plan", "--data", folder)[1])
            stored(folder, made_up.COMMON, [])
            self.assertIn("no step", said("plan", "--data", folder)[1])
            (pathlib.Path(folder) / "made-up" / "idle-c1.r0.json").write_text("{")
            code, line = said("plan", "--data", folder)
            self.assertEqual((code, line.count("\n")), (2, 1))

    def test_another_schema(self):
        with tempfile.TemporaryDirectory() as folder:
            stored(folder, {**made_up.COMMON, "schema": 9}, records())
            code, line = said("plan", "--data", folder)
        self.assertEqual(code, 2)
        self.assertIn("schema 9", line)

    def test_arguments(self):
        for words, word in (
            (["plan", "--p99", "50kB"], "not one such as 25s"),
            (["plan", "--rate", "-1"], "not one such as 500/s"),
            (["plan", "--target-clients", "many"], "not one such as 800"),
            (["plan", "--nothing"], "--nothing"),
            (["plan", "--rate"], "--rate"),
            (["fly"], "fly"),
            (["plan", "--channels", "2", "--channel-size", "3"], "one"),
            (["plan", "--headroom", "130%"], "nothing"),
            (["plan", "--p99", "0"], "more than 0"),
            (["plan", "--bytes", "10ms"], "--bytes"),
            (["measure", "--server", "/none"], "/none"),
            (["plan", "--limits", "moon"], "moon"),
            (["measure", "--admin", "x:1"], "--url"),
        ):
            with self.subTest(words=words):
                code, line = said(*words)
                self.assertEqual((code, line.count("\n")), (2, 1), line)
                self.assertIn(word, line)

    def test_a_record_is_named_by_its_file(self):
        with self.assertRaises(Nonsense) as raised:
            points.of([("a.json", [])], 2)
        self.assertIn("a.json", str(raised.exception))
