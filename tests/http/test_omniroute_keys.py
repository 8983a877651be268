"""OmniRoute's surface: client keys. Names say which acceptance check of the contract a test shows (docs/omniroute.md)."""
import re

import pytest
from omni import ADMIN, invalid, ok, omni_config, refused, start

CHAT = {"model": "echo", "messages": [{"role": "user", "content": "hi"}]}


@pytest.fixture(scope="module")
def s(scripted, calls, tmp_path_factory):
    running = start(tmp_path_factory.mktemp("omni"), scripted.origin, calls)
    yield running
    running.stop()


def make(s, **body):
    return ok(s.api("POST", "/keys", {"name": "made", **body}), 201)


def use(s, key, model="echo"):
    return s.post("/v1/chat/completions", {**CHAT, "model": model}, headers=s.auth(key), auth=False)


def test_a_key_is_shown_once_then_masked(s):
    made = make(s, name="ci")
    assert re.fullmatch("sk-.{40,}", made["key"]) and made["name"] == made["label"] == "ci" and made["machineId"]
    assert use(s, made["key"]).status_code == 200
    listed = {k["id"]: k for k in ok(s.api("GET", "/keys"))["keys"]}
    one = ok(s.api("GET", "/keys/" + made["id"]))
    assert listed[made["id"]] == one
    assert one["name"] == "ci" and one["isActive"] is True and one["allowedModels"] == [] and one["accessSchedule"] is None
    assert "****" in one["key"] and made["key"] not in one["key"] and one["keyPreview"] == made["key"][-4:]
    assert one["maxRequestsPerDay"] is None and one["maxRequestsPerMinute"] is None and one["createdAt"].endswith("Z")
    assert made["key"] not in s.api("GET", "/keys").text and ADMIN not in s.api("GET", "/keys").text
    whole = listed["0a1b2c3d"]["key"]  # its text stands in the file: first eight, last four
    assert whole == s.key[:8] + "****" + s.key[-4:]
    assert ok(s.api("DELETE", "/keys/" + made["id"]))["message"]
    assert use(s, made["key"]).status_code == 401
    refused(s.api("DELETE", "/keys/" + made["id"]), 404)


def test_the_seeds_name_of_the_name(s):
    made = ok(s.api("POST", "/keys", {"label": "seed"}), 201)
    assert made["name"] == "seed"
    invalid(s.api("POST", "/keys", {}), "name")
    invalid(s.api("POST", "/keys", {"name": " "}), "name")
    invalid(s.api("POST", "/keys", {"name": "x" * 201}), "name")
    invalid(s.api("POST", "/keys", {"name": 1}), "name")
    invalid(s.api("POST", "/keys", b"["), "body")
    assert make(s, unknown="dropped")["id"]


def test_reveal_takes_the_operators_leave(s, start_sluice, scripted):
    made = make(s)
    refused(s.api("GET", "/keys/%s/reveal" % made["id"]), 403)
    assert ok(s.api("GET", "/keys"))["allowKeyReveal"] is False
    other = start_sluice(omni_config(scripted.origin, credential_visible=True))
    admin = {"headers": {"Authorization": "Bearer " + ADMIN}, "auth": False}
    made = ok(other.call("POST", "/api/keys", {"name": "seen"}, **admin), 201)
    r = other.call("GET", "/api/keys/%s/reveal" % made["id"], **admin)
    assert ok(r) == {"key": made["key"]} and r.headers["cache-control"] == "no-store"
    assert ok(other.call("GET", "/api/keys", **admin))["allowKeyReveal"] is True
    kinds = [(r["kind"], r["object"]) for r in ok(other.call("GET", "/sluice/v1/audit", **admin))["data"]]
    assert ("reveal", "key " + made["id"]) in kinds


def test_check_11_inactive_and_unknown_keys(s):
    made = make(s, isActive=False)
    assert use(s, made["key"]).status_code == 403
    assert use(s, "sk-unknown-0000000000").status_code == 401
    r = s.post("/api/v1/embeddings", {"model": "echo", "input": "x"}, headers=s.auth("sk-unknown-0000000000"), auth=False)
    assert r.status_code == 401
    assert ok(s.api("PATCH", "/keys/" + made["id"], {"isActive": True}))["key"]["isActive"] is True
    assert use(s, made["key"]).status_code == 200


def test_check_12_allowed_models(s):
    made = make(s, allowedModels=["openai/*", "echo"])
    assert use(s, made["key"]).status_code == 200
    assert use(s, made["key"], "to-chat").status_code == 403
    ok(s.api("PATCH", "/keys/" + made["id"], {"allowedModels": []}))
    assert ok(s.api("GET", "/keys/" + made["id"]))["allowedModels"] == []
    assert use(s, made["key"], "to-chat").status_code == 200
    invalid(s.api("PATCH", "/keys/" + made["id"], {"allowedModels": ["x"] * 1001}), "allowedModels")
    invalid(s.api("PATCH", "/keys/" + made["id"], {"allowedModels": [1]}), "allowedModels[0]")


def test_check_13_schedules(s):
    """The arithmetic of the hours is test_policy's and test_orgs'; here: what is said is kept, and obeyed."""
    night = {"enabled": True, "from": "22:00", "until": "06:00", "days": [0, 6], "tz": "Europe/Berlin"}
    made = make(s, accessSchedule=night)
    assert ok(s.api("GET", "/keys/" + made["id"]))["accessSchedule"] == night
    ok(s.api("PATCH", "/keys/" + made["id"], {"accessSchedule": {**night, "enabled": False}}))
    assert use(s, made["key"]).status_code == 200
    lost = {"enabled": True, "from": "00:00", "until": "00:01", "days": [], "tz": "Nowhere/At all"}
    assert "warning" not in ok(s.api("PATCH", "/keys/" + made["id"], {"accessSchedule": {**lost, "tz": "Europe/Berlin"}}))
    got = ok(s.api("PATCH", "/keys/" + made["id"], {"accessSchedule": lost}))
    assert use(s, made["key"]).status_code == 200  # a zone that nobody knows: allowed, and said
    assert "'Nowhere/At all'" in got["warning"] and got["key"]["accessSchedule"]["enabled"] is False
    other = make(s, accessSchedule=lost)
    assert "'Nowhere/At all'" in other["warning"] and use(s, other["key"]).status_code == 200 and "warning" not in make(s, accessSchedule=night)
    assert ok(s.api("PATCH", "/keys/" + made["id"], {"accessSchedule": None}))["key"]["accessSchedule"] is None
    invalid(s.api("PATCH", "/keys/" + made["id"], {"accessSchedule": {"enabled": True, "days": [7]}}), "accessSchedule.days")


def test_check_16_patches(s):
    made = make(s)
    path = "/keys/" + made["id"]
    assert s.api("PATCH", path, {}).status_code == 400
    invalid(s.api("PATCH", path, {"allowedConnections": ["x"]}), "allowedConnections")
    ok(s.api("PATCH", path, {"allowedConnections": []}))
    assert ok(s.api("GET", path))["allowedConnections"] == []
    got = ok(s.api("PATCH", path, {"name": "renamed", "maxRequestsPerMinute": "7", "maxRequestsPerDay": 100}))
    assert got["message"] and got["key"]["name"] == "renamed"
    assert (got["key"]["maxRequestsPerMinute"], got["key"]["maxRequestsPerDay"]) == (7, 100)
    got = ok(s.api("PATCH", path, {"maxRequestsPerMinute": None}))["key"]
    assert (got["maxRequestsPerMinute"], got["maxRequestsPerDay"]) == (None, 100)
    ok(s.api("PATCH", path, {"isActive": False}))
    assert use(s, made["key"]).status_code == 403  # at once
    refused(s.api("PATCH", "/keys/nobody", {"name": "x"}), 404)


def test_check_15_sessions_are_counted(s):
    """Check 15: the second conversation of a key with one seat is refused, the first goes on; by name, and by how it began."""
    made = make(s, maxSessions=1)
    assert ok(s.api("GET", "/keys/" + made["id"]))["maxSessions"] == 1

    def talk(text, session=None, **more):
        headers = {**s.auth(made["key"]), **({"X-Session-Id": session} if session else {})}
        return s.post("/v1/chat/completions", {"model": "echo", "messages": [{"role": "user", "content": text}, *more.get("then", [])]}, headers=headers, auth=False)

    first = talk("one", "abc")
    assert first.status_code == 200 and first.headers["x-omniroute-session-id"] == "ext:abc"
    r = talk("two", "xyz")
    assert r.status_code == 429 and r.headers["x-omniroute-session-id"] == "ext:xyz" and 1700 < int(r.headers["retry-after"]) <= 1800
    assert talk("two").status_code == 429 and talk("other text", "abc").status_code == 200
    shown = [x for x in s.get("/sluice/v1/limits?kind=sessions", auth=False, headers={"Authorization": "Bearer " + ADMIN}).json()["data"] if x["id"] == made["id"]]
    assert [(x["limit"], x["used"], x["remaining"]) for x in shown] == [(1, 1, 0)] and shown[0]["reset_ms"] > 1700000
    ok(s.api("PATCH", "/keys/" + made["id"], {"maxSessions": 2, "name": "two"}))
    assert talk("begin").status_code == 200  # recognised by how it began
    assert talk("begin", then=[{"role": "assistant", "content": "x"}, {"role": "user", "content": "go on"}]).status_code == 200
    assert talk("begin otherwise").status_code == 429
    ok(s.api("PATCH", "/keys/" + made["id"], {"maxSessions": 0}))
    assert talk("begin otherwise").status_code == 200


def test_check_49_a_conversation_has_a_name(s):
    """Check 49: the client's own on every conversation; else, of a key whose sessions are counted, one made of how it began."""
    def session(key, headers=None, path="/v1/chat/completions", **body):
        r = s.post(path, body, headers={**s.auth(key), **(headers or {})}, auth=False)
        assert r.status_code in (200, 404), r.text
        return r.headers.get("x-omniroute-session-id")

    plain, counted = make(s)["key"], make(s, maxSessions=100)["key"]
    talk = {"model": "echo", "messages": [{"role": "system", "content": "s"}, {"role": "user", "content": "hi"}]}
    for name in ("X-Session-Id", "x_session_id", "X-OmniRoute-Session", "Session-Id"):
        assert session(plain, {name: "abc"}, **talk) == session(counted, {name: "abc"}, **talk) == "ext:abc"
    assert session(plain, {"X-Session-Id": "y" * 99}, **talk) == "ext:" + "y" * 64
    assert session(plain, {"X-Session-Id": "abc"}, stream=True, **talk) == "ext:abc"
    assert session(plain, {"X-Session-Id": "abc"}, **{**talk, "model": "none"}) == "ext:abc"  # refused
    assert session(plain, {"X-Session-Id": "abc"}, "/v1/embeddings", model="echo", input="hi") is None  # none
    tools = [{"type": "function", "function": {"name": n, "parameters": {"type": "object"}}} for n in "fg"]
    first = session(counted, tools=tools, **talk)
    assert len(first) == 16 and session(counted, tools=tools[::-1], **talk) == first
    assert session(counted, tools=tools, model="echo", messages=[*talk["messages"], {"role": "assistant", "content": "x"}, {"role": "user", "content": "y"}]) == first
    others = [session(counted, tools=tools[:1], **talk), session(counted, tools=tools, model="echo", messages=talk["messages"][1:]),
              session(counted, tools=tools, model="echo", messages=[talk["messages"][0], {"role": "user", "content": "ho"}])]
    assert len({first, *others}) == 4


def test_check_15_connections_are_held_to(s, scripted):
    """Check 15, allowedConnections: a key is served by these alone, whatever they are called."""
    scripted.reset()
    two = [s.add(provider="together", name=n, apiKey="k-%s-123456789" % n, url=scripted.origin + "/v1") for n in ("first", "second")]
    made = make(s, allowedConnections=[two[1]["id"]])
    assert ok(s.api("GET", "/keys/" + made["id"]))["allowedConnections"] == [two[1]["id"]]

    def asked():
        return [r.header("authorization").split("-")[1] for r in scripted.requests]

    assert use(s, made["key"], "together/m").status_code == 200 and asked() == ["second"]
    r = use(s, made["key"])
    assert r.status_code == 403 and r.json()["error"]["code"] == "provider_not_allowed", r.text
    ok(s.api("POST", "/combos", {"name": "held", "models": ["echo", "together/m"]}), 201)
    assert use(s, made["key"], "held").status_code == 200 and asked() == ["second"] * 2  # past what it may not use
    admin = {"auth": False, "headers": {"Authorization": "Bearer " + ADMIN}}
    was = s.get("/sluice/v1/keys/" + made["id"], **admin).json()["providers"]
    ok(s.api("PATCH", "/providers/" + two[1]["id"], {"name": "other"}))
    assert s.call("PATCH", "/sluice/v1/providers/" + was[0], {"name": "renamed"}, **admin).status_code == 200
    assert s.get("/sluice/v1/keys/" + made["id"], **admin).json()["providers"] == ["renamed"]
    assert use(s, made["key"], "together/m").status_code == 200 and asked() == ["second"] * 3
    r = s.call("PATCH", "/sluice/v1/keys/" + made["id"], {"providers": ["nobody"]}, **admin)
    assert r.status_code == 400 and "providers" in r.text
    ok(s.api("DELETE", "/providers/" + two[1]["id"]))
    assert use(s, made["key"], "together/m").status_code == 403  # what is gone opens nothing else
    ok(s.api("PATCH", "/keys/" + made["id"], {"allowedConnections": []}))
    assert use(s, made["key"], "together/m").status_code == 200 and asked()[-1] == "first"
    ok(s.api("DELETE", "/combos/held"))
    ok(s.api("DELETE", "/providers/" + two[0]["id"]))


def test_what_would_not_be_obeyed_is_not_taken(s):
    made = make(s)
    invalid(s.api("PATCH", "/keys/" + made["id"], {"autoResolve": False}), "autoResolve")
    ok(s.api("PATCH", "/keys/" + made["id"], {"autoResolve": True}))


def test_no_log_is_no_log_on_both_sides(s):
    """That it binds shows test_omniroute_usage's check 52."""
    made = make(s, noLog=True)
    path, ours = "/keys/" + made["id"], lambda: s.get("/sluice/v1/keys/" + made["id"], auth=False, headers={"Authorization": "Bearer " + ADMIN}).json()
    assert ok(s.api("GET", path))["noLog"] is True and ours()["no_log"] is True
    assert ok(s.api("PATCH", path, {"name": "other"}))["key"]["noLog"] is True  # what is not named stays
    assert ok(s.api("PATCH", path, {"noLog": False}))["key"]["noLog"] is False and ours()["no_log"] is False


def test_the_same_key_on_every_surface(s):
    made = make(s, name="shared")
    assert s.get("/sluice/v1/keys/" + made["id"], auth=False, headers={"Authorization": "Bearer " + ADMIN}).json()["label"] == "shared"
    assert made["id"] in [k["id"] for k in s.get("/admin/api/keys", auth=False, headers={"Authorization": "Bearer " + ADMIN}).json()["keys"]]
