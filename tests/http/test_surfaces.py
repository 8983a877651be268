"""The habits of the administrative surface: envelope, carriers, caching, other origins, sizes."""
import concurrent.futures
import contextlib
import re
import signal
import socket

import httpx
import pytest
from conftest import basic_config
from gateway import wait_for
from test_transport import Proxy
from upstream import http

ADMIN = "sk-admin-0123456789abcdef"
TOKEN = "/admin/api/internal-token"


@pytest.fixture
def admin(start_sluice, scripted, upstream):
    config = basic_config(scripted.origin)
    config["server"]["api_keys"].append({"id": "ad000001", "key": ADMIN, "label": "operator", "scopes": ["inference", "models", "admin"]})
    config["server"]["admin_cors_origins"] = "https://panel.example, https://other.example"
    return start_sluice(config, key=ADMIN)


@pytest.mark.parametrize("headers", [{}, {"Authorization": "Bearer nonsense"}, {"X-Admin-Token": "nonsense"},
                                     {"Cookie": "rosetta_admin_session=nonsense"}])
def test_refusals_have_its_envelope(sluice, headers):
    r = sluice.get(TOKEN, auth=False, headers=headers)
    assert r.status_code == 401 and r.json() == {"error": "Admin authentication required"}
    assert r.headers["content-type"] == "application/json; charset=utf-8"
    assert r.headers["x-request-id"]


def test_client_keys_open_nothing_administrative(sluice):
    for headers in (sluice.auth(), {"X-Admin-Token": sluice.key}):
        r = sluice.get(TOKEN, auth=False, headers=headers)
        assert r.status_code in (401, 403) and set(r.json()) == {"error"}


@pytest.mark.parametrize("carrier", [{"X-Admin-Token": ADMIN}, {"Authorization": "Bearer " + ADMIN}])
def test_carriers(admin, carrier):
    r = admin.get(TOKEN, auth=False, headers=carrier)
    assert r.status_code == 200, r.text
    assert re.fullmatch("rsk-internal-[0-9a-f]{32}", r.json()["token"])
    assert r.headers["cache-control"] == "no-cache, no-store, must-revalidate"


def test_the_internal_token_opens_the_data_plane_only(admin):
    token = admin.get(TOKEN).json()["token"]
    body = {"model": "echo", "messages": [{"role": "user", "content": "Hi"}], "max_tokens": 20}
    for path, headers in (("/v1/chat/completions", {"Authorization": "Bearer " + token}), ("/v1/messages", {"x-api-key": token}),
                          ("/v1/messages", {"Authorization": "Bearer " + token})):
        assert admin.post(path, body, auth=False, headers=headers).status_code == 200
    for headers in ({"Authorization": "Bearer " + token}, {"X-Admin-Token": token}):
        assert admin.get(TOKEN, auth=False, headers=headers).status_code in (401, 403)
    assert token not in admin.get("/sluice/v1/keys").text and "internal" not in admin.get("/sluice/v1/keys").text


def test_unknown_paths_and_methods(admin):
    for path in ("/admin/api/nothing", "/admin/api/", "/admin/nothing/at/all"):
        r = admin.get(path)
        assert r.status_code == 404 and r.json() == {"error": "Not Found"}, path
    r = admin.post(TOKEN, {})
    assert r.status_code == 405 and r.json() == {"error": "Method Not Allowed"} and "GET" in r.headers["allow"]


def test_other_origins_only_where_named(admin):
    r = admin.get(TOKEN, headers={"Origin": "https://evil.example"})
    assert "access-control-allow-origin" not in r.headers
    assert admin.get(TOKEN).headers.get("access-control-allow-origin") is None
    for origin in ("https://panel.example", "https://other.example"):
        assert admin.get(TOKEN, headers={"Origin": origin}).headers["access-control-allow-origin"] == origin
    r = admin.call("OPTIONS", TOKEN, headers={"Origin": "https://evil.example"}, auth=False)
    assert r.status_code == 204 and not any(h.startswith("access-control") for h in r.headers)
    r = admin.call("OPTIONS", TOKEN, headers={"Origin": "https://panel.example"}, auth=False)
    assert r.status_code == 204 and r.headers["access-control-allow-origin"] == "https://panel.example"
    # a cache may not give one page's answer to another one's
    for headers in ({}, {"Origin": "https://evil.example"}, {"Origin": "https://panel.example"}):
        assert admin.get(TOKEN, headers=headers).headers["vary"] == "origin"
    # the data plane is open to browsers as before
    r = admin.get("/v1/models", headers={"Origin": "https://evil.example"})
    assert r.headers["access-control-allow-origin"] == "*" and "vary" not in r.headers
    assert admin.call("PATCH", "/sluice/v1/settings/cors_origins", {"value": "https://panel.example"}).status_code == 200
    body = {"model": "echo", "messages": [{"role": "user", "content": "Hi"}]}
    for r in (admin.get("/v1/models", headers={"Origin": "https://panel.example"}), admin.post("/v1/chat/completions", body, headers={"Origin": "https://panel.example"}),
              admin.post("/v1/chat/completions", {**body, "model": "nobody"}, headers={"Origin": "https://panel.example"})):
        assert r.headers["access-control-allow-origin"] == "https://panel.example" and r.headers["vary"] == "origin", r.text
    assert admin.get("/v1/models").headers["vary"] == "origin"


@pytest.mark.parametrize("setting, value, part", [
    ("admin_cors_origins", "*", "*"), ("admin_cors_origins", "https://a.example, panel.example", "panel.example"),
    ("cors_origins", "https://a.example/", "https://a.example/"), ("cors_origins", "https://a.example,*", "*"),
    ("cors_origins", "https://A.example", "https://A.example"), ("cors_origins", "not an origin", "not an origin")])
def test_what_is_no_origin_is_refused(admin, setting, value, part):
    r = admin.call("PATCH", "/sluice/v1/settings/" + setting, {"value": value})
    assert r.status_code == 400 and r.json()["error"]["param"] == setting and "'%s' is no origin" % part in r.text, r.text
    for good in ("https://a.example", "http://localhost:3000, chrome-extension://abc, null", ""):
        assert admin.call("PATCH", "/sluice/v1/settings/cors_origins", {"value": good}).status_code == 200, good


def test_a_body_that_is_too_large(admin):
    size = 50_000_001
    head = "PUT /admin/api/config/server HTTP/1.1\r\nHost: x\r\nX-Admin-Token: %s\r\nContent-Length: %d\r\n\r\n" % (ADMIN, size)
    got = admin.raw(head.encode())
    assert got.startswith(b"HTTP/1.1 413 ") and b'{"error":"Request body too large (50000001 bytes)"}' in got, got


def test_the_media_type_does_not_matter(admin):
    for kind in ("text/html", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x"):
        r = admin.call("PUT", "/admin/api/config/server", b"{}", headers={"Content-Type": kind})
        assert r.status_code == 200, kind


def test_network_diagnostics(start_sluice, scripted, upstream):
    config = basic_config(scripted.origin)
    config["server"]["api_keys"].append({"id": "ad000001", "key": ADMIN, "scopes": ["admin"]})
    config["server"].update(diagnostics_ip_url=scripted.origin + "/where", diagnostics_connect_url=scripted.origin + "/204")
    s = start_sluice(config, key=ADMIN)
    network = "/admin/api/diagnostics/network"
    upstream.next(http(200, '{"query":"203.0.113.7","country":"X","city":"Y","isp":"Z"}'), http(204, ""))
    assert s.get(network).json() == {"ip": {"ok": True, "ip": "203.0.113.7", "country": "X", "city": "Y", "isp": "Z"},
                                     "google": {"ok": True, "status": 204}}
    upstream.next(http(503, "busy"), http(200, "hello"))
    assert s.get(network).json() == {"ip": {"ok": False, "error": "HTTP 503"}, "google": {"ok": False, "status": 200}}
    upstream.next(http(200, "no json"), http(204, ""))
    assert s.get(network).json()["ip"] == {"ok": False, "error": "not JSON"}
    # through the proxy in force at that time, whichever kind it is
    for kind in ("http", "socks5"):
        way = Proxy(kind)
        assert s.call("PUT", "/admin/api/config/server", {"proxy": way.url}).status_code == 200
        upstream.next(http(200, '{"query":"203.0.113.8","country":"X","city":"Y","isp":"Z"}'), http(204, ""))
        got = s.get(network).json()
        assert (got["proxy"], got["ip"]["ip"], got["google"]) == (way.url, "203.0.113.8", {"ok": True, "status": 204})
        way.shutdown()
        way.server_close()
        assert len(way.seen) == 2 and str(scripted.port) in str(way.seen), way.seen
    # a dead one is not passed by; it is shown without its password
    assert s.call("PUT", "/admin/api/config/server", {"proxy": "http://u:secret@127.0.0.1:1"}).status_code == 200
    got = s.get(network)
    assert got.status_code == 200 and got.json()["proxy"] == "http://***@127.0.0.1:1"
    assert got.json()["ip"]["ok"] is False and got.json()["google"]["ok"] is False and got.json()["google"]["error"]


def test_network_diagnostics_switched_off(start_sluice, scripted):
    config = basic_config(scripted.origin)
    config["server"]["api_keys"].append({"id": "ad000001", "key": ADMIN, "scopes": ["admin"]})
    config["server"].update(diagnostics_ip_url="", diagnostics_connect_url="")
    s = start_sluice(config, key=ADMIN)
    got = s.get("/admin/api/diagnostics/network").json()
    assert got == {name: {"ok": False, "error": "switched off: no target is configured"} for name in ("ip", "google")}
    addresses = s.get("/admin/api/diagnostics/host-ip").json()["addresses"]
    assert all(isinstance(a, str) and a and not a.startswith("127.") for a in addresses)


def test_slow_administration_holds_up_nobody(admin, upstream):
    """A hundred calls wait for a server that says nothing: requests, their stored responses, and other calls go on."""
    async def silent_lists(conn, request):
        if request.method == "GET":
            await conn.until_gone()
        else:
            await upstream.default(request)(conn, request)

    upstream.play(silent_lists)
    others = httpx.Client(base_url=admin.origin, timeout=200, trust_env=False, headers={"X-Admin-Token": ADMIN},
                          limits=httpx.Limits(max_connections=None))
    with others, concurrent.futures.ThreadPoolExecutor(100) as pool:
        slow = [pool.submit(others.get, "/admin/api/config/providers/chat/models") for _ in range(100)]
        upstream.wait(1)
        for _ in range(5):
            assert admin.post("/v1/chat/completions", {"model": "to-chat", "messages": [{"role": "user", "content": "Hi"}]}).status_code == 200
            r = admin.post("/v1/responses", {"model": "to-chat", "input": "Hi", "store": True})
            assert r.status_code == 200 and admin.get("/v1/responses/" + r.json()["id"]).status_code == 200
            assert admin.get("/admin/api/config").status_code == 200
        assert not any(f.done() for f in slow), "they were to be slow"
        admin.process.send_signal(signal.SIGTERM)  # and they do not hold up the end
        assert {f.result().status_code for f in slow} <= {502, 503}


def test_those_who_left_hold_up_nobody(admin, upstream):
    """More calls that wait for somebody else's server than sluice has room for: the next is refused, which the audit log knows. When
    their callers leave, what was not begun for them is let go, and the next one finds room."""
    async def silent(conn, request):
        await conn.until_gone()

    def asked(method, path, *body):
        with contextlib.suppress(httpx.TimeoutException):  # queued behind those that wait: not yet
            return admin.call(method, path, *body, timeout=5)
        return None

    upstream.play(silent)
    port = int(admin.origin.rsplit(":", 1)[1])
    head = "GET /admin/api/config/providers/chat/models HTTP/1.1\r\nHost: x\r\nX-Admin-Token: %s\r\n\r\n" % ADMIN
    slow = []
    for _ in range(400):
        s = socket.create_connection(("127.0.0.1", port), timeout=60)
        s.sendall(head.encode())
        slow.append(s)
    try:
        r = wait_for(lambda: (r := asked("POST", "/api/providers/x/test", {})) and r.status_code == 503 and r,
                     "there is no room left", 200)
        assert r.headers["retry-after"] == "1" and "administrative calls" in r.text
        wait_for(lambda: any(row["request_id"] == r.headers["x-request-id"] and row["outcome"] == "busy" and row["status"] == 503
                             for row in admin.get("/sluice/v1/audit").json()["data"]), "the refusal stands in the audit log")
    finally:
        for s in slow:
            s.close()
    upstream.play(None)
    # eight are begun and stay with the silent server; all others are gone
    wait_for(lambda: (r := asked("GET", "/admin/api/config/providers/messages/models")) and r.status_code != 503, "there is room again", 200)
