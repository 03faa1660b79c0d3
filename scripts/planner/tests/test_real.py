"""The real server and the real generator on a ladder of seconds: everything that is read is there
to be read.
"""

import contextlib
import io
import json
import os
import pathlib
import signal
import subprocess
import sys
import tempfile
import time
import unittest
from unittest import mock

from planner import cli, machine

ROOT = pathlib.Path(__file__).resolve().parents[3]
BUILD = pathlib.Path(os.environ.get("PLANNER_BUILD", ROOT / "target/debug"))
SERVER, BENCH = str(BUILD / "stentor"), str(BUILD / "stentor-bench")
TOOL = [sys.executable, str(ROOT / "scripts/capacity.py")]

# A busy machine is no fault.
TIME_S = 300


def run(*words):
    """The tool, as a process."""
    command = [*TOOL, *words, "--server", SERVER, "--bench", BENCH, "--quick", "--patience", "0"]
    return subprocess.run(command, capture_output=True, text=True, timeout=TIME_S)


def children_of(pid):
    """Processes that a process started."""
    with contextlib.suppress(OSError):
        return pathlib.Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return []


def runs(pid):
    """Returns whether a process has not ended. One that has ended stays in /proc as a zombie until
    its parent waits for it.
    """
    with contextlib.suppress(OSError):
        stat = pathlib.Path(f"/proc/{pid}/stat").read_text()
        return stat.rpartition(")")[2].split()[0] not in "ZX"
    return False


def steps_in(folder):
    """When each kept step was written."""
    return {path.name: path.stat().st_mtime_ns for path in pathlib.Path(folder).glob("*/*.r*.json")}


class Ends(unittest.TestCase):
    def test_a_stop_in_the_middle_of_a_start_leaves_no_process(self):
        def obey(_):
            for _ in range(2):
                os.posix_spawnp("sleep", ["sleep", "600"], os.environ)
            self.assertEqual(len(children_of(os.getpid())), 2)
            os.kill(os.getpid(), signal.SIGTERM)

        self.addCleanup(machine.end_all)
        before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            with mock.patch.object(cli, "obey", obey), contextlib.redirect_stderr(io.StringIO()):
                self.assertEqual(cli.main(["measure"]), 130)
            self.assertEqual(signal.getsignal(signal.SIGTERM), signal.SIG_IGN)
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)
        self.assertEqual(children_of(os.getpid()), [])


class Real(unittest.TestCase):
    def test_measured_stopped_resumed_planned_and_validated(self):
        with tempfile.TemporaryDirectory() as folder:
            self.stop_in_the_middle(folder)
            before = steps_in(folder)
            asked = ("--target-clients", "10k", "--what-if", "rate=20", "--nic", "10Gbit/s")
            done = run("run", "--data", folder, *asked)
            self.assertEqual(done.returncode, 0, done.stderr)
            after = steps_in(folder)
            self.assertGreater(len(after), len(before))
            self.assertEqual({name: after[name] for name in before}, before)
            plan = json.loads((pathlib.Path(folder) / "plan.json").read_text())
            self.look_at(plan, after)
            page = (pathlib.Path(folder) / "plan.html").read_text()
            self.assertIn("<svg", page)
            self.assertIn("MEASURED WITH --quick", page)
            self.assertTrue(done.stdout.startswith("! MEASURED WITH --quick"), done.stdout)
            told = "How many boxes hold 10,000" if plan["missing"] else "boxes for 10,000"
            for word in ("First limit", f"{told} clients", "Validation"):
                self.assertIn(word, done.stdout)

    def stop_in_the_middle(self, folder):
        command = [
            *TOOL,
            "measure",
            "--data",
            folder,
            "--server",
            SERVER,
            "--bench",
            BENCH,
            "--quick",
            "--patience",
            "0",
        ]
        child = subprocess.Popen(
            command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
        )
        deadline = time.monotonic() + TIME_S
        while len(steps_in(folder)) < 3 and time.monotonic() < deadline and child.poll() is None:
            time.sleep(0.02)
        started = children_of(child.pid)
        child.send_signal(signal.SIGTERM)
        said = child.communicate(timeout=TIME_S)[1]
        self.assertEqual(child.returncode, 130, said)
        self.assertIn("goes on from here", said)
        self.assertEqual([pid for pid in started if runs(pid)], [])

    def look_at(self, plan, names):
        kinds = {name.split("-")[0] for name in names}
        self.assertEqual(kinds, {"fanout", "idle", "connect", "outbox"})
        self.assertIn(plan["first_limit"], [row["limit"] for row in plan["limits"]])
        self.assertGreater(plan["capacity"]["clients"], 0)
        self.assertIs(plan["quick"], True)
        learned = plan["learned"]
        self.assertGreater(learned["cpu"]["steps"], 5)
        self.assertGreater(learned["memory"]["process"]["steps"], 3)
        # Frames of clients in channels of their own are shared with nobody.
        self.assertGreater(learned["memory"]["outbox"], 0.8)
        self.assertLess(learned["memory"]["outbox"], 1.5)
        self.assertIn("not_determined", plan["scaling"])
        # Quick steps may leave the p99 undetermined, and nothing else: then no number is given.
        self.assertLessEqual({row["limit"] for row in plan["missing"]}, {"p99"})
        self.assertEqual("boxes" in plan, not plan["missing"])
        for setup in plan.get("boxes", []):
            self.assertEqual(setup["with_spare"], setup["needed"] + 1)
        self.assertTrue(plan["validation"])
        self.assertGreater(plan["validation"][0]["seen"]["cpu_share"], 0)

    def test_a_server_that_runs_already(self):
        with (
            tempfile.TemporaryDirectory() as folder,
            machine.Server(SERVER, machine.Layout(1)) as server,
        ):
            done = run(
                "measure",
                "--data",
                folder,
                "--url",
                server.url,
                "--server-pid",
                str(server.pid),
                "--admin",
                server.admin,
            )
            self.assertEqual(done.returncode, 0, done.stderr)
            kinds = {name.split("-")[0] for name in steps_in(folder)}
            # It is not restarted, so what needs other settings is left out.
            self.assertEqual(kinds, {"fanout", "idle", "connect"})
            self.assertIsNone(server.child.poll())
            done = run("plan", "--data", folder, "--json", "-")
            self.assertEqual(done.returncode, 0, done.stderr)
            plan = json.loads(done.stdout)
            self.assertIsNotNone(plan["learned"]["cpu"])

    def test_a_server_that_does_not_start_is_said(self):
        with tempfile.TemporaryDirectory() as folder:
            no = pathlib.Path(folder) / "no"
            no.write_text("#!/bin/sh\necho it will not >&2\nexit 1\n")
            no.chmod(0o755)
            with (
                self.assertRaises(machine.Failed) as raised,
                contextlib.redirect_stderr(io.StringIO()),
            ):
                machine.Server(str(no), machine.Layout(1))
            self.assertIn("it will not", str(raised.exception))
