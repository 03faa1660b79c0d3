"""Runs the Autobahn cases against the real server, which echoes: one client at a time, alone in its channel.

Judged strictly: each case that applies must be OK, or informational where RFC 6455 leaves it open. Cases of sections that
--not-offered names must be unimplemented: 12 and 13, which are compression, unless it says otherwise. Exit 1 if a case is
anything else. The suites' own HTML reports stay in the output folder.

Compression is judged by the original suite: --original --not-offered "" --flag=--compression=on. kosoku 0.1.0 ends each of
these cases with an error of its own, before it connects.

With --tls the server speaks TLS. Neither suite does reliably, so that a relay stands in between: it opens and seals, and
passes on every byte and every end as it comes.
"""
import argparse
import asyncio
import collections
import json
import os
import pathlib
import shutil
import ssl
import subprocess
import sys
import tempfile
import threading

ROOT = pathlib.Path(__file__).resolve().parent.parent
CASES = 517
COMPRESSION = "12,13"

# One shard: an echo does not depend on where the channel's home is. The largest case sends 16 MiB in one message.
FLAGS = [
    *["--shards", "1", "--admin", "off", "--log-format", "json", "--text-ping=false"],
    *["--message-bytes", "16MiB", "--outbox-bytes", "64MiB"],
]

# The original needs Python 2.7, and lives in a folder of its own.
ORIGINAL = "autobahntestsuite==25.10.1"
ORIGINAL_HOME = ROOT / "target" / "autobahn"

RUN_TIME_MAX_S = 1800


def start(binary, flags):
    """Starts the server on a free port; gives the process and its address."""
    env = {name: value for name, value in os.environ.items() if not name.startswith("STENTOR_")}
    command = [binary, "serve", "--listen", "127.0.0.1:0", *FLAGS, *flags]
    server = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=env)
    for line in server.stderr:
        fields = json.loads(line)["fields"] if line.startswith("{") else {}
        if fields.get("message") == "ready":
            return server, fields["url"].split("://")[1].rstrip("/")
    sys.exit(f"conformance: the server did not start: exit {server.wait()}")


def run_kosoku(address, out):
    kosoku = pathlib.Path(sys.executable).parent / "kosoku"
    # It exits with 1 for the unimplemented cases: its index is judged instead.
    run([str(kosoku), "-m", "fuzzingclient", address, "-o", str(out)])


def run_original(address, out):
    python = python27()
    if python is None:
        sys.exit("conformance: no Python 2.7 is at hand for the original suite")
    if not (ORIGINAL_HOME / "autobahntestsuite").is_dir():
        pip = [python, "-m", "pip", "install", "-q", "--disable-pip-version-check"]
        subprocess.run([*pip, "--target", str(ORIGINAL_HOME), ORIGINAL], check=True)
    spec = out.parent / "original.json"
    server = {"agent": "stentor", "url": f"ws://{address}/ws"}
    spec.write_text(json.dumps({"outdir": str(out), "servers": [server], "cases": ["*"]}))
    # Its packages are found through .pth files, which only a site folder is looked through for.
    begin = f"import site; site.addsitedir({str(ORIGINAL_HOME)!r}); from autobahntestsuite import wstest; wstest.run()"
    run([python, "-c", begin, "-m", "fuzzingclient", "-s", str(spec)])


def python27():
    versions = pathlib.Path.home() / ".pyenv" / "versions"
    known = [*map(str, sorted(versions.glob("2.7*/bin/python2.7"))), shutil.which("python2.7")]
    works = (path for path in known if path and subprocess.run([path, "-c", ""]).returncode == 0)
    return next(works, None)


def run(command):
    result = subprocess.run(command, capture_output=True, text=True, timeout=RUN_TIME_MAX_S)
    if result.returncode not in (0, 1):
        told = (result.stdout + result.stderr)[-2000:]
        sys.exit(f"conformance: {command[0]} ended with {result.returncode}:\n{told}")


class Relay:
    """Takes plain connections, and passes each on within TLS."""

    def __init__(self, to, authority):
        self.host, port = to.split(":")
        self.port = int(port)
        self.context = ssl.create_default_context(cafile=authority)
        self.loop = asyncio.new_event_loop()
        server = self.loop.run_until_complete(asyncio.start_server(self.serve, "127.0.0.1", 0))
        self.address = "{}:{}".format(*server.sockets[0].getsockname())
        threading.Thread(target=self.loop.run_forever, daemon=True).start()

    async def serve(self, reader, writer):
        sealed = asyncio.open_connection(self.host, self.port, ssl=self.context, server_hostname="localhost")
        their_reader, their_writer = await sealed
        ways = [(reader, their_writer), (their_reader, writer)]
        tasks = [asyncio.create_task(self.carry(*way)) for way in ways]
        # The end of either side is that of the connection: TLS has no half of one.
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for one in (writer, their_writer):
            one.close()
        await asyncio.gather(*tasks)

    async def carry(self, reader, writer):
        try:
            while piece := await reader.read(1 << 16):
                writer.write(piece)
                await writer.drain()
        except (ConnectionError, ssl.SSLError):
            pass


def begun(asked, folder):
    """Starts the server; gives the process and the address for the suite."""
    if not asked.tls:
        return start(asked.binary, asked.flag)
    subprocess.run([asked.binary, "dev-cert", "--dir", folder], check=True, stdout=subprocess.DEVNULL)
    authority, cert, key = (os.path.join(folder, f"dev-{name}.pem") for name in ("ca", "cert", "key"))
    server, address = start(asked.binary, ["--tls-cert", cert, "--tls-key", key, *asked.flag])
    return server, Relay(address, authority).address


def judge(index, not_offered, not_run):
    """Gives the verdicts of each section, and what is wrong. The suite itself cannot run some sections."""
    (cases,) = json.loads(index.read_text()).values()
    sections = collections.defaultdict(collections.Counter)
    wrong = []
    if len(cases) != CASES:
        wrong.append(f"{len(cases)} cases instead of {CASES}")
    for name, case in cases.items():
        section = name.split(".")[0]
        if section in not_run:
            continue
        verdict, close = case["behavior"], case["behaviorClose"]
        sections[section][verdict] += 1
        good = ("UNIMPLEMENTED",) if section in not_offered else ("OK", "INFORMATIONAL")
        if verdict not in good or close not in ("OK", "INFORMATIONAL"):
            wrong.append(f"{name}: {verdict}, close {close}")
    return sections, wrong


def show(suite, sections, report):
    verdicts = ["OK", "INFORMATIONAL", "UNIMPLEMENTED", "NON-STRICT", "FAILED"]
    print(f"\n{suite}: {report}\n")
    print("| section | " + " | ".join(verdicts) + " |")
    print("| --- " * (1 + len(verdicts)) + "|")
    rows = sorted(sections.items(), key=lambda row: int(row[0]))
    rows.append(("all", sum(sections.values(), collections.Counter())))
    for section, counts in rows:
        print(f"| {section} | " + " | ".join(str(counts[verdict]) for verdict in verdicts) + " |")


def main():
    asked = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    asked.add_argument("--binary", default=str(ROOT / "target/debug/stentor"))
    asked.add_argument("--out", type=pathlib.Path, default=ROOT / "out" / "conformance")
    asked.add_argument("--original", action="store_true", help="the second opinion as well")
    asked.add_argument("--tls", action="store_true", help="the same within TLS")
    asked.add_argument("--not-offered", default=COMPRESSION, metavar="LIST", help="sections that must be unimplemented")
    asked.add_argument("--flag", action="append", default=[], help="of the server, such as --flag=--compression=on")
    asked = asked.parse_args()
    suites = {"kosoku": run_kosoku}
    if asked.original:
        suites["autobahntestsuite"] = run_original
    failed = False
    for suite, drive in suites.items():
        out = asked.out / (f"{suite}-tls" if asked.tls else suite)
        shutil.rmtree(out, ignore_errors=True)
        out.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory() as folder:
            server, address = begun(asked, folder)
            try:
                drive(address, out)
            finally:
                server.kill()
                server.wait()
        not_offered = asked.not_offered.split(",")
        not_run = {"12", "13"}.difference(not_offered) if suite == "kosoku" else ()
        sections, wrong = judge(out / "index.json", not_offered, not_run)
        show(suite, sections, os.path.relpath(out / "index.html", ROOT))
        for what in wrong:
            print(f"conformance: {suite} {what}", file=sys.stderr)
        failed |= bool(wrong)
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
