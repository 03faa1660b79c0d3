"""Runs the scenarios of stentor-bench against Stentor and the bare loop in turn, and prints medians and ratios.

A ratio is taken within each round, so that a machine that is slow for a while is slow for both; the median of the
rounds' ratios is the figure. CPU time is the scheduler's own count of the server process. The generator's results are
read as JSON. The other server of a pair sleeps while one is measured.
"""
import argparse
import contextlib
import json
import os
import shlex
import socket
import statistics
import subprocess
import sys
import time
import urllib.request
from typing import NamedTuple

BENCH = "target/release/stentor-bench"
SERVER = "target/release/stentor"

# Where the server runs and where the generator does.
SERVER_CORE, GENERATOR_CORE = "0", "1"


class Figure(NamedTuple):
    """What is compared: a scenario, its key, and what is asked of the median."""

    scenario: str
    args: list
    key: str
    unit: str
    ratio_max: float | None = None
    value_max: float | None = None
    flags: tuple = ("--ping-interval", "0")
    bare_flags: tuple = ()
    # Runs a round, where they are short.
    runs: int = 1


EACH = "server_us_each"
FIGURES = {
    "one-1k": Figure("fanout", ["-c", "1000"], EACH, "us/delivery", 1.10),
    "one-15k": Figure("fanout", ["-c", "15000"], EACH, "us/delivery", 1.10),
    "joined-1k": Figure("fanout", ["-c", "1000", "-w", "16"], EACH, "us/delivery", 1.15, bare_flags=("--joined",)),
    "joined-15k": Figure("fanout", ["-c", "15000", "-w", "16"], EACH, "us/delivery", 1.15, bare_flags=("--joined",)),
    "all-200": Figure("all", ["-c", "200"], EACH, "us/delivery", 0.19),
    "all-joined": Figure("all", ["-c", "200"], EACH, "us/delivery", bare_flags=("--joined",)),
    "accept": Figure("accept", ["-c", "15000"], EACH, "us/accept", 1.30, 12, runs=3),
    "latency": Figure("latency", ["-c", "1000", "-r", "20", "-d", "10"], "last_p99_us", "us-p99", 1.10),
    "ping": Figure(
        "ping",
        ["-c", "15000", "-d", "10"],
        EACH,
        "us/ping",
        value_max=10,
        flags=("--ping-interval", "5s"),
        bare_flags=("--ping-interval", "5"),
    ),
}
ROW = "{:<11} {:<12} {:>9} {:>9} {:>7} {:<14} {:<14} {}"


def cpu_seconds(pid):
    """CPU time of all threads of a process."""
    total = 0
    for thread in os.listdir(f"/proc/{pid}/task"):
        # A thread may end in between.
        with contextlib.suppress(FileNotFoundError), open(f"/proc/{pid}/task/{thread}/schedstat") as file:
            total += int(file.read().split()[0])
    return total / 1e9


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Server:
    """A server process, pinned, on a port of its own."""

    def __init__(self, command, cores=SERVER_CORE):
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
        self.__exit__()
        sys.exit(f"figures: {words[0]} does not listen")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.child.kill()
        self.child.wait()

    def measure(self, scenario, args, core=GENERATOR_CORE):
        """Runs one scenario against it, and leaves it when it sleeps again."""
        command = ["taskset", "-c", core, BENCH, "figure", scenario, "--server", f"127.0.0.1:{self.port}"]
        command += ["--pid", str(self.child.pid), *args]
        done = subprocess.run(command, capture_output=True, text=True, timeout=300)
        if done.returncode != 0:
            sys.exit(f"figures: {' '.join(command)}: {done.stderr.strip()}")
        self.settle()
        return json.loads(done.stdout)

    def settle(self):
        """The clients of a run leave after it: on the core that the other server is to have."""
        deadline = time.monotonic() + 10
        before = cpu_seconds(self.child.pid)
        while time.monotonic() < deadline:
            time.sleep(0.1)
            after = cpu_seconds(self.child.pid)
            if after - before < 0.001:
                return
            before = after


class Bench:
    """What the options say, and what was found."""

    def __init__(self, options):
        self.rounds, self.seconds = options.rounds, options.seconds
        self.command = shlex.split(options.server)
        self.results = []

    def server(self, *flags, shards=1, cores=SERVER_CORE, admin="off"):
        """The server that is measured. A command that names PORT is another kind of server and says all itself."""
        command = self.command
        if not any("PORT" in word for word in command):
            command = [*command, "--listen", "127.0.0.1:PORT", "--admin", admin]
            command += ["--cores", cores, "--shards", str(shards), *flags]
        return Server(command, cores)

    def found(self, name, **result):
        self.results.append({"figure": name, **result})

    def compare(self, name):
        figure = FIGURES[name]
        args = figure.args if "-d" in figure.args else [*figure.args, "-d", str(self.seconds)]
        resting = [0.0, 0.0]
        if figure.scenario == "ping":
            resting = self.resting(figure.args)
        bare_command = [BENCH, "raw", "--listen", "127.0.0.1:PORT", *figure.bare_flags]
        runs = []
        with self.server(*figure.flags) as ours, Server(bare_command) as bare:
            for number in range(self.rounds * figure.runs):
                # Each goes first as often as the other.
                order = (ours, bare) if number % 2 == 0 else (bare, ours)
                results = {server: server.measure(figure.scenario, args) for server in order}
                runs.append((results[ours], results[bare]))
        pairs = [
            tuple(value_of(result, figure.key, share) for result, share in zip(run, resting)) for run in runs
        ]
        ratios = sorted(ours / bare for ours, bare in pairs)
        value, beside = (statistics.median(column) for column in zip(*pairs))
        ratio = statistics.median(ratios)
        lost = sum(result["lost"] for run in runs for result in run)
        asked, met = [], lost == 0
        if figure.value_max is not None:
            asked.append(f"{figure.value_max:g} us")
        if figure.ratio_max is not None:
            asked.append(f"{figure.ratio_max:.2f} x")
            met = met and ratio <= figure.ratio_max
        elif figure.value_max is not None:
            met = met and value <= figure.value_max
        spread = f"{ratios[0]:.3f}..{ratios[-1]:.3f}"
        verdict = f"lost {lost}" if lost else "" if not asked else "ok" if met else "over"
        digits = 0 if value > 100 else 3
        value_text, beside_text = f"{value:.{digits}f}", f"{beside:.{digits}f}"
        row(name, figure.unit, value_text, beside_text, f"{ratio:.3f}", spread, ", ".join(asked), verdict)
        self.found(name, unit=figure.unit, ours=value, bare=beside, ratio=ratio, ratios=ratios, met=met, runs=runs)

    def resting(self, args):
        """The share of a core that as many clients cost while nobody pings: not the pings' cost."""
        shares = []
        clients = args[: args.index("-d")]
        bare_command = [BENCH, "raw", "--listen", "127.0.0.1:PORT"]
        with self.server("--ping-interval", "0") as ours, Server(bare_command) as bare:
            for server in (ours, bare):
                shares.append(server.measure("idle", [*clients, "-d", "3"])["cpu_share"])
        return shares

    def idle(self):
        """Private memory: a fresh server each time."""
        runs = []
        for _ in range(min(self.rounds, 3)):
            with self.server("--ping-interval", "0") as server:
                runs.append(server.measure("idle", ["-c", "15000", "-d", str(self.seconds)]))
        value = statistics.median(run["private_bytes_each"] for run in runs)
        share = statistics.median(run["cpu_share"] for run in runs) * 100
        verdict = ("ok" if value <= 900 else "over") + f"   {share:.3f} % of a core meanwhile"
        row("idle-15k", "bytes/client", f"{value:.0f}", "", "", "", "900, aim 500", verdict)
        self.found("idle-15k", bytes=value, cpu_share=share / 100, runs=runs)

    def asleep(self):
        """CPU of a server without clients."""
        with self.server(shards=2, cores="0,1") as server:
            time.sleep(1)
            before, began = cpu_seconds(server.child.pid), time.monotonic()
            time.sleep(self.seconds * 3)
            share = (cpu_seconds(server.child.pid) - before) / (time.monotonic() - began) * 100
        row("asleep", "% of a core", f"{share:.4f}", "", "", "", "0.1, 2 shards", "ok" if share < 0.1 else "over")
        self.found("asleep", share=share / 100)

    def cross(self):
        """From the read of a publication on one shard to its send on another, as the server's own histogram has it,
        beside the floor: a thread that wakes another by an eventfd. Both in turn."""
        both = "0,1"
        runs = []
        for _ in range(self.rounds):
            admin = free_port()
            with self.server("--ping-interval", "0", shards=2, cores=both, admin=f"127.0.0.1:{admin}") as server:
                # The generator may run anywhere: both cores are nearly idle.
                receipt = server.measure("cross", ["-d", str(self.seconds * 2)], core=both)
                with urllib.request.urlopen(f"http://127.0.0.1:{admin}/api/latency.hgrm") as response:
                    p50, p99 = quantiles_us(response.read().decode())
            wake = subprocess.run([BENCH, "figure", "wake", "-d", str(self.seconds * 2)], check=True, capture_output=True)
            runs.append({"p50_us": p50, "p99_us": p99, "receipt": receipt, "wake": json.loads(wake.stdout)})
        median = statistics.median
        p50, p99 = (median(run[key] for run in runs) for key in ("p50_us", "p99_us"))
        floor50, floor99 = (median(run["wake"][key] for run in runs) for key in ("p50_us", "p99_us"))
        ratios = sorted(run["p99_us"] / run["wake"]["p99_us"] for run in runs)
        lost = sum(run["receipt"]["lost"] for run in runs)
        verdict = f"lost {lost}" if lost else "ok" if p99 < 100 else "over"
        spread = f"{ratios[0]:.3f}..{ratios[-1]:.3f}"
        row("cross", "us-p99", f"{p99:.0f}", f"{floor99:.0f}", f"{median(ratios):.3f}", spread, "100 us", verdict)
        row("", "us-p50", f"{p50:.0f}", f"{floor50:.0f}", "", "", "", "")
        self.found("cross", p50_us=p50, p99_us=p99, floor_p50_us=floor50, floor_p99_us=floor99, ratios=ratios, runs=runs)


def value_of(result, key, resting):
    """A run's figure, less the share of a core that the server costs at rest."""
    value = result[key]
    if resting:
        value -= resting * result["seconds"] * 1e6 / result["count"]
    return value


def quantiles_us(hgrm):
    """p50 and p99 of a percentile file in milliseconds."""
    lines = (line.split() for line in hgrm.splitlines())
    rows = [(float(words[0]), float(words[1])) for words in lines if len(words) >= 3 and words[0][0].isdigit()]
    return tuple(next(ms * 1000 for ms, quantile in rows if quantile >= at) for at in (0.5, 0.99))


def row(*columns):
    print(ROW.format(*columns).rstrip(), flush=True)


def scenario_of(name):
    return FIGURES[name].scenario if name in FIGURES else name


def wanted(words, names, error):
    """The figures that words name: in full, by their beginning, or by their scenario."""
    chosen = []
    for word in words:
        fits = [name for name in names if name.startswith(word) or scenario_of(name) == word]
        if not fits:
            error(f"no figure {word}")
        chosen += [name for name in fits if name not in chosen]
    return chosen or names


def main():
    single = ["idle", "asleep", "cross"]
    names = [*FIGURES, *single]
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("figures", nargs="*", metavar="FIGURE", help=", ".join([*names, "or a scenario's name"]))
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=2.0, help="of each run")
    parser.add_argument("--server", default=SERVER, metavar="CMD", help="another build of Stentor, or with PORT any server")
    parser.add_argument("--out", default="out/figures.json", help="where the results go as JSON")
    options = parser.parse_args()
    if options.rounds < 1 or options.seconds <= 0:
        parser.error("rounds and seconds must be positive")
    chosen = wanted(options.figures, names, parser.error)
    bench = Bench(options)
    row("figure", "unit", "stentor", "bare", "ratio", "min..max", "at most", "")
    try:
        for name in chosen:
            if name in FIGURES:
                bench.compare(name)
            else:
                getattr(bench, name)()
    finally:
        os.makedirs(os.path.dirname(options.out) or ".", exist_ok=True)
        with open(options.out, "w") as file:
            found = {"kernel": os.uname().release, "cores": os.cpu_count(), "results": bench.results}
            json.dump(found, file, indent=1)


main()
