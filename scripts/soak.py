"""A long run at a steady load with churn: memory and descriptors of the server must be as they were.

Half of the load is a channel that stentor-bench talks in, half are clients that come, talk, stall and leave
(scripts/churn.py). Samples are taken from /proc every few seconds; what comes before the warm-up's end counts for
nothing. Ends with one table, and with 0 only if all of it holds.
"""
import argparse
import contextlib
import datetime
import json
import os
import pathlib
import socket
import statistics
import subprocess
import sys
import time
import urllib.request

BENCH = "target/release/stentor-bench"
SERVER = "target/release/stentor"

SAMPLE_S = 2
# What the first and the last third of the samples may differ by.
DRIFT_MAX = 0.02
ROW = "{:<34} {:>14} {:>14} {:>9}  {}"


def free_address(host="127.0.0.1"):
    with socket.socket() as probe:
        probe.bind((host, 0))
        return "{}:{}".format(*probe.getsockname())


class Server:
    """A server of this run's own, ended at the end of the block."""

    def __init__(self, flags, cores, host="127.0.0.1"):
        self.address, self.admin = free_address(host), free_address()
        command = [SERVER, "--listen", self.address, "--admin", self.admin, "--cores", cores, *flags]
        self.process = subprocess.Popen([*command, "--log-format", "json"], stderr=subprocess.PIPE, text=True)
        for line in self.process.stderr:
            if '"ready"' in line:
                break
        else:
            sys.exit("soak: the server does not start")
        # From here on nobody reads its log, which is short.
        self.pid = self.process.pid

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.terminate()
        try:
            self.process.wait(60)
        except subprocess.TimeoutExpired:
            self.process.kill()

    def private_bytes(self):
        fields = pathlib.Path(f"/proc/{self.pid}/smaps_rollup").read_text().split("\n")
        kilobytes = [int(line.split()[1]) for line in fields if line.startswith("Private_")]
        return sum(kilobytes) * 1024

    def descriptors(self):
        return len(os.listdir(f"/proc/{self.pid}/fd"))

    def stats(self):
        with urllib.request.urlopen(f"http://{self.admin}/api/stats", timeout=20) as answer:
            return json.load(answer)


def sample(server, began):
    total = server.stats()["total"]
    return {
        "at_s": round(time.monotonic() - began, 1),
        "private_bytes": server.private_bytes(),
        "descriptors": server.descriptors(),
        "clients": total["clients"],
        "outbox_bytes": total["outbox_bytes"],
        "channels": total["channels"],
    }


def watch(server, seconds, processes):
    """Samples until the time is over, or until something has ended that should not have."""
    began, samples = time.monotonic(), []
    while (passed := time.monotonic() - began) < seconds:
        for name, process in processes.items():
            if process.poll() is not None:
                sys.exit(f"soak: the {name} ended after {passed:.0f} s with {process.returncode}")
        samples.append(sample(server, began))
        if sys.stderr.isatty():
            last = samples[-1]
            print(
                f"\r{passed:6.0f} of {seconds:.0f} s  {last['private_bytes'] / 1e6:8.2f} MB private"
                f"  {last['descriptors']} descriptors  {last['clients']} clients ",
                end="",
                file=sys.stderr,
            )
        time.sleep(SAMPLE_S)
    return samples


def drift(samples, key):
    """The medians of the first and of the last third, and by how much they differ."""
    third = max(1, len(samples) // 3)
    first = statistics.median(sample[key] for sample in samples[:third])
    last = statistics.median(sample[key] for sample in samples[-third:])
    return first, last, last / first - 1


def settled(server, descriptors):
    """Waits until everybody has gone; gives the descriptors that are left over."""
    end = time.monotonic() + 60
    while True:
        left = server.descriptors() - descriptors
        if (left <= 0 and server.stats()["total"]["clients"] == 0) or time.monotonic() > end:
            return left
        time.sleep(0.5)


def intervals_of(hlog):
    with open(hlog, encoding="ascii") as lines:
        return sum(1 for line in lines if line[:1].isdigit())


def judge(samples, left_over, run, lives, intervals, seconds):
    """The rows of the table: what, first, last, difference, verdict."""
    rows = []
    for name, key, unit in [("private memory", "private_bytes", 1e6), ("descriptors", "descriptors", 1)]:
        first, last, difference = drift(samples, key)
        shown = [f"{value / unit:.2f} MB" if unit > 1 else f"{value:.0f}" for value in (first, last)]
        rows.append((name, *shown, f"{difference:+.2%}", abs(difference) <= DRIFT_MAX))
    for name, key in [("clients", "clients"), ("channels", "channels")]:
        first, last, difference = drift(samples, key)
        rows.append((name, f"{first:.0f}", f"{last:.0f}", f"{difference:+.2%}", None))
    worst = max(sample["outbox_bytes"] for sample in samples)
    rows.append(("most bytes in outboxes", "", str(worst), "", None))
    rows.append(("descriptors left over at the end", "", str(left_over), "", left_over <= 0))
    totals = run["totals"]
    for key in ("lost", "duplicated", "out_of_order"):
        rows.append((f"publications {key.replace('_', ' ')}", "", str(totals[key]), "", totals[key] == 0))
    gone = sum(totals["disconnects"].values())
    rows.append(("talking clients that were closed", "", str(gone), "", gone == 0))
    latency = run["latencies"]["delivery"]
    rows.append(("delivery p99", "", f"{latency['p99_ns'] / 1e6:.1f} ms", "", None))
    rows.append(("histograms, one a second", "", str(intervals), "", intervals >= seconds * 0.95))
    whole = sum(count for kind, count in lives.items() if "failed" not in kind and "left out" not in kind)
    rows.append(("lives that ran to their end", "", str(whole), "", whole > 0))
    failed = sum(lives.values()) - whole
    rows.append(("lives met by something else", "", str(failed), "", failed <= whole * 0.001))
    return rows


def show(rows):
    print(ROW.format("", "first third", "last third", "", ""))
    for what, first, last, difference, good in rows:
        verdict = "" if good is None else "ok" if good else "NOT MET"
        print(ROW.format(what, first, last, difference, verdict))
    return all(good is not False for *_, good in rows)


def soak(args):
    seconds = args.minutes * 60
    warmup = min(args.warmup, seconds / 3)
    out = pathlib.Path(args.out)
    out.mkdir(parents=True, exist_ok=True)
    files = {kind: str(out / f"soak.{kind}") for kind in ("json", "hlog", "csv")}
    flags = ["--outbox-bytes", "64KiB", "--message-bytes", "16KiB", "--send-buffer-bytes", "16KiB"]
    flags += ["--write-timeout", "5s", "--ping-interval", "10s", "--shards", "1"]
    with Server(flags, args.server_core) as server:
        time.sleep(1)
        descriptors = server.descriptors()
        exports = [part for kind, path in files.items() for part in (f"--{kind}", path)]
        load = ["-c", str(args.clients), "-r", f"{args.rate}/s", "--size", "512", "-d", f"{seconds:.0f}s"]
        bench = [BENCH, "fanout", f"ws://{server.address}/ws?channel=busy", *load, "--warmup", "2s", "-q", *exports]
        bench += ["--core", args.core]
        churn = [sys.executable, "scripts/churn.py", server.address, "--lives", str(args.lives)]
        churn += ["--seconds", str(seconds)]
        with contextlib.ExitStack() as stack:
            started = {
                "bench": subprocess.Popen(bench, stdout=subprocess.DEVNULL),
                "churn": subprocess.Popen(churn, stdout=subprocess.PIPE, text=True),
            }
            for process in started.values():
                stack.callback(process.kill)
            samples = watch(server, seconds - 2, {"server": server.process, **started})
            lives = json.loads(started["churn"].communicate(timeout=120)[0])
            started["bench"].wait(120)
        left_over = settled(server, descriptors)
        ended = server.process.poll()
    (out / "soak-samples.json").write_text(json.dumps({"samples": samples, "lives": lives}, indent=1))
    if ended is not None:
        sys.exit(f"soak: the server ended with {ended}")
    with open(files["json"], encoding="utf-8") as file:
        run = json.load(file)
    today = datetime.date.today().isoformat()
    print(
        f"{today}, {args.minutes:g} minutes, {args.clients} talking clients at {args.rate}/s, "
        f"{args.lives:g} lives/s; the first {warmup:.0f} s left out"
    )
    steady = [sample for sample in samples if sample["at_s"] >= warmup]
    good = show(judge(steady, left_over, run, lives, intervals_of(files["hlog"]), seconds))
    for kind, count in sorted(lives.items()):
        print(f"  {count:>8} {kind}")
    print(f"histograms and samples: {out}/soak.hlog, soak.csv, soak.json, soak-samples.json")
    return 0 if good else 1


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=30, help="how long (default 30)")
    parser.add_argument("--warmup", type=float, default=180, help="seconds left out, a third at most (default 180)")
    parser.add_argument("--clients", type=int, default=1000, help="clients that stay (default 1000)")
    parser.add_argument("--rate", type=int, default=20, help="publications a second to all of them (default 20)")
    parser.add_argument("--lives", type=float, default=40, help="lives begun a second (default 40)")
    parser.add_argument("--server-core", default="0")
    parser.add_argument("--core", default="1", help="the generator's core (default 1)")
    parser.add_argument("--out", default="out", help="where files go (default out)")
    sys.exit(soak(parser.parse_args()))


if __name__ == "__main__":
    main()
