"""OmniRoute's surface: sign-in, envelopes and gates. Names say which acceptance check of the contract a test shows (docs/omniroute.md)."""
import json
import re

import pytest
from omni import ADMIN, OFF, PASSWORD, UUID, invalid, ok, omni_config, refused, start


@pytest.fixture(scope="module")
def s(scripted, calls, tmp_path_factory):
    running = start(tmp_path_factory.mktemp("omni"), scripted.origin, calls)
    yield running
    running.stop()


def login(s, password=PASSWORD, **options):
    r = s.call("POST", "/api/auth/login", {"password": password}, auth=False, **options)
    s.http.cookies.clear()
    return r


def test_login_gives_a_cookie_and_a_token(s):
    r = login(s)
    got = ok(r)
    assert got["success"] is True and re.fullmatch("[0-9a-f]{64}", got["token"])
    cookies = [v for k, v in r.headers.multi_items() if k == "set-cookie"]
    assert cookies == ["auth_token=%s; Path=/; HttpOnly; SameSite=Lax" % got["token"]]  # no Max-Age: it ends with the browser
    for headers in ({"Cookie": "auth_token=" + got["token"]}, {"Authorization": "Bearer " + got["token"]}):
        ok(s.api("GET", "/keys", headers=headers))
        assert ok(s.api("GET", "/auth/status", headers=headers)) == {"authenticated": True}
    assert ok(s.api("GET", "/auth/status", headers={})) == {"authenticated": False}
    # a change by cookie needs a proof that a page of ours sent it
    cookie = {"Cookie": "auth_token=" + got["token"]}
    refused(s.api("DELETE", "/keys/nobody", headers=cookie), 403)
    refused(s.api("DELETE", "/keys/nobody", headers={**cookie, "Sec-Fetch-Site": "same-origin"}), 404)


def test_login_behind_tls_gives_a_secure_cookie(start_sluice, scripted):
    s = start_sluice(omni_config(scripted.origin, trusted_proxies="127.0.0.1"))
    r = s.call("POST", "/api/auth/login", {"password": PASSWORD}, auth=False, headers={"X-Forwarded-Proto": "https"})
    assert r.headers["set-cookie"].endswith("; Secure")


def test_logout_ends_the_session_and_clears_the_cookie(s):
    token = ok(login(s))["token"]
    assert ok(s.api("POST", "/auth/logout", headers={})) == {"success": True}  # nobody's: nothing to end
    r = s.api("POST", "/auth/logout", headers={"Cookie": "x=1; auth_token=" + token})
    assert ok(r) == {"success": True} and "auth_token=; " in r.headers["set-cookie"] and "Max-Age=0" in r.headers["set-cookie"]
    assert s.api("GET", "/keys", headers={"Cookie": "auth_token=" + token}).status_code == 401
    token = ok(login(s))["token"]
    r = s.api("POST", "/auth/logout", headers={"Cookie": "auth_token=" + token, "Sec-Fetch-Site": "cross-site"})
    refused(r, 403)
    assert ok(s.api("GET", "/auth/status", headers={"Cookie": "auth_token=" + token})) == {"authenticated": True}


def test_login_refuses(s):
    assert refused(login(s, "wrong"), 401) == "Invalid password"
    invalid(s.call("POST", "/api/auth/login", {}, auth=False), "password")
    invalid(s.call("POST", "/api/auth/login", {"password": ""}, auth=False), "password")
    invalid(s.call("POST", "/api/auth/login", {"password": "x" * 201}, auth=False), "password")
    invalid(s.call("POST", "/api/auth/login", b"{", auth=False), "body")


def test_login_is_locked_after_five_failures(start_sluice, scripted):
    s = start_sluice(omni_config(scripted.origin))
    for _ in range(5):
        refused(login(s, "wrong"), 401)
    r = login(s)
    refused(r, 429)
    assert int(r.headers["retry-after"]) > 0


def test_init_answers_supervisors(s):
    r = s.api("GET", "/init", headers={})
    assert (r.status_code, r.text, r.headers["content-type"]) == (200, "Initialized", "text/plain; charset=utf-8")


def test_check_1_without_a_password_management_waits_for_the_claim(start_sluice, scripted):
    """Safety over both: v3.2.8 is open then. What opens it on purpose is require_login, on a loopback listener."""
    config = omni_config(scripted.origin)
    del config["server"]["admin_password"]
    s = start_sluice(config)
    assert s.call("GET", "/api/keys", auth=False).status_code == 401
    r = login(s)
    assert r.status_code == 403 and r.json()["needsSetup"] is True and isinstance(r.json()["error"], str)


def test_check_2_no_cookie_is_401_with_a_correlation_id(s):
    r = s.api("GET", "/keys", headers={})
    error = r.json()["error"]
    assert r.status_code == 401 and error["code"] == "AUTH_001" and isinstance(error["message"], str)
    assert re.fullmatch(UUID, error["correlation_id"]) and error["correlation_id"] == r.headers["x-request-id"]
    r = s.api("GET", "/keys", headers={"X-Request-Id": "client-id-1234"})  # the caller's own
    assert r.json()["error"]["correlation_id"] == "client-id-1234" == r.headers["x-request-id"]


def test_check_3_a_bad_cookie_beside_a_good_key(s):
    bad = {"Cookie": "auth_token=" + "0" * 64}
    ok(s.api("GET", "/keys", headers={**bad, "Authorization": "Bearer " + ADMIN}))
    for key in (s.key, OFF, "sk-unknown-000000000"):
        r = s.api("GET", "/keys", headers={**bad, "Authorization": "Bearer " + key})
        assert r.status_code == 401 and r.json()["error"]["code"] == "AUTH_001", (key, r.text)


def test_check_4_require_login_false_opens_management_to_this_machine(start_sluice, scripted):
    s = start_sluice(omni_config(scripted.origin, require_login=False))
    ok(s.call("GET", "/api/keys", auth=False))
    assert s.call("GET", "/api/keys", auth=False, headers={"X-Forwarded-For": "203.0.113.9"}).status_code == 401


def test_check_7_bodies_beyond_10_mib(s):
    def post(path, kind, seconds=60):
        head = ("POST %s HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %s\r\nContent-Type: %s\r\nContent-Length: 11000000\r\n"
                "Connection: close\r\n\r\n" % (path, ADMIN if path.startswith("/api/keys") else s.key, kind)).encode()
        with s.connect() as c:
            c.sendall(head)
            c.settimeout(seconds)
            try:
                return c.recv(65536).decode()
            except TimeoutError:
                return ""  # it waits for the body

    answer = post("/api/keys", "application/json")
    assert answer.startswith("HTTP/1.1 413 ")
    error = json.loads(answer.partition("\r\n\r\n")[2])["error"]
    assert error["type"] == "payload_too_large" and error["code"] == "PAYLOAD_TOO_LARGE" and "11000000" in error["message"]
    assert post("/api/v1/audio/transcriptions", "multipart/form-data; boundary=x", 2) == ""


def test_any_media_type_is_json(s):
    made = ok(s.api("POST", "/keys", b'{"name":"typed"}', headers={"Authorization": "Bearer " + ADMIN, "Content-Type": "text/csv"}), 201)
    ok(s.api("DELETE", "/keys/" + made["id"]))


def test_management_sends_no_cors_headers(s):
    r = s.api("GET", "/keys", headers={"Authorization": "Bearer " + ADMIN, "Origin": "https://elsewhere.example"})
    assert ok(r) and "access-control-allow-origin" not in r.headers


def test_sign_ins_are_audited_without_the_password(start_sluice, scripted):
    s = start_sluice(omni_config(scripted.origin))
    login(s, "a wrong secret")
    ok(login(s))
    rows = s.get("/sluice/v1/audit", auth=False, headers={"Authorization": "Bearer " + ADMIN}).json()["data"]
    paths = [(r["path"], r["outcome"]) for r in rows if r["path"] == "/api/auth/login"]
    assert sorted(paths) == [("/api/auth/login", "invalid_password"), ("/api/auth/login", "ok")]
    assert "wrong secret" not in json.dumps(rows) and PASSWORD not in json.dumps(rows)


@pytest.mark.parametrize("method,path", [("GET", "/keys/nobody"), ("DELETE", "/keys/nobody"), ("GET", "/providers/nobody"),
                                         ("DELETE", "/providers/nobody"), ("DELETE", "/provider-nodes/nobody"),
                                         ("POST", "/providers/nobody/test"), ("GET", "/providers/nobody/models")])
def test_what_is_not_there_is_404_in_text(s, method, path):
    assert "nobody" in refused(s.api(method, path), 404)

