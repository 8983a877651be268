"""The canonical API under /sluice/v1: who may, what it changes, and that a refused change changes nothing."""
import json
import os
import re
import subprocess

import pytest
from conftest import basic_config
from formats import FORMATS
from formats.common import Ask, Turn
from gateway import BINARY, wait_for
from upstream import answer

ADMIN = "sk-admin-0123456789abcdef"
READS = ["/sluice/v1/info", "/sluice/v1/providers", "/sluice/v1/provider-kinds", "/sluice/v1/models", "/sluice/v1/keys",
         "/sluice/v1/settings"]


@pytest.fixture
def admin(start_sluice, scripted, upstream):
    config = basic_config(scripted.origin)
    config["server"]["api_keys"].append({"id": "ad000001", "key": ADMIN, "label": "operator", "scopes": ["inference", "models", "admin"]})
    s = start_sluice(config)
    client_key, s.key = s.key, ADMIN
    s.client_key = client_key
    return s


def listed(s, path):
    r = s.get(path)
    assert r.status_code == 200, r.text
    return r.json()["data"]


def by(field, rows):
    return {row[field]: row for row in rows}


@pytest.mark.parametrize("path", READS)
def test_only_administrators(sluice, path):
    assert sluice.get(path, auth=False).status_code == 401
    assert sluice.get(path).status_code == 403
    assert sluice.get(path, headers={"Authorization": "Bearer wrong-key"}, auth=False).status_code == 401


def test_every_list_is_readable(admin):
    for path in READS:
        assert admin.get(path).status_code == 200, path
    info = admin.get("/sluice/v1/info").json()
    assert re.match(r"\d+\.\d+", info["version"]) and info["keys"] == 2
    kinds = by("id", listed(admin, "/sluice/v1/provider-kinds"))
    assert {"openai", "anthropic", "google", "ollama", "azure", "llamacpp", "echo"} <= set(kinds)


def test_a_provider_and_a_model_made_over_the_api_serve(admin, scripted, upstream):
    r = admin.post("/sluice/v1/providers", {"name": "made", "type": "openai-compatible", "base_url": scripted.origin + "/v1",
                                            "api_key": "upstream-secret-made"})
    assert r.status_code == 201, r.text
    assert r.json()["origin"] == "file" and "secret-made" not in r.text
    r = admin.post("/sluice/v1/models", {"name": "my/model", "targets": [{"provider": "made", "upstream_model": "chat-model"}]})
    assert r.status_code == 201, r.text
    f = FORMATS["chat"]
    for name in ("my/model", "made/chat-model"):
        ask = Ask(model=name)
        r = admin.post(f.path(ask), f.request(ask), headers=admin.auth(admin.client_key))
        assert r.status_code == 200, r.text
        assert upstream.last.header("authorization") == "Bearer upstream-secret-made"
    assert admin.get("/sluice/v1/models/my/model").json()["targets"][0]["provider"] == "made"
    assert admin.call("DELETE", "/sluice/v1/providers/made").status_code == 409  # a model hangs on it
    assert admin.call("PATCH", "/sluice/v1/models/my/model", {"enabled": False}).status_code == 200
    assert admin.post(f.path(Ask(model="my/model")), f.request(Ask(model="my/model"))).status_code == 404
    assert admin.call("DELETE", "/sluice/v1/models/my/model").status_code == 204
    assert admin.call("PATCH", "/sluice/v1/providers/made", {"enabled": False}).json()["enabled"] is False
    assert admin.call("DELETE", "/sluice/v1/providers/made").status_code == 204
    assert admin.get("/sluice/v1/providers/made").status_code == 404


def test_a_renamed_provider_takes_its_models_with_it(admin, scripted):
    entry = {"name": "one", "type": "openai-compatible", "base_url": scripted.origin + "/v1", "api_key": "upstream-secret-one"}
    assert admin.post("/sluice/v1/providers", entry).status_code == 201
    assert admin.post("/sluice/v1/providers", {**entry, "name": "two"}).status_code == 201
    for name, targets in (("a", ["one"]), ("b", ["two", "one"])):
        r = admin.post("/sluice/v1/models", {"name": name, "targets": [{"provider": t, "upstream_model": "chat-model"} for t in targets]})
        assert r.status_code == 201, r.text
    assert admin.call("PATCH", "/sluice/v1/providers/one", {"name": "two"}).status_code == 409
    assert admin.call("PATCH", "/sluice/v1/providers/nobody", {"name": "x"}).status_code == 404
    r = admin.call("PATCH", "/sluice/v1/providers/one", {"name": "first"})
    assert r.status_code == 200 and r.json()["name"] == "first", r.text
    models = by("name", listed(admin, "/sluice/v1/models"))
    assert [t["provider"] for t in models["a"]["targets"]] == ["first"]
    assert [t["provider"] for t in models["b"]["targets"]] == ["two", "first"]
    f = FORMATS["chat"]
    r = admin.post(f.path(Ask(model="a")), f.request(Ask(model="a")))
    assert r.status_code == 200, r.text  # its credential came along
    r = admin.call("PATCH", "/sluice/v1/models/a", {"name": "c/d"})
    assert r.status_code == 200 and r.json()["name"] == "c/d", r.text
    assert admin.get("/sluice/v1/models/a").status_code == 404
    r = admin.call("DELETE", "/sluice/v1/providers/first")
    assert r.status_code == 409 and "'b'" in r.text and "'c/d'" in r.text, r.text
    assert admin.call("DELETE", "/sluice/v1/providers/first?cascade=true").status_code == 204
    models = by("name", listed(admin, "/sluice/v1/models"))
    assert "c/d" not in models and [t["provider"] for t in models["b"]["targets"]] == ["two"]


@pytest.mark.parametrize("body, field", [
    ({"type": "openai"}, "name"), ({"name": "x"}, "type"), ({"name": "x", "type": "opnai"}, "type"),
    ({"name": "x/y", "type": "openai"}, "name"), ({"name": "x", "type": "openai-compatible"}, "base_url"),
    ({"name": "x", "type": "openai", "base_url": "gopher://x"}, "base_url"), ({"name": "x", "type": "openai", "wire": "telex"}, "wire"),
    ({"name": "x", "type": "openai", "surprise": 1}, "surprise"), ({"name": 7, "type": "openai"}, "name"),
    ({"name": "x", "type": "openai", "api_key": "a b"}, "api_key"),
])
def test_a_bad_provider_is_refused_with_its_field(admin, body, field):
    before = admin.get("/sluice/v1/providers").text
    r = admin.post("/sluice/v1/providers", body)
    assert r.status_code == 400 and field in r.text, r.text
    assert admin.get("/sluice/v1/providers").text == before


def test_what_is_built_in_stays(admin):
    for method, body in (("PATCH", {"enabled": False}), ("DELETE", None)):
        assert admin.call(method, "/sluice/v1/providers/nobody", body).status_code == 404


def test_a_key_lives_and_dies(admin):
    r = admin.post("/sluice/v1/keys", {"label": "guest", "allowed_models": ["ec*"]})
    assert r.status_code == 201, r.text
    made = r.json()
    key, path = made["key"], "/sluice/v1/keys/" + made["id"]
    assert re.fullmatch(r"sk-sluice-[0-9a-f]{64}", key) and made["scopes"] == ["inference", "models"]
    assert key not in admin.get("/sluice/v1/keys").text + admin.get(path).text

    def chat(model):
        return admin.post("/v1/chat/completions", {"model": model, "messages": [{"role": "user", "content": "hi"}]},
                          headers=admin.auth(key)).status_code

    assert chat("echo") == 200
    assert chat("to-chat") in (403, 404)
    assert admin.get("/sluice/v1/keys", headers=admin.auth(key)).status_code == 403
    assert [m["id"] for m in admin.get("/v1/models", headers=admin.auth(key)).json()["data"]] == ["echo"]
    assert admin.call("PATCH", path, {"enabled": False}).status_code == 200
    assert chat("echo") in (401, 403)
    assert admin.call("PATCH", path, {"enabled": True, "expires_at": "2020-01-01T00:00:00Z"}).status_code == 200
    assert chat("echo") in (401, 403)
    assert admin.call("PATCH", path, {"expires_at": ""}).status_code == 200
    assert chat("echo") == 200
    assert admin.call("DELETE", path).status_code == 204
    assert chat("echo") == 401
    assert admin.call("DELETE", path).status_code == 404
    for bad in ({"scopes": ["root"]}, {"expires_at": "soon"}, {"allowed_models": "echo"}):
        assert admin.post("/sluice/v1/keys", bad).status_code == 400, bad


def test_settings_change_and_go_back(admin):
    rows = by("name", listed(admin, "/sluice/v1/settings"))
    assert rows["max_attempts"]["origin"] == "default"
    r = admin.call("PATCH", "/sluice/v1/settings/max_body_bytes", {"value": 2000})
    assert r.status_code == 200 and r.json()["origin"] == "file", r.text
    big = {"model": "echo", "messages": [{"role": "user", "content": "x" * 3000}]}
    assert admin.post("/v1/chat/completions", big).status_code == 413
    r = admin.call("PATCH", "/sluice/v1/settings/max_body_bytes", {})  # which says nothing
    assert r.status_code == 400 and r.json()["error"]["param"] == "value"
    assert admin.get("/sluice/v1/settings/max_body_bytes").json()["origin"] != "default"
    assert admin.call("PATCH", "/sluice/v1/settings/max_body_bytes", {"value": None}).json()["origin"] == "default"
    assert admin.post("/v1/chat/completions", big).status_code == 200
    assert admin.call("PATCH", "/sluice/v1/settings/max_body_bytes", {"value": -1}).status_code == 400
    assert admin.call("PATCH", "/sluice/v1/settings/nothing", {"value": 1}).status_code == 404


def test_settings_say_what_they_take(admin):
    rows = by("name", listed(admin, "/sluice/v1/settings"))
    tries, scope = rows["max_attempts"], rows["response_cache_scope"]
    assert (tries["type"], tries["default"], tries["min"], tries["max"], tries["variable"]) == ("integer", 4, 1, 100, "SLUICE_MAX_ATTEMPTS")
    assert scope["words"] == ["key", "user", "org"] and scope["type"] == "string" and "max" not in scope
    assert rows["trace_context"]["type"] == "boolean" and rows["trace_context"]["default"] is True
    assert rows["capabilities"]["is_deployed"] is True
    for name, value, fits in (("max_attempts", 7, True), ("max_attempts", "7", True), ("max_attempts", 0, False), ("max_attempts", 1.5, False), ("max_attempts", None, True),
                              ("response_cache_scope", "org", True), ("response_cache_scope", "all", False), ("capabilities", "nonsense", False)):
        r = admin.post("/sluice/v1/settings/%s/check" % name, {"value": value})
        assert r.status_code == (200 if fits else 400), (name, value, r.text)
        assert fits or r.json()["error"]["param"] == name
    assert by("name", listed(admin, "/sluice/v1/settings"))["max_attempts"] == tries, "nothing is changed"
    assert admin.post("/sluice/v1/settings/nothing/check", {"value": 1}).status_code == 404


def test_what_is_deployed_no_call_changes(admin):
    """The door of dangerous endpoints: whoever has the admin key must not be able to open it."""
    for value in ("backup_import", None):
        r = admin.call("PATCH", "/sluice/v1/settings/capabilities", {"value": value})
        assert r.status_code == 409 and r.json()["error"]["code"] == "read_only", r.text
    assert admin.get("/sluice/v1/settings/capabilities").json()["origin"] == "default"
    assert "backup_import" not in (admin.folder / "sluice.jsonc").read_text()


@pytest.mark.parametrize("method, path, body, rows", [
    ("PUT", "/sluice/v1/policies/p", {"model": "x", "action": "deny"}, "/sluice/v1/policies"),
    ("POST", "/sluice/v1/prices", {"provider": "chat", "model": "m", "price": {"input": 1}}, "/sluice/v1/prices?source=override")])
def test_an_answer_to_a_change_says_where_it_stands(admin, method, path, body, rows):
    told = admin.call(method, path, body)
    assert told.status_code == 200, told.text
    (row,) = listed(admin, rows)
    assert told.json()["origin"] == row["origin"] == "file"


def test_reload_takes_a_good_file_and_refuses_a_bad_one(admin, scripted):
    version = admin.get("/sluice/v1/info").json()["config_version"]
    config = basic_config(scripted.origin)
    config["server"]["api_keys"].append({"id": "ad000001", "key": ADMIN, "scopes": ["inference", "models", "admin"]})
    config["models"]["later"] = "echo"
    admin.write_config(config)
    r = admin.post("/sluice/v1/reload")
    assert r.status_code == 200 and r.json()["config_version"] > version, r.text
    assert admin.get("/v1/models/later").status_code == 200
    config["providers"]["chat"]["type"] = "nonsense"
    admin.write_config(config)
    r = admin.post("/sluice/v1/reload")
    assert r.status_code >= 400 and "sluice.jsonc:" in r.text and "nonsense" in r.text, r.text
    assert admin.get("/v1/models/later").status_code == 200  # the old one stays


# pages

def pages(s, path, **query):
    """Every page's rows, one list; each page but the last is full."""
    rows, after = [], None
    while True:
        r = s.get(path, params={**query, **({"after": after} if after else {})})
        assert r.status_code == 200, r.text
        page = r.json()
        rows += page["data"]
        after = page["next"]
        assert page["has_more"] == (after is not None)
        if after is None:
            return rows
        assert len(page["data"]) == query["limit"]


def test_lists_come_in_pages_sorted_and_filtered(admin):
    for i in range(7):
        r = admin.post("/sluice/v1/models", {"name": "p%d" % i, "targets": [{"provider": "echo"}], "context_tokens": 100 - 10 * (i // 2),
                                             "enabled": i % 3 != 0, "capabilities": ["text", "vision"] if i % 2 else ["text"]})
        assert r.status_code == 201, r.text
    names = [m["name"] for m in pages(admin, "/sluice/v1/models", limit=2)]
    assert names == sorted(names) and {"p%d" % i for i in range(7)} | {"to-chat", "echo"} <= set(names)
    assert [m["name"] for m in pages(admin, "/sluice/v1/models", limit=2, sort="-name")] == names[::-1]
    ours = pages(admin, "/sluice/v1/models", limit=2, sort="context_tokens", q="P")
    ours = [m for m in ours if re.fullmatch("p[0-9]", m["name"])]
    assert [m["name"] for m in ours] == ["p6", "p4", "p5", "p2", "p3", "p0", "p1"]  # equal ones by name
    found = pages(admin, "/sluice/v1/models", limit=100, capabilities="vision", enabled="true")
    assert [m["name"] for m in found] == ["p1", "p5"]
    assert [m["name"] for m in pages(admin, "/sluice/v1/models", limit=3, provider="chat")] == ["to-chat"]
    assert [p["name"] for p in pages(admin, "/sluice/v1/providers", limit=1, type="echo")] == ["echo"]
    assert [k["id"] for k in pages(admin, "/sluice/v1/keys", limit=1, scopes="admin")] == ["ad000001"]
    for i in range(11):
        assert admin.post("/sluice/v1/keys", {"label": "l%d" % i}).status_code == 201
    ids = [k["id"] for k in pages(admin, "/sluice/v1/keys", limit=3)]
    assert len(ids) == 13 and ids == sorted(ids) == [k["id"] for k in pages(admin, "/sluice/v1/keys", limit=3, sort="id")]
    # a page stays right while rows come and go: one goes that the page ended with, one comes behind it
    page = admin.get("/sluice/v1/models", params={"limit": 2, "q": "p", "sort": "-context_tokens"}).json()
    assert admin.call("DELETE", "/sluice/v1/models/" + page["data"][1]["name"]).status_code == 204
    rest = admin.get("/sluice/v1/models", params={"limit": 100, "q": "p", "sort": "-context_tokens", "after": page["next"]}).json()["data"]
    assert not {m["name"] for m in rest} & {m["name"] for m in page["data"]} and len(rest) >= 5
    for bad in ({"limit": 0}, {"limit": 10001}, {"sort": "targets"}, {"sort": "nothing"}, {"enabled": "maybe"},
                {"sort": "origin", "after": "nonsense"}):
        assert admin.get("/sluice/v1/models", params=bad).status_code == 400, bad


NOUNS = {  # path: what makes the n-th of it
    "/sluice/v1/providers": lambda n: {"name": "page%d" % n, "type": "openai-compatible", "base_url": "http://127.0.0.1:1/v1"},
    "/sluice/v1/models": lambda n: {"name": "page%d" % n, "targets": [{"provider": "echo"}]},
    "/sluice/v1/keys": lambda n: {"label": "page%d" % n},
    "/sluice/v1/combos": lambda n: {"name": "pages%d" % n, "members": [{"model": "echo"}]},
    "/sluice/v1/aliases": lambda n: {"alias": "other%d" % n, "to": "echo"},
    "/sluice/v1/orgs": lambda n: {"id": "org%d" % n, "name": "Org %d" % n, "limits": {"requests_per_minute": 100 + n}},
    "/sluice/v1/users": lambda n: {"id": "user%d" % n, "name": "User %d" % n},
    "/sluice/v1/budgets": lambda n: {"name": "budget%d" % n, "limit_usd": "0.01", "period": "day", "scope": "all"},
    "/sluice/v1/ip-filter/bans": lambda n: {"address": "192.0.2.%d" % n},
}


def test_every_list_comes_in_pages(admin):
    for path, body in NOUNS.items():
        for n in range(5):
            r = admin.post(path, body(n))
            assert r.status_code == 201, (path, r.text)
    for n in range(3):
        assert admin.call("PUT", "/sluice/v1/chains/page%d" % n, {"chain": [{"provider": "echo"}]}).status_code == 200
    doc = admin.get("/openapi.json").json()["paths"]
    listed = [p for p, item in doc.items() if p.startswith("/sluice/v1/") and "{" not in p
              and {"limit", "after"} <= {q["name"] for q in item.get("get", {}).get("parameters", [])} and "server-sent" not in item["get"]["summary"]]
    assert set(NOUNS) < set(listed) and len(listed) > 20
    for path in listed:
        if path in ("/sluice/v1/audit", "/sluice/v1/operators", "/sluice/v1/sessions", "/sluice/v1/requests"):
            continue  # grow while they are read, or are an owner's: each has a test of its own
        def still(rows):
            return [{k: v for k, v in row.items() if not k.endswith("_ms")} for row in rows]

        r = admin.get(path, params={"limit": 1000})
        assert r.status_code == 200 and not r.json()["has_more"], (path, r.text)
        whole = still(r.json()["data"])
        assert len(whole) >= 5 or path not in NOUNS, path
        step = max(1, len(whole) // 4)
        assert still(pages(admin, path, limit=step)) == whole, path
        bound = next(q for q in doc[path]["get"]["parameters"] if q["name"] == "limit")["schema"]["maximum"]
        for limit in (0, bound + 1, "x"):
            assert admin.get(path, params={"limit": limit}).status_code == 400, (path, limit)
        if "sort" in {q["name"] for q in doc[path]["get"]["parameters"]}:
            assert admin.get(path, params={"sort": "nothing-like-it"}).status_code == 400, path


def test_a_cursor_is_of_its_order(admin):
    for n in range(3):
        assert admin.post("/sluice/v1/providers", {"name": "order%d" % n, "type": "echo"}).status_code == 201

    def page(sort, **more):
        return admin.get("/sluice/v1/providers", params={"sort": sort, "limit": 1, **more})
    cursor = page("type").json()["next"]
    assert page("type", after=cursor).status_code == 200
    for other in ("name", "-type", "base_url"):
        r = page(other, after=cursor)
        assert r.status_code == 400 and r.json()["error"]["param"] == "after", (other, r.text)
    assert page("type", after=page("name").json()["next"]).status_code == 400


# preconditions

@pytest.mark.parametrize("path, change", [
    ("/sluice/v1/providers/chat", {"enabled": False}), ("/sluice/v1/models/to-chat", {"context_tokens": 7}),
    ("/sluice/v1/keys/0a1b2c3d", {"label": "other"}), ("/sluice/v1/settings/max_attempts", {"value": 2}),
])
def test_a_change_can_insist_on_what_was_read(admin, path, change):
    r = admin.get(path)
    tag = r.headers["etag"]
    assert re.fullmatch('"[0-9a-f]{16}"', tag)
    unchanged = admin.get(path, headers={"If-None-Match": 'W/"x", ' + tag})
    assert unchanged.status_code == 304 and unchanged.content == b"" and unchanged.headers["etag"] == tag
    changed = admin.call("PATCH", path, change, headers={"If-Match": tag})
    assert changed.status_code == 200 and changed.headers["etag"] != tag, changed.text
    assert admin.get(path, headers={"If-None-Match": tag}).headers["etag"] == changed.headers["etag"]
    late = admin.call("PATCH", path, {**change, **({"enabled": True} if "enabled" in change else {})}, headers={"If-Match": tag})
    assert late.status_code == 412 and late.json()["error"]["code"] == "precondition_failed", late.text
    assert admin.get(path).json() == changed.json()
    if "settings" not in path:
        path += "?cascade=true" if "keys" not in path else ""
        assert admin.call("DELETE", path, headers={"If-Match": tag}).status_code == 412
        assert admin.call("DELETE", path, headers={"If-Match": '"x", ' + changed.headers["etag"]}).status_code == 204


@pytest.mark.parametrize("make, path, method, change, again", [
    (("POST", "/sluice/v1/combos", {"name": "both", "members": [{"model": "echo"}]}), "/sluice/v1/combos/both", "PATCH",
     {"strategy": "random"}, {"strategy": "weighted"}),
    (("PUT", "/sluice/v1/chains/echo", {"chain": [{"provider": "echo"}]}), "/sluice/v1/chains/echo", "PUT",
     {"chain": [{"provider": "chat"}]}, {"chain": [{"provider": "echo"}]}),
    (("POST", "/sluice/v1/aliases", {"alias": "say", "to": "echo"}), "/sluice/v1/aliases/say", "PATCH", {"to": "to-chat"}, {"to": "echo"}),
    (("POST", "/sluice/v1/orgs", {"id": "acme", "name": "Acme"}), "/sluice/v1/orgs/acme", "PATCH", {"name": "A"}, {"name": "B"}),
    (("POST", "/sluice/v1/users", {"id": "ann", "name": "Ann"}), "/sluice/v1/users/ann", "PATCH", {"name": "A"}, {"name": "B"}),
    (("POST", "/sluice/v1/budgets", {"name": "all", "limit_usd": "5", "period": "day", "scope": "all"}), "/sluice/v1/budgets/all", "PATCH",
     {"limit_usd": "6"}, {"limit_usd": "7"}),
    (("PUT", "/sluice/v1/policies/off", {"model": "x", "action": "deny", "enabled": False}), "/sluice/v1/policies/off", "PUT",
     {"model": "y", "action": "deny"}, {"model": "z", "action": "deny"}),
    (("PUT", "/sluice/v1/proxies/eu", {"url": "http://u:first@p.example:8080"}), "/sluice/v1/proxies/eu", "PUT",
     {"url": "http://u:other@p.example:8080"}, {"url": "http://p.example"}),  # what is not shown counts
    (None, "/sluice/v1/ip-filter", "PUT", {"deny": ["192.0.2.1"]}, {"deny": []}),
    (None, "/sluice/v1/system-prompt", "PUT", {"prompt": "Be brief."}, {"prompt": "Be long."}),
    (None, "/sluice/v1/thinking-budget", "PUT", {"budget": 77}, {"budget": 78}),
], ids=lambda v: v.rsplit("/", 2)[1] if isinstance(v, str) and v.startswith("/") else "")
def test_so_can_changes_of_every_other_object(admin, make, path, method, change, again):
    if make:
        assert admin.call(*make).status_code in (200, 201)
    tag = admin.get(path).headers["etag"]
    is_live = path in LIVE  # figures that are no part of the tag are told anew
    assert admin.get(path, headers={"If-None-Match": tag}).status_code == (200 if is_live else 304)
    changed = admin.call(method, path, change, headers={"If-Match": tag})
    assert changed.status_code == 200 and changed.headers["etag"] != tag, changed.text
    late = admin.call(method, path, again, headers={"If-Match": tag})
    assert late.status_code == 412 and late.json()["error"]["code"] == "precondition_failed", late.text
    assert admin.get(path).headers["etag"] == changed.headers["etag"]
    if make:
        assert admin.call("DELETE", path, headers={"If-Match": tag}).status_code == 412
        assert admin.call("DELETE", path, headers={"If-Match": changed.headers["etag"]}).status_code == 204
    if make and method == "PUT":  # made, and not replaced by who thinks that there is none
        assert admin.call("PUT", path, change, headers={"If-None-Match": "*"}).status_code == 200
        late = admin.call("PUT", path, again, headers={"If-None-Match": "*"})
        assert late.status_code == 412 and "there already" in late.json()["error"]["message"], late.text


def test_who_begins_to_go_through_a_proxy_does_not_change_it(admin):
    assert admin.call("PUT", "/sluice/v1/proxies/eu", {"url": "http://p.example:8080"}).status_code == 200
    tag = admin.get("/sluice/v1/proxies/eu").headers["etag"]
    made = admin.call("POST", "/sluice/v1/providers", {"name": "via", "type": "openai-compatible", "base_url": "http://127.0.0.1:9/v1", "proxy": "eu"})
    assert made.status_code == 201 and admin.get("/sluice/v1/proxies/eu").json()["providers"] == ["via"]
    assert admin.call("PUT", "/sluice/v1/proxies/eu", {"url": "http://q.example:8080"}, headers={"If-Match": tag}).status_code == 200


LIVE = {"/sluice/v1/budgets/all", "/sluice/v1/budgets/{name}", "/sluice/v1/proxies/eu", "/sluice/v1/proxies/{name}"}
NO_OBJECTS = {"/sluice/v1/cache", "/sluice/v1/prices", "/sluice/v1/requests", "/sluice/v1/session", "/sluice/v1/sessions"}  # lists and figures


def test_every_object_that_is_read_and_changed_has_a_tag(admin):
    found = 0
    for path, item in admin.get("/openapi.json").json()["paths"].items():
        changes = [m for m in ("put", "patch", "delete") if m in item]
        if not path.startswith("/sluice/v1/") or path in NO_OBJECTS or "get" not in item or not changes:
            continue
        found += 1
        for method in ("get", *changes):
            wanted = "if-none-match" if method == "get" else "if-match"
            if method == "get" and path in LIVE:
                assert wanted not in [p["name"] for p in item[method].get("parameters", [])] and "304" not in item["get"]["responses"]
                continue
            named = [p["name"] for p in item[method].get("parameters", [])]
            assert wanted in named and ("if-none-match" in named) is (method == "get" or method == "put" and "{" in path), (method, path)
        assert "etag" in item["get"]["responses"]["200"]["headers"], path
    assert found >= 12


def test_where_there_is_no_tag_nothing_has_the_one_that_is_asked_for(admin):
    stale = {"If-Match": '"0123456789abcdef"'}
    r = admin.call("PUT", "/admin/api/config/server", {"proxy": ""}, headers=stale)
    assert r.status_code == 412 and "if-match" in r.json()["error"], r.text
    assert admin.call("PUT", "/admin/api/config/server", {"proxy": ""}, headers={"If-Match": "*"}).status_code == 200
    r = admin.call("PUT", "/api/combos/nobody", {"name": "x"}, headers=stale)
    assert r.status_code == 412 and r.json()["error"], r.text
    assert admin.call("DELETE", "/admin/api/config/models/to-chat", headers=stale).status_code == 412
    assert admin.get("/sluice/v1/models/to-chat", headers=stale).status_code == 200
    for nothing in ("", ","):
        r = admin.call("PATCH", "/sluice/v1/models/to-chat", {"enabled": True}, headers={"If-Match": nothing})
        assert r.status_code == 412, (nothing, r.text)


def test_the_tag_changes_with_a_secret_that_is_not_shown(admin):
    tag = admin.get("/sluice/v1/providers/chat").headers["etag"]
    r = admin.call("PATCH", "/sluice/v1/providers/chat", {"api_key": "upst-another-chat"})
    assert r.json()["api_key"] == "upst***chat" and r.headers["etag"] != tag


# creating twice

def test_a_create_sent_again_makes_nothing_twice(admin):
    def create(body, key="first", who=None):
        return admin.post("/sluice/v1/keys", body, headers={"Idempotency-Key": key, **(admin.auth(who) if who else {})})

    one = create({"label": "once"})
    two = create({"label": "once"})
    assert one.status_code == two.status_code == 201 and two.json() == one.json()  # the key's text again, nowhere else seen
    assert "idempotent-replayed" not in one.headers and two.headers["idempotent-replayed"] == "true"
    other = create({"label": "something else"})
    assert other.status_code == 409 and other.json()["error"]["code"] == "idempotency_conflict"
    assert create({"label": "once"}, key="second").json()["id"] != one.json()["id"]
    assert len([k for k in listed(admin, "/sluice/v1/keys") if k["label"] == "once"]) == 2
    # what failed may be tried again
    assert create({"label": "x", "scopes": ["root"]}, key="third").status_code == 400
    assert create({"label": "x"}, key="third").status_code == 201
    assert create({"label": "x"}, key="k" * 300).status_code == 400
    # the key is the caller's own
    made = create({"label": "op", "scopes": ["admin"]}, key="fourth").json()
    assert create({"label": "theirs"}, who=made["key"]).status_code == 201
    # and of one operation
    model = {"name": "m", "targets": [{"provider": "echo"}]}
    for replayed in (None, "true"):
        r = admin.post("/sluice/v1/models", model, headers={"Idempotency-Key": "first"})
        assert r.status_code == 201 and r.headers.get("idempotent-replayed") == replayed, r.text
    stored = b"".join(p.read_bytes() for p in (admin.folder / "data").iterdir())
    assert one.json()["key"].encode() not in stored


def test_quirks_of_a_provider_over_the_api(admin, scripted, upstream):
    """Set, shown, in force with the next request, kept in the file, exported, and taken back; what is none is refused by name."""
    s = admin

    def call(method, path, body=None):
        return s.call(method, "/sluice/v1" + path, body)

    def roles():
        upstream.play(answer(FORMATS["chat"], Turn(text="x")))
        assert s.post("/v1/chat/completions", {"model": "to-chat", "messages": [{"role": "developer", "content": "b"}, {"role": "user", "content": "a"}]}).status_code == 200
        return [m["role"] for m in upstream.last.json["messages"]]
    assert roles() == ["system", "user"] and call("GET", "/providers/chat").json()["quirks"] == {}
    tag = call("GET", "/providers/chat").headers["etag"]
    r = call("PATCH", "/providers/chat", {"quirks": {"developer_role": True, "no_files": False}})
    assert r.status_code == 200 and r.json()["quirks"] == {"developer_role": True, "no_files": False} and r.headers["etag"] != tag
    assert "developer_role" in r.json()["quirks_in_force"] and "no_files" not in r.json()["quirks_in_force"]
    assert roles() == ["developer", "user"]
    assert json.loads(s.config_path.read_text())["providers"]["chat"]["quirks"] == {"developer_role": True, "no_files": False}
    assert call("PATCH", "/providers/chat", {"weight": 2}).json()["quirks"] == {"developer_role": True, "no_files": False}
    for bad, word in (({"no_such": True}, "no_such"), ({"no_files": 1}, "no_files"), (["no_files"], "quirks"), ("no_files", "quirks")):
        r = call("PATCH", "/providers/chat", {"quirks": bad})
        assert r.status_code == 400 and r.json()["error"]["param"] == "quirks" and word in r.json()["error"]["message"], r.text
    made = call("POST", "/providers", {"name": "made", "type": "openai-compatible", "base_url": scripted.origin + "/v1", "quirks": {"id_9": True}})
    assert made.status_code == 201 and made.json()["quirks"] == {"id_9": True}
    assert call("PATCH", "/providers/made", {"name": "renamed"}).json()["quirks"] == {"id_9": True}
    assert call("PATCH", "/providers/renamed", {"quirks": {}}).json()["quirks"] == {} and "quirks" not in json.loads(s.config_path.read_text())["providers"]["renamed"]
    assert call("PATCH", "/providers/chat", {"quirks": {}}).json()["quirks"] == {} and roles() == ["system", "user"]
    kinds = {k["id"]: k["quirks"] for k in call("GET", "/provider-kinds?limit=200").json()["data"]}
    assert "id_9" in kinds["mistral"] and kinds["echo"] == []


def test_quirks_of_a_provider_of_the_store_are_exported(tmp_path):
    env = {**os.environ, "SLUICE_DATA": str(tmp_path / "data"), "HOME": str(tmp_path)}

    def run(*args):
        return subprocess.run([str(BINARY), *args], check=True, capture_output=True, env=env).stdout
    run("provider", "add", "kept", "--type", "openai-compatible", "--base-url", "http://127.0.0.1:9/v1", "--quirks", "no_files=false,id_9")
    shown = json.loads(re.sub(rb"(?m)^\s*//.*$", b"", run("export")))["providers"]["kept"]
    assert shown["quirks"] == {"id_9": True, "no_files": False}
    bad = subprocess.run([str(BINARY), "provider", "add", "x", "--type", "openai-compatible", "--base-url", "http://127.0.0.1:9/v1", "--quirks", "no_such"],
                         check=False, capture_output=True, env=env)
    assert bad.returncode != 0 and b"no_such" in bad.stderr


def test_a_parameter_that_nothing_reads_is_refused(admin):
    """On every row of sluice's own surface, before anything is done: what deletes would delete all."""
    doc, asked = admin.get("/openapi.json").json(), 0
    admin.post("/v1/chat/completions", {"model": "echo", "messages": [{"role": "user", "content": "hi"}]})
    for path, item in doc["paths"].items():
        if not path.startswith("/sluice/v1/") or path in ("/sluice/v1/session", "/sluice/v1/claim"):
            continue
        for method in set(item) & {"get", "put", "post", "patch", "delete"}:
            r = admin.call(method.upper(), re.sub(r"\{[^}]*\}", "x", path) + "?modle=x", {} if method in ("put", "post", "patch") else None)
            if item[method].get("security") == [] or r.status_code == 403:  # for those who have signed in
                continue
            assert r.status_code == 400 and r.json()["error"]["param"] == "modle", (method, path, r.text)
            asked += 1
    assert asked > 100
    wait_for(lambda: admin.get("/sluice/v1/requests").json()["data"], "the request is still in the log")
    assert admin.get("/admin/api/config", params={"modle": "x"}).status_code == 200, "a seed's surface passes over it"


def test_what_is_one_of_some_words_can_be_sorted_by(admin):
    for name, action in (("b", {"action": "route", "target": "echo"}), ("a", {"action": "deny"}), ("c", {"action": "deny"})):
        r = admin.call("PUT", "/sluice/v1/policies/" + name, {"model": "m", "enabled": False, **action})
        assert r.status_code == 200, r.text
    for sort, order in (("action", "acb"), ("-action", "bca")):
        assert "".join(r["name"] for r in admin.get("/sluice/v1/policies", params={"sort": sort}).json()["data"]) == order


def test_all_that_a_provider_says_is_shown_and_in_its_tag(start_sluice, scripted):
    config = basic_config(scripted.origin)
    config["server"]["api_keys"].append({"id": "ad000001", "key": "sk-admin-0123456789abcdef", "scopes": ["admin"]})
    config["providers"]["filed"] = {"type": "openai-compatible", "base_url": scripted.origin, "headers": {"x-team": "secret-of-the-team"}, "label": "Ours",
                                    "total_timeout_ms": 4000, "insecure": True, "fetch_images": False}
    s = start_sluice(config, key="sk-admin-0123456789abcdef")
    shown = s.get("/sluice/v1/providers/filed").json()
    assert shown["label"] == "Ours" and shown["total_timeout_ms"] == 4000 and shown["insecure"] and not shown["fetch_images"]
    assert list(shown["headers"]) == ["x-team"] and "secret-of-the-team" not in str(shown)
    assert s.post("/sluice/v1/providers", {"name": "az", "type": "azure", "base_url": "https://az.example", "api_key": "k", "api_version": "2024-10-01"}).status_code == 201
    tag = s.get("/sluice/v1/providers/az").headers["etag"]
    r = s.call("PATCH", "/sluice/v1/providers/az", {"api_version": "2025-01-01"}, headers={"If-Match": tag})
    assert r.status_code == 200 and r.json()["api_version"] == "2025-01-01" and r.headers["etag"] != tag
    assert s.call("PATCH", "/sluice/v1/providers/az", {"api_version": "2025-02-02"}, headers={"If-Match": tag}).status_code == 412
