"""Holds cargo's metadata (standard input) against deny.toml: licences, banned crates, sources.

What cargo-deny does better, where it is installed: licence texts, several versions of a crate, advisories.
"""

import json
import re
import sys
import tomllib

REGISTRY = "registry+https://github.com/rust-lang/crates.io-index"


def allows(expression, allowed):
    """Whether a licence expression can be met with what is allowed. `/` is the old way to write OR."""
    words = re.findall(r"[()]|[^\s()/]+|/", expression.replace("/", " OR "))
    python = []
    skip = False
    for word in words:
        if skip:
            skip = False
        elif word == "WITH":
            # An exception allows more, never less.
            skip = True
        elif word in ("OR", "AND"):
            python.append(word.lower())
        elif word in "()":
            python.append(word)
        else:
            # `+` offers later versions as well; the one that is allowed may be chosen.
            python.append(str(word.removesuffix("+") in allowed))
    return meets(python)


def meets(words):
    """Evaluates `or` and `and` over True and False, with brackets; `and` binds closer."""
    def alternative(at):
        value, at = sequence(at)
        while at < len(words) and words[at] == "or":
            right, at = sequence(at + 1)
            value = value or right
        return value, at

    def sequence(at):
        value, at = atom(at)
        while at < len(words) and words[at] == "and":
            right, at = atom(at + 1)
            value = value and right
        return value, at

    def atom(at):
        if words[at] == "(":
            value, at = alternative(at + 1)
            return value, at + 1
        return words[at] == "True", at + 1

    return bool(words) and alternative(0)[0]


def main():
    with open("deny.toml", "rb") as file:
        rules = tomllib.load(file)
    allowed = set(rules["licenses"]["allow"])
    # A ban with wrappers is about who may use a crate, which is cargo-deny's to see.
    banned = {ban["crate"] for ban in rules["bans"]["deny"] if "wrappers" not in ban}
    faults = []
    packages = json.load(sys.stdin)["packages"]
    for package in packages:
        name = f"{package['name']} {package['version']}"
        if not allows(package["license"] or "", allowed):
            faults.append(f"{name}: licence {package['license']}")
        if package["name"] in banned:
            faults.append(f"{name}: banned")
        if package["source"] not in (None, REGISTRY):
            faults.append(f"{name}: from {package['source']}")
    for fault in faults:
        print(f"deny: {fault}", file=sys.stderr)
    print(f"deny: {len(packages)} packages, {len(faults)} faults")
    sys.exit(bool(faults))


main()
