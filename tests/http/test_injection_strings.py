"""Hostile strings in every string field and path parameter of the control plane, and every string of the data plane: always a clean answer, nothing executed, nothing
bent, and what is stored comes back as it was sent.

Each field of each row meets every fifth string, the next field the next fifth, so that each string meets each row and nothing is
left out for good; `make test-faults` tries each with each."""
import json
import os
import re
import zlib
import urllib.parse

import pytest
from conftest import basic_config
from gateway import Sluice
from jsonschema import Draft202012Validator

ADMIN = "sk-admin-0123456789abcdef"
# As the text stands in JSON: with escapes where Python cannot say it, and bytes that no UTF-8 text has.
STRINGS = {
    "sql": "'; DROP TABLE key; --", "sql-quote": "a'b\"c`d", "sql-union": "x') UNION SELECT sealed_key FROM provider --",
    "json": '","admin":true,"x":"', "json-close": '"}],"server":{"require_login":false}}//', "comment": "*/ // /* ${HOME}",
    "format": "%s%n%x%9999999d%p", "traversal": "../../../../etc/passwd", "traversal-encoded": "..%2f..%2fetc%2fpasswd%00",
    "xss": "<script>alert(1)</script><img src=x onerror=alert(1)>", "header": "a\r\nSet-Cookie: x=1\r\n\r\nHTTP/1.1 200 OK",
    "nul": "a\x00b", "controls": "".join(map(chr, range(1, 32))) + "\x7f", "unicode": "\u202eRTL \ufeff \u0301 \U0001f600 \ufffe",
    "shell": "$(touch /tmp/x) `id` ; | & > <", "megabyte": "A" * 1_000_000, "empty": "", "spaces": " \t ",
    "placeholder": "${NO_SUCH_VARIABLE}", "file": "file:/etc/passwd", "long-number": "9" * 400, "true": "true",
}
RAW = {"bad-utf8": b"\xff\xfe\xc3\x28", "overlong": b"\xc0\xaf", "surrogate": b"\xed\xa0\x80", "half-escape": rb"\ud800", "bad-escape": rb"\x41"}
CONTROL = {"sluice", "llm-rosetta", "OmniRoute", "OmniRoute, typed errors"}  # surfaces; of sluice's own only what lies below /sluice/
SHARE = 1 if os.environ.get("SLUICE_TEST_FAULTS") == "all" else 5
MASKED = re.compile("key|proxy|password|secret|token|sealed")
# What makes a body good enough to be looked at further, by field name.
GOOD = {"name": "inj-%d", "type": "openai-compatible", "base_url": "http://127.0.0.1:1", "provider": "echo", "models": ["m-%d"],
        "targets": [{"provider": "echo"}], "api_key": "k-injection-0001", "endpoint": "/v1/chat/completions", "payload": {"model": "none"},
        "value": "x", "username": "user-%d", "password": "correct horse battery staple", "role": "viewer"}


@pytest.fixture(scope="module")
def server(scripted, calls, tmp_path_factory):
    config = basic_config(scripted.origin)
    config["server"]["api_keys"].append({"id": "ad000001", "key": ADMIN, "scopes": ["inference", "models", "admin"]})
    s = Sluice(tmp_path_factory.mktemp("injection"), config, calls, key=ADMIN)
    s.http.timeout = 120
    s.counter = 0
    yield s
    s.stop()


def is_stream(op):
    """Answers that do not end by themselves have tests of their own."""
    return "server-sent events" in op["summary"] or "text/event-stream" in op["responses"].get("200", {}).get("content", {})


def every_row(s):
    if not hasattr(s, "document"):
        s.document = s.get("/openapi.json").json()
    for path, item in s.document["paths"].items():
        for method, op in item.items():
            yield method.upper(), path, op


def rows(s):
    """(method, path, operation) of the control plane's rows."""
    for method, path, op in every_row(s):
        if op["tags"][0] in CONTROL and (op["tags"][0] != "sluice" or path.startswith("/sluice/")) and not is_stream(op):
            yield method, path, op


def operations(s):
    for method, path, op in rows(s):
        yield method, path, op.get("requestBody", {}).get("content", {}).get("application/json", {}).get("schema")


def in_turn(kind, *place):
    """Whether it is this string's turn at this place. A megabyte takes long to read: fewer places."""
    share = SHARE * 8 if kind == "megabyte" else SHARE
    return (zlib.crc32(repr(place).encode()) + list((*STRINGS, *RAW)).index(kind)) % share == 0


def strings_in(schema, at=()):
    """Paths of the string fields of an object's schema, into arrays and objects."""
    for name, field in schema.get("properties", {}).items():
        yield from places(field, (*at, name))


def places(field, at):
    kinds = field.get("type")
    kinds = kinds if isinstance(kinds, list) else [kinds]
    if "string" in kinds or kinds == [None]:
        yield at
    if "array" in kinds:
        yield from places(field.get("items", {}), (*at, 0))
    if "object" in kinds and field.get("properties"):
        yield from strings_in(field, at)


def good(schema, number):
    body = {}
    for name, field in schema.get("properties", {}).items():
        if name in GOOD and (name in schema.get("required", []) or name not in ("name", "type", "value")):
            value = GOOD[name]
            body[name] = json.loads(json.dumps(value).replace("%d", str(number)))
        elif name in schema.get("required", []):
            body[name] = {"integer": 1, "boolean": True, "array": [], "object": {}}.get(field.get("type"), "x")
    return body


def put(body, at, value):
    """The value at the place; arrays on the way have one element."""
    for i, step in enumerate(at[:-1]):
        inner = [] if at[i + 1] == 0 else {}
        if isinstance(body, list):
            if not body:
                body.append(inner)
            body = body[0]
        else:
            if not isinstance(body.get(step), type(inner)):
                body[step] = inner
            body = body[step]
    if isinstance(body, list):
        body[:] = [value]
    else:
        body[at[-1]] = value


def fill(path, value):
    quoted = urllib.parse.quote(value, safe="")
    return re.sub(r"{[a-z_]+}", lambda m: quoted, path)


def clean(s, r, what):
    assert r.status_code < 500 or (r.status_code == 500 and r.json().get("saved") is True), (what, r.status_code, r.text[:300])
    assert "set-cookie" not in r.headers or "x=1" not in r.headers["set-cookie"], what
    assert r.headers.get("content-type", "application/json").startswith("application/json"), what
    if r.content:
        r.json()
    if r.status_code == 500:  # an address that saved, but does not load: taken back
        s.write_config(s.first_config)
        assert s.post("/admin/api/config/reload").status_code == 200


def verbatim(r, at, value, what):
    """Where the answer shows the field, it shows what was sent."""
    if what[1:] == ("POST", "/api/settings/proxies", ("id",)):
        return  # it names its proxies itself
    if r.status_code >= 300 or value == "" or MASKED.search(str(at[-1])) or not r.content:
        return
    shown = r.json()
    for step in at:
        try:
            shown = shown[step]
        except (KeyError, IndexError, TypeError):
            return
    if isinstance(shown, str) and at[0] not in ("value",):
        assert shown == value, what


@pytest.fixture(autouse=True)
def alive(server):
    server.first_config = json.loads(server.config_path.read_text(encoding="utf-8"))
    yield
    assert server.process.poll() is None, server.output()[-3000:]
    assert server.get("/sluice/v1/info").status_code == 200
    server.write_config(server.first_config)
    assert server.post("/admin/api/config/reload").status_code == 200


@pytest.mark.parametrize("kind", STRINGS)
def test_every_string_field(server, kind):
    value, tried = STRINGS[kind], 0
    for method, path, schema in operations(server):
        for at in strings_in(schema or {}):
            if at == ("value",) and path.startswith("/sluice/v1/settings/"):
                continue  # each setting is tried below
            if not in_turn(kind, method, path, at):
                continue
            server.counter += 1
            body = good(schema, server.counter)
            put(body, at, value)
            where = fill(path, "inj-%d" % server.counter)
            if path.startswith("/admin/api/config/models/"):
                body.setdefault("provider", "echo")
            r = server.call(method, where, json.dumps(body).encode())
            clean(server, r, (kind, method, path, at))
            verbatim(r, at, value, (kind, method, path, at))
            tried += 1
    assert tried > (5 if kind == "megabyte" else 20)


def texts(value, at=()):
    """Paths of the strings in an example."""
    if isinstance(value, str):
        yield at
    elif isinstance(value, (dict, list)):
        for key, inner in value.items() if isinstance(value, dict) else enumerate(value):
            yield from texts(inner, (*at, key))


def data_rows(s):
    """(path, operation, example) of the data plane's rows with a JSON body."""
    for method, path, op in every_row(s):
        example = op.get("requestBody", {}).get("content", {}).get("application/json", {}).get("example")
        if method == "POST" and op["x-sluice-access"] == "inference" and example:
            yield path, op, example


def answered(s, r, op, what):
    """A documented answer, or a refusal in the caller's format."""
    assert r.status_code < 500 and str(r.status_code) in op["responses"], (what, r.status_code, r.text[:300])
    assert "set-cookie" not in r.headers, what
    if r.status_code >= 400:
        name = op["responses"][str(r.status_code)]["content"]["application/json"]["schema"]["$ref"].rsplit("/", 1)[1]
        schema = s.document["components"]["schemas"][name]
        Draft202012Validator({**schema, "required": list(schema["properties"])}).validate(r.json())


@pytest.mark.parametrize("kind", [*STRINGS, *RAW])
def test_every_string_field_of_the_data_plane(server, kind):
    tried = 0
    for path, op, example in data_rows(server):
        for at in texts(example):
            if not in_turn(kind, path, at):
                continue
            body = json.loads(json.dumps(example))
            put(body, at, STRINGS.get(kind, "@@@"))
            raw = json.dumps(body).encode().replace(b"@@@", RAW.get(kind, b"@@@"))
            r = server.call("POST", path.replace("{model}", "echo"), raw)
            answered(server, r, op, (kind, path, at))
            assert kind not in RAW or r.status_code >= 400, (kind, path, at)
            tried += 1
        if "{model}" in path and kind in STRINGS and kind not in ("megabyte", "empty") and in_turn(kind, path):
            r = server.call("POST", fill(path, STRINGS[kind]), example)
            answered(server, r, op, (kind, path))
    assert tried > (0 if kind == "megabyte" else 5)


@pytest.mark.parametrize("kind", [k for k in STRINGS if k not in ("megabyte", "empty")])
def test_every_path_parameter(server, kind):
    tried = 0
    for method, path, schema in operations(server):
        if "{" not in path or not in_turn(kind, method, path):
            continue
        server.counter += 1
        r = server.call(method, fill(path, STRINGS[kind]), json.dumps(good(schema or {}, server.counter)).encode() if schema else None)
        clean(server, r, (kind, method, path))
        tried += 1
    assert tried > 10


@pytest.mark.parametrize("kind", RAW)
def test_bytes_that_are_no_text(server, kind):
    for method, path, schema in operations(server):
        for at in strings_in(schema or {}):
            if not in_turn(kind, method, path, at):
                continue
            server.counter += 1
            body = good(schema, server.counter)
            put(body, at, "@@@")
            raw = json.dumps(body).encode().replace(b"@@@", RAW[kind])
            r = server.call(method, fill(path, "inj-%d" % server.counter), raw)
            clean(server, r, (kind, method, path, at))
            lenient = path == "/admin/api/keys"  # a body that is none counts as {}
            assert r.status_code >= 400 or lenient, (kind, method, path, at, r.text[:200])
    for method, path, _ in operations(server):
        if "{" in path:
            where = re.sub(r"{[a-z_]+}", "".join("%%%02X" % b for b in RAW[kind]), path)
            clean(server, server.call(method, where, {}), (kind, method, path))


@pytest.mark.parametrize("kind", [k for k in STRINGS if k != "empty"])
def test_texts_that_are_stored_come_back(server, kind):
    """Labels and names, through the file or the store, after a reload. References are an owner's to make, and a key is none."""
    value = STRINGS[kind]
    refused = 403 if "${" in value or value.startswith("file:") else 400
    r = server.post("/admin/api/keys", json.dumps({"label": value}).encode())
    assert r.status_code in (200, 400, refused), r.text[:200]
    if r.status_code == 200:
        made = r.json()["key"]
        assert made["label"] == value
        assert server.post("/admin/api/config/reload").status_code == 200
        listed = {k["id"]: k["label"] for k in server.get("/admin/api/keys").json()["keys"]}
        assert listed[made["id"]] == value
        assert server.call("DELETE", "/admin/api/keys/" + made["id"]).status_code == 200
    body = {"provider": "echo", "capabilities": [value], "upstream_model": value}
    r = server.call("PUT", "/admin/api/config/models/stored-%d" % len(value), json.dumps(body).encode())
    assert r.status_code in (200, 400, refused), r.text[:200]
    if r.status_code == 200:
        got = server.get("/admin/api/config").json()["models"]["stored-%d" % len(value)]
        assert got["capabilities"] == [value] and got["upstream_model"] == value
        assert server.call("DELETE", "/admin/api/config/models/stored-%d" % len(value)).status_code == 200


@pytest.mark.parametrize("kind", STRINGS)
def test_every_text_setting(server, kind):
    """Its value, and the question whether it would take it: the two agree, and what was taken is what is shown."""
    value, tried = STRINGS[kind], 0
    for setting in server.get("/sluice/v1/settings").json()["data"]:
        where = "/sluice/v1/settings/" + setting["name"]
        if setting["type"] != "string" or not in_turn(kind, where):
            continue
        body = json.dumps({"value": value}).encode()
        asked = server.post(where + "/check", body)
        clean(server, asked, (kind, where, "check"))
        r = server.call("PATCH", where, body)
        clean(server, r, (kind, where))
        assert (asked.status_code == 200) == (r.status_code == 200) or r.status_code in (403, 409), (kind, where, asked.text[:200], r.text[:200])
        if kind in ("nul", "controls") or (kind == "header" and setting["name"] != "system_prompt"):
            assert r.status_code >= 400, (kind, where)
        if r.status_code == 200:
            now = {x["name"]: x["value"] for x in server.get("/sluice/v1/settings").json()["data"]}[setting["name"]]
            assert now == value or MASKED.search(setting["name"]), (kind, where)
            assert server.call("PATCH", where, {"value": None}).status_code == 200, where
        tried += 1
    assert tried > 0 or kind == "megabyte"


@pytest.mark.parametrize("kind", STRINGS)
def test_every_query_parameter(server, kind):
    tried = 0
    for method, path, op in rows(server):
        names = [p["name"] for p in op["parameters"] if p["in"] == "query"]
        if method == "GET":
            names += ["cascade", "limit", "unknown"]
        if "application/json" not in op["responses"].get("200", {}).get("content", {"application/json": None}):
            continue  # a page: the same bytes whatever is asked
        value = STRINGS[kind][:2000]  # what a request line holds
        schema = op.get("requestBody", {}).get("content", {}).get("application/json", {}).get("schema")
        for name in names:
            if in_turn(kind, path, name) if method == "GET" else in_turn(kind, method, path, name):
                server.counter += 1
                body = json.dumps(good(schema, server.counter)).encode() if schema else None
                clean(server, server.call(method, fill(path, "inj"), body, params={name: value}), (kind, method, path, name))
                tried += 1
    assert tried > (5 if kind == "megabyte" else 20)
