"""The API as its own description says: real requests and answers hold against its schemas, and
every path in it is there."""
import json
import sys
import urllib.error
import urllib.request

from jsonschema import Draft202012Validator

API = sys.argv[1]

# A request that succeeds for each method; those that are left out need no parameters.
ABOUT = {"user": "ana", "channel": "room"}
REQUESTS = {
    "publish": {"channel": "room", "data": {"n": 1}, "tags": {"a": "b"}, "idempotency_key": "k"},
    "broadcast": {"channels": ["room", "nowhere:1"], "b64data": "AP8="},
    "direct": {"user": "ana", "data": 1},
    "subscribe": {
        **ABOUT, "recover_since": {"offset": 0, "epoch": "0"}, "expire_at": 4_000_000_000,
        "info": {"n": 1}, "data": [1], "override": {"force_push_join_leave": {"value": True}},
    },
    "unsubscribe": ABOUT,
    "disconnect": {"user": "ana", "whitelist": ["9-9-9"]},
    "refresh": {"user": "ana", "expire_at": 4_000_000_000},
    "revoke": {"user": "ana"},
    "presence": {"channel": "room"},
    "presence_stats": {"channel": "room"},
    "history": {"channel": "room", "limit": -1, "reverse": True},
    "history_remove": {"channel": "room"},
    "channels": {"pattern": "*"},
    "batch": {"commands": [{"info": {}}, {"publish": {"channel": "room"}}]},
}
REFUSED = {"rpc": 108}
# A stream without an end, and the end of the server: tests/e2e/dashboard.rs calls them.
NOT_CALLED = {"live", "drain"}


def ask(verb, path, body=None):
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(API + path, data, method=verb)
    try:
        with urllib.request.urlopen(request, timeout=20) as answer:
            return answer.status, answer.headers.get_content_type(), answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.headers.get_content_type(), error.read().decode()


DESCRIPTION = json.loads(ask("GET", "/api/openapi.json")[2])


def hold(value, schema, what):
    whole = {**schema, "components": DESCRIPTION["components"]}
    errors = list(Draft202012Validator(whole).iter_errors(value))
    assert not errors, (what, value, [error.message for error in errors])


def follow(schema):
    reference = schema.get("$ref")
    if not reference:
        return schema
    found = DESCRIPTION
    for part in reference.removeprefix("#/").split("/"):
        found = found[part]
    return found


def answer_schema(operation, status):
    responses = operation["responses"]
    content = follow(responses.get(str(status), responses["default"]))["content"]
    return content


def check(path, verb, operation):
    name = path.rsplit("/", 1)[1]
    body = None
    if name in NOT_CALLED:
        return
    if verb == "post":
        body = {"id": 3, "method": "info"} if path == "/api" else REQUESTS.get(name, {})
        hold(body, operation["requestBody"]["content"]["application/json"]["schema"], path)
    status, kind, text = ask(verb.upper(), path, body)
    assert status == 200, (path, status, text)
    content = answer_schema(operation, status)
    assert kind in content, (path, kind)
    if kind != "application/json":
        return
    answer = json.loads(text)
    code = REFUSED.get(name)
    if path != "/api":  # Its lines have an id beside the result.
        hold(answer, content[kind]["schema"], path)
    if verb == "post":
        assert answer.get("error", {}).get("code") == code, (path, answer)


def check_refusals():
    for verb, path, body, status in (
        ("POST", "/api/publish", {"channel": 7}, 200),
        ("POST", "/api/history", {"channel": "room", "since": {"epoch": "x"}}, 200),
        ("POST", "/api/publish", None, 200),
        ("PUT", "/api/publish", {}, 405),
        ("GET", "/api/nothing", None, 404),
    ):
        found, kind, text = ask(verb, path, body)
        assert found == status, (path, found, text)
        operation = DESCRIPTION["paths"]["/api/publish"]["post"]
        hold(json.loads(text), answer_schema(operation, status)[kind]["schema"], (verb, path))
        assert "error" in json.loads(text), text


for schema in DESCRIPTION["components"]["schemas"].values():
    Draft202012Validator.check_schema(schema)
for where, verbs in DESCRIPTION["paths"].items():
    for word, operation in verbs.items():
        check(where, word, operation)
check_refusals()
