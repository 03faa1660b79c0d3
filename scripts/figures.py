"""Runs the scenarios of stentor-bench against Stentor and the bare loop in turn, and prints medians and ratios.

A ratio is taken within each round, so that a machine that is slow for a while is slow for both; the median of the
rounds' ratios is the figure. CPU time is the scheduler's own count of the server process.
"""
import argparse
import json
import os
import signal
import socket
import statistics
import subprocess
import sys
import time
import urllib.request

BENCH = "target/release/stentor-bench"
SERVER = "target/release/stentor"


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Process:
    """A server, pinned, on a port of its own."""

    def __init__(self, command, cores="0"):
        self.port = free_port()
        words = [word.replace("PORT", str(self.port)) for word in command]
        self.child = subprocess.Popen(
            ["taskset", "-c", cores, *words], stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL
        )
        deadline = time.monotonic() + 10
        while time.monotonic() < deadline:
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", self.port)) == 0:
                    return
            time.sleep(0.02)
        sys.exit(f"figures: {words[0]} does not listen")

    def measure(self, scenario, args, core="1"):
        command = ["taskset", "-c", core, BENCH, scenario, "--server", f"127.0.0.1:{self.port}"]
        command += ["--pid", str(self.child.pid), *args]
        done = subprocess.run(command, capture_output=True, text=True, timeout=300)
        if done.returncode != 0:
            sys.exit(f"figures: {' '.join(command)}: {done.stderr.strip()}")
        return json.loads(done.stdout)

    def stop(self):
        self.child.send_signal(signal.SIGKILL)
        self.child.wait()


def stentor(*flags, shards="1", cores="0"):
    command = [SERVER, "--listen", "127.0.0.1:PORT", "--admin", "off", "--cores", cores]
    return Process([*command, "--shards", shards, *flags], cores)


def raw(*flags):
    return Process([BENCH, "raw", "--listen", "127.0.0.1:PORT", *flags])


# name: scenario, its arguments, flags of Stentor, flags of the bare loop, the figure's key, unit, target of the ratio
FIGURES = {
    "one-1k": ("fanout", ["-c", "1000", "-w", "1"], [], [], "server_us_each", "us/delivery", 1.10),
    "one-15k": ("fanout", ["-c", "15000", "-w", "1"], [], [], "server_us_each", "us/delivery", 1.10),
    "joined-1k": ("fanout", ["-c", "1000", "-w", "16"], [], ["--joined"], "server_us_each", "us/delivery", 1.15),
    "joined-15k": ("fanout", ["-c", "15000", "-w", "16"], [], ["--joined"], "server_us_each", "us/delivery", 1.15),
    "all-200": ("all", ["-c", "200"], [], [], "server_us_each", "us/delivery", 0.19),
    "accept": ("accept", ["-c", "10000"], [], [], "server_us_each", "us/accept", 1.30),
    "latency": ("latency", ["-c", "1000", "-r", "20", "-d", "10"], [], [], "last_p99_us", "us-p99", 1.10),
    "ping": ("ping", ["-c", "15000", "-d", "10"], ["--ping-interval", "5s"], ["--ping-interval", "5"], "server_us_each", "us/ping", None),
}


def compare(name, rounds, seconds):
    scenario, args, flags, raw_flags, key, unit, target = FIGURES[name]
    if "-d" not in args:
        args = [*args, "-d", str(seconds)]
    if "--ping-interval" not in flags:
        flags = [*flags, "--ping-interval", "0"]
    pair = (stentor(*flags), raw(*raw_flags))
    try:
        runs = [[server.measure(scenario, args)[key] for server in pair] for _ in range(rounds)]
    finally:
        for server in pair:
            server.stop()
    ratios = sorted(ours / bare for ours, bare in runs)
    ours = statistics.median(run[0] for run in runs)
    bare = statistics.median(run[1] for run in runs)
    ratio = statistics.median(ratios)
    verdict = "" if target is None else ("ok" if ratio <= target else "over")
    aim = "" if target is None else f"{target:.2f}"
    print(
        f"{name:<11} {unit:<12} {ours:>10.3f} {bare:>10.3f} {ratio:>7.3f} "
        f"{ratios[0]:>6.3f}..{ratios[-1]:<6.3f} {aim:>6} {verdict}",
        flush=True,
    )
    return {"figure": name, "unit": unit, "ours": ours, "bare": bare, "ratio": ratio, "ratios": ratios}


def idle(seconds):
    server = stentor("--ping-interval", "0")
    try:
        result = server.measure("idle", ["-c", "15000", "-d", str(seconds)])
    finally:
        server.stop()
    each = result["private_bytes_each"]
    print(f"{'idle-15k':<11} {'bytes/client':<12} {each:>10.0f}   (target 900, aim 500)", flush=True)
    return {"figure": "idle-15k", "bytes": each}


def asleep(seconds):
    """CPU of a server without clients."""
    server = stentor(shards="2", cores="0,1")
    try:
        time.sleep(1)
        before = cpu(server.child.pid)
        time.sleep(seconds * 3)
        share = (cpu(server.child.pid) - before) / (seconds * 3)
    finally:
        server.stop()
    print(f"{'asleep':<11} {'% of a core':<12} {share * 100:>10.4f}   (target 0.1, two shards)", flush=True)
    return {"figure": "asleep", "share": share}


def cpu(pid):
    total = 0
    for task in os.listdir(f"/proc/{pid}/task"):
        with open(f"/proc/{pid}/task/{task}/schedstat") as file:
            total += int(file.read().split()[0])
    return total / 1e9


def cross(seconds):
    """From the read of a publication on one shard to its send on another, as the server's own histogram has it."""
    admin = free_port()
    command = [SERVER, "--listen", "127.0.0.1:PORT", "--admin", f"127.0.0.1:{admin}", "--shards", "2"]
    server = Process([*command, "--cores", "0,1", "--ping-interval", "0"], "0,1")
    try:
        # The generator may run anywhere: both cores are nearly idle.
        receipt = server.measure("cross", ["-d", str(seconds * 3)], core="0,1")
        with urllib.request.urlopen(f"http://127.0.0.1:{admin}/api/latency.hgrm") as response:
            rows = [line.split() for line in response.read().decode().splitlines()]
    finally:
        server.stop()
    rows = [[float(word) for word in row] for row in rows if row and row[0][0].isdigit()]
    at = {quantile: next(row[0] * 1000 for row in rows if row[1] >= quantile) for quantile in (0.5, 0.99)}
    print(
        f"{'cross':<11} {'us p50, p99':<12} {at[0.5]:>10.0f} {at[0.99]:>10.0f}"
        f"   at the client {receipt['p50_us']}, {receipt['p99_us']}   (target p99 100)",
        flush=True,
    )
    return {"figure": "cross", "p50_us": at[0.5], "p99_us": at[0.99], "receipt": receipt}


def main():
    single = {"idle": idle, "asleep": asleep, "cross": cross}
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("figures", nargs="*", metavar="FIGURE", help=", ".join([*FIGURES, *single]))
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=2.0)
    parser.add_argument("--out", help="write the results as JSON")
    args = parser.parse_args()
    wanted = args.figures or [*FIGURES, *single]
    for name in wanted:
        if name not in FIGURES and name not in single:
            parser.error(f"no figure {name}")
    print(f"{'figure':<11} {'unit':<12} {'stentor':>10} {'bare':>10} {'ratio':>7} {'min..max':<14} {'target':>6}")
    results = []
    for name in wanted:
        if name in FIGURES:
            results.append(compare(name, args.rounds, args.seconds))
        else:
            results.append(single[name](args.seconds))
    if args.out:
        with open(args.out, "w") as file:
            json.dump({"kernel": os.uname().release, "cores": os.cpu_count(), "results": results}, file, indent=1)


main()
