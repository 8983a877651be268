"""OmniRoute's surface: which model a request gets for what it is for, and that every format of clients gets the same."""
import json

import pytest
from formats import FORMATS
from formats.common import Ask
from gateway import provider, wait_for
from omni import ADMIN, invalid, ok, omni_config, start
from upstream import http

TITLE = "You write a conversation title of five words."


def reply(*_):
    return http(200, json.dumps({"id": "c1", "object": "chat.completion", "created": 1, "model": "m", "choices": [
        {"index": 0, "message": {"role": "assistant", "content": "pong"}, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 7, "completion_tokens": 3, "total_tokens": 10}}))


@pytest.fixture
def s(upstream, calls, tmp_path):
    config = omni_config(upstream.origin)
    config["providers"] = {"up": {**provider("chat", upstream.origin), "api_key": "sk-one-0123456789"}}
    config["models"] = {n: {"provider": "up"} for n in ("big", "small", "coder", "seer")}
    running = start(tmp_path / "omni", upstream.origin, calls, config)
    yield running
    running.stop()


def asked(s, upstream, body, path="/v1/chat/completions", headers=None):
    """The model that the upstream is asked for."""
    upstream.next(reply())
    r = s.post(path, body, headers=headers)
    assert r.status_code == 200, r.text
    return upstream.last.json["model"]


def say(text="hi", system=None, **more):
    return {"model": "big", "messages": ([{"role": "system", "content": system}] if system else []) + [{"role": "user", "content": text}], **more}


def own(s, method, path, body=None):
    return s.call(method, "/sluice/v1/" + path, body, auth=False, headers=s.auth(ADMIN))


def test_background_work_goes_to_the_cheaper_model(s, upstream):
    path = "/settings/background-degradation"
    assert ok(s.api("GET", path))["enabled"] is False and ok(s.api("GET", path))["degradationMap"] == {}
    got = ok(s.api("PUT", path, {"degradationMap": {"big": "small"}}))
    assert got["success"] and got["degradationMap"] == {"big": "small"} and got["detectionPatterns"]
    assert asked(s, upstream, say(system=TITLE)) == "big"  # off until it is switched on
    ok(s.api("PUT", path, {"enabled": True}))
    assert asked(s, upstream, say(system=TITLE)) == "small"
    assert asked(s, upstream, say(max_tokens=49)) == "small"
    assert asked(s, upstream, say(), headers={"X-Initiator": "Background"}) == "small"
    assert asked(s, upstream, say()) == "big" and asked(s, upstream, say(max_tokens=50)) == "big"
    assert asked(s, upstream, {**say(system=TITLE), "model": "coder"}) == "coder"  # no entry, no change
    # the same in every format of clients
    for name, path_, body in (
            ("messages", "/v1/messages", {"model": "big", "max_tokens": 100, "system": TITLE, "messages": [{"role": "user", "content": "hi"}]}),
            ("responses", "/v1/responses", {"model": "big", "instructions": TITLE, "input": "hi"}),
            ("gemini", "/v1beta/models/big:generateContent", {"systemInstruction": {"parts": [{"text": TITLE}]}, "contents": [{"role": "user", "parts": [{"text": "hi"}]}]}),
            ("ollama", "/api/chat", {"model": "big", "stream": False, "messages": [{"role": "system", "content": TITLE}, {"role": "user", "content": "hi"}]})):
        assert asked(s, upstream, body, path_) == "small", name
    stats = wait_for(lambda: (lambda v: v if v["tokensSaved"] == 70 else None)(ok(s.api("GET", path))["stats"]), "the figures")
    assert stats == {"detected": 8, "redirected": 7, "tokensSaved": 70}
    # in the request's trace, and in what would be
    row = wait_for(lambda: [r for r in ok(own(s, "GET", "requests"))["data"] if r["provider_model"] == "small"], "the log")[0]
    row = ok(own(s, "GET", "requests/" + row["id"]))
    assert (row["policy"], row["task"], row["model"]) == ("background big", "background", "big")
    got = ok(own(s, "POST", "route/explain", {"model": "big", "request": say(system=TITLE)}))
    assert (got["model"], got["policy"], got["tasks"]) == ("small", "background big", ["background", "chat"])
    assert ok(own(s, "POST", "route/explain", {"model": "big", "task": "background"}))["model"] == "small"
    assert ok(own(s, "POST", "route/explain", {"model": "big"}))["model"] == "big"
    # its own words, and its figures anew
    assert ok(s.api("PUT", path, {"detectionPatterns": ["Name it"]}))["detectionPatterns"] == ["Name it"]
    assert asked(s, upstream, say(system=TITLE)) == "big" and asked(s, upstream, say(system="please NAME IT")) == "small"
    assert ok(s.api("POST", path, {"action": "reset-stats"}))["stats"] == {"detected": 0, "redirected": 0, "tokensSaved": 0}
    # a policy of the operator's goes before it, and renaming a model does not lose it
    ok(own(s, "PUT", "policies/mine", {"model": "big", "action": "route", "target": "seer"}))
    assert asked(s, upstream, say(max_tokens=1)) == "seer"
    assert own(s, "DELETE", "policies/mine").status_code == 204
    ok(own(s, "PATCH", "models/small", {"name": "smaller"}))
    assert ok(s.api("GET", path))["degradationMap"] == {"big": "smaller"}
    assert ok(s.api("PUT", path, {"degradationMap": {}}))["degradationMap"] == {}
    assert asked(s, upstream, say(max_tokens=1)) == "big"


def test_tasks_choose_models(s, upstream):
    path = "/settings/task-routing"
    off = ok(s.api("GET", path))
    assert off["enabled"] is False and set(off["taskModelMap"].values()) == {""} and off["defaultTaskModelMap"]["coding"] == ""
    ok(s.api("PUT", path, {"enabled": True, "taskModelMap": {"coding": "coder", "vision": "seer", "background": "small"}}))
    assert asked(s, upstream, say("Refactor this function")) == "coder"
    image = [{"type": "text", "text": "what is it"}, {"type": "image_url", "image_url": {"url": "data:image/png;base64,iVBORw0KGgo="}}]
    assert asked(s, upstream, {"model": "big", "messages": [{"role": "user", "content": image}]}) == "seer"
    assert asked(s, upstream, say("refactor", max_tokens=10)) == "small"  # what runs in the background goes first
    assert asked(s, upstream, say("how are you?")) == "big"
    got = ok(s.api("POST", path, {"action": "detect", "body": say("write a poem")}))
    assert got == {"taskType": "creative", "preferredModel": "(no override)"}
    assert ok(s.api("POST", path, {"action": "detect", "body": say("debug it")})) == {"taskType": "coding", "preferredModel": "coder"}
    got = ok(s.api("PUT", path, {"taskModelMap": {"coding": ""}}))
    assert (got["taskModelMap"]["coding"], got["taskModelMap"]["vision"]) == ("", "seer")
    assert asked(s, upstream, say("refactor this")) == "big"
    assert got["stats"]["routed"] == 2 and got["stats"]["detected"] >= 4
    assert ok(s.api("POST", path, {"action": "reset-stats"}))["stats"] == {"detected": 0, "routed": 0}
    ok(s.api("PUT", path, {"enabled": False}))
    assert asked(s, upstream, say("x", max_tokens=10)) == "big"


def test_what_nothing_would_obey_is_refused(s):
    back, route = "/settings/background-degradation", "/settings/task-routing"
    invalid(s.api("PUT", back, {}), "body")
    invalid(s.api("PUT", back, {"degradationMap": {"big": 5}}), "degradationMap.big")
    invalid(s.api("PUT", back, {"degradationMap": {"big": "nobody"}}), "degradationMap.big")
    invalid(s.api("PUT", back, {"detectionPatterns": ["a|b"]}), "detectionPatterns")
    invalid(s.api("POST", back, {"action": "detect"}), "action")
    invalid(s.api("PUT", route, {"detectionEnabled": False}), "detectionEnabled")
    invalid(s.api("PUT", route, {"taskModelMap": {"singing": "small"}}), "taskModelMap.singing")
    invalid(s.api("PUT", route, {"taskModelMap": {"coding": "nobody"}}), "taskModelMap.coding")
    invalid(s.api("POST", route, {"action": "detect"}), "body")
    assert ok(s.api("GET", back))["degradationMap"] == {} and set(ok(s.api("GET", route))["taskModelMap"].values()) == {""}


def test_a_request_of_every_client_is_told_by_its_words(s, upstream):
    """The sentence that a client's own library would send, in each format that there is."""
    ok(s.api("PUT", "/settings/task-routing", {"enabled": True, "taskModelMap": {"coding": "coder"}}))
    for name, f in FORMATS.items():
        upstream.next(reply())
        ask = Ask(model="big", messages=[("user", "Refactor this")])
        r = s.post(f.path(ask), f.request(ask))
        assert r.status_code == 200 and upstream.last.json["model"] == "coder", (name, r.text)
