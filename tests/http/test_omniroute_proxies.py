"""OmniRoute's surface: the list of proxies, and that requests really go through the one that is assigned."""
import json
import re
import sqlite3

import pytest
from gateway import provider, wait_for
from omni import UUID, chat, ok, omni_config, start
from test_omniroute_proxy import typed
from test_transport import Proxy

SECRET = "p:ss@word/0123"
NAMES = ["one", "two"]


@pytest.fixture
def s(upstream, calls, tmp_path):
    config = omni_config(upstream.origin)
    config["providers"] = {n: {**provider("chat", upstream.origin), "api_key": "sk-%s-0123456789" % n} for n in NAMES}
    config["models"] = {}
    running = start(tmp_path / "omni", upstream.origin, calls, config)
    yield running
    running.stop()


@pytest.fixture
def real():
    running = [Proxy("http"), Proxy("socks5"), Proxy("http")]
    yield running
    for one in running:
        one.shutdown()
        one.server_close()


def body(real, name, **more):
    return {"name": name, "type": real.kind, "host": "127.0.0.1", "port": real.server_address[1], **more}


def ask(s, upstream, name="one"):
    """A request to one provider; how many requests the proxies have seen is the caller's to look at."""
    upstream.next(chat())
    r = s.post("/v1/chat/completions", {"model": name + "/m", "messages": [{"role": "user", "content": "hi"}]})
    assert r.status_code == 200, r.text


def ids(s):
    return {c["name"]: c["id"] for c in ok(s.api("GET", "/providers"))["connections"]}


def test_an_assignment_is_the_way_that_requests_take(s, upstream, real):
    made = ok(s.api("POST", "/settings/proxies", body(real[0], "eu", username="u ser", password=SECRET, region="eu", notes="n")), 201)
    assert re.fullmatch(UUID, made["id"]) and made["hasPassword"] and made["username"] == "u ser" and made["status"] == "active"
    assert SECRET not in str(made) and "0123" not in str(made)
    socks = ok(s.api("POST", "/settings/proxies", body(real[1], "socks")), 201)
    far = ok(s.api("POST", "/settings/proxies", body(real[2], "far")), 201)
    mine = ids(s)
    assert ok(s.api("PUT", "/settings/proxies/assignments", {"scope": "account", "scopeId": mine["one"], "proxyId": made["id"]}))["assignment"] == {
        "id": "account:" + mine["one"], "proxyId": made["id"], "scope": "account", "scopeId": mine["one"]}
    ask(s, upstream)
    assert b"proxy-authorization: basic dSBzZXI6cDpzc0B3b3JkLzAxMjM=".lower() in real[0].seen[0][2].lower()  # with its password
    ask(s, upstream, "two")
    assert len(real[0].seen) == 1 and not real[1].seen
    # everybody without their own goes through the global one, a provider's goes before it
    ok(s.api("PUT", "/settings/proxies/assignments", {"scope": "global", "proxyId": socks["id"]}))
    ask(s, upstream, "two")
    assert len(real[1].seen) == 1 and not real[2].seen
    ok(s.api("PUT", "/settings/proxies/assignments", {"scope": "provider", "scopeId": "openai-compatible", "proxyId": far["id"]}))
    ask(s, upstream, "two")
    ask(s, upstream)
    assert (len(real[0].seen), len(real[1].seen), len(real[2].seen)) == (1, 1, 1)  # one kept its connection
    # also one that is made later
    s.add(provider="together", name="late", apiKey="k-123456789", url=upstream.origin)
    assert ok(s.api("GET", "/settings/proxies/assignments?resolveConnectionId=" + ids(s)["late"]))["level"] == "global"
    ok(s.api("PUT", "/settings/proxies/assignments", {"scope": "provider", "scopeId": "together", "proxyId": far["id"]}))
    got = ok(s.api("GET", "/settings/proxies/assignments?resolveConnectionId=" + ids(s)["late"]))
    assert (got["level"], got["levelId"], got["proxyId"]) == ("provider", "together", far["id"])
    assert ok(s.api("GET", "/settings/proxy?resolve=" + mine["one"]))["level"] == "key"
    listed = ok(s.api("GET", "/settings/proxies/assignments"))
    assert listed["total"] == 4 and [a["scope"] for a in listed["items"]] == ["global", "provider", "provider", "account"]
    assert [a["scopeId"] for a in ok(s.api("GET", "/settings/proxies/assignments?scope=key"))["items"]] == [mine["one"]]
    assert ok(s.api("GET", "/settings/proxies?whereUsed=1&id=" + far["id"]))["count"] == 2
    # what went through them, and how it went
    wait_for(lambda: sum(h["totalRequests"] for h in ok(s.api("GET", "/settings/proxies/health"))["items"]) == 4, "the log")
    health = {h["name"]: h for h in ok(s.api("GET", "/settings/proxies/health?hours=1"))["items"]}
    assert (health["eu"]["totalRequests"], health["eu"]["successCount"], health["eu"]["successRate"]) == (2, 2, 100)
    assert health["socks"]["totalRequests"] == 1 and health["far"]["lastSeenAt"]
    # none again
    for scope, scope_id in (("account", mine["one"]), ("provider", "openai-compatible"), ("provider", "together"), ("global", None)):
        ok(s.api("PUT", "/settings/proxies/assignments", {"scope": scope, "scopeId": scope_id, "proxyId": None}))
    ask(s, upstream)
    assert sum(len(r.seen) for r in real) == 3 and ok(s.api("GET", "/settings/proxies/assignments"))["total"] == 0
    entries = s.config_path.read_text()
    assert '"proxy"' not in entries and '"kinds"' not in entries


def test_changing_renaming_and_removing(s, upstream, real):
    made = ok(s.api("POST", "/settings/proxies", {**body(real[0], "a", password=SECRET, username="u"), "assignment": {"scope": "global"}}), 201)
    assert made["assignment"]["scope"] == "global"
    ok(s.api("PUT", "/settings/proxies/assignments", {"scope": "account", "scopeId": ids(s)["one"], "proxyId": made["id"]}))
    # the password stays, the name and its users change together, the id is the same
    got = ok(s.api("PATCH", "/settings/proxies", {"id": made["id"], "name": "b", "region": "us"}))
    assert (got["id"], got["name"], got["region"], got["hasPassword"]) == (made["id"], "b", "us", True)
    ask(s, upstream)
    assert b"proxy-authorization" in real[0].seen[0][2].lower()
    assert ok(s.call("GET", "/sluice/v1/proxies/b", headers=s.auth("sk-admin-0123456789abcdef"), auth=False))["providers"] == NAMES
    got = ok(s.api("PATCH", "/settings/proxies", {"id": made["id"], "username": "", "password": ""}))
    assert "hasPassword" not in got and "username" not in got
    ask(s, upstream)
    assert b"proxy-authorization" not in real[0].seen[1][2].lower()
    r = s.api("POST", "/settings/proxies", body(real[0], "b"))
    assert r.status_code == 409 and r.json()["error"]["type"] == "conflict", r.text
    r = s.api("DELETE", "/settings/proxies?id=" + made["id"])
    assert r.status_code == 409 and "one" in r.json()["error"]["message"], r.text
    assert ok(s.api("DELETE", "/settings/proxies?force=1&id=" + made["id"])) == {"success": True}
    ask(s, upstream)
    assert len(real[0].seen) == 2 and ok(s.api("GET", "/settings/proxies"))["items"] == []
    typed(s.api("DELETE", "/settings/proxies?id=" + made["id"]), 404)


def test_what_nothing_would_obey_is_refused(s, real):
    good = body(real[0], "a")
    made = ok(s.api("POST", "/settings/proxies", good), 201)
    assert typed(s.api("POST", "/settings/proxies", {**good, "name": "x", "status": "inactive"})) == ["status"]
    assert typed(s.api("POST", "/settings/proxies", {**good, "name": "http://x"})) == ["name"]
    assert typed(s.api("POST", "/settings/proxies", {**good, "name": "x", "type": "vercel"})) == ["type"]
    assert typed(s.api("POST", "/settings/proxies", {**good, "name": "x", "assignment": {"scope": "combo", "scopeId": "c"}})) == ["assignment.scope"]
    assert typed(s.api("PATCH", "/settings/proxies", {"id": made["id"]})) == ["body"]
    assert typed(s.api("PUT", "/settings/proxies/assignments", {"scope": "account", "proxyId": made["id"]})) == ["scopeId"]
    assert typed(s.api("PUT", "/settings/proxies/assignments", {"scope": "account", "scopeId": "nobody", "proxyId": made["id"]})) == ["scopeId"]
    assert typed(s.api("PUT", "/settings/proxies/assignments", {"scope": "provider", "scopeId": "nobody", "proxyId": made["id"]})) == ["scopeId"]
    typed(s.api("PUT", "/settings/proxies/assignments", {"scope": "global", "proxyId": "nobody"}), 404)
    assert ok(s.api("GET", "/settings/proxies"))["total"] == 1 and ok(s.api("GET", "/settings/proxies/assignments"))["total"] == 0
    # a name that leads nowhere is no way past a proxy
    admin = {"headers": s.auth("sk-admin-0123456789abcdef"), "auth": False}
    r = s.call("PATCH", "/sluice/v1/providers/one", {"proxy": "nobody"}, **admin)
    assert r.status_code == 400 and r.json()["error"]["param"] == "proxy", r.text
    r = s.call("PATCH", "/sluice/v1/settings", {"proxy": "nobody"}, **admin)
    assert r.status_code in (400, 405) or r.status_code == 404, r.text


def test_many_at_once_and_old_addresses(s, upstream, real):
    mine = ids(s)
    address = {"type": "http", "host": "127.0.0.1", "port": real[0].server_address[1], "username": "u", "password": SECRET}
    ok(s.api("PATCH", "/settings/proxy", {"keys": {mine["one"]: address, mine["two"]: address}}))
    assert ok(s.api("POST", "/settings/proxies/migrate", {})) == {"migrated": 2, "skipped": False}
    listed = ok(s.api("GET", "/settings/proxies"))["items"]
    assert [(p["name"], p["hasPassword"]) for p in listed] == [("one", True)]  # one proxy, one entry
    assert ok(s.api("POST", "/settings/proxies/migrate", {}))["reason"] == "registry_not_empty"
    assert ok(s.api("POST", "/settings/proxies/migrate", {"force": True}))["reason"] == "nothing_to_migrate"
    ask(s, upstream, "two")
    assert b"proxy-authorization" in real[0].seen[0][2].lower()
    other = ok(s.api("POST", "/settings/proxies", body(real[2], "other")), 201)
    got = ok(s.api("PUT", "/settings/proxies/bulk-assign", {"scope": "key", "scopeIds": [mine["one"], "nobody", mine["two"]], "proxyId": other["id"]}))
    assert (got["scope"], got["requested"], got["updated"], [f["scopeId"] for f in got["failed"]]) == ("account", 3, 2, ["nobody"])
    ask(s, upstream, "two")
    assert len(real[2].seen) == 1
    # given back as they are shown nothing changes
    shown = ok(s.api("GET", "/settings/proxy"))
    ok(s.api("PATCH", "/settings/proxy", {"keys": shown["keys"]}))
    assert ok(s.api("GET", "/settings/proxies?whereUsed=1&id=" + other["id"]))["count"] == 2 or not shown["keys"][mine["one"]].get("hasPassword")


def test_in_the_store_its_address_is_sealed(upstream, calls, tmp_path, real):
    config = omni_config(upstream.origin)
    running = start(tmp_path / "omni", upstream.origin, calls, config)
    try:
        running.config_path.chmod(0o400)
        admin = {"headers": running.auth("sk-admin-0123456789abcdef"), "auth": False}
        url = "http://u:%s@127.0.0.1:%d" % ("secretword0123", real[0].server_address[1])
        put = running.call("PUT", "/sluice/v1/proxies/p 1", {"url": url, "kinds": ["deepseek"]}, **admin)
        shown = ok(put)
        assert shown["url"] == "http://***@127.0.0.1:%d" % real[0].server_address[1] and shown["kinds"] == ["deepseek"]
        again = ok(running.call("PUT", "/sluice/v1/proxies/p 1", {**shown, "notes": "n"}, **admin))
        assert again["notes"] == "n" and again["id"] == shown["id"]
        moved = running.call("PUT", "/sluice/v1/proxies/p 1", {**shown, "url": "http://***@127.0.0.2:1"}, **admin)  # no other place gets it
        assert moved.status_code == 400 and moved.json()["error"]["param"] == "url", moved.text
        page = ok(running.call("GET", "/sluice/v1/proxies", **admin))
        assert [p["name"] for p in page["data"]] == ["p 1"] and "secretword" not in str(page)
        assert "secretword" not in str(ok(running.call("GET", "/sluice/v1/config/versions", **admin)))
        db = sqlite3.connect(running.folder / "data/sluice.db")
        dump = "\n".join(db.iterdump())
        db.close()
        assert "secretword" not in dump
        assert running.call("DELETE", "/sluice/v1/proxies/p 1", **admin).status_code == 204
        assert running.call("GET", "/sluice/v1/proxies/p 1", **admin).status_code == 404
    finally:
        running.stop()


def test_names_that_are_looked_up_behind_the_proxy_stay_so(s):
    """OmniRoute has no word for it but socks5: what is given back as it was shown is left as it was."""
    made = ok(s.api("POST", "/settings/proxies", {"name": "far", "type": "socks5h", "host": "proxy.example", "port": 1080}), 201)
    assert made["type"] == "socks5"

    def url():
        return json.loads(s.config_path.read_text())["proxies"]["far"]["url"]
    assert url() == "socks5h://proxy.example:1080"
    ok(s.api("PATCH", "/settings/proxies", {"id": made["id"], "notes": "n", "type": "socks5", "port": 1081}))
    ok(s.api("PATCH", "/settings/proxies", {"id": made["id"], "host": "other.example"}))
    assert url() == "socks5h://other.example:1081"
    assert ok(s.api("PATCH", "/settings/proxies", {"id": made["id"], "type": "http"}))["type"] == "http" and url() == "http://other.example:1081"
    ok(s.api("PATCH", "/settings/proxy", {"level": "global", "proxy": {"type": "socks5h", "host": "proxy.example", "port": 1080}}))
    shown = ok(s.api("GET", "/settings/proxy"))["global"]
    assert shown["type"] == "socks5h"
    ok(s.api("PATCH", "/settings/proxy", {"level": "global", "proxy": shown}))
