"""Puts Stentor, the bare loop and the installed peers of bench/peers under the same load, and prints one Markdown table.

Each server runs alone and pinned to one core, the generator on the other; every round has a fresh process for the load and
another for memory. Within a round all servers take their turn, and the next round begins with another one: a machine that is
slow for a while is slow for all. A figure is the median of the rounds, with the smallest and the largest behind it. A run that
failed or lost messages is said to have done so in the last column.
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
from typing import NamedTuple

ROOT = pathlib.Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "bench" / "peers"))

import peers  # noqa: E402

BENCH = str(ROOT / "target/release/stentor-bench")
STENTOR = str(ROOT / "target/release/stentor")

# Where the server runs and where the generator does.
SERVER_CORE, GENERATOR_CORE = "0", "1"

# If everybody talks, the load grows with the square: no more clients than this.
TALKERS_MAX = 200

# Beyond what was asked for: connecting, and a slow server's last round.
RUN_TIME_MAX_S = 120

EACH = "server_us_each"


class Entry(NamedTuple):
    """A server that is measured."""

    id: str
    name: str
    version: str
    command: list
    path: str = "/ws"
    notes: str = ""


class Column(NamedTuple):
    """One figure of the table."""

    scenario: str
    key: str
    title: str
    digits: int
    unit: float = 1


COLUMNS = [
    Column("fanout", EACH, "one publishes, µs CPU per delivery", 2),
    Column("fanout", "per_second", "1,000 deliveries/s", 0, 1000),
    Column("all", EACH, "all publish, µs CPU per delivery", 2),
    Column("all", "per_second", "1,000 deliveries/s", 0, 1000),
    Column("idle", "private_bytes_each", "private bytes per idle client", 0),
]


def said(*command):
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True).stdout.strip()


def our_entries():
    commit = said("git", "describe", "--always", "--dirty")
    flags = ["--admin", "off", "--cores", SERVER_CORE, "--shards", "1", "--ping-interval", "0"]
    stentor = [STENTOR, "--listen", "127.0.0.1:PORT", *flags]
    bare = [BENCH, "raw", "--listen", "127.0.0.1:PORT"]
    return [
        Entry("stentor", "Stentor", f"{said(STENTOR, '--version')}, {commit}", stentor),
        Entry("raw", "bare send(2) loop", f"{said(BENCH, '--version')}, {commit}", bare),
    ]


def measure(entry, server, scenario, clients, seconds):
    """What the generator found."""
    command = ["taskset", "-c", GENERATOR_CORE, BENCH, "figure", scenario, "--server", f"127.0.0.1:{server.port}"]
    command += ["--path", entry.path, "--pid", str(server.pid), "-c", str(clients), "-d", str(seconds)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=RUN_TIME_MAX_S + 4 * seconds)
    except subprocess.TimeoutExpired as error:
        raise peers.Failed(f"took longer than {error.timeout:g} s") from None
    if done.returncode != 0:
        ended = "" if server.child.poll() is None else f"; the server ended: {server.last_words()}"
        raise peers.Failed(done.stderr.strip().removeprefix("stentor-bench: ") + ended)
    result = json.loads(done.stdout)
    if result["count"] == 0:
        # The closed loop waits for ever for what was lost in its warm-up, which is not part of its count.
        raise peers.Failed("nothing was delivered, as messages were lost before the measured time")
    return result


class Comparison:
    """What the options say, who takes part, and what was found: by server and scenario, one result a round."""

    def __init__(self, options, entries):
        self.options, self.entries = options, entries
        self.runs = {entry.id: {"fanout": [], "all": [], "idle": []} for entry in entries}

    def run(self):
        for number in range(self.options.rounds):
            first = number % len(self.entries)
            for entry in self.entries[first:] + self.entries[:first]:
                print(f"compare: round {number + 1} of {self.options.rounds}, {entry.id}", file=sys.stderr)
                clients = self.options.clients
                # Memory first of its own process: a heap that was used for something else tells nothing.
                self.serve(entry, {"idle": self.options.idle_clients})
                self.serve(entry, {"fanout": clients, "all": min(clients, TALKERS_MAX)})

    def serve(self, entry, scenarios):
        """Starts a server, and measures it in these scenarios with as many clients."""
        left = list(scenarios)
        try:
            with peers.Server(entry.command, SERVER_CORE) as server:
                while left:
                    self.found(entry, left.pop(0), scenarios, server)
        except peers.Failed as error:
            print(f"compare: {entry.id}: {error}", file=sys.stderr)
            # One that never ran has failed in all; one that did not stop is only told of.
            for scenario in left:
                self.runs[entry.id][scenario].append({"error": str(error)})

    def found(self, entry, scenario, scenarios, server):
        try:
            result = measure(entry, server, scenario, scenarios[scenario], self.options.seconds)
        except peers.Failed as error:
            print(f"compare: {entry.id} {scenario}: {error}", file=sys.stderr)
            result = {"error": str(error)}
        self.runs[entry.id][scenario].append({"clients": scenarios[scenario], **result})

    def figure(self, entry, column):
        """Median, smallest and largest of the rounds that came to an end, if any did."""
        runs = self.runs[entry.id][column.scenario]
        values = sorted(run[column.key] for run in runs if "error" not in run)
        return (statistics.median(values), values[0], values[-1]) if values else None

    def faults(self, entry):
        """What failed or was lost, in words; empty if nothing was."""
        words = []
        for scenario, runs in self.runs[entry.id].items():
            errors = [run["error"] for run in runs if "error" in run]
            losses = [run["lost"] for run in runs if run.get("lost")]
            if errors:
                words.append(f"{scenario} failed {len(errors)} of {len(runs)}: {errors[0]}")
            if losses:
                words.append(f"{scenario} lost {sum(losses)} in {len(losses)} of {len(runs)}")
        return "; ".join(words)

    def row(self, entry):
        cells = [f"{entry.name} ({entry.version})"]
        for column in COLUMNS:
            figure = self.figure(entry, column)
            if figure is None:
                cells.append("failed")
            else:
                median, smallest, largest = (f"{value / column.unit:,.{column.digits}f}" for value in figure)
                cells.append(f"{median}, {smallest}..{largest}")
        return [*cells, self.faults(entry) or "0"]


def print_row(cells):
    print("| " + " | ".join(cell.replace("|", "/").replace("\n", " ") for cell in cells) + " |")


def print_table(comparison, host, absent):
    options = comparison.options
    now = datetime.date.today()
    title = f"{now.day} {now:%B %Y}, Linux {host['kernel']}, {host['cpu']}, {host['cores']} cores; "
    title += f"{options.clients:,} clients, {min(options.clients, TALKERS_MAX):,} if all publish, "
    title += f"{options.idle_clients:,} idle; median, min..max of `{shlex.join(command_line())}`"
    print_row([title, *(column.title for column in COLUMNS), "lost or failed"])
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
            figures.setdefault(column.scenario, {})[column.key] = values
        servers.append({
            **{key: getattr(entry, key) for key in ("id", "name", "version", "path", "notes")},
            "figures": figures,
            "faults": comparison.faults(entry),
            "runs": comparison.runs[entry.id],
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
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(found, indent=1, ensure_ascii=False) + "\n")


def taking_part(chosen, install):
    """The servers that can be measured, and the others with the reason why not."""
    entries, absent = our_entries(), []
    for peer in chosen:
        reason = ""
        if install:
            try:
                peer.install()
            except (subprocess.CalledProcessError, OSError) as error:
                reason = f"installing it failed: {error}"
        version = peer.version()
        if version is None:
            reason = reason or f"not installed (bench/peers/{peer.id}/install.sh)"
        reason = reason or peer.undriven
        if reason:
            absent.append({"id": peer.id, "name": peer.name, "version": version, "reason": reason})
        else:
            entries.append(Entry(peer.id, peer.name, version, peer.command(), peer.path, peer.notes))
    return entries, absent


def main():
    parser = argparse.ArgumentParser(prog="scripts/compare.sh", description=__doc__.splitlines()[0])
    parser.add_argument("peers", nargs="*", metavar="PEER", help="a folder of bench/peers; all if none is named")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=2.0, help="of each run")
    parser.add_argument("--clients", type=int, default=1000, help=f"{TALKERS_MAX} at most where all publish")
    parser.add_argument("--idle-clients", type=int, default=5000, help="heaps grow in steps: many, for memory by client")
    parser.add_argument("--install", action="store_true", help="install the peers first")
    parser.add_argument("--out", default="out/compare.json", help="where the results go as JSON")
    options = parser.parse_args()
    if min(options.rounds, options.clients, options.idle_clients) < 1 or options.seconds <= 0:
        parser.error("rounds, seconds and clients must be positive")
    entries, absent = taking_part(peers.chosen(options.peers, parser.error), options.install)
    host = host_of()
    comparison = Comparison(options, entries)
    comparison.run()
    print_table(comparison, host, absent)
    write(comparison, host, absent)


main()
