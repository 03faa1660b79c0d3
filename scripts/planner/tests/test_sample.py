"""The committed sample gives the committed plan, to the digit, and the README shows it."""

import contextlib
import io
import json
import pathlib
import re
import tempfile
import unittest

from planner import options, record, sample
from planner.cli import main


def said(words):
    with contextlib.redirect_stdout(io.StringIO()) as out:
        code = main(words)
    return code, out.getvalue()


class Sample(unittest.TestCase):
    def test_its_plan_is_reproducible_to_the_digit(self):
        code, plan = said([*sample.QUESTION, "--json", "-"])
        self.assertEqual(code, 0)
        self.assertEqual(json.loads(plan), json.loads((sample.FOLDER / "plan.json").read_text()))
        self.assertEqual(said([*sample.QUESTION, "--json", "-"])[1], plan)

    def test_its_words_are_reproducible(self):
        code, words = said(sample.QUESTION)
        self.assertEqual((code, words), (0, (sample.FOLDER / "plan.txt").read_text()))

    def test_what_is_held_out_is_reproducible(self):
        _, words = said(["holdout", "--data", str(sample.FOLDER)])
        self.assertEqual(words, (sample.FOLDER / "holdout.txt").read_text())

    def test_the_readme_shows_it(self):
        words = (sample.FOLDER / "plan.txt").read_text()
        self.assertEqual(sample.README.read_text(), sample.example(words))

    def test_the_seed_moves_intervals_and_nothing_else(self):
        plans = [
            json.loads(said([*sample.QUESTION, "--json", "-", "--seed", seed])[1]) for seed in "12"
        ]
        intervals = [[row["interval"] for row in plan["limits"]] for plan in plans]
        clients = [[row["clients"] for row in plan["limits"]] for plan in plans]
        self.assertNotEqual(*intervals)
        self.assertEqual(*clients)

    def test_the_page_is_whole_and_needs_nothing_else(self):
        with tempfile.TemporaryDirectory() as folder:
            path = pathlib.Path(folder) / "plan.html"
            with contextlib.redirect_stderr(io.StringIO()):
                said([*sample.QUESTION, "--html", str(path)])
            page = path.read_text()
        self.assertFalse(re.findall(r"(?:src|href)=|https?://|@import|url\(", page))
        self.assertGreaterEqual(page.count("<svg"), 4)
        self.assertIn('class="bar first"', page)
        self.assertIn("prefers-color-scheme: dark", page)
        for kind in ("band", "curve", "point"):
            self.assertIn(f'class="{kind} c', page)

    def test_a_plan_of_quick_steps_says_that_it_means_nothing(self):
        with tempfile.TemporaryDirectory() as folder:
            folder = pathlib.Path(folder)
            (folder / "host.json").write_text((sample.FOLDER / "host.json").read_text())
            lines = (sample.FOLDER / "steps.jsonl").read_text().splitlines()
            kept = [json.loads(line) for line in lines]
            one = next(step for step in kept if step["step"]["kind"] == "fanout")
            one["step"]["seconds"] = 0.5
            lines = "".join(json.dumps(step) + "\n" for step in kept)
            (folder / "steps.jsonl").write_text(lines)
            asked = [str(folder) if word == str(sample.FOLDER) else word for word in sample.QUESTION]
            page, whole = folder / "plan.html", folder / "plan.json"
            with contextlib.redirect_stderr(io.StringIO()):
                words = said([*asked, "--html", str(page), "--json", str(whole)])[1]
                held = said(["holdout", "--data", str(folder)])[1]
            lines = words.strip().split("\n")
            for line in (lines[0], lines[-1], held.split("\n")[0]):
                self.assertEqual(line, f"! {record.QUICK}")
            plan = json.loads(whole.read_text())
            self.assertEqual((plan["quick"], plan["warning"]), (True, record.QUICK))
            words = page.read_text()
            self.assertIn(record.QUICK, words)
            self.assertLess(words.index(record.QUICK), words.index("class=verdict"))
        unmarked = json.loads((sample.FOLDER / "plan.json").read_text())
        self.assertIs(unmarked["quick"], False)
        self.assertNotIn("warning", unmarked)

    def test_every_option_is_in_the_help(self):
        words = options.parser().format_help()
        for name in options.COMMANDS:
            self.assertIn(f"  {name} ", words)
