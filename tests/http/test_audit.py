"""The audit log: who changed what, from where, with what outcome; readable by administrators only."""
import pytest
from test_control import ADMIN, admin  # noqa: F401  (a fixture)


def rows(s, **params):
    r = s.get("/sluice/v1/audit", params=params)
    assert r.status_code == 200, r.text
    return r.json()["data"]


def test_changes_are_recorded_and_reads_are_not(admin):  # noqa: F811
    assert rows(admin) == []
    made = admin.post("/sluice/v1/keys", {"label": "guest"}, headers={"X-Request-Id": "req-of-the-test"})
    assert made.status_code == 201
    admin.get("/sluice/v1/keys")
    assert admin.call("PATCH", "/sluice/v1/keys/" + made.json()["id"], {"enabled": False}).status_code == 200
    log = rows(admin)
    assert [(r["id"], r["method"], r["path"]) for r in log] == [(2, "PATCH", "/sluice/v1/keys/{id}"), (1, "POST", "/sluice/v1/keys")]
    assert log[1]["actor_kind"] == "admin_key" and log[1]["actor"] == "operator" and log[1]["actor_id"] == "ad000001"
    assert log[1]["address"] == "127.0.0.1" and log[1]["request_id"] == "req-of-the-test"
    assert log[1]["outcome"] == "ok" and log[1]["status"] == 201
    assert log[0]["object"] == made.json()["id"]
    assert made.json()["key"] not in admin.get("/sluice/v1/audit").text


def test_failures_are_recorded_with_their_code(admin):  # noqa: F811
    assert admin.call("DELETE", "/sluice/v1/keys/nobody").status_code == 404
    (row,) = rows(admin)
    assert row["outcome"] == "not_found" and row["status"] == 404 and row["object"] == "nobody"


def test_filters_and_pages(admin):  # noqa: F811
    for i in range(5):
        assert admin.post("/sluice/v1/keys", {"label": "k%d" % i}).status_code == 201
    admin.call("DELETE", "/sluice/v1/keys/nobody")
    assert len(rows(admin, limit=2)) == 2
    for order, expected in (({}, [6, 5, 4, 3, 2, 1]), ({"sort": "-at"}, [6, 5, 4, 3, 2, 1]), ({"sort": "at"}, [1, 2, 3, 4, 5, 6])):
        seen, after = [], None
        while True:
            page = admin.get("/sluice/v1/audit", params={"limit": 2, **order, **({"after": after} if after else {})}).json()
            seen += [r["id"] for r in page["data"]]
            after = page["next"]
            assert page["has_more"] is (after is not None)
            if after is None:
                break
        assert seen == expected
    assert [r["id"] for r in rows(admin, outcome="not_found")] == [6]
    assert [r["id"] for r in rows(admin, object="nobody")] == [6]
    assert rows(admin, actor="nobody") == [] and rows(admin, until="2020-01-01T00:00:00Z") == []
    assert len(rows(admin, since="2020-01-01T00:00:00Z")) == 6
    for bad in ({"limit": 0}, {"limit": "x"}, {"after": -1}, {"since": "yesterday"}, {"sort": "actor"}):
        r = admin.get("/sluice/v1/audit", params=bad)
        assert r.status_code == 400 and next(iter(bad)) in r.text, bad


@pytest.mark.parametrize("who, status", [(None, 401), ("client", 403)])
def test_not_for_everybody(admin, who, status):  # noqa: F811
    headers = admin.auth(admin.client_key) if who else {}
    assert admin.get("/sluice/v1/audit", auth=False, headers=headers).status_code == status
