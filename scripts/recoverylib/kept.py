"""Memory of a kept message: the slope of the server's resident memory over the messages that it keeps."""

import os

from figurelib.server import Server, free_port

from .sockets import ask, total

CHANNELS = 100
LEVELS = 8
# A call publishes one message in each channel.
CALLS_A_LEVEL = 125


def resident_bytes(pid):
    with open(f"/proc/{pid}/statm", encoding="ascii") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def slope(points):
    """Returns the slope of a line by least squares."""
    xs, ys = zip(*points)
    x, y = sum(xs) / len(xs), sum(ys) / len(ys)
    return sum((a - x) * (b - y) for a, b in points) / sum((a - x) ** 2 for a in xs)


def run(asked):
    """Returns whether a message costs no more than the goal."""
    admin = free_port()
    command = [asked.server, "--listen", "127.0.0.1:PORT", "--admin", f"127.0.0.1:{admin}", "--cores", "0"]
    command += ["--shards", "1", "--history", "10000", "--history-bytes", "64MiB", "--history-total-bytes", "1GiB"]
    channels, data = [f"kept{number}" for number in range(CHANNELS)], "x" * asked.bytes
    points = []
    with Server([*command, "--history-ttl", "1h"]) as server:
        for _ in range(LEVELS):
            for _ in range(CALLS_A_LEVEL):
                ask(admin, "broadcast", channels=channels, data=data)
            points.append((total(admin)["history_publications"], resident_bytes(server.child.pid)))
        counted = total(admin)["history_bytes"] / points[-1][0]
    if points[-1][0] != CHANNELS * CALLS_A_LEVEL * LEVELS:
        print(f"recovery: only {points[-1][0]} messages are kept")
        return False
    # The first level has what a server needs once.
    cost = slope(points[1:])
    print(f"| a kept message of {asked.bytes} bytes | found | goal |")
    print("| --- | --- | --- |")
    print(f"| resident memory | {cost:.0f} bytes | 350 bytes |")
    print(f"| by the server's own count | {counted:.0f} bytes | |")
    return cost <= 350
