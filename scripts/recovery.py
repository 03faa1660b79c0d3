#!/usr/bin/env python3
"""Figures of history, recovery and tokens: a server of one shard on core 0, its clients on core 1.

    scripts/recovery.py storm    10,000 clients are cut at once and come back for 50 messages each: how long it takes,
                                 what is lost, and what an undisturbed channel notices of it
    scripts/recovery.py cut      connections are cut at random for 60 s: what share of the messages comes once and in order
    scripts/recovery.py kept     memory of a kept message
    scripts/recovery.py tokens   CPU of a connect with a token, beyond one without

Exit code 1: something is lost, or a goal is missed that does not depend on how busy this machine is.
"""

import argparse
import os
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from recoverylib import cut, kept, storm, tokens  # noqa: E402

# The measurements, and the numbers of each that an option has not set.
FIGURES = {
    "storm": (storm.run, {"clients": 10_000, "bytes": 256}),
    "cut": (cut.run, {"clients": 200, "bytes": 0}),
    "kept": (kept.run, {"clients": 0, "bytes": 128}),
    "tokens": (tokens.run, {"clients": 2_000, "bytes": 0}),
}


def main():
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("figure", nargs="?", default="storm", choices=FIGURES)
    options.add_argument("--server", default="target/release/stentor")
    options.add_argument("--clients", type=int, help="of storm, cut and tokens")
    options.add_argument("--bytes", type=int, help="of a message, of storm and kept")
    options.add_argument("--missed", type=int, default=50, help="messages that each client of the storm has missed")
    options.add_argument("--seconds", type=int, default=60, help="of cut")
    options.add_argument("--rate", type=int, default=100, help="messages a second, of cut")
    options.add_argument("--seed", type=int, default=1, help="of the cuts")
    options.add_argument("--rounds", type=int, default=5, help="of storm and tokens")
    asked = options.parse_args()
    run, usual = FIGURES[asked.figure]
    for name, number in usual.items():
        if getattr(asked, name) is None:
            setattr(asked, name, number)
    sys.exit(0 if run(asked) else 1)


if __name__ == "__main__":
    main()
