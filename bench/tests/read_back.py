"""PyPI's hdrhistogram reads what stentor-bench writes, and the other way round.

A run is made up here, so its histograms reach the tool in the library's own encoding; the tool
writes them as .hgrm and .hlog, and the library reads those. Percentiles must agree within a bucket,
and the seconds of the log, merged, must be the histogram of the whole run, bucket for bucket.

python read_back.py TOOL DIR
"""

import json
import os
import subprocess
import sys

from hdrh.histogram import HdrHistogram
from hdrh.log import HistogramLogReader

from sample_runs import empty, run

# Three digits.
PRECISION = 1e-3


def near(found, right, what):
    assert abs(found - right) <= PRECISION * right, f"{what}: {found}, not {right}"


def counts(histogram):
    return {
        item.value_iterated_to: item.count_added_in_this_iter_step
        for item in histogram.get_recorded_iterator()
    }


def read_hgrm(path, whole):
    rows, footer = [], {}
    with open(path, encoding="utf-8") as file:
        assert file.readline().split() == ["Value", "Percentile", "TotalCount", "1/(1-Percentile)"]
        for line in file:
            if line.startswith("#["):
                for pair in line.strip("#[]\n").split(","):
                    name, value = pair.split("=")
                    footer[name.strip()] = float(value)
            elif line.strip():
                rows.append([float(word) for word in line.split()])
    assert len(rows) > 50, len(rows)
    for value, quantile, count, *inverse in rows:
        # One library rounds the rank of a percentile, the other takes the next.
        rank = 1 / whole.get_total_count()
        low, high = (
            whole.get_value_at_percentile(100 * min(max(at, 0), 1))
            for at in (quantile - rank, quantile + rank)
        )
        within = low * (1 - PRECISION) <= value * 1e6 <= high * (1 + PRECISION)
        assert within, f"at {quantile}: {value} ms, not from {low} to {high} ns"
        below = sum(n for ns, n in counts(whole).items() if ns <= round(value * 1e6))
        assert count == below, f"{count} at most {value} ms, not {below}"
        # The plotter draws over the last column, which the row of 100 % lacks.
        assert bool(inverse) == (quantile < 1), quantile
        if inverse:
            assert abs(inverse[0] - 1 / (1 - quantile)) < 0.01 * inverse[0]
    near(footer["Max"] * 1e6, whole.get_max_value(), "maximum")
    near(footer["Mean"] * 1e6, whole.get_mean_value(), "mean")
    near(footer["StdDeviation"] * 1e6, whole.get_stddev(), "deviation")
    assert footer["Total count"] == whole.get_total_count()
    assert footer["SubBuckets"] == whole.sub_bucket_count
    assert footer["Buckets"] == whole.bucket_count


def read_hlog(path, made, whole):
    reader = HistogramLogReader(path, empty())
    merged = empty()
    for second in made["series"]:
        interval = reader.get_next_interval_histogram()
        assert interval is not None, f"no second {second['at_s']}"
        assert counts(interval) == counts(HdrHistogram.decode(second["histogram"]))
        start_ms = made["began_unix_ms"] + second["at_s"] * 1000
        assert abs(interval.get_start_time_stamp() - start_ms) < 1, interval.get_start_time_stamp()
        assert abs(interval.get_end_time_stamp() - start_ms - 1000) < 1
        merged.add(interval)
    assert reader.get_next_interval_histogram() is None
    assert abs(reader.get_start_time_sec() * 1000 - made["began_unix_ms"]) < 1
    reader.close()
    assert counts(merged) == counts(whole), "merged seconds are not the whole"
    for percentile in (50, 90, 99, 99.9, 99.99, 100):
        assert merged.get_value_at_percentile(percentile) == whole.get_value_at_percentile(percentile)


def main(tool, directory):
    made, whole = run("read back", 5, 1.0, 0.6, stall_at=2, seconds=5)
    path = os.path.join(directory, "run.json")
    with open(path, "w", encoding="utf-8") as file:
        json.dump(made, file)
    for ending in ("hgrm", "hlog"):
        out = os.path.join(directory, "out." + ending)
        subprocess.run([tool, "report", path, "-o", out], check=True)
    read_hgrm(os.path.join(directory, "out.hgrm"), whole)
    read_hlog(os.path.join(directory, "out.hlog"), made, whole)


if __name__ == "__main__":
    main(*sys.argv[1:])
