"""Organisations and users: whom keys belong to; where they stand, what follows from them, how they go."""
import json
import time

import pytest
from gateway import KEY, Sluice

ADMIN = "sk-admin-0123456789abcdef"
CHAT = {"model": "echo", "messages": [{"role": "user", "content": "hello"}]}


def config(keys=(), **sections):
    return {"providers": {"echo": {"type": "echo"}}, "models": {"echo": "echo"}, **sections,
            "server": {"api_keys": [{"id": "ad000001", "key": ADMIN, "scopes": ["inference", "models", "admin"]}, *keys]}}


def chat(s, key):
    return s.call("POST", "/v1/chat/completions", CHAT, headers={"Authorization": "Bearer " + key}, auth=False)


def test_an_organisation_its_user_and_their_keys(start_sluice):
    s = start_sluice(config(), key=ADMIN)
    made = s.post("/sluice/v1/orgs", {"id": "acme", "name": "Acme", "limits": {"requests_per_day": 1000}})
    assert made.status_code == 201 and made.json()["limits"] == {"requests_per_day": 1000} and made.json()["enabled"] is True
    assert s.post("/sluice/v1/users", {"id": "ada@acme", "name": "Ada", "org": "acme"}).status_code == 201
    by_user = s.post("/sluice/v1/keys", {"label": "ada", "user": "ada@acme", "tags": ["batch", "eu"]}).json()
    by_org = s.post("/sluice/v1/keys", {"label": "all", "org": "acme"}).json()
    assert by_user["tags"] == ["batch", "eu"] and by_user["user"] == "ada@acme" and by_user["org"] == ""
    assert s.get("/sluice/v1/orgs/acme").json()["keys"] == 2 and s.get("/sluice/v1/users/ada@acme").json()["keys"] == 1
    assert [k["id"] for k in s.get("/sluice/v1/keys?tags=eu").json()["data"]] == [by_user["id"]]
    assert [u["id"] for u in s.get("/sluice/v1/users?org=acme").json()["data"]] == ["ada@acme"]
    assert chat(s, by_user["key"]).status_code == 200 == chat(s, by_org["key"]).status_code

    assert s.call("PATCH", "/sluice/v1/users/ada@acme", {"enabled": False}).status_code == 200
    refused = chat(s, by_user["key"])
    assert refused.status_code == 403 and refused.json()["error"]["code"] == "user_disabled"
    assert chat(s, by_org["key"]).status_code == 200
    assert s.call("PATCH", "/sluice/v1/users/ada@acme", {"enabled": True}).status_code == 200
    assert s.call("PATCH", "/sluice/v1/orgs/acme", {"enabled": False, "name": "Acme Ltd"}).json()["name"] == "Acme Ltd"
    for key in (by_user, by_org):
        refused = chat(s, key["key"])
        assert refused.status_code == 403 and refused.json()["error"]["code"] == "org_disabled"

    refused = s.call("DELETE", "/sluice/v1/orgs/acme")
    assert refused.status_code == 409 and refused.json()["error"]["code"] == "in_use"
    assert s.call("DELETE", "/sluice/v1/orgs/acme?detach=true").status_code == 204
    assert s.get("/sluice/v1/users/ada@acme").json()["org"] == "" and s.get("/sluice/v1/keys/" + by_org["id"]).json()["org"] == ""
    assert chat(s, by_org["key"]).status_code == 200
    assert s.call("DELETE", "/sluice/v1/users/ada@acme?detach=true").status_code == 204
    assert s.get("/sluice/v1/keys/" + by_user["id"]).json()["user"] == ""
    assert s.get("/sluice/v1/users").json()["data"] == [] == s.get("/sluice/v1/orgs").json()["data"]


def test_those_of_the_file_and_a_change_of_one_field_leaves_the_others(start_sluice):
    s = start_sluice(config(orgs={"acme": {"name": "Acme", "limits": {"concurrency": 5}}}, users={"ada": {"org": "acme"}}, keys=[
        {"id": "k0000001", "key": KEY, "user": "ada", "tags": ["x"], "limits": {"requests_per_minute": 7},
         "schedule": {"from": "00:00", "until": "24:00", "time_zone": "Europe/Berlin"}}]), key=ADMIN)
    before = s.get("/sluice/v1/keys/k0000001").json()
    assert before["limits"] == {"requests_per_minute": 7} and before["schedule"]["time_zone"] == "Europe/Berlin"
    assert s.get("/sluice/v1/orgs/acme").json()["origin"] == "file"
    after = s.call("PATCH", "/sluice/v1/keys/k0000001", {"tags": ["y", "z"]}).json()
    assert after == {**before, "tags": ["y", "z"]}
    after = s.call("PATCH", "/sluice/v1/keys/k0000001", {"limits": {}, "schedule": {}, "user": ""}).json()
    assert (after["limits"], after["schedule"], after["user"], after["tags"]) == ({}, {}, "", ["y", "z"])
    written = json.loads(s.config_path.read_text())
    assert written["server"]["api_keys"][1] == {"id": "k0000001", "key": KEY, "tags": ["y", "z"]}
    assert s.call("PATCH", "/sluice/v1/orgs/acme", {"limits": {"concurrency": 6}}).status_code == 200
    assert json.loads(s.config_path.read_text())["orgs"] == {"acme": {"name": "Acme", "limits": {"concurrency": 6}}}


@pytest.mark.parametrize("path, body, field", [
    ("/sluice/v1/keys", {"org": "nobody"}, "org"), ("/sluice/v1/keys", {"user": "nobody"}, "user"),
    ("/sluice/v1/users", {"org": "nobody"}, "org"), ("/sluice/v1/orgs", {"id": "a/b"}, "id"),
    ("/sluice/v1/orgs", {"limits": {"tokens_per_minute": -5}}, "limits.tokens_per_minute"),
    ("/sluice/v1/keys", {"schedule": {"from": "25:00"}}, "schedule.from"),
    ("/sluice/v1/keys", {"schedule": {"time_zone": "Europe/Atlantis"}}, "schedule.time_zone"),
    ("/sluice/v1/keys", {"tags": [""]}, "tags"),
])
def test_what_cannot_be(orgs_sluice, path, body, field):
    r = orgs_sluice.post(path, body)
    assert r.status_code == 400 and r.json()["error"]["param"] == field, r.text


@pytest.fixture(scope="module")
def orgs_sluice(calls, tmp_path_factory):
    s = Sluice(tmp_path_factory.mktemp("orgs"), config(), calls, key=ADMIN)
    yield s
    s.stop()


def test_a_file_that_names_an_organisation_that_is_not_there_is_refused_with_its_place(start_sluice):
    s = start_sluice(config(), key=ADMIN)
    s.write_config(config(keys=[{"id": "k0000001", "key": KEY, "org": "ghost"}]))
    r = s.post("/sluice/v1/reload")
    assert r.status_code == 400 and "There is no org 'ghost'" in r.text and "sluice.jsonc:" in r.text


def test_a_schedule_closes_a_key_and_opens_it(start_sluice):
    s = start_sluice(config(keys=[{"id": "k0000001", "key": KEY}]), key=ADMIN)
    path = "/sluice/v1/keys/k0000001"
    never = {"days": ["mon", "tue", "wed", "thu", "fri", "sat", "sun"], "from": "00:00", "until": "24:00"}
    assert s.call("PATCH", path, {"schedule": never}).status_code == 200 and chat(s, KEY).status_code == 200
    hour = time.gmtime().tm_hour
    closed = {"from": "%02d:00" % ((hour + 2) % 24), "until": "%02d:00" % ((hour + 3) % 24)}
    assert s.call("PATCH", path, {"schedule": closed}).status_code == 200
    for url, body in (("/v1/chat/completions", CHAT), ("/v1/messages", {**CHAT, "max_tokens": 5})):
        r = s.call("POST", url, body, headers={"Authorization": "Bearer " + KEY}, auth=False)
        assert r.status_code == 403 and "schedule" in r.json()["error"]["message"]
    assert s.call("PATCH", path, {"schedule": {**closed, "paused": True}}).status_code == 200
    assert chat(s, KEY).status_code == 200
