"""A server process on a core of its own, and runs of the generator against it."""

import contextlib
import json
import os
import socket
import subprocess
import sys
import tempfile
import time

BENCH = os.environ.get("STENTOR_BENCH_BINARY", "target/release/stentor-bench")

# The cores of the server and of the generator.
SERVER_CORE, GENERATOR_CORE = "0", "1"

# Exit codes of the generator that leave a record: valid, and not valid. A figure of CPU time stays right where
# only a latency is doubtful, so that the faults are shown beside the figure.
WITH_RECORD = (0, 4)

START_TIME_MAX_S = 10
SETTLE_TIME_MAX_S = 10
RUN_TIME_MAX_S = 300


def cpu_seconds(pid):
    """Returns the CPU time of all threads of a process."""
    total = 0
    for thread in os.listdir(f"/proc/{pid}/task"):
        # A thread may end in between.
        with contextlib.suppress(FileNotFoundError), open(f"/proc/{pid}/task/{thread}/schedstat") as file:
            total += int(file.read().split()[0])
    return total / 1e9


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Server:
    """A pinned server process on a free port. `PORT` in its command stands for the port."""

    def __init__(self, command, cores=SERVER_CORE):
        self.port = free_port()
        words = [word.replace("PORT", str(self.port)) for word in command]
        self.child = subprocess.Popen(
            ["taskset", "-c", cores, *words], stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL
        )
        deadline = time.monotonic() + START_TIME_MAX_S
        while time.monotonic() < deadline:
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", self.port)) == 0:
                    return
            time.sleep(0.02)
        self.__exit__()
        sys.exit(f"figures: {words[0]} does not listen")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.child.kill()
        self.child.wait()

    def measure(self, load, path="/ws", core=GENERATOR_CORE):
        """Runs one load against the server and returns its record, once the server sleeps again."""
        with tempfile.TemporaryDirectory() as folder:
            file_name = os.path.join(folder, "run.json")
            command = ["taskset", "-c", core, BENCH, "figure", load[0], f"ws://127.0.0.1:{self.port}{path}", *load[1:]]
            command += ["--server-pid", str(self.child.pid), "--json", file_name, "--quiet"]
            done = subprocess.run(command, capture_output=True, text=True, timeout=RUN_TIME_MAX_S)
            if done.returncode not in WITH_RECORD:
                sys.exit(f"figures: {' '.join(command)}: {done.stderr.strip()}")
            with open(file_name) as file:
                record = json.load(file)
        self.settle()
        return record

    def settle(self):
        """Waits until the server sleeps: the clients of a run leave after it, on the core that the other server uses."""
        deadline = time.monotonic() + SETTLE_TIME_MAX_S
        before = cpu_seconds(self.child.pid)
        while time.monotonic() < deadline:
            time.sleep(0.1)
            after = cpu_seconds(self.child.pid)
            if after - before < 0.001:
                return
            before = after


def stentor(command, flags=("--ping-interval", "0"), shards=1, admin="off"):
    """Starts a Stentor binary, or any server whose command names PORT and then says all itself."""
    cores = SERVER_CORE if shards == 1 else f"{SERVER_CORE},{GENERATOR_CORE}"
    if not any("PORT" in word for word in command):
        command = [*command, "--listen", "127.0.0.1:PORT", "--admin", admin]
        command += ["--cores", cores, "--shards", str(shards), *flags]
    return Server(command, cores)


def bare_loop(flags=()):
    """Starts the bare loop."""
    return Server([BENCH, "raw", "--listen", "127.0.0.1:PORT", *flags])
