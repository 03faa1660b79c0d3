"""Clients that are cut at once come back for what they missed, beside a channel that nothing happens to."""

import multiprocessing
import os
import selectors
import statistics
import time

from figurelib.server import GENERATOR_CORE, SERVER_CORE, Server, cpu_seconds, free_port

from .sockets import ask, connect

# How long the undisturbed channel is looked at before the storm.
CALM_S = 3

# A masked text of 8 bytes: the mask is zero, so that the bytes are sent as they are.
PING = b"\x81\x88\x00\x00\x00\x00round it"
ECHO_BYTES = 10


def publish(admin, count, size):
    """Returns the last position."""
    for number in range(count):
        result = ask(admin, "publish", channel="room", data=f"{number:08d}".ljust(size, "x"))
    return result["epoch"], result["offset"]


def come_back(port, since, clients, total):
    """Returns the seconds until everybody has as many bytes as are expected, and what they got."""
    selector = selectors.DefaultSelector()
    got, began, done = {}, time.monotonic(), 0
    for _ in range(clients):
        sock = connect(port, "room", f"&since={since[0]}:{since[1]}")
        got[sock] = bytearray()
        selector.register(sock, selectors.EVENT_READ)
    deadline = began + 60
    while done < clients and time.monotonic() < deadline:
        for key, _ in selector.select(1):
            piece = key.fileobj.recv(1 << 16)
            got[key.fileobj] += piece
            body = bytes(got[key.fileobj]).partition(b"\r\n\r\n")[2]
            if not piece or len(body) >= total:
                done += 1
                selector.unregister(key.fileobj)
    return time.monotonic() - began, got


def look(port, stop, results):
    """Measures round trips of one client alone in its channel until it is told to stop: their ends and their times."""
    # It has the server's core and goes first. On the other one, the kernel's own work for the storm's connects keeps
    # it from running for 3 ms, also if they go to another program; here it waits for the server's turn only.
    os.sched_setaffinity(0, {int(SERVER_CORE)})
    try:
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1))
    except PermissionError:
        pass
    sock = connect(port, "calm")
    sock.setblocking(True)
    sock.recv(4096)
    trips = []
    while not stop.is_set():
        began = time.monotonic()
        sock.sendall(PING)
        left = ECHO_BYTES
        while left > 0:
            left -= len(sock.recv(left))
        trips.append((time.monotonic(), time.monotonic() - began))
        time.sleep(0.002)
    results.send(trips)


def p99_ms(times):
    """Returns the p99 of round trips in milliseconds."""
    times = sorted(times)
    return times[min(len(times) - 1, len(times) * 99 // 100)] * 1000 if times else float("nan")


def judge(got, missed, size):
    """Returns the number of clients that did not get everything once and in order."""
    header = 2 if size < 126 else 4
    expected = [f"{number:08d}".encode() for number in range(missed)]
    wrong = 0
    for stream in got.values():
        head, _, body = bytes(stream).partition(b"\r\n\r\n")
        frames = [body[at + header:at + header + 8] for at in range(0, len(body), size + header)]
        wrong += frames != expected or b"Stentor-Recovered: true" not in head
    return wrong


def one(asked):
    """Returns the seconds until all had recovered, the server's CPU seconds for it, the clients with anything wrong,
    and the times of the undisturbed round trips before the storm and beside it."""
    admin = free_port()
    command = [asked.server, "--listen", "127.0.0.1:PORT", "--admin", f"127.0.0.1:{admin}", "--cores", "0"]
    command += ["--shards", "1", "--history", str(asked.missed), "--recovery", "--history-bytes", "64MiB"]
    with Server(command) as server:
        os.sched_setaffinity(0, {int(GENERATOR_CORE)})
        clients = [connect(server.port, "room") for _ in range(asked.clients)]
        for sock in clients:
            sock.setblocking(True)
            sock.recv(4096)
        since = publish(admin, 1, asked.bytes)
        for sock in clients:
            sock.close()
        publish(admin, asked.missed, asked.bytes)
        stop, (ours, theirs) = multiprocessing.Event(), multiprocessing.Pipe()
        watcher = multiprocessing.Process(target=look, args=(server.port, stop, theirs), daemon=True)
        watcher.start()
        calm = time.monotonic()
        time.sleep(CALM_S)
        before, began = cpu_seconds(server.child.pid), time.monotonic()
        header = 2 if asked.bytes < 126 else 4
        seconds, got = come_back(server.port, since, asked.clients, asked.missed * (asked.bytes + header))
        ended, cpu = time.monotonic(), cpu_seconds(server.child.pid) - before
        stop.set()
        trips = ours.recv()
        watcher.join()
    quiet = [took for at, took in trips if calm <= at <= began]
    beside = [took for at, took in trips if began <= at <= ended]
    return seconds, cpu, judge(got, asked.missed, asked.bytes), quiet, beside


def run(asked):
    """Returns whether everybody got everything."""
    rounds = [one(asked) for _ in range(asked.rounds)]
    seconds = statistics.median(each[0] for each in rounds)
    cpu = statistics.median(each[1] for each in rounds)
    wrong = sum(each[2] for each in rounds)
    # One storm has some hundred round trips, so that its p99 is its third worst or so: all rounds count together.
    quiet, beside = ([took for each in rounds for took in each[at]] for at in (3, 4))
    times = p99_ms(beside) / p99_ms(quiet)
    print(f"| {asked.clients} clients, each missed {asked.missed} messages of {asked.bytes} bytes | found | goal |")
    print("| --- | --- | --- |")
    print(f"| all have recovered, median of {asked.rounds} | {seconds:.2f} s ({cpu:.2f} s of the server's CPU) | 3 s |")
    print(f"| clients with anything lost, doubled or out of order | {wrong} | 0 |")
    print(f"| p99 of an undisturbed channel before it | {p99_ms(quiet):.2f} ms of {len(quiet)} round trips | |")
    print(f"| the same beside it | {p99_ms(beside):.2f} ms of {len(beside)}: {times:.1f} times | 2 times |")
    return wrong == 0
