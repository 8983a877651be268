"""/openapi.json as an integrator reads it: well formed, complete, and true for its own examples."""
import fnmatch
import gzip
import json
import re
import subprocess

import pytest
from conftest import basic_config
from gateway import BINARY, provider
from jsonschema import Draft202012Validator

RESPONSE = {
    "type": "object", "required": ["description"],
    "properties": {"description": {"type": "string", "minLength": 1}, "content": {"$ref": "#/$defs/content"},
                   "headers": {"type": "object"}},
    "additionalProperties": False,
}
OPERATION = {
    "type": "object", "required": ["operationId", "summary", "tags", "parameters", "security", "responses"],
    "properties": {
        "operationId": {"type": "string", "pattern": "^[A-Za-z0-9_]+$"},
        "summary": {"type": "string", "minLength": 5},
        "tags": {"type": "array", "items": {"type": "string"}, "minItems": 1},
        "parameters": {"type": "array", "items": {
            "type": "object", "required": ["name", "in", "required", "schema"],
            "properties": {"name": {"type": "string", "minLength": 1}, "in": {"enum": ["path", "query", "header"]},
                           "required": {"type": "boolean"}, "description": {"type": "string"}, "schema": {"type": "object"}},
            "if": {"properties": {"in": {"const": "path"}}}, "then": {"properties": {"required": {"const": True}}},
            "additionalProperties": False}},
        "requestBody": {"type": "object", "required": ["content", "required"],
                        "properties": {"content": {"$ref": "#/$defs/content"}, "required": {"const": True}},
                        "additionalProperties": False},
        "security": {"type": "array", "items": {"type": "object", "minProperties": 1, "maxProperties": 1}},
        "x-sluice-access": {"enum": ["public", "inference", "models", "viewer", "member", "admin", "owner"]},
        "x-sluice-audited": {"type": "boolean"},
        "responses": {"type": "object", "minProperties": 1, "propertyNames": {"pattern": "^[2-5][0-9][0-9]$"},
                      "additionalProperties": RESPONSE},
    },
    "additionalProperties": False,
}
DOCUMENT = {
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "$defs": {"content": {"type": "object", "minProperties": 1, "propertyNames": {"pattern": "^[a-z]+/([a-z.+-]+|[*])$"},
                          "additionalProperties": {"type": "object", "required": ["schema"], "additionalProperties": False,
                                                   "properties": {"schema": {"type": "object"}, "example": {}}}}},
    "type": "object", "required": ["openapi", "info", "servers", "tags", "paths", "components"], "additionalProperties": False,
    "properties": {
        "openapi": {"const": "3.1.0"},
        "info": {"type": "object", "required": ["title", "version", "license"]},
        "servers": {"type": "array", "minItems": 1, "items": {"type": "object", "required": ["url"]}},
        "tags": {"type": "array", "items": {"type": "object", "required": ["name", "description"]}},
        "paths": {"type": "object", "propertyNames": {"pattern": "^/[^*?]*$"}, "additionalProperties": {
            "type": "object", "minProperties": 1, "propertyNames": {"enum": ["get", "head", "post", "put", "patch", "delete"]},
            "additionalProperties": OPERATION}},
        "components": {"type": "object", "required": ["schemas", "securitySchemes", "headers"]},
    },
}


@pytest.fixture
def doc(sluice):
    r = sluice.get("/openapi.json", auth=False)
    assert r.status_code == 200 and r.headers["content-type"].startswith("application/json")
    return r.json()


def fetch(s, path="/openapi.json", method="GET", **headers):
    """(answer, its body as it came over the wire); the client library would say what it takes, and undo it."""
    headers = {"Accept-Encoding": "identity", **{k.replace("_", "-"): v for k, v in headers.items()}}
    with s.http.stream(method, path, headers=headers) as r:
        return r, b"".join(r.iter_raw())


def test_it_is_handed_out_compressed_and_only_to_those_who_lack_it(sluice):
    plain, text = fetch(sluice)
    assert plain.status_code == 200 and "content-encoding" not in plain.headers and plain.headers["vary"] == "accept-encoding"
    assert text == subprocess.run([BINARY, "openapi"], check=True, capture_output=True, timeout=100).stdout.rstrip(b"\n")
    packed, data = fetch(sluice, Accept_Encoding="br;q=0.9, GZIP;q=0.5")
    assert packed.headers["content-encoding"] == "gzip" and packed.headers["vary"] == "accept-encoding"
    assert gzip.decompress(data) == text and len(data) * 8 < len(text)
    tags = plain.headers["etag"], packed.headers["etag"]
    assert len(set(tags)) == 2 and all(re.fullmatch('"[0-9a-z-]+"', tag) for tag in tags), "strong, and one for each form"
    for coding, tag, other in (("identity", *tags), ("gzip", *tags[::-1])):
        for names in (tag, '"x", W/' + tag, "*"):
            r, data = fetch(sluice, Accept_Encoding=coding, If_None_Match=names)
            assert r.status_code == 304 and data == b"" and r.headers["etag"] == tag and r.headers["vary"] == "accept-encoding"
            assert "content-encoding" not in r.headers
        assert fetch(sluice, Accept_Encoding=coding, If_None_Match=other)[0].status_code == 200
    for refused in ("gzip;q=0", "deflate", ""):
        assert "content-encoding" not in fetch(sluice, Accept_Encoding=refused)[0].headers
    head, data = fetch(sluice, method="HEAD", Accept_Encoding="gzip")
    assert head.status_code == 200 and data == b"" and head.headers["content-length"] == packed.headers["content-length"]


def operations(doc):
    return [(m, p, op) for p, item in doc["paths"].items() for m, op in item.items()]


def walk(value, at="#"):
    yield at, value
    if isinstance(value, (dict, list)):
        for key, inner in value.items() if isinstance(value, dict) else enumerate(value):
            yield from walk(inner, "%s/%s" % (at, key))


def test_structure(doc):
    errors = [(list(e.absolute_path), e.message[:200]) for e in Draft202012Validator(DOCUMENT).iter_errors(doc)]
    assert not errors


def test_every_row_is_an_operation(doc):
    """What `sluice endpoints` lists and what the document lists are the same."""
    text = subprocess.run([BINARY, "endpoints"], check=True, capture_output=True, text=True, timeout=100).stdout
    rows = {tuple(line.split("\t")[:2]): line.split("\t") for line in text.splitlines() if not line.startswith("ALIAS\t")}
    served = {(m, re.sub(r"\*}", "}", p)): row for (m, p), row in rows.items()}
    listed = {(m.upper(), p): op for m, p, op in operations(doc)}
    assert set(served) == set(listed) and len(served) > 50
    for where, op in listed.items():
        assert op["summary"] == served[where][4]
        assert (op["security"] == []) == (served[where][3] == "public"), where
        assert op["x-sluice-access"] == served[where][3], where


def test_references_and_names(doc):
    for at, value in walk(doc):
        if isinstance(value, dict) and isinstance(value.get("$ref"), str):
            target = doc
            for part in value["$ref"].removeprefix("#/").split("/"):
                assert part in target, at
                target = target[part]
    ids = [op["operationId"] for _, _, op in operations(doc)]
    assert len(set(ids)) == len(ids)
    tags = {t["name"] for t in doc["tags"]}
    for method, path, op in operations(doc):
        assert set(op["tags"]) <= tags
        named = [p["name"] for p in op["parameters"] if p["in"] == "path"]
        assert named == re.findall(r"{([a-z_]+)}", path)
        assert {name for s in op["security"] for name in s} <= set(doc["components"]["securitySchemes"])
        assert any(status[0] in "23" for status in op["responses"]), (method, path)
        if op["security"]:
            assert {"401", "403"} <= set(op["responses"])


def test_schemas_and_examples(doc):
    bodies = [(p, c) for _, p, op in operations(doc) for c in op.get("requestBody", {}).get("content", {}).values()]
    assert len(bodies) > 25
    for path, content in bodies:
        Draft202012Validator.check_schema(content["schema"])
        missing = set(content["schema"].get("required", [])) - set(content["schema"].get("properties", {}))
        assert not missing, (path, missing)
        if "example" in content:
            Draft202012Validator(content["schema"]).validate(content["example"])
    for schema in doc["components"]["schemas"].values():
        Draft202012Validator.check_schema(schema)


def test_public_reads_answer_as_documented(doc, sluice):
    paths = [(p, op) for m, p, op in operations(doc) if m == "get" and op["security"] == []]
    assert {"/healthz", "/health", "/livez", "/readyz", "/docs", "/openapi.json"} <= {p for p, _ in paths}
    for path, op in paths:
        if "{" in path:
            continue
        r = sluice.get(path, auth=False, follow_redirects=False)
        assert str(r.status_code) in op["responses"], path
        if r.status_code != 200:
            continue
        assert r.headers["content-type"].split(";")[0] in op["responses"]["200"]["content"], path


def test_examples_are_answered(doc, sluice):
    """Each example that asks `echo` gets an answer of the documented kind, refusals included."""
    answered = 0
    for _, path, op in operations(doc):
        if is_control(path, op):
            continue
        for content in op.get("requestBody", {}).get("content", {}).values():
            example = content.get("example")
            if not example or ("model" not in example and "{model}" not in path) or example.get("model", "echo") != "echo":
                continue
            r = sluice.post(path.replace("{model}", "echo"), example)
            assert str(r.status_code) in op["responses"], (path, r.status_code, r.text[:300])
            media = r.headers["content-type"].split(";")[0]
            assert any(fnmatch.fnmatch(media, m) for m in op["responses"][str(r.status_code)]["content"]), (path, media)
            if media == "application/json" and r.status_code == 200:
                schema = op["responses"]["200"]["content"][media]["schema"]
                Draft202012Validator(schema).validate(r.json())
            answered += r.status_code == 200
    assert answered >= 14


def test_errors_have_the_documented_shape(doc, sluice):
    for _, path, op in operations(doc):
        if op["tags"][0].startswith("OmniRoute"):
            continue  # administration
        if path.startswith("/sluice/"):
            continue  # nor is it asked for models here
        if "{" in path or "404" not in op["responses"] or "application/json" not in op.get("requestBody", {}).get("content", {}):
            continue
        example = {**op["requestBody"]["content"]["application/json"].get("example", {}), "model": "no-such-model"}
        r = sluice.post(path, example)
        assert r.status_code == 404, (path, r.text[:300])
        name = op["responses"]["404"]["content"]["application/json"]["schema"]["$ref"].rsplit("/", 1)[1]
        schema = doc["components"]["schemas"][name]
        strict = {**schema, "required": list(schema["properties"])}
        Draft202012Validator(strict).validate(r.json())


ADMIN = "sk-admin-0123456789abcdef"
CHEAP = {"password_memory_bytes": 65536, "password_passes": 1}
ROLES = ("viewer", "member", "admin", "owner")


def is_control(path, op):
    return path.startswith(("/sluice/", "/admin/", "/api/")) and op["tags"][0] not in ("Ollama", "OpenAI")


def control_schemas(doc):
    """(what, schema, example or None) of the control plane's JSON bodies: requests, and answers that have a shape."""
    for method, path, op in operations(doc):
        if not is_control(path, op):
            continue
        taken = op.get("requestBody", {}).get("content", {}).get("application/json")
        if taken:
            yield "in %s %s" % (method.upper(), path), taken["schema"], taken.get("example")
        for status, answer in op["responses"].items():
            content = answer.get("content", {}).get("application/json")
            if status[0] == "2" and content:
                yield "out %s %s" % (method.upper(), path), content["schema"], content.get("example")


def test_every_body_of_the_control_plane_has_an_example_that_fits(doc):
    """Of the requests as strictly as the gateway reads them: with no member that the schema does not name."""
    seen = 0
    for what, schema, example in control_schemas(doc):
        assert example is not None, what
        faults = [(list(e.absolute_path), e.message[:200]) for e in Draft202012Validator(schema).iter_errors(example)]
        assert not faults, (what, faults)
        if what.startswith("in ") and schema.get("properties"):
            assert set(example) <= set(schema["properties"]), what
            assert example or not schema["properties"], what
        seen += 1
    assert seen > 250


def typeless(schema, at=""):
    if not {"type", "$ref", "enum", "anyOf", "oneOf"} & set(schema):
        yield at
    for name, inner in schema.get("properties", {}).items():
        yield from typeless(inner, "%s.%s" % (at, name))
    for name in ("items", "additionalProperties"):
        if isinstance(schema.get(name), dict):
            yield from typeless(schema[name], at)


# Members of answers that may be anything, and why.
ANYTHING = {
    "value": "a setting's: of the type that stands beside it", "default": "a setting's", "body": "whatever the tested endpoint answered",
    "before": "an object of any noun", "after": "an object of any noun", "changes": "objects of any noun",
    "route": "as /sluice/v1/route/explain describes it", "price": "a price of the list, in its own words, or null",
    "cost_nanousd": "an integer, or null where the price is unknown",
    "from_gathered": "an answer in the upstream's format", "to_gathered": "an answer in the client's",
}


# OmniRoute's that are of one type here and of another there, as its contract has them.
SEVERAL = {
    "models": "names, or objects with name and weight; of custom models a list, or lists by provider", "action": "a word, or what a policy does",
    "logs": "objects, of request-logs lines of text", "requestBody": "JSON as it was, a text, or null", "responseBody": "the same",
}


def test_answers_say_of_what_type_they_are(doc):
    for what, schema, _ in control_schemas(doc):
        for at in typeless(schema) if what.startswith("out ") else ():
            assert at.rsplit(".", 1)[1] in (SEVERAL if " /api/" in what else ANYTHING), (what, at)


@pytest.fixture
def throwaway(start_sluice, scripted):
    """One that has what the examples speak of."""
    config = basic_config(scripted.origin)
    config["providers"]["openai"] = provider("chat", "http://127.0.0.1:9")
    config["models"]["gpt-4o"] = "openai"
    config["server"].update(CHEAP, admin_password="correct horse battery", login_max_failures=1000)
    config["server"]["api_keys"].append({"id": "ad000001", "key": ADMIN, "scopes": ["inference", "models", "admin"]})
    return start_sluice(config, key=ADMIN)


# Examples that this gateway has reason to refuse, and in which words.
REFUSED = {"POST /api/pricing/sync": "No price feed", "POST /api/db-backups": "No backup", "POST /api/provider-nodes/validate": "cannot reach"}


def test_no_example_is_refused_as_malformed(doc, throwaway):
    s = throwaway
    owner = s.post("/sluice/v1/session", {"name": "admin", "password": "correct horse battery"}, auth=False).json()["token"]
    s.http.cookies.clear()
    wrong, sent = [], 0
    for method, path, op in operations(doc):
        example = op.get("requestBody", {}).get("content", {}).get("application/json", {}).get("example")
        if not is_control(path, op) or example is None:
            continue
        key = owner if op["x-sluice-access"] == "owner" or "/session" in path else ADMIN
        where = re.sub(r"{(name|id|model|alias|task_id)}", lambda m: {"model": "gpt-4o", "alias": "gpt-latest"}.get(m.group(1), "openai"), path)
        where = where.replace("settings/openai", "settings/max_attempts")
        r = s.call(method.upper(), where, example, headers=s.auth(key), params={"provider": "openai"} if "import" in path else None)
        s.http.cookies.clear()
        sent += 1
        name = "%s %s" % (method.upper(), path)
        if r.status_code in (400, 500) and REFUSED.get(name, "\0") not in r.text:
            wrong.append((name, r.status_code, r.text[:160]))
    assert not wrong, "\n".join(map(str, wrong))
    assert sent > 90


def carrier(scheme, credential):
    """How a request presents it, as the document says."""
    if scheme["type"] == "http":
        return {"headers": {"Authorization": "Bearer " + credential}}
    return {"header": {"headers": {scheme["name"]: credential}}, "query": {"params": {scheme["name"]: credential}},
            "cookie": {"headers": {"Cookie": "%s=%s" % (scheme["name"], credential)}}}[scheme["in"]]


def test_each_named_carrier_lets_in_and_no_other_cookie_does(doc, throwaway):
    """One row of each surface and plane; a key for the data plane, a session for what administers."""
    s = throwaway
    session = s.post("/sluice/v1/session", {"name": "admin", "password": "correct horse battery"}, auth=False).json()["token"]
    s.http.cookies.clear()
    schemes, rows = doc["components"]["securitySchemes"], {}
    for method, path, op in operations(doc):
        if op["security"] and "{" not in path and (method == "get" or op["x-sluice-access"] == "inference"):
            rows.setdefault((op["tags"][0], op["x-sluice-access"] in ROLES), (method.upper(), path, op))
    assert len(rows) >= 8
    cookies = {name for name, scheme in schemes.items() if scheme.get("in") == "cookie"}
    for (surface, administers), (method, path, op) in rows.items():
        named = {name for entry in op["security"] for name in entry}
        credential = session if administers else ADMIN
        for name, scheme in schemes.items():
            r = s.call(method, path, b"{}" if method == "POST" else None, auth=False, **carrier(scheme, credential))
            if name in named:
                assert r.status_code not in (401, 403), (surface, path, name, r.text[:200])
            elif name in cookies or name == "queryKey":
                assert r.status_code == 401, (surface, path, name, r.text[:200])
    control = {surface: {name for entry in op["security"] for name in entry} & cookies for (surface, administers), (_, _, op) in rows.items() if administers}
    assert control["llm-rosetta"] == {"session", "rosetta_admin_session"} and control["sluice"] == {"session"}
    assert control["OmniRoute"] == control["OmniRoute, typed errors"] == {"session", "auth_token"}
