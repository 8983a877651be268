"""Every row of the endpoint table, called by everybody who may not: refused as the row says, in the words of its surface."""
import json
import re
import subprocess

import pytest
from conftest import basic_config
from gateway import BINARY, wait_for

PASSWORD = "hunter-two"
ADMIN_KEY = "sk-admin-0123456789abcdef"
CHEAP = {"password_memory_bytes": 65536, "password_passes": 1}
LEVELS = ["public", "inference", "models", "viewer", "member", "admin", "owner"]
ROLES = ["viewer", "member", "admin", "owner"]


def table():
    """(method, path, surface, access) of every row; the aliases lead to the same ones."""
    text = subprocess.run([str(BINARY), "endpoints"], capture_output=True, text=True, check=True).stdout
    rows = [line.split("\t") for line in text.splitlines()]
    return [(r[0], r[1], r[2], r[3]) for r in rows if r[0] != "ALIAS"]


ROWS = table() if BINARY.exists() else []
CONTROL = [r for r in ROWS if r[3] in ROLES]
DATA = [r for r in ROWS if r[3] in ("inference", "models")]


def bearer(token):
    return {"Authorization": "Bearer " + token}


@pytest.fixture(scope="module")
def s(scripted, calls, tmp_path_factory):
    from gateway import Sluice
    config = basic_config(scripted.origin)
    config["server"].update(CHEAP, admin_password=PASSWORD, trusted_proxies="127.0.0.1")
    config["server"]["api_keys"] += [
        {"id": "ad000001", "key": ADMIN_KEY, "label": "operator", "scopes": ["admin"]},
        {"id": "0ff00001", "key": "sk-off-0123456789abcdef", "label": "off", "scopes": ["admin", "inference"], "enabled": False},
        {"id": "01d00001", "key": "sk-old-0123456789abcdef", "label": "old", "scopes": ["admin", "inference"], "expires": "2020-01-01T00:00:00Z"}]
    running = Sluice(tmp_path_factory.mktemp("access"), config, calls)
    yield running
    running.stop()


def sign_in(s, name="admin", password=PASSWORD):
    r = s.post("/sluice/v1/session", {"name": name, "password": password}, auth=False)
    assert r.status_code == 201, r.text
    s.http.cookies.clear()
    return r.json()


@pytest.fixture(scope="module")
def people(s):
    """A token for every kind of caller."""
    owner = sign_in(s)["token"]
    tokens = {"owner": owner}
    for role in ROLES[:3]:
        body = {"name": "a-" + role, "role": role, "password": "a good password"}
        assert s.post("/sluice/v1/operators", body, auth=False, headers=bearer(owner)).status_code == 201
        tokens[role] = sign_in(s, "a-" + role, "a good password")["token"]
    body = {"name": "gone", "role": "owner", "password": "a good password"}
    made = s.post("/sluice/v1/operators", body, auth=False, headers=bearer(owner)).json()
    tokens["disabled"] = sign_in(s, "gone", "a good password")["token"]
    assert s.call("PATCH", "/sluice/v1/operators/" + made["id"], {"enabled": False}, auth=False, headers=bearer(owner)).status_code == 200
    ended = sign_in(s)
    assert s.call("DELETE", "/sluice/v1/session", auth=False, headers=bearer(ended["token"])).status_code == 204
    tokens["ended"] = ended["token"]
    life = "/sluice/v1/settings/session_ttl_ms"  # of sessions that begin from now on
    assert s.call("PATCH", life, {"value": 1000}, auth=False, headers=bearer(owner)).status_code == 200
    tokens["expired"] = sign_in(s)["token"]
    assert s.call("PATCH", life, {"value": None}, auth=False, headers=bearer(owner)).status_code == 200
    tokens["internal"] = s.get("/admin/api/internal-token", auth=False, headers=bearer(owner)).json()["token"]
    wait_for(lambda: s.get("/sluice/v1/session", auth=False, headers=bearer(tokens["expired"])).status_code == 401, "its time is over")
    return tokens


def call(s, method, path, headers):
    """(status, body): of endless answers the status only."""
    path = re.sub(r"\{[^}]*\}", "nobody", path)
    body = {"content": b"[", "headers": {**headers, "Content-Type": "application/json"}} if method in ("POST", "PUT", "PATCH") else {"headers": headers}
    with s.http.stream(method, path, **body) as r:
        return r.status_code, r.read().decode() if r.status_code >= 400 else ""


def check_refusal(row, status, text, expected):
    method, path, surface, access = row
    assert status == expected, "%s %s (%s): %s %s" % (method, path, access, status, text)
    if surface.startswith("omniroute") and expected == 401:
        assert json.loads(text)["error"]["code"] == "AUTH_001"
    if surface == "rosetta" and expected == 401:
        assert text == '{"error":"Admin authentication required"}'
    assert text.startswith("{") and "error" in text, text


def rows_of(rows):
    return pytest.mark.parametrize("row", rows, ids=["%s %s" % r[:2] for r in rows])


@rows_of(CONTROL)
def test_the_control_plane_refuses_whom_it_must(s, people, row):
    method, path, surface, access = row
    needed = ROLES.index(access)
    unknown = [{}, bearer("0" * 64), bearer("wrong"), {"X-Admin-Token": "0" * 64}, {"Cookie": "sluice_session=" + "0" * 64},
               {"Cookie": "sluice_session="}, {"Cookie": "sluice_session=%27 OR 1=1"}, {"Authorization": "Basic YWRtaW46YWRtaW4="},
               bearer(people["ended"]), bearer(people["disabled"]), {"Cookie": "sluice_session=" + people["ended"]},
               bearer(people["expired"]), {"X-Admin-Token": people["expired"]}, {"Cookie": "sluice_session=" + people["expired"]},
               {"Cookie": "sluice_session=" + people["disabled"]}, {"Cookie": "sluice_session=" + ADMIN_KEY}]
    for headers in unknown:
        check_refusal(row, *call(s, method, path, headers), 401)
    weak = [bearer(s.key), {"x-api-key": s.key}, bearer(people["internal"]), bearer("sk-off-0123456789abcdef"),
            bearer("sk-old-0123456789abcdef")]
    if access == "owner":
        weak.append(bearer(ADMIN_KEY))
    for headers in weak:  # to these two a key that may not administer is nobody
        check_refusal(row, *call(s, method, path, headers), 401 if surface.startswith(("omniroute", "rosetta")) else 403)
    for role in ROLES[:needed]:
        for headers in (bearer(people[role]), {"X-Admin-Token": people[role]}):
            check_refusal(row, *call(s, method, path, headers), 403)


@rows_of([r for r in CONTROL if r[0] != "GET"])
def test_a_cookie_without_its_proof_changes_nothing(s, people, row):
    cookie = {"Cookie": "sluice_session=" + people["owner"]}
    for proof in ({}, {"Sec-Fetch-Site": "cross-site"}, {"Sec-Fetch-Site": "same-site"}, {"Sec-Fetch-Site": "none"},
                  {"Origin": "https://evil.example"}, {"Origin": "null"}, {"Origin": s.origin + ".evil.example"},
                  {"Origin": s.origin.replace("http:", "https:")}, {"Origin": s.origin, "Sec-Fetch-Site": "cross-site"},
                  {"Origin": "http://evil.example", "X-Forwarded-Host": "good.example"}):
        status, text = call(s, row[0], row[1], {**cookie, **proof})
        check_refusal(row, status, text, 403)


@rows_of(CONTROL)
def test_the_control_plane_takes_whom_it_may(s, people, row):
    """With a body that no handler accepts and a name that nothing has: what comes back is no refusal."""
    method, path, surface, access = row
    names = {role: ("admin", PASSWORD) if role == "owner" else ("a-" + role, "a good password") for role in ROLES}
    for role in ROLES[ROLES.index(access):]:
        token = sign_in(s, *names[role])["token"]  # some rows end sessions
        status, text = call(s, method, path, bearer(token))
        assert status != 401 and not (status == 403 and "insufficient" in text), "%s: %s %s" % (role, status, text)
        if method != "GET":
            token = sign_in(s, *names[role])["token"]
            good = {"Cookie": "sluice_session=" + token, "Sec-Fetch-Site": "same-origin"}
            status, text = call(s, method, path, good)
            assert status != 401 and "csrf" not in text and "insufficient" not in text, "%s: %s %s" % (role, status, text)
    if path == "/sluice/v1/sessions" and method == "DELETE":  # it did
        people.update({role: sign_in(s, *names[role])["token"] for role in ROLES})


@rows_of(DATA)
def test_the_data_plane_refuses_whom_it_must(s, people, row):
    for headers in ({}, bearer("wrong"), bearer(people["owner"]), {"X-Admin-Token": people["owner"]}, {"x-api-key": people["owner"]},
                    {"Cookie": "sluice_session=" + people["owner"], "Sec-Fetch-Site": "same-origin"}):
        status, text = call(s, row[0], row[1], headers)
        assert status == 401, "%s %s: %s %s" % (*row[:2], status, text)
    for headers in (bearer(ADMIN_KEY), bearer("sk-off-0123456789abcdef"), bearer("sk-old-0123456789abcdef")):
        status, text = call(s, row[0], row[1], headers)
        assert status == 403, "%s %s: %s %s" % (*row[:2], status, text)


def test_no_spelling_of_a_path_goes_round_the_table(s):
    for path in ("//sluice/v1/keys", "/sluice//v1/keys", "/./sluice/v1/keys", "/x/../sluice/v1/keys", "/sluice/v1/keys/", "/SLUICE/V1/KEYS",
                 "/sluice/v1/%6beys", "/sluice%2fv1%2fkeys", "/sluice/v1/keys;x=1", "/sluice/v1/keys%00", "/sluice/v1/keys?x", "/api/v1/sluice/v1/keys",
                 "/healthz/../sluice/v1/keys", "/docs/%2e%2e/sluice/v1/keys", "/admin/api/config/", "/admin//api/config", "/Admin/api/config"):
        for method in ("GET", "HEAD"):
            answer = s.raw(("%s %s HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n" % (method, path)).encode())
            status = int(answer.split(b" ")[1])
            assert status in (400, 401, 404, 405), (method, path, status)


def test_methods_cannot_be_smuggled(s):
    for headers in ({"X-HTTP-Method-Override": "GET"}, {"X-Method-Override": "GET"}, {"X-Original-URL": "/healthz"}, {"X-Rewrite-URL": "/healthz"}):
        assert s.call("DELETE", "/sluice/v1/keys/nobody", auth=False, headers=headers).status_code == 401


def test_the_table_has_no_unknown_levels():
    assert {r[3] for r in ROWS} <= set(LEVELS) and len(CONTROL) > 40 and len(DATA) > 30
    changing = [r for r in CONTROL if r[0] != "GET" and r[3] == "viewer"]
    assert {r[1] for r in changing} <= {"/sluice/v1/session", "/sluice/v1/session/password", "/sluice/v1/sessions",
                                        "/sluice/v1/sessions/{id}", "/admin/api/logout",
                                        "/sluice/v1/route/explain", "/sluice/v1/settings/{name}/check"}, \
        "only one's own sessions are changed by viewers; explaining and checking change nothing"
