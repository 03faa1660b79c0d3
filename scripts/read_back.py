"""HdrHistogram's own log processor reads a run's interval log; what it finds must be what the run's record says, and
the distribution that it writes must have the form and the values of ours. Started by scripts/read_back.sh.
"""
import argparse
import json
import pathlib
import re
import subprocess
import sys
import tempfile

from checks import Checks
from soak import BENCH, Server

PROCESSOR = ["java", "-cp", "/usr/share/java/hdrhistogram.jar", "org.HdrHistogram.HistogramLogProcessor"]
# As the processor names them and as a record does.
QUANTILES = {"50%": "p50", "90%": "p90", "99%": "p99", "99.9%": "p999", "99.99%": "p9999", "Max": "max"}
# What rounding may change: half of the last decimal that the processor writes of a millisecond, and Java rounds ties
# of a percentile's last one up.
ROUNDING_MS, ROUNDING = 0.00051, 1.5e-12


def run_bench(room, seconds):
    files = [part for kind in ("json", "hlog", "hgrm") for part in (f"--{kind}", str(room / f"run.{kind}"))]
    with Server([], "0") as server:
        load = ["-c", "500", "-r", "50/s", "-d", f"{seconds}s", "-q"]
        bench = [BENCH, "fanout", f"ws://{server.address}/ws", *load, *files]
        # 4: measured, but the generator was late, which is nothing to whoever reads the files.
        code = subprocess.run(bench, stdout=subprocess.DEVNULL, check=False).returncode
    if code not in (0, 4):
        sys.exit(f"read_back: stentor-bench ended with {code}")
    return json.loads((room / "run.json").read_text())


def process(room, *flags):
    command = [*PROCESSOR, "-i", str(room / "run.hlog"), *flags]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return done.stdout + done.stderr


def numbers(text):
    return [float(word) for word in text.split()]


def check_log(checks, room, run):
    """The log in nanoseconds: every value is written whole."""
    tags = process(room, "-listtags").split("\n")
    if not checks.check(tags[1:] == ["[NO TAG (default)]", ""], "all lines are read, and none has a tag"):
        return
    process(room, "-o", str(room / "ns"), "-outputValueUnitRatio", "1")
    text = (room / "ns").read_text()
    start = float(re.search(r"StartTime: ([\d.]+)", text)[1])
    checks.check(round(start * 1000) == run["began_unix_ms"], f"the log starts when measuring began, at {start}")
    line = re.compile(r"([\d.]+): I:(\d+) \((.*?)\) T:(\d+) \((.*?)\)")
    rows = [match.groups() for match in map(line.match, text.split("\n")) if match]
    ends = [float(end) for end, *_ in rows]
    starts = [second["at_s"] for second in run["series"]]
    due = [*starts[1:], run["totals"]["seconds"]]
    near = all(abs(end - right) < 0.002 for end, right in zip(ends, due))
    checks.check(len(ends) == len(due) and near, f"{len(ends)} intervals, one a second, end at {ends}")
    counts = [int(count) for _, count, *_ in rows]
    deliveries = [second["deliveries"] for second in run["series"]]
    checks.check(counts == deliveries, f"each has as many receipts as that second: {counts}")
    whole = run["latencies"]["delivery"]
    checks.check(int(rows[-1][3]) == whole["count"], f"{rows[-1][3]} receipts in all")
    for (shown, name), found in zip(QUANTILES.items(), numbers(rows[-1][4])):
        right = whole[f"{name}_ns"]
        checks.check(found == right, f"{shown} is {found:.0f} ns, in the record {right} ns")


def read_hgrm(path):
    """The header, the rows, and the footer as it is without its numbers and with them."""
    lines = path.read_text().rstrip("\n").split("\n")
    # What the processor says of the log comes first.
    lines = lines[next(at for at, line in enumerate(lines) if "Value" in line):]
    footer = lines[-3:]
    form = [re.sub(r"=[ \d.]+", "=", line) for line in footer]
    return lines[:2], [numbers(line) for line in lines[2:-3]], form, numbers(re.sub(r"[^\d. ]", "", " ".join(footer)))


def is_near(found, right):
    return abs(found - right) <= ROUNDING_MS


def check_hgrm(checks, room):
    process(room, "-o", str(room / "java"))
    (head, rows, form, values), (head2, rows2, form2, values2) = map(
        read_hgrm, (room / "run.hgrm", room / "java.hgrm")
    )
    checks.check(head == head2, f".hgrm: the header is {' '.join(head[0].split())}, and an empty line")
    same = [abs(row[1] - row2[1]) <= ROUNDING and row[2] == row2[2] for row, row2 in zip(rows, rows2)]
    checks.check(len(rows) == len(rows2) and all(same), f".hgrm: {len(rows)} rows, percentiles and counts the same")
    same = [len(row) == len(row2) and is_near(row[0], row2[0]) for row, row2 in zip(rows, rows2)]
    checks.check(all(same), f".hgrm: the values too, from {rows[0][0]} to {rows[-1][0]} ms")
    same = len(values) == 6 == len(values2) and all(map(is_near, values, values2))
    checks.check(form == form2, ".hgrm: the footer's form is the same")
    checks.check(same, f".hgrm: mean, deviation, maximum, count and buckets too: {values}")


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("seconds", nargs="?", type=int, default=10, help="of the run [10]")
    seconds = parser.parse_args().seconds
    checks = Checks()
    with tempfile.TemporaryDirectory() as name:
        room = pathlib.Path(name)
        run = run_bench(room, seconds)
        check_log(checks, room, run)
        check_hgrm(checks, room)
    checks.done()


if __name__ == "__main__":
    main()
