"""Prints a CycloneDX list without what differs from build to build: a serial number, the time, this machine's paths.

Usage: sbom.py FILE ROOT     (scripts/release.sh calls it; standard library only)
"""
import json
import os
import sys
import time


def without(value, root):
    """The same with every mention of a folder of this machine taken out."""
    if isinstance(value, dict):
        return {key: without(one, root) for key, one in value.items()}
    if isinstance(value, list):
        return [without(one, root) for one in value]
    return value.replace(root, "/stentor") if isinstance(value, str) else value


def main(path, root):
    with open(path) as file:
        listed = json.load(file)
    listed.pop("serialNumber", None)
    moment = time.gmtime(int(os.environ["SOURCE_DATE_EPOCH"]))
    listed["metadata"]["timestamp"] = time.strftime("%Y-%m-%dT%H:%M:%SZ", moment)
    listed["components"].sort(key=lambda one: one["bom-ref"])
    listed["dependencies"].sort(key=lambda one: one["ref"])
    json.dump(without(listed, root), sys.stdout, indent=1, sort_keys=True)
    print()


if __name__ == "__main__":
    if "--help" in sys.argv or "-h" in sys.argv:
        print(__doc__)
        sys.exit()
    if len(sys.argv) != 3 or "SOURCE_DATE_EPOCH" not in os.environ:
        sys.exit(__doc__)
    main(*sys.argv[1:])
