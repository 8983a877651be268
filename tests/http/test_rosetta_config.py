"""llm-rosetta's configuration endpoints: every status and body of its contract."""
import json

import pytest
from conftest import basic_config
from formats import FORMATS
from formats.common import HELLO, Ask
from gateway import KEY
from upstream import http

ADMIN = "sk-admin-0123456789abcdef"
CONFIG = "/admin/api/config"


def admin_key():
    return {"id": "ad000001", "key": ADMIN, "label": "operator", "scopes": ["inference", "models", "admin"]}


@pytest.fixture
def admin(start_sluice, scripted, upstream):
    """Two providers, of which one has no models, and two models, in both forms."""
    origin = scripted.origin
    config = {"providers": {"oa": {"type": "openai_chat", "api_key": "sk-abcdefghijkl", "base_url": origin + "/v1"},
                            "an": {"type": "anthropic", "api_key": "${AN_KEY}", "base_url": origin, "proxy": ""}},
              "models": {"m2": "oa", "m1": {"provider": "oa", "capabilities": ["text", "tools"], "upstream_model": "gpt-x-2"}},
              "server": {"api_keys": [{"id": "0a1b2c3d", "key": KEY, "label": "ci", "created": "2025-01-01T00:00:00+00:00"},
                                      admin_key()]}}
    return start_sluice(config, key=ADMIN, env={"AN_KEY": "sk-an-from-the-environment"})


def ok(r):
    assert r.status_code == 200, r.text
    return r.json()


def refused(r, status, text):
    assert (r.status_code, r.json()) == (status, {"error": text}), r.text


def chat(s, model, status=200):
    f, ask = FORMATS["chat"], Ask(model=model)
    r = s.post(f.path(ask), f.request(ask), headers=s.auth(KEY))
    assert r.status_code == status, r.text
    return r


def put_provider(s, name, **body):
    return s.call("PUT", "%s/providers/%s" % (CONFIG, name), body)


def put_model(s, name, **body):
    return s.call("PUT", "%s/models/%s" % (CONFIG, name), body)


def delete(s, path):
    return s.call("DELETE", CONFIG + path)


# GET config

def test_the_configuration_masked(admin):
    got = ok(admin.get(CONFIG))
    assert got["config_path"] == str(admin.config_path)
    assert list(got["providers"])[:2] == ["oa", "an"]
    assert got["providers"]["oa"]["api_key"] == "sk-a***ijkl" and got["providers"]["oa"]["type"] == "openai_chat"
    assert got["providers"]["an"]["api_key"] == "${AN_KEY}"
    assert list(got["models"])[:2] == ["m2", "m1"]
    assert got["models"]["m2"] == {"provider": "oa", "capabilities": ["text"]}
    assert got["models"]["m1"] == {"provider": "oa", "capabilities": ["text", "tools"], "upstream_model": "gpt-x-2"}
    assert got["server"]["api_keys"][0] == {"id": "0a1b2c3d", "key": "sk-t***cdef", "label": "ci", "created": "2025-01-01T00:00:00+00:00"}
    assert got["credential_visible"] is False
    assert got["known_provider_types"] == ["openai_chat", "openai_responses", "open_responses", "anthropic", "google"]
    assert got["version"]
    shims = {s["name"]: s for s in got["registered_shims"]}
    assert shims["deepseek"]["base"] == "openai_chat" and shims["deepseek"]["default_api_key_env"] == "DEEPSEEK_API_KEY"
    assert {"volcengine--openai_chat", "volcengine--openai_responses", "xai", "qwen", "moonshot", "minimax--openai_chat", "zhipu",
            "minimax--anthropic", "openrouter", "openrouter--openai_chat", "argo--openai_chat", "argo--anthropic",
            "openai", "openai_responses", "anthropic", "google"} <= set(shims)
    assert all(set(s) == {"name", "base", "logo", "default_base_url", "default_api_key_env"} for s in shims.values())
    text = admin.get(CONFIG).text
    for secret in ("sk-abcdefghijkl", KEY, ADMIN, "from-the-environment"):
        assert secret not in text


def test_secrets_in_other_places_are_masked_too(start_sluice, scripted):
    s = start_sluice({"providers": {"a": {"type": "openai_chat", "api_key": "k1", "base_url": scripted.origin,
                                          "proxy": "socks5://user:hidden-1@127.0.0.1:1", "headers": {"x-team": "hidden-2-long-enough"}},
                                    "openai": {"base_url": scripted.origin, "api_key": ""}},
                      "models": {}, "server": {"proxy": "http://u:hidden-3@127.0.0.1:9/", "admin_password": "hidden-4",
                                               "api_key": "hidden-5-legacy", "api_keys": [admin_key()]}}, key=ADMIN)
    r = s.get(CONFIG)
    got = ok(r)
    assert "hidden" not in r.text.replace("hidd***", ""), r.text
    assert got["providers"]["a"]["proxy"] == "socks5://***@127.0.0.1:1" and got["providers"]["a"]["api_key"] == "***"
    assert got["providers"]["openai"] == {"base_url": scripted.origin, "api_key": "***", "type": "openai"}
    assert got["server"]["proxy"] == "http://***@127.0.0.1:9/" and got["server"]["api_key"] == "hidd***gacy"


# providers

def test_a_provider_added_changed_and_used(admin, scripted):
    origin = scripted.origin
    got = ok(put_provider(admin, "new", api_key="sk-new-0123456789", base_url=origin + "/v1", type="openai_chat", proxy=""))
    assert got == {"ok": True, "provider": "new", "providers": ["oa", "an", "new"]}
    ok(put_model(admin, "viva", provider="new"))
    chat(admin, "viva")
    assert scripted.last.header("authorization") == "Bearer sk-new-0123456789"
    # empty, absent or masked: the key stays, byte for byte
    for body in ({"api_key": ""}, {}, {"api_key": "sk-n***6789"}):
        ok(put_provider(admin, "new", base_url=origin + "/v1", type="openai_chat", **body))
        chat(admin, "viva")
        assert scripted.last.header("authorization") == "Bearer sk-new-0123456789"
    entry = ok(admin.get(CONFIG))["providers"]["new"]
    assert entry["api_key"] == "sk-n***6789" and entry["type"] == "openai_chat" and "proxy" not in entry
    # the entry is rebuilt: a type that is not given is none any more
    ok(put_provider(admin, "new", base_url=origin + "/v1", proxy="http://127.0.0.1:1"))
    entry = ok(admin.get(CONFIG))["providers"]["new"]
    assert entry["type"] == "new" and entry["proxy"] == "http://127.0.0.1:1"
    ok(put_provider(admin, "new", base_url=origin + "/v1"))
    assert "proxy" not in ok(admin.get(CONFIG))["providers"]["new"]
    chat(admin, "viva")


@pytest.mark.parametrize("body", [{}, {"api_key": "sk-x-12345678"}, {"base_url": "http://127.0.0.1:1"},
                                  {"api_key": "", "base_url": "http://127.0.0.1:1"}, {"api_key": None, "base_url": "http://127.0.0.1:1"},
                                  {"api_key": "sk-x-12345678", "base_url": ""}, {"base_url": "http://127.0.0.1:1", "rename_from": "nobody"}])
def test_provider_needs_key_and_url(admin, body):
    refused(admin.call("PUT", CONFIG + "/providers/new", body), 400, "Both 'api_key' and 'base_url' are required")


def test_provider_refusals(admin, scripted):
    entry = {"api_key": "sk-x-12345678", "base_url": scripted.origin, "type": "openai_chat"}
    refused(put_provider(admin, "new", **entry, rename_from="nobody"), 404, "Original provider 'nobody' not found")
    refused(put_provider(admin, "an", **entry, rename_from="oa"), 409, "Provider 'an' already exists")
    for bad in (b"{", b"", b"[1]", b"nonsense"):
        refused(admin.call("PUT", CONFIG + "/providers/new", bad), 400, "Invalid JSON body")
    for field in entry:
        r = put_provider(admin, "new", **{**entry, field: 7})
        assert r.status_code == 400 and field in r.json()["error"]
    r = put_provider(admin, "new", **{**entry, "base_url": "ftp://x"})
    assert r.status_code == 500 and r.json()["saved"] is True and r.json()["reloaded"] is False
    assert r.json()["error"].startswith("Config saved but reload failed: ") and "base_url" in r.json()["error"]
    assert ok(admin.get(CONFIG))["providers"]["new"]["base_url"] == "ftp://x"
    chat(admin, "echo")  # on what was loaded before
    ok(put_provider(admin, "new", **entry))  # mended
    ok(delete(admin, "/providers/new"))


def written(s, name):
    return json.loads(s.config_path.read_text())["providers"][name]


def test_what_is_shown_comes_back_without_a_change(admin):
    """A panel sends what it was shown: *** where secrets are. That is no new secret, and no other place gets the old one."""
    secret = "http://user:secret-pw@127.0.0.1:1"
    entry = {"type": "openai_chat", "api_key": "sk-abcdefghijkl", "base_url": "http://127.0.0.1:1/v1", "proxy": secret}
    ok(put_provider(admin, "kept", **entry))
    shown = ok(admin.get(CONFIG))["providers"]["kept"]
    assert shown["proxy"] == "http://***@127.0.0.1:1" and shown["api_key"] == "sk-a***ijkl"
    ok(put_provider(admin, "kept", **shown))
    assert written(admin, "kept") == entry
    ok(put_provider(admin, "moved", **shown, rename_from="kept"))
    entry["id"] = written(admin, "moved")["id"]  # what it was called by machines stays
    assert written(admin, "moved") == entry
    for given, field in (({**shown, "proxy": "http://***@127.0.0.2:1"}, "proxy"), ({**shown, "base_url": "http://127.0.0.1:1/v1?key=***"}, "base_url")):
        r = put_provider(admin, "moved", **given)
        assert r.status_code == 400 and "'%s' holds ***" % field in r.json()["error"], r.text
    r = put_provider(admin, "fresh", **shown)
    assert r.status_code == 400 and "holds ***" in r.json()["error"], r.text
    own = "/sluice/v1/providers/moved"
    assert admin.call("PATCH", own, {"proxy": shown["proxy"], "api_key": shown["api_key"]}).status_code == 200
    assert written(admin, "moved") == entry
    for field, value in (("api_key", "sk-z***zzzz"), ("proxy", "http://***@127.0.0.2:1")):
        r = admin.call("PATCH", own, {field: value})
        assert r.status_code == 400 and r.json()["error"]["param"] == field, r.text
    assert written(admin, "moved") == entry
    ok(admin.call("PUT", CONFIG + "/server", {"proxy": secret}))
    ok(admin.call("PUT", CONFIG + "/server", {"proxy": "http://***@127.0.0.1:1"}))
    assert json.loads(admin.config_path.read_text())["server"]["proxy"] == secret
    r = admin.call("PUT", CONFIG + "/server", {"proxy": "http://***@127.0.0.2:1"})
    assert r.status_code == 400 and "'proxy' holds ***" in r.json()["error"]


def test_a_file_that_cannot_be_read_is_told_by_everything_that_needs_it(admin):
    key = ok(admin.post("/admin/api/keys", {"label": "x"}))["key"]["id"]
    admin.write_config("{ garbage")
    calls = [("GET", ""), ("PUT", "/providers/q", {"type": "echo", "base_url": "http://127.0.0.1:1", "api_key": "k2345678"}), ("DELETE", "/providers/oa"),
             ("POST", "/providers/oa/toggle"), ("PUT", "/models/q", {"provider": "oa"}), ("DELETE", "/models/m1"),
             ("POST", "/models", {"provider": "oa", "models": ["a"]}), ("PUT", "/server", {"proxy": ""}), ("POST", "../keys", {"label": "y"}),
             ("PUT", "../keys/" + key, {"label": "z"}), ("DELETE", "../keys/" + key)]
    for method, path, *body in calls:
        where = "/admin/api/" + path[3:] if path.startswith("..") else CONFIG + path
        r = admin.call(method, where, *body)
        assert r.status_code == 500 and r.json()["error"].startswith("Failed to read config: "), (method, path, r.status_code, r.text)
    chat(admin, "m1")


def test_a_provider_renamed_takes_its_models_along(admin, scripted):
    entry = {"base_url": scripted.origin + "/v1", "type": "openai_chat"}
    ok(put_provider(admin, "old", api_key="sk-old-0123456789", **entry))
    ok(put_model(admin, "r1", provider="old", upstream_model="up"))
    ok(put_model(admin, "r2", provider="old"))
    ok(admin.post(CONFIG + "/providers/old/toggle"))
    got = ok(put_provider(admin, "fresh", **entry, rename_from="old"))
    assert got["provider"] == "fresh" and "old" not in got["providers"] and "fresh" not in got["providers"]  # off stays off
    now = ok(admin.get(CONFIG))
    assert "old" not in now["providers"] and now["providers"]["fresh"]["enabled"] is False
    assert now["models"]["r1"] == {"provider": "fresh", "capabilities": ["text"], "upstream_model": "up"}
    ok(admin.post(CONFIG + "/providers/fresh/toggle"))
    chat(admin, "r2")
    assert scripted.last.header("authorization") == "Bearer sk-old-0123456789"
    # a rename to itself is a plain update
    assert ok(put_provider(admin, "fresh", **entry, rename_from="fresh"))["provider"] == "fresh"


def test_names_that_only_this_surface_takes(admin, scripted):
    """A path is decoded before it is routed, and a name is one segment of it; what it may hold, the canonical API can change."""
    body = {"type": "openai-compatible", "base_url": scripted.origin, "api_key": "sk-of-the-test"}
    assert admin.call("PUT", "/admin/api/config/providers/a%2Fb", body).status_code == 404
    assert admin.call("PUT", "/admin/api/config/providers/two%20words", body).status_code == 200
    r = admin.call("PATCH", "/sluice/v1/providers/two%20words", {"priority": 3})
    assert r.status_code == 200 and r.json()["priority"] == 3, r.text
    r = admin.call("PATCH", "/sluice/v1/providers/two%20words", {"name": "three more words"})
    assert r.status_code == 400 and r.json()["error"]["param"] == "name", r.text
    assert admin.call("PATCH", "/sluice/v1/providers/two%20words", {"name": "one"}).status_code == 200
    r = admin.post("/sluice/v1/providers", {"name": "two words", "type": "echo"})
    assert r.status_code == 400 and r.json()["error"]["param"] == "name", r.text


def test_a_provider_deleted(admin, scripted):
    entry = {"api_key": "sk-gone-0123456789", "base_url": scripted.origin + "/v1", "type": "openai_chat"}
    refused(delete(admin, "/providers/nobody"), 404, "Provider 'nobody' not found")
    ok(put_provider(admin, "gone", **entry))
    assert ok(delete(admin, "/providers/gone")) == {"ok": True, "deleted": "gone", "providers": ["oa", "an"]}
    ok(put_provider(admin, "gone", **entry))
    ok(put_model(admin, "g1", provider="gone"))
    ok(put_model(admin, "g'2", provider="gone"))
    for query in ("", "?cascade=false", "?cascade=yes", "?cascade=TRUE", "?cascade="):
        refused(delete(admin, "/providers/gone" + query), 409,
                "Cannot delete provider 'gone': referenced by models: [\"g'2\", 'g1']"
                if list(ok(admin.get(CONFIG))["models"])[-1] == "g1" else
                "Cannot delete provider 'gone': referenced by models: ['g1', \"g'2\"]")
    chat(admin, "g1")
    got = ok(delete(admin, "/providers/gone?cascade=1"))
    assert got["deleted"] == "gone" and sorted(got["cascade_deleted_models"]) == ["g'2", "g1"] and got["providers"] == ["oa", "an"]
    chat(admin, "g1", 404)
    ok(put_provider(admin, "gone", **entry))
    assert "cascade_deleted_models" not in ok(delete(admin, "/providers/gone?cascade=true"))


def test_toggle(admin, scripted):
    ok(put_provider(admin, "flip", api_key="sk-flip-0123456789", base_url=scripted.origin + "/v1", type="openai_chat"))
    ok(put_model(admin, "f1", provider="flip"))
    before = ok(admin.get(CONFIG))["providers"]["flip"]
    assert ok(admin.post(CONFIG + "/providers/flip/toggle")) == {"ok": True, "provider": "flip", "enabled": False}
    assert ok(admin.get(CONFIG))["providers"]["flip"]["enabled"] is False
    chat(admin, "f1", 404)
    refused(admin.get(CONFIG + "/providers/flip/models"), 404, "Provider 'flip' not found")
    assert ok(admin.post(CONFIG + "/providers/flip/toggle")) == {"ok": True, "provider": "flip", "enabled": True}
    assert ok(admin.get(CONFIG))["providers"]["flip"] == before
    chat(admin, "f1")
    refused(admin.post(CONFIG + "/providers/nobody/toggle"), 404, "Provider 'nobody' not found")


def test_reveal_only_where_allowed(admin, start_sluice, scripted):
    for name in ("oa", "nobody"):
        refused(admin.get(CONFIG + "/providers/%s/key" % name), 403, "Credential visibility is disabled")
    config = basic_config(scripted.origin)
    config["providers"]["var"] = {"type": "openai_chat", "base_url": scripted.origin, "api_key": "${SOME_KEY}"}
    config["server"].update(credential_visible=True, api_keys=[admin_key()])
    s = start_sluice(config, key=ADMIN, env={"SOME_KEY": "x"})
    assert ok(s.get(CONFIG + "/providers/chat/key")) == {"api_key": "upstream-secret-chat"}
    assert ok(s.get(CONFIG + "/providers/var/key")) == {"api_key": "${SOME_KEY}"}
    refused(s.get(CONFIG + "/providers/nobody/key"), 404, "Provider 'nobody' not found")
    assert ok(s.get(CONFIG))["credential_visible"] is True


# what a provider has

@pytest.mark.parametrize("name,kind,base,path,auth,reply,found", [
    ("chat", "openai_chat", "/v1", "/v1/models", ("authorization", "Bearer k-1"), {"data": [{"id": "b"}, {"id": "a"}, {"id": ""}]}, ["a", "b"]),
    ("responses", "openai_responses", "/v1", "/v1/models", ("authorization", "Bearer k-1"), {"data": [{"id": "x"}]}, ["x"]),
    ("messages", "anthropic", "", "/v1/models", ("x-api-key", "k-1"), {"data": [{"id": "c-2"}, {"id": "c-1"}]}, ["c-1", "c-2"]),
    ("gemini", "google", "", "/v1beta/models", ("x-goog-api-key", "k-1"), {"models": [{"name": "models/g"}, {"name": "bare"}]}, ["bare", "g"]),
    ("inner", "openai_chat", "/v1", "/v1/models", ("authorization", "Bearer k-1"), {"data": [{"id": "shown", "internal_id": "hidden"}]}, ["shown"]),
    ("both", "google", "", "/v1beta/models", ("x-goog-api-key", "k-1"), {"data": [{"id": "no"}], "models": [{"name": "models/g", "id": "no"}]}, ["g"]),
    ("none", "google", "", "/v1beta/models", ("x-goog-api-key", "k-1"), {"data": [{"id": "no"}]}, []),
    ("mini", "minimax--anthropic", "", "/v1/models", ("x-api-key", "k-1"), {"data": [{"id": "m"}]}, ["m"]),
    ("lab-a", "argo--anthropic", "", "/v1/models", ("x-api-key", "k-1"), {"data": [{"id": "Shown", "internal_id": "inner"}]}, ["Shown"]),
    ("zhipu", "zhipu", "/v4", "/v4/models", ("authorization", "Bearer k-1"), {"data": [{"id": "glm"}]}, ["glm"]),
    ("lab", "argo--openai_chat", "/v1", "/v1/models", ("authorization", "Bearer k-1"), {"data": [{"id": "Shown", "internal_id": "inner"}]}, ["inner"]),
])
def test_upstream_models(start_sluice, scripted, upstream, name, kind, base, path, auth, reply, found):
    s = start_sluice({"providers": {name: {"type": kind, "api_key": "k-1", "base_url": scripted.origin + base}}, "models": {},
                      "server": {"api_keys": [admin_key()]}}, key=ADMIN)
    upstream.play(http(200, json.dumps(reply)))
    got = ok(s.get(CONFIG + "/providers/%s/models" % name))
    standard = {"argo--openai_chat": "openai_chat", "zhipu": "openai_chat", "minimax--anthropic": "anthropic", "argo--anthropic": "anthropic"}.get(kind, kind)
    assert got == {"provider": name, "api_standard": standard, "models": found}
    assert (upstream.last.method, upstream.last.path, upstream.last.header(auth[0])) == ("GET", path, auth[1])
    if standard == "anthropic":
        assert upstream.last.header("anthropic-version") == "2023-06-01"


def test_upstream_models_use_the_keys_in_turn(start_sluice, scripted, upstream):
    s = start_sluice({"providers": {"p": {"type": "openai_chat", "api_key": "k-1, k-2", "base_url": scripted.origin + "/v1"}},
                      "models": {}, "server": {"api_keys": [admin_key()]}}, key=ADMIN)
    seen = set()
    for _ in range(4):
        upstream.play(http(200, '{"data":[]}'))
        assert ok(s.get(CONFIG + "/providers/p/models"))["models"] == []
        seen.add(upstream.last.header("authorization"))
    assert seen == {"Bearer k-1", "Bearer k-2"}


def test_upstream_models_failing(start_sluice, scripted, upstream):
    providers = {"up": scripted.origin + "/v1", "refused": "http://127.0.0.1:1/v1", "dns": "http://no-such-host.invalid/v1"}
    s = start_sluice({"providers": {n: {"type": "openai_chat", "api_key": "k", "base_url": u} for n, u in providers.items()},
                      "models": {}, "server": {"api_keys": [admin_key()]}}, key=ADMIN)
    upstream.play(http(403, '{"error":"no"}'))
    refused(s.get(CONFIG + "/providers/up/models"), 502,
            "Upstream returned HTTP 403. This provider may not support model listing.")
    upstream.play(http(200, '{"data":[{"id":"b"},{"id":"Ab"},{"id":"b"},{"id":"a"},{"id":"b"}]}'))
    assert ok(s.get(CONFIG + "/providers/up/models"))["models"] == ["Ab", "a", "b"]
    upstream.play(http(200, "<html>"))
    refused(s.get(CONFIG + "/providers/up/models"), 502, "Upstream returned non-JSON response")
    refused(s.get(CONFIG + "/providers/refused/models"), 502, "Connection refused at http://127.0.0.1:1/v1/models. "
            "Check that the service is running and the port is correct.")
    refused(s.get(CONFIG + "/providers/dns/models"), 502,
            "Cannot resolve hostname in http://no-such-host.invalid/v1/models. Check the Base URL.")
    refused(s.get(CONFIG + "/providers/nobody/models"), 404, "Provider 'nobody' not found")
    assert s.call("PATCH", "/sluice/v1/providers/up", {"proxy": "http://user:hidden-pw@127.0.0.1:1"}).status_code == 200
    r = s.get(CONFIG + "/providers/up/models")
    assert r.status_code == 502 and "through the proxy http://" in r.text and "127.0.0.1:1" in r.text and "Check the proxy" in r.text, r.text
    assert "hidden-pw" not in r.text


# models

def test_a_model_added_changed_renamed_deleted(admin, scripted):
    got = ok(put_model(admin, "m", provider="oa", capabilities=["text", "vision"], upstream_model="id-2"))
    assert got == {"ok": True, "model": "m", "provider": "oa", "capabilities": ["text", "vision"],
                   "models": {"m": "oa", "m1": "oa", "m2": "oa"}}
    chat(admin, "m")
    assert scripted.last.json["model"] == "id-2"
    assert ok(put_model(admin, "m", provider="oa"))["capabilities"] == ["text"]
    assert ok(admin.get(CONFIG))["models"]["m"] == {"provider": "oa", "capabilities": ["text"]}
    assert ok(put_model(admin, "m", provider="oa", capabilities=["made", "up"]))["capabilities"] == ["made", "up"]
    assert ok(put_model(admin, "m", provider="oa", capabilities=[]))["capabilities"] == []
    got = ok(put_model(admin, "n", provider="an", rename_from="m"))
    assert got["models"] == {"m1": "oa", "m2": "oa", "n": "an"}
    assert ok(put_model(admin, "n", provider="oa", rename_from="n"))["models"]["n"] == "oa"
    assert ok(delete(admin, "/models/n")) == {"ok": True, "deleted": "n", "models": {"m1": "oa", "m2": "oa"}}
    refused(delete(admin, "/models/n"), 404, "Model 'n' not found")


def test_model_refusals(admin):
    for body in ({}, {"provider": ""}, {"provider": None}, {"capabilities": ["text"]}):
        refused(admin.call("PUT", CONFIG + "/models/x", body), 400, "'provider' is required")
    refused(put_model(admin, "x", provider="nobody"), 400, "Provider 'nobody' not found in config")
    refused(put_model(admin, "x", provider="oa", rename_from="nope"), 404, "Original model 'nope' not found")
    ok(put_model(admin, "x", provider="oa"))
    refused(put_model(admin, "m1", provider="oa", rename_from="x"), 409, "Model 'm1' already exists")
    refused(admin.call("PUT", CONFIG + "/models/x", b"{"), 400, "Invalid JSON body")


@pytest.mark.parametrize("path,name", [("a/b/c", "a/b/c"), ("a%2Fb%2Fc", "a/b/c"), ("with%20space", "with space"),
                                       ("%E6%A8%A1%E5%9E%8B", "模型"), ("x:free", "x:free"), ("a%2Fb/c%20d", "a/b/c d"), ("%25", "%")])
def test_model_names(admin, scripted, path, name):
    got = ok(put_model(admin, path, provider="oa"))
    assert got["model"] == name and got["models"][name] == "oa"
    chat(admin, name)
    assert scripted.last.json["model"] == name
    assert ok(delete(admin, "/models/" + path))["deleted"] == name


def test_bulk_add(admin, scripted):
    r = ok(admin.post(CONFIG + "/models", {"provider": "oa", "models": ["a", "b", "a"], "prefix": "my/", "capabilities": ["text"]}))
    assert (r["ok"], r["added"], r["skipped"]) == (True, ["my/a", "my/b"], ["my/a"])
    assert r["models"] == {"m1": "oa", "m2": "oa", "my/a": "oa", "my/b": "oa"}
    chat(admin, "my/a")
    assert scripted.last.json["model"] == "a"
    r = ok(admin.post(CONFIG + "/models", {"provider": "oa", "models": ["m1", "z"]}))
    assert r["added"] == ["z"] and r["skipped"] == ["m1"]
    got = ok(admin.get(CONFIG))["models"]
    assert got["z"] == {"provider": "oa", "capabilities": ["text", "vision", "tools"]}
    assert got["my/b"] == {"provider": "oa", "capabilities": ["text"], "upstream_model": "b"}
    assert got["m1"]["upstream_model"] == "gpt-x-2"  # untouched
    assert ok(admin.post(CONFIG + "/models", {"provider": "oa", "models": ["a", "b"], "prefix": "my/"})) == {
        "ok": True, "added": [], "skipped": ["my/a", "my/b"], "message": "All models already exist"}
    for body in ({}, {"provider": "oa"}, {"models": ["a"]}, {"provider": "oa", "models": []}):
        refused(admin.post(CONFIG + "/models", body), 400, "'provider' and 'models' are required")
    refused(admin.post(CONFIG + "/models", {"provider": "nobody", "models": ["a"]}), 400, "Provider 'nobody' not found")
    refused(admin.post(CONFIG + "/models", b"nope"), 400, "Invalid JSON body")


# server

def test_server_proxy(admin):
    got = ok(admin.call("PUT", CONFIG + "/server", {"proxy": "http://u:secret-pw@127.0.0.1:1"}))
    assert got["ok"] is True and got["server"]["proxy"] == "http://***@127.0.0.1:1"
    assert KEY not in json.dumps(got) and "secret-pw" not in json.dumps(got)
    chat(admin, "m1", 502)  # through the proxy, where nobody is
    assert ok(admin.call("PUT", CONFIG + "/server", {}))["server"]["proxy"] == "http://***@127.0.0.1:1"
    assert "proxy" not in ok(admin.call("PUT", CONFIG + "/server", {"proxy": ""}))["server"]
    chat(admin, "m1")
    ok(admin.call("PUT", CONFIG + "/server", {"proxy": "socks5://127.0.0.1:1"}))
    assert "proxy" not in ok(admin.call("PUT", CONFIG + "/server", {"proxy": None}))["server"]
    r = admin.call("PUT", CONFIG + "/server", {"proxy": "no url"})
    assert r.status_code == 400 and "proxy" in r.json()["error"]
    refused(admin.call("PUT", CONFIG + "/server", b"["), 400, "Invalid JSON body")


def test_reload(admin, scripted):
    assert ok(admin.post(CONFIG + "/reload")) == {"ok": True, "providers": ["oa", "an"], "models": {"m1": "oa", "m2": "oa"}}
    config = json.loads(admin.config_path.read_text())
    config["models"]["later"] = "an"
    config["providers"]["an"]["enabled"] = False
    admin.write_config(config)
    assert ok(admin.post(CONFIG + "/reload")) == {"ok": True, "providers": ["oa"], "models": {"m1": "oa", "m2": "oa"}}
    config["providers"]["oa"]["base_url"] = "ftp://x"
    admin.write_config(config)
    r = admin.post(CONFIG + "/reload")
    assert r.status_code == 500 and set(r.json()) == {"error"} and r.json()["error"].startswith("Reload failed: "), r.text
    assert "base_url" in r.text
    chat(admin, "m1")  # the old one goes on
    assert FORMATS["chat"].read(chat(admin, "m2").content).text == HELLO
