"""OmniRoute's surface: combos, what leads to them, fallback chains, and how they fared."""
import pytest
from gateway import provider, wait_for
from omni import chat, invalid, ok, omni_config, refused, start
from upstream import http

ASK = {"messages": [{"role": "user", "content": "hi"}]}
OFTEN = {"combo_max_retries": 0, "combo_retry_delay_ms": 0, "route_wait_ms": 0,
         "breaker_cooldown_ms": 3_600_000, "breaker_cooldown_max_ms": 3_600_000}  # whoever cools does so until the test's end


@pytest.fixture
def s(upstream, calls, tmp_path):
    config = omni_config(upstream.origin, **OFTEN)
    for name in ("one", "two"):
        config["providers"][name] = {**provider("chat", upstream.origin), "api_key": "sk-" + name + "-0123456789"}
    running = start(tmp_path / "omni", upstream.origin, calls, config)
    yield running
    running.stop()


def ask(s, model, **more):
    return s.post("/v1/chat/completions", {"model": model, **ASK, **more})


def asked(upstream):
    """Who was asked for what, in order."""
    return [(r.header("authorization").split("-")[1], r.json["model"]) for r in upstream.requests]


def test_a_combo_is_made_changed_served_and_deleted(s, upstream):
    assert ok(s.api("GET", "/combos")) == {"combos": []}
    got = ok(s.api("POST", "/combos", {"name": "smart", "models": ["one/a", {"model": "two/b", "weight": 0}],
                                       "config": {"maxRetries": 0, "timeoutMs": "5000"}}), 201)
    assert (got["name"], got["strategy"], got["isActive"], got["isHidden"]) == ("smart", "priority", True, False)
    assert [m["model"] if isinstance(m, dict) else m for m in got["models"]] == ["one/a", "two/b"]
    assert got["config"] == {"maxRetries": 0, "timeoutMs": 5000} and got["createdAt"].endswith("Z")
    upstream.next(http(503, "{}"), chat("from two"))
    r = ok(ask(s, "smart"))
    assert r["choices"][0]["message"]["content"] == "from two" and asked(upstream) == [("one", "a"), ("two", "b")]
    path = "/combos/" + got["id"]
    assert ok(s.api("GET", path))["name"] == ok(s.api("GET", "/combos/smart"))["name"] == "smart"
    got = ok(s.api("PATCH", path, {"name": "smarter", "config": {"retryDelayMs": 7}, "context_cache_protection": True}))
    assert (got["id"], got["name"], got["config"], got["context_cache_protection"]) == (path[8:], "smarter", {"retryDelayMs": 7}, True)
    assert ask(s, "smart").status_code == 404  # renamed
    assert ok(s.get("/v1/models"))["data"] and "smarter" in [m["id"] for m in s.get("/v1/models").json()["data"]]
    assert ok(s.api("PUT", path, {"isActive": False}))["isActive"] is False
    assert ask(s, "smarter").status_code == 404
    assert ok(s.api("PATCH", path, {"isActive": True, "context_cache_protection": False}))["context_cache_protection"] is False
    assert ok(s.api("DELETE", path)) == {"success": True}
    refused(s.api("DELETE", path), 404)
    refused(s.api("GET", path), 404)
    refused(s.api("PATCH", path, {"isActive": True}), 404)


def test_combos_of_one_model_at_several_connections(s, upstream):
    """As OmniRoute's document has them: model and nodes."""
    ids = {c["name"]: c["id"] for c in ok(s.api("GET", "/providers"))["connections"]}
    got = ok(s.api("POST", "/combos", {"name": "m", "model": "gpt-x", "nodes": [
        {"connectionId": ids["two"], "weight": 3, "priority": 1}, {"connectionId": ids["one"], "weight": 1, "priority": 2}]}), 201)
    assert got["model"] == "gpt-x" and got["nodes"] == [{"connectionId": ids["two"], "weight": 3, "priority": 1},
                                                      {"connectionId": ids["one"], "weight": 1, "priority": 2}]
    ok(ask(s, "m"))
    assert asked(upstream) == [("two", "gpt-x")]
    got = ok(s.api("PATCH", "/combos/m", {"nodes": [{"connectionId": "one"}]}))
    assert got["model"] == "gpt-x" and [n["connectionId"] for n in got["nodes"]] == [ids["one"]]
    ok(ask(s, "m"))
    assert asked(upstream)[-1] == ("one", "gpt-x")


def test_what_a_combo_says_and_lets_through(s, upstream):
    tools = [{"type": "function", "function": {"name": name, "parameters": {"type": "object", "properties": {}}}} for name in ("read_file", "rm_all")]
    got = ok(s.api("POST", "/combos", {"name": "agent", "models": ["one/a"], "system_message": "Be brief.", "tool_filter_regex": "^read_"}), 201)
    assert (got["system_message"], got["tool_filter_regex"]) == ("Be brief.", "^read_")
    said = {"messages": [{"role": "system", "content": "Be long."}, *ASK["messages"]], "tools": tools}
    upstream.next(chat("yes"))
    ok(ask(s, "agent", **said))
    sent = upstream.requests[-1].json
    assert [m["content"] for m in sent["messages"] if m["role"] == "system"] == ["Be brief."]
    assert [t["function"]["name"] for t in sent["tools"]] == ["read_file"]
    got = ok(s.api("PATCH", "/combos/agent", {"system_message": "", "tool_filter_regex": ""}))
    assert "system_message" not in got and "tool_filter_regex" not in got
    upstream.next(chat("yes"))
    ok(ask(s, "agent", **said))
    assert "Be long." in str(upstream.requests[-1].json["messages"]) and len(upstream.requests[-1].json["tools"]) == 2
    invalid(s.api("PATCH", "/combos/agent", {"tool_filter_regex": "("}), "tool_filter_regex")


def test_check_34_circles_and_depth_are_refused(s):
    """Check 34: A -> B -> A is 400 on save, and so is a fourth level."""
    for name, to in (("a", "one/m"), ("b", "a"), ("c", "b"), ("d", "c")):
        ok(s.api("POST", "/combos", {"name": name, "models": [to]}), 201)
    invalid(s.api("PATCH", "/combos/a", {"models": ["b"]}), "models")
    invalid(s.api("POST", "/combos", {"name": "e", "models": ["d"]}), "models")
    assert ok(s.api("GET", "/combos/a"))["models"] == ["one/m"]


def test_what_nothing_obeys_is_refused_by_name(s):
    def bad(field, **body):
        invalid(s.api("POST", "/combos", {"name": "x", "models": ["one/a"], **body}), field)

    bad("name", name="with space")
    bad("name", name="")
    bad("strategy", strategy="best")
    bad("models", models=[])
    bad("models[1]", models=["one/a", 7])
    bad("models[0].model", models=[{"weight": 1}])
    bad("models[0].weight", models=[{"model": "one/a", "weight": 0.5}])
    bad("isHidden", isHidden=True)
    bad("allowedProviders", allowedProviders=["openai"])
    bad("context_length", context_length=4096)
    bad("config.maxRetries", config={"maxRetries": 11})
    bad("config.nope", config={"nope": 1})
    bad("config.trackMetrics", config={"trackMetrics": False})
    bad("config.maxComboDepth", config={"maxComboDepth": 2})
    bad("config.healthCheckEnabled", config={"healthCheckEnabled": False})
    bad("config.healthCheckTimeoutMs", config={"healthCheckTimeoutMs": 100})
    bad("config.auto.budgetCap", config={"auto": {"budgetCap": 1}})
    bad("config.auto.weights", config={"auto": {"weights": {"quota": 0.5}}})
    bad("nodes[0].connectionId", models=None, model="m", nodes=[{"connectionId": "nobody"}])
    invalid(s.api("POST", "/combos", {"name": "x"}), "models")
    ok(s.api("POST", "/combos", {"name": "x", "models": ["one/a"]}), 201)
    refused(s.api("POST", "/combos", {"name": "x", "models": ["one/a"]}), 400)  # unique
    invalid(s.api("PATCH", "/combos/x", {}), "body")
    assert ok(s.api("PATCH", "/combos/x", {"config": {"healthCheckEnabled": True, "maxComboDepth": "3", "trackMetrics": True}}))["config"] == {}


def test_combos_that_tune_themselves(s, upstream):
    got = ok(s.api("POST", "/combos/auto", {"name": "tuned", "candidatePool": ["one/a", "two/b"], "modePack": "cost-saver",
                                            "explorationRate": 0}), 201)
    assert got["candidatePool"] == ["one/a", "two/b"] and got["explorationRate"] == 0 and got["weights"]["costInv"] == 0.4
    assert ok(s.api("GET", "/combos/auto"))["combos"] == [got]
    assert ok(s.api("GET", "/combos/tuned"))["config"]["auto"] == {"weights": got["weights"], "explorationRate": 0}
    ok(ask(s, "tuned"))
    weights = {"quota": 0, "health": 0, "costInv": 0, "latencyInv": 1, "taskFit": 0, "stability": 0, "tierPriority": 0}
    got = ok(s.api("PATCH", "/combos/tuned", {"config": {"auto": {"weights": weights}}}))
    assert got["strategy"] == "auto" and got["config"]["auto"] == {"weights": weights, "explorationRate": 0.05}
    invalid(s.api("POST", "/combos/auto", {"name": "t", "candidatePool": ["one/a"], "modePack": "best"}), "modePack")
    invalid(s.api("POST", "/combos/auto", {"name": "t", "candidatePool": ["one/a"], "budgetCap": 1}), "budgetCap")
    invalid(s.api("POST", "/combos/auto", {"name": "t", "candidatePool": []}), "candidatePool")
    # a provider stands for the default models of its connections
    s.add(provider="together", name="x", apiKey="k-123456789", url=upstream.origin, defaultModel="llama")
    got = ok(s.api("POST", "/combos/auto", {"name": "t", "candidatePool": ["together"]}), 201)
    assert got["candidatePool"][0].endswith("/llama")
    ok(ask(s, "t"))
    assert upstream.last.json["model"] == "llama"
    invalid(s.api("POST", "/combos/auto", {"name": "u", "candidatePool": ["groq"]}), "candidatePool")


def test_check_36_every_member_is_tried_and_silence_is_an_error(s, upstream):
    """Check 36: an answer without text is reported as an error."""
    ok(s.api("POST", "/combos", {"name": "c", "models": ["one/a", "two/b", "chat/c"]}), 201)
    upstream.next(http(401, '{"error":{"message":"who are you"}}'), chat(""), chat("OK"))
    got = ok(s.api("POST", "/combos/test", {"comboName": "c"}))
    assert (got["comboName"], got["strategy"], got["resolvedBy"]) == ("c", "priority", "chat/c")
    assert [(r["model"], r["status"]) for r in got["results"]] == [("one/a", "error"), ("two/b", "error"), ("chat/c", "ok")]
    assert got["results"][2]["responseText"] == "OK" and got["results"][2]["statusCode"] == 200 and "text" in got["results"][1]["error"]
    assert got["results"][0]["statusCode"] >= 400 and got["results"][0]["error"]
    assert [r.json["model"] for r in upstream.requests] == ["a", "b", "c"]
    refused(s.api("POST", "/combos/test", {"comboName": "nobody"}), 404)
    invalid(s.api("POST", "/combos/test", {}), "comboName")


def test_check_27_metrics_come_from_the_request_log(s, upstream):
    """Check 27: a success after a fallback counts for the member that answered; the figures can begin anew."""
    got = ok(s.api("POST", "/combos", {"name": "c", "models": ["one/a", "two/b"]}), 201)
    ok(s.api("POST", "/combos", {"name": "other", "models": ["one/z"]}), 201)
    ok(s.api("POST", "/model-combo-mappings", {"pattern": "legacy-*", "comboId": got["id"]}), 201)
    assert ok(s.api("GET", "/combos/metrics"))["metrics"] == {}
    assert ok(s.api("GET", "/combos/metrics?combo=c"))["metrics"] is None
    upstream.next(http(502, "{}"), chat("b"))
    ok(ask(s, "c"))
    upstream.next(chat("b"))
    ok(ask(s, "legacy-7"))  # one/a cools
    upstream.next(http(400, '{"error":{"message":"no"}}'))
    assert ask(s, "other").status_code == 400
    m = wait_for(lambda: (lambda m: m if m.get("other") and m["c"]["totalRequests"] == 2 else None)(
        ok(s.api("GET", "/combos/metrics"))["metrics"]), "metrics")
    c = m["c"]
    assert (c["totalRequests"], c["totalSuccesses"], c["totalFailures"], c["totalFallbacks"]) == (2, 2, 0, 1)
    assert (c["strategy"], c["successRate"], c["fallbackRate"]) == ("priority", 100, 50)
    assert c["totalLatencyMs"] >= c["avgLatencyMs"] and set(c["byModel"]) == {"two/b"}
    b = c["byModel"]["two/b"]
    assert (b["requests"], b["successes"], b["failures"], b["lastStatus"], b["successRate"]) == (2, 2, 0, "ok", 100)
    assert m["other"]["byModel"]["one/z"]["lastStatus"] == "error" and m["other"]["successRate"] == 0
    ok(s.api("DELETE", "/combos/metrics?combo=c"))
    assert set(ok(s.api("GET", "/combos/metrics"))["metrics"]) == {"other"}
    ok(ask(s, "c"))
    c = wait_for(lambda: ok(s.api("GET", "/combos/metrics?combo=" + got["id"]))["metrics"], "metrics")
    assert (c["totalRequests"], c["totalFallbacks"], list(c["byModel"])) == (1, 0, ["two/b"])
    ok(s.api("DELETE", "/combos/metrics"))
    assert ok(s.api("GET", "/combos/metrics"))["metrics"] == {}


def test_patterns_lead_models_to_combos(s, upstream):
    combo = ok(s.api("POST", "/combos", {"name": "c", "models": ["one/a"]}), 201)
    other = ok(s.api("POST", "/combos", {"name": "d", "models": ["two/b"]}), 201)
    m = ok(s.api("POST", "/model-combo-mappings", {"pattern": "mine-4*", "comboId": combo["id"], "description": "old names"}), 201)["mapping"]
    assert (m["pattern"], m["comboId"], m["comboName"], m["priority"], m["enabled"], m["description"]) == (
        "mine-4*", combo["id"], "c", 0, True, "old names")
    ok(s.api("POST", "/model-combo-mappings", {"pattern": "mine-4-x*", "comboId": "d", "priority": -1}), 201)
    ok(ask(s, "MINE-4-xl"))  # the higher priority counts, whatever the case
    path = "/model-combo-mappings/" + m["id"]
    changed = ok(s.api("PUT", path, {"pattern": "mine-5*", "priority": 3}))["mapping"]
    assert (changed["id"], changed["pattern"], changed["priority"], changed["description"]) == (m["id"], "mine-5*", 3, "old names")
    ok(ask(s, "mine-4-xl"))
    assert asked(upstream) == [("one", "a"), ("two", "b")]
    assert ok(s.api("PUT", path, {"enabled": False, "comboId": other["id"]}))["mapping"]["enabled"] is False
    assert ask(s, "mine-5").status_code == 404
    assert {x["pattern"] for x in ok(s.api("GET", "/model-combo-mappings"))["mappings"]} == {"mine-5*", "mine-4-x*"}
    assert ok(s.api("GET", path))["mapping"]["comboName"] == "d"
    invalid(s.api("POST", "/model-combo-mappings", {"pattern": "x", "comboId": "nobody"}), "comboId")
    invalid(s.api("PUT", path, {}), "body")
    refused(s.api("POST", "/model-combo-mappings", {"pattern": "mine-5*", "comboId": "c"}), 400)
    ok(s.api("DELETE", path))
    refused(s.api("GET", path), 404)
    ok(s.api("DELETE", "/combos/d"))  # takes what leads to it along
    assert ok(s.api("GET", "/model-combo-mappings"))["mappings"] == []


def test_defaults_of_combos_bind_and_last(s, upstream):
    was = ok(s.api("GET", "/settings/combo-defaults"))
    assert was["providerOverrides"] == {} and was["comboDefaults"]["strategy"] == "priority" and was["comboDefaults"]["maxComboDepth"] == 3
    ok(s.api("POST", "/combos", {"name": "c", "models": ["one/a"]}), 201)
    new = {**was["comboDefaults"], "maxRetries": 2, "strategy": "round-robin"}
    assert ok(s.api("PATCH", "/settings/combo-defaults", {"comboDefaults": new, "providerOverrides": {}}))["comboDefaults"] == new
    assert ok(s.api("GET", "/combos/c"))["strategy"] == "round-robin"
    invalid(s.api("PATCH", "/settings/combo-defaults", {"providerOverrides": {"openai": {"maxRetries": 1}}}), "providerOverrides")
    invalid(s.api("PATCH", "/settings/combo-defaults", {"comboDefaults": {"maxRetries": 11}}), "comboDefaults.maxRetries")
    invalid(s.api("PATCH", "/settings/combo-defaults", {"comboDefaults": {"trackMetrics": False}}), "comboDefaults.trackMetrics")
    invalid(s.api("PATCH", "/settings/combo-defaults", {"nope": 1}), "nope")
    invalid(s.api("PATCH", "/settings/combo-defaults", {}), "body")
    assert ok(s.api("PUT", "/settings/combo-defaults", {"comboDefaults": {"maxRetries": 0}}))["comboDefaults"]["strategy"] == "priority"


def test_fallback_chains_bind(s, upstream):
    """A chain is asked when the model's own providers fail; a kind stands for all of its connections."""
    assert ok(s.api("GET", "/fallback/chains")) == {}
    s.add(provider="together", name="x", apiKey="sk-togx-123456", url=upstream.origin)
    s.add(provider="together", name="y", apiKey="sk-togy-123456", url=upstream.origin)
    chain = [{"provider": "two", "priority": 5}, {"provider": "together", "priority": 1}, {"provider": "one", "enabled": False}]
    assert ok(s.api("POST", "/fallback/chains", {"model": "one/m", "chain": chain})) == {"success": True, "model": "one/m"}
    assert ok(s.api("GET", "/fallback/chains")) == {"one/m": [{"provider": "one", "priority": 0, "enabled": False}, {
        "provider": "together", "priority": 1, "enabled": True}, {"provider": "two", "priority": 5, "enabled": True}]}
    upstream.next(http(503, "{}"), http(503, "{}"), http(503, "{}"), chat("two"))
    ok(ask(s, "one/m"))
    who = asked(upstream)
    assert who[0] == ("one", "m") and {w[0] for w in who[1:3]} == {"togx", "togy"} and who[3] == ("two", "m")
    invalid(s.api("POST", "/fallback/chains", {"model": "m", "chain": [{"provider": "nobody"}]}), "chain[0].provider")
    invalid(s.api("POST", "/fallback/chains", {"model": "m", "chain": []}), "chain")
    invalid(s.api("POST", "/fallback/chains", {"model": "m", "chain": [{"provider": "two", "priority": 101}]}), "chain[0].priority")
    assert ok(s.api("DELETE", "/fallback/chains", {"model": "one/m"})) == {"success": True, "removed": True}
    assert ok(s.api("DELETE", "/fallback/chains", {"model": "one/m"})) == {"success": True, "removed": False}
    invalid(s.api("DELETE", "/fallback/chains", {}), "model")


def test_renamed_models(s, upstream):
    assert ok(s.api("GET", "/settings/model-aliases")) == {"builtIn": {}, "custom": {}, "all": {}}
    ok(s.api("POST", "/models/alias", {"alias": "stays", "model": "one/z"}))
    ok(s.api("POST", "/settings/model-aliases", {"from": "mine-old", "to": "one/gpt-new"}))
    ok(ask(s, "mine-old"))
    assert asked(upstream) == [("one", "gpt-new")]
    got = ok(s.api("PUT", "/settings/model-aliases", {"aliases": {"a": "two/b", "c": "two/d"}}))
    assert got["custom"] == got["all"] == {"a": "two/b", "c": "two/d"}
    assert ask(s, "mine-old").status_code == 404
    ok(ask(s, "c"))
    ok(ask(s, "stays"))  # an alias of another making
    assert asked(upstream)[1:] == [("two", "d"), ("one", "z")]
    invalid(s.api("PUT", "/settings/model-aliases", {"aliases": {"a": 1}}), "aliases")
    invalid(s.api("POST", "/settings/model-aliases", {"from": "x*", "to": "one/a"}), "from")
    ok(s.api("DELETE", "/settings/model-aliases", {"from": "a"}))
    refused(s.api("DELETE", "/settings/model-aliases", {"from": "stays"}), 404)
    assert ok(s.api("GET", "/settings/model-aliases"))["custom"] == {"c": "two/d"}


def test_all_of_it_lasts(s, upstream):
    combo = ok(s.api("POST", "/combos", {"name": "c", "models": [{"model": "one/a", "weight": 2}, "two/b"], "strategy": "weighted"}), 201)
    ok(s.api("POST", "/model-combo-mappings", {"pattern": "p*", "comboId": "c", "description": "d"}), 201)
    ok(s.api("POST", "/fallback/chains", {"model": "one/m", "chain": [{"provider": "two"}]}))
    ok(s.api("POST", "/settings/model-aliases", {"from": "old", "to": "one/new"}))
    seen = [ok(s.api("GET", p)) for p in ("/combos", "/model-combo-mappings", "/fallback/chains", "/settings/model-aliases")]
    assert seen[0]["combos"][0]["id"] == combo["id"]
    s.stop()
    again = type(s)(s.folder, None)
    try:
        assert [ok(again.api("GET", p)) for p in ("/combos", "/model-combo-mappings", "/fallback/chains", "/settings/model-aliases")] == seen
    finally:
        again.stop()
