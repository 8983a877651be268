"""OmniRoute's surface: lists of models and models added to providers."""
import json

import pytest
from omni import ADMIN, chat, invalid, models, ok, refused, start
from upstream import http


@pytest.fixture
def s(upstream, calls, tmp_path):
    running = start(tmp_path / "omni", upstream.origin, calls)
    yield running
    running.stop()


def served(s):
    return [m["id"] for m in s.get("/v1/models").json()["data"]]


def custom(s, provider):
    return ok(s.api("GET", "/provider-models?provider=" + provider))["models"]


def test_models_by_provider(s, upstream):
    s.add(provider="together", name="x", apiKey="k-123456789", url=upstream.origin)
    ok(s.api("POST", "/provider-models", {"provider": "together", "modelId": "gpt-new", "modelName": "New one"}))
    got = {m["alias"]: m for m in ok(s.api("GET", "/models"))["models"]}
    assert got["together/gpt-new"] == {"provider": "together", "model": "gpt-new", "name": "New one", "fullModel": "together/gpt-new",
                                     "alias": "together/gpt-new", "available": True}
    assert got["to-chat"]["provider"] == "chat" and got["to-chat"]["model"] == "chat-model"
    ids = {c["name"]: c["id"] for c in ok(s.api("GET", "/providers"))["connections"]}
    ok(s.api("PATCH", "/providers/" + ids["x"], {"isActive": False}))
    assert "together/gpt-new" not in {m["alias"] for m in ok(s.api("GET", "/models"))["models"]}
    left = {m["alias"]: m for m in ok(s.api("GET", "/models?all=true"))["models"]}
    assert left["together/gpt-new"]["available"] is False


def test_the_catalog(s, upstream):
    s.add(provider="together", name="x", apiKey="k-123456789", url=upstream.origin)
    ok(s.api("POST", "/provider-models", {"provider": "together", "modelId": "emb", "supportedEndpoints": ["embeddings"]}))
    got = ok(s.api("GET", "/models/catalog"))["catalog"]
    assert got["together"] == {"provider": "Together", "active": True, "models": [
        {"id": "together/emb", "name": "together/emb", "type": "embedding", "custom": True}]}
    assert [m["custom"] for m in got["chat"]["models"]] == [False]
    # an entry says one type: what talks and embeds is found as either
    ok(s.api("POST", "/provider-models", {"provider": "together", "modelId": "both", "supportedEndpoints": ["embeddings", "chat"]}))
    both = [m for m in ok(s.api("GET", "/models/catalog"))["catalog"]["together"]["models"] if m["id"] == "together/both"]
    assert [m["type"] for m in both] == ["chat", "embedding"]
    assert ok(s.api("GET", "/provider-models"))["modelCompatOverrides"] == []


def test_a_model_added_by_hand_is_served_by_all_connections(s, upstream):
    assert custom(s, "together") == []
    got = ok(s.api("POST", "/provider-models", {"provider": "together", "modelId": "m1"}))["model"]
    assert got == {"id": "m1", "name": "m1", "source": "manual", "apiFormat": "chat-completions", "supportedEndpoints": ["chat"]}
    assert "together/m1" not in served(s)  # nobody to ask yet
    for name in ("a", "b"):
        s.add(provider="together", name=name, apiKey="k-%s-1234567" % name, url=upstream.origin)
    assert "together/m1" in served(s)
    upstream.next(http(500, "{}"), chat())
    body = {"model": "together/m1", "messages": [{"role": "user", "content": "hi"}]}
    assert s.post("/v1/chat/completions", body).status_code == 200
    assert [r.json["model"] for r in upstream.requests] == ["m1", "m1"] and len({r.header("authorization") for r in upstream.requests}) == 2
    assert ok(s.api("POST", "/provider-models", {"provider": "together", "modelId": "m1", "modelName": "other"}))["model"]["name"] == "m1"  # as it was
    got = ok(s.api("PUT", "/provider-models", {"provider": "together", "modelId": "m1", "modelName": "other", "isHidden": True}))["model"]
    assert got["name"] == "other" and got["isHidden"] is True and "together/m1" not in served(s)
    refused(s.api("PUT", "/provider-models", {"provider": "together", "modelId": "none"}), 404)
    assert ok(s.api("GET", "/provider-models"))["models"] == {"together": custom(s, "together")}
    assert ok(s.api("DELETE", "/provider-models?provider=together&model=m1")) == {"removed": True}
    assert ok(s.api("DELETE", "/provider-models?provider=together&model=m1")) == {"removed": False}


def test_what_a_model_needs(s):
    def post(**body):
        return s.api("POST", "/provider-models", {"provider": "together", "modelId": "m", **body})

    invalid(s.api("POST", "/provider-models", {"provider": "together"}), "modelId")
    refused(post(provider="nobody"), 400)
    invalid(post(apiFormat="soap"), "apiFormat")
    invalid(post(provider="groq", supportedEndpoints=["smell"]), "supportedEndpoints")
    invalid(post(source="stolen"), "source")
    for field, value in (("upstreamHeaders", {"x": "y"}), ("normalizeToolCallId", True), ("preserveOpenAIDeveloperRole", False), ("compatByProtocol", {})):
        invalid(post(**{field: value}), field)
    invalid(s.api("DELETE", "/provider-models?provider=together"), "model")
    invalid(s.api("DELETE", "/provider-models"), "provider")


def test_a_connections_list_is_taken_over(s, upstream):
    made = s.add(provider="groq", name="x", apiKey="k-123456789", url=upstream.origin)
    ok(s.api("POST", "/provider-models", {"provider": "groq", "modelId": "mine"}))
    upstream.next(models("b", "a"), models("b", "c"), http(401, "{}"))
    path = "/providers/%s/sync-models" % made["id"]
    assert ok(s.api("POST", path)) == {"ok": True, "provider": "groq", "syncedModels": 2, "models": ["a", "b"]}
    assert {m["id"]: m["source"] for m in custom(s, "groq")} == {"a": "auto-sync", "b": "auto-sync", "mine": "manual"}
    assert ok(s.api("POST", path))["models"] == ["b", "c"]
    assert {m["id"] for m in custom(s, "groq")} == {"b", "c", "mine"}  # what the list lost is gone
    refused(s.api("POST", path), 502)
    assert ok(s.api("DELETE", "/provider-models?provider=groq&all=true")) == {"removed": True} and custom(s, "groq") == []


def test_models_of_a_node(s, upstream):
    node = ok(s.api("POST", "/provider-nodes", {"name": "N", "prefix": "n", "apiType": "chat", "baseUrl": upstream.origin}), 201)["node"]
    ok(s.api("POST", "/provider-models", {"provider": "n", "modelId": "m"}))
    s.add(provider=node["id"], name="x", apiKey="k-123456789")
    assert "n/m" in served(s) and custom(s, node["id"]) == custom(s, "n") != []
    ok(s.api("DELETE", "/provider-nodes/" + node["id"]))
    assert "n/m" not in served(s)
    config = json.loads(s.config_path.read_text())
    assert "n/m" not in config["models"] and "kinds" not in config or config["kinds"] == {}


@pytest.mark.parametrize("path,endpoint,kind", [("/api/v1/embeddings", "embeddings", "embedding"), ("/api/v1/images/generations", "images", "image")])
def test_lists_of_what_models_can(s, upstream, path, endpoint, kind):
    s.add(provider="together", name="x", apiKey="k-123456789", url=upstream.origin)
    ok(s.api("POST", "/provider-models", {"provider": "together", "modelId": "able", "supportedEndpoints": [endpoint]}))
    got = s.get(path).json()
    assert got["object"] == "list" and [(m["id"], m["type"]) for m in got["data"] if m["owned_by"] != "echo"] == [("together/able", kind)]
    assert s.get(path, auth=False).status_code == 401
    assert s.get(path, headers={"Authorization": "Bearer " + ADMIN}, auth=False).status_code == 403


def test_aliases(s, upstream):
    def alias(method, path="/models/alias", body=None):
        return s.api(method, path, body)

    assert ok(alias("GET")) == {"aliases": {}}
    assert ok(alias("POST", body={"model": " echo ", "alias": "fast"})) == {"success": True, "model": "echo", "alias": "fast"}
    assert ok(alias("PUT", body={"model": "to-chat", "alias": "fast"}))["model"] == "to-chat"
    assert ok(alias("PUT", "/models", {"model": "echo", "alias": "slow"}))["alias"] == "slow"
    assert ok(alias("GET")) == {"aliases": {"fast": "to-chat", "slow": "echo"}}
    upstream.next(chat())
    assert s.post("/v1/chat/completions", {"model": "fast", "messages": [{"role": "user", "content": "hi"}]}).status_code == 200
    assert upstream.last.json["model"] == "chat-model"
    assert ok(alias("POST", body={"model": "not/there-yet", "alias": "later"}))["success"] is True
    assert ok(alias("DELETE", "/models/alias?alias=fast")) == {"success": True}
    assert ok(alias("GET")) == {"aliases": {"slow": "echo", "later": "not/there-yet"}}
    refused(alias("DELETE", "/models/alias?alias=fast"), 404)
    invalid(alias("DELETE"), "alias")
    invalid(alias("POST", body={"model": "x"}), "alias")
    invalid(alias("POST", body={"model": " ", "alias": "y"}), "model")
    assert s.api("GET", "/models/alias", headers={}).status_code == 401


def test_what_stands_back_and_is_let_try_again(s, upstream):
    assert ok(s.api("GET", "/models/availability")) == {"unavailableCount": 0, "models": []}
    upstream.play(http(429, json.dumps({"error": {"message": "slow down"}}), headers=[("Retry-After", "60")]))
    assert s.post("/v1/chat/completions", {"model": "to-chat", "messages": [{"role": "user", "content": "hi"}]}).status_code == 429
    got = ok(s.api("GET", "/models/availability"))
    assert got["unavailableCount"] == len(got["models"]) == 1
    one = got["models"][0]
    assert one["provider"] == "openai-compatible" and one["model"] == "chat-model" and one["reason"] == "quota_window" and 0 < one["remainingMs"] <= 60000, one
    assert ok(s.api("POST", "/models/availability", {"provider": "anthropic"})) == {"success": True, "removed": False}
    assert ok(s.api("POST", "/models/availability", {"provider": "openai-compatible"})) == {"success": True, "removed": True}
    assert ok(s.api("GET", "/models/availability"))["models"] == []
