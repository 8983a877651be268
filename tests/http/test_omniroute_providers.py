"""OmniRoute's surface: connections and nodes. Names say which acceptance check of the contract a test shows (docs/omniroute.md)."""
import datetime
import json
import re

import pytest
from omni import ADMIN, UUID, Omni, chat, invalid, models, ok, omni_config, refused, start
from test_export_start import export as exported, variables
from upstream import http, reset

SECRET = "sk-secret-of-a-connection-0123456789"
CHAT = {"messages": [{"role": "user", "content": "hi"}]}


@pytest.fixture
def s(upstream, calls, tmp_path):
    running = start(tmp_path / "omni", upstream.origin, calls)
    yield running
    running.stop()


def connections(s, provider=None):
    return [c for c in ok(s.api("GET", "/providers"))["connections"] if provider in (None, c["provider"])]


def ask(s, model, **more):
    return s.post("/v1/chat/completions", {"model": model, **CHAT, **more})


def authorizations(upstream):
    return [r.header("authorization") for r in upstream.requests]


# connections

def test_a_connection_comes_goes_and_is_used(s, upstream):
    made = s.add(provider="together", name="main", apiKey=SECRET, url=upstream.origin + "/v1", defaultModel="gpt-x", group="prod",
                 globalPriority=None, healthCheckInterval=0, providerSpecificData={"workspaceId": "w-1", "machineToken": "secret-canary",
                                       "deep": [{"clientSecret": "secret-canary", "kept": 1}]})
    assert re.fullmatch(UUID, made["id"]) and made["provider"] == "together" and made["name"] == "main" and made["authType"] == "apikey"
    assert made["priority"] == 1 and made["isActive"] is True and made["testStatus"] == "untested"
    assert made["defaultModel"] == "gpt-x" and made["group"] == "prod"
    assert made["healthCheckInterval"] == 0  # a form that finds none sends sixty minutes, which is refused
    assert made["url"] == upstream.origin + "/v1" == made["providerSpecificData"]["baseUrl"]
    assert made["providerSpecificData"]["deep"] == [{"kept": 1}] and "secret-canary" not in s.config_path.read_text()
    assert made["providerSpecificData"]["workspaceId"] == "w-1" and made["createdAt"].endswith("Z") and "lastError" not in made
    assert ok(s.api("GET", "/providers/" + made["id"]))["connection"] == made
    assert made in connections(s) and ok(s.api("GET", "/providers/client"))["connections"] == connections(s)
    for path in ("/providers", "/providers/client", "/providers/" + made["id"]):
        text = s.api("GET", path).text
        assert SECRET not in text and "secret-canary" not in text and "apiKey" not in text
    upstream.next(chat())
    assert ask(s, "together/gpt-x").status_code == 200
    assert upstream.last.json["model"] == "gpt-x" and authorizations(upstream) == ["Bearer " + SECRET]
    assert ok(s.api("DELETE", "/providers/" + made["id"]))["message"]
    refused(s.api("GET", "/providers/" + made["id"]), 404)
    assert ask(s, "together/gpt-x").status_code == 404


def test_what_nothing_would_obey_is_not_taken(s, upstream):
    made = s.add(provider="together", name="main", apiKey=SECRET, url=upstream.origin + "/v1")
    data = {"limitPolicy": {"enabled": True, "thresholdPercent": 50}, "codexLimitPolicy": {"use5h": True}, "autoSync": True, "chatPath": "/x", "modelsPath": "/x",
            "prefix": "x", "apiType": "responses", "resourceUrl": "https://x.example"}
    cases = [("providerSpecificData." + name, {"providerSpecificData": {name: value}}) for name, value in data.items()]
    cases += [("testStatus", {"testStatus": word}) for word in ("banned", "expired", "credits_exhausted", "strange")]
    for field, body in [*cases, ("globalPriority", {"globalPriority": 1}), ("healthCheckInterval", {"healthCheckInterval": 60})]:
        invalid(s.api("PATCH", "/providers/" + made["id"], body), field)
        invalid(s.api("POST", "/providers", {"provider": "together", "name": "other", "apiKey": SECRET, "url": upstream.origin, **body}), field)
    assert connections(s, "together") == [made]


def test_a_connection_stands_back_until_it_is_said(s, upstream):
    """Also over a restart; null, and a time that is past, let it serve again."""
    one, two = [s.add(provider="together", name=name, apiKey="k-" + name + "-0123456789", url=upstream.origin + "/v1", priority=place,
                      providerSpecificData={"extraApiKeys": ["k-more-" + name]}) for place, name in ((1, "one"), (2, "two"))]
    path = "/providers/" + one["id"]

    def first(of=s):
        upstream.reset()
        upstream.next(chat())
        assert ask(of, "together/gpt").status_code == 200
        return {"k-one-0123456789": "one", "k-more-one": "one"}.get(authorizations(upstream)[0].split()[1], "two")

    def until(days):
        return (datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(days=days)).isoformat()

    assert first() == "one" and "rateLimitedUntil" not in one
    asked = until(2)
    got = ok(s.api("PATCH", path, {"rateLimitedUntil": asked}))["connection"]
    apart = datetime.datetime.fromisoformat(got["rateLimitedUntil"]) - datetime.datetime.fromisoformat(asked)
    assert abs(apart.total_seconds()) < 60 and first() == first() == "two"
    assert "rateLimitedUntil" not in ok(s.api("GET", "/providers/" + two["id"]))["connection"]
    for bad in ("soon", until(9)):
        invalid(s.api("PATCH", path, {"rateLimitedUntil": bad}), "rateLimitedUntil")
    assert first() == "two"
    assert "rateLimitedUntil" not in ok(s.api("PATCH", path, {"rateLimitedUntil": None}))["connection"] and first() == "one"
    ok(s.api("PATCH", path, {"rateLimitedUntil": until(2)}))
    assert first() == "two" and "rateLimitedUntil" not in ok(s.api("PATCH", path, {"rateLimitedUntil": until(-2)}))["connection"] and first() == "one"
    ok(s.api("PATCH", path, {"rateLimitedUntil": until(2)}))
    s.stop()
    again = Omni(s.folder, None, None)
    try:
        assert first(again) == "two" and ok(again.api("GET", path))["connection"]["rateLimitedUntil"]
    finally:
        again.stop()


def test_what_a_node_says_is_given_back_as_it_is_shown(s, upstream):
    node = node_of(s, baseUrl=upstream.origin, chatPath="/c", modelsPath="/m")
    made = s.add(provider=node["id"], name="x", apiKey=SECRET)
    shown = made["providerSpecificData"]
    assert shown["chatPath"] == "/c" and shown["prefix"]
    got = ok(s.api("PATCH", "/providers/" + made["id"], {"providerSpecificData": {**shown, "note": 1, "autoSync": False}}))["connection"]
    assert got["providerSpecificData"] == {**shown, "note": 1, "autoSync": False}
    invalid(s.api("PATCH", "/providers/" + made["id"], {"providerSpecificData": {**shown, "chatPath": "/d"}}), "providerSpecificData.chatPath")


def test_a_connection_is_tested_with_the_model_that_it_was_told(s, upstream):
    made = s.add(provider="together", name="x", apiKey=SECRET, url=upstream.origin + "/v1", defaultModel="usual",
                 providerSpecificData={"validationModelId": "tiny"})
    upstream.next(models(status=404), chat())
    assert ok(s.api("POST", "/providers/%s/test" % made["id"]))["valid"] is True
    assert upstream.last.json["model"] == "tiny"


def test_what_a_connection_needs(s, upstream):
    invalid(s.api("POST", "/providers", {"name": "x", "apiKey": "k"}), "provider")
    invalid(s.api("POST", "/providers", {"provider": "together"}), "apiKey")  # or url
    refused(s.api("POST", "/providers", {"provider": "claude-code-oauth", "apiKey": "k"}), 400)
    refused(s.api("POST", "/providers", {"provider": "openai-compatible-chat-000", "apiKey": "k"}), 404)
    invalid(s.api("POST", "/providers", {"provider": "together", "apiKey": "k", "priority": 0}), "priority")
    invalid(s.api("POST", "/providers", {"provider": "together", "apiKey": "k", "priority": 101}), "priority")
    invalid(s.api("POST", "/providers", {"provider": "together", "apiKey": "k", "url": "ftp://x"}), "url")
    invalid(s.api("POST", "/providers", {"provider": "together", "apiKey": "k", "providerSpecificData": {"baseUrl": "file:///etc"}}),
            "providerSpecificData.baseUrl")
    invalid(s.api("POST", "/providers", {"provider": "together", "apiKey": "k", "providerSpecificData": []}), "providerSpecificData")
    invalid(s.api("POST", "/providers", {"provider": "together", "apiKey": "${HOME}"}), "apiKey")  # references are the file's
    invalid(s.api("POST", "/providers", {"provider": "together", "apiKey": "x" * 10001}), "apiKey")
    made = s.add(provider="together", apiKey="k-1234567890", priority="2", unknown=1)
    assert made["name"] == "together" and made["priority"] == 1  # of one: renumbered
    made = s.add(provider="openrouter", url=upstream.origin)  # an address is enough
    assert made["url"] == upstream.origin


def test_every_provider_of_the_registry(s, upstream):
    """Where they lead is shown by the unit tests of the table."""
    for name, base, path in (("synthetic", "/openai/v1", "/openai/v1/chat/completions"), ("bcp", "/apps/anthropic", "/apps/anthropic/v1/messages"),
                             ("vertex", "/v1", "/v1/publishers/google/models/model-1:generateContent"), ("glm", "", "/v1/messages"),
                             ("minimax", "", "/v1/messages")):  # these two lead elsewhere outside this surface
        s.add(provider=name, name="mine", apiKey="k-1234567890", url=upstream.origin + base)
        assert ask(s, name + "/model-1").status_code == 200, name
        assert upstream.last.path == path, (name, upstream.last.path)
        assert [c["name"] for c in connections(s, name)] == ["mine"]
    for name in ("nebius hyperbolic zai minimax-cn alicode alicode-intl blackbox ollama-cloud kilo-gateway opencode-zen opencode-go longcat puter scaleway "
                 "aimlapi ds pplx").split():
        assert s.add(provider=name, name="n-" + name, apiKey="k-1234567890")["provider"] == name
    invalid(s.api("POST", "/providers", {"provider": "cloudflare-ai", "name": "n", "apiKey": "k-1234567890"}), "providerSpecificData.accountId")
    invalid(s.api("POST", "/providers", {"provider": "cf", "name": "n", "apiKey": "k-1234567890", "providerSpecificData": {"accountId": "../x"}}),
            "providerSpecificData.accountId")
    made = s.add(provider="cf", name="n", apiKey="k-1234567890", providerSpecificData={"accountId": "a1b2"})
    assert made["url"] == "https://api.cloudflare.com/client/v4/accounts/a1b2/ai/v1"
    moved = ok(s.api("PATCH", "/providers/" + made["id"], {"providerSpecificData": {"accountId": "c3"}}))["connection"]
    assert moved["url"] == "https://api.cloudflare.com/client/v4/accounts/c3/ai/v1"
    assert s.add(provider="pollinations", name="free")["provider"] == "pollinations"  # answers without a key as well
    for name in ("cc", "codex", "gemini-cli", "antigravity", "kiro", "cursor", "iflow", "cline", "kilocode", "kimi-coding"):
        refused(s.api("POST", "/providers", {"provider": name, "apiKey": "k-1234567890"}), 400)


def test_the_same_name_again_changes_the_connection(s):
    first = s.add(provider="groq", name="one", apiKey="k-1111111111", providerSpecificData={"a": 1, "b": 2})
    second = s.add(provider="groq", name="one", apiKey="k-2222222222", providerSpecificData={"b": 3})
    assert second["id"] == first["id"] and len(connections(s, "groq")) == 1
    assert {k: second["providerSpecificData"][k] for k in "ab"} == {"a": 1, "b": 3}  # a shallow merge
    assert second["createdAt"] == first["createdAt"] and second["updatedAt"] >= first["updatedAt"]


def test_priorities_are_packed_and_obeyed(s, upstream):
    url = upstream.origin + "/v1"
    for name in ("a", "b", "c"):
        s.add(provider="together", name=name, apiKey="k-%s-123456789" % name, url=url, priority={"a": 5, "b": 9, "c": 5}[name])
    # c came with the number of one that was there: before it; then all are 1 to n
    ordered = [(c["name"], c["priority"]) for c in connections(s, "together")]
    assert sorted(p for _, p in ordered) == [1, 2, 3], ordered
    ids = {c["name"]: c["id"] for c in connections(s, "together")}
    moved = ok(s.api("PATCH", "/providers/" + ids["b"], {"priority": 1}))["connection"]
    assert moved["priority"] == 1
    order = [c["name"] for c in connections(s, "together")]
    assert order[0] == "b" and [c["priority"] for c in connections(s, "together")] == [1, 2, 3]
    upstream.next(http(500, "{}"), http(500, "{}"), chat())
    assert ask(s, "together/gpt").status_code == 200
    assert authorizations(upstream) == ["Bearer k-%s-123456789" % n for n in order]
    ok(s.api("DELETE", "/providers/" + ids["b"]))
    assert [c["priority"] for c in connections(s, "together")] == [1, 2]


def test_a_change_changes_what_it_names(s, upstream):
    made = s.add(provider="mistral", name="m", apiKey=SECRET, url=upstream.origin + "/v1", defaultModel="d", group="g")
    path = "/providers/" + made["id"]
    assert s.api("PATCH", path, {}).status_code == 400
    assert s.api("PUT", path, {"unknown": 1}).status_code == 400
    got = ok(s.api("PUT", path, {"name": "renamed", "isActive": False, "group": None, "defaultModel": None}))["connection"]
    assert got["id"] == made["id"] and got["name"] == "renamed" and got["isActive"] is False
    assert "group" not in got and "defaultModel" not in got
    assert ask(s, "mistral/x").status_code == 404  # not in use
    ok(s.api("PATCH", path, {"isActive": True, "apiKey": ""}))  # an empty credential is none
    upstream.next(chat(), chat())
    assert ask(s, "mistral/x").status_code == 200 and authorizations(upstream)[-1] == "Bearer " + SECRET
    ok(s.api("PATCH", path, {"apiKey": "k-new-0123456789"}))
    assert ask(s, "mistral/x").status_code == 200 and authorizations(upstream)[-1] == "Bearer k-new-0123456789"
    got = ok(s.api("PATCH", path, {"testStatus": "error", "lastError": "why", "errorCode": "401"}))["connection"]
    assert (got["testStatus"], got["lastError"], got["errorCode"]) == ("error", "why", "401")
    got = ok(s.api("PATCH", path, {"testStatus": "active", "lastError": None, "errorCode": None}))["connection"]
    assert got["testStatus"] == "active" and "lastError" not in got and "errorCode" not in got
    s.add(provider="mistral", name="other", apiKey="k-0987654321")
    refused(s.api("PATCH", path, {"name": "other"}), 400)
    refused(s.api("PATCH", "/providers/nobody", {"name": "x"}), 404)


def test_ids_survive_renames_and_restarts(s, upstream, start_sluice):
    """Also of providers that a hand wrote into the file without an id."""
    before = {c["name"]: c["id"] for c in connections(s)}["plain"]
    admin = {"auth": False, "headers": {"Authorization": "Bearer " + ADMIN}}
    assert s.call("PATCH", "/sluice/v1/providers/plain", {"name": "plainer"}, **admin).status_code == 200
    assert {c["name"]: c["id"] for c in connections(s)}["plainer"] == before
    assert ok(s.api("GET", "/providers/" + before))["connection"]["name"] == "plainer"
    made = s.add(provider="together", name="x", apiKey=SECRET, url=upstream.origin)
    text = s.config_path.read_text()
    other = start_sluice(text)
    got = {c["name"]: c["id"] for c in other.call("GET", "/api/providers", **admin).json()["connections"]}
    assert got["plainer"] == before and got["x"] == made["id"]


def test_extra_keys_are_used_in_turn(s, upstream):
    made = s.add(provider="together", name="x", apiKey="k-one-123456", url=upstream.origin, providerSpecificData={"extraApiKeys": ["k-two-123456"]})
    assert "k-two" not in json.dumps(made)
    upstream.next(chat(), chat(), chat(), chat())
    for _ in range(4):
        assert ask(s, "together/gpt").status_code == 200
    assert sorted(authorizations(upstream)) == sorted(["Bearer k-one-123456", "Bearer k-two-123456"] * 2)


def test_given_connections_say_where_they_stand(s):
    echo = [c for c in connections(s) if c["provider"] == "echo"]
    assert echo and ok(s.api("PATCH", "/providers/" + echo[0]["id"], {"defaultModel": "echo"}))["connection"]["defaultModel"] == "echo"


# tests

def test_check_58_tests_say_what_was_found(s, upstream):
    made = s.add(provider="together", name="x", apiKey=SECRET, url=upstream.origin + "/v1", defaultModel="m")
    path = "/providers/%s/test" % made["id"]

    def run(script, body=None):
        upstream.reset()
        upstream.next(script)
        got = ok(s.api("POST", path, body))
        return got, ok(s.api("GET", "/providers/" + made["id"]))["connection"]

    got, after = run(models("m"))
    assert got["valid"] is True and got["error"] is None and got["diagnosis"] == {
        "type": "ok", "source": "upstream", "message": None, "code": None} and got["statusCode"] is None and got["latencyMs"] >= 0
    assert after["testStatus"] == "active" and after["lastTested"] == got["testedAt"]
    got, after = run(http(401, '{"error":{"message":"Incorrect API key"}}'))
    assert got["valid"] is False and got["diagnosis"]["type"] == "upstream_auth_error" and got["diagnosis"]["code"] == "401"
    assert got["statusCode"] == 401 and "Incorrect API key" in got["error"] and SECRET not in json.dumps(got)
    assert after["testStatus"] == "error" and after["errorCode"] == "401" and after["lastErrorType"] == "upstream_auth_error"
    got, _ = run(http(429, '{"error":{"message":"slow down"}}'))
    assert got["diagnosis"]["type"] == "upstream_rate_limited" and got["valid"] is True and "slow down" in got["warning"]
    got, _ = run(reset)
    assert got["valid"] is False and got["diagnosis"]["type"] == "network_error" and got["diagnosis"]["code"] is None
    got, after = run(models("m"), b"")  # the body is optional
    assert got["valid"] is True and "lastError" not in after
    refused(s.api("POST", "/providers/nobody/test"), 404)


def test_where_no_list_is_a_request_is_tried(s, upstream):
    made = s.add(provider="together", name="x", apiKey=SECRET, url=upstream.origin + "/v1")
    path = "/providers/%s/test" % made["id"]
    upstream.next(http(404, "{}"), chat())
    assert ok(s.api("POST", path, {"validationModelId": "tiny"}))["valid"] is True
    assert upstream.last.path == "/v1/chat/completions" and upstream.last.json == {
        "model": "tiny", "messages": [{"role": "user", "content": "Hi"}], "max_tokens": 1}
    upstream.next(http(500, '{"error":{"message":"down"}}'), http(503, '{"error":{"message":"down"}}'))
    got = ok(s.api("POST", path, {"validationModelId": "tiny"}))
    assert got["valid"] is False and got["diagnosis"]["type"] == "upstream_unavailable"


def test_batches(s, upstream):
    for name in ("a", "b"):
        s.add(provider="groq", name=name, apiKey="k-%s-12345678" % name, url=upstream.origin)
    upstream.next(models("m"), http(401, "{}"))
    got = ok(s.api("POST", "/providers/test-batch", {"mode": "provider", "providerId": "groq"}))
    assert got["summary"] == {"total": 2, "passed": 1, "failed": 1} and got["providerId"] == "groq" and got["mode"] == "provider"
    assert {r["connectionName"] for r in got["results"]} == {"a", "b"} and {r["provider"] for r in got["results"]} == {"groq"}
    assert sorted(r["diagnosis"]["type"] for r in got["results"]) == ["ok", "upstream_auth_error"]
    got = ok(s.api("POST", "/providers/test-batch", {"mode": "oauth"}))
    assert got["results"] == [] and "summary" not in got and got["providerId"] is None
    invalid(s.api("POST", "/providers/test-batch", {"mode": "provider"}), "providerId")
    invalid(s.api("POST", "/providers/test-batch", {"mode": "nonsense"}), "mode")


def test_validation_keeps_nothing(s, upstream):
    node = ok(s.api("POST", "/provider-nodes", {"name": "N", "prefix": "n", "apiType": "chat", "baseUrl": upstream.origin}), 201)["node"]
    before = connections(s)
    upstream.next(models("m"), http(403, "{}"), http(429, "{}"), http(404, "{}"), http(400, "{}"))

    def run(**more):
        return ok(s.api("POST", "/providers/validate", {"provider": node["id"], "apiKey": SECRET, **more}))

    assert run() == {"valid": True, "error": None, "warning": None, "method": "models_endpoint"}
    assert authorizations(upstream) == ["Bearer " + SECRET]
    got = run()
    assert got["valid"] is False and got["method"] is None and SECRET not in json.dumps(got)
    assert run()["valid"] is True
    got = run(validationModelId="m")
    assert got["valid"] is True and got["method"] == "inference_available" and got["warning"] is not None
    assert connections(s) == before
    refused(s.api("POST", "/providers/validate", {"provider": "openai-compatible-chat-000", "apiKey": "k"}), 404)
    refused(s.api("POST", "/providers/validate", {"provider": "nobody", "apiKey": "k"}), 400)
    invalid(s.api("POST", "/providers/validate", {"provider": "together"}), "apiKey")


def test_the_models_behind_a_connection(s, upstream):
    made = s.add(provider="together", name="x", apiKey=SECRET, url=upstream.origin)
    upstream.next(models("b", "a"), http(404, "{}"), http(401, "{}"))
    path = "/providers/%s/models" % made["id"]
    got = ok(s.api("GET", path))
    assert got["provider"] == "together" and got["connectionId"] == made["id"] and got["source"] == "api"
    assert [m["id"] for m in got["models"]] == ["a", "b"]
    got = ok(s.api("GET", path))
    assert got["source"] == "local_catalog" and got["models"] == [] and got["warning"]
    refused(s.api("GET", path), 502)
    refused(s.api("POST", "/providers/%s/refresh" % made["id"], {}), 400)


# nodes

def node_of(s, **body):
    r = s.api("POST", "/provider-nodes", {"name": "Mine", "prefix": "mine", "apiType": "chat", **body})
    return ok(r, 201)["node"]


def test_a_node_routes_by_its_prefix(s, upstream):
    node = node_of(s, baseUrl=upstream.origin + "/v1/")
    assert re.fullmatch("openai-compatible-chat-[0-9a-f]+", node["id"]) and node["type"] == "openai-compatible"
    assert node["baseUrl"] == upstream.origin + "/v1" and node["chatPath"] is None and node["createdAt"] == node["updatedAt"]
    assert ok(s.api("GET", "/provider-nodes"))["nodes"] == [node]
    assert ask(s, "mine/m").status_code == 404  # nobody to ask yet
    made = s.add(provider=node["id"], name="first", apiKey=SECRET)
    assert made["provider"] == node["id"] and made["providerSpecificData"]["prefix"] == "mine" and made["providerSpecificData"]["nodeName"] == "Mine"
    upstream.next(chat(), chat(), http(500, "{}"), chat())
    assert ask(s, "mine/org/m").status_code == 200
    assert upstream.last.path == "/v1/chat/completions" and upstream.last.json["model"] == "org/m"
    assert ask(s, node["id"] + "/m").status_code == 200
    s.add(provider="mine", name="second", apiKey="k-second-123")  # by its prefix too
    assert ask(s, "mine/m").status_code == 200  # the first stands in for the newer one
    assert authorizations(upstream)[-2:] == ["Bearer k-second-123", "Bearer " + SECRET]
    assert ok(s.api("DELETE", "/provider-nodes/" + node["id"])) == {"success": True}
    assert connections(s, node["id"]) == [] and ask(s, "mine/m").status_code == 404
    refused(s.api("DELETE", "/provider-nodes/" + node["id"]), 404)


def test_check_39_paths_of_nodes(s, upstream):
    cases = [({"chatPath": "/v4/chat/completions"}, "/base/v4/chat/completions"), ({"chatPath": ""}, "/base/chat/completions"),
             ({"apiType": "responses"}, "/base/responses"), ({"type": "anthropic-compatible"}, "/base/messages")]
    upstream.play(http(500, "{}"))
    for i, (more, path) in enumerate(cases):
        node = node_of(s, prefix="p%d" % i, baseUrl=upstream.origin + "/base/", **more)
        s.add(provider=node["id"], name="c", apiKey=SECRET)
        ask(s, "p%d/m" % i)
        assert upstream.last.path == path
    node = node_of(s, prefix="q", baseUrl=upstream.origin + "/base/messages/", type="anthropic-compatible")
    assert node["baseUrl"] == upstream.origin + "/base" and node["apiType"] is None


def test_what_a_node_needs(s):
    assert node_of(s)["baseUrl"] == "https://api.openai.com/v1"
    for body, field in [({"prefix": "a b"}, "prefix"), ({"prefix": "a/b"}, "prefix"), ({"prefix": ""}, "prefix"), ({"name": ""}, "name"),
                        ({"apiType": None}, "apiType"), ({"apiType": "soap"}, "apiType"), ({"type": "grpc"}, "type"),
                        ({"chatPath": "chat"}, "chatPath"), ({"modelsPath": "/" + "x" * 500}, "modelsPath"), ({"baseUrl": "ftp://x"}, "baseUrl")]:
        invalid(s.api("POST", "/provider-nodes", {"name": "n", "prefix": "n", "apiType": "chat", **body}), field)
    refused(s.api("POST", "/provider-nodes", {"name": "n", "prefix": "mine", "apiType": "chat"}), 400)  # taken


def test_patch_merges_and_put_replaces(s, upstream):
    node = node_of(s, baseUrl=upstream.origin, chatPath="/c", modelsPath="/m")
    path = "/provider-nodes/" + node["id"]
    s.add(provider=node["id"], name="c", apiKey=SECRET)
    got = ok(s.api("PATCH", path, {"chatPath": "/d"}))["node"]
    assert (got["chatPath"], got["modelsPath"], got["name"], got["createdAt"]) == ("/d", "/m", "Mine", node["createdAt"])
    upstream.next(http(500, "{}"), http(500, "{}"))
    ask(s, "mine/m")
    assert upstream.last.path == "/d"  # connections follow
    invalid(s.api("PUT", path, {"name": "x", "prefix": "x", "apiType": "chat"}), "baseUrl")
    got = ok(s.api("PUT", path, {"name": "x", "prefix": "x", "apiType": "chat", "baseUrl": upstream.origin + "/new"}))["node"]
    assert got["chatPath"] is None and got["modelsPath"] is None and got["id"] == node["id"]
    ask(s, "x/m")
    assert upstream.last.path == "/new/chat/completions"
    assert connections(s, node["id"])[0]["providerSpecificData"]["prefix"] == "x"
    refused(s.api("PATCH", "/provider-nodes/nobody", {"name": "x"}), 404)


def test_a_nodes_address_is_tried(s, upstream):
    upstream.next(models("m"), http(401, "{}"), models("m"), reset)

    def run(**more):
        return s.api("POST", "/provider-nodes/validate", {"baseUrl": upstream.origin + "/v1", "apiKey": SECRET, **more})

    assert ok(run()) == {"valid": True, "error": None} and upstream.last.path == "/v1/models"
    got = ok(run())
    assert got["valid"] is False and SECRET not in json.dumps(got)
    assert ok(run(type="anthropic-compatible", modelsPath="/list"))["valid"] is True
    assert upstream.last.path == "/v1/list" and upstream.last.header("x-api-key") == SECRET
    refused(run(), 500)
    invalid(run(baseUrl="nonsense"), "baseUrl")
    viewer = s.api("POST", "/provider-nodes/validate", {"baseUrl": upstream.origin, "apiKey": "k"}, headers=s.auth())
    assert viewer.status_code == 401  # nobody but an administrator says where to


# one named provider

def test_check_9_one_named_provider(s, upstream):
    node = node_of(s, baseUrl=upstream.origin)
    s.add(provider=node["id"], name="c", apiKey=SECRET)
    upstream.next(chat(), chat(), chat())
    for provider, model in (("mine", "m"), (node["id"], "m"), ("mine", "mine/m")):
        r = s.post("/api/v1/providers/%s/chat/completions" % provider, {"model": model, **CHAT})
        assert r.status_code == 200 and upstream.last.json["model"] == "m", r.text
    for path, body in [("mine", {"model": "together/m", **CHAT}), ("mine", {"model": "m"}), ("nobody", {"model": "m", **CHAT}), ("mine", CHAT)]:
        r = s.post("/api/v1/providers/%s/chat/completions" % path, body)
        assert r.status_code == 400 and r.json()["error"]["message"], r.text
    upstream.next(http(200, '{"object":"list","data":[{"object":"embedding","index":0,"embedding":[1.0]}],"model":"e","usage":{"prompt_tokens":1,"total_tokens":1}}'),
                  http(200, '{"created":1,"data":[{"url":"http://x/y"}]}'))
    r = s.post("/api/v1/providers/mine/embeddings", {"model": "e", "input": "x"})
    assert r.status_code == 200 and upstream.last.path == "/embeddings" and upstream.last.json["model"] == "e"
    r = s.post("/api/v1/providers/mine/images/generations", {"model": "i", "prompt": "x"})
    assert r.status_code == 200 and upstream.last.path == "/images/generations" and upstream.last.json["model"] == "i"
    assert s.post("/api/v1/providers/mine/embeddings", {"model": "groq/e", "input": "x"}).status_code == 400


# secrets and the file

def test_everything_survives_export(s, upstream, start_sluice):
    node = node_of(s, baseUrl=upstream.origin, chatPath="/c")
    one = s.add(provider=node["id"], name="one", apiKey=SECRET, group="g", defaultModel="m")
    assert SECRET not in s.output()
    text = exported(s.folder).decode()
    assert '"kinds"' in text and node["id"] in text and SECRET not in text
    env = {name: SECRET for name in variables(text.encode())}
    other = start_sluice(text, env=env)
    assert exported(other.folder, **env).decode() == text
    admin = {"auth": False, "headers": {"Authorization": "Bearer " + ADMIN}}
    assert other.call("GET", "/api/provider-nodes", **admin).json()["nodes"] == [node]
    got = other.call("GET", "/api/providers/" + one["id"], **admin).json()["connection"]
    assert got == one


def test_audit_names_what_was_changed_and_no_secret(s, upstream):
    made = s.add(provider="together", name="x", apiKey=SECRET, url=upstream.origin)
    ok(s.api("DELETE", "/providers/" + made["id"]))
    r = s.get("/sluice/v1/audit", auth=False, headers={"Authorization": "Bearer " + ADMIN})
    assert SECRET not in r.text
    paths = {(row["method"], row["path"]) for row in r.json()["data"]}
    assert {("POST", "/api/providers"), ("DELETE", "/api/providers/{id}")} <= paths


def test_a_fresh_configuration_without_connections(start_sluice, scripted):
    config = omni_config(scripted.origin)
    config["providers"], config["models"] = {}, {}
    s = start_sluice(config)
    admin = {"auth": False, "headers": {"Authorization": "Bearer " + ADMIN}}
    got = s.call("GET", "/api/providers", **admin).json()["connections"]
    assert [c["provider"] for c in got] == ["echo"]
    assert s.call("POST", "/api/providers/%s/test" % got[0]["id"], **admin).json()["valid"] is True
