"""The committed sample: steps that were measured, the plan that they give, and the example in the
README.
"""

import json
import pathlib

from . import store

FOLDER = pathlib.Path(__file__).parent / "sample"
README = pathlib.Path(__file__).parent.parent / "README.md"

# What the sample's plan is asked.
QUESTION = [
    "plan",
    "--data",
    str(FOLDER),
    "--limits",
    "stored",
    "--target-clients",
    "1M",
    "--rate",
    "10/s",
    "--bytes",
    "256",
    "--p99",
    "50ms",
    "--nic",
    "10Gbit/s",
    "--what-if",
    "bytes=1024",
    "--what-if",
    "rate=20",
    "--what-if",
    "channel-size=100",
    "--what-if",
    "p99=20ms",
]

SHOWN = "scripts/plan.sh --target-clients 1M --rate 10/s --bytes 256 --p99 50ms --nic 10Gbit/s"

BEGIN, END = "<!-- example -->\n", "<!-- /example -->"


def example(words):
    """The README with another example in it."""
    text = README.read_text(encoding="utf-8")
    before, _, rest = text.partition(BEGIN)
    _, _, after = rest.partition(END)
    return f"{before}{BEGIN}```text\n$ {SHOWN} ...\n{words}```\n{END}{after}"


def write(data, said):
    """Takes the steps of a folder as the sample, and what they give with them. `said` runs the tool
    and returns what it prints.
    """
    steps = store.bundle(data, FOLDER)
    words = said(QUESTION)
    (FOLDER / "plan.txt").write_text(words, encoding="utf-8")
    made = json.loads(said([*QUESTION, "--json", "-"]))
    (FOLDER / "plan.json").write_text(json.dumps(made, indent=1) + "\n", encoding="utf-8")
    (FOLDER / "holdout.txt").write_text(said(["holdout", "--data", str(FOLDER)]), encoding="utf-8")
    README.write_text(example(words), encoding="utf-8")
    return steps
