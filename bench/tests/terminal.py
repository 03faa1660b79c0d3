"""The tool on a terminal of its own, and what is left of that terminal afterwards.

A broadcast server runs here, so that nothing but the tool is needed. Every case starts the tool with
a pseudo terminal as its controlling one, reads what it draws, presses keys or sends signals, and
holds the terminal's modes against those of before.

python terminal.py TOOL CASE
"""

import asyncio
import fcntl
import os
import pty
import re
import signal
import struct
import subprocess
import sys
import termios
import threading
import time

from websockets.asyncio.server import broadcast, serve

DEADLINE_S = 60
TAKEN, BACK = b"\x1b[?1049h", b"\x1b[?1049l"


def server():
    """Starts a server that passes everything on to everyone; gives its port."""
    ready, clients = threading.Event(), set()
    port = []

    async def serve_one(socket):
        clients.add(socket)
        try:
            async for message in socket:
                broadcast(clients, message)
        except Exception:
            pass  # the tool closes without a goodbye
        finally:
            clients.discard(socket)

    async def run():
        async with serve(serve_one, "127.0.0.1", 0, compression=None) as listening:
            port.append(listening.sockets[0].getsockname()[1])
            ready.set()
            await asyncio.Future()

    threading.Thread(target=lambda: asyncio.run(run()), daemon=True).start()
    ready.wait(DEADLINE_S)
    return port[0]


class Page:
    """What is to be seen: as much of a terminal as the tool makes use of."""

    PIECE = re.compile(rb"\x1b\[([?0-9;]*)([A-Za-z])|\x1b.|([\x00-\x1f])|([ -\x7e\x80-\xff]+)")

    def __init__(self, columns, rows):
        self.columns, self.rows = columns, rows
        self.clear()

    def clear(self):
        self.cells = [[" "] * self.columns for _ in range(self.rows)]
        self.row = self.column = 0

    def draw(self, text):
        for match in self.PIECE.finditer(text):
            numbers, command, control, words = match.groups()
            if command == b"H":
                row, column = (int(number) for number in numbers.split(b";"))
                self.row, self.column = row - 1, column - 1
            elif command == b"h" and numbers == b"?1049":
                self.clear()
            elif command in (b"J", b"K") and numbers in (b"2", b""):
                self.clear()
            elif control == b"\r":
                self.column = 0
            elif words:
                for letter in words.decode(errors="replace"):
                    if self.row < self.rows and self.column < self.columns:
                        self.cells[self.row][self.column] = letter
                    self.column += 1

    def text(self):
        return "\n".join("".join(row).rstrip() for row in self.cells)


class Terminal:
    """The tool on a terminal."""

    def __init__(self, tool, arguments, size=(80, 24), environment=None, **streams):
        self.ours, theirs = pty.openpty()
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", size[1], size[0], 0, 0))
        self.kept = theirs
        self.before = termios.tcgetattr(theirs)
        self.page, self.text = Page(*size), b""
        url = f"ws://127.0.0.1:{server()}/"
        environment = {**os.environ, "TERM": "xterm-256color", **(environment or {})}
        environment.pop("NO_COLOR", None)
        streams = {"stdin": theirs, "stdout": theirs, "stderr": theirs, **streams}

        def own_terminal():
            os.setsid()
            fcntl.ioctl(theirs, termios.TIOCSCTTY, 0)

        self.tool = subprocess.Popen(
            [tool, arguments[0], url, *arguments[1:]],
            env=environment, preexec_fn=own_terminal, pass_fds=[theirs], **streams,
        )
        os.set_blocking(self.ours, False)

    def read(self):
        """Takes what has been drawn since; says whether there was anything."""
        try:
            text = os.read(self.ours, 1 << 16)
        except BlockingIOError:
            return False
        self.text += text
        self.page.draw(text)
        return True

    def until(self, pattern):
        """Waits until something is to be seen."""
        end = time.monotonic() + DEADLINE_S
        while not re.search(pattern, self.page.text()):
            assert time.monotonic() < end, f"no {pattern} on\n{self.page.text()}"
            ended = self.tool.poll() is not None
            if not self.read():
                assert not ended, f"ended without {pattern} on\n{self.page.text()}\n{self.text!r}"
                time.sleep(0.02)

    def press(self, keys):
        os.write(self.ours, keys)

    def end(self):
        """Waits for the tool to end; gives its exit code and all that it wrote."""
        end = time.monotonic() + DEADLINE_S
        while self.tool.poll() is None:
            assert time.monotonic() < end, f"still running:\n{self.page.text()}"
            if not self.read():
                time.sleep(0.02)
        while self.read():
            pass
        text = self.text
        assert termios.tcgetattr(self.kept) == self.before, "the terminal's modes are others now"
        assert text.count(TAKEN) == text.count(BACK), "the screen is not given back"
        if TAKEN in text:
            assert text.rfind(b"\x1b[?25h") > text.rfind(b"\x1b[?25l"), "the cursor is hidden"
        return self.tool.returncode, text


def load(seconds, *more):
    return ["fanout", "-c", "10", "-r", "200/s", "-d", f"{seconds}s", "--warmup", "500ms", *more]


RUNS = r"whole run +[0-9.]+[nmµ]?s"


def view(tool):
    """The live view shows rates and percentiles, goes, and leaves the summary."""
    terminal = Terminal(tool, load(4))
    terminal.until("warm-up")
    terminal.until("(?s)measuring +[0-9] of 4 s.*[0-9,]+ deliveries/s  10 connected.*" + RUNS)
    for word in ["p50", "p99.9", "last second", "lost 0", "q ends the run", "disconnects 0", "█"]:
        assert word in terminal.page.text(), terminal.page.text()
    code, text = terminal.end()
    assert code in (0, 4), code
    drawn, summary = text.split(BACK)
    assert b"RESULTS  fanout" in summary and b"RESULTS" not in drawn


def small(tool):
    """A terminal of ten rows shows what matters."""
    terminal = Terminal(tool, load(3), size=(40, 10))
    terminal.until("run +[0-9.]+[nmµ]?s")
    for word in ["measuring", "deliveries/s", "p99", "lost 0", "generator", "disconnects"]:
        assert word in terminal.page.text(), terminal.page.text()
    code, text = terminal.end()
    assert code in (0, 4) and b"RESULTS" in text, code


def key(tool):
    """`q` ends the run early, with what there is."""
    terminal = Terminal(tool, load(3600))
    terminal.until(RUNS)
    terminal.press(b"q")
    code, text = terminal.end()
    assert code in (0, 4), code
    assert re.search(rb"[0-9.]+ of 3600 s", text.split(BACK)[1]), text


def control(tool):
    """So does Ctrl-C, also while the clients come."""
    terminal = Terminal(tool, ["fanout", "-c", "10", "--ramp", "1/m", "-d", "1h"])
    terminal.until("connecting +1 of 10 clients")
    terminal.press(b"\x03")
    code, text = terminal.end()
    assert code == 4 and b"9 of 10 clients could not connect: interrupted" in text, (code, text)


def signals(tool):
    """A signal ends the run, and a second one the process."""
    for first in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT):
        terminal = Terminal(tool, load(3600))
        terminal.until(RUNS)
        terminal.tool.send_signal(first)
        code, text = terminal.end()
        assert code in (0, 4) and b"RESULTS" in text.split(BACK)[1], (first, code)
    # With several threads it takes a while until all know that nothing more comes.
    for second in (lambda tool: tool.send_signal(signal.SIGTERM), None):
        terminal = Terminal(tool, load(3600, "--threads", "2"))
        terminal.until(RUNS)
        terminal.tool.send_signal(signal.SIGTERM)
        terminal.until("waiting for the last")
        if second:
            second(terminal.tool)
        else:
            terminal.press(b"\x03")
        code, text = terminal.end()
        assert code == 130 and b"RESULTS" not in text, (code, text)


def agents(tool):
    """What the threads of all agents show is one picture, and a key ends them all."""
    terminal = Terminal(tool, load(3600, "--agents", "2", "-P", "2", "--threads", "2"))
    terminal.until("(?s)measuring .* 10 connected.*" + RUNS)
    rate = re.search("([0-9,]+) deliveries/s", terminal.page.text())[1]
    assert 1000 < int(rate.replace(",", "")) < 3000, terminal.page.text()
    terminal.press(b"q")
    code, text = terminal.end()
    assert code in (0, 4) and b"2 agents" in text.split(BACK)[1], (code, text)
    terminal = Terminal(tool, ["idle", "-c", "10", "--ramp", "2/m", "--agents", "2"])
    terminal.until("connecting +2 of 10 clients")
    terminal.press(b"q")
    code, text = terminal.end()
    assert code == 4 and b"8 of 10 connects failed: interrupted" in text, (code, text)


def panic(tool):
    """A panic's message is on the screen that stays."""
    terminal = Terminal(tool, load(3600), environment={"STENTOR_BENCH_BREAK": "2"})
    code, text = terminal.end()
    drawn, after = text.split(BACK)
    assert b"measuring" in drawn and b"panicked" not in drawn, drawn
    assert b"told to panic" in after and code == 3, (code, after)


def unreachable(tool):
    """A run that fails leaves one line, and the terminal as it was."""
    terminal = Terminal(tool, ["fanout", "-c", "10", "--source-ip", "192.0.2.1"])
    code, text = terminal.end()
    assert code == 3 and text.count(b"\n") == 1 and b"stentor-bench: ws://" in text, (code, text)


def bar(tool):
    """`--no-tui` is one line, with rate, percentiles and losses."""
    terminal = Terminal(tool, load(4, "--no-tui"), size=(100, 24))
    time_ = "[0-9.]+ [nmµ]?s"
    terminal.until(f"measuring .* of 4 s  [0-9,]+ deliveries/s  p50 {time_}  p99 {time_}  lost 0")
    code, text = terminal.end()
    assert code in (0, 4) and TAKEN not in text and b"RESULTS" in text, code
    # The bar's line is cleared before anything else is written.
    assert re.search(rb"\x1b\[2K[^\x1b\n]*(\x1b\[1m)?\s*\xe2\x96\x88", text), text


def plain(tool):
    """Without a terminal lines; where no cursor moves too; and nothing for --quiet."""
    line = rb"(?m)^   1 s  [0-9,]+ deliveries/s  p50 [0-9.]+ \S+  p99 [0-9.]+ \S+  lost 0\r?$"
    terminal = Terminal(tool, load(3), stderr=subprocess.PIPE)
    told = terminal.tool.stderr.read()
    code, text = terminal.end()
    assert code in (0, 4) and TAKEN not in text and b"\x1b[" not in told, (code, text, told)
    assert re.search(line, told) and told.startswith(b"10 of 10 clients connected\n"), told
    terminal = Terminal(tool, load(2), environment={"TERM": "dumb"})
    code, text = terminal.end()
    assert re.search(line, text) and b"\x1b[2K" not in text and TAKEN not in text, text
    # Nobody can press keys here.
    terminal = Terminal(tool, load(2), stdin=subprocess.DEVNULL)
    code, text = terminal.end()
    assert TAKEN not in text and b"measuring" in text, text
    terminal = Terminal(tool, load(2, "--quiet"))
    code, text = terminal.end()
    assert text.startswith(b"  \x1b[1m\xe2\x96\x88 RESULTS"), text


if __name__ == "__main__":
    globals()[sys.argv[2]](sys.argv[1])
