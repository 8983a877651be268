"""OmniRoute's surface: prices by provider and model, and the price feed."""
import json

import pytest
from gateway import provider, wait_for
from omni import invalid, ok, omni_config, refused, start
from upstream import http

FIVE = {"input", "output", "cached", "reasoning", "cache_creation"}


@pytest.fixture
def s(upstream, calls, tmp_path):
    config = omni_config(upstream.origin, price_feed_url=upstream.origin + "/list.json")
    config["providers"]["work"] = {**provider("chat", upstream.origin), "api_key": "sk-work-0123456789"}
    config["prices"] = {"work/dear": {"input": 10, "output": "20.5", "cache_read": 1, "image": 3}}
    running = start(tmp_path / "omni", upstream.origin, calls, config)
    yield running
    running.stop()


def test_check_54_prices_are_set_part_by_part_and_forgotten(s):
    """Check 54: an unknown part is 400; DELETE goes back to what lists say."""
    shipped = ok(s.api("GET", "/pricing/defaults"))
    assert shipped["anthropic"] and all(set(m) <= FIVE for p in shipped.values() for m in p.values())
    model = next(m for m in shipped["openai"] if "*" not in m)
    was = shipped["openai"][model]
    assert ok(s.api("GET", "/pricing"))["openai"][model] == was
    for path in ("PATCH", "POST"):
        invalid(s.api(path, "/pricing", {"openai": {model: {"inputt": 1}}}), "openai.%s.inputt" % model)
    invalid(s.api("PATCH", "/pricing", {"openai": {model: {"input": -1}}}), "openai/" + model)
    invalid(s.api("PATCH", "/pricing", {"openai": {model: {"input": "1"}}}), "openai.%s.input" % model)
    invalid(s.api("PATCH", "/pricing", {"nobody": {"m": {"input": 1}}}), "nobody.m.provider")
    invalid(s.api("PATCH", "/pricing", {"openai": 3}), "openai")
    invalid(s.api("PATCH", "/pricing", {}), "body")
    got = ok(s.api("PATCH", "/pricing", {"openai": {model: {"input": 0.125}, "brand-new": {"input": 1, "output": 2}}, "work": {"dear": {"cached": 0.5}}}))
    assert got == {"openai": {model: {**was, "input": 0.125}, "brand-new": {"input": 1, "output": 2}},
                   "work": {"dear": {"input": 10, "output": 20.5, "cached": 0.5}}}  # the overrides alone
    merged = ok(s.api("GET", "/pricing"))
    assert merged["openai"][model]["input"] == 0.125 and merged["anthropic"] == shipped["anthropic"]
    assert ok(s.api("GET", "/pricing/defaults")) == shipped
    # what the five parts do not say of it stays
    rows = s.call("GET", "/sluice/v1/prices?source=override&model=dear", auth=False, headers={"Authorization": "Bearer sk-admin-0123456789abcdef"})
    assert ok(rows)["data"][0]["price"]["image"] == 3
    got = ok(s.api("DELETE", "/pricing?provider=openai&model=" + model))
    assert got["openai"][model] == was and "brand-new" in got["openai"]
    got = ok(s.api("DELETE", "/pricing?provider=openai"))
    assert "brand-new" not in got["openai"] and "dear" in got["work"]
    assert "work" not in ok(s.api("DELETE", "/pricing"))
    invalid(s.api("DELETE", "/pricing?model=x"), "provider")


def test_a_price_that_is_set_binds(s, upstream):
    """The next request is priced with it, and the configuration keeps it over a restart."""
    ok(s.api("PATCH", "/pricing", {"work": {"free-of-list": {"input": 2, "output": 3}}}))
    r = ok(s.post("/v1/chat/completions", {"model": "work/free-of-list", "messages": [{"role": "user", "content": "hi"}]}))
    used = r["usage"]
    row = wait_for(lambda: next((x for x in ok(s.api("GET", "/usage/analytics"))["byModel"] if x["model"] == "free-of-list"), None), "usage")
    assert row["cost"] == pytest.approx((used["prompt_tokens"] * 2 + used["completion_tokens"] * 3) / 1e6)
    s.stop()
    again = type(s)(s.folder, None)
    try:
        assert ok(again.api("GET", "/pricing"))["work"]["free-of-list"] == {"input": 2, "output": 3}
    finally:
        again.stop()


def test_models_that_prices_can_be_given_for(s):
    got = ok(s.api("GET", "/pricing/models"))
    assert got["chat"]["alias"] == "chat" and got["chat"]["format"] == "openai_chat" and got["chat"]["authType"] == "apikey"
    assert {"id": "chat-model", "name": "chat-model", "custom": False} in got["chat"]["models"]
    assert got["chat"]["modelCount"] == len(got["chat"]["models"])


def test_the_price_feed_is_the_setting_s(s, upstream):
    feed = {"mine-1": {"litellm_provider": "openai", "input_cost_per_token": 1e-6, "output_cost_per_token": 2e-6, "mode": "chat"},
            "sample_spec": {"mode": "chat"}}
    was = ok(s.api("GET", "/pricing/sync"))
    assert (was["enabled"], was["lastSync"], was["modelCount"]) == (True, None, 0) and was["url"].endswith("/list.json")
    upstream.next(http(200, json.dumps(feed)), http(200, json.dumps(feed)), http(200, "<html>"), http(500, "{}"))
    got = ok(s.api("POST", "/pricing/sync", {"dryRun": True}))
    assert (got["dryRun"], got["format"], got["modelCount"], got["changedCount"]) == (True, "litellm", 1, 0)
    assert "mine-1" not in ok(s.api("GET", "/pricing"))["openai"]
    assert ok(s.api("POST", "/pricing/sync"))["changedCount"] == 1
    assert ok(s.api("GET", "/pricing"))["openai"]["mine-1"] == {"input": 1, "output": 2}
    now = ok(s.api("GET", "/pricing/sync"))
    assert now["lastSync"] and now["modelCount"] == 1
    assert refused(s.api("POST", "/pricing/sync"), 502) and refused(s.api("POST", "/pricing/sync"), 502)
    invalid(s.api("POST", "/pricing/sync", {"sources": ["litellm"]}), "sources")
    assert ok(s.api("DELETE", "/pricing/sync"))["removed"] == 1
    assert "mine-1" not in ok(s.api("GET", "/pricing"))["openai"] and ok(s.api("GET", "/pricing/sync"))["lastSync"] is None


def test_without_a_feed_nothing_is_asked(upstream, calls, tmp_path):
    running = start(tmp_path / "omni", upstream.origin, calls)
    try:
        assert ok(running.api("GET", "/pricing/sync"))["enabled"] is False
        assert "price_feed_url" in refused(running.api("POST", "/pricing/sync"), 400)
        assert not upstream.requests
    finally:
        running.stop()
