"""Runs every command of the guide (docs/guide), each page in a folder and a network namespace of its own.

Usage: guide.py STENTOR [PAGE...]     (pages without .md; all of them unless told; scripts/test.sh runs it too)

Words behind the language of a code block say what becomes of it:
  run            a shell runs it, after the blocks before it and in the same session
  server         the same in the background; the next block waits until the server is ready
  file=NAME      it is written into the page's folder
  output         the last `run` printed just this; `...` stands for anything
  elsewhere=WHY  nobody runs it here: it needs a cluster, a registry, a host of its own
Blocks of shells and programming languages must have such a word. A comment `<!-- check` runs like `run`, but no reader
sees it.
"""
import os
import pathlib
import re
import shutil
import signal
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parents[1]
PAGES = pathlib.Path(os.environ.get("GUIDE_PAGES", ROOT / "docs/guide"))
PATIENCE_S = float(os.environ.get("GUIDE_PATIENCE_S", 100))
NODE_MODULES = ROOT / "tests/clients/node_modules"
# Languages whose blocks somebody would copy and run.
RUNNABLE = {"sh", "bash", "js", "jsx", "ts", "html", "python", "php", "go", "ruby"}
BLOCK = re.compile(r"^```(?P<mark>[^\n]*)\n(?P<text>.*?)^```$|^<!-- check\n(?P<check>.*?)^-->$", re.M | re.S)
# In a namespace of its own a page may use the usual ports, whatever else this host serves.
INSIDE = """
import fcntl, os, socket, struct, sys
with socket.socket() as any_socket:
    fcntl.ioctl(any_socket, 0x8914, struct.pack("16sh", b"lo", 1))
os.execvp("bash", ["bash", *sys.argv[1:]])
"""
READY = """
server=$! ready=no
for _ in $(seq 200); do
  if curl -sfo /dev/null http://127.0.0.1:9001/ready; then
    ready=yes
    break
  fi
  kill -0 $server 2>/dev/null || break
  sleep 0.1
done
[ "$ready" = yes ]
"""


class Wrong(Exception):
    """A page that cannot be run, or does not do what it says; the text says where."""


def blocks(page):
    """The blocks of a page as `(line, words, text)`."""
    text = page.read_text()
    for found in BLOCK.finditer(text):
        line = text.count("\n", 0, found.start()) + 1
        where = f"{page.name}:{line}"
        if found["check"] is not None:
            yield where, ["", "check"], found["check"]
            continue
        words = found["mark"].split() or [""]
        if words[0] in RUNNABLE and len(words) < 2:
            raise Wrong(f"{where}: a block of {words[0]} says nothing of what becomes of it")
        yield where, words, found["text"]


def script(page, room):
    """The shell script that a page makes, and the outputs that it promises: `(where, text)` by number."""
    parts, promised, number, printed = ["set -euo pipefail\n"], {}, 0, 0
    for where, words, text in blocks(page):
        for word in words[1:]:
            name, _, value = word.partition("=")
            if name == "file":
                # Through the script, so that a later block may write a file anew.
                number += 1
                kept = room / f".block{number}"
                kept.write_text(text)
                parts.append(f"mkdir -p \"$(dirname '{value}')\"\ncp {kept} '{value}'\n")
            elif name in ("run", "check"):
                number += 1
                printed = number if name == "run" else printed
                out = room / f".output{number}"
                parts.append(f"echo '{where}' >{room}/.where\n{{\n{text}\n}} >{out}\n")
            elif name == "server":
                parts.append(f"echo '{where}' >{room}/.where\n{{\n{text}\n}} >>{room}/.server 2>&1 &\n{READY}")
            elif name == "output":
                promised[printed] = (where, text)
            elif name != "elsewhere" or not value:
                raise Wrong(f"{where}: unknown word {word!r}")
    return "".join(parts), promised


def is_as_promised(text, promise):
    pattern = ".*".join(re.escape(part) for part in promise.strip().split("..."))
    return re.fullmatch(pattern, text.strip(), re.S) is not None


def run(page, stentor):
    with tempfile.TemporaryDirectory(prefix="stentor-guide-") as folder:
        room = pathlib.Path(folder)
        home = room / "page"
        home.mkdir()
        text, promised = script(page, room)
        if NODE_MODULES.is_dir():
            (home / "node_modules").mkdir()
            for package in NODE_MODULES.iterdir():
                (home / "node_modules" / package.name).symlink_to(package)
        library = room / "js"
        if "stentor-ws" in page.read_text():
            shutil.copytree(ROOT / "clients/js", library, ignore=shutil.ignore_patterns("node_modules"))
            # As `npm pack` lays them there.
            (library / "stentor.js").write_bytes((ROOT / "src/web/stentor.js").read_bytes())
            (home / "node_modules/stentor-ws").symlink_to(library)
        path = [stentor.parent, ROOT / ".venv/bin", "/usr/local/bin", "/usr/bin", "/bin", "/usr/sbin", "/sbin"]
        variables = {
            "PATH": ":".join(map(str, path)),
            "HOME": folder,
            "LC_ALL": "C.UTF-8",
            "PYTHONPATH": str(ROOT / "clients/python/src"),
            "PYTHONDONTWRITEBYTECODE": "1",
            "NODE_NO_WARNINGS": "1",
            "REPOSITORY": str(ROOT),
        }
        as_root = [] if os.geteuid() == 0 else ["--map-root-user"]
        command = ["unshare", *as_root, "--net", sys.executable, "-c", INSIDE, "-c", text]
        # A file and no pipe: what a page leaves running would keep a pipe open.
        is_late = False
        with open(room / ".said", "w") as said:
            child = subprocess.Popen(
                command, cwd=home, env=variables, stdin=subprocess.DEVNULL, stdout=said,
                stderr=subprocess.STDOUT, start_new_session=True,
            )  # fmt: skip
            try:
                child.wait(timeout=PATIENCE_S)
            except subprocess.TimeoutExpired:
                is_late = True
            finally:
                # Servers that a page has started live in its session.
                try:
                    os.killpg(child.pid, signal.SIGKILL)
                except ProcessLookupError:
                    pass
                child.wait()
        said = (room / ".said").read_text()
        where = (room / ".where").read_text().strip() if (room / ".where").exists() else page.name
        if is_late:
            raise Wrong(f"{where}: no end in {PATIENCE_S:g} s\n{said}")
        if child.returncode:
            outputs = sorted(room.glob(".output*"), key=lambda one: one.stat().st_mtime)[-1:]
            last = outputs[0].read_text() if outputs else ""
            server = (room / ".server").read_text()[-2000:] if (room / ".server").exists() else ""
            raise Wrong(f"{where}: exit code {child.returncode}\n{said}{last}{server}")
        for number, (where, promise) in promised.items():
            printed = (room / f".output{number}").read_text()
            if not is_as_promised(printed, promise):
                raise Wrong(f"{where}: promised\n{promise}\nbut it was\n{printed}")
    elsewhere = sum(word.startswith("elsewhere") for _, words, _ in blocks(page) for word in words[1:])
    return f"{text.count('/.where' + chr(10))} blocks, {len(promised)} outputs, {elsewhere} elsewhere"


def main(stentor, names):
    pages = sorted(PAGES.glob("*.md"))
    unknown = set(names) - {page.stem for page in pages}
    if unknown or not pages:
        sys.exit(f"guide: no such page: {', '.join(sorted(unknown)) or PAGES}")
    wrong = 0
    for page in pages:
        if names and page.stem not in names:
            continue
        try:
            print(f"ok: {page.name}: {run(page, stentor)}", flush=True)
        except Wrong as why:
            wrong += 1
            print(f"guide: {why}", file=sys.stderr, flush=True)
    sys.exit(1 if wrong else 0)


if __name__ == "__main__":
    if "--help" in sys.argv or "-h" in sys.argv:
        print(__doc__)
        sys.exit()
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    main(pathlib.Path(sys.argv[1]).resolve(), sys.argv[2:])
