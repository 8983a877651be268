"""Combos, fallback chains and aliases: as they are configured, and how requests really go."""
import os

import pytest
from gateway import KEY, provider

ADMIN = "sk-admin-0123456789abcdef"


def config_of(origin, **more):
    """Two providers at one scripted upstream, told apart by the path, with two models."""
    return {"providers": {"a": provider("chat", origin + "/a"), "b": provider("chat", origin + "/b"), "c": provider("chat", origin + "/c")},
            "models": {"ma": "a", "mb": {"provider": "b", "upstream_model": "up-b"}, "mc": "c"},
            "server": {"api_keys": [{"id": "c1", "key": KEY, "label": "client"},
                                    {"id": "ad000001", "key": ADMIN, "label": "operator", "scopes": ["inference", "models", "admin"]}],
                       **more.pop("server", {})}, **more}


@pytest.fixture
def admin(start_sluice, scripted):
    s = start_sluice(config_of(scripted.origin))
    s.key = ADMIN
    return s


def ask(s, model, **more):
    return s.post("/v1/chat/completions", {"model": model, "messages": [{"role": "user", "content": "hi"}]}, **more)


def who(s, model, **more):
    """The provider that answered."""
    r = ask(s, model, **more)
    assert r.status_code == 200, r.text
    return r.headers["x-sluice-upstream"]


# ---- configuration ----

def test_combos_are_made_changed_renamed_and_deleted(admin):
    made = admin.post("/sluice/v1/combos", {"name": "smart", "strategy": "weighted", "members": [{"model": "ma", "weight": 3}, {"model": "mb"}]})
    assert made.status_code == 201, made.text
    combo = made.json()
    assert combo["strategy"] == "weighted" and [m["weight"] for m in combo["members"]] == [3, 1] and combo["origin"] == "file"
    assert admin.get("/sluice/v1/combos/" + combo["id"]).json()["name"] == "smart"
    assert [c["name"] for c in admin.get("/sluice/v1/combos").json()["data"]] == ["smart"]
    assert "smart" in [m["id"] for m in admin.get("/v1/models").json()["data"]]
    assert who(admin, "smart") in "ab"
    tag = admin.get("/sluice/v1/combos/smart").headers["etag"]
    assert admin.call("PATCH", "/sluice/v1/combos/smart", {"enabled": False}, headers={"If-Match": '"x"'}).status_code == 412
    r = admin.call("PATCH", "/sluice/v1/combos/smart", {"strategy": "priority", "max_retries": 2}, headers={"If-Match": tag})
    assert r.status_code == 200 and r.json()["max_retries"] == 2 and len(r.json()["members"]) == 2
    # what refers to it follows its name, and its id stays
    assert admin.post("/sluice/v1/combos", {"name": "outer", "members": [{"model": "smart"}, {"model": "mc"}]}).status_code == 201
    assert admin.post("/sluice/v1/aliases", {"alias": "best", "to": "smart"}).status_code == 201
    r = admin.call("PATCH", "/sluice/v1/combos/smart", {"name": "clever"})
    assert r.status_code == 200 and r.json()["id"] == combo["id"], r.text
    assert admin.get("/sluice/v1/combos/outer").json()["members"][0]["model"] == "clever"
    assert admin.get("/sluice/v1/aliases/best").json()["to"] == "clever"
    assert who(admin, "best") == "a" and who(admin, "outer") == "a"
    assert ask(admin, "smart").status_code == 404
    # deleting says who needs it
    r = admin.call("DELETE", "/sluice/v1/combos/clever")
    assert r.status_code == 409 and "combo 'outer'" in r.text and "alias 'best'" in r.text
    assert admin.call("DELETE", "/sluice/v1/combos/clever?cascade=true").status_code == 204
    assert [m["model"] for m in admin.get("/sluice/v1/combos/outer").json()["members"]] == ["mc"]
    assert admin.get("/sluice/v1/aliases/best").status_code == 404


def test_what_cannot_be_a_combo_is_refused_by_field(admin):
    for body, field in (({"name": "x", "members": []}, "members"), ({"name": "x", "members": [{"model": "nope"}]}, "members[0].model"),
                        ({"name": "x", "members": [{"model": "ma", "provider": "zz"}]}, "members[0].provider"),
                        ({"name": "x", "strategy": "best", "members": [{"model": "ma"}]}, "strategy"),
                        ({"name": "x", "members": [{"model": "x"}]}, "members"),
                        ({"name": "x", "max_retries": 11, "members": [{"model": "ma"}]}, "max_retries"),
                        ({"name": "x", "auto": {"cost": 2}, "members": [{"model": "ma"}]}, "auto"),
                        ({"name": "", "members": [{"model": "ma"}]}, "name")):
        r = admin.post("/sluice/v1/combos", body)
        assert r.status_code == 400 and r.json()["error"]["param"] == field, (body, r.text)
    assert admin.get("/sluice/v1/combos").json()["data"] == []
    assert admin.post("/sluice/v1/combos", {"name": "x", "members": [{"model": "ma"}]}).status_code == 201
    assert admin.post("/sluice/v1/combos", {"name": "x", "members": [{"model": "ma"}]}).status_code == 409
    assert admin.get("/sluice/v1/combos/none").status_code == 404
    assert admin.call("PATCH", "/sluice/v1/combos/none", {"enabled": True}).status_code == 404


def test_combos_in_combos_end_somewhere(admin):
    for name, to in (("d", "ma"), ("c", "d"), ("b", "c"), ("a1", "b")):
        assert admin.post("/sluice/v1/combos", {"name": name, "members": [{"model": to}]}).status_code == 201
    assert who(admin, "a1") == "a"
    r = admin.post("/sluice/v1/combos", {"name": "a0", "members": [{"model": "a1"}]})
    assert r.status_code == 400 and "levels" in r.text  # one deeper than three
    r = admin.call("PATCH", "/sluice/v1/combos/d", {"members": [{"model": "b"}]})
    assert r.status_code == 400 and "back to itself" in r.text
    assert admin.get("/sluice/v1/combos/d").json()["members"][0]["model"] == "ma"


def test_renaming_and_deleting_providers_and_models_keeps_references_whole(admin):
    assert admin.post("/sluice/v1/combos", {"name": "k", "members": [{"model": "ma"}, {"model": "b/x"}, {"model": "ma", "provider": "b"}]}).status_code == 201
    assert admin.call("PUT", "/sluice/v1/chains/ma", {"chain": [{"provider": "c"}, {"provider": "b", "priority": -1}]}).status_code == 200
    assert admin.post("/sluice/v1/aliases", {"alias": "b-*", "to": "b/y", "priority": 3}).status_code == 201
    assert admin.call("PATCH", "/sluice/v1/providers/b", {"name": "bb"}).status_code == 200
    assert admin.call("PATCH", "/sluice/v1/models/ma", {"name": "mm"}).status_code == 200
    members = admin.get("/sluice/v1/combos/k").json()["members"]
    assert [(m["model"], m.get("provider", "")) for m in members] == [("mm", ""), ("bb/x", ""), ("mm", "bb")]
    chain = admin.get("/sluice/v1/chains/mm").json()["chain"]
    assert [link["provider"] for link in chain] == ["bb", "c"]
    assert admin.get("/sluice/v1/chains/ma").status_code == 404
    assert admin.get("/sluice/v1/aliases/b-*").json()["to"] == "bb/y"
    r = admin.call("DELETE", "/sluice/v1/models/mm")
    assert r.status_code == 409 and "combo 'k'" in r.text and "chain 'mm'" in r.text
    r = admin.call("DELETE", "/sluice/v1/providers/c")
    assert r.status_code == 409
    assert admin.call("DELETE", "/sluice/v1/models/mb").status_code == 204
    r = admin.call("DELETE", "/sluice/v1/providers/bb")
    assert r.status_code == 409 and "alias 'b-*'" in r.text and "combo 'k'" in r.text, r.text
    assert admin.call("DELETE", "/sluice/v1/providers/bb?cascade=true").status_code == 204
    assert [m["model"] for m in admin.get("/sluice/v1/combos/k").json()["members"]] == ["mm"]
    assert [link["provider"] for link in admin.get("/sluice/v1/chains/mm").json()["chain"]] == ["c"]
    assert admin.get("/sluice/v1/aliases").json()["data"] == []
    assert admin.call("DELETE", "/sluice/v1/models/mm?cascade=true").status_code == 204
    assert admin.get("/sluice/v1/combos").json()["data"] == [] and admin.get("/sluice/v1/chains").json()["data"] == []


def test_chains_and_aliases_are_refused_by_field(admin):
    for body, field in (({"chain": []}, "chain"), ({"chain": [{"provider": "zz"}]}, "chain"), ({"chain": [{"priority": 1}]}, "chain[0].provider")):
        r = admin.call("PUT", "/sluice/v1/chains/ma", body)
        assert r.status_code == 400 and r.json()["error"]["param"] == field, r.text
    for body, field in (({"alias": "x", "to": "nope"}, "to"), ({"alias": "x", "to": "x"}, "to"), ({"alias": "x"}, "to"), ({"alias": "", "to": "ma"}, "alias")):
        r = admin.post("/sluice/v1/aliases", body)
        assert r.status_code == 400 and r.json()["error"]["param"] == field, r.text
    assert admin.post("/sluice/v1/aliases", {"alias": "x", "to": "ma"}).status_code == 201
    assert who(admin, "x") == "a"
    assert admin.call("PATCH", "/sluice/v1/aliases/x", {"to": "mc"}).json()["to"] == "mc"
    assert who(admin, "x") == "c"
    assert admin.call("DELETE", "/sluice/v1/aliases/x").status_code == 204
    assert ask(admin, "x").status_code == 404
    assert admin.call("PUT", "/sluice/v1/chains/ma", {"chain": [{"provider": "c"}]}).status_code == 200
    assert [c["model"] for c in admin.get("/sluice/v1/chains").json()["data"]] == ["ma"]
    assert admin.call("DELETE", "/sluice/v1/chains/ma").status_code == 204


def test_the_file_is_edited_where_it_stands(start_sluice, scripted):
    text = """{
  "providers": {"a": {"type": "openai-compatible", "base_url": "%s/a/v1"}, "b": {"type": "openai-compatible", "base_url": "%s/b/v1"}},
  "models": {"ma": "a", "mb": "b"},
  "combos": {
    "smart": { // our best
      "members": [
        "ma", // first
        {"model": "mb", "weight": 2} // second
      ],
      "x_note": 1
    }
  },
  "aliases": {"fast": "ma" /* quick */},
  "server": {"api_keys": [{"id": "ad000001", "key": "%s", "scopes": ["inference", "models", "admin"]}]}
}""" % (scripted.origin, scripted.origin, ADMIN)
    s = start_sluice(text)
    s.key = ADMIN
    assert who(s, "smart") == "a" and who(s, "fast") == "a"
    assert s.call("PATCH", "/sluice/v1/combos/smart", {"strategy": "random"}).status_code == 200
    assert s.call("PATCH", "/sluice/v1/models/mb", {"name": "m2"}).status_code == 200
    assert s.call("PATCH", "/sluice/v1/aliases/fast", {"enabled": False}).status_code == 200
    now = s.config_path.read_text()
    for part in ("// our best", '"ma", // first', '{"model": "m2", "weight": 2} // second', '"x_note": 1', '"random"', "/* quick */"):
        assert part in now, now
    assert ask(s, "fast").status_code == 404


def test_a_file_that_leads_in_a_circle_does_not_load(start_sluice, scripted):
    s = start_sluice(config_of(scripted.origin, combos={"x": {"members": ["ma"]}}))
    s.key = ADMIN
    s.write_config(config_of(scripted.origin, combos={"x": {"members": ["y"]}, "y": {"members": ["x"]}}))
    r = s.post("/sluice/v1/reload")
    assert r.status_code == 400 and "back to itself" in r.text and "combos.x" in r.text
    assert who(s, "x") == "a"  # the old one serves


def test_what_stands_in_the_store_is_changed_there(start_sluice, scripted):
    s = start_sluice(config_of(scripted.origin))
    s.key = ADMIN
    os.chmod(s.config_path, 0o444)
    assert s.post("/sluice/v1/models", {"name": "stored", "targets": [{"provider": "c"}]}).status_code == 201
    assert s.post("/sluice/v1/combos", {"name": "k", "members": [{"model": "stored"}, {"model": "c/x"}]}).json()["origin"] == "api"
    assert s.post("/sluice/v1/combos", {"name": "k2", "members": [{"model": "k"}]}).status_code == 201
    r = s.call("PATCH", "/sluice/v1/combos/k", {"members": [{"model": "k2"}]})
    assert r.status_code == 400 and "back to itself" in r.text
    assert s.call("PUT", "/sluice/v1/chains/c%2Fx", {"chain": [{"provider": "b"}]}).status_code == 200
    assert s.post("/sluice/v1/aliases", {"alias": "al", "to": "k2"}).status_code == 201
    assert s.call("PATCH", "/sluice/v1/settings/global_fallback_model", {"value": "k"}).status_code == 200
    assert who(s, "al") == "c"
    assert s.call("PATCH", "/sluice/v1/combos/k", {"name": "kk", "sticky": "prefix"}).json()["sticky"] == "prefix"
    assert s.call("PATCH", "/sluice/v1/models/stored", {"name": "kept"}).status_code == 200
    assert [m["model"] for m in s.get("/sluice/v1/combos/kk").json()["members"]] == ["kept", "c/x"]
    assert s.get("/sluice/v1/combos/k2").json()["members"][0]["model"] == "kk"
    assert s.get("/sluice/v1/settings/global_fallback_model").json()["value"] == "kk"
    r = s.call("DELETE", "/sluice/v1/combos/kk")
    assert r.status_code == 409 and "global_fallback_model" in r.text
    assert s.call("DELETE", "/sluice/v1/combos/kk?cascade=true").status_code == 204
    assert s.get("/sluice/v1/combos").json()["data"] == [] and s.get("/sluice/v1/aliases").json()["data"] == []
    # a version brings all of it back
    versions = s.get("/sluice/v1/config/versions").json()["data"]
    assert s.post("/sluice/v1/config/versions/%d/rollback" % versions[1]["id"]).status_code == 200
    assert [c["name"] for c in s.get("/sluice/v1/combos").json()["data"]] == ["k2", "kk"]
    os.chmod(s.config_path, 0o644)


# ---- names ----

def test_names_lead_where_they_should(start_sluice, scripted):
    s = start_sluice(config_of(
        scripted.origin, combos={"ma/b": {"members": ["mb"]}, "off": {"members": ["ma"], "enabled": False}},
        aliases={"one": "mc", "m?-*": {"to": "ma/b", "priority": 1}, "gpt-*": "ma", "gpt-4*": "mc", "MC*": "ma", "old-*": {"to": "ma", "enabled": False}}))
    assert who(s, "ma/b") == "b"  # a combo's name may hold a slash
    assert ask(s, "off").status_code == 404
    assert who(s, "one") == "c"
    assert who(s, "mx-9") == "b"
    assert who(s, "gpt-3") == "a" and who(s, "gpt-4o") == "c"  # the pattern that says more
    assert who(s, "mc") == "c"  # a served name is not caught by a pattern to a model
    assert who(s, "mcx") == "a"  # in any case
    assert ask(s, "old-x").status_code == 404
    assert who(s, "b/whatever") == "b"
    names = [m["id"] for m in s.get("/v1/models").json()["data"]]
    assert {"ma/b", "one", "ma"} <= set(names) and not {"off", "gpt-*"} & set(names) and len(names) == len(set(names))


def test_a_kind_of_provider_is_a_pool_of_accounts(start_sluice, scripted):
    config = config_of(scripted.origin)
    config["providers"]["b"]["priority"] = -1
    s = start_sluice(config)
    assert who(s, "openai-compatible/any") == "b"
