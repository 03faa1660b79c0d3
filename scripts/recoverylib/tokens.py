"""What a token adds to the server's CPU for a connect."""

import json
import os
import statistics
import subprocess
import sys
import tempfile

from figurelib.server import Server
from figurelib.table import per_connect

TOKENS = os.path.join(os.path.dirname(os.path.abspath(__file__)), "../../tests/clients/tokens.py")
PYTHON = os.path.join(os.path.dirname(os.path.abspath(__file__)), "../../.venv/bin/python")
GOALS_US = {"HS256": 5, "ES256": 150}


def flags(folder, kind):
    """Returns the server's flags for a kind of token. All tokens are of one user."""
    keys = {
        "none": [],
        "HS256": ["--token-hmac-secret-file", os.path.join(folder, "secret")],
        "ES256": ["--token-jwks", os.path.join(folder, "jwks.json")],
    }
    return [*keys[kind], "--on-duplicate-user", "allow", "--ping-interval", "0", "--cores", "0", "--shards", "1"]


def run(asked):
    """Returns whether both kinds cost no more than their goals."""
    costs = {"none": [], "HS256": [], "ES256": []}
    with tempfile.TemporaryDirectory() as folder:
        made = subprocess.run([PYTHON, TOKENS, folder], stdout=subprocess.PIPE, text=True)
        if made.returncode != 0:
            sys.exit("recovery: no tokens were made: scripts/setup.sh installs what makes them")
        tokens = json.loads(made.stdout)
        for _ in range(asked.rounds):
            for kind, found in costs.items():
                with Server([asked.server, "--listen", "127.0.0.1:PORT", "--admin", "off", *flags(folder, kind)]) as server:
                    load = ["accept", "-c", str(asked.clients)]
                    load += [] if kind == "none" else ["-H", f"Authorization: Bearer {tokens[kind]}"]
                    record = server.measure(load)
                found.append(per_connect(record))
    plain = statistics.median(costs["none"])
    print(f"| CPU of the server for a connect, medians of {asked.rounds} rounds | found | beyond a plain one | goal |")
    print("| --- | --- | --- | --- |")
    print(f"| without a token | {plain:.1f} µs | | |")
    good = True
    for kind, goal in GOALS_US.items():
        beyond = statistics.median(costs[kind]) - plain
        good &= beyond <= goal
        print(f"| {kind} | {plain + beyond:.1f} µs | {beyond:.1f} µs | {goal} µs |")
    return good
