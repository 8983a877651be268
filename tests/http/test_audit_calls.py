"""The audit log knows every administrative call that changes something or shows a secret, also those that were refused: each such row
of the endpoint table is called by strangers, by people who may not, wrongly, and rightly."""
import re

import pytest
from conftest import basic_config
from gateway import Sluice, wait_for
from test_access import PASSWORD, sign_in

ADMIN = "sk-admin-0123456789abcdef"
CLIENT = "sk-client-0123456789abcdef"
CHEAP = {"password_memory_bytes": 8192, "password_passes": 1}
GOOD = "a good password"


def bearer(token):
    return {"Authorization": "Bearer " + token}


def configuration(origin, **more):
    config = basic_config(origin)
    config["server"].update(CHEAP, admin_password=PASSWORD, credential_visible=True, **more)
    config["server"]["api_keys"] += [{"id": "ad000001", "key": ADMIN, "label": "operator", "scopes": ["admin"]},
                                     {"id": "c1000001", "key": CLIENT, "label": "client", "scopes": ["inference"]}]
    return config


@pytest.fixture(scope="module")
def s(scripted, calls, tmp_path_factory):
    config = configuration(scripted.origin, audit_refusals_per_minute=100000, login_max_failures=1000)
    running = Sluice(tmp_path_factory.mktemp("audit"), config, calls, key=ADMIN)
    yield running
    running.stop()


def audited(s):
    """(method, path, access, whether it takes a body) of the rows whose calls must stand in the log."""
    for path, item in s.get("/openapi.json").json()["paths"].items():
        for method, op in item.items():
            if op["x-sluice-audited"]:
                yield method.upper(), path, op["x-sluice-access"], method in ("post", "put", "patch")


def everything(s, most=None):
    """The rows of the log by the id of their request, oldest first; most: only the newest."""
    found, after = {}, None
    while not most or not found:
        page = s.get("/sluice/v1/audit", params={"limit": most or 1000, **({"after": after} if after else {})}).json()
        for row in page["data"]:
            found.setdefault(row["request_id"], []).insert(0, row)
        after = page["next"]
        if not after:
            break
    return found


def test_only_what_asks_leaves_none(s):
    asks = {"POST /sluice/v1/route/explain", "POST /sluice/v1/settings/{name}/check", "POST /admin/api/test/{task_id}/poll"}
    shows = {"GET /sluice/v1/requests/{id}/bodies/{which}", "GET /sluice/v1/requests/{id}/translation", "GET /api/keys/{id}/reveal", "GET /admin/api/keys/{id}/reveal",
             "GET /admin/api/config/providers/{name}/key", "GET /admin/api/internal-token", "GET /api/usage/call-logs/{id}", "GET /api/logs/detail", "GET /api/db-backups/export"}
    control = [("%s %s" % (method.upper(), path), op) for path, item in s.get("/openapi.json").json()["paths"].items()
               for method, op in item.items() if op["x-sluice-access"] in ("viewer", "member", "admin", "owner")]
    assert {name for name, op in control if not name.startswith("GET ") and not op["x-sluice-audited"]} == asks
    assert {name for name, op in control if name.startswith("GET ") and op["x-sluice-audited"]} >= shows


def test_every_changing_row_leaves_one_row_a_call(s):
    owner = sign_in(s)["token"]
    assert s.post("/sluice/v1/operators", {"name": "eve", "role": "viewer", "password": GOOD}, headers=bearer(owner),
                  auth=False).status_code == 201
    table, made, n = list(audited(s)), [], 0
    tokens = {"eve": sign_in(s, "eve", GOOD)["token"], "admin": owner}

    def call(kind, row, headers, body):
        nonlocal n
        n += 1
        method, path = row[:2]
        name = "audit-%s-%05d" % (kind, n)
        where = re.sub(r"{[a-z_]+}", "nobody", path)
        options = {"content": body, "headers": {**headers, "Content-Type": "application/json"}} if row[3] else {"headers": headers}
        options["headers"]["X-Request-Id"] = name
        r = s.http.request(method, where, **options)
        s.http.cookies.clear()
        made.append((name, kind, row, r.status_code))
        return r.status_code

    for i, row in enumerate(table):  # each row meets strangers, its like and the owner, and one more kind of refusal in turn
        access = row[2]
        if access != "public":
            assert call("stranger", row, {}, b"{}") == 401
        if access != "public" and i % 3 == 0:
            assert call("client", row, bearer(CLIENT), b"{}") in (401, 403)
        if access not in ("public", "viewer") and i % 3 == 1:
            assert call("viewer", row, bearer(tokens["eve"]), b"{}") == 403
        if row[0] != "GET" and access != "public" and i % 3 == 2:
            assert call("csrf", row, {"Cookie": "sluice_session=" + tokens["admin"], "Sec-Fetch-Site": "cross-site"}, b"{}") == 403
        if row[3] and i % 2 == 0:
            call("nonsense", row, bearer(tokens["admin"]), b"[")
        call("owner", row, bearer(tokens["admin"]), b"{}")
        if "session" in row[1] or "logout" in row[1]:  # it may have ended ours
            tokens = {"eve": sign_in(s, "eve", GOOD)["token"], "admin": sign_in(s)["token"]}
    # refusals are written behind their answers, by several threads
    certain = {name for name, _, (_, path, access, _), status in made if not (access == "public" and status < 400 and "logout" in path)}
    wait_for(lambda: certain <= everything(s).keys(), "every call stands in the log")
    log = everything(s)
    for name, kind, (method, path, access, _), status in made:
        rows = log.get(name, [])
        what = (kind, method, path, status, rows)
        if access == "public" and status < 400 and "logout" in path and not rows:
            continue  # nobody was signed in any more
        assert len(rows) == 1 or (status < 300 and len(rows) > 1), what
        for row in rows:
            assert (row["method"], row["path"].replace("*}", "}"), row["status"]) == (method, path, status), what
            assert row["kind"] and row["address"] == "127.0.0.1" and (row["outcome"] == "ok") == (status < 300), what
            who = {"stranger": ("anonymous", ""), "client": ("client_key", "client"), "viewer": ("operator", "eve"),
                   "csrf": ("operator", "admin")}.get(kind, ("operator", "admin"))
            if access != "public" and not (kind == "client" and status == 401):
                assert (row["actor_kind"], row["actor"]) == who, what
            if "{" in path:
                assert "nobody" in row["object"] or status < 300, what
    assert len(made) > 250
    assert len(table) > 90


def test_what_shows_secrets_and_bodies_is_recorded(s):
    made = s.post("/admin/api/keys", {"label": "shown"}).json()["key"]["id"]
    for path in ("/admin/api/internal-token", "/admin/api/keys/%s/reveal" % made, "/api/keys/%s/reveal" % made,
                 "/admin/api/config/providers/plain/key", "/api/logs/detail"):
        r = s.get(path, headers={"X-Request-Id": "shows-" + path.replace("/", "-")[-40:]})
        assert r.status_code == 200, r.text
        (row,) = everything(s, 10)["shows-" + path.replace("/", "-")[-40:]]
        assert row["outcome"] == "ok" and row["actor"] == "operator" and row["status"] == 200
    for path in ("/sluice/v1/keys", "/admin/api/config", "/api/providers", "/sluice/v1/audit"):
        assert s.get(path, headers={"X-Request-Id": "only-reads-it"}).status_code == 200
    assert s.post("/sluice/v1/route/explain", {"model": "echo"}, headers={"X-Request-Id": "only-reads-it"}).status_code == 200
    assert "only-reads-it" not in everything(s, 10)


def test_before_and_after(s):
    def of(name, method, path, body=None, **options):
        r = s.call(method, path, body, headers={"X-Request-Id": name}, **options)
        assert r.status_code < 300, r.text
        return [(row["before"], row["after"]) for row in everything(s, 10)[name]]

    ((before, after),) = of("ban-first", "POST", "/sluice/v1/ip-filter/bans", {"address": "203.0.113.9", "reason": "one"})
    assert before is None and after["reason"] == "one" and after["until"]
    ((before, after),) = of("ban-again", "POST", "/sluice/v1/ip-filter/bans", {"address": "203.0.113.9", "reason": "two"})
    assert before["reason"] == "one" and after["reason"] == "two"
    ((before, after),) = of("ban-lifted", "DELETE", "/sluice/v1/ip-filter/bans/203.0.113.9")
    assert before["reason"] == "two" and after is None
    ((before, after),) = of("omni-ban-1", "PUT", "/api/settings/ip-filter", {"tempBan": {"ip": "203.0.113.8", "reason": "x"}})
    assert before is None and after["reason"] == "x"
    ((before, after),) = of("omni-ban-2", "PUT", "/api/settings/ip-filter", {"removeBan": "203.0.113.8"})
    assert before["reason"] == "x" and after is None
    price = {"provider": "plain", "model": "m", "price": {"input": 1, "output": 2}}
    ((before, after),) = of("price-set-1", "POST", "/sluice/v1/prices", price)
    assert before is None and after == price["price"]
    ((before, after),) = of("price-gone", "DELETE", "/sluice/v1/prices", params={"provider": "plain", "model": "m"})
    assert before == price["price"] and after is None
    ((before, after),) = of("import-one", "POST", "/sluice/v1/prices/import", {"prices": {"plain/m": price["price"]}})
    assert after["rows"] == 1
    ((before, after),) = of("import-gone", "DELETE", "/sluice/v1/prices/import")
    assert before == {"rows": 1} and after is None
    ((before, after),) = of("backup-one", "PUT", "/api/db-backups")
    assert after["size"] > 0
    ((before, after),) = of("cache-none", "DELETE", "/sluice/v1/cache")
    assert before == {"answers": 0} and after is None
    ((before, after),) = of("cache-stat", "DELETE", "/sluice/v1/cache/stats")
    assert before["response"] == {"hits": 0, "misses": 0} and after is None


def test_a_create_that_is_sent_again_says_so(s):
    for name, outcome in (("sent-once-1", "ok"), ("sent-again-1", "replayed")):
        r = s.post("/sluice/v1/keys", {"label": "again"}, headers={"X-Request-Id": name, "Idempotency-Key": "audited"})
        assert r.status_code == 201
        (row,) = everything(s, 10)[name]
        assert (row["outcome"], row["status"]) == (outcome, 201)


def test_strangers_cannot_fill_it(scripted, start_sluice):
    """Of their refusals only so many are kept; what people with a role are refused has room of its own."""
    s = start_sluice(configuration(scripted.origin, audit_refusals_per_minute=5, login_max_failures=1000), key=ADMIN)
    for i in range(40):
        headers = {"X-Request-Id": "stranger-%03d" % i}
        assert s.call("DELETE", "/sluice/v1/keys/k", auth=False, headers=headers if i % 2 else {**headers, **bearer(CLIENT)}).status_code in (401, 403)
    assert s.call("DELETE", "/sluice/v1/operators/x", headers={"X-Request-Id": "admin-refused"}).status_code == 403
    wait_for(lambda: "admin-refused" in everything(s), "the refusal of somebody known stands in the log")
    log = everything(s)
    assert sum(name.startswith("stranger-") for name in log) == 5
    (row,) = log["admin-refused"]
    assert row["outcome"] == "insufficient_scope" and row["actor"] == "operator"
    text = s.get("/metrics").text
    assert re.search(r"^sluice_audit_left_out_total 35$", text, re.M), [line for line in text.splitlines() if "audit" in line]
