"""Holds cargo's metadata (standard input) against deny.toml: licences, banned crates, sources.

What cargo-deny does better, where it is installed: licence texts, several versions of a crate, advisories.
"""

import argparse
import json
import re
import sys
import tomllib

REGISTRY = "registry+https://github.com/rust-lang/crates.io-index"


def allows(expression, allowed):
    """Whether a licence expression can be met with what is allowed. `/` is the old way to write OR."""
    words = re.findall(r"[()]|[^\s()/]+", expression.replace("/", " OR "))

    def joined(operator, part, combine):
        def parse():
            values = [part()]
            while words and words[0] == operator:
                words.pop(0)
                values.append(part())
            return combine(values)

        return parse

    def licence():
        word = words.pop(0)
        if word == "(":
            value = either()
            words.pop(0)
            return value
        if words[:1] == ["WITH"]:
            # An exception allows more, never less.
            del words[:2]
        # `+` offers later versions as well; the one that is allowed may be chosen.
        return word.removesuffix("+") in allowed

    either = joined("OR", joined("AND", licence, all), any)
    return bool(words) and either()


def main():
    argparse.ArgumentParser(description=__doc__).parse_args()
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
