"""OmniRoute's surface: outbound proxies, and whether administration asks for a sign-in."""
import urllib.parse

import pytest
from gateway import provider
from omni import PASSWORD, chat, invalid, ok, omni_config, refused, start
from test_transport import Proxy
from upstream import http

SECRET = "p:ss@word/0123"


@pytest.fixture
def s(upstream, calls, tmp_path):
    config = omni_config(upstream.origin, diagnostics_ip_url="http://ip.example/json")
    config["providers"]["one"] = {**provider("chat", upstream.origin), "api_key": "sk-one-0123456789"}
    running = start(tmp_path / "omni", upstream.origin, calls, config)
    yield running
    running.stop()


def at(upstream):
    host, _, port = urllib.parse.urlsplit(upstream.origin).netloc.partition(":")
    return {"type": "http", "host": host, "port": int(port)}


def typed(r, status=400):
    """E6: typed, with the request's id."""
    assert r.status_code == status, r.text
    assert r.json()["requestId"] and r.json()["error"]["type"] in ("invalid_request", "not_found")
    return [d["field"] for d in r.json()["error"].get("details", [])]


def test_proxies_by_level(s, upstream):
    ids = {c["name"]: c["id"] for c in ok(s.api("GET", "/providers"))["connections"]}
    assert ok(s.api("GET", "/settings/proxy")) == {"global": None, "providers": {}, "combos": {}, "keys": {}}
    real = Proxy("http")
    proxy = {"type": "http", "host": "127.0.0.1", "port": real.server_address[1]}
    got = ok(s.api("PATCH", "/settings/proxy", {"level": "key", "id": ids["one"], "proxy": {**proxy, "username": "u ser", "password": SECRET}}))
    assert got["keys"] == {ids["one"]: {**proxy, "username": "u ser", "hasPassword": True}} and got["global"] is None
    assert SECRET not in str(got) and "0123" not in str(got)
    assert ok(s.api("GET", "/settings/proxy?resolve=" + ids["one"]))["level"] == "key"
    # given back as it is shown it keeps its password
    assert ok(s.api("PATCH", "/settings/proxy", {"keys": got["keys"]})) == got
    upstream.next(chat())
    r = s.post("/v1/chat/completions", {"model": "one/m", "messages": [{"role": "user", "content": "hi"}]})
    assert r.status_code == 200, r.text
    real.shutdown()
    real.server_close()
    assert b"proxy-authorization" in real.seen[0][2].lower() and upstream.last.json["model"] == "m"  # it went through
    got = ok(s.api("PUT", "/settings/proxy", {"global": {"type": "socks5", "host": "proxy.example", "port": "1080"}, "keys": {ids["one"]: None}}))
    assert got["global"] == {"type": "socks5", "host": "proxy.example", "port": 1080} and got["keys"] == {}
    assert ok(s.api("GET", "/settings/proxy?resolve=" + ids["one"])) == {"proxy": got["global"], "level": "global", "levelId": None}
    assert ok(s.api("DELETE", "/settings/proxy?level=global"))["global"] is None
    assert ok(s.api("GET", "/settings/proxy?resolve=" + ids["one"]))["level"] == "direct"
    # of a provider: of all its connections
    s.add(provider="together", name="x", apiKey="k-123456789", url=upstream.origin)
    s.add(provider="together", name="y", apiKey="k-123456789", url=upstream.origin)
    got = ok(s.api("PATCH", "/settings/proxy", {"providers": {"together": proxy}}))
    assert got["providers"] == {"together": proxy} and len(got["keys"]) == 2
    assert ok(s.api("GET", "/settings/proxy?level=provider&id=together"))["proxy"] == proxy
    assert ok(s.api("DELETE", "/settings/proxy?level=provider&id=together"))["keys"] == {}


def test_what_is_no_proxy_is_refused(s):
    good = {"host": "p.example", "port": 8080}
    assert typed(s.api("PATCH", "/settings/proxy", {})) == ["body"]
    assert typed(s.api("PATCH", "/settings/proxy", {"nope": 1})) == ["nope"]
    assert typed(s.api("PATCH", "/settings/proxy", {"global": {**good, "type": "ftp"}})) == ["global.type"]
    assert typed(s.api("PATCH", "/settings/proxy", {"global": {**good, "host": "a/b"}})) == ["global.host"]
    assert typed(s.api("PATCH", "/settings/proxy", {"global": {"host": "a"}})) == ["global.port"]
    assert typed(s.api("PATCH", "/settings/proxy", {"combos": {"c": good}})) == ["combos"]
    assert typed(s.api("PATCH", "/settings/proxy", {"level": "key", "proxy": good})) == ["id"]
    assert typed(s.api("PATCH", "/settings/proxy", {"level": "key", "id": "nobody", "proxy": good})) == ["id"]
    assert typed(s.api("PATCH", "/settings/proxy", {"keys": {"nobody": good}})) == ["keys.nobody"]
    assert typed(s.api("PATCH", "/settings/proxy", {"level": "combo", "id": "c", "proxy": good})) == ["level"]
    assert typed(s.api("GET", "/settings/proxy?resolve=nobody"), 404) == []
    assert typed(s.api("POST", "/settings/proxy/test", {"proxy": {**good, "type": "gopher"}})) == ["proxy.type"]
    assert ok(s.api("GET", "/settings/proxy"))["global"] is None


def test_a_proxy_is_tried(s, upstream):
    upstream.next(http(200, '{"ip":"203.0.113.9"}'), http(502, "{}"))
    got = ok(s.api("POST", "/settings/proxy/test", {"proxy": {**at(upstream), "username": "u", "password": SECRET}}))
    assert (got["success"], got["publicIp"]) == (True, "203.0.113.9") and got["proxyUrl"] == upstream.origin and SECRET not in str(got)
    got = ok(s.api("POST", "/settings/proxy/test", {"proxy": at(upstream)}))
    assert got["success"] is False and "502" in got["error"]
    got = ok(s.api("POST", "/settings/proxy/test", {"proxy": {"host": "127.0.0.1", "port": 9}}))
    assert got["success"] is False and got["error"]


def test_check_6_require_login(s):
    """Checks 5 and 6: nothing, no JSON and three characters are refused, and so is whoever did not sign in."""
    invalid(s.api("POST", "/settings/require-login", {}), "body")
    invalid(s.api("POST", "/settings/require-login", b"{"), "body")
    invalid(s.api("POST", "/settings/require-login", {"password": "abc", "currentPassword": PASSWORD}), "password")
    r = s.call("POST", "/api/settings/require-login", {"requireLogin": False}, auth=False)
    assert r.status_code == 401 and r.json()["error"]["code"] == "AUTH_001"
    assert ok(s.api("POST", "/settings/require-login", {"requireLogin": False})) == {"success": True}
    assert ok(s.call("GET", "/api/settings/require-login", auth=False))["requireLogin"] is False
    assert s.call("GET", "/api/combos", auth=False).status_code == 200  # this machine, on a loopback listener
    ok(s.api("POST", "/settings/require-login", {"requireLogin": True}))
    assert s.call("GET", "/api/combos", auth=False).status_code == 401
    invalid(s.api("POST", "/settings/require-login", {"password": "a-new-password"}), "currentPassword")
    refused(s.api("POST", "/settings/require-login", {"password": "a-new-password", "currentPassword": PASSWORD}), 400)  # a key has none


def test_an_operator_changes_their_own_password(upstream, calls, tmp_path):
    config = omni_config(upstream.origin)
    running = start(tmp_path / "omni", upstream.origin, calls, config)
    try:
        made = running.api("POST", "/auth/login", {"password": PASSWORD})
        owner = {"headers": {"Authorization": "Bearer " + ok(made)["token"]}}
        body = {"password": "another-password", "currentPassword": PASSWORD}
        assert "sluice.jsonc" in refused(running.api("POST", "/settings/require-login", body, **owner), 409)  # where no API changes it
        new = {"name": "ada", "password": "first-password", "role": "admin"}
        ok(running.call("POST", "/sluice/v1/operators", new, auth=False, **owner), 201)
        made = running.call("POST", "/sluice/v1/session", {"name": "ada", "password": "first-password"}, auth=False)
        mine = {"headers": {"Authorization": "Bearer " + ok(made, 201)["token"]}}
        body = {"password": "second-password", "currentPassword": "wrong-password"}
        refused(running.api("POST", "/settings/require-login", body, **mine), 403)
        ok(running.api("POST", "/settings/require-login", {**body, "currentPassword": "first-password"}, **mine))
        made = running.call("POST", "/sluice/v1/session", {"name": "ada", "password": "second-password"}, auth=False)
        assert made.status_code == 201, made.text
        # and the same as one of the settings
        again = {"newPassword": "third-password", "currentPassword": "wrong-password", "maxCallLogs": 77}
        refused(running.api("PATCH", "/settings", again, **mine), 401)
        assert ok(running.api("GET", "/settings", **mine))["maxCallLogs"] != 77
        got = ok(running.api("PATCH", "/settings", {**again, "currentPassword": "second-password"}, **mine))
        assert got["maxCallLogs"] == 77 and not [k for k in got if "assword" in k and k != "hasPassword"]
        for password, status in (("second-password", 401), ("third-password", 201)):
            assert running.call("POST", "/sluice/v1/session", {"name": "ada", "password": password}, auth=False).status_code == status
    finally:
        running.stop()
