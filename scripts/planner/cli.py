"""The command line: in which order things are done, and with which exit code."""

import contextlib
import io
import json
import os
import pathlib
import signal
import sys

from . import answer, holdout, host, machine, model, page, points
from . import record, sample, steps, store, text
from .options import COMMANDS, parser, question_of
from .site import Site
from .units import Nonsense


def read(options, group=None):
    """What was measured, the limits that hold, and the points."""
    common, records = store.load(options.data, group)
    cores = points.number(common, "limits.cores", "host.json")
    found = points.of(records, cores)
    if not found:
        raise Nonsense(f"{options.data}: no step was measured yet")
    same = host.identity(host.facts()) == host.identity(common["host"])
    stored = options.limits == "stored" or (options.limits == "auto" and not same)
    # By the steps themselves: they stay what they are, whatever is added to them later.
    quick = any(steps.is_quick(kept["step"]) for _, kept in records)
    # What the server needs is a fact of the build that was measured, wherever it is to run.
    here = {**host.limits(), "needs": common["limits"].get("needs")}
    return {**common, "quick": quick}, common["limits"] if stored else here, found


def plan(options, site=None):
    """Answers from what was measured; on its site with runs at the predicted point."""
    question = question_of(options)
    common, bounds, found = read(options, site and site.store.folder.name)
    fitted = model.learn(found, options.seed)
    given = answer.answer(bounds, fitted, question, options.what_if)
    checks = []
    if site and not options.no_validate:
        at = given["capacity"]["clients"]
        free = at * (1 - question.headroom)
        for clients, what in ((at, "at the predicted capacity"), (free, "with the head-room")):
            checks.append(site.validate(fitted, question, clients, what))
    checks = [check for check in checks if check]
    held = holdout.check(found, question.p99_s, options.seed)
    whole = record.whole(common, fitted, given, checks, held[1])
    if options.json == "-":
        json.dump(whole, sys.stdout, indent=1)
        print()
    else:
        lines = [*text.warning(common), text.source(common, found), "", *text.answer(given)]
        if options.explain:
            lines += ["", *text.fits(fitted), "", *text.residuals(fitted)]
        for check in checks:
            lines += ["", *text.validation(check)]
        if common["quick"]:
            # Where the end of a long text is what is seen.
            lines += ["", *text.warning(common)[:1]]
        print("\n".join(lines))
        if options.json:
            write(options.json, json.dumps(whole, indent=1) + "\n")
    if options.html:
        write(options.html, page.page(common, fitted, question, given, checks, held))


def write(path, words):
    """A file, with the folder that it is to be in."""
    try:
        pathlib.Path(path).parent.mkdir(parents=True, exist_ok=True)
        pathlib.Path(path).write_text(words, encoding="utf-8")
    except OSError as error:
        raise Nonsense(f"{path}: {error.strerror}") from None
    print(f"plan: wrote {path}", file=sys.stderr)


def hold_out(options):
    """The held-out check; 1 if a goal is missed."""
    common, _, found = read(options)
    misses, verdicts = holdout.check(found, options.p99, options.seed)
    head = [*text.warning(common), text.source(common, found), ""]
    print("\n".join([*head, *text.holdout(misses, verdicts)]))
    if options.json:
        write(options.json, json.dumps(record.held(common, misses, verdicts), indent=1) + "\n")
    return 0 if all(verdict["met"] for verdict in verdicts) else 1


def obey(options):
    """One command; its exit code."""
    if options.command not in COMMANDS:
        raise Nonsense(f"no command {options.command}: {', '.join(COMMANDS)}")
    question_of(options)
    if options.command == "limits":
        json.dump({"host": host.facts(), "limits": host.limits()}, sys.stdout, indent=1)
        print()
    elif options.command == "measure":
        Site(options).climb(options)
    elif options.command == "sample":
        print(f"plan: {sample.write(options.data, said)} steps are the sample now")
    elif options.command == "holdout":
        return hold_out(options)
    elif options.command == "plan":
        plan(options)
    else:
        site = Site(options)
        site.climb(options)
        options.html = options.html or os.path.join(options.data, "plan.html")
        options.json = options.json or os.path.join(options.data, "plan.json")
        plan(options, site)
    return 0


def said(words):
    """What a command prints."""
    with contextlib.redirect_stdout(io.StringIO()) as out:
        obey(parser().parse_args(words))
    return out.getvalue()


def stop(*_):
    """Ends the work once: a second request does not interrupt the end of what was started."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    raise KeyboardInterrupt


def main(words):
    """Exit codes: 0 done, 1 a goal is missed or nothing came of it, 2 nonsense, 130 stopped."""
    # Asked to end, it ends as on Ctrl-C: no server stays behind.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, stop)
    try:
        return obey(parser().parse_args(words))
    except Nonsense as error:
        print(f"plan: {error}", file=sys.stderr)
        return 2
    except machine.Failed as error:
        print(f"plan: {error}", file=sys.stderr)
        return 1
    except BrokenPipeError:
        return 1
    except KeyboardInterrupt:
        machine.end_all()
        print("\nplan: stopped; the same command goes on from here", file=sys.stderr)
        return 130
