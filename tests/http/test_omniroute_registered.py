"""OmniRoute's surface: keys that programs have issued for them, and how many a provider and a connection give out."""
import datetime
import threading

import pytest
from gateway import wait_for
from omni import chat, invalid, ok, omni_config, refused, start

CHAT = {"model": "to-chat", "messages": [{"role": "user", "content": "hi"}]}


@pytest.fixture
def s(upstream, calls, tmp_path):
    running = start(tmp_path / "omni", upstream.origin, calls)
    yield running
    running.stop()


def issue(s, name="made", status=201, **body):
    return ok(s.api("POST", "/v1/registered-keys", {"name": name, **body}), status)


def one(s, id):
    return ok(s.api("GET", "/v1/registered-keys/" + id))["key"]


def use(s, upstream, key, model="to-chat"):
    upstream.next(chat())
    return s.post("/v1/chat/completions", {**CHAT, "model": model}, headers=s.auth(key), auth=False)


def account(s, name):
    return next(c["id"] for c in ok(s.api("GET", "/providers"))["connections"] if c["name"] == name)


def test_a_key_is_issued_once_used_and_revoked(s, upstream):
    made = issue(s, "ci", idempotencyKey="build 7")
    assert made["key"].startswith(made["keyPrefix"]) and made["name"] == "ci" and made["expiresAt"] is None and "not shown again" in made["warning"]
    assert use(s, upstream, made["key"]).status_code == 200
    shown = one(s, made["keyId"])
    assert shown["isActive"] is True and shown["createdAt"].endswith("Z") and shown["revokedAt"] is None and shown["idempotencyKey"] == "build 7"
    listed = ok(s.api("GET", "/v1/registered-keys"))
    assert listed["keys"] == [shown] and listed["total"] == 1 and made["key"] not in str(listed)
    assert s.api("GET", "/keys/" + made["keyId"]).json()["name"] == "ci"  # it is a client key like others
    again = issue(s, "other", status=409, idempotencyKey="build 7")
    assert again["errorCode"] == "IDEMPOTENCY_CONFLICT" and again["existing"]["id"] == made["keyId"]
    gone = ok(s.api("POST", "/v1/registered-keys/%s/revoke" % made["keyId"]))
    assert gone["success"] is True and gone["id"] == made["keyId"] and gone["revokedAt"]
    assert use(s, upstream, made["key"]).status_code in (401, 403)
    assert one(s, made["keyId"])["isActive"] is False and one(s, made["keyId"])["revokedAt"] == gone["revokedAt"]
    refused(s.api("POST", "/v1/registered-keys/%s/revoke" % made["keyId"]), 404)
    assert ok(s.api("DELETE", "/v1/registered-keys/" + made["keyId"]))["revokedAt"] == gone["revokedAt"]
    refused(s.api("GET", "/v1/registered-keys/" + made["keyId"]), 404)
    refused(s.api("DELETE", "/v1/registered-keys/" + made["keyId"]), 404)
    assert ok(s.api("GET", "/v1/registered-keys"))["keys"] == [] and s.api("GET", "/keys/" + made["keyId"]).status_code == 404
    issue(s, "other", status=409, idempotencyKey="build 7")  # a build is not given a second key because the first is gone
    for body, field in (({}, "name"), ({"name": ""}, "name"), ({"name": "x" * 121}, "name"), ({"name": "x", "dailyBudget": 0}, "dailyBudget"),
                        ({"name": "x", "expiresAt": "2001-01-01T00:00:00Z"}, "expiresAt"), ({"name": "x", "provider": "no-such"}, "provider"),
                        ({"name": "x", "accountId": "no-such"}, "accountId")):
        invalid(s.api("POST", "/v1/registered-keys", body), field)
    assert s.call("GET", "/api/v1/registered-keys", headers=s.auth(), auth=False).status_code == 401


def test_its_budgets_and_its_end_hold(s, upstream):
    soon = datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(days=400)
    made = issue(s, dailyBudget=2, expiresAt=soon.strftime("%Y-%m-%dT%H:%M:%SZ"))
    r = [use(s, upstream, made["key"]) for _ in range(3)]
    assert [x.status_code for x in r] == [200, 200, 429] and int(r[2].headers["retry-after"]) > 3600
    shown = one(s, made["keyId"])
    assert (shown["dailyBudget"], shown["dailyUsed"], shown["hourlyBudget"]) == (2, 2, None)
    assert shown["expiresAt"].startswith(soon.strftime("%Y-%m-%dT%H:%M:%S"))
    hourly = issue(s, hourlyBudget=1, dailyBudget=9)
    r = [use(s, upstream, hourly["key"]) for _ in range(2)]
    assert [x.status_code for x in r] == [200, 429] and 3400 < int(r[1].headers["retry-after"]) <= 3840
    shown = one(s, hourly["keyId"])
    assert (shown["hourlyBudget"], shown["hourlyUsed"], shown["dailyBudget"], shown["dailyUsed"]) == (1, 1, 9, 1)
    s.stop()
    s.__init__(s.folder, None, s.calls)  # what a day's window holds outlives the process
    assert use(s, upstream, made["key"]).status_code == 429 and one(s, made["keyId"])["dailyUsed"] == 2
    assert use(s, upstream, hourly["key"]).status_code == 429 and one(s, hourly["keyId"])["hourlyUsed"] == 1


def test_it_keeps_to_its_provider_and_connection(s, upstream):
    of_kind = issue(s, provider="anthropic")
    assert of_kind["provider"] == "anthropic"
    chat_id = account(s, "chat")
    of_account = issue(s, accountId=chat_id)
    assert use(s, upstream, of_account["key"]).status_code == 200
    assert use(s, upstream, of_kind["key"]).status_code >= 400  # to-chat is another provider's
    invalid(s.api("POST", "/v1/registered-keys", {"name": "x", "provider": "anthropic", "accountId": chat_id}), "accountId")
    assert [k["id"] for k in ok(s.api("GET", "/v1/registered-keys?provider=anthropic"))["keys"]] == [of_kind["keyId"]]
    assert [k["id"] for k in ok(s.api("GET", "/v1/registered-keys?accountId=" + chat_id))["keys"]] == [of_account["keyId"]]


def test_no_more_are_issued_than_the_quotas_say(s):
    where = "/v1/providers/anthropic/limits"
    none = {"maxActiveKeys": None, "dailyIssueLimit": None, "hourlyIssueLimit": None}
    assert {k: ok(s.api("GET", where))[k] for k in none} == none
    got = ok(s.api("PUT", where, {"maxActiveKeys": 2, "dailyIssueLimit": 4}))
    assert (got["provider"], got["maxActiveKeys"], got["dailyIssueLimit"], got["hourlyIssueLimit"], got["dailyIssued"]) == ("anthropic", 2, 4, None, 0)
    codes, made = [], []

    def ask():
        r = s.api("POST", "/v1/registered-keys", {"name": "x", "provider": "anthropic"})
        codes.append(r.status_code)
        made.extend([r.json()["keyId"]] if r.status_code == 201 else [])
    threads = [threading.Thread(target=ask) for _ in range(8)]  # of many at once no more than there is room for
    for t in threads:
        t.start()
    for t in threads:
        t.join(60)
    assert sorted(codes) == [201] * 2 + [429] * 6
    said = issue(s, status=429, provider="anthropic")
    assert said["errorCode"] == "MAX_ACTIVE_KEYS_EXCEEDED" and "(2)" in said["error"]
    check = ok(s.api("GET", "/v1/quotas/check?provider=anthropic"))
    assert (check["allowed"], check["errorCode"], check["providerActiveKeys"]) == (False, "MAX_ACTIVE_KEYS_EXCEEDED", 2)
    assert ok(s.api("GET", "/v1/quotas/check?provider=google"))["allowed"] is True
    ok(s.api("POST", "/v1/registered-keys/%s/revoke" % made[0]))
    ok(s.api("PATCH", "/keys/" + made[1], {"isActive": False}))  # switched off elsewhere, it takes no place either
    wait_for(lambda: ok(s.api("GET", "/v1/quotas/check?provider=anthropic"))["allowed"], "there is room again", 30)
    for _ in range(2):
        issue(s, provider="anthropic")
    for id in made:
        ok(s.api("DELETE", "/v1/registered-keys/" + id))  # deleted, they were issued all the same
    assert issue(s, status=429, provider="anthropic")["errorCode"] in ("PROVIDER_QUOTA_EXCEEDED", "MAX_ACTIVE_KEYS_EXCEEDED")
    ok(s.api("PUT", where, {"dailyIssueLimit": 4}))
    assert issue(s, status=429, provider="anthropic")["errorCode"] == "PROVIDER_QUOTA_EXCEEDED"
    assert ok(s.api("GET", where))["dailyIssued"] == ok(s.api("GET", where))["hourlyIssued"] == 4
    # of a connection
    id = account(s, "chat")
    got = ok(s.api("PUT", "/v1/accounts/%s/limits" % id, {"hourlyIssueLimit": 1}))
    assert got["accountId"] == id and got["hourlyIssueLimit"] == 1
    issue(s, accountId=id)
    assert issue(s, status=429, accountId=id)["errorCode"] == "ACCOUNT_QUOTA_EXCEEDED"
    assert ok(s.api("GET", "/v1/accounts/%s/limits" % id))["hourlyIssued"] == 1
    s.stop()
    s.__init__(s.folder, None, s.calls)
    assert issue(s, status=429, accountId=id)["errorCode"] == "ACCOUNT_QUOTA_EXCEEDED"
    refused(s.api("PUT", "/v1/accounts/no-such/limits", {}), 404)
    refused(s.api("GET", "/v1/providers/no-such/limits"), 404)
    invalid(s.api("PUT", where, {"maxActiveKeys": -1}), "maxActiveKeys")
