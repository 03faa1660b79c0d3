"""Drives loads from agents on this host and on another one, and checks what the records say of the two: that
nothing is lost or heard twice, that the clocks of both are brought together, and that what goes wrong is named.
Started by scripts/second_host.sh with this host's address, the other's, and the folder with what QEMU is told by.
"""
import argparse
import contextlib
import json
import os
import pathlib
import signal
import socket
import subprocess
import sys
import threading
import time

from checks import Checks
from soak import BENCH, Server

TOKEN = "STENTOR_BENCH_TOKEN"
CLIENTS = 200
# How well two readings of /proc/uptime tell how far two clocks are apart: hundredths of a second, and the way there.
UPTIME_S = 0.5
# An agent that has gone is noticed after ten seconds at the most; the rest is a slow host.
NOTICED_S = 15
STOPPED_S = 2
SHOWN = ["another host", "clocks known to"]


@contextlib.contextmanager
def agent():
    """An agent on this host, a process of its own; gives its address."""
    command = [BENCH, "agent", "--listen", "127.0.0.1:0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield process.stdout.readline().split()[-1]
        finally:
            process.kill()


class Bench:
    """Runs of the tool from here against one server, by one agent after the other."""

    def __init__(self, address, room):
        self.url, self.json = f"ws://{address}/ws", room / "run.json"

    def start(self, line, agents, token=None):
        self.json.unlink(missing_ok=True)
        scenario, *flags = line.split()
        command = [BENCH, scenario, self.url, *flags, "-q", "--agents", ",".join(agents), "--json", str(self.json)]
        environment = os.environ | ({TOKEN: token} if token else {})
        pipe = subprocess.PIPE
        return subprocess.Popen(command, stdout=pipe, stderr=subprocess.STDOUT, text=True, env=environment)

    def run(self, line, agents):
        """The record and the summary of a run; that it says itself to prove too little is told."""
        process = self.start(line, agents)
        said = process.communicate(timeout=120)[0]
        if process.returncode not in (0, 4):
            sys.exit(f"second_host: {line}: ended with {process.returncode}: {said}")
        record = json.loads(self.json.read_text())
        for fault in record["faults"]:
            print(f"   {line}: {fault['what']}")
        return record, said


def uptime_s(host):
    with socket.create_connection((host, 7001), timeout=10) as asked, asked.makefile() as answer:
        return float(answer.readline().split()[0])


def ms(ns):
    return f"{ns / 1e6:.3f} ms"


def check_counts(checks, line, run, agents):
    totals = run["totals"]
    for name in ("lost", "duplicated", "out_of_order", "strays"):
        if totals[name]:
            checks.check(False, f"{line}: {totals[name]} {name}")
    heard = totals["published"] * totals["connected"]
    fine = totals["deliveries"] == heard and not totals["disconnects"] and not totals["failures"]
    checks.check(fine, f"{line}: {totals['published']} messages to {totals['connected']} clients, {heard} receipts")
    shares = [agent["connected"] for agent in run["agents"]]
    whole = run["load"]["clients"]
    even = len(shares) == agents and sum(shares) == whole and max(shares) - min(shares) <= 1
    checks.check(even, f"{line}: the agents have {shares} clients")


def check_clock(checks, line, run, other, host):
    """What is known of the other's clock, beside what the other says itself of its age."""
    here = time.monotonic()
    apart_s = here - uptime_s(host)
    offset, drift, unsure = (run["agents"][other][f"clock_{of}_ns"] for of in ("offset", "drift", "uncertainty"))
    near = abs(offset / 1e9 - apart_s) < UPTIME_S
    checks.check(near, f"{line}: the other clock is {offset / 1e9:.6f} s behind; by its uptime {apart_s:.2f} s")
    checks.check(unsure > abs(drift), f"{line}: known to {ms(unsure)}, a drift of {ms(drift)} included")


def check_latencies(checks, bench, local, guest):
    """A message from one host to the other takes half of a round trip or so: a clock that were wrong would have it
    come before it was sent, one way, or take much longer than there and back, the other way."""
    echo, _ = bench.run("echo -c 1 -r 250/s -d 5s", [guest])
    there_and_back = echo["latencies"]["echo"]["min_ns"]
    print(f"   a round trip from the other host takes {ms(there_and_back)} at least")
    # The first agent has the publisher, and each has a client.
    for agents, way in (([local, guest], "to"), ([guest, local], "from")):
        run, _ = bench.run("fanout -c 2 -r 250/s -d 5s", agents)
        delivery, last = (run["latencies"][name]["min_ns"] for name in ("delivery", "last"))
        unsure = max(agent["clock_uncertainty_ns"] for agent in run["agents"])
        said = f"{way} the other host: {ms(delivery)} to a client, {ms(last)} to both at least, {ms(unsure)} not known"
        least, most = there_and_back / 2 - unsure, 3 * there_and_back + unsure
        checks.check(delivery > 0 and least <= last <= most, said)


def check_loads(checks, bench, local, host):
    guest = f"{host}:7000"
    # The first agent has the first publisher.
    for agents, other in (([local, guest], 1), ([guest, local], 0), ([guest], 0)):
        line = f"fanout -c {CLIENTS} -r 20/s -d 10s"
        run, said = bench.run(line, agents)
        line = f"fanout by {' and '.join('the other' if one == guest else 'this' for one in agents)}"
        check_counts(checks, line, run, len(agents))
        check_clock(checks, line, run, other, host)
        if len(agents) > 1:
            own = run["agents"][1 - other]
            hosts = [(one["host"]["name"], one["host"]["kernel"]) for one in run["agents"]]
            checks.check(all(map(str.__ne__, *hosts)), f"{line}: two hosts and kernels: {hosts}")
            known = own["clock_offset_ns"] == own["clock_uncertainty_ns"] == 0
            checks.check(known, f"{line}: the clock of this host's agent is this one's")
        lines = [text.strip() for text in said.split("\n") if any(word in text for word in SHOWN)]
        checks.check(len(lines) == len(SHOWN), f"{line}: {'; '.join(lines)}")


def check_others(checks, bench, agents):
    for line in (f"fanout -c {CLIENTS} -w 4 -d 5s", f"fanout -c {CLIENTS} -P 4 -r 40/s -d 5s"):
        run, _ = bench.run(line, agents)
        check_counts(checks, line, run, 2)
    line = "echo -c 20 -r 250/s -d 5s"
    run, _ = bench.run(line, agents)
    totals, echoes = run["totals"], run["latencies"]["echo"]["count"]
    once = totals["lost"] == totals["duplicated"] == 0 and echoes == totals["published"] > 0
    checks.check(once, f"{line}: {echoes} echoes of {totals['published']} messages")
    line = f"connect -c {CLIENTS} --ramp 100/s --rounds 2"
    run, _ = bench.run(line, agents)
    connected, count = run["totals"]["connected"], run["latencies"]["handshake"]["count"]
    failures = run["totals"]["failures"]
    checks.check(connected >= CLIENTS and not failures, f"{line}: {connected} connected, {count} handshakes")
    line = f"idle -c {CLIENTS} -d 5s"
    run, _ = bench.run(line, agents)
    connected, gone = run["totals"]["connected"], run["totals"]["disconnects"]
    checks.check(connected == CLIENTS and not gone, f"{line}: {connected} connected, none was closed")


def stand_still(room, seconds):
    """Stops the other host, its clock included, for so long."""
    with socket.socket(socket.AF_UNIX) as monitor:
        monitor.connect(str(room / "qmp"))
        lines = monitor.makefile("rw", encoding="utf-8")
        lines.readline()
        for order, pause in (("qmp_capabilities", 0), ("stop", seconds), ("cont", 0)):
            lines.write(json.dumps({"execute": order}))
            lines.flush()
            while '"return"' not in lines.readline():
                pass
            time.sleep(pause)


def check_stopped(checks, bench, agents, room):
    timer = threading.Timer(8, stand_still, [room, STOPPED_S])
    timer.start()
    run, _ = bench.run(f"fanout -c {CLIENTS} -r 20/s -d 10s", agents)
    timer.join()
    line = f"the other host stands still for {STOPPED_S} s"
    check_counts(checks, line, run, 2)
    drift = run["agents"][1]["clock_drift_ns"]
    told = abs(drift / 1e9 - STOPPED_S) < UPTIME_S and any("clock" in fault["what"] for fault in run["faults"])
    checks.check(told, f"{line}: its clock is found to have drifted by {ms(drift)}, and that is a fault")


def check_failures(checks, bench, local, host, room):
    guest = f"{host}:7000"
    agents, line = [local, guest], f"fanout -c {CLIENTS} -r 20/s -d 30s"
    process = bench.start(line, [guest], token="a token of 16 bytes or more")
    said = process.communicate(timeout=60)[0].strip()
    refused = process.returncode == 3 and guest in said and "token" in said
    checks.check(refused, f"with another token: {process.returncode}, {said}")
    process = bench.start(line, agents)
    killed = []

    def kill():
        os.kill(int((room / "pid").read_text()), signal.SIGKILL)
        killed.append(time.monotonic())

    timer = threading.Timer(8, kill)
    timer.start()
    said = process.communicate(timeout=120)[0].strip()
    took = time.monotonic() - killed[0] if killed else -1
    named = process.returncode == 3 and guest in said and 0 <= took < NOTICED_S
    checks.check(named, f"the other host is killed: {process.returncode} after {took:.1f} s, {said}")
    timer.cancel()
    line, deadline = "fanout -c 20 -r 50/s -d 3s", time.monotonic() + 15
    # Before it may be asked again it waits for what was under way.
    while (process := bench.start(line, [local])).wait(60) == 3 and time.monotonic() < deadline:
        time.sleep(0.2)
    checks.check(process.returncode in (0, 4), f"then this host's agent does another run: {process.returncode}")


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("here", help="address of this host")
    parser.add_argument("there", help="address of the other one, where an agent listens at 7000")
    parser.add_argument("room", type=pathlib.Path, help="folder for records")
    asked = parser.parse_args()
    here, there, room = asked.here, asked.there, asked.room
    checks = Checks()
    with Server([], "0", here) as server, agent() as local:
        bench = Bench(server.address, room)
        agents = [local, f"{there}:7000"]
        check_loads(checks, bench, local, there)
        check_latencies(checks, bench, *agents)
        check_others(checks, bench, agents)
        check_stopped(checks, bench, agents, room)
        check_failures(checks, bench, local, there, room)
    checks.done()


if __name__ == "__main__":
    main()
