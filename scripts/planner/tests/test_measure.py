"""The ladder: where it stops, how it goes on, what it keeps."""

import io
import json
import os
import pathlib
import random
import tempfile
import unittest

from planner import machine, measure, steps, store
from planner.steps import Column, Design, Step, fanout
from planner.tests import made_up


class Rig:
    """Measures the made-up server, and remembers what it was asked for."""

    def __init__(self, fail=()):
        self.asked, self.fail, self.stop_after = [], fail, None

    def can(self, step):
        return True

    def calmly(self, step, _tries):
        if self.stop_after is not None and len(self.asked) == self.stop_after:
            raise KeyboardInterrupt
        self.asked.append(step.name)
        if step.name in self.fail:
            raise machine.Failed("it did not come to anything")
        record = made_up.record(step, random.Random(1), 0.0)
        return {
            key: value for key, value in record.items() if key not in ("schema", "step", "repeat")
        }


DESIGN = Design(
    [Column(20.0, 128, (500, 1000, 2000, 4000, 8000, 16000), True)],
    [Step("idle", 1000), Step("connect", 1000, seconds=1.0)],
    1.5,
)


class Ladder(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.TemporaryDirectory()
        self.store = store.Store(self.folder.name, "host", "build")
        self.said = io.StringIO()

    def tearDown(self):
        self.folder.cleanup()

    def climb(self, rig, rounds=1, design=DESIGN, p99_s=0.05):
        climb = measure.Climb(
            rig, self.store, design, (p99_s, 0.95), 1, measure.Progress(self.said)
        )
        climb.run(rounds)
        return rig.asked

    def test_it_climbs_until_the_p99_breaks_and_looks_closer(self):
        asked = self.climb(Rig())
        clients = [int(name.split("-")[1][1:]) for name in asked if name.startswith("fanout")]
        # 8,000 breaks 50 ms, so 16,000 is never tried; then between 4,000 and 8,000.
        self.assertEqual(clients[:5], [500, 1000, 2000, 4000, 8000])
        self.assertEqual(len(clients), 7)
        self.assertTrue(all(4000 < one < 8000 for one in clients[5:]))
        self.assertGreater(made_up.quantile(fanout(8000, 20), 0.99), 0.05)
        self.assertEqual(asked[-2:], ["idle-c1000", "connect-c1000"])

    def test_it_stops_where_the_cpu_breaks(self):
        column = Column(80.0, 128, (500, 1000, 2000, 4000, 8000), False)
        asked = self.climb(Rig(), design=Design([column], [], 1.5), p99_s=9.0)
        self.assertEqual(asked[-1], "fanout-c4000-r80-b128")

    def test_a_stopped_run_goes_on(self):
        rig = Rig()
        rig.stop_after = 3
        with self.assertRaises(KeyboardInterrupt):
            self.climb(rig)
        again = Rig()
        self.climb(again)
        self.assertEqual(set(rig.asked) & set(again.asked), set())
        whole = Rig()
        with tempfile.TemporaryDirectory() as folder:
            other = store.Store(folder, "host", "build")
            measure.Climb(whole, other, DESIGN, (0.05, 0.95), 1, measure.Progress(self.said)).run(1)
        self.assertEqual(rig.asked + again.asked, whole.asked)

    def test_a_second_run_adds_to_the_first(self):
        first = self.climb(Rig(), rounds=2)
        self.assertEqual(set(self.store.counts().values()), {2})
        second = self.climb(Rig(), rounds=2)
        self.assertEqual(first, second)
        self.assertEqual(set(self.store.counts().values()), {4})

    def test_between_two_rounds_it_goes_on_too(self):
        self.climb(Rig(), rounds=1)
        self.climb(Rig(), rounds=2)
        self.assertEqual(set(self.store.counts().values()), {2})

    def test_a_step_that_fails_is_said_and_not_tried_for_ever(self):
        self.climb(Rig(fail=["connect-c1000"]))
        self.assertIn("did not come to anything", self.said.getvalue())
        self.assertEqual(set(self.store.counts().values()), {1})

    def test_progress_says_what_and_how_long(self):
        self.climb(Rig(), rounds=2)
        line = self.said.getvalue().splitlines()[0]
        self.assertIn("500 clients, 20/s of 128 bytes; round 1 of 2, about", line)
        self.assertRegex(line, r"about \d+ (s|min) left")

    def test_a_file_is_there_whole_or_not_at_all(self):
        self.climb(Rig())
        names = os.listdir(self.store.folder)
        self.assertFalse([name for name in names if "tmp" in name])
        for name in names:
            json.loads((pathlib.Path(self.store.folder) / name).read_text())

    def test_hosts_and_builds_are_kept_apart(self):
        self.climb(Rig())
        other = store.Store(self.folder.name, "host", "another")
        self.assertEqual(other.counts(), {})

    def test_the_calmest_try_is_kept(self):
        waits = iter((0.5, 0.2, 0.3))
        rig = measure.Rig(None, patience_s=0.0)
        rig.once = lambda step: {"waited": {"server": next(waits), "generator": None}}
        self.assertEqual(rig.calmly(fanout(10, 20), 3)["waited"]["server"], 0.2)


class Steps(unittest.TestCase):
    def test_names_tell_loads_apart(self):
        every = steps.full(19_800, (10.0, 256), (1, 2))
        loads = [
            fanout(clients, column.rate, column.bytes)
            for column in every.columns
            for clients in column.clients
        ]
        names = {step.name for step in loads}
        self.assertEqual(len(names), len(loads))
        self.assertIn("fanout-c960-r20-b128", names)
        self.assertEqual(fanout(2000, 80, shards=2).name, "fanout-c2000-r80-b128-s2")
        self.assertEqual(Step("idle", 5, ping_s=0.5).name, "idle-c5-p0.5")
        for step in [*loads, *every.others]:
            self.assertTrue(store.NAME.fullmatch(f"{step.name}.r0.json"), step.name)

    def test_clients_and_rates_vary_together(self):
        every = steps.full(19_800)
        pairs = {
            (column.rate, clients)
            for column in every.columns
            if column.bytes == 128
            for clients in column.clients
        }
        for rate in (20, 80, 320):
            self.assertTrue({(rate, clients) for clients in (240, 480, 960)} <= pairs)
        self.assertGreater(len({column.bytes for column in every.columns}), 1)

    def test_nothing_asks_for_more_clients_than_there_are_descriptors(self):
        every = steps.full(3000, (10.0, 256), (1, 2, 4))
        most = [clients for column in every.columns for clients in column.clients]
        self.assertLessEqual(max([*most, *(step.clients for step in every.others)]), 4000)
        self.assertLessEqual(max(most), 3000)

    def test_counts_of_shards(self):
        self.assertEqual(steps.shard_counts(2), [1, 2])
        self.assertEqual(steps.shard_counts(16), [1, 2, 3, 4, 6, 8, 10, 12, 14, 16])

    def test_cores_are_shared_out(self):
        layout = machine.Layout(2, allowed={0, 1, 4, 5, 6})
        self.assertEqual((layout.server, layout.generator), ([0, 1], [4, 5, 6]))
        # Without a core of its own the generator shares.
        self.assertEqual(machine.Layout(2, allowed={0, 1}).generator, [0, 1])
        with self.assertRaises(measure.machine.Nonsense):
            machine.Layout(3, allowed={0, 1})
