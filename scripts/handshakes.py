#!/usr/bin/env python3
"""Figures of TLS: a server of one shard on core 0, the generator on core 1, beside a server without TLS.

    scripts/handshakes.py storm       what a fan-out notices of 10,000 clients that come within TLS, and whether all get in
    scripts/handshakes.py handshake   CPU of a full handshake, over that of rustls alone in memory
    scripts/handshakes.py idle        memory of an idle client within TLS, beyond one in the clear
    scripts/handshakes.py each        CPU of a delivery within TLS, over one in the clear

Without a name all of them run. Exit code 1: a bound of those that are printed is missed.
"""

import argparse
import contextlib
import json
import multiprocessing
import os
import socket
import ssl
import statistics
import subprocess
import sys
import tempfile
import time
from typing import NamedTuple

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from figurelib.report import number, spread  # noqa: E402
from figurelib.server import BENCH, GENERATOR_CORE, RUN_TIME_MAX_S, SERVER_CORE, WITH_RECORD, Server, cpu_seconds  # noqa: E402
from figurelib.wire import masked  # noqa: E402

# How long the fan-out is looked at before the storm.
CALM_S = 5
# Between two publications of the one who measures.
PAUSE_S = 0.01

# The most that a delivery may cost within TLS, times one in the clear: a preset of the generator, and the bound.
EACH = {"one-1k": 1.15, "one-15k": 1.25, "joined-1k": 1.3, "joined-15k": 1.3}

ROW = "{:<34} {:>12} {:>12} {:>8}  {:<16} {:<10} {}"


def row(*columns):
    print(ROW.format(*columns, *[""] * (7 - len(columns))).rstrip(), flush=True)


class Options(NamedTuple):
    """What was asked for, with a certificate of one's own."""

    server: str
    rounds: int
    clients: int
    listeners: int
    seconds: float
    cert: str
    key: str

    def started(self, sealed=True):
        """A server that speaks TLS, or none."""
        command = [self.server, "--listen", "127.0.0.1:PORT", "--admin", "off", "--cores", SERVER_CORE]
        command += ["--shards", "1", "--ping-interval", "0"]
        return Server([*command, "--tls-cert", self.cert, "--tls-key", self.key] if sealed else command)


def bench(server, load, sealed, core=GENERATOR_CORE):
    """Runs one load and returns its record."""
    with tempfile.TemporaryDirectory() as folder:
        file_name = os.path.join(folder, "run.json")
        done = subprocess.run(
            command_of(server, load, sealed, core, file_name), capture_output=True, text=True, timeout=RUN_TIME_MAX_S
        )
        if done.returncode not in WITH_RECORD:
            sys.exit(f"handshakes: {' '.join(load)}: {done.stderr.strip()}")
        with open(file_name) as file:
            return json.load(file)


def command_of(server, load, sealed, core, file_name):
    # The URL has its place behind the name of the load, and that of a preset.
    names = 2 if load[0] == "figure" else 1
    path = next((word for word in load if word.startswith("/")), "/ws")
    flags = [word for word in load[names:] if not word.startswith("/")]
    url = f"{'wss' if sealed else 'ws'}://localhost:{server.port}{path}"
    command = ["taskset", "-c", core, BENCH, *load[:names], url, *flags, *(["--insecure"] if sealed else [])]
    return [*command, "--server-pid", str(server.child.pid), "--json", file_name, "--quiet"]


def verdict(value, bound):
    return "ok" if value <= bound else "over"


def connect(port, path):
    """Returns the socket of a client within TLS that has its 101."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    sock = context.wrap_socket(socket.create_connection(("127.0.0.1", port), timeout=30))
    sock.sendall(
        f"GET {path} HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n".encode()
    )
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        head += sock.recv(1)
    return sock


def look(port, stop, results):
    """Publishes to the listeners and itself until it is told to stop, and measures until its own copy comes.

    It has the server's core and goes first there. On the generator's core the kernel's work for so many connects would
    delay it by milliseconds, with no server in it. It came last of all clients, and is sent its copy behind theirs."""
    os.sched_setaffinity(0, {int(SERVER_CORE)})
    with contextlib.suppress(PermissionError):
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1))
    sock, trips, count = connect(port, "/ws?channel=room"), [], 0
    results.send("ready")
    while not stop.is_set():
        text, count = f"look {count:09d}".encode(), count + 1
        began = time.monotonic()
        sock.sendall(masked(text))
        got = b""
        while text not in got:
            got += sock.recv(1 << 16)
        trips.append((began, time.monotonic() - began))
        time.sleep(PAUSE_S)
    results.send(trips)


def p99_ms(times):
    times = sorted(times)
    return times[min(len(times) - 1, len(times) * 99 // 100)] * 1000 if times else float("nan")


def one_storm(options):
    """Returns the p99 of the fan-out before the storm and beside it, and the record of the storm."""
    with options.started() as server, tempfile.TemporaryDirectory() as folder:
        listen = ["idle", "-c", str(options.listeners), "-d", "10m", "/ws?channel=room"]
        file_name = os.path.join(folder, "listeners.json")
        listeners = subprocess.Popen(
            command_of(server, listen, True, GENERATOR_CORE, file_name), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        watcher = None
        try:
            settle(server)
            stop, (ours, theirs) = multiprocessing.Event(), multiprocessing.Pipe()
            watcher = multiprocessing.Process(target=look, args=(server.port, stop, theirs), daemon=True)
            watcher.start()
            ours.recv()
            calm = time.monotonic()
            time.sleep(CALM_S)
            began = time.monotonic()
            record = bench(server, ["connect", "-c", str(options.clients), "--rounds", "1", "/ws?channel=storm"], True)
            ended = time.monotonic()
            stop.set()
            trips = ours.recv()
        finally:
            listeners.kill()
            listeners.wait()
            if watcher:
                watcher.kill()
                watcher.join()
    before = [took for at, took in trips if calm <= at <= began]
    beside = [took for at, took in trips if began <= at <= ended]
    return p99_ms(before), p99_ms(beside), record


def settle(server):
    """Waits until the listeners are in: the server has worked, and then sleeps."""
    deadline, before, worked = time.monotonic() + 60, cpu_seconds(server.child.pid), False
    while time.monotonic() < deadline:
        time.sleep(0.5)
        after = cpu_seconds(server.child.pid)
        worked |= after - before > 0.01
        if worked and after - before < 0.002:
            return
        before = after
    sys.exit("handshakes: the listeners did not come in")


def storm(options):
    met = True
    for size in (options.listeners,) if options.listeners != 1000 else (1000, 5000):
        runs = [one_storm(options._replace(listeners=size)) for _ in range(options.rounds)]
        calm, beside = (statistics.median(column) for column in list(zip(*runs))[:2])
        ratios = [during / before for before, during, _ in runs]
        ratio = statistics.median(ratios)
        missing = sum(options.clients - record["totals"]["connected"] for *_, record in runs)
        failed = sum(sum(record["totals"]["failures"].values()) for *_, record in runs)
        seconds = statistics.median(record["totals"]["seconds"] for *_, record in runs)
        text = f"{verdict(ratio, 2)}, all in {seconds:.1f} s" if not missing + failed else f"{missing} not in, {failed} failed"
        row(f"p99 of {size}, ms: calm, storm", number(calm), number(beside), f"{ratio:.2f}", spread(ratios), "2", text)
        met &= ratio < 2 and missing + failed == 0
    return met


def handshake(options):
    """What a connect costs within TLS beyond one in the clear, over the library alone."""
    values = []
    for _ in range(options.rounds):
        costs = []
        for sealed in (True, False):
            with options.started(sealed) as server:
                before = cpu_seconds(server.child.pid)
                record = bench(server, ["connect", "-c", "2000", "--rounds", "1"], sealed)
                server.settle()
                costs.append((cpu_seconds(server.child.pid) - before) / record["totals"]["connected"] * 1e6)
        command = [BENCH, "handshake", "--cert", options.cert, "--key", options.key, "--core", SERVER_CORE]
        alone = json.loads(subprocess.run(command, check=True, capture_output=True).stdout)["mean_ns"] / 1000
        values.append((costs[0] - costs[1], alone))
    ours, alone = (statistics.median(column) for column in zip(*values))
    ratios = [ours / alone for ours, alone in values]
    ratio = statistics.median(ratios)
    row("full handshake, us: own, rustls", number(ours), number(alone), f"{ratio:.3f}", spread(ratios), "1.1", verdict(ratio, 1.1))
    return ratio <= 1.1


def idle(options):
    values = []
    for _ in range(min(options.rounds, 3)):
        bytes_each = []
        for sealed in (True, False):
            with options.started(sealed) as server:
                load = ["idle", "-c", str(options.clients), "-d", "2s"]
                bytes_each.append(bench(server, load, sealed)["server"]["private_bytes_per_client"])
        values.append(bytes_each)
    sealed, plain = (statistics.median(column) for column in zip(*values))
    beyond = sealed - plain
    row("idle client, bytes: wss, ws", number(sealed), number(plain), "", f"{beyond:.0f} beyond", "4096", verdict(beyond, 4096))
    return beyond <= 4096


def each(options):
    met = True
    for name, bound in EACH.items():
        pairs = []
        with options.started(True) as sealed, options.started(False) as plain:
            for turn in range(options.rounds):
                costs = {}
                for server in (sealed, plain) if turn % 2 == 0 else (plain, sealed):
                    load = ["figure", name, "-d", f"{round(options.seconds * 1000)}ms"]
                    costs[server] = bench(server, load, server is sealed)["server"]["cpu_ns_per_delivery"] / 1000
                    server.settle()
                pairs.append((costs[sealed], costs[plain]))
        ours, theirs = (statistics.median(column) for column in zip(*pairs))
        ratios = [ours / theirs for ours, theirs in pairs]
        ratio = statistics.median(ratios)
        row(f"{name}, us a delivery: wss, ws", number(ours), number(theirs), f"{ratio:.3f}", spread(ratios), f"{bound}", verdict(ratio, bound))
        met &= ratio <= bound
    return met


FIGURES = {"storm": storm, "handshake": handshake, "idle": idle, "each": each}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("figures", nargs="*", metavar="FIGURE", help=", ".join(FIGURES))
    parser.add_argument("--server", default="target/release/stentor")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--clients", type=int, default=10_000, help="of the storm and of idle")
    parser.add_argument("--listeners", type=int, default=1000, help="of the fan-out; 1000: also 5000")
    parser.add_argument("--seconds", type=float, default=2.0, help="of a run of each")
    asked = parser.parse_args()
    if unknown := set(asked.figures) - set(FIGURES):
        parser.error(f"no figure {', '.join(unknown)}; there are {', '.join(FIGURES)}")
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run([asked.server, "dev-cert", "--dir", folder], check=True, stdout=subprocess.DEVNULL)
        cert, key = (os.path.join(folder, name) for name in ("dev-cert.pem", "dev-key.pem"))
        options = Options(asked.server, asked.rounds, asked.clients, asked.listeners, asked.seconds, cert, key)
        row("figure", "first", "second", "ratio", "min..max", "at most")
        results = [FIGURES[name](options) for name in asked.figures or FIGURES]
    sys.exit(0 if all(results) else 1)


if __name__ == "__main__":
    main()
