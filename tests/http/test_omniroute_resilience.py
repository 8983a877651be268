"""OmniRoute's surface: breakers, limits of connections, lock-outs, policies, and what is left of quotas."""
import pytest
from gateway import provider, wait_for
from omni import PASSWORD, chat, invalid, ok, omni_config, refused, start
from upstream import http

ASK = {"messages": [{"role": "user", "content": "hi"}]}


@pytest.fixture
def s(upstream, calls, tmp_path):
    config = omni_config(upstream.origin, combo_max_retries=0, route_wait_ms=0, limit_queue_ms=0)
    for name in ("one", "two"):
        config["providers"][name] = {**provider("chat", upstream.origin), "api_key": "sk-" + name + "-0123456789"}
    config["models"]["both"] = {"targets": [{"provider": "one", "upstream_model": "m"}, {"provider": "two", "upstream_model": "m"}]}
    running = start(tmp_path / "omni", upstream.origin, calls, config)
    yield running
    running.stop()


def ask(s, model, **options):
    return s.post("/v1/chat/completions", {"model": model, **ASK}, **options)


def asked(upstream):
    return [r.header("authorization").split("-")[1] for r in upstream.requests]


def test_check_59_resilience_binds_at_once_and_lasts(s, upstream):
    """Check 59, of resilience: a change holds for the next failure, and survives a restart."""
    was = ok(s.api("GET", "/resilience"))
    profile = was["profiles"]["apikey"]
    assert profile == was["profiles"]["oauth"] == {
        "transientCooldown": 3000, "rateLimitCooldown": 1000, "maxBackoffLevel": 5, "circuitBreakerThreshold": 1, "circuitBreakerReset": 3000}
    assert was["profiles"]["local"] == {
        "transientCooldown": 2000, "rateLimitCooldown": 5000, "maxBackoffLevel": 3, "circuitBreakerThreshold": 2, "circuitBreakerReset": 2000}
    assert was["defaults"] == {"requestsPerMinute": 100, "minTimeBetweenRequests": 0, "concurrentRequests": 10}
    assert was["circuitBreakers"] == [] and was["rateLimitStatus"] == {}
    new = {**profile, "transientCooldown": 600000, "maxBackoffLevel": 1, "circuitBreakerThreshold": 2}
    got = ok(s.api("PUT", "/resilience", {"profiles": {"apikey": new, "oauth": profile}}))
    assert got["ok"] and got["profiles"]["oauth"] == {**new, "circuitBreakerReset": 600000}
    upstream.next(http(503, "{}"), chat())
    ok(ask(s, "both"))
    assert [b["state"] for b in ok(s.api("GET", "/resilience"))["circuitBreakers"] if b["name"] == "one/m"] == ["CLOSED"]  # one of two
    upstream.next(http(503, "{}"), chat())
    ok(ask(s, "both"))
    b = next(b for b in ok(s.api("GET", "/resilience"))["circuitBreakers"] if b["name"] == "one/m")
    assert (b["state"], b["failureCount"]) == ("OPEN", 2) and 500000 < b["remainingMs"] <= 600000 and b["lastFailureTime"].endswith("Z")
    locked = ok(s.api("GET", "/rate-limits"))["lockouts"]
    assert [(x["provider"], x["model"]) for x in locked] == [("openai-compatible", "m")] and locked[0]["remainingMs"] > 500000
    ok(ask(s, "both"))
    assert asked(upstream) == ["one", "two", "one", "two", "two"]
    got = ok(s.api("POST", "/resilience/reset"))
    assert got["ok"] and got["resetCount"] == 1
    ok(ask(s, "both"))
    assert asked(upstream)[-1] == "one"
    assert ok(s.api("DELETE", "/monitoring/health"))["resetCount"] == 0
    got = ok(s.api("PATCH", "/resilience", {"defaults": {"requestsPerMinute": 7, "concurrentRequests": 3}}))
    assert got["defaults"] == {"requestsPerMinute": 7, "minTimeBetweenRequests": 0, "concurrentRequests": 3}
    invalid(s.api("PUT", "/resilience", {"defaults": {"minTimeBetweenRequests": 5}}), "defaults.minTimeBetweenRequests")
    invalid(s.api("PUT", "/resilience", {"defaults": {"nope": 5}}), "defaults.nope")
    invalid(s.api("PUT", "/resilience", {"profiles": {"apikey": {"transientCooldown": 5}}}), "profiles.apikey.rateLimitCooldown")
    invalid(s.api("PUT", "/resilience", {"profiles": {"other": new}}), "profiles.other")
    invalid(s.api("PUT", "/resilience", {"profiles": {"apikey": profile, "oauth": {**profile, "maxBackoffLevel": 2}}}), "profiles.oauth")
    invalid(s.api("PUT", "/resilience", {}), "body")
    s.stop()
    again = type(s)(s.folder, None)
    try:
        got = ok(again.api("GET", "/resilience"))
        assert got["profiles"]["apikey"]["transientCooldown"] == 600000 and got["defaults"]["concurrentRequests"] == 3
    finally:
        again.stop()


def test_servers_of_ones_own_have_a_profile_of_their_own(s, upstream):
    """Two failures, not one, and the time that was set for them; a vendor keeps to its own."""
    profiles = ok(s.api("GET", "/resilience"))["profiles"]
    got = ok(s.api("PUT", "/resilience", {"profiles": {"local": {**profiles["local"], "transientCooldown": 50000}}}))["profiles"]
    assert got["apikey"] == profiles["apikey"] and got["local"] == {**profiles["local"], "transientCooldown": 50000, "circuitBreakerReset": 50000}
    ok(s.api("PUT", "/resilience", {"profiles": {"apikey": {**profiles["apikey"], "transientCooldown": 30000}}}))
    ok(s.api("POST", "/providers", {"provider": "vllm", "name": "near", "apiKey": "k", "url": upstream.origin + "/v1"}), 201)

    def cools():
        return {b["name"]: b["remainingMs"] for b in ok(s.api("GET", "/resilience"))["circuitBreakers"] if b["state"] == "OPEN"}

    for model in ("vllm/m", "vllm/m", "one/m"):
        upstream.next(http(503, "{}"))
        assert ask(s, model).status_code >= 500
        if model == "vllm/m" and len(upstream.requests) == 1:
            assert cools() == {}
    left = cools()
    near = next(v for k, v in left.items() if not k.startswith("one/"))
    assert len(left) == 2 and 40000 < near <= 50000 and 0 < left["one/m"] <= 30000, left


def test_protecting_a_connection_limits_it(s, upstream):
    ok(s.api("PUT", "/resilience", {"defaults": {"requestsPerMinute": 2}}))
    ids = {c["name"]: c["id"] for c in ok(s.api("GET", "/providers"))["connections"]}
    assert ok(s.api("POST", "/rate-limits", {"connectionId": ids["one"], "enabled": True}))["enabled"] is True
    shown = {c["name"]: c for c in ok(s.api("GET", "/rate-limit"))["connections"]}
    assert shown["one"]["rateLimitProtection"] and shown["one"]["limits"]["requests_per_minute"] == 2 and not shown["two"]["enabled"]
    assert ok(s.api("GET", "/providers/" + ids["one"]))["connection"]["rateLimitProtection"] is True
    for _ in range(3):
        ok(ask(s, "both"))
    assert asked(upstream) == ["one", "one", "two"]
    over = ok(s.api("GET", "/rate-limits"))["overview"]
    assert over["protected"] == 1 and over["running"] == 0
    ok(s.api("POST", "/rate-limit", {"connectionId": "one", "enabled": False}))
    ok(ask(s, "both"))
    assert asked(upstream)[-1] == "one"
    assert ok(s.api("PATCH", "/providers/" + ids["two"], {"rateLimitProtection": True}))["connection"]["rateLimitProtection"] is True
    refused(s.api("POST", "/rate-limits", {"connectionId": "nobody", "enabled": True}), 404)
    invalid(s.api("POST", "/rate-limits", {"connectionId": "one"}), "enabled")


def test_lock_outs_are_shown_and_ended(s):
    for _ in range(5):
        s.call("POST", "/api/auth/login", {"password": "wrong"}, auth=False)
    assert s.call("POST", "/api/auth/login", {"password": PASSWORD}, auth=False).status_code == 429
    locked = ok(s.api("GET", "/policies"))["lockedIdentifiers"]
    assert [x["identifier"] for x in locked] == ["127.0.0.1"] and locked[0]["remainingMs"] > 0
    got = ok(s.api("POST", "/policies", {"action": "unlock", "identifier": "127.0.0.1"}), 201)
    assert got == {"success": True, "action": "unlocked", "identifier": "127.0.0.1"}
    assert ok(s.api("GET", "/policies"))["lockedIdentifiers"] == []
    assert s.call("POST", "/api/auth/login", {"password": PASSWORD}, auth=False).status_code == 200
    invalid(s.api("POST", "/policies", {"action": "unlock"}), "identifier")
    invalid(s.api("POST", "/policies", {"action": "lock"}), "action")


def test_policies_deny_and_route(s, upstream):
    key = next(k["id"] for k in ok(s.api("GET", "/keys"))["keys"] if k["name"] == "tests")
    deny = ok(s.api("POST", "/policies", {"name": "no-two", "match": {"model": "two/*"}, "action": {"type": "deny"}}), 201)
    route = ok(s.api("POST", "/policies", {"name": "old", "priority": 3, "match": {"model": "gpt-old*", "apiKeyId": key},
                                          "action": {"type": "route", "target": "one/new"}}), 201)
    assert route["action"] == {"type": "route", "target": "one/new"} and route["match"] == {"model": "gpt-old*", "apiKeyId": key}
    listed = {p["name"]: p for p in ok(s.api("GET", "/policies"))["policies"]}
    assert listed["no-two"] == deny and listed["old"] == route
    r = ask(s, "two/m")
    assert r.status_code == 403 and "no-two" in r.json()["error"]["message"]
    ok(ask(s, "gpt-old-1"))
    assert upstream.last.json["model"] == "new"
    refused(s.api("POST", "/policies", {"name": "old", "action": {"type": "deny"}}), 400)
    ok(s.api("DELETE", "/policies?id=" + route["id"]))
    ok(s.api("POST", "/policies", {"name": "others", "match": {"apiKeyId": "ffffffff"}, "action": {"type": "deny"}}), 201)
    ok(s.api("POST", "/policies", {"name": "old", "match": {"model": "gpt-old*"}, "action": {"type": "route", "target": "both"}}), 201)
    ok(ask(s, "gpt-old-2"))
    assert upstream.last.json["model"] == "m"
    # the same in sluice's own words
    own = {"Authorization": "Bearer sk-admin-0123456789abcdef"}
    got = ok(s.call("GET", "/sluice/v1/policies", auth=False, headers=own))["data"]
    assert [(p["name"], p["action"], p["target"], p["enabled"]) for p in got if p["name"] != "others"] == [("no-two", "deny", "", True), ("old", "route", "both", True)]
    ok(s.call("PUT", "/sluice/v1/policies/no-two", {"model": "two/*", "action": "deny", "enabled": False}, auth=False, headers=own))
    ok(ask(s, "two/m"))
    got = ok(s.call("POST", "/sluice/v1/route/explain", {"model": "gpt-old-3"}, auth=False, headers=own))
    assert got["model"] == "both"
    # what it leads to is renamed and deleted with it
    ok(s.api("POST", "/combos", {"name": "c", "models": ["one/a"]}), 201)
    ok(s.call("PUT", "/sluice/v1/policies/lead", {"model": "x", "action": "route", "target": "c"}, auth=False, headers=own))
    ok(s.api("PATCH", "/combos/c", {"name": "d"}))
    assert ok(s.call("GET", "/sluice/v1/policies/lead", auth=False, headers=own))["target"] == "d"
    ok(s.api("DELETE", "/combos/d"))
    assert s.call("GET", "/sluice/v1/policies/lead", auth=False, headers=own).status_code == 404
    assert s.call("PUT", "/sluice/v1/policies/lead", {"action": "route", "target": "nowhere"}, auth=False, headers=own).status_code == 400
    assert s.call("PUT", "/sluice/v1/policies/lead", {"action": "route"}, auth=False, headers=own).status_code == 400
    invalid(s.api("POST", "/policies", {"name": "l", "action": {"type": "limit"}}), "action.type")
    invalid(s.api("POST", "/policies", {"name": "l", "match": {"provider": "openai"}, "action": {"type": "deny"}}), "match.provider")
    invalid(s.api("POST", "/policies", {"name": "l", "action": {"type": "route"}}), "action.target")
    refused(s.api("POST", "/policies", {"name": "old", "action": {"type": "deny"}}), 400)
    ok(s.api("DELETE", "/policies", {"id": "old"}))
    refused(s.api("DELETE", "/policies?id=old"), 404)
    invalid(s.api("DELETE", "/policies"), "id")
    assert s.call("DELETE", "/sluice/v1/policies/no-two", auth=False, headers=own).status_code == 204


def test_what_is_left_of_quotas(s, upstream):
    ids = {c["name"]: c["id"] for c in ok(s.api("GET", "/providers"))["connections"]}
    assert ok(s.api("GET", "/usage/quota"))["connections"] == []
    got = ok(s.api("GET", "/usage/" + ids["one"]))
    assert got["message"] and got["limitReached"] is False and "quotas" not in got
    body = b'{"id":"c","object":"chat.completion","created":1,"model":"m","choices":[{"index":0,"message":{"role":"assistant","content":"x"},"finish_reason":"stop"}]}'
    upstream.next(http(200, body, headers=[("x-ratelimit-limit-requests", "100"), ("x-ratelimit-remaining-requests", "25"),
                                           ("x-ratelimit-reset-requests", "30s")]))
    ok(ask(s, "both"))
    window = ok(s.api("GET", "/usage/" + ids["one"]))["quotas"]["requests"]
    assert (window["used"], window["remaining"], window["remainingPercentage"], window["unlimited"]) == (75, 25, 25, False)
    assert window["resetAt"].endswith("Z") and window["forecastPercentage"] >= 75
    all_of = ok(s.api("GET", "/usage/quota"))["connections"]
    assert [(c["connectionId"], c["name"]) for c in all_of] == [(ids["one"], "one")] and all_of[0]["quotas"]["requests"]["used"] == 75
    refused(s.api("GET", "/usage/nobody"), 404)


def test_sessions_that_clients_name(s):
    assert ok(s.api("GET", "/sessions")) == {"count": 0, "sessions": [], "byApiKey": {}}
    ids = {c["name"]: c["id"] for c in ok(s.api("GET", "/providers"))["connections"]}
    for name, header in (("a", "X-Session-Id"), ("a", "X-OmniRoute-Session"), ("b", "Session-Id"), ("c" * 70, "x_session_id")):
        ok(ask(s, "both", headers={header: name}))
    ok(ask(s, "both"))  # of no session
    got = wait_for(lambda: (lambda got: got if got["count"] == 3 else None)(ok(s.api("GET", "/sessions"))), "sessions")
    assert {(x["sessionId"], x["requestCount"], x["connectionId"]) for x in got["sessions"]} == {
        ("ext:" + "c" * 64, 1, ids["one"]), ("ext:b", 1, ids["one"]), ("ext:a", 2, ids["one"])}
    active = [x["lastActive"] for x in got["sessions"]]  # two may end in the same millisecond
    assert active == sorted(active, reverse=True)
    assert all(0 <= x["ageMs"] and x["createdAt"] <= x["lastActive"] for x in got["sessions"])
    key = next(k["id"] for k in ok(s.api("GET", "/keys"))["keys"] if k["name"] == "tests")
    assert got["byApiKey"] == {key: 3}
