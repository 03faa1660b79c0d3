"""A real Prometheus on a real server: it reads the metrics, loads the rules, and answers every query.

Usage: try.py PATH_TO_STENTOR     (scripts/prometheus.sh calls it; standard library only)
"""
import json
import math
import pathlib
import re
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.parse
import urllib.request

HERE = pathlib.Path(__file__).resolve().parent
DASHBOARD = HERE.parent / "grafana" / "stentor.json"
PATIENCE_S = 60
# A range that holds several of this trial's scrapes.
WINDOW = "10s"


class Failed(Exception):
    """A line for people."""


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def get(url):
    with urllib.request.urlopen(url, timeout=10) as answer:
        return answer.read().decode()


def eventually(what, found, patience_s=PATIENCE_S):
    """Polls until something is there, and returns it."""
    deadline = time.monotonic() + patience_s
    last = None
    while time.monotonic() < deadline:
        try:
            if value := found():
                return value
        except (OSError, urllib.error.URLError, KeyError, IndexError) as error:
            last = error
        time.sleep(0.2)
    raise Failed(f"never: {what}" + (f" ({last})" if last else ""))


def load(admin, until):
    """Publishes until it is told to stop, each time under a key of its own and once more."""
    number = 0
    while not until.wait(0.05):
        number += 1
        for _ in range(2):
            body = {"channel": "lobby", "data": number, "idempotency_key": str(number)}
            request = urllib.request.Request(f"http://{admin}/api/publish", data=json.dumps(body).encode())
            try:
                urllib.request.urlopen(request, timeout=10).read()
            except OSError:
                return


def expressions():
    """Every query of the dashboard and of the rules, with where it stands."""
    dashboard = json.loads(DASHBOARD.read_text())
    for panel in dashboard["panels"]:
        for target in panel["targets"]:
            yield f"panel {panel['title']!r}", target["expr"]
    for annotation in dashboard["annotations"]["list"]:
        yield f"annotation {annotation['name']!r}", annotation["expr"]


def filled_in(expression):
    """Grafana's variables as Grafana would write them."""
    return expression.replace("$__rate_interval", WINDOW).replace("$instance", ".*")


class Prometheus:
    def __init__(self, port):
        self.base = f"http://127.0.0.1:{port}/api/v1"

    def ask(self, path, **query):
        url = f"{self.base}/{path}" + ("?" + urllib.parse.urlencode(query) if query else "")
        try:
            answer = json.loads(get(url))
        except urllib.error.HTTPError as error:
            raise Failed(f"{path} {query}: {error.read().decode()}") from None
        if answer["status"] != "success":
            raise Failed(f"{path} {query}: {answer}")
        return answer["data"]

    def query(self, expression):
        return self.ask("query", query=expression)["result"]


def check(prometheus, metadata, names):
    targets = eventually(
        "the target is up",
        lambda: [t for t in prometheus.ask("targets")["activeTargets"] if t["health"] == "up"],
    )
    print(f"prometheus: reads {targets[0]['scrapeUrl']}")

    groups = eventually(
        "the rules are evaluated",
        lambda: [
            group
            for group in prometheus.ask("rules")["groups"]
            if all(rule["health"] != "unknown" for rule in group["rules"])
        ],
    )
    rules = [rule for group in groups for rule in group["rules"]]
    bad = [rule for rule in rules if rule["health"] != "ok"]
    if bad:
        raise Failed(f"rules that fail: {bad}")
    firing = [rule["name"] for rule in rules if rule["state"] == "firing"]
    if firing:
        raise Failed(f"a server at peace sets off {firing}")
    print(f"prometheus: evaluates {len(rules)} rules, and none is set off")

    quantile = "histogram_quantile(0.99, sum by (le) (rate(stentor_fanout_seconds_bucket[10s])))"

    def number():
        values = [float(one["value"][1]) for one in prometheus.query(quantile)]
        return [value for value in values if math.isfinite(value) and value > 0]

    print(f"prometheus: the p99 of the fan-out is {eventually('a p99 that is a number', number)[0]:.6f} s")

    count, empty = 0, []
    for where, expression in expressions():
        found = prometheus.query(filled_in(expression))
        count += 1
        # Metrics of what is not configured here have no samples.
        is_there = any(name in names for name in re.findall(r"\b(?:stentor|process)_\w+|\bup\b", expression))
        if not found and is_there and "annotation" not in where:
            empty.append(f"{where}: {expression}")
    if empty:
        raise Failed("queries without an answer:\n" + "\n".join(empty))
    print(f"prometheus: answers {count} queries of the dashboard")

    told = prometheus.ask("metadata")
    lacks = [name for name in metadata if not any(entry["help"] for entry in told.get(name, []))]
    if lacks:
        raise Failed(f"families that Prometheus knows no help of: {lacks}")
    print(f"prometheus: knows type and help of {len(metadata)} families")


def main(stentor):
    listen, admin, port = free_port(), f"127.0.0.1:{free_port()}", free_port()
    started, stop = [], threading.Event()
    with tempfile.TemporaryDirectory() as folder:
        try:
            command = [stentor, "--listen", f"127.0.0.1:{listen}", "--admin", admin, "--drain-spread", "0"]
            started.append(subprocess.Popen(command, stderr=subprocess.DEVNULL))
            text = eventually("the server answers", lambda: get(f"http://{admin}/metrics"))
            checked = subprocess.run(["promtool", "check", "metrics"], input=text, text=True, capture_output=True)
            if checked.returncode or checked.stdout or checked.stderr:
                raise Failed(f"promtool check metrics: {checked.stdout}{checked.stderr}")
            print("prometheus: promtool has nothing to say of the metrics")

            url = f"ws://127.0.0.1:{listen}"
            listener = [stentor, "sub", "lobby", "--url", f"{url}/ws"]
            started.append(subprocess.Popen(listener, stdout=subprocess.DEVNULL))
            threading.Thread(target=load, args=(admin, stop), daemon=True).start()

            written = (HERE / "prometheus.yml").read_text()
            written = written.replace("127.0.0.1:9002", admin).replace("15s", "1s")
            config = pathlib.Path(folder) / "prometheus.yml"
            config.write_text(written.replace("alerts.yml", str(HERE / "alerts.yml")))
            command = [
                "prometheus",
                f"--config.file={config}",
                f"--storage.tsdb.path={folder}/data",
                f"--web.listen-address=127.0.0.1:{port}",
                "--log.level=error",
            ]
            started.append(subprocess.Popen(command))
            eventually("Prometheus is ready", lambda: get(f"http://127.0.0.1:{port}/-/ready"))
            families = re.findall(r"^# TYPE (\S+)", text, re.M)
            # OpenMetrics, which Prometheus asks for, names counters without their suffix.
            prometheus = Prometheus(port)
            names = set(re.findall(r"^([a-z_]+)[{ ]", text, re.M)) | {"up"}
            check(prometheus, [re.sub(r"_total$", "", name) for name in families], names)
            started[0].terminate()
            eventually(
                "the alert of a server that is gone",
                lambda: "StentorDown" in [one["labels"]["alertname"] for one in prometheus.ask("alerts")["alerts"]],
            )
            print("prometheus: misses the server when it has gone")
        finally:
            stop.set()
            for process in reversed(started):
                process.terminate()
            for process in started:
                process.wait()
    print("prometheus: all is well")


if __name__ == "__main__":
    if "--help" in sys.argv or "-h" in sys.argv:
        print(__doc__)
        sys.exit()
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    try:
        main(sys.argv[1])
    except Failed as why:
        sys.exit(f"prometheus: {why}")
