"""What people type is understood or refused in one line."""

import json
import pathlib
import unittest

from planner import units
from planner.units import Nonsense


VECTORS = pathlib.Path(__file__).parents[3] / "src" / "units" / "vectors.json"


class Units(unittest.TestCase):
    def test_the_vectors_of_server_and_load_tool_are_read_alike(self):
        vectors = json.loads(VECTORS.read_text(encoding="utf-8"))
        for kind, read in (
            ("time", units.time_ns),
            ("size", units.size),
            ("count", units.count),
            ("rate", units.rate),
            ("share", units.portion),
        ):
            for text, value in vectors[kind]:
                with self.subTest(kind=kind, text=text):
                    if value is None:
                        self.assertRaises(Nonsense, read, text)
                    else:
                        self.assertEqual(read(text), value)

    def test_what_people_type_is_understood(self):
        self.assertEqual(units.count("1M"), 1_000_000)
        self.assertEqual(units.count("1_000_000"), 1_000_000)
        self.assertEqual(units.count("1.5k"), 1500)
        self.assertEqual(units.rate("500/s"), 500)
        self.assertEqual(units.rate("1k/s"), 1000)
        self.assertEqual(units.rate("6/m"), 0.1)
        self.assertEqual(units.time("50ms"), 0.05)
        self.assertEqual(units.time("0"), 0)
        self.assertEqual(units.time("1m30s"), 90)
        self.assertEqual(units.time("50"), 50)
        self.assertEqual(units.size("64KiB"), 65536)
        self.assertEqual(units.size("64k"), 65536)
        self.assertEqual(units.share("30%"), 0.3)
        self.assertEqual(units.share("0.3"), 0.3)
        self.assertEqual(units.bits("10Gbit/s"), 10e9)

    def test_nonsense_is_refused(self):
        for read, words in (
            (units.count, "-5"),
            (units.count, "five"),
            (units.count, "1.5"),
            (units.count, "10ms"),
            (units.positive, "0"),
            (units.rate, "0/s"),
            (units.rate, "10ms"),
            (units.time, "50MB"),
            (units.time, "-1s"),
            (units.size, "1.5"),
            (units.size, "10ms"),
            (units.share, "100%"),
            (units.share, "30ms"),
            (units.bits, "10"),
            (units.count, "nan"),
            (units.count, ""),
        ):
            with self.subTest(words=words), self.assertRaises(Nonsense) as raised:
                read(words, "--it")
            self.assertIn("--it", str(raised.exception))
            self.assertNotIn("\n", str(raised.exception))

    def test_numbers_are_shown_as_well_as_they_are_known(self):
        self.assertEqual(units.digits(123_456), 123_000)
        self.assertEqual(units.digits(0.0123456), 0.0123)
        self.assertEqual(units.digits(0), 0)
        self.assertEqual(units.show_count(1_234_567), "1,230,000")
        self.assertEqual(units.show_count(12.34), "12.3")
        self.assertEqual(units.show_time(0.0123), "12.3 ms")
        self.assertEqual(units.show_time(4.2e-6), "4.2 µs")
        self.assertEqual(units.show_size(1536), "1.5 KiB")
        self.assertEqual(units.show_share(0.305), "30.5 %")
