"""The peers as their folders describe them: what they are, whether they are there, and one that runs."""
import json
import os
import pathlib
import socket
import subprocess
import tempfile
import time

ROOT = pathlib.Path(__file__).parent

START_TIME_MAX_S = 10
STOP_TIME_MAX_S = 5


class Peer:
    """A folder with peer.json, install.sh and start.sh.

    peer.json says: `name`; `path` of the endpoint; `protocol` of what is in the frames, `text` if a frame is a message
    and nothing else; `tls`, if start.sh takes a certificate and its key behind the port; `flags` by which the generator speaks it; the `message` that it publishes; `version`, a shell
    command that fails where the peer is not installed; `notes` for the reader of a comparison.
    """

    def __init__(self, folder):
        settings = json.loads((folder / "peer.json").read_text())
        self.id, self.folder = folder.name, folder
        self.name, self.path, self.protocol = settings["name"], settings["path"], settings["protocol"]
        self.speaks_tls = settings["tls"]
        self.flags, self.message, self.notes = settings["flags"], settings["message"], settings["notes"]
        self.version_command = settings["version"]

    def version(self):
        """Versions of all that matters, or None where the peer is not installed."""
        done = subprocess.run(["sh", "-c", self.version_command], cwd=self.folder, capture_output=True, text=True)
        lines = [line.strip() for line in done.stdout.splitlines()]
        return ", ".join(lines) if done.returncode == 0 else None

    def install(self):
        subprocess.run([self.folder / "install.sh"], check=True, stdout=2)

    def command(self, *certificate):
        """The command that starts it; with the files of a certificate and its key it speaks TLS."""
        return [str(self.folder / "start.sh"), "PORT", *certificate]


def all_peers():
    return [Peer(file.parent) for file in sorted(ROOT.glob("*/peer.json"))]


def chosen(names, error):
    """The peers of these names, or all if there are none."""
    peers = {peer.id: peer for peer in all_peers()}
    for name in names:
        if name not in peers:
            error(f"no peer {name}; there are {', '.join(peers)}")
    return [peers[name] for name in names] or list(peers.values())


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Failed(Exception):
    """A server or a run that did not do what it should; says what happened."""


class Server:
    """A server process on a port of its own, which the word PORT of its command stands for."""

    def __init__(self, command, core=None):
        self.port = free_port()
        words = [word.replace("PORT", str(self.port)) for word in command]
        pinned = [] if core is None else ["taskset", "-c", core]
        self.errors = tempfile.TemporaryFile()
        # Every word up to the server's own execs the next one, so the process id is the server's.
        self.child = subprocess.Popen([*pinned, *words], stdout=subprocess.DEVNULL, stderr=self.errors)
        self.pid = self.child.pid

    def __enter__(self):
        try:
            self._wait()
        except BaseException:
            self.__exit__()
            raise
        return self

    def _wait(self):
        """Until it accepts."""
        deadline = time.monotonic() + START_TIME_MAX_S
        while time.monotonic() < deadline:
            if self.child.poll() is not None:
                raise Failed(f"ended at its start with {self.child.returncode}: {self.last_words()}")
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", self.port)) == 0:
                    return
            time.sleep(0.02)
        raise Failed(f"does not listen after {START_TIME_MAX_S} s")

    def last_words(self):
        size = os.fstat(self.errors.fileno()).st_size
        lines = os.pread(self.errors.fileno(), 4096, max(0, size - 4096)).decode(errors="replace").split("\n")
        return next((line for line in reversed(lines) if line.strip()), "it says nothing")

    def __exit__(self, *_):
        self.child.terminate()
        try:
            self.child.wait(STOP_TIME_MAX_S)
        except subprocess.TimeoutExpired:
            self.child.kill()
            self.child.wait()
            raise Failed(f"did not end within {STOP_TIME_MAX_S} s of SIGTERM") from None
        finally:
            self.errors.close()
