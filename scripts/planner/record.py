"""The answer as JSON: rounded to what is known, so that the same data give the same digits
everywhere.
"""

import math

from . import cost, model
from .units import digits

SCHEMA = 1

# What is said of a plan from steps of the quick ladder, wherever it is shown.
QUICK = (
    "MEASURED WITH --quick, in fractions of a second, to test the planner: these figures mean "
    "nothing. Measure without --quick before you plan with them."
)


def _mark(common):
    return {"quick": True, "warning": QUICK} if common["quick"] else {"quick": False}


def rounded(value, places=4):
    """Every number in it to so many digits that count."""
    if isinstance(value, dict):
        return {key: rounded(one, places) for key, one in value.items()}
    if isinstance(value, (list, tuple)):
        return [rounded(one, places) for one in value]
    if isinstance(value, float):
        return None if not math.isfinite(value) else digits(value, places)
    return value


def _fit(fit):
    return fit and {
        "steps": fit.points,
        "typical_miss": fit.typical,
        "coefficients": {
            name: {"value": value, "interval": list(fit.interval(place))}
            for place, (name, value) in enumerate(zip(fit.names, fit.values))
        },
    }


def _curve(curve):
    return curve and {
        "fixed_s": curve.fixed,
        "longer": curve.longer,
        "uneven": curve.uneven,
        "steps": len(curve.residuals),
        "typical_miss": curve.typical,
    }


def learned(fitted):
    """What was fitted."""
    memory = fitted.memory
    return {
        "cpu": _fit(fitted.cpu),
        "memory": memory
        and {
            "process": _fit(memory.process),
            "kernel": _fit(memory.kernel),
            "outbox": memory.outbox,
            "tcp_pages_per_client": memory.tcp_pages,
        },
        "p50": _curve(fitted.p50),
        "p99": _curve(fitted.p99),
        "latency_refused": fitted.refused,
    }


def held(common, misses, verdicts):
    """The held-out check."""
    return rounded(
        {
            **_mark(common),
            "predictions": [{**miss._asdict(), "error": miss.error} for miss in misses],
            "goals": verdicts,
        }
    )


def validation(fitted, question, seen, what):
    """Predicted against seen of one run."""
    load = model.load_of(seen.step)._replace(shards=question.shards)
    efficiency = fitted.efficiency(question.shards) or question.efficiency
    expected = fitted.expect(load, None, efficiency) if fitted.cpu and efficiency else None
    predicted = {}
    if expected:
        predicted = {"cpu_share": expected.cpu, "p50_s": expected.p50, "p99_s": expected.p99}
    if fitted.memory:
        predicted["memory_bytes"] = fitted.memory.at(
            load.clients, pages=cost.pages_of(seen)
        )
    shards = question.shards
    return rounded(
        {
            "what": f"{what}, {seen.step.clients:,} clients at {question.rate:g}/s",
            "clients": seen.step.clients,
            "predicted": predicted,
            "seen": {
                "cpu_share": None if seen.cpu is None else seen.cpu / shards,
                "p50_s": seen.p50,
                "p99_s": seen.p99,
                "memory_bytes": cost.memory_of(seen),
            },
            "faults": []
            if seen.valid
            else ["the generator did not keep up: the latencies are its own"],
        }
    )


def whole(common, fitted, given, checks, verdicts):
    """Everything."""
    return rounded(
        {
            "schema_version": SCHEMA,
            **_mark(common),
            "host": common["host"],
            "server": common["server"],
            "learned": learned(fitted),
            **given,
            "validation": checks,
            "held_out": verdicts,
        }
    )
