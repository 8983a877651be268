"""What the tests of OmniRoute's surface share: a sluice with an admin password, spoken to as its dashboard does. Every success is held
against OmniRoute's own document too (statuses and shapes, in omniroute_document.json), as a contract proxy in between would."""
import json
import pathlib
import re

from conftest import basic_config
from gateway import Sluice
from jsonschema import Draft202012Validator
from upstream import http

PASSWORD = "hunter-two"
ADMIN = "sk-admin-0123456789abcdef"
OFF = "sk-off-0123456789abcdef"
CHEAP = {"password_memory_bytes": 65536, "password_passes": 1}
UUID = r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}"


DOCUMENT_PATH = pathlib.Path(__file__).parent / "omniroute_document.json"
DOCUMENT = json.loads(DOCUMENT_PATH.read_text(encoding="utf-8"))
OPERATIONS = [(method.upper(), re.compile(re.sub(r"\\{\w+\\}", "[^/]+", re.escape(path)) + "$"), path, operation)
              for path, item in DOCUMENT["paths"].items() for method, operation in item.items()]
OPERATIONS.sort(key=lambda row: row[2].count("{"))  # literal segments win


def documented(method, path):
    """(template, operation) of the document, or None."""
    return next(((row[2], row[3]) for row in OPERATIONS if row[0] == method and row[1].match(path)), None)


def fits_document(response):
    """Of a success: a status that the document knows, with what it says of the body."""
    method, path = response.request.method, response.request.url.path
    found = documented(method, path)
    if not found or not response.is_success:
        return
    said = found[1]["responses"].get(str(response.status_code))
    assert said is not None, "%s %s: the document has no status %d" % (method, found[0], response.status_code)
    kind = response.headers.get("content-type", "").split(";")[0]
    schema = said.get("content", {}).get(kind, {}).get("schema")
    if schema:
        response.read()
        Draft202012Validator({**schema, "components": DOCUMENT["components"]}).validate(response.json())


class Omni(Sluice):
    """Calls management paths with the admin key."""

    def check(self, response):
        super().check(response)
        fits_document(response)

    def api(self, method, path, body=None, **options):
        options.setdefault("headers", {"Authorization": "Bearer " + ADMIN})
        return self.call(method, "/api" + path, body, auth=False, **options)

    def add(self, **body):
        r = self.api("POST", "/providers", body)
        assert r.status_code == 201, r.text
        return r.json()["connection"]


def omni_config(origin, **server):
    config = basic_config(origin)
    config["server"].update(CHEAP, admin_password=PASSWORD, **server)
    config["server"]["api_keys"] += [{"id": "ad000001", "key": ADMIN, "label": "operator", "scopes": ["admin"]},
                                     {"id": "0ff00001", "key": OFF, "label": "off", "scopes": ["admin", "inference"], "enabled": False}]
    return config


def start(folder, origin, calls, config=None, **options):
    return Omni(folder, omni_config(origin) if config is None else config, calls, **options)


def models(*ids, status=200):
    return http(status, json.dumps({"object": "list", "data": [{"id": i, "object": "model"} for i in ids]}))


def chat(text="pong"):
    return http(200, json.dumps({"id": "c1", "object": "chat.completion", "created": 1, "model": "m", "choices": [
        {"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2}}))


def ok(r, status=200):
    assert r.status_code == status, r.text
    return r.json()


def invalid(r, field):
    """E2: the schema's fault, naming the field."""
    assert r.status_code == 400, r.text
    error = r.json()["error"]
    assert error["message"] == "Invalid request" and [d["field"] for d in error["details"]] == [field], r.text
    return error["details"][0]["message"]


def refused(r, status):
    """E1: a text."""
    assert r.status_code == status and isinstance(r.json()["error"], str), r.text
    return r.json()["error"]
