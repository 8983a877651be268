"""Which addresses may come in: lists, bans that end, behind proxies; on every plane, and never this machine's own administration."""
import pytest
from gateway import KEY, wait_for

ADMIN = "sk-admin-0123456789abcdef"
CHAT = {"model": "echo", "messages": [{"role": "user", "content": "hello"}]}


def start(start_sluice, **server):
    return start_sluice({"providers": {"echo": {"type": "echo"}}, "models": {"echo": "echo"}, "server": {
        "trusted_proxies": "127.0.0.1", **server, "api_keys": [
            {"id": "ad000001", "key": ADMIN, "scopes": ["inference", "models", "admin"]}, {"id": "k0000001", "key": KEY}]}}, key=ADMIN)


def status(s, address, path="/v1/chat/completions", body=CHAT, key=ADMIN):
    return s.call("POST" if body else "GET", path, body, headers={"X-Forwarded-For": address, "Authorization": "Bearer " + key}, auth=False).status_code


@pytest.mark.parametrize("mode, allow, deny, rows", [
    ("off", "", "203.0.113.0/24", {"203.0.113.7": 200}),
    ("deny", "", "203.0.113.0/24, 2001:db8::/32", {"203.0.113.7": 403, "203.0.114.7": 200, "2001:db8::1": 403, "2001:db9::1": 200, "::ffff:203.0.113.9": 403}),
    ("allow", "10.0.0.0/8,2001:db8::7", "", {"10.200.0.1": 200, "11.0.0.1": 403, "2001:db8::7": 200, "2001:db8::8": 403}),
    ("deny", "", "203.0.*.*", {"203.0.113.7": 403, "203.1.113.7": 200}),
    ("both", "203.0.113.7", "203.0.113.0/24", {"203.0.113.7": 200, "203.0.113.8": 403, "9.9.9.9": 200}),
])
def test_modes_and_ranges(start_sluice, mode, allow, deny, rows):
    s = start(start_sluice, ip_filter=mode, ip_allow=allow, ip_deny=deny)
    assert {a: status(s, a) for a in rows} == rows
    assert {a: status(s, a, "/sluice/v1/keys", None) for a in rows} == rows  # administration too


def test_the_refusal_speaks_the_callers_format_and_comes_before_all_else(start_sluice):
    s = start(start_sluice, ip_filter="deny", ip_deny="203.0.113.0/24")
    for path, body in (("/v1/messages", {**CHAT, "max_tokens": 5}), ("/v1/chat/completions", b"no json"), ("/nowhere", None), ("/healthz", None)):
        r = s.call("POST" if body else "GET", path, body, headers={"X-Forwarded-For": "203.0.113.1"}, auth=False)
        assert r.status_code == 403 and "address" in r.text, (path, r.text)
    assert s.call("POST", "/v1/messages", {}, headers={"X-Forwarded-For": "203.0.113.1"}, auth=False).json()["type"] == "error"


def test_this_machine_is_never_locked_out_of_administration(start_sluice):
    s = start(start_sluice, ip_filter="allow", ip_allow="10.0.0.0/8", ip_deny="")
    assert s.get("/sluice/v1/ip-filter").json() == {"mode": "allow", "allow": ["10.0.0.0/8"], "deny": []}
    assert s.post("/v1/chat/completions", CHAT).status_code == 403  # the data plane has no such exception
    changed = s.call("PUT", "/sluice/v1/ip-filter", {"mode": "deny", "deny": ["203.0.113.0/24", "2001:db8::/32"]})
    assert changed.status_code == 200 and changed.json() == {"mode": "deny", "allow": ["10.0.0.0/8"], "deny": ["203.0.113.0/24", "2001:db8::/32"]}
    assert s.post("/v1/chat/completions", CHAT).status_code == 200 and status(s, "203.0.113.1") == 403
    for body, field in (({"mode": "maybe"}, "ip_filter"), ({"deny": ["10.0.0.0/99"]}, "ip_deny"), ({"nope": 1}, "nope")):
        r = s.call("PUT", "/sluice/v1/ip-filter", body)
        assert r.status_code == 400 and field in r.text, r.text
    mine = {"X-Forwarded-For": "203.0.114.5"}
    r = s.call("PUT", "/sluice/v1/ip-filter", {"deny": ["203.0.114.0/24"]}, headers={**mine, **s.auth()}, auth=False)
    assert r.status_code == 409 and r.json()["error"]["code"] == "locks_you_out"
    assert s.call("PUT", "/sluice/v1/ip-filter?force=true", {"deny": ["203.0.114.0/24"]}, headers={**mine, **s.auth()}, auth=False).status_code == 200
    assert status(s, "203.0.114.5") == 403 and status(s, "203.0.113.1") == 200


def test_bans_end_can_be_lifted_and_survive_a_restart(start_sluice, tmp_path):
    s = start(start_sluice)
    made = s.post("/sluice/v1/ip-filter/bans", {"address": "203.0.113.0/24", "reason": "scan", "duration_ms": 3600000})
    assert made.status_code == 201 and made.json()["reason"] == "scan" and 0 < made.json()["remaining_ms"] <= 3600000
    assert s.post("/sluice/v1/ip-filter/bans", {"address": "2001:db8::1", "duration_ms": 300}).status_code == 201
    assert status(s, "203.0.113.9") == 403 and status(s, "203.0.112.9") == 200
    wait_for(lambda: status(s, "2001:db8::1") == 200, "the ban ends by itself")
    assert [b["address"] for b in s.get("/sluice/v1/ip-filter/bans").json()["data"]] == ["203.0.113.0/24"]
    assert s.post("/sluice/v1/reload").status_code in (200, 204) and status(s, "203.0.113.9") == 403
    assert s.call("DELETE", "/sluice/v1/ip-filter/bans/203.0.113.0/24").status_code == 204
    assert status(s, "203.0.113.9") == 200
    assert s.call("DELETE", "/sluice/v1/ip-filter/bans/203.0.113.0/24").status_code == 404
    assert s.post("/sluice/v1/ip-filter/bans", {"address": "nowhere"}).json()["error"]["param"] == "address"


def test_a_key_may_be_bound_to_addresses(start_sluice):
    s = start(start_sluice)
    assert s.call("PATCH", "/sluice/v1/keys/k0000001", {"allowed_ips": ["10.0.0.0/8", "2001:db8::/32"]}).json()["allowed_ips"] == ["10.0.0.0/8", "2001:db8::/32"]
    assert [status(s, a, key=KEY) for a in ("10.1.2.3", "2001:db8::5", "11.1.2.3", "127.0.0.1")] == [200, 200, 403, 403]
    assert s.call("PATCH", "/sluice/v1/keys/k0000001", {"allowed_ips": ["10.0.0.0/33"]}).json()["error"]["param"] == "allowed_ips"
    assert s.call("PATCH", "/sluice/v1/keys/k0000001", {"allowed_ips": []}).status_code == 200 and status(s, "11.1.2.3", key=KEY) == 200
