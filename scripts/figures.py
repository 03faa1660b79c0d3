"""Runs loads of stentor-bench against servers in turn, and prints medians and ratios.

Without --pair: Stentor beside the bare loop. With --pair OLD NEW: two server binaries, before and after a change.
The server has core 0 and the generator core 1. CPU time is the scheduler's own count of the server process. The other
servers of a figure sleep while one is measured. Of a loaded machine only the ratios of one run mean anything.
"""

import argparse
import shlex

from figurelib.bare import SINGLE, Bare
from figurelib.pair import ALL, Pair
from figurelib.report import Results
from figurelib.table import FIGURES

SERVER = "target/release/stentor"


def wanted(words, names, error):
    """Returns the figures that words name, in full or by their beginning; all of them if there are no words."""
    chosen = []
    for word in words:
        fits = [word] if word in names else [name for name in names if name.startswith(word)]
        if not fits:
            error(f"no figure {word}; there are {', '.join(names)}")
        chosen += [name for name in fits if name not in chosen]
    return chosen or names


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("figures", nargs="*", metavar="FIGURE", help="all if none is named")
    parser.add_argument("--pair", nargs=2, metavar=("OLD", "NEW"), help="compare two server binaries")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=2.0, help="of each run")
    parser.add_argument("--server", default=SERVER, metavar="CMD", help="another build of Stentor, or with PORT any server")
    parser.add_argument("--out", default="out/figures.json", help="where the results go as JSON")
    parser.add_argument("--list", action="store_true", help="print the names of the figures")
    options = parser.parse_args()
    if options.rounds < 1 or options.seconds < 0.1:
        parser.error("at least one round, and at least 0.1 seconds")
    names = list(ALL) if options.pair else [*FIGURES, *SINGLE]
    if options.list:
        print("\n".join(names))
        return
    chosen = wanted(options.figures, names, parser.error)
    results = Results()
    if options.pair:
        commands = [shlex.split(word) for word in options.pair]
        figures = Pair(commands, options.rounds, options.seconds, results)
    else:
        figures = Bare(shlex.split(options.server), options.rounds, options.seconds, results)
    figures.head()
    try:
        for name in chosen:
            figures.compare(name)
    finally:
        results.write(options.out)


main()
