"""The answer for a terminal."""

from . import record
from .answer import sentence
from .units import show_count, show_share, show_size, show_time


def table(head, rows):
    """Columns as wide as they need to be."""
    rows = [list(map(str, row)) for row in [head, *rows]]
    widths = [max(len(row[place]) for row in rows) for place in range(len(head))]
    lines = [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths)).rstrip() for row in rows
    ]
    return [lines[0], "-" * max(map(len, lines)), *lines[1:]]


def between(interval, show=show_count):
    """An interval, or nothing."""
    return f"{show(interval[0])}..{show(interval[1])}" if interval else ""


def at(found):
    """What a box does, in a few words."""
    words = [
        f"{show_count(found['clients'])} clients",
        f"{show_count(found['deliveries_per_s'])} deliveries/s",
    ]
    if found.get("cpu_share") is not None:
        words.append(f"shard {show_share(found['cpu_share'])}")
    if found.get("p99_s") is not None:
        words.append(f"p99 {show_time(found['p99_s'])}")
    if found.get("memory_bytes"):
        words.append(f"memory {show_size(found['memory_bytes'])}")
        if found.get("tcp_bytes_max"):
            words.append(f"and up to {show_size(found['tcp_bytes_max'])} in TCP's buffers")
    return ", ".join(words)


def fits(fitted):
    """What was learned, and by how much it misses what was measured."""
    lines = ["What was learned (90 % intervals; typical miss of the measured steps)"]
    if fitted.cpu:
        lines.append(
            f"  CPU of a shard, {fitted.cpu.points} steps, {show_share(fitted.cpu.typical)}:"
        )
        for place, (name, value) in enumerate(zip(fitted.cpu.names, fitted.cpu.values)):
            low, high = fitted.cpu.interval(place)
            unit = "of a core" if name == "base" else "each"
            shown = [
                show_share(one) if name == "base" else show_time(one) if one else "0"
                for one in (value, low, high)
            ]
            lines.append(f"    {name:<18} {shown[0]:>9} {unit:<9}  {shown[1]}..{shown[2]}")
    if fitted.memory:
        for name, fit in (
            ("the process", fitted.memory.process),
            ("the kernel's end of sockets", fitted.memory.kernel),
        ):
            if fit:
                lines.append(
                    f"  memory of {name}: {show_size(fit.values[0])} + "
                    f"{show_size(fit.values[1])} a client ({between(fit.interval(1), show_size)}), "
                    f"{fit.points} steps, {show_share(fit.typical)}"
                )
        if fitted.memory.page_bytes:
            lines.append(
                f"    and {show_size(fitted.memory.page_bytes)} for a page in TCP's buffers, "
                f"{fitted.memory.tcp_pages or 0:.3g} pages a client at most"
            )
        if fitted.memory.outbox is not None:
            lines.append(f"  memory for a byte in an outbox: {fitted.memory.outbox:.3g} bytes")
    for name, curve in (("p50", fitted.p50), ("p99", fitted.p99)):
        if curve:
            lines.append(
                f"  {name}: {show_time(curve.fixed)} + {curve.longer:.3g} ticks x (place + wait), "
                f"v = {curve.uneven:g}, {len(curve.residuals)} steps, {show_share(curve.typical)}"
            )
    if fitted.refused:
        lines.append(f"  latency: no model, {fitted.refused}")
    scaling = fitted.scaling
    lines.append(
        "  scaling over shards: "
        + (
            f"not determined: {scaling.not_determined}"
            if scaling.not_determined
            else f"contention {scaling.contention:.3g}, coherency {scaling.coherency:.3g}, "
            f"most at {scaling.peak:.3g} shards ({between(scaling.intervals['peak'])})"
        )
    )
    return lines


def residuals(fitted):
    """Every step's miss."""
    lines = ["Misses, step by step (predicted against measured)"]
    named = {}
    for title, fit in (
        ("CPU", fitted.cpu),
        ("p50", fitted.p50),
        ("p99", fitted.p99),
        ("process", fitted.memory and fitted.memory.process),
        ("kernel", fitted.memory and fitted.memory.kernel),
    ):
        for name, miss in fit.residuals if fit else ():
            named.setdefault(name, {})[title] = f"{100 * miss:+.0f} %"
    titles = ["CPU", "p50", "p99", "process", "kernel"]
    rows = [
        [name, *(seen.get(title, "") for title in titles)] for name, seen in sorted(named.items())
    ]
    return [*lines, *table(["step", *titles], rows)]


def clients_of(row):
    """What a limit allows, in words."""
    if row["not_determined"]:
        return "not determined"
    return "no bound" if row["clients"] is None else show_count(row["clients"])


def _remedy(row):
    """What lifts a limit, or why it is not known."""
    return f"not determined: {row['not_determined']}" if row["not_determined"] else row["lifted_by"]


def missing_lines(found):
    """What is not known, and the command that makes it known."""
    head = "Not determined, and one of these may be the first limit:"
    if "target" in found["question"]:
        target = show_count(found["question"]["target"])
        head = f"How many boxes hold {target} clients cannot be told before this is measured:"
    rows = [f"  {one['name']}: {one['why']}: {one['measured_by']}" for one in found["missing"]]
    return [head, *rows]


def answer(found):
    """The table of limits, what lifts them, boxes, storm, what-if."""
    lines = [sentence(found), ""]
    head = ["", "limit, as it bites", "here", "a client takes", "clients", "90 %"]
    rows = [
        [
            place,
            row["name"],
            row["value"],
            row["a_client_takes"],
            clients_of(row),
            between(row["interval"]),
        ]
        for place, row in enumerate(found["limits"], 1)
    ]
    lines += table(head, rows)
    lines += ["", f"At capacity: {at(found['capacity'])}", "", "What lifts them"]
    lifts = [
        [f"  {place}", _remedy(row)]
        for place, row in enumerate(found["limits"], 1)
    ]
    lines += [f"{place:<5} {words}" for place, words in lifts]
    if found["settings"]:
        lines += ["", "Settings that end before the machine does:"]
        lines += [f"  {line}" for line in found["settings"]]
    for box in found.get("boxes", []):
        lines += ["", *box_lines(found, box)]
    if found["missing"]:
        lines += ["", *missing_lines(found)]
    if found["what_if"]:
        lines += ["", "What if (settings lifted)"]
        lines += table(
            ["", "clients of a box", "deliveries/s", "p99 there", "first limit", "boxes"],
            [variant(one) for one in found["what_if"]],
        )
    lines += ["", *(f"note: {note}" for note in found["notes"])]
    return lines


def box_lines(found, box):
    """How many boxes, and one that dies."""
    target = show_count(found["question"]["target"])
    lines = [
        f"{box['with_spare']:,} boxes for {target} clients, {box['setup']}: {box['needed']:,} with "
        f"{show_share(found['question']['headroom'])} head-room "
        f"({show_count(box['clients_each_at_most'])} clients "
        f"each, bound by {box['limit']}), and one to spare"
        + (
            f"; 90 %: {between(box['needed_interval'])} and one"
            if box.get("needed_interval")
            else ""
        )
    ]
    lines.append(f"  each as a rule: {at(box['usual'])}")
    lines.append(f"  after a death:  {at(box['after_a_death'])}")
    storm = box["storm"]
    words = f"  a death sends {show_count(storm['clients'])} clients back, "
    words += f"{show_count(storm['clients_each'])} to each box: "
    words += f"{show_count(storm['accepts_per_s_needed'])} accepts/s "
    words += f"to be back in {show_time(storm['within_s'])}"
    if "accepts_per_s" in storm:
        words += (
            f"; beside its fan-out a box accepts {show_count(storm['accepts_per_s'])}/s: back in "
        )
        words += show_time(storm["seconds"])
    elif storm.get("in_time") is False:
        words += "; the fan-out leaves no time to accept them"
    lines.append(words)
    return lines


def variant(one):
    best = one["lifted"] or {"limit": one["first_limit"], **one["capacity"]}
    boxes = one.get("boxes")
    return [
        one["what_if"],
        show_count(best["clients"]),
        show_count(best["deliveries_per_s"]),
        show_time(best["p99_s"]) if best.get("p99_s") is not None else "",
        best["limit"],
        f"{boxes['with_spare']:,}" if boxes else "not told",
    ]


def validation(found):
    """Predicted against seen."""
    lines = [f"Validation: {found['what']}"]
    rows = []
    for name, show in (
        ("p50_s", show_time),
        ("p99_s", show_time),
        ("cpu_share", show_share),
        ("memory_bytes", show_size),
    ):
        if (
            name in found["predicted"]
            and found["seen"].get(name) is not None
            and found["predicted"][name] is not None
        ):
            predicted, seen = found["predicted"][name], found["seen"][name]
            rows.append(
                [
                    name.rsplit("_", 1)[0],
                    show(predicted),
                    show(seen),
                    f"{100 * (predicted / seen - 1):+.0f} %",
                ]
            )
    lines += table(["", "predicted", "seen", "off by"], rows)
    return lines + [f"  {fault}" for fault in found["faults"]]


def holdout(misses, verdicts):
    """Every prediction of what was not fitted, and whether the goals are reached."""
    shows = {
        "memory": show_size,
        "cpu": show_share,
        "knee": lambda value: f"{show_count(value)} clients",
    }
    rows = [
        [
            miss.what,
            miss.name,
            f"{miss.beyond:.1f} x",
            shows[miss.what](miss.predicted),
            shows[miss.what](miss.seen),
            f"{100 * miss.error:+.1f} %",
        ]
        for miss in misses
    ]
    lines = ["Fitted on part of the ladder, predicted for the rest", ""]
    lines += table(["", "step", "beyond the fit", "predicted", "seen", "off by"], rows)
    lines.append("")
    for one in verdicts:
        if not one["points"]:
            lines.append(f"{one['what']:<7} not measured far enough to hold anything out")
            continue
        lines.append(
            f"{one['what']:<7} typically off by {100 * one['typical']:.1f} %, "
            f"at worst {100 * one['worst']:.1f} %;"
            f" {one['within']} of {one['points']} within {100 * one['goal']:.0f} %:"
            f" {'reached' if one['met'] else 'missed'}"
        )
    return lines


def warning(common):
    """What stands before and behind a plan of the quick ladder, and an empty line."""
    return [f"! {record.QUICK}", ""] if common["quick"] else []


def source(common, found):
    """Where the figures come from."""
    host = common["host"]
    repeats = sorted(point.repeats for point in found)
    disturbed = sum(1 for point in found if not point.calm)
    server = (
        common["server"].get("url")
        or f"{common['server'].get('file')} {common['server'].get('digest')}"
    )
    words = f"Measured on {host['name']} ({host['cpu']}, {host['cores']} cores, {host['kernel']}): "
    words += f"{server}, "
    words += f"{len(found)} loads, "
    words += f"{repeats[len(repeats) // 2]} times each as a rule"
    return words + (f"; during {disturbed} of them something else ran too" if disturbed else "")
