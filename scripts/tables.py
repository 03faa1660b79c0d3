"""Writes the pages of tables that are made from the code: docs/CODES.md and docs/API-FIELDS.md.

Usage: tables.py [--check]     (with --check it writes nothing, and exits with 1 if a page is not as it would write it)
"""
import json
import pathlib
import re
import sys

ROOT = pathlib.Path(__file__).resolve().parents[1]
CLOSES = ROOT / "shards/src/close.rs"
NAMES = ROOT / "shards/src/wire/stentor/write.rs"
API = ROOT / "src/control/openapi.json"
MADE = "This page is made from the code by `scripts/tables.py`; a test holds it to it."

# One meaning for each code: a code without one stops this script.
ERRORS = {
    "malformed": "no request in JSON, or a field of another form than the protocol has",
    "unknown_type": "no request of this `type`",
    "missing_field": "a field is missing; the text names it",
    "bad_name": "no name of a channel or a user",
    "bad_id": "an `id` that is no string or number of at most 64 bytes",
    "binary": "a binary message; bytes are a `body` with `encoding`",
    "rate": "too many messages or requests; again after a pause",
    "unknown_user": "a direct message to a user without clients",
    "not_joined": "the client is not in the channel, or a `leave` has taken the join back",
    "too_many_channels": "more channels than a client may have (`channels_per_client`)",
    "no_room": "a shard knows as many channels as it may (`channels_per_shard`)",
    "no_history": "the channel keeps no history",
    "wrong_epoch": "`since` is of another numbering of the channel",
    "unknown_namespace": "no rules know channels of this namespace",
    "denied": "the rules of the channel do not allow it",
    "not_available": "the rules of the channel have it turned off, or there is no backend for it",
    "too_large": "larger than the rules of the channel allow",
    "bad_token": "the token is not one to go on with: wrong, ended, or of another user",
    "try_again": "the same request may succeed a little later: a key is not known yet",
    "unavailable": "the engine that joins nodes cannot be reached; a message may be published all the same",
}


def is_final(code):
    """The rule of the protocol: the same client would meet the same end."""
    return code in (1002, 1007, 1008) or code >= 3500


def codes():
    rows = re.findall(r'Self::\w+ => \((Some\((\d+)\)|None), "([^"]*)", "(\w+)"\)', CLOSES.read_text())
    if len(rows) < 15:
        sys.exit(f"tables: {CLOSES} has no table of close codes any more")
    yield "# Close codes and error codes"
    yield MADE
    yield "## Close codes"
    yield (
        "Of plain and `stentor.v1` clients; [PROTOCOL.md](../shards/PROTOCOL.md#close-codes) says when each is used. The label is the `reason` of "
        "`stentor_disconnects_total`. Clients of other protocols have the codes of theirs."
    )
    lines = ["| code | reason text | label | connect again |", "| --- | --- | --- | --- |"]
    for _, code, text, label in sorted(rows, key=lambda row: (int(row[1] or 0) or 9999, row[3])):
        again = ("no" if is_final(int(code)) else "yes") if code else ""
        lines.append(f"| {code or 'none'} | {f'`{text}`' if text else ''} | `{label}` | {again} |")
    yield "\n".join(lines)

    body = NAMES.read_text().split("fn name_of(", 1)[1].split("\n}\n", 1)[0]
    names = re.findall(r'=> "(\w+)"', body)
    if set(names) != set(ERRORS):
        sys.exit(f"tables: error codes without a meaning here, or gone: {set(names) ^ set(ERRORS)}")
    yield "## Error codes of `stentor.v1`"
    lines = ["| code | meaning |", "| --- | --- |"]
    yield "\n".join(lines + [f"| `{name}` | {ERRORS[name]} |" for name in names])
    yield "Errors of the API have numbers: [API.md](../src/control/API.md#errors)."


def resolved(schema, api):
    while "$ref" in schema:
        schema = {**api["components"]["schemas"][schema["$ref"].rsplit("/", 1)[1]], **{k: v for k, v in schema.items() if k != "$ref"}}
    return schema


def kind_of(schema, api):
    schema = resolved(schema, api)
    if "oneOf" in schema:
        return " or ".join(dict.fromkeys(kind_of(one, api) for one in schema["oneOf"]))
    kind = schema.get("type", "any JSON")
    if isinstance(kind, list):
        kind = " or ".join(kind)
    if kind == "array":
        return f"array of {kind_of(schema.get('items', {}), api)}"
    if "enum" in schema:
        return " or ".join(f"`{json.dumps(one)}`" for one in schema["enum"])
    return kind


def bounds_of(schema, api):
    """What a value must be beside its type."""
    schema = resolved(schema, api)
    words = {"minimum": "at least {}", "maximum": "at most {}", "maxLength": "at most {} characters",
             "minItems": "at least {}", "maxItems": "at most {}", "minLength": "at least {} characters"}  # fmt: skip
    said = schema.get("description", "").rstrip(".")
    return ", ".join([form.format(schema[key]) for key, form in words.items() if schema.get(key)]), said


def fields(schema, api, before=""):
    """Rows for the fields of an object, those inside it behind it."""
    schema = resolved(schema, api)
    required = schema.get("required", [])
    for name, one in schema.get("properties", {}).items():
        bounds, said = bounds_of(one, api)
        kind = kind_of(one, api) + (f", {bounds}" if bounds else "")
        yield f"| `{before}{name}` | {kind} | {'yes' if name in required else ''} | {said} |"
        inner = resolved(one, api)
        if inner.get("type") == "array":
            inner, mark = resolved(inner.get("items", {}), api), "[]"
        else:
            mark = ""
        # Commands of a batch have the parameters of their methods.
        if inner.get("properties") and name != "commands":
            yield from fields(inner, api, f"{before}{name}{mark}.")


def result_of(call, api):
    answer = call["responses"].get("200", {}).get("content", {})
    schema = next(iter(answer.values()), {}).get("schema", {})
    for one in schema.get("oneOf", [schema]):
        result = resolved(one, api).get("properties", {}).get("result")
        if result is not None:
            return result
    return None


def api_fields():
    api = json.loads(API.read_text())
    yield "# Fields of the API"
    yield f"{MADE} [API.md](../src/control/API.md) says what the methods do; the same is at `GET /api/openapi.json`, for programs."
    for path, verbs in api["paths"].items():
        call = verbs.get("post")
        if call is None or "requestBody" not in call or path == "/api":
            continue
        yield f"## {path.removeprefix('/api/')}"
        yield f"`POST {path}`. {call['summary']}"
        schema = next(iter(call["requestBody"]["content"].values()))["schema"]
        head = ["| parameter | type | required | meaning |", "| --- | --- | --- | --- |"]
        rows = list(fields(schema, api))
        yield "\n".join(head + rows) if rows else "No parameters."
        result = result_of(call, api)
        rows = list(fields(result, api)) if result else []
        if rows:
            head = ["| in the result | type | always | meaning |", "| --- | --- | --- | --- |"]
            yield "\n".join(head + rows)


def main(is_check):
    wrong = []
    for name, parts in (("CODES.md", codes()), ("API-FIELDS.md", api_fields())):
        page, text = ROOT / "docs" / name, "\n\n".join(parts) + "\n"
        if is_check and (not page.exists() or page.read_text() != text):
            wrong.append(name)
        elif not is_check:
            page.write_text(text)
    if wrong:
        sys.exit(f"tables: {', '.join(wrong)} in docs is not what the code says: run scripts/tables.py")


if __name__ == "__main__":
    if "--help" in sys.argv or "-h" in sys.argv:
        print(__doc__)
        sys.exit()
    if sys.argv[1:] not in ([], ["--check"]):
        sys.exit(__doc__)
    main(sys.argv[1:] == ["--check"])
