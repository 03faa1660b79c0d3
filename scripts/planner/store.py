"""Steps on disk: one JSON each, in a folder for each host and build of the server.

A file is written beside its place and then moved there, so that a run that is killed leaves no half
of one.
"""

import json
import os
import pathlib
import re

from .units import Nonsense

SCHEMA = 1
NAME = re.compile(r"(?P<step>[a-z][-a-z0-9.]*)\.r(?P<repeat>[0-9]+)\.json")


LATENCY = ("count", "p50_ns", "p90_ns", "p99_ns", "p999_ns", "max_ns")
SECOND = ("at_s", "published", "deliveries", "server_cpu_share", "generator_cpu_share")
RUN = ("schema_version", "version", "began_unix_ms", "totals", "server", "generator", "faults")
COUNTERS = (
    "accepts",
    "messages_in",
    "deliveries",
    "bytes_out",
    "sends",
    "ticks",
    "tick_publications",
    "pings",
)


def strip(run):
    """A run's record without what a fit does not read: it would be a hundred times as long."""
    kept = {key: run[key] for key in RUN}
    kept["host"] = {key: run["host"][key] for key in ("load", "steal")}
    kept["latencies"] = {
        name: {key: latency[key] for key in LATENCY} for name, latency in run["latencies"].items()
    }
    kept["series"] = [{key: second[key] for key in SECOND} for second in run["series"]]
    return kept


def counted(before, after):
    """What the server counted meanwhile; None if it shows no counters."""
    if before is None or after is None:
        return None
    names = [f"{name}_total" for name in COUNTERS]
    return {name: after[name] - before[name] for name in names if name in before and name in after}


class Store:
    """The steps of one host and one build of the server."""

    def __init__(self, folder, host, server):
        self.folder = pathlib.Path(folder) / f"{host}-{server}"
        self.folder.mkdir(parents=True, exist_ok=True)

    def _write(self, name, value):
        path = self.folder / name
        beside = path.with_suffix(f".tmp{os.getpid()}")
        with open(beside, "w", encoding="utf-8") as file:
            json.dump(value, file, separators=(",", ":"), sort_keys=True)
            file.write("\n")
            file.flush()
            os.fsync(file.fileno())
        os.replace(beside, path)

    def keep_host(self, facts, limits, server):
        """What all steps here have in common."""
        self._write(
            "host.json", {"schema": SCHEMA, "host": facts, "limits": limits, "server": server}
        )

    def path(self, step, repeat):
        """Where a step is, or would be."""
        return self.folder / f"{step.name}.r{repeat}.json"

    def read(self, step, repeat):
        """A step that was run before; None if it was not."""
        path = self.path(step, repeat)
        return _read(path) if path.exists() else None

    def keep(self, step, repeat, record):
        """Keeps a step."""
        self._write(
            self.path(step, repeat).name,
            {"schema": SCHEMA, "step": step._asdict(), "repeat": repeat, **record},
        )

    def counts(self):
        """How often each step was run, by name."""
        found = {}
        for path in self.folder.iterdir():
            match = NAME.fullmatch(path.name)
            if match:
                found.setdefault(match["step"], set()).add(int(match["repeat"]))
        return {name: len(repeats) for name, repeats in found.items()}


def _read(path):
    try:
        with open(path, encoding="utf-8") as file:
            return json.load(file)
    except (OSError, ValueError) as error:
        raise Nonsense(f"{path}: {error}") from None


def groups(folder):
    """The folders of measurements in a folder, or it itself if it is one."""
    folder = pathlib.Path(folder)
    if not folder.is_dir():
        raise Nonsense(f"{folder}: nothing was measured yet; scripts/plan.sh measures")
    found = sorted(path.parent for path in [*folder.glob("host.json"), *folder.glob("*/host.json")])
    if not found:
        raise Nonsense(f"{folder}: no measurements in it; scripts/plan.sh measures")
    return found


def load(folder, group=None):
    """What the steps have in common, and the steps, of one host and build: the one named, or the
    newest.
    """
    found = groups(folder)
    chosen = [path for path in found if path.name == group] or found
    path = max(chosen, key=lambda one: (one / "host.json").stat().st_mtime)
    common = _read(path / "host.json")
    for key in ("schema", "host", "limits", "server"):
        if not isinstance(common, dict) or key not in common:
            raise Nonsense(f"{path / 'host.json'}: {key} is missing")
    if common["schema"] != SCHEMA:
        raise Nonsense(f"{path / 'host.json'}: schema {common['schema']}, and this reads {SCHEMA}")
    steps_file = path / "steps.jsonl"
    if steps_file.exists():
        return common, _lines(steps_file)
    files = sorted(file for file in path.iterdir() if NAME.fullmatch(file.name))
    return common, [(file.name, _read(file)) for file in files]


def _lines(path):
    found = []
    with open(path, encoding="utf-8") as file:
        for number, line in enumerate(file, 1):
            try:
                found.append((f"{path}:{number}", json.loads(line)))
            except ValueError as error:
                raise Nonsense(f"{path}:{number}: {error}") from None
    return found


def bundle(folder, into):
    """All steps of a folder in one file, a line each: what is committed as a sample."""
    common, records = load(folder)
    into = pathlib.Path(into)
    into.mkdir(parents=True, exist_ok=True)
    with open(into / "host.json", "w", encoding="utf-8") as file:
        json.dump(common, file, indent=1, sort_keys=True)
        file.write("\n")
    with open(into / "steps.jsonl", "w", encoding="utf-8") as file:
        for _, record in records:
            file.write(json.dumps(record, separators=(",", ":"), sort_keys=True) + "\n")
    return len(records)
