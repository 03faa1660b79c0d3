"""Processes: a server on cores of its own, the generator on the others, and what both and the
kernel use meanwhile.
"""

import contextlib
import hashlib
import json
import os
import signal
import socket
import subprocess
import tempfile
import time
import urllib.error
import urllib.request

from . import host
from .units import Nonsense

# How often memory and waiting are looked at while a step runs.
LOOK_S = 0.1

# The generator holds this many clients a thread without being slower than one shard.
THREADS_MAX = 16


class Failed(Exception):
    """A step that came to nothing, in words."""


class Layout:
    """Which cores the shards have and which the generator."""

    def __init__(self, shards, allowed=None):
        cores = sorted(os.sched_getaffinity(0) if allowed is None else allowed)
        if shards > len(cores):
            raise Nonsense(f"{shards} shards asked for, {len(cores)} cores allowed to this process")
        self.server = cores[:shards]
        # Without a core of its own the generator shares: its steps then say so themselves.
        self.generator = cores[shards:][: min(2 * shards, THREADS_MAX)] or cores


def free_port():
    """A port that nobody had a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def end_all():
    """Kills every process that this one has started and waits for it. Processes can be left when a
    stop interrupts their start or their end.
    """
    left = []
    # Some kernels are built without this file.
    with contextlib.suppress(FileNotFoundError):
        with open(f"/proc/self/task/{os.getpid()}/children", encoding="ascii") as file:
            left = [int(word) for word in file.read().split()]
    for pid in left:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    for pid in left:
        # A child that has ended is a zombie until its parent waits for it, and stays one if the
        # parent of orphans waits for nobody.
        with contextlib.suppress(ChildProcessError):
            os.waitpid(pid, 0)


def digest(path):
    """What tells one build from another."""
    with open(path, "rb") as file:
        return hashlib.sha256(file.read()).hexdigest()[:12]


class Target:
    """A server that is there already."""

    def __init__(self, url, pid=None, admin=None):
        self.url, self.pid, self.admin = url, pid, admin

    def __enter__(self):
        return self

    def __exit__(self, *_):
        pass

    def counters(self):
        """The server's own counters, summed over shards; None if it has none to show."""
        if self.admin is None:
            return None
        try:
            with urllib.request.urlopen(f"http://{self.admin}/api/stats", timeout=10) as response:
                return json.load(response)["total"]
        except (OSError, ValueError, KeyError) as error:
            raise Failed(f"http://{self.admin}/api/stats: {error}") from None


class Server(Target):
    """Stentor on free ports, pinned to the first cores."""

    def __init__(self, binary, layout, flags=()):
        port, admin = free_port(), free_port()
        super().__init__(f"ws://127.0.0.1:{port}/ws", admin=f"127.0.0.1:{admin}")
        cores = ",".join(map(str, layout.server))
        command = [binary, "--listen", f"127.0.0.1:{port}", "--admin", self.admin, "--cores", cores]
        command += ["--shards", str(len(layout.server)), *flags]
        self.child = subprocess.Popen(
            ["taskset", "-c", cores, *command],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.pid = self.child.pid
        try:
            self._wait_for({port, admin})
        except BaseException:
            self.__exit__()
            raise

    def _wait_for(self, ports):
        deadline = time.monotonic() + 10
        while time.monotonic() < deadline and self.child.poll() is None:
            for port in list(ports):
                with socket.socket() as probe:
                    if probe.connect_ex(("127.0.0.1", port)) == 0:
                        ports.remove(port)
            if not ports:
                return
            time.sleep(0.01)
        self.child.kill()
        words = self.child.stderr.read().strip().splitlines()
        raise Failed(f"the server does not listen: {words[-1] if words else 'it says nothing'}")

    def __exit__(self, *_):
        self.child.kill()
        self.child.communicate()


def resident_bytes(pid):
    """Resident memory of a process; None if it cannot be seen."""
    with contextlib.suppress(OSError):
        with open(f"/proc/{pid}/status", encoding="utf-8") as file:
            for line in file:
                if line.startswith("VmRSS:"):
                    return int(line.split()[1]) * 1024
    return None


def waited_s(pid):
    """Seconds that a process's threads were ready to run and something else ran; None if the kernel
    does not say.
    """
    total = 0
    with contextlib.suppress(OSError, IndexError):
        for thread in os.listdir(f"/proc/{pid}/task"):
            with contextlib.suppress(FileNotFoundError, ProcessLookupError):
                with open(f"/proc/{pid}/task/{thread}/schedstat", encoding="ascii") as file:
                    total += int(file.read().split()[1])
        return total / 1e9
    return None


class Watch:
    """Peaks of memory, and how long the processes had to wait for a core."""

    def __init__(self, target):
        self.pid = target.pid
        self.kernel_before, self.pages_before = host.kernel_bytes(), host.tcp_pages()
        self.resident_before = self.pid and resident_bytes(self.pid)
        self.server_before = self.pid and waited_s(self.pid)
        self.began = time.monotonic()
        self.kernel, self.pages, self.resident, self.generator = 0, 0, 0, {}

    def look(self, generators=()):
        """Once in a while."""
        if self.kernel_before is not None:
            self.kernel = max(self.kernel, host.kernel_bytes() - self.kernel_before)
            self.pages = max(self.pages, host.tcp_pages() - self.pages_before)
        if self.pid:
            self.resident = max(self.resident, resident_bytes(self.pid) or 0)
        for child in generators:
            self.generator[child.pid] = max(
                self.generator.get(child.pid, 0), waited_s(child.pid) or 0
            )

    def memory(self):
        """What was seen: kernel memory is that of both ends of every connection."""
        return {
            "rss_bytes": self.resident or None,
            "rss_before_bytes": self.resident_before,
            "kernel_bytes": self.kernel or None,
            "tcp_pages": self.pages,
        }

    def waited(self):
        """Shares of the time for which the server and the generator waited for a core."""
        took = max(time.monotonic() - self.began, 1e-3)
        server = waited_s(self.pid) if self.pid else None
        known = None not in (server, self.server_before)
        return {
            "server": (server - self.server_before) / took if known else None,
            "generator": max(self.generator.values(), default=0) / took,
        }


class Bench:
    """The generator."""

    def __init__(self, binary, warm_up_s=1.5):
        self.binary, self.warm_up_s = binary, warm_up_s

    def command(self, step, target, layout, channel, file):
        """The command line of one generator of a step."""
        clients, rate = step.clients // step.channels, step.rate / step.channels
        url = target.url
        if step.channels > 1:
            url += ("&" if "?" in url else "?") + f"channel=c{channel}"
        words = [self.binary, step.kind, url, "-c", str(clients), "-q", "--json", file]
        threads = min(len(layout.generator), clients) if step.channels == 1 else 1
        words += ["--threads", str(threads)]
        for place in range(len(layout.generator)):
            # Each channel's generator begins on another core.
            words += ["--core", str(layout.generator[(place + channel) % len(layout.generator)])]
        if target.pid:
            words += ["--server-pid", str(target.pid)]
        if step.kind == "fanout":
            words += [
                "-r",
                f"{rate:g}/s",
                "--size",
                str(step.bytes),
                "-d",
                f"{step.seconds * 1000:.0f}ms",
                "--warmup",
                f"{self.warm_up_s * 1000:.0f}ms",
            ]
        elif step.kind == "idle":
            words += ["-d", f"{step.seconds * 1000:.0f}ms"]
        else:
            words += ["--rounds", "2", "--hold", f"{step.seconds * 500:.0f}ms"]
            words += ["--ramp", f"{step.ramp:g}/s"] if step.ramp else []
        return words

    def run(self, step, target, layout, watch):
        """One step, a generator for each channel: the runs' records."""
        with tempfile.TemporaryDirectory() as folder:
            files = [os.path.join(folder, f"{channel}.json") for channel in range(step.channels)]
            children = []
            try:
                for channel, file in enumerate(files):
                    command = self.command(step, target, layout, channel, file)
                    children.append(
                        subprocess.Popen(
                            command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
                        )
                    )
                self._wait(step, children, watch)
            finally:
                for child in children:
                    child.kill()
                words = [child.communicate()[1].strip() for child in children]
            return [
                self._read(file, child, said) for file, child, said in zip(files, children, words)
            ]

    def _wait(self, step, children, watch):
        deadline = time.monotonic() + 3 * step.expected_s + 60
        while any(child.poll() is None for child in children):
            watch.look(children)
            if time.monotonic() > deadline:
                raise Failed("the generator does not end")
            time.sleep(LOOK_S)

    @staticmethod
    def _read(file, child, said):
        try:
            with open(file, encoding="utf-8") as text:
                return json.load(text)
        except (OSError, ValueError):
            last = said.splitlines()[-1] if said else f"it ended with {child.returncode}"
            raise Failed(f"the generator: {last.removeprefix('stentor-bench: ')}") from None
