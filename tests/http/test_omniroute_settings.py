"""OmniRoute's settings: each one that is taken binds, and lasts."""
import pytest
from gateway import KEY
from test_omniroute_usage import ADMIN, admin, chat, config, ok, on, reply


@pytest.fixture
def s(start_sluice, upstream):
    on(upstream, lambda r: reply())
    return start_sluice(config(upstream.origin))


def field_of(r):
    assert r.status_code == 400, r.text
    return r.json()["error"]["details"][0]["field"]


def test_check_8_unknown_keys_are_dropped_or_refused(s):
    """Check 8: PATCH /api/settings drops what it does not know; PUT ip-filter is strict."""
    got = ok(admin(s, "/api/settings", "PATCH", {"nope": 1, "maxCallLogs": 5000}))
    assert "nope" not in got and got["maxCallLogs"] == 5000 and "nope" not in ok(admin(s, "/api/settings"))
    assert admin(s, "/api/settings/ip-filter", "PUT", {"nope": 1}).status_code == 400
    assert admin(s, "/api/settings/system-prompt", "PUT", {"nope": 1}).status_code == 400
    assert admin(s, "/api/settings/thinking-budget", "PUT", {}).status_code == 400
    assert field_of(admin(s, "/api/settings", "PATCH", {"maxCallLogs": 0})) == "maxCallLogs"
    assert field_of(admin(s, "/api/settings", "PATCH", {"logRetentionDays": 366})) == "logRetentionDays"
    assert field_of(admin(s, "/api/settings", "PATCH", b"{")) == "body"


@pytest.mark.parametrize("key, value", [("fallbackStrategy", "bogus"), ("stickyRoundRobinLimit", 1001), ("stripModelPrefix", True), ("blockedProviders", ["openai"]),
                                        ("wildcardAliases", [{"pattern": "a*", "target": "m"}]), ("requireAuthForModels", False), ("alwaysPreserveClientCache", "never"),
                                        ("intentDetectionEnabled", True), ("mcpEnabled", True), ("a2aEnabled", True), ("newPassword", "another one")])
def test_known_keys_that_cannot_bind_are_refused_by_name(s, key, value):
    field = "currentPassword" if key == "newPassword" else key
    assert field_of(admin(s, "/api/settings", "PATCH", {"maxCallLogs": 77, key: value})) == field
    assert ok(admin(s, "/api/settings"))["maxCallLogs"] != 77


def test_what_was_read_may_be_sent_back(s):
    got = ok(admin(s, "/api/settings"))
    assert ok(admin(s, "/api/settings", "PATCH", got)) == got
    same = {"stripModelPrefix": False, "blockedProviders": [], "wildcardAliases": [], "requireAuthForModels": True, "alwaysPreserveClientCache": "auto", "mcpEnabled": False}
    assert ok(admin(s, "/api/settings", "PATCH", same)) == got


def test_which_account_is_asked_is_a_setting_of_sluice(s):
    got = ok(admin(s, "/api/settings", "PATCH", {"fallbackStrategy": "round-robin", "stickyRoundRobinLimit": 4}))
    assert (got["fallbackStrategy"], got["stickyRoundRobinLimit"]) == ("round-robin", 4)
    for name, value in (("target_strategy", "round-robin"), ("round_robin_limit", 4)):
        assert ok(admin(s, "/sluice/v1/settings/" + name))["value"] == value


def test_check_5_require_login_tells_three_things(s):
    """Check 5: exactly these, without a credential."""
    got = ok(s.call("GET", "/api/settings/require-login", auth=False))
    assert got == {"requireLogin": True, "hasPassword": False, "setupComplete": False}


def test_settings_bind(s):
    got = ok(admin(s, "/api/settings"))
    assert (got["requireLogin"], got["enableRequestLogs"], got["cloudEnabled"], got["cloudUrl"]) == (True, False, False, None)
    got = ok(admin(s, "/api/settings", "PATCH", {"enableRequestLogs": True, "logRetentionDays": 30, "corsOrigins": "https://a.example"}))
    assert (got["enableRequestLogs"], got["logRetentionDays"]) == (True, 30)
    assert ok(admin(s, "/api/logs/detail"))["enabled"] is True and ok(admin(s, "/api/storage/health"))["retentionDays"] == 30
    r = s.call("OPTIONS", "/v1/chat/completions", auth=False, headers={"Origin": "https://a.example", "Access-Control-Request-Method": "POST"})
    assert r.headers["access-control-allow-origin"] == "https://a.example"


def test_check_59_filter_prompt_and_thinking_bind_at_once_and_last(s, upstream):
    """Check 59: each takes effect on the next request, and survives a restart."""
    assert ok(admin(s, "/api/settings/system-prompt")) == {"enabled": False, "prompt": ""}
    got = ok(admin(s, "/api/settings/system-prompt", "PUT", {"prompt": "Be brief.", "enabled": True}))
    assert got == {"prompt": "Be brief.", "enabled": True}
    ok(chat(s, "m"))
    first = upstream.last.json["messages"][0]
    assert first["role"] in ("system", "developer") and "Be brief." in str(first["content"])
    assert ok(admin(s, "/api/settings/system-prompt", "PUT", {"enabled": False})) == {"prompt": "Be brief.", "enabled": False}  # merged
    ok(chat(s, "m"))
    assert "Be brief." not in upstream.last.body.decode()
    assert ok(admin(s, "/api/settings/thinking-budget")) == {"mode": "passthrough", "customBudget": 10240, "effortLevel": "medium"}
    assert ok(admin(s, "/api/settings/thinking-budget", "PUT", {"mode": "disabled"})) == {
        "mode": "custom", "customBudget": 0, "effortLevel": "medium"}
    ok(chat(s, "m", reasoning_effort="high"))
    assert upstream.last.json.get("reasoning_effort") != "high"
    assert field_of(admin(s, "/api/settings/thinking-budget", "PUT", {"mode": "strange"})) == "mode"
    assert field_of(admin(s, "/api/settings/thinking-budget", "PUT", {"customBudget": 131073})) == "customBudget"
    for name in ("baseBudget", "complexityMultiplier"):  # which nothing would obey
        assert field_of(admin(s, "/api/settings/thinking-budget", "PUT", {"mode": "adaptive", name: 5})) == name
    got = ok(admin(s, "/api/settings/ip-filter", "PUT", {"enabled": True, "mode": "blacklist", "blacklist": ["203.0.113.0/24"],
                                                        "tempBan": {"ip": "198.51.100.7", "durationMs": 600000}}))
    assert (got["enabled"], got["mode"], got["blacklist"], got["whitelist"]) == (True, "blacklist", ["203.0.113.0/24"], [])
    ban = got["tempBans"][0]
    assert (ban["ip"], ban["reason"]) == ("198.51.100.7", "Manual ban") and 0 < ban["remainingMs"] <= 600000
    got = ok(admin(s, "/api/settings/ip-filter", "PUT", {"addBlacklist": "2001:db8::/32", "addWhitelist": "192.0.2.1"}))
    assert (got["blacklist"], got["whitelist"]) == (["203.0.113.0/24", "2001:db8::/32"], ["192.0.2.1"])
    assert ok(admin(s, "/api/settings/ip-filter", "PUT", {"removeBlacklist": "203.0.113.0/24"}))["blacklist"] == ["2001:db8::/32"]
    assert ok(admin(s, "/api/settings/ip-filter", "PUT", {"addBlacklist": "192.168.*.*"}))["blacklist"] == ["2001:db8::/32", "192.168.*.*"]
    assert ok(admin(s, "/api/settings/ip-filter", "PUT", {"removeBlacklist": "192.168.*.*"}))["blacklist"] == ["2001:db8::/32"]
    for bad in ({"mode": "grey"}, {"blacklist": ["nowhere"]}, {"addBlacklist": "192.*.1.1"}, {"tempBan": {"ip": "x"}}, {"tempBan": {}}):
        assert admin(s, "/api/settings/ip-filter", "PUT", bad).status_code == 400, bad
    s.stop()
    again = type(s)(s.folder, None)
    try:
        assert ok(admin(again, "/api/settings/system-prompt"))["prompt"] == "Be brief."
        assert ok(admin(again, "/api/settings/thinking-budget"))["customBudget"] == 0
        got = ok(admin(again, "/api/settings/ip-filter"))
        assert (got["enabled"], got["blacklist"], [b["ip"] for b in got["tempBans"]]) == (True, ["2001:db8::/32"], ["198.51.100.7"])
        assert ok(admin(again, "/api/settings/ip-filter", "PUT", {"removeBan": "198.51.100.7", "enabled": False}))["tempBans"] == []
        ok(chat(again, "m"))
    finally:
        again.stop()


def test_banned_addresses_are_turned_away(start_sluice, upstream):
    on(upstream, lambda r: reply())
    s = start_sluice(config(upstream.origin, trusted_proxies="127.0.0.1"))
    ok(admin(s, "/api/settings/ip-filter", "PUT", {"tempBan": {"ip": "198.51.100.7"}}))
    from_there = {"Authorization": "Bearer " + KEY, "X-Forwarded-For": "198.51.100.7"}
    body = {"model": "echo", "messages": [{"role": "user", "content": "hi"}]}
    assert s.call("POST", "/v1/chat/completions", body, auth=False, headers=from_there).status_code == 403
    ok(admin(s, "/api/settings/ip-filter", "PUT", {"removeBan": "198.51.100.7"}))
    assert s.call("POST", "/v1/chat/completions", body, auth=False, headers=from_there).status_code == 200
    # nobody shuts themselves out
    r = s.call("PUT", "/api/settings/ip-filter", {"enabled": True, "mode": "whitelist", "whitelist": ["192.0.2.1"]}, auth=False,
               headers={"Authorization": "Bearer " + ADMIN, "X-Forwarded-For": "198.51.100.9"})
    assert r.status_code == 400 and "198.51.100.9" in r.json()["error"]
