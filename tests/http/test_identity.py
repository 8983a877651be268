"""Operators: the first start, signing in and out, sessions, roles, lock-out, proxies, and what a browser may not be made to do."""
import concurrent.futures
import hashlib
import re
import sqlite3
import subprocess
import time

import httpx
import pytest
from conftest import basic_config
from gateway import BINARY, wait_for

PASSWORD = "hunter-two"
CHEAP = {"password_memory_bytes": 65536, "password_passes": 1}  # hashing is not what is tested


@pytest.fixture
def config(scripted, upstream):
    config = basic_config(scripted.origin)
    config["server"].update(CHEAP, admin_password=PASSWORD)
    return config


@pytest.fixture
def s(start_sluice, config):
    return start_sluice(config)


def login(s, password=PASSWORD, headers=None, **more):
    return s.post("/sluice/v1/session", {"password": password, **more}, auth=False, headers=headers)


def token(s, password=PASSWORD, **more):
    r = login(s, password, **more)
    assert r.status_code == 201, r.text
    s.http.cookies.clear()
    return r.json()["token"]


def bearer(t):
    return {"Authorization": "Bearer " + t}


def who(s, headers):
    return s.get("/sluice/v1/session", auth=False, headers=headers)


def operator(s, owner, name, role, password="a good password"):
    r = s.post("/sluice/v1/operators", {"name": name, "role": role, "password": password}, auth=False, headers=bearer(owner))
    assert r.status_code == 201, r.text
    return r.json()


def cli(s, *arguments, typed=None):
    return subprocess.run([str(BINARY), *arguments, "--config", str(s.config_path), "--data", str(s.folder / "data")],
                          input=typed, capture_output=True, text=True, timeout=60, check=False)


# Signing in and out

def test_sign_in_say_who_sign_out(s):
    r = login(s)
    assert r.status_code == 201, r.text
    body = r.json()
    assert re.fullmatch("[0-9a-f]{64}", body["token"]) and body["operator"] == {**body["operator"], "name": "admin", "role": "owner"}
    assert 86300 < body["expires_in"] <= 86400 and r.headers["cache-control"] == "no-store"
    s.http.cookies.clear()
    for headers in (bearer(body["token"]), {"X-Admin-Token": body["token"]}, {"Cookie": "a=b; sluice_session=" + body["token"]}):
        me = who(s, headers)
        assert me.status_code == 200 and me.json()["session"] == body["session"], me.text
        assert s.get("/sluice/v1/providers", auth=False, headers=headers).status_code == 200
    assert s.call("DELETE", "/sluice/v1/session", auth=False, headers=bearer(body["token"])).status_code == 204
    for headers in (bearer(body["token"]), {"Cookie": "sluice_session=" + body["token"]}):
        assert who(s, headers).status_code == 401


def test_the_cookie_is_for_this_site_only(s):
    cookie = login(s).headers["set-cookie"]
    parts = [p.strip() for p in cookie.split(";")]
    assert parts[0].startswith("sluice_session=") and {"Path=/", "HttpOnly", "SameSite=Strict"} <= set(parts)
    assert "Secure" not in parts  # plain HTTP


def test_key_in_a_query_is_a_filter_here_and_no_credential(s):
    t = token(s)
    assert s.get("/sluice/v1/requests?key=0a1b2c3d", auth=False, headers={"Cookie": "sluice_session=" + t}).status_code == 200
    assert s.get("/sluice/v1/requests?key=" + t, auth=False).status_code == 401


def test_tokens_are_stored_as_hashes_and_logged_nowhere(s):
    t = token(s)
    login(s, "a wrong password that is secret")
    s.get("/sluice/v1/session?key=" + t, auth=False)
    s.stop()
    files = b"".join(p.read_bytes() for p in (s.folder / "data").rglob("*") if p.is_file()) + s.log_path.read_bytes()
    for secret in (t, PASSWORD, "a wrong password that is secret"):
        assert secret.encode() not in files
    assert b"$argon2id$v=19$m=64,t=1,p=1$" in files


@pytest.mark.parametrize("body", [{"password": "wrong"}, {"password": ""}, {"password": PASSWORD, "name": "nobody"},
                                  {"password": "x" * 5000}, {"name": "admin", "password": PASSWORD.upper()}])
def test_wrong_passwords_say_nothing_of_why(s, body):
    r = s.post("/sluice/v1/session", body, auth=False)
    assert r.status_code == 401 and r.json()["error"]["message"] == "Wrong name or password"
    assert "set-cookie" not in r.headers


@pytest.mark.parametrize("body", [{}, {"password": 1}, {"password": "x", "surprise": 1}, b"{", b"[]"])
def test_malformed_sign_ins_count_as_nothing(s, body):
    for _ in range(7):
        assert s.post("/sluice/v1/session", body, auth=False).status_code == 400
    assert login(s).status_code == 201


def test_the_data_plane_and_the_control_plane_do_not_open_each_other(s):
    t = token(s)
    chat = {"model": "echo", "messages": [{"role": "user", "content": "hi"}]}
    for headers in (bearer(t), {"x-api-key": t}, {"Cookie": "sluice_session=" + t}):
        assert s.post("/v1/chat/completions", chat, auth=False, headers=headers).status_code == 401
        assert s.get("/v1/models", auth=False, headers=headers).status_code == 401
    assert s.get("/sluice/v1/providers").status_code == 403  # a client key
    internal = s.get("/admin/api/internal-token", auth=False, headers=bearer(t)).json()["token"]
    assert s.post("/v1/chat/completions", chat, auth=False, headers=bearer(internal)).status_code == 200
    assert s.get("/sluice/v1/providers", auth=False, headers=bearer(internal)).status_code == 403
    assert who(s, bearer(internal)).status_code == 403


# llm-rosetta's and Routstr's sign-in

def test_login_of_the_panel(s):
    assert s.get("/admin/api/auth-check", auth=False).json() == {"requires_auth": True}
    r = s.post("/admin/api/login", {"password": PASSWORD}, auth=False)
    assert r.status_code == 200 and set(r.json()) == {"ok", "token", "expires_in"} and r.json()["ok"] is True
    t = r.json()["token"]
    assert re.fullmatch("[0-9a-f]{64}", t)
    s.http.cookies.clear()
    assert s.get("/admin/api/config", auth=False, headers={"X-Admin-Token": t}).status_code == 200
    refused = s.get("/admin/api/config", auth=False)
    assert refused.status_code == 401 and refused.json() == {"error": "Admin authentication required"}
    out = s.post("/admin/api/logout", auth=False, headers=bearer(t))
    assert out.status_code == 200 and out.json() == {"ok": True}
    assert s.get("/admin/api/config", auth=False, headers={"X-Admin-Token": t}).status_code == 401


def test_the_panel_gets_the_cookie_that_its_rows_read(s):
    r = s.post("/admin/api/login", {"password": PASSWORD}, auth=False)
    s.http.cookies.clear()
    [cookie] = [v for k, v in r.headers.multi_items() if k == "set-cookie"]
    assert re.fullmatch("rosetta_admin_session=[0-9a-f]{64}; Path=/; HttpOnly; SameSite=Strict; Max-Age=[0-9]+", cookie), cookie
    mine = {"Cookie": cookie.split(";")[0], "Sec-Fetch-Site": "same-origin"}
    assert s.get("/admin/api/config", auth=False, headers=mine).status_code == 200
    out = s.post("/admin/api/logout", auth=False, headers=mine)
    assert out.status_code == 200, out.text
    ended = [v for k, v in out.headers.multi_items() if k == "set-cookie"]
    assert {v.split(";")[0] for v in ended} == {"rosetta_admin_session=", "sluice_session="} and all("Max-Age=0" in v for v in ended)
    assert s.get("/admin/api/config", auth=False, headers=mine).status_code == 401


def test_the_panels_own_cookie_is_taken_too(s):
    t = s.post("/admin/api/login", {"password": PASSWORD}, auth=False).json()["token"]
    for name, status in (("rosetta_admin_session", 200), ("sluice_session", 200), ("other_session", 401)):
        r = s.get("/admin/api/config", auth=False, headers={"Cookie": "%s=%s" % (name, t)})
        assert r.status_code == status, (name, r.text)
    proofless = s.post("/admin/api/keys", {"label": "x"}, auth=False, headers={"Cookie": "rosetta_admin_session=" + t, "Origin": "https://elsewhere.example"})
    assert proofless.status_code == 403, proofless.text


def test_refusals_of_the_panels_login(s):
    def attempt(body):
        r = s.post("/admin/api/login", body, auth=False)
        assert r.json()["error"] == r.json()["detail"] and set(r.json()) == {"error", "detail"}
        return r.status_code, r.json()["error"]

    for body in (b"{", b"[1]", b""):
        assert attempt(body) == (400, "Invalid JSON body")
    for _ in range(3):
        assert attempt({"password": "wrong"}) == (401, "Invalid password")
    assert attempt({}) == (401, "Invalid password")
    assert attempt({"password": "wrong"}) == (401, "Too many failed attempts. Locked for 300s.")
    for body in ({"password": PASSWORD}, b"{"):
        status, text = attempt(body)
        assert status == 429 and re.fullmatch(r"Too many failed attempts\. Try again in (300|299|29\d)s\.", text)


def test_no_password_is_not_open(start_sluice, config):
    config["server"].pop("admin_password")
    s = start_sluice(config)
    assert s.get("/admin/api/auth-check", auth=False).json() == {"requires_auth": True}
    r = s.post("/admin/api/login", b"{", auth=False)
    assert r.status_code == 400 and r.json()["error"] == "Admin password not configured"
    assert login(s).status_code == 400
    for path in ("/sluice/v1/providers", "/admin/api/config", "/sluice/v1/operators"):
        assert s.get(path, auth=False).status_code == 401


# The lock-out

def test_five_failures_lock_the_address_and_a_restart_does_not_help(start_sluice, config, tmp_path):
    s = start_sluice(config)
    for _ in range(4):
        assert login(s, "wrong").status_code == 401
    assert login(s).status_code == 201  # success forgets
    for _ in range(4):
        assert login(s, "wrong").status_code == 401
    r = login(s, "wrong")
    assert r.status_code == 401 and "300" in r.text
    r = login(s)
    assert r.status_code == 429 and 290 <= int(r.headers["retry-after"]) <= 300
    s.stop()
    again = type(s)(s.folder, config, s.calls)
    try:
        assert login(again).status_code == 429
        assert again.post("/sluice/v1/claim", {"token": "x", "password": "long enough"}, auth=False).status_code == 429
        out = cli(again, "admin", "unlock", "nobody")
        assert out.returncode != 0 and "'nobody' is not locked out" in out.stderr, out
        assert login(again).status_code == 429
        assert cli(again, "admin", "unlock", "127.0.0.1").returncode == 0
        wait_for(lambda: login(again).status_code == 201, "the lock-out to be lifted")
    finally:
        again.stop()


def test_a_lock_out_ends_and_comes_back_longer(start_sluice, config):
    config["server"].update(login_max_failures=2, login_lockout_ms=1000, login_lockout_max_ms=3000)
    s = start_sluice(config)

    def fail_until_locked():
        texts = [login(s, "wrong").text for _ in range(2)]
        return int(re.search(r"Locked for (\d+)s", texts[1]).group(1))

    assert fail_until_locked() == 1
    wait_for(lambda: login(s, "wrong").status_code == 401, "the first lock-out to end")  # counts as the first of two
    assert "Locked for 2s" in login(s, "wrong").text
    wait_for(lambda: login(s, "wrong").status_code == 401, "the second lock-out to end")
    assert "Locked for 3s" in login(s, "wrong").text  # not 4: the longest


def test_many_tries_at_once_are_counted_too(s):
    with concurrent.futures.ThreadPoolExecutor(20) as pool:
        codes = list(pool.map(lambda _: login(s, "wrong").status_code, range(40)))
    assert codes.count(401) <= 5 and set(codes) <= {401, 429}
    assert login(s).status_code == 429


def test_the_address_is_the_clients_behind_trusted_proxies_only(start_sluice, config):
    s = start_sluice(config)
    for i in range(5):  # nobody is trusted: the header is only text
        assert login(s, "wrong", headers={"X-Forwarded-For": "203.0.113.%d" % i}).status_code == 401
    assert login(s, headers={"X-Forwarded-For": "203.0.113.9"}).status_code == 429

    config["server"]["trusted_proxies"] = "127.0.0.0/8, 10.1.0.0/16"
    s = start_sluice(config)
    one = {"X-Forwarded-For": "6.6.6.6, 203.0.113.1, 10.1.2.3"}
    for _ in range(5):
        assert login(s, "wrong", headers=one).status_code == 401
    assert login(s, headers=one).status_code == 429
    assert login(s, headers={"X-Forwarded-For": "203.0.113.1"}).status_code == 429  # what is left of it was made up
    assert login(s, headers={"X-Forwarded-For": "203.0.113.2"}).status_code == 201
    t = token(s)
    for sent, seen in (("198.51.100.7", "198.51.100.7"), ("1.1.1.1, 198.51.100.7:443", "198.51.100.7"), ("garbage", "127.0.0.1"),
                       ("1.1.1.1, unknown, 10.1.1.1", "10.1.1.1"), ("[2001:db8::1]:99", "2001:db8::1"), ("", "127.0.0.1")):
        assert who(s, {**bearer(t), "X-Forwarded-For": sent}).json()["address"] == seen, sent


def test_ipv6_addresses_are_counted_by_their_network(start_sluice, config):
    config["server"]["trusted_proxies"] = "127.0.0.1"
    s = start_sluice(config)
    for i in range(5):
        assert login(s, "wrong", headers={"X-Forwarded-For": "2001:db8:1:2::%d" % i}).status_code == 401
    assert login(s, headers={"X-Forwarded-For": "2001:db8:1:2:ffff::1"}).status_code == 429
    assert login(s, headers={"X-Forwarded-For": "2001:db8:1:3::1"}).status_code == 201


def test_the_cookie_is_secure_behind_a_trusted_tls_proxy(start_sluice, config):
    https = {"X-Forwarded-Proto": "https"}
    assert "Secure" not in login(start_sluice(config), headers=https).headers["set-cookie"]
    config["server"]["trusted_proxies"] = "127.0.0.1"
    assert "; Secure" in login(start_sluice(config), headers=https).headers["set-cookie"]


def test_a_bad_list_of_proxies_is_refused_with_its_place(start_sluice, config):
    s = start_sluice(config)
    config["server"]["trusted_proxies"] = "10.0.0.0/33"
    s.write_config(config)
    r = subprocess.run([str(BINARY), "check", str(s.config_path)], capture_output=True, text=True, timeout=60, check=False)
    assert r.returncode == 1 and "10.0.0.0/33" in r.stderr + r.stdout


# Sessions

def test_sessions_end_by_time_and_by_idleness(start_sluice, config):
    config["server"].update(session_ttl_ms=1500)
    s = start_sluice(config)
    t = wait_for(lambda: (new := token(s)) and who(s, bearer(new)).status_code == 200 and new, "a session that lives when it is asked")
    wait_for(lambda: who(s, bearer(t)).status_code == 401, "the session to expire, used as it is")
    config["server"].update(session_ttl_ms=86400000, session_idle_ms=1000)
    s = start_sluice(config)
    t = token(s)
    time.sleep(1.2)
    assert who(s, bearer(t)).status_code == 401
    r = wait_for(lambda: (r := s.get("/sluice/v1/sessions", auth=False, headers=bearer(token(s)))).status_code == 200 and r, "a session asked in its time")
    assert r.json()["data"][0]["is_current"] is True


def test_sessions_survive_a_restart(s, config):
    t = token(s)
    s.stop()
    again = type(s)(s.folder, config, s.calls)
    try:
        assert who(again, bearer(t)).status_code == 200
    finally:
        again.stop()


def test_sessions_are_listed_and_revoked(s):
    mine, other = token(s), token(s)
    rows = s.get("/sluice/v1/sessions", auth=False, headers={**bearer(mine), "User-Agent": "x"}).json()["data"]
    assert len(rows) == 2 and [r["operator"] for r in rows] == ["admin", "admin"]
    assert sum(r["is_current"] for r in rows) == 1 and mine not in str(rows)
    gone = next(r["id"] for r in rows if not r["is_current"])
    assert s.call("DELETE", "/sluice/v1/sessions/" + gone, auth=False, headers=bearer(mine)).status_code == 204
    assert s.call("DELETE", "/sluice/v1/sessions/" + gone, auth=False, headers=bearer(mine)).status_code == 404
    assert who(s, bearer(other)).status_code == 401
    third = token(s)
    r = s.call("DELETE", "/sluice/v1/sessions?keep_current=true", auth=False, headers=bearer(mine))
    assert r.json() == {"revoked": 1} and who(s, bearer(third)).status_code == 401
    assert s.call("DELETE", "/sluice/v1/sessions", auth=False, headers=bearer(mine)).json() == {"revoked": 1}
    assert who(s, bearer(mine)).status_code == 401


def test_a_change_of_an_operator_can_insist_on_what_was_read(s):
    owner = bearer(token(s))
    path = "/sluice/v1/operators/" + operator(s, owner["Authorization"][7:], "ann", "viewer")["id"]
    tag = s.get(path, auth=False, headers=owner).headers["etag"]
    assert s.get(path, auth=False, headers={**owner, "If-None-Match": tag}).status_code == 304
    changed = s.call("PATCH", path, {"role": "member"}, auth=False, headers={**owner, "If-Match": tag})
    assert changed.status_code == 200 and changed.headers["etag"] != tag
    for method, body in (("PATCH", {"role": "admin"}), ("DELETE", None)):
        late = s.call(method, path, body, auth=False, headers={**owner, "If-Match": tag})
        assert late.status_code == 412 and late.json()["error"]["code"] == "precondition_failed"
    assert s.get(path, auth=False, headers=owner).json()["role"] == "member"
    assert s.call("DELETE", path, auth=False, headers={**owner, "If-Match": changed.headers["etag"]}).status_code == 204


def test_sessions_and_operators_come_in_pages(s):
    owner = token(s)
    for n, role in enumerate(("viewer", "admin", "viewer", "member")):
        operator(s, owner, "op%d" % n, role)
        token(s, "a good password", name="op%d" % n)

    def pages(path, **query):
        rows, after = [], None
        while True:
            r = s.get(path, params={**query, **({"after": after} if after else {})}, auth=False, headers=bearer(owner))
            assert r.status_code == 200, r.text
            rows += r.json()["data"]
            after = r.json()["next"]
            assert r.json()["has_more"] == (after is not None) and len(r.json()["data"]) <= 2
            if not after:
                return rows

    assert [o["name"] for o in pages("/sluice/v1/operators", limit=2)] == ["admin", "op0", "op1", "op2", "op3"]
    assert [o["name"] for o in pages("/sluice/v1/operators", limit=2, role="viewer", sort="-name")] == ["op2", "op0"]
    assert [o["name"] for o in pages("/sluice/v1/operators", limit=2, q="OP3")] == ["op3"]
    every = pages("/sluice/v1/sessions", limit=2)
    assert len(every) == 5 and [x["id"] for x in every] == sorted(x["id"] for x in every)
    latest = [x["seen_at"] for x in pages("/sluice/v1/sessions", limit=2, sort="-seen_at")]
    assert latest == sorted(latest, reverse=True)
    assert [x["operator"] for x in pages("/sluice/v1/sessions", limit=2, operator="op1")] == ["op1"]
    assert len(pages("/sluice/v1/sessions", limit=2, is_current="true")) == 1
    assert s.get("/sluice/v1/operators?role=king", auth=False, headers=bearer(owner)).status_code == 400


def test_there_are_at_most_so_many_sessions(start_sluice, config):
    config["server"]["max_sessions"] = 3
    s = start_sluice(config)
    tokens = []
    for _ in range(5):
        tokens.append(token(s))
        time.sleep(0.002)  # of the same millisecond none is the older
    assert [who(s, bearer(t)).status_code for t in tokens] == [401, 401, 200, 200, 200]


def test_a_sign_in_is_never_replayed(s):
    """An Idempotency-Key keeps a hash of the body and the answer: no place for passwords and tokens."""
    again = {"Idempotency-Key": "the same one"}
    tokens = {login(s, headers=again).json()["token"] for _ in range(2)}
    assert len(tokens) == 2
    s.stop()
    db = sqlite3.connect(s.folder / "data/sluice.db")
    assert db.execute("SELECT count(*) FROM idempotency").fetchone() == (0,)
    db.close()


# The password in the file

def test_a_new_password_in_the_file_ends_sessions(s, config):
    t = token(s)
    config["server"]["admin_password"] = "another one"
    s.write_config(config)
    wait_for(lambda: who(s, bearer(t)).status_code == 401, "the session to end")
    assert login(s).status_code == 401
    t = token(s, "another one")
    config["server"]["log_level"] = "debug"  # another reload changes nothing
    s.write_config(config)
    wait_for(lambda: s.output().count("config.loaded") >= 2, "the reload")
    assert who(s, bearer(t)).status_code == 200
    config["server"].pop("admin_password")
    s.write_config(config)
    wait_for(lambda: who(s, bearer(t)).status_code == 401, "the session to end")
    assert login(s, "another one").status_code == 400
    assert s.get("/sluice/v1/providers", auth=False).status_code == 401
    s.stop()
    again = type(s)(s.folder, config, s.calls)
    try:
        wait_for(lambda: "sluice admin claim" in again.output(), "who comes to it is told the way in")
    finally:
        again.stop()


def test_the_password_may_be_a_placeholder(start_sluice, config):
    config["server"]["admin_password"] = "${THE_PASSWORD}"
    s = start_sluice(config, env={"THE_PASSWORD": "from the environment"})
    assert login(s, "from the environment").status_code == 201
    assert login(s, "${THE_PASSWORD}").status_code == 401


def test_the_environment_gives_a_password(start_sluice, config):
    s = start_sluice(config, env={"SLUICE_ADMIN_PASSWORD": "of the environment"})
    t = token(s, "of the environment")
    (row,) = s.get("/sluice/v1/operators", auth=False, headers=bearer(t)).json()["data"]
    assert row["origin"] == "environment" and row["can_sign_in"] is True
    assert login(s).status_code == 401


# Operators and roles

def test_operators_live_and_die(s):
    owner = token(s)
    made = operator(s, owner, "Ada", "viewer")
    assert made["role"] == "viewer" and made["can_sign_in"] and "password" not in made
    path = "/sluice/v1/operators/" + made["id"]
    assert s.get(path, auth=False, headers=bearer(owner)).json() == made
    assert s.get("/sluice/v1/operators/ada", auth=False, headers=bearer(owner)).json() == made
    hers = token(s, "a good password", name="ADA")
    assert who(s, bearer(hers)).json()["role"] == "viewer"

    def change(body):
        return s.call("PATCH", path, body, auth=False, headers=bearer(owner))

    assert change({"role": "admin"}).json()["role"] == "admin"
    assert who(s, bearer(hers)).json()["role"] == "admin"  # at once
    assert change({"enabled": False}).json()["can_sign_in"] is False
    assert who(s, bearer(hers)).status_code == 401 and login(s, "a good password", name="Ada").status_code == 401
    assert change({"enabled": True, "name": "Lady Ada"}).status_code == 200
    hers = token(s, "a good password", name="lady ada")
    assert change({"password": "another password"}).status_code == 200
    assert who(s, bearer(hers)).status_code == 401
    assert login(s, "a good password", name="lady ada").status_code == 401
    token(s, "another password", name="Lady Ada")
    assert s.call("DELETE", path, auth=False, headers=bearer(owner)).status_code == 204
    assert s.get(path, auth=False, headers=bearer(owner)).status_code == 404
    assert login(s, "another password", name="Lady Ada").status_code == 401


@pytest.mark.parametrize("body, field", [
    ({"name": "x", "role": "root", "password": "long enough"}, "role"), ({"name": "x", "password": "long enough"}, "role"),
    ({"name": "x", "role": "viewer", "password": "short"}, "password"), ({"name": "", "role": "viewer", "password": "long enough"}, "name"),
    ({"name": "a/b", "role": "viewer", "password": "long enough"}, "name"), ({"name": " a", "role": "viewer", "password": "long enough"}, "name"),
    ({"name": "x" * 65, "role": "viewer", "password": "long enough"}, "name"),
    ({"name": "x", "role": "viewer", "password": "y" * 1025}, "password"), ({"role": "viewer", "password": "long enough"}, "name"),
])
def test_bad_operators_are_refused_with_their_field(s, body, field):
    r = s.post("/sluice/v1/operators", body, auth=False, headers=bearer(token(s)))
    assert r.status_code == 400 and field in r.text, r.text


def test_names_are_unique_and_the_last_owner_stays(start_sluice, config):
    config["server"].pop("admin_password")
    s = start_sluice(config)
    claim(s, claim_link(s))
    owner = token(s, "long enough")
    operator(s, owner, "Ada", "admin")
    r = s.post("/sluice/v1/operators", {"name": "ADA", "role": "viewer", "password": "long enough"}, auth=False, headers=bearer(owner))
    assert r.status_code == 409
    for method, body in (("DELETE", None), ("PATCH", {"role": "admin"}), ("PATCH", {"enabled": False})):
        r = s.call(method, "/sluice/v1/operators/admin", body, auth=False, headers=bearer(owner))
        assert r.status_code == 409 and r.json()["error"]["code"] == "last_owner", r.text
    operator(s, owner, "Bea", "owner")
    assert s.call("DELETE", "/sluice/v1/operators/admin", auth=False, headers=bearer(owner)).status_code == 204
    assert who(s, bearer(owner)).status_code == 401
    token(s, "a good password")  # without a name: the only owner


def test_the_operator_of_the_file_is_changed_there(s):
    owner = token(s)
    for method, body in (("DELETE", None), ("PATCH", {"role": "viewer"}), ("PATCH", {"password": "long enough"})):
        r = s.call(method, "/sluice/v1/operators/admin", body, auth=False, headers=bearer(owner))
        assert r.status_code == 409 and "sluice.jsonc" in r.text
    r = s.post("/sluice/v1/session/password", {"current_password": PASSWORD, "password": "long enough"}, auth=False, headers=bearer(owner))
    assert r.status_code == 409 and "sluice.jsonc" in r.text


def test_everybody_changes_their_own_password(s):
    owner = token(s)
    operator(s, owner, "Ada", "viewer")
    one, two = (token(s, "a good password", name="Ada") for _ in range(2))

    def change(current, new, t=one):
        return s.post("/sluice/v1/session/password", {"current_password": current, "password": new}, auth=False, headers=bearer(t))

    assert change("wrong", "another password").status_code == 403
    assert change("a good password", "short").status_code == 400
    assert change("a good password", "another password").status_code == 204
    assert who(s, bearer(one)).status_code == 200 and who(s, bearer(two)).status_code == 401
    assert login(s, "a good password", name="Ada").status_code == 401
    token(s, "another password", name="Ada")


def test_only_ones_own_sessions_are_seen(s):
    owner = token(s)
    operator(s, owner, "Ada", "viewer")
    hers = token(s, "a good password", name="Ada")
    rows = s.get("/sluice/v1/sessions", auth=False, headers=bearer(hers)).json()["data"]
    assert [r["operator"] for r in rows] == ["Ada"]
    all_rows = s.get("/sluice/v1/sessions", auth=False, headers=bearer(owner)).json()["data"]
    assert len(all_rows) == 2
    foreign = next(r["id"] for r in all_rows if r["operator"] == "admin")
    assert s.call("DELETE", "/sluice/v1/sessions/" + foreign, auth=False, headers=bearer(hers)).status_code == 404
    assert s.call("DELETE", "/sluice/v1/sessions", auth=False, headers=bearer(hers)).json() == {"revoked": 1}
    assert who(s, bearer(owner)).status_code == 200


# The claim link

def claim_link(s):
    return re.search(r"(http://\S+)/sluice/claim#([0-9a-f]{64})", s.output()).group(2)


def claim(s, t, password="long enough", **more):
    return s.post("/sluice/v1/claim", {"token": t, "password": password, **more}, auth=False)


def test_the_claim_link_works_once(start_sluice, config):
    config["server"].pop("admin_password")
    s = start_sluice(config)
    t = claim_link(s)
    page = s.get("/sluice/claim", auth=False)
    assert page.status_code == 200 and "text/html" in page.headers["content-type"]
    assert page.headers["referrer-policy"] == "no-referrer" and "script-src 'self'" in page.headers["content-security-policy"]
    assert 'fetch("v1/claim"' in s.get("/sluice/claim.js", auth=False).text  # below a prefix too
    assert claim(s, t, "short").status_code == 400
    assert claim(s, t, name="a/b").status_code == 400
    assert claim(s, "0" * 64).status_code == 401
    r = claim(s, t, name="Ada")
    assert r.status_code == 201 and r.json()["operator"]["role"] == "owner" and "sluice_session=" in r.headers["set-cookie"]
    s.http.cookies.clear()
    assert who(s, bearer(r.json()["token"])).json()["name"] == "Ada"
    again = claim(s, t, name="Eve")
    assert again.status_code == 401 and "sluice admin claim" in again.text
    token(s, "long enough", name="Ada")
    stored = b"".join(p.read_bytes() for p in (s.folder / "data").rglob("*") if p.is_file())
    assert t.encode() not in stored


def test_two_claims_at_once_make_one_owner(start_sluice, config):
    config["server"].pop("admin_password")
    s = start_sluice(config)
    t = claim_link(s)
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        codes = sorted(pool.map(lambda i: claim(s, t, name="n%d" % i).status_code, range(4)))
    assert codes == [201, 401, 401, 401]


def test_no_claim_link_where_somebody_can_sign_in(s):
    assert "/sluice/claim#" not in s.output()


# What a browser may not be made to do

CROSS = [{"Sec-Fetch-Site": "cross-site"}, {"Sec-Fetch-Site": "same-site"}, {"Origin": "https://evil.example"}, {"Origin": "null"}, {}]


@pytest.mark.parametrize("proof", CROSS)
def test_a_change_by_cookie_needs_a_page_of_ours(s, proof):
    t = token(s)
    cookie = {"Cookie": "sluice_session=" + t}
    r = s.post("/sluice/v1/keys", {"label": "x"}, auth=False, headers={**cookie, **proof})
    assert r.status_code == 403 and r.json()["error"]["code"] == "csrf"
    assert s.call("DELETE", "/sluice/v1/session", auth=False, headers={**cookie, **proof}).status_code == 403
    assert s.get("/sluice/v1/keys", auth=False, headers={**cookie, **proof}).status_code == 200  # reading is no change
    for good in ({"Sec-Fetch-Site": "same-origin"}, {"Origin": s.origin}):
        assert s.post("/sluice/v1/keys", {"label": "x"}, auth=False, headers={**cookie, **good}).status_code == 201
    assert s.post("/sluice/v1/keys", {"label": "x"}, auth=False, headers={**bearer(t), **proof}).status_code == 201


@pytest.mark.parametrize("proof", CROSS[:4])
def test_no_sign_in_through_a_page_of_somebody_else(s, proof):
    assert login(s, headers=proof).status_code == 403
    assert s.post("/admin/api/login", {"password": PASSWORD}, auth=False, headers=proof).status_code == 403


def test_no_other_origin_reads_administration(s):
    t = token(s)
    r = s.get("/sluice/v1/keys", auth=False, headers={**bearer(t), "Origin": "https://evil.example"})
    assert r.status_code == 200 and "access-control-allow-origin" not in r.headers


# require_login: false

def test_without_login_only_this_machine_on_a_loopback_listener(start_sluice, config):
    config["server"].pop("admin_password")
    config["server"]["require_login"] = False
    s = start_sluice(config)
    assert s.get("/admin/api/auth-check", auth=False).json() == {"requires_auth": False}
    assert who(s, {}).json()["kind"] == "anonymous" and who(s, {}).json()["role"] == "admin"
    assert s.post("/sluice/v1/keys", {"label": "x"}, auth=False).status_code == 201
    assert s.get("/sluice/v1/operators", auth=False).status_code == 403  # who the operators are is for those
    for mark in ({"X-Forwarded-For": "203.0.113.1"}, {"Via": "1.1 proxy"}, {"Host": "evil.example"}, {"Host": "evil.example:80"},
                 {"Origin": "https://evil.example"}, {"Sec-Fetch-Site": "cross-site"}):
        assert s.get("/sluice/v1/keys", auth=False, headers=mark).status_code == 401, mark
        assert s.get("/admin/api/auth-check", auth=False, headers=mark).json() == {"requires_auth": True}
    assert s.get("/sluice/v1/keys").status_code == 403  # a credential that is sent counts
    assert s.get("/v1/models", auth=False).status_code == 401  # the data plane is another matter
    (row,) = s.get("/sluice/v1/audit?kind=key", auth=False).json()["data"]
    assert row["actor_kind"] == "anonymous" and row["address"] == "127.0.0.1"


def test_without_login_means_nothing_on_an_open_listener(start_sluice, config):
    config["server"]["require_login"] = False
    s = start_sluice(config, arguments=("--host", "0.0.0.0"))
    assert s.get("/sluice/v1/keys", auth=False).status_code == 401
    assert s.get("/admin/api/auth-check", auth=False).json() == {"requires_auth": True}
    assert "login.required" in s.output()


# The audit log of all this

def test_sign_ins_are_audited(s):
    login(s, "wrong")
    login(s, "wrong", name="my-password-in-the-wrong-field")
    owner = token(s)
    made = operator(s, owner, "Ada", "viewer")
    s.call("PATCH", "/sluice/v1/operators/" + made["id"], {"role": "admin", "password": "another password"}, auth=False, headers=bearer(owner))
    r = s.get("/sluice/v1/audit", auth=False, headers=bearer(owner))
    rows = [(x["kind"], x["object"], x["actor"], x["outcome"]) for x in reversed(r.json()["data"])]
    assert rows == [("operator", "admin", "file", "ok"), ("sign_in", "admin", "", "invalid_password"),
                    ("sign_in", "(unknown)", "", "invalid_password"), ("sign_in", "admin", "admin", "ok"),
                    ("operator", "Ada", "admin", "ok"), ("operator", "Ada", "admin", "ok")]
    last = r.json()["data"][0]
    assert last["before"]["role"] == "viewer" and last["after"]["role"] == "admin"
    assert "password" not in r.text.replace("invalid_password", "").replace('{"password":"***"', "").replace("password_changed_at", "")


def test_an_admin_cannot_become_the_owner(start_sluice, config):
    """Neither through the file's password, nor by taking the sign-in away."""
    s = start_sluice(config)
    operator(s, token(s), "Ada", "admin")
    hers = bearer(token(s, "a good password", name="Ada"))
    s.call("PUT", "/admin/api/config/server", {"admin_password": "stolen"}, auth=False, headers=hers)
    s.call("PATCH", "/sluice/v1/settings/admin_password", {"value": "stolen"}, auth=False, headers=hers)
    assert login(s, "stolen").status_code == 401 and login(s).status_code == 201
    s.http.cookies.clear()
    s.call("PATCH", "/sluice/v1/settings/require_login", {"value": False}, auth=False, headers=hers)
    assert s.get("/sluice/v1/operators", auth=False).status_code in (401, 403)
    assert s.post("/sluice/v1/operators", {"name": "Eve", "role": "owner", "password": "a good password"}, auth=False,
                  headers=hers).status_code == 403


def test_revealed_secrets_are_audited(start_sluice, config):
    config["server"]["credential_visible"] = True
    s = start_sluice(config)
    owner = bearer(token(s))
    assert "upstream-secret-chat" in s.get("/admin/api/config/providers/chat/key", auth=False, headers=owner).text
    assert s.get("/admin/api/keys/0a1b2c3d/reveal", auth=False, headers=owner).status_code == 200
    rows = s.get("/sluice/v1/audit?kind=reveal", auth=False, headers=owner).json()["data"]
    assert [r["object"] for r in rows] == ["key 0a1b2c3d", "provider chat"]


def test_meddling_with_the_audit_log_shows(s):
    owner = token(s)
    for name in ("a", "b", "c"):
        operator(s, owner, name, "viewer")
    r = cli(s, "audit", "verify")
    assert r.returncode == 0 and "whole" in r.stdout, r.stdout + r.stderr
    s.stop()
    db = sqlite3.connect(s.folder / "data/sluice.db")
    db.execute("UPDATE audit SET actor = 'eve' WHERE id = 4")
    db.commit()
    db.close()
    r = cli(s, "audit", "verify")
    assert r.returncode == 1 and "row 4" in r.stderr + r.stdout
    assert "eve" in cli(s, "audit", "list").stdout


# The command line

def test_admin_at_the_shell(start_sluice, config):
    config["server"].pop("admin_password")
    s = start_sluice(config)
    r = cli(s, "admin", "claim")
    t = re.search(r"#([0-9a-f]{64})", r.stdout).group(1)
    assert claim(s, claim_link(s)).status_code == 401  # the older link is void
    assert claim(s, t).status_code == 201
    session = token(s, "long enough")
    assert "admin" in cli(s, "admin", "sessions").stdout and session not in cli(s, "admin", "sessions").stdout
    r = cli(s, "admin", "reset-password", "admin", typed="a new password\n")
    assert r.returncode == 0, r.stderr
    wait_for(lambda: who(s, bearer(session)).status_code == 401, "sessions to end")
    session = token(s, "a new password")
    assert cli(s, "admin", "reset-password", "admin", typed="short\n").returncode == 1
    assert cli(s, "admin", "reset-password", "nobody", typed="long enough\n").returncode == 1
    assert who(s, bearer(session)).status_code == 200
    assert cli(s, "admin", "sessions", "--revoke-all").returncode == 0
    wait_for(lambda: who(s, bearer(session)).status_code == 401, "sessions to end")
    rows = s.get("/sluice/v1/audit", auth=False, headers=bearer(token(s, "a new password"))).json()["data"]
    shell = [(x["kind"], x["object"]) for x in reversed(rows) if x["actor_kind"] == "shell"]
    assert shell == [("claim", "link"), ("operator", "admin"), ("sessions", "*")]


def test_reset_password_without_a_server_and_from_the_file(start_sluice, config):
    s = start_sluice(config)
    r = cli(s, "admin", "reset-password", typed="long enough\n")
    assert r.returncode == 1 and "sluice.jsonc" in r.stderr
    config["server"].pop("admin_password")
    s.stop()
    s.write_config(config)
    assert cli(s, "admin", "reset-password", typed="long enough\n").returncode == 0
    again = type(s)(s.folder, config, s.calls)
    try:
        token(again, "long enough")
    finally:
        again.stop()


def test_reset_password_beside_a_server_that_was_given_one(start_sluice, config):
    """Its environment is not the shell's: it would put its own back at once."""
    config["server"].pop("admin_password")
    s = start_sluice(config, env={"SLUICE_ADMIN_PASSWORD": PASSWORD})
    session = token(s)
    r = cli(s, "admin", "reset-password", typed="long enough\n")
    assert r.returncode == 1 and "SLUICE_ADMIN_PASSWORD" in r.stderr, r.stderr
    assert who(s, bearer(session)).status_code == 200 and login(s, "long enough").status_code == 401
    s.stop()
    assert cli(s, "admin", "reset-password", typed="long enough\n").returncode == 0
    again = type(s)(s.folder, config, s.calls)
    try:
        token(again, "long enough")
    finally:
        again.stop()


def test_no_more_passwords_are_hashed_at_once_than_allowed(start_sluice, config):
    """By what the process ever held in memory: the kernel keeps that figure, so no moment need be met."""
    one = 48 << 20

    def peak(s):
        (line,) = [x for x in open("/proc/%d/status" % s.process.pid, encoding="utf-8") if x.startswith("VmHWM")]
        return int(line.split()[1]) * 1024

    config["server"].update(password_memory_bytes=one, password_passes=1, password_parallel=2, login_max_failures=1000)
    s = start_sluice(config)
    before = peak(s)  # with one hash in it already: the password of the file

    def sign_in_once(i):
        with httpx.Client(base_url=s.origin, timeout=60, trust_env=False) as http:
            return http.post("/sluice/v1/session", json={"password": PASSWORD}).status_code

    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        assert set(pool.map(sign_in_once, range(5))) == {201}
    assert before > one
    assert peak(s) - before < 1.7 * one, "more than two at once"


def test_an_operator_that_is_added_again_is_the_same_one(s):
    """Of the body with its password the store keeps a hash that is of no use without the master key."""
    owner, body = bearer(token(s)), {"name": "ann", "role": "viewer", "password": "a good password"}

    def add(**more):
        return s.post("/sluice/v1/operators", {**body, **more}, auth=False, headers={**owner, "Idempotency-Key": "ann, once"})
    first, second = add(), add()
    assert first.status_code == second.status_code == 201 and second.json() == first.json()
    assert second.headers["idempotent-replayed"] == "true" and "idempotent-replayed" not in first.headers
    assert add(password="another password").status_code == 409
    assert [o["name"] for o in s.get("/sluice/v1/operators", auth=False, headers=owner).json()["data"]] == ["admin", "ann"]
    s.stop()
    db = sqlite3.connect(s.folder / "data/sluice.db")
    (kept,) = db.execute("SELECT body_hash FROM idempotency").fetchone()
    db.close()
    assert kept != hashlib.sha256(b"0:," + first.request.content).digest() and b"a good password" not in (s.folder / "data/sluice.db").read_bytes()
