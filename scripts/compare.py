"""Puts Stentor, the bare loop and the installed peers of bench/peers under the same load: one Markdown table, one HTML page.

Each server runs alone and pinned to one core, the generator on the other; every round has a fresh process for the load and
another for memory. Within a round all servers take their turn, and the next round begins with another one: a machine that is
slow for a while is slow for all. A figure is the median of the rounds, with the smallest and the largest behind it. A run that
failed, lost messages or proves nothing is said to have done so in the last column; one that failed has no figures.
"""
import argparse
import datetime
import json
import os
import pathlib
import shlex
import statistics
import subprocess
import sys
import tempfile
from typing import NamedTuple

ROOT = pathlib.Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "bench" / "peers"))

import peers  # noqa: E402

BENCH = str(ROOT / "target/release/stentor-bench")
STENTOR = str(ROOT / "target/release/stentor")

# Where the server runs and where the generator does.
SERVER_CORE, GENERATOR_CORE = "0", "1"

# If everybody talks, the load grows with the square: no more clients than this, so that a run has many turns.
TALKERS_MAX = 100

# One run with all that is around it: connecting, and a slow server's last round.
RUN_TIME_MAX_S = 180

# What the generator ends with when a run was measured and proves nothing.
INVALID = 4

class Entry(NamedTuple):
    """A server that is measured."""

    id: str
    name: str
    version: str
    command: list
    path: str = "/ws"
    flags: list = []
    message: str = "$MSG"
    notes: str = ""


class Column(NamedTuple):
    """One figure of the table: where it is in a run's record, and how it is written."""

    scenario: str
    path: tuple
    title: str
    digits: int
    unit: float = 1


def each(scenario):
    return Column(scenario, ("server", "cpu_ns_per_delivery"), "µs CPU per delivery", 2, 1e3)


def per_second(scenario):
    return Column(scenario, ("totals", "deliveries_in_time"), "1,000 deliveries/s", 0, 1e3)


def delivery(percentile):
    return Column("paced", ("latencies", "delivery", f"p{percentile}_ns"), f"p{percentile} ms", 2, 1e6)


# By scenario: what is asked of the generator, and what the table calls it.
COLUMNS = [
    each("one"),
    per_second("one"),
    each("all"),
    per_second("all"),
    delivery(50),
    delivery(99),
    Column("idle", ("server", "private_bytes_per_client"), "private bytes per client", 0),
]
TITLES = {"one": "one publishes", "all": "all publish", "paced": "at {rate:g}/s", "idle": "idle"}


def said(*command):
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True).stdout.strip()


def our_entries(certificate):
    commit = said("git", "describe", "--always", "--dirty")
    flags = ["--admin", "off", "--cores", SERVER_CORE, "--shards", "1", "--ping-interval", "0"]
    stentor = [STENTOR, "--listen", "127.0.0.1:PORT", *flags]
    version = f"{said(STENTOR, '--version')}, {commit}"
    if certificate:
        # The bare loop speaks no TLS: there is nothing below a server that does.
        cert, key = certificate
        return [Entry("stentor", "Stentor", version, [*stentor, "--tls-cert", cert, "--tls-key", key])]
    bare = [BENCH, "raw", "--listen", "127.0.0.1:PORT"]
    return [
        Entry("stentor", "Stentor", version, stentor),
        Entry("raw", "bare send(2) loop", f"{said(BENCH, '--version')}, {commit}", bare),
    ]


def loads(options):
    """What is asked of the generator in each scenario."""
    load, time = ["--warmup", "500ms"], ["-d", f"{options.seconds:g}s"]
    return {
        "idle": ["idle", "-c", str(options.idle_clients), "-d", "1s"],
        "one": ["fanout", "-c", str(options.clients), "-w", "16", *load, *time],
        "all": ["fanout", *["-c", str(talkers(options)), "-P", str(talkers(options))], "-w", "1", *load, *time],
        "paced": ["fanout", "-c", str(options.clients), "-r", f"{options.rate:g}/s", *load, *time],
    }


def talkers(options):
    return min(options.clients, TALKERS_MAX)


def measure(entry, server, load, file, within_tls=False):
    """The record of one run, which is kept in a file."""
    command, *flags = load
    url = f"{'wss' if within_tls else 'ws'}://127.0.0.1:{server.port}{entry.path}"
    words = [BENCH, command, url, *flags, *entry.flags, *(["--insecure"] if within_tls else [])]
    if command == "fanout":
        words += ["--message", entry.message]
    words += ["--core", GENERATOR_CORE, "--server-pid", str(server.pid)]
    words += ["--quiet", "--label", entry.name, "--json", str(file)]
    # Nothing of the run before is taken for this one's.
    file.unlink(missing_ok=True)
    try:
        done = subprocess.run(words, capture_output=True, text=True, timeout=RUN_TIME_MAX_S)
    except subprocess.TimeoutExpired as error:
        raise peers.Failed(f"took longer than {error.timeout:g} s") from None
    if done.returncode not in (0, INVALID):
        ended = "" if server.child.poll() is None else f"; the server ended: {server.last_words()}"
        raise peers.Failed(done.stderr.strip().removeprefix("stentor-bench: ") + ended)
    return json.loads(file.read_text())


class Comparison:
    """What the options say, who takes part, and what was found: by server and scenario, one result a round."""

    def __init__(self, options, entries):
        self.options, self.entries, self.loads = options, entries, loads(options)
        self.runs = {entry.id: {scenario: [] for scenario in self.loads} for entry in entries}
        # The records, whole, beside what they come to.
        self.folder = pathlib.Path(options.out).with_suffix("")
        self.folder.mkdir(parents=True, exist_ok=True)

    def run(self):
        for number in range(self.options.rounds):
            first = number % len(self.entries)
            for entry in self.entries[first:] + self.entries[:first]:
                print(f"compare: round {number + 1} of {self.options.rounds}, {entry.id}", file=sys.stderr)
                # Memory of a process of its own: a heap that was used for something else tells nothing.
                self.serve(entry, ["idle"])
                self.serve(entry, ["paced", "one", "all"])

    def serve(self, entry, scenarios):
        """Starts a server, and measures it in these scenarios."""
        left = list(scenarios)
        try:
            with peers.Server(entry.command, SERVER_CORE) as server:
                while left:
                    self.found(entry, left.pop(0), server)
        except peers.Failed as error:
            print(f"compare: {entry.id}: {error}", file=sys.stderr)
            # One that never ran has failed in all; one that did not stop is only told of.
            for scenario in left:
                self.runs[entry.id][scenario].append({"error": str(error)})

    def found(self, entry, scenario, server):
        runs = self.runs[entry.id][scenario]
        file = self.folder / f"{entry.id}-{scenario}-{len(runs) + 1}.json"
        try:
            runs.append({"file": str(file), **measure(entry, server, self.loads[scenario], file, self.options.tls)})
        except peers.Failed as error:
            print(f"compare: {entry.id} {scenario}: {error}", file=sys.stderr)
            runs.append({"error": str(error)})

    def sorted_runs(self, entry, column):
        """The rounds that have the column's figure, with it, the smallest first."""
        runs = [run for run in self.runs[entry.id][column.scenario] if "error" not in run]
        found = [(figure_of(run, column), run) for run in runs]
        return sorted((pair for pair in found if pair[0] is not None), key=lambda pair: pair[0])

    def figure(self, entry, column):
        """Median, smallest and largest of the rounds that have the column's figure, if any has."""
        values = [value for value, _ in self.sorted_runs(entry, column)]
        return (statistics.median(values), values[0], values[-1]) if values else None

    def faults(self, entry):
        """What failed, was lost or proves nothing, in words; empty if nothing did."""
        words = []
        for scenario, runs in self.runs[entry.id].items():
            errors = [run["error"] for run in runs if "error" in run]
            losses = [run["totals"]["lost"] for run in runs if "error" not in run and run["totals"]["lost"]]
            doubts = [run["faults"][0]["what"] for run in runs if run.get("faults")]
            title = TITLES[scenario].format(rate=self.options.rate)
            if errors:
                words.append(f"{title}: failed {len(errors)} of {len(runs)}: {errors[0]}")
            if losses:
                words.append(f"{title}: lost {sum(losses)} in {len(losses)} of {len(runs)}")
            if doubts:
                words.append(f"{title}: {len(doubts)} of {len(runs)} prove nothing: {doubts[0]}")
        return "; ".join(words)

    def row(self, entry):
        cells = [f"{entry.name} ({entry.version})"]
        for column in COLUMNS:
            figure = self.figure(entry, column)
            if figure is None:
                runs = self.runs[entry.id][column.scenario]
                cells.append("failed" if all("error" in run for run in runs) else "not told")
            else:
                median, smallest, largest = (f"{value / column.unit:,.{column.digits}f}" for value in figure)
                cells.append(f"{median}, {smallest}..{largest}")
        return [*cells, self.faults(entry) or "0"]


def figure_of(run, column):
    value = run
    for key in column.path:
        value = value[key]
    per_second = column.path == ("totals", "deliveries_in_time")
    return value / run["totals"]["seconds"] if per_second else value


def print_row(cells):
    print("| " + " | ".join(cell.replace("|", "/").replace("\n", " ") for cell in cells) + " |")


def print_table(comparison, host, absent):
    options = comparison.options
    now = datetime.date.today()
    title = f"{now.day} {now:%B %Y}, Linux {host['kernel']}, {host['cpu']}, {host['cores']} cores; "
    title += f"{options.clients:,} clients, {talkers(options):,} if all publish, "
    title += f"{options.idle_clients:,} idle; median, min..max of `{shlex.join(command_line())}`"
    scenarios = {scenario: name.format(rate=options.rate) for scenario, name in TITLES.items()}
    heads = [f"{scenarios[column.scenario]}, {column.title}" for column in COLUMNS]
    print_row([title, *heads, "failed, lost or unproven"])
    print_row(["---"] * (len(COLUMNS) + 2))
    for entry in comparison.entries:
        print_row(comparison.row(entry))
    for peer in absent:
        name = f"{peer['name']} ({peer['version']})" if peer["version"] else peer["name"]
        print_row([name, f"not measured: {peer['reason']}", *[""] * len(COLUMNS)])


def command_line():
    return ["scripts/compare.sh", *sys.argv[1:]]


def host_of():
    with open("/proc/cpuinfo") as file:
        models = [line.split(":", 1)[1].strip() for line in file if line.startswith("model name")]
    return {
        "kernel": os.uname().release,
        "machine": os.uname().machine,
        "cpu": models[0] if models else os.uname().machine,
        "cores": os.cpu_count(),
    }


def write(comparison, host, absent):
    options = comparison.options
    servers = []
    for entry in comparison.entries:
        figures = {}
        for column in COLUMNS:
            figure = comparison.figure(entry, column)
            values = None if figure is None else dict(zip(("median", "min", "max"), figure))
            figures.setdefault(column.scenario, {})[".".join(column.path)] = values
        servers.append({
            **{key: getattr(entry, key) for key in ("id", "name", "version", "path", "notes")},
            "figures": figures,
            "faults": comparison.faults(entry),
            "runs": {scenario: [told(run) for run in runs] for scenario, runs in comparison.runs[entry.id].items()},
        })
    found = {
        "date": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
        "host": host,
        "command_line": command_line(),
        "options": vars(options),
        "servers": servers,
        "not_measured": absent,
    }
    path = pathlib.Path(options.out)
    path.write_text(json.dumps(found, indent=1, ensure_ascii=False) + "\n")


def told(run):
    """Where a run is kept, or why there is none."""
    return {key: run[key] for key in ("file", "error") if key in run}


def draw(comparison):
    """One page of the paced loads: of each server the run whose p99 is the median."""
    column = delivery(99)
    files = []
    for entry in comparison.entries:
        runs = comparison.sorted_runs(entry, column)
        if runs:
            files.append(runs[(len(runs) - 1) // 2][1]["file"])
    if not files:
        return
    page = pathlib.Path(comparison.options.out).with_suffix(".html")
    subprocess.run([BENCH, "report", *files, "-o", str(page)], check=True)
    print(f"compare: {page} has the latencies", file=sys.stderr)


def taking_part(chosen, install, certificate=()):
    """The servers that can be measured, and the others with the reason why not."""
    entries, absent = our_entries(certificate), []
    for peer in chosen:
        reason = "it speaks no TLS here" if certificate and not peer.speaks_tls else ""
        if install and not reason:
            try:
                peer.install()
            except (subprocess.CalledProcessError, OSError) as error:
                reason = f"installing it failed: {error}"
        version = peer.version()
        if version is None:
            reason = reason or f"not installed (bench/peers/{peer.id}/install.sh)"
        if reason:
            absent.append({"id": peer.id, "name": peer.name, "version": version, "reason": reason})
        else:
            speech = (peer.flags, peer.message)
            entries.append(Entry(peer.id, peer.name, version, peer.command(*certificate), peer.path, *speech, peer.notes))
    return entries, absent


def main():
    parser = argparse.ArgumentParser(prog="scripts/compare.sh", description=__doc__.splitlines()[0])
    parser.add_argument("peers", nargs="*", metavar="PEER", help="a folder of bench/peers; all if none is named")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=3.0, help="of each run")
    parser.add_argument("--clients", type=int, default=1000, help=f"{TALKERS_MAX} at most where all publish")
    parser.add_argument("--rate", type=float, default=50.0, help="messages a second, where latency is measured")
    parser.add_argument("--idle-clients", type=int, default=5000, help="heaps grow in steps: many, for memory by client")
    parser.add_argument("--tls", action="store_true", help="all of them within TLS, with a key of P-256")
    parser.add_argument("--install", action="store_true", help="install the peers first")
    parser.add_argument("--out", default="out/compare.json", help="where the results go as JSON; the page beside it")
    options = parser.parse_args()
    if min(options.rounds, options.clients, options.idle_clients) < 1 or min(options.seconds, options.rate) <= 0:
        parser.error("rounds, seconds, rate and clients must be positive")
    with tempfile.TemporaryDirectory() as folder:
        compare(options, peers.chosen(options.peers, parser.error), folder)


def compare(options, chosen, folder):
    certificate = ()
    if options.tls:
        subprocess.run([STENTOR, "dev-cert", "--dir", folder], check=True, stdout=subprocess.DEVNULL)
        certificate = [os.path.join(folder, name) for name in ("dev-cert.pem", "dev-key.pem")]
    entries, absent = taking_part(chosen, options.install, certificate)
    host = host_of()
    comparison = Comparison(options, entries)
    comparison.run()
    print_table(comparison, host, absent)
    write(comparison, host, absent)
    draw(comparison)


main()
