"""The options: one table, and the question that they make."""

import argparse
import pathlib

from . import units
from .limits import Question
from .units import Nonsense

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent

COMMANDS = {
    "run": "measure, plan, and runs at the predicted point (the default)",
    "measure": "climb the ladder: what was begun goes on, what is there gets more rounds",
    "plan": "answer from what was measured",
    "holdout": "fit on part of what was measured, predict the rest, print the error",
    "limits": "the limits of this host as JSON",
    "sample": "take what was measured as the committed sample, with its plan",
}

ASKED, WRITTEN, MEASURED = "what is asked", "what is written", "how it is measured"

# Group, flag, what reads it, default, metavar, help.
VALUES = (
    (ASKED, "--target-clients", units.positive, None, "N", "so many clients: how many boxes?"),
    (ASKED, "--rate", units.rate, 10.0, "RATE", "publications in each channel [10/s]"),
    (ASKED, "--bytes", units.size, 128, "BYTES", "bytes of each [128]"),
    (ASKED, "--p99", units.time, 0.05, "TIME", "publish to receipt [50ms]"),
    (ASKED, "--channels", units.positive, None, "N", "so many channels, however many clients [1]"),
    (ASKED, "--channel-size", units.positive, None, "N", "or channels of so many clients"),
    (ASKED, "--ping-interval", units.time, 25.0, "TIME", "as the server has it [25s]"),
    (ASKED, "--headroom", units.share, 0.3, "SHARE", "what stays free [30%%]"),
    (ASKED, "--cpu", units.share, 0.9, "SHARE", "how full a shard may be [90%%]"),
    (ASKED, "--recover", units.time, 30.0, "TIME", "by when all are back if a box dies [30s]"),
    (ASKED, "--shards", units.positive, 1, "N", "shards of a box [1]"),
    (ASKED, "--efficiency", units.share, None, "SHARE", "assumed where it is not determined"),
    (
        ASKED,
        "--outbox-total-bytes",
        units.size,
        256 << 20,
        "BYTES",
        "as the server has it [256MiB]",
    ),
    (ASKED, "--nic", units.bits, None, "SPEED", "of the network card, if it does not say"),
    (MEASURED, "--rounds", units.positive, 2, "N", "how often the ladder is climbed [2]"),
    (MEASURED, "--patience", units.time, 8.0, "TIME", "how long a step waits for quiet [8s]"),
    (MEASURED, "--server-pid", units.positive, None, "PID", "process of a server that runs"),
    (MEASURED, "--seed", units.count, 1, "N", "of the bootstrap [1]"),
)


class Parser(argparse.ArgumentParser):
    """Says what is wrong in one line."""

    def error(self, message):
        raise Nonsense(message)


def _typed(read, flag):
    """An argument's type whose complaint is ours."""

    def parse(words):
        return read(words, flag)

    return parse


def parser():
    """Every option."""
    found = Parser(
        prog="scripts/plan.sh",
        description="Capacity planning: how much fits here, and what ends first.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="commands:\n" + "\n".join(f"  {name:<9} {what}" for name, what in COMMANDS.items()),
    )
    found.add_argument("command", nargs="?", default="run", metavar="COMMAND", help="see below")
    groups = {name: found.add_argument_group(name) for name in (ASKED, WRITTEN, MEASURED)}
    for group, flag, read, default, metavar, what in VALUES:
        kind = _typed(read, flag)
        groups[group].add_argument(flag, type=kind, default=default, metavar=metavar, help=what)

    def text(group, flag, what, **more):
        groups[group].add_argument(flag, help=what, **more)

    what_if = "rate=20,size=512; also clients, channels, channel-size, p99, ping, shards"
    text(ASKED, "--what-if", what_if, action="append", default=[], metavar="CHANGES")
    text(WRITTEN, "--json", "the answer; - is standard output [run: plan.json in DIR]")
    text(WRITTEN, "--html", "a report in one file [run: plan.html in DIR]")
    text(WRITTEN, "--explain", "what was learned, and every step's miss", action="store_true")
    data = str(ROOT / "out" / "capacity")
    text(MEASURED, "--data", "the steps [out/capacity]", default=data, metavar="DIR")
    whose = "whose: this host's, or those of when it was measured [here, on the same host]"
    text(MEASURED, "--limits", whose, choices=("auto", "here", "stored"), default="auto")
    quick = "a ladder of seconds: for tests, its figures mean nothing"
    text(MEASURED, "--quick", quick, action="store_true")
    text(MEASURED, "--no-validate", "no run at the predicted point", action="store_true")
    text(MEASURED, "--url", "a server that runs already: ws://host:port/path")
    text(MEASURED, "--admin", "its admin address, for its counters", metavar="ADDR")
    release = ROOT / "target" / "release"
    text(MEASURED, "--server", "the binary", default=str(release / "stentor"), metavar="FILE")
    bench = str(release / "stentor-bench")
    text(MEASURED, "--bench", "the generator", default=bench, metavar="FILE")
    text(MEASURED, "--sweep", "counts of shards to compare: 1,2,4,8 [all cores], or off")
    return found


def question_of(options):
    """What is asked, checked."""
    if options.channels and options.channel_size:
        raise Nonsense("--channels and --channel-size: one of them says it")
    for name in ("p99", "recover", "cpu"):
        if getattr(options, name) <= 0:
            raise Nonsense(f"--{name}: it must be more than 0")
    if options.bytes < 1:
        raise Nonsense("--bytes: a message has at least 1 byte")
    channels = options.channels or (0 if options.channel_size else 1)
    return Question(
        rate=options.rate,
        bytes=options.bytes,
        p99_s=options.p99,
        cpu_max=options.cpu,
        channels=channels,
        channel_size=options.channel_size or 0,
        ping_s=options.ping_interval,
        shards=options.shards,
        efficiency=options.efficiency,
        outbox_bytes=options.outbox_total_bytes,
        nic=options.nic,
        headroom=options.headroom,
        target=options.target_clients,
        recover_s=options.recover,
    )


def sweep_of(options, cores, usual):
    """Counts of shards to compare."""
    if options.sweep == "off":
        return ()
    if not options.sweep:
        return usual
    counts = [units.positive(word, "--sweep") for word in options.sweep.split(",")]
    if max(counts) > cores:
        raise Nonsense(f"--sweep: {max(counts)} shards, and this process may use {cores} cores")
    return sorted(set(counts))
