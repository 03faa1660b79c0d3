"""Connections that are cut at random for a while: everybody hears every message once and in order."""

import json
import os
import subprocess

from figurelib.server import GENERATOR_CORE, Server

CLIENTS = os.path.join(os.path.dirname(os.path.abspath(__file__)), "../../tests/clients/cut_for.mjs")


def run(asked):
    """Returns whether all messages came once and in order."""
    command = [asked.server, "--listen", "127.0.0.1:PORT", "--admin", "off", "--cores", "0", "--shards", "1"]
    command += ["--recovery", "--history", "2000", "--history-bytes", "16MiB"]
    with Server(command) as server:
        numbers = [asked.clients, asked.seconds, asked.rate, asked.seed]
        words = ["taskset", "-c", GENERATOR_CORE, "node", CLIENTS, f"ws://127.0.0.1:{server.port}", *map(str, numbers)]
        done = subprocess.run(words, stdout=subprocess.PIPE, text=True)
    if not done.stdout:
        return False
    found = json.loads(done.stdout)
    share = 100 * (found["due"] - found["lost"]) / found["due"]
    print(f"| {found['clients']} clients, {asked.rate} messages a second for {asked.seconds} s | found | goal |")
    print("| --- | --- | --- |")
    print(f"| connections cut, each every 2 s on average | {found['cuts']} | |")
    print(f"| returns of clients | {found['returns']} | |")
    print(f"| messages delivered | {share:.4f} % of {found['due']} | 100 % |")
    print(f"| messages doubled | {found['doubled']} | 0 |")
    print(f"| returns that recovered nothing | {found['unrecovered']} | 0 |")
    print(f"| clients that heard each message once and in order | {found['good']} | {found['clients']} |")
    return done.returncode == 0
