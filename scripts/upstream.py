"""Runs the tests of a client library, as its authors wrote them, against the real server."""

import argparse
import json
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path

from upstreamlib import pusher

# The tests of centrifuge-js name this address.
ADDRESS = ("127.0.0.1", 8000)
READY_TIMEOUT_S = 20
SUITE_TIMEOUT_S = 600


class Suite:
    """A library: its repository, the commit that was looked at, and what of its tests a server is needed for."""

    def __init__(self, repository, commit, settings, files):
        self.repository, self.commit, self.settings, self.files = repository, commit, settings, files


# The counterpart of the library's own centrifugo_test.json. Maps and shared polls are kinds of subscriptions that Stentor does not have.
CENTRIFUGE_JS = Suite(
    "https://github.com/centrifugal/centrifuge-js",
    "c9e8678",
    """
listen = "127.0.0.1:8000"
admin = "off"
public_api = true
api_key = "test-api-key"
allowed_origins = "*"
on_duplicate_user = "allow"
token_hmac_secret = "secret"
[channels]
history-size = 100
history-ttl = "300s"
recovery = true
presence = true
join-leave = true
[[namespace]]
name = "recovery"
history-size = 100
recovery = true
[[namespace]]
name = "smallhistory"
history-size = 2
recovery = true
[[namespace]]
name = "delta"
history-size = 100
recovery = true
delta = "fossil"
""",
    {
        "src/centrifuge.test.ts": "",
        "src/recovery.test.ts": "^(?!map)",
        "src/getstate.test.ts": "",
        "src/delta.test.ts": "^(?!map)",
        "src/centrifuge.protobuf.test.ts": "",
        "src/utils.test.ts": "",
        "src/compaction.test.ts": "",
    },
)
SUITES = ("centrifuge-js", "pusher-js")


class Skipped(Exception):
    """The suite cannot be had here."""


def main():
    parser = argparse.ArgumentParser(prog="scripts/upstream.sh", description=__doc__)
    parser.add_argument("suite", choices=SUITES)
    parser.add_argument("--from", dest="source", metavar="REPOSITORY", help="a checkout, a clone, or an address that git reads")
    parser.add_argument("--server", default="target/debug/stentor", metavar="BINARY", help="the server to try")
    parser.add_argument("--keep", metavar="FOLDER", help="where the library is put and left; an earlier run's is used again")
    asked = parser.parse_args()
    server = Path(asked.server).resolve()
    with tempfile.TemporaryDirectory() as folder:
        place = Path(asked.keep or Path(folder) / asked.suite)
        try:
            return try_pusher(place, asked.source, server) if asked.suite == "pusher-js" else try_centrifuge(place, asked.source, server)
        except Skipped as why:
            print(f"skipped: {why}")
            return 0


def try_centrifuge(place, source, server):
    suite = CENTRIFUGE_JS
    prepare(place, source or suite.repository, suite.commit)
    with serving(server, suite.settings, ADDRESS):
        return report({name: run(place, name, names) for name, names in suite.files.items()})


def try_pusher(place, source, server):
    prepare(place, source or pusher.REPOSITORY, pusher.COMMIT, pusher.thin_out)
    pusher.point(place)
    with serving(server, pusher.settings(place, server), ("127.0.0.1", pusher.PORT)):
        return report(pusher.run(place))


def prepare(place, source, commit, change=lambda place: None):
    """Puts the library at a place, with what its tests need, behind a change of what that is.

    Raises Skipped if it cannot be had."""
    for program in ("node", "npm", "git"):
        if shutil.which(program) is None:
            raise Skipped(f"{program} is not installed")
    if (place / "node_modules").exists():
        return
    place.parent.mkdir(parents=True, exist_ok=True)
    attempt(["git", "clone", "--quiet", source, str(place)], f"{source} cannot be cloned")
    if call(["git", "-C", str(place), "checkout", "--quiet", commit]).returncode != 0:
        print(f"the repository lacks {commit}: its newest commit is tried")
    change(place)
    install = ["npm", "install", "--legacy-peer-deps", "--ignore-scripts", "--no-audit", "--no-fund", "--silent"]
    attempt(install, "npm cannot install what the tests need", cwd=place)


def call(command, **options):
    environment = {"stdin": subprocess.DEVNULL, "capture_output": True, "text": True, "check": False}
    return subprocess.run(command, **environment, **options)


def attempt(command, why, **options):
    done = call(command, **options)
    if done.returncode != 0:
        last = done.stderr.strip().splitlines()[-1:] or ["no word of why"]
        raise Skipped(f"{why}: {last[0]}")


@contextmanager
def serving(server, settings, address):
    """A server at the address that the tests name."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "stentor.toml"
        file.write_text(settings)
        log = open(Path(folder) / "log", "w+")
        with subprocess.Popen([server, "serve", "--config", file], stdout=log, stderr=log) as child:
            try:
                await_ready(child, log, address)
                yield
            finally:
                child.terminate()


def await_ready(child, log, address):
    deadline = time.monotonic() + READY_TIMEOUT_S
    while time.monotonic() < deadline and child.poll() is None:
        with socket.socket() as probe:
            if probe.connect_ex(address) == 0 and child.poll() is None:
                return
        time.sleep(0.05)
    log.seek(0)
    sys.exit(f"the server does not serve {address[0]}:{address[1]}: {log.read().strip()}")


def run(place, name, names):
    """Returns the tests of one file as jest lists them, or the words of its end if it has none."""
    command = ["npx", "jest", name, "--runInBand", "--forceExit", "--json"]
    try:
        done = call(command + (["-t", names] if names else []), cwd=place, timeout=SUITE_TIMEOUT_S)
    except subprocess.TimeoutExpired:
        return f"no end after {SUITE_TIMEOUT_S} s"
    try:
        files = json.loads(done.stdout)["testResults"]
    except (ValueError, KeyError):
        return (done.stderr.strip().splitlines() or ["no answer"])[-1]
    return [test for file in files for test in file["assertionResults"]] or files[0]["message"].strip()


def report(found):
    """Prints the counts of each file and the names of tests that failed. Returns the exit code."""
    print("| file | passed | failed | not asked for |\n| --- | --- | --- | --- |")
    failed = []
    for name, tests in found.items():
        if isinstance(tests, str):
            print(f"| {name} | - | - | - |")
            failed.append(f"{name}: {tests}")
            continue
        by = {status: [test["fullName"] for test in tests if test["status"] == status] for status in ("passed", "failed")}
        rest = len(tests) - len(by["passed"]) - len(by["failed"])
        print(f"| {name} | {len(by['passed'])} | {len(by['failed'])} | {rest} |")
        failed += [f"{name}: {test}" for test in by["failed"]]
    for line in failed:
        print(f"failed: {line}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
