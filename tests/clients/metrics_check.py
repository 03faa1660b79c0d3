"""The reference parsers of PyPI's prometheus_client on /metrics, in both of its formats.

Usage: metrics_check.py URL
"""
import math
import sys
import urllib.request

from prometheus_client.openmetrics.parser import text_string_to_metric_families as open_metrics
from prometheus_client.parser import text_string_to_metric_families as text_format


def families(accept, kind, parse):
    request = urllib.request.Request(sys.argv[1], headers={"Accept": accept})
    with urllib.request.urlopen(request, timeout=20) as answer:
        assert answer.headers["Content-Type"].startswith(kind), answer.headers["Content-Type"]
        assert answer.headers["Vary"] == "Accept", answer.headers
        return {family.name: family for family in parse(answer.read().decode())}


def check(found):
    for name, family in found.items():
        assert family.type in ("counter", "gauge", "histogram"), (name, family.type)
        assert family.documentation.strip(), f"{name} has no help"
        assert family.samples, f"{name} has no samples"
        for odd in ("microseconds", "milliseconds", "kilobytes"):
            assert odd not in name, f"{name} is not in base units"
        for sample in family.samples:
            assert sample.name.endswith("_total") == (family.type == "counter"), sample


def check_histogram(family):
    """The last bucket of each shard takes all, and there is one observation at least."""
    by_shard = {}
    for sample in family.samples:
        shard = by_shard.setdefault(sample.labels["shard"], {"buckets": []})
        if sample.name.endswith("_bucket"):
            shard["buckets"].append((float(sample.labels["le"]), sample.value))
        else:
            shard[sample.name.rsplit("_", 1)[1]] = sample.value
    for shard in by_shard.values():
        assert shard["buckets"] == sorted(shard["buckets"]), shard
        assert shard["buckets"][-1] == (math.inf, shard["count"]), shard
    assert sum(shard["count"] for shard in by_shard.values()) > 0
    assert sum(shard["sum"] for shard in by_shard.values()) > 0


def shape(found):
    return {
        name: (family.type, family.documentation, {(s.name, *sorted(s.labels.items())) for s in family.samples})
        for name, family in found.items()
    }


text = families("text/plain;version=0.0.4", "text/plain; version=0.0.4", text_format)
opened = families("application/openmetrics-text;version=1.0.0", "application/openmetrics-text", open_metrics)
for found in (text, opened):
    check(found)
    check_histogram(found["stentor_fanout_seconds"])
assert shape(text) == shape(opened), "the formats tell different things"
units = {name: family.unit for name, family in opened.items() if family.unit}
assert units["stentor_busy_seconds"] == "seconds" and units["stentor_outbox_bytes"] == "bytes", units
for name in ("cpu_seconds", "resident_memory_bytes", "virtual_memory_bytes", "open_fds", "max_fds", "threads", "start_time_seconds"):
    assert f"process_{name}" in opened, name
assert opened["stentor_build_info"].samples[0].value == 1
