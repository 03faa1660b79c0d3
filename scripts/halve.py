"""Half of all clients are killed at once while others keep connecting and talking: the p99 of connects and of the
fan-out in the seconds after the kill must be what it was before and is later, within the noise of those.

One stentor-bench process holds the half that is killed with SIGKILL, another talks to the other half and writes a
histogram a second; connects are timed here, from connect to the 101. Ends with one table, and with 0 if it holds.
"""
import argparse
import csv
import datetime
import re
import signal
import socket
import statistics
import struct
import subprocess
import sys
import tempfile
import threading
import time

from churn import request
from soak import BENCH, Server

ROW = "{:<26} {:>16} {:>16} {:>16}  {}"
# How much worse than the worst second without a kill the worst one with it may be: the noise of a second's p99.
NOISE = 1.5


class Connects(threading.Thread):
    """Connects at a steady pace, and notes when each began and how long it took."""

    def __init__(self, address, rate):
        super().__init__(daemon=True)
        host, port = address.split(":")
        self.server, self.pause, self.over = (host, int(port)), 1 / rate, threading.Event()
        self.samples, self.failed = [], 0

    def run(self):
        due = time.time()
        while not self.over.is_set():
            time.sleep(max(0, due - time.time()))
            due += self.pause
            began = time.time()
            try:
                self.connect()
                self.samples.append((began, (time.time() - began) * 1e3))
            except OSError:
                self.failed += 1

    def connect(self):
        with socket.create_connection(self.server, timeout=30, source_address=("127.0.7.1", 0)) as client:
            # No port waits for stragglers.
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            client.sendall(request("/ws?channel=connects"))
            if not client.recv(4096).startswith(b"HTTP/1.1 101"):
                raise ConnectionError("no 101")


def until_clients(server, count, processes):
    end = time.monotonic() + 120
    while (there := server.stats()["total"]["clients"]) < count:
        if time.monotonic() > end or any(process.poll() is not None for process in processes):
            sys.exit(f"halve: {there} of {count} clients came")
        time.sleep(0.2)


def seconds_of_connects(samples):
    """The p99 of each second, by its beginning."""
    seconds = {}
    for began, took in samples:
        seconds.setdefault(int(began), []).append(took)
    return [(second, sorted(times)[len(times) * 99 // 100]) for second, times in sorted(seconds.items())]


def seconds_of_fanout(csv_file, hlog_file):
    with open(hlog_file, encoding="ascii") as lines:
        start = float(re.search(r"StartTime: ([\d.]+)", lines.read(4096)).group(1))
    with open(csv_file, encoding="ascii") as lines:
        return [(start + float(row["at_s"]), float(row["p99_ms"])) for row in csv.DictReader(lines) if row["p99_ms"]]


def compare(name, seconds, killed, window):
    """One row: the usual p99 and the worst second's, before the kill, with it, and after."""
    before = [p99 for at, p99 in seconds if killed - window * 3 <= at < killed - 1]
    with_it = [p99 for at, p99 in seconds if killed - 1 <= at < killed + window]
    after = [p99 for at, p99 in seconds if killed + window <= at < killed + window * 3]
    if min(map(len, (before, with_it, after))) < 3:
        sys.exit(f"halve: too few seconds of {name} to compare")
    good = max(with_it) <= max(before + after) * NOISE
    shown = [f"{statistics.median(part):.1f} / {max(part):.1f}" for part in (before, with_it, after)]
    print(ROW.format(name, *shown, "ok" if good else "NOT MET"))
    return good


def halve(args):
    half, window = args.clients // 2, args.window
    seconds = window * 7
    with tempfile.TemporaryDirectory() as folder, Server(["--shards", "1"], args.server_core) as server:
        url = f"ws://{server.address}/ws"
        quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        cores = ["--core", args.core, "-q"]
        # Sources of their own: 4,000 clients share one.
        sources = [part for number in range(2, 8) for part in ("--source-ip", f"127.0.8.{number}")]
        go = [BENCH, "idle", url, "-c", str(half), "--ramp", "4k/s", "-d", f"{seconds * 3}s", *cores, *sources]
        files = {kind: f"{folder}/halve.{kind}" for kind in ("csv", "hlog")}
        stay = [BENCH, "fanout", url, "-c", str(half), "--ramp", "4k/s", "-r", f"{args.rate}/s", *cores]
        stay += ["-d", f"{seconds}s", "--warmup", "2s", "--csv", files["csv"], "--hlog", files["hlog"]]
        who_goes = subprocess.Popen(go, **quiet)
        until_clients(server, half, [who_goes])
        who_stays = subprocess.Popen(stay, **quiet)
        until_clients(server, half * 2, [who_goes, who_stays])
        connects = Connects(server.address, args.connects)
        connects.start()
        time.sleep(window * 3 + 3)
        before = server.stats()["total"]["clients"]
        killed = time.time()
        who_goes.send_signal(signal.SIGKILL)
        who_goes.wait()
        gone = None
        while time.time() < killed + window * 3 + 1:
            if gone is None and server.stats()["total"]["clients"] <= half + 5:
                gone = time.time() - killed
            time.sleep(0.05)
        connects.over.set()
        connects.join()
        who_stays.wait(120)
        print(
            f"{datetime.date.today().isoformat()}, {before} clients, {half} killed at once, the server had let them go "
            f"after {f'{gone:.2f} s' if gone else 'too long'}; {args.rate} publications/s, {args.connects:g} connects/s"
        )
        print(ROW.format("p99 of a second, in ms", "before", "with the kill", "after", "median / worst second"))
        good = compare("connect to 101", seconds_of_connects(connects.samples), killed, window)
        good &= compare("publish to each receipt", seconds_of_fanout(files["csv"], files["hlog"]), killed, window)
        if connects.failed:
            print(f"{connects.failed} connects failed")
    return 0 if good and gone and not connects.failed else 1


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clients", type=int, default=16_000, help="clients in all (default 16000)")
    parser.add_argument("--rate", type=int, default=4, help="publications a second to all of them (default 4)")
    parser.add_argument("--connects", type=float, default=100, help="connects a second (default 100)")
    parser.add_argument("--window", type=int, default=5, help="seconds that the kill is looked for in (default 5)")
    parser.add_argument("--server-core", default="0")
    parser.add_argument("--core", default="1", help="the generators' core (default 1)")
    sys.exit(halve(parser.parse_args()))


if __name__ == "__main__":
    main()
