"""Acceptance checks of OmniRoute's contract about accounts and breakers, seen on its own surface."""
import asyncio
import threading

import pytest
from gateway import provider
from omni import chat, ok, omni_config, start
from upstream import http

ASK = {"messages": [{"role": "user", "content": "hi"}]}


@pytest.fixture
def s(upstream, calls, tmp_path):
    config = omni_config(upstream.origin, combo_max_retries=0, route_wait_ms=0, rate_limit_cooldown_ms=30_000, breaker_cooldown_ms=30_000)
    for name in ("one", "two"):
        config["providers"][name] = {**provider("chat", upstream.origin), "api_key": "sk-" + name + "-0123456789"}
    config["providers"]["near"] = {"type": "vllm", "base_url": upstream.origin + "/v1"}
    config["models"]["both"] = {"targets": [{"provider": "one", "upstream_model": "m"}, {"provider": "two", "upstream_model": "m"}]}
    running = start(tmp_path / "omni", upstream.origin, calls, config)
    yield running
    running.stop()


def ask(s, model="both"):
    return s.post("/v1/chat/completions", {"model": model, **ASK})


def asked(upstream):
    return [r.header("authorization").split("-")[1] for r in upstream.requests]


def cooling(s):
    """Time left by connection's name; models are told apart by the name of the connection alone."""
    names = {c["id"]: c["name"] for c in ok(s.api("GET", "/providers"))["connections"]}
    return {names[m["connectionId"]]: m["remainingMs"] for m in ok(s.api("GET", "/models/availability"))["models"]}


def test_check_17_and_22_a_limited_account_leaves_its_turn_and_comes_back(s, upstream):
    """Checks 17, 22: 429 on the first account is answered by the second; after the cooldown the first is asked again, and well."""
    upstream.next(http(429, '{"error":{"message":"slow down"}}'), chat())
    assert ask(s).status_code == 200 and asked(upstream) == ["one", "two"]
    left = cooling(s)
    assert list(left) == ["one"] and left["one"] <= 30_000
    levels = {c["name"]: c["backoffLevel"] for c in ok(s.api("GET", "/providers"))["connections"]}
    assert (levels["one"], levels["two"]) == (1, 0)
    ok(s.api("POST", "/models/availability", {}))
    assert ask(s).status_code == 200 and asked(upstream)[-1] == "one" and cooling(s) == {}
    assert [b["level"] for b in s.call("GET", "/sluice/v1/breakers", auth=False, headers={
        "Authorization": "Bearer sk-admin-0123456789abcdef"}).json()["data"]] in ([], [0])  # its level went with the answer


def test_check_19_failures_at_once_count_once(s, upstream):
    """Check 19: five requests that are under way fail with 502; the account cools for the first step, not for the fifth."""
    barrier = threading.Barrier(5)

    async def script(conn, request):
        if "sk-one-" in request.header("authorization"):
            await asyncio.to_thread(barrier.wait, 30)
            await http(502, "{}")(conn, request)
        else:
            await chat()(conn, request)

    upstream.play(script)
    threads = [threading.Thread(target=ask, args=(s,)) for _ in range(5)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert sorted(asked(upstream)) == ["one"] * 5 + ["two"] * 5
    assert 0 < cooling(s)["one"] <= 30_000


def test_check_20_and_23_what_is_waited_for(s, upstream):
    """Checks 20, 23: 400 goes back at once; 401 stands back for two minutes; Retry-After is obeyed to the second."""
    upstream.next(http(400, '{"error":{"message":"no"}}'))
    assert ask(s).status_code == 400 and asked(upstream) == ["one"] and cooling(s) == {}
    upstream.next(http(401, '{"error":{"message":"who"}}'), chat())
    assert ask(s).status_code == 200 and 110000 < cooling(s)["one"] <= 120000
    upstream.next(http(429, "{}", headers=[("Retry-After", "300")]))
    assert ask(s).status_code == 429
    assert 290000 < cooling(s)["two"] <= 300000


def test_check_32_without_an_active_account_there_is_no_model(s, upstream):
    """Check 32: what leads nowhere is said before anybody is asked (404 here: what is switched off is as if it were not there)."""
    ok(s.api("POST", "/combos", {"name": "c", "models": ["one/m", "two/m"]}), 201)
    for c in ok(s.api("GET", "/providers"))["connections"]:
        if c["name"] in ("one", "two"):
            ok(s.api("PATCH", "/providers/" + c["id"], {"isActive": False}))
    assert ask(s, "c").status_code == 404 and not upstream.requests


def test_check_26_a_local_server_without_the_model_is_asked_again_soon(s, upstream):
    """Check 26: 404 of a local one stands back for five seconds, of others for two minutes; the connection stays active."""
    upstream.next(http(404, '{"error":{"message":"no such model"}}'), http(404, '{"error":{"message":"no such model"}}'))
    assert ask(s, "one/m").status_code == 404 and ask(s, "near/m").status_code == 404
    left = cooling(s)
    assert 0 < left["near"] <= 5000 and 110000 < left["one"] <= 120000
    assert all(c["isActive"] for c in ok(s.api("GET", "/providers"))["connections"])


def test_check_37_who_says_nothing_of_streams_says_it_in_accept(s, upstream):
    """Check 37: without `stream` in the body Accept decides, and the upstream is told in the body; what the body says counts more."""
    def asks(accept, path="/v1/chat/completions", **body):
        upstream.reset()
        r = s.post(path, {"model": "to-chat", **ASK, **body}, headers={"Accept": accept, **({"anthropic-version": "2023-06-01"} if "mess" in path else {})})
        assert r.status_code == 200, r.text
        return r.headers["content-type"].split(";")[0], upstream.last.json.get("stream", False)

    assert asks("text/event-stream") == asks("application/json, text/event-stream") == asks("text/event-stream", stream=None) == ("text/event-stream", True)
    assert asks("application/json") == asks("*/*") == asks("text/event-stream", stream=False) == ("application/json", False)
    assert asks("text/event-stream", "/v1/messages", max_tokens=9) == ("text/event-stream", True)
    assert asks("application/json", stream=True) == ("text/event-stream", True)


def test_check_38_a_suffix_asks_for_the_extended_context(s, upstream):
    """Check 38: x[1m] is x, and Anthropic is asked for its long context; a model that is called so stays itself."""
    def asks(model, **headers):
        upstream.reset()
        r = s.post("/v1/messages", {"model": model, "max_tokens": 9, **ASK}, headers={"anthropic-version": "2023-06-01", **headers})
        assert r.status_code == 200, r.text
        return upstream.last.json["model"], upstream.last.header("anthropic-beta")

    beta = "context-1m-2025-08-07"
    assert asks("to-anthropic") == ("anthropic-model", None)
    assert asks("to-anthropic[1m]") == ("anthropic-model", beta)
    assert asks("to-anthropic[1m]", **{"anthropic-beta": "other-2025-01-01"}) == ("anthropic-model", "other-2025-01-01," + beta)
    assert asks("to-anthropic[1m]", **{"anthropic-beta": beta}) == ("anthropic-model", beta)
    assert asks("anthropic/claude-x[1m]") == ("claude-x", beta)
    assert asks("to-chat[1m]") == ("chat-model", None)
    ok(s.api("POST", "/models/alias", {"model": "to-chat", "alias": "odd[1m]"}))
    assert asks("odd[1m]") == ("chat-model", None)
    assert s.post("/v1/messages", {"model": "nobody[1m]", "max_tokens": 9, **ASK}).status_code == 404


def test_moderations_have_a_usual_model(upstream, calls, tmp_path):
    """Of whoever names none; where nobody serves it, that is said. Another operation has none."""
    config = omni_config(upstream.origin)
    config["providers"] = {"one": {"type": "openai-compatible", "base_url": upstream.origin + "/v1", "api_key": "sk-one-0123456789"}}
    config["models"] = {}
    s = start(tmp_path / "omni", upstream.origin, calls, config)
    try:
        r = s.post("/api/v1/moderations", {"input": "hi"})
        assert r.status_code == 400 and "omni-moderation-latest" in r.json()["error"]["message"] and r.json()["error"]["param"] == "model", r.text
        ok(s.api("POST", "/models/alias", {"model": "one/mod-1", "alias": "omni-moderation-latest"}))
        body = '{"id":"modr-1","model":"mod-1","results":[]}'
        for said, sent in (({"input": "hi", "kept": {"a": [1]}}, {"model": "mod-1", "input": "hi", "kept": {"a": [1]}}), ({}, {"model": "mod-1"}),
                           ({"model": "one/other", "input": "hi"}, {"model": "other", "input": "hi"})):
            upstream.reset()
            upstream.next(http(200, body))
            r = s.post("/v1/moderations", said)
            assert r.status_code == 200 and r.text == body and upstream.last.path == "/v1/moderations" and upstream.last.json == sent, r.text
        r = s.post("/v1/rerank", {"query": "q", "documents": ["a"]})
        assert r.status_code == 400 and "served" not in r.json()["error"]["message"]
    finally:
        s.stop()
