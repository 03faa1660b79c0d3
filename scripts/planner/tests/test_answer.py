"""Limits, boxes and storms by hand."""

import unittest

from planner import answer, cost, curves, latency, limits, model, page, points, text, usl
from planner.cost import TERMS
from planner.limits import Question
from planner.tests import made_up
from planner.units import Nonsense

DRAWN = 100


def fit(names, values):
    """A fit that is sure of itself."""
    return cost.Fit(tuple(names), tuple(values), (tuple(values),) * DRAWN, (("one", 0.0),), 9)


def fitted(**costs):
    """4 µs a delivery, 20 µs an accept, 1 KiB a client of the process and 4 KiB of the kernel."""
    coefficients = {"send": 4e-6, "accept": 20e-6, **costs}
    curve = [
        latency.Curve(quantile, 0.0, 1.0, 0.0, (("one", 0.0),), ((0.0, 1.0),))
        for quantile in (0.5, 0.99)
    ]
    memory = cost.Memory(
        fit(("base", "client"), (10e6, 1024.0)),
        fit(("base", "client", "page", "at hand"), (0.0, 4096.0, 0.0, 0.0)),
        1.0,
        0.25,
    )
    return model.Model(
        fit(TERMS, [coefficients.get(name, 0.0) for name in TERMS]),
        memory,
        *curve,
        "",
        usl.scaling([]),
        (),
    )


def question(**changed):
    asked = Question(
        rate=10.0,
        bytes=128,
        p99_s=0.05,
        cpu_max=0.9,
        channels=1,
        channel_size=0,
        ping_s=0.0,
        shards=1,
        efficiency=None,
        outbox_bytes=0.0,
        nic=None,
        headroom=0.3,
        target=1_000_000,
        recover_s=30.0,
    )
    return asked._replace(**changed)


def clients(rows, key):
    return next(row.clients for row in rows if row.key == key)


class Limits(unittest.TestCase):
    def test_each_limit_by_hand(self):
        rows = limits.rows(made_up.LIMITS, fitted(), question(nic=1e9))
        # 20,000 less 64 of the process and 8 of its shard.
        self.assertEqual(clients(rows, "nofile"), 19_928)
        self.assertEqual(clients(rows, "watches"), 5_000_000)
        self.assertEqual(clients(rows, "conntrack"), 262_144)
        # A quarter of a page each.
        self.assertEqual(clients(rows, "tcp_mem"), 4 * 575_802)
        # 90 % of a second, ten times 4 µs each.
        self.assertAlmostEqual(clients(rows, "cpu"), 0.9 / 40e-6, 0)
        # The 99th of 100 clients hears 0.99 ticks later: 50 ms are 12,626 sends.
        self.assertAlmostEqual(clients(rows, "p99"), 0.05 / 0.99 / 4e-6, 0)
        # 24 GB less the process, by 5 KiB.
        self.assertAlmostEqual(clients(rows, "memory"), (24e9 - 10e6) / 5120, 0)
        # 128 + 4 bytes of header, 90 of TCP, IP and Ethernet: ten times 222 bytes a second for
        # each.
        self.assertAlmostEqual(clients(rows, "nic"), 1e9 / (10 * 222 * 8))

    def test_they_come_in_the_order_in_which_they_bite(self):
        rows = limits.rows(made_up.LIMITS, fitted(), question())
        known = [row.clients for row in rows if row.clients is not None]
        self.assertEqual(known, sorted(known))
        self.assertEqual(rows[0].key, "p99")
        self.assertEqual(
            limits.rows({**made_up.LIMITS, "nofile": 1024}, fitted(), question())[0].key, "nofile"
        )
        # What could not be determined is not first but last.
        self.assertEqual(rows[-1].key, "nic")
        self.assertIsNone(rows[-1].clients)

    def test_what_a_host_does_not_show_is_no_limit(self):
        bare = {
            **made_up.LIMITS,
            "conntrack_max": None,
            "watches": None,
            "file_max": None,
            "tcp_mem_pages": None,
        }
        keys = [row.key for row in limits.rows(bare, fitted(), question())]
        self.assertEqual(set(keys), {"nofile", "nr_open", "cpu", "p99", "memory", "nic"})

    def test_bytes_on_the_wire(self):
        self.assertEqual(model.wire_bytes(125), 125 + 2 + 90)
        self.assertEqual(model.wire_bytes(126), 126 + 4 + 90)
        self.assertEqual(model.wire_bytes(2000), 2004 + 2 * 90)
        self.assertEqual(model.wire_bytes(70_000), 70_010 + 49 * 90)

    def test_slow_clients_take_memory_first(self):
        rows = limits.rows(made_up.LIMITS, fitted(), question(outbox_bytes=4e9))
        self.assertAlmostEqual(clients(rows, "memory"), (24e9 - 10e6 - 4e9) / 5120, 0)

    def test_shards_that_were_not_measured_are_not_guessed(self):
        rows = limits.rows(made_up.LIMITS, fitted(), question(shards=8))
        self.assertIsNone(clients(rows, "cpu"))
        self.assertIn("it takes 8", next(row.why_not for row in rows if row.key == "cpu"))
        # What an operator assumes is taken: 8 shards at half their speed.
        rows = limits.rows(made_up.LIMITS, fitted(), question(shards=8, efficiency=0.5))
        self.assertAlmostEqual(clients(rows, "cpu"), 8 * 0.5 * 0.9 / 40e-6, -1)

    def test_shards_by_the_law(self):
        """1 to 16 shards, most at 25: between them and a little beyond, the law tells."""
        some = made_up.records(noise=0.0, repeats=1) + made_up.sweep((1, 2, 3, 4, 6, 8, 12, 16))
        learned = model.learn(points.of(some, 16))
        self.assertEqual(learned.scaling.not_determined, "")
        self.assertAlmostEqual(learned.scaling.contention, 0.02, 4)
        self.assertAlmostEqual(learned.efficiency(10), 1 / (1 + 0.02 * 9 + 0.0015 * 90), 4)
        self.assertAlmostEqual(learned.efficiency(8), 1 / (1 + 0.02 * 7 + 0.0015 * 56), 4)
        one, ten = (
            clients(limits.rows(made_up.LIMITS, learned, question(shards=shards)), "cpu")
            for shards in (1, 10)
        )
        self.assertTrue(5 * one < ten < 9 * one, (one, ten))
        self.assertIsNone(learned.efficiency(33))
        page = curves.scaling(learned)
        self.assertIn("curve c0", page)
        self.assertNotIn("Not determined", page)

    def test_shards_that_were_measured_need_no_law(self):
        some = made_up.records(noise=0.0, repeats=1) + made_up.sweep((1, 2))
        learned = model.learn(points.of(some, 2))
        self.assertIn("2 counts", learned.scaling.not_determined)
        self.assertAlmostEqual(learned.efficiency(2), 1 / (1 + 0.02 + 0.003), 4)
        self.assertIsNone(learned.efficiency(4))

    def test_notes_name_what_bounds_no_clients(self):
        poor = {**made_up.LIMITS, "memlock": 100_000, "cpu_quota": 0.5}
        said = " ".join(limits.notes(poor, fitted(), question()))
        self.assertIn("LimitMEMLOCK=524288", said)
        self.assertIn("0.5 cores", said)
        self.assertIn("28,232 ports", said)


class Boxes(unittest.TestCase):
    def boxes(self, **changed):
        asked = question(p99_s=10.0, cpu_max=0.4, **changed)
        rows = limits.rows(made_up.LIMITS, fitted(), asked)
        return answer.boxes(fitted(), asked, answer.capacity(rows), "")

    def test_how_many_boxes(self):
        # 0.4 / 40 µs = 10,000 clients a box, 7,000 with head-room: 142.9, so 143 and one to spare.
        found = self.boxes()
        self.assertEqual(found["clients_each_at_most"], 7000)
        self.assertEqual((found["needed"], found["with_spare"]), (143, 144))
        self.assertEqual(found["needed_interval"], [143, 143])
        # A million on 144 boxes, and on 143: 28 % of a core for 6,944 clients at 40 µs.
        self.assertEqual(found["usual"]["clients"], 6944)
        self.assertAlmostEqual(found["usual"]["cpu_share"], 0.278)
        self.assertEqual(found["after_a_death"]["clients"], 6993)

    def test_one_box_is_two(self):
        found = self.boxes(target=5000)
        self.assertEqual((found["needed"], found["with_spare"]), (1, 2))
        # Half of all come to the one that is left.
        self.assertEqual(found["storm"]["clients"], 2500)
        self.assertEqual(found["storm"]["clients_each"], 2500)

    def test_a_reconnect_storm(self):
        # 14,000 clients on 2 + 1 boxes: a third dies, 2,333 come to each of the others, whose
        # shards are busy for 7,000 x 40 µs = 28 %; what is left takes 0.72 / 20 µs = 36,000 a
        # second.
        storm = self.boxes(target=14_000)["storm"]
        self.assertEqual(storm["clients"], 4667)
        self.assertEqual(storm["clients_each"], 2334)
        self.assertAlmostEqual(storm["accepts_per_s_needed"], 77.8)
        self.assertAlmostEqual(storm["accepts_per_s"], 36_000)
        self.assertAlmostEqual(storm["seconds"], 0.0648)
        self.assertTrue(storm["in_time"])

    def test_a_box_that_holds_nobody_is_nonsense(self):
        with self.assertRaises(Nonsense):
            answer.boxes(fitted(), question(), limits.Row("cpu", "", "", "", 1.0, None, ""), "")


class Answer(unittest.TestCase):
    def test_settings_are_told_from_the_machine(self):
        poor = {**made_up.LIMITS, "nofile": 1024}
        found = answer.answer(poor, fitted(), question(nic=10e9))
        self.assertEqual(found["first_limit"], "nofile")
        self.assertEqual(found["capacity"]["clients"], 1024 - 72)
        self.assertEqual(found["lifted"]["limit"], "p99")
        self.assertIn("LimitNOFILE", found["settings"][0])
        self.assertEqual([box["limit"] for box in found["boxes"]], ["nofile", "p99"])

    def test_what_if(self):
        found = answer.answer(
            made_up.LIMITS,
            fitted(),
            question(nic=10e9),
            ["rate=20,size=512", "channel-size=100", "clients=5k"],
        )
        faster, channels, fewer = found["what_if"]
        self.assertAlmostEqual(faster["capacity"]["clients"], 11_250, -1)
        self.assertEqual(faster["first_limit"], "cpu")
        # Small channels have short ticks: CPU ends first.
        self.assertEqual(channels["first_limit"], "nofile")
        self.assertEqual(channels["lifted"]["limit"], "cpu")
        self.assertEqual(fewer["boxes"]["needed"], 1)

    def test_no_boxes_where_a_limit_is_not_determined(self):
        blind = model.Model(
            None, None, None, None, "the server's process was not known", usl.scaling([]), ()
        )
        for learned, asked, limit, command in (
            (fitted(), question(), "nic", "--nic"),
            (blind, question(nic=10e9), "p99", "--server-pid"),
            (blind, question(nic=10e9), "memory", "--server-pid"),
            (fitted()._replace(p99=None), question(nic=10e9), "p99", "measure --rounds"),
            (fitted(), question(nic=10e9, shards=8), "cpu", "measure --sweep 1,2,4,8"),
        ):
            with self.subTest(limit=limit):
                found = answer.answer(made_up.LIMITS, learned, asked, ["rate=20"])
                self.assertNotIn("boxes", found)
                self.assertNotIn("boxes", found["what_if"][0])
                told = {one["limit"]: one["measured_by"] for one in found["missing"]}
                self.assertIn(command, told[limit])
                words = "\n".join(text.answer(found))
                self.assertNotIn("to spare", words)
                self.assertIn("How many boxes hold 1,000,000 clients cannot be told", words)
                self.assertIn(command, words)
                self.assertIn(command.replace("&", "&amp;"), page._missing(found))
        whole = answer.answer(made_up.LIMITS, fitted(), question(nic=10e9))
        self.assertEqual((whole["missing"], len(whole["boxes"])), ([], 1 + bool(whole["lifted"])))
        self.assertEqual(page._missing(whole), "")

    def test_what_if_nonsense(self):
        for words in ("colour=red", "rate", "rate=fast", "size=-1", "p99=0", "rate=10ms"):
            with self.subTest(words=words), self.assertRaises(Nonsense) as raised:
                answer.answer(made_up.LIMITS, fitted(), question(), [words])
            self.assertIn("--what-if", str(raised.exception))

    def test_a_server_that_nobody_could_look_at_still_has_descriptors(self):
        blind = model.Model(
            None, None, None, None, "the server's process was not known", usl.scaling([]), ()
        )
        found = answer.answer(made_up.LIMITS, blind, question(target=None))
        self.assertEqual(found["first_limit"], "nofile")
        self.assertIn("not determined", answer.sentence(found))
