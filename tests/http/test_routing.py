"""Combos, fallback chains and aliases: as they are configured, and how requests really go."""
import asyncio
import contextlib
import json
import os
import signal
import socket
import sqlite3
import threading

import pytest
from formats import FORMATS
from formats.common import Turn
from gateway import KEY, Sluice, provider, wait_for
from upstream import failure, head, silence

CHAT = FORMATS["chat"]
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


@pytest.mark.parametrize("file", [True, False])
def test_a_model_that_takes_the_name_of_its_alias(start_sluice, scripted, file):
    """Of an alias that would lead to itself nothing is left; others follow to the new name."""
    s = start_sluice(config_of(scripted.origin, **({"aliases": {"short": {"to": "ma"}, "also": "ma"}} if file else {})))
    s.key = ADMIN
    for name in () if file else ("short", "also"):
        assert s.post("/sluice/v1/aliases", {"alias": name, "to": "ma"}).status_code == 201
    assert who(s, "short") == "a"
    assert s.call("PATCH", "/sluice/v1/models/ma", {"name": "short"}).status_code == 200
    assert {a["alias"]: a["to"] for a in s.get("/sluice/v1/aliases").json()["data"]} == {"also": "short"}
    assert who(s, "short") == who(s, "also") == "a"


@pytest.mark.parametrize("file", [True, False], ids=["file", "store"])
def test_a_renamed_model_stays_what_it_was(start_sluice, scripted, upstream, file):
    """It asks the vendor for the same model; policies and settings that name it follow; so they do when its provider is renamed."""
    s = start_sluice(config_of(scripted.origin, server={"system_prompt_except": "x-*, ma ,b/*", "global_fallback_model": "ma"}))
    s.key = ADMIN
    if not file:
        (s.folder / "sluice.jsonc").chmod(0o400)
        assert s.post("/sluice/v1/models", {"name": "mine", "targets": [{"provider": "a", "weight": 3}]}).status_code == 201
    name = "ma" if file else "mine"
    assert s.call("PUT", "/sluice/v1/policies/no", {"model": name, "key": "c1", "action": "deny"}).status_code == 200
    assert s.call("PUT", "/sluice/v1/policies/wide", {"model": "m*", "key": "nobody", "action": "deny"}).status_code == 200
    assert s.call("PUT", "/sluice/v1/policies/of-b", {"model": "b/x", "key": "nobody", "action": "deny"}).status_code == 200
    assert s.call("PATCH", "/sluice/v1/models/" + name, {"name": "team"}).status_code == 200
    assert who(s, "team") == "a" and upstream.last.json["model"] == name
    assert ask(s, "team", headers=s.auth(KEY)).status_code == 403, "the refusal went with the old name"
    of = {p["name"]: p["model"] for p in s.get("/sluice/v1/policies").json()["data"]}
    assert of == {"no": "team", "wide": "m*", "of-b": "b/x"}
    if file:
        assert s.get("/sluice/v1/settings/system_prompt_except").json()["value"] == "x-*,team,b/*"
        assert s.get("/sluice/v1/settings/global_fallback_model").json()["value"] == "team"
        assert s.call("PATCH", "/sluice/v1/providers/b", {"name": "bb"}).status_code == 200
        assert s.get("/sluice/v1/settings/system_prompt_except").json()["value"] == "x-*,team,bb/*"
        assert {p["name"]: p["model"] for p in s.get("/sluice/v1/policies").json()["data"]}["of-b"] == "bb/x"
    (s.folder / "sluice.jsonc").chmod(0o600)


def names_of(s):
    """What policies, keys and aliases name."""
    return ({p["name"]: p["model"] for p in s.get("/sluice/v1/policies").json()["data"]},
            {k["label"]: k["allowed_models"] for k in s.get("/sluice/v1/keys").json()["data"] if k["allowed_models"]},
            {a["alias"]: a["to"] for a in s.get("/sluice/v1/aliases").json()["data"]})


def test_who_names_an_alias_follows_it(admin):
    assert admin.post("/sluice/v1/aliases", {"alias": "fast", "to": "ma"}).status_code == 201
    assert admin.post("/sluice/v1/aliases", {"alias": "fast-*", "to": "mb"}).status_code == 201
    narrow = admin.post("/sluice/v1/keys", {"label": "narrow", "allowed_models": ["fast", "fast-*"]}).json()["key"]
    assert admin.call("PUT", "/sluice/v1/policies/no", {"model": "fast", "key": "c1", "action": "deny"}).status_code == 200
    assert ask(admin, "fast", headers=admin.auth(KEY)).status_code == 403 and ask(admin, "fast", headers=admin.auth(narrow)).status_code == 200
    assert admin.call("PATCH", "/sluice/v1/aliases/fast", {"alias": "faster"}).status_code == 200
    assert ask(admin, "faster", headers=admin.auth(KEY)).status_code == 403 and ask(admin, "faster", headers=admin.auth(narrow)).status_code == 200
    assert admin.call("PATCH", "/sluice/v1/aliases/fast-*", {"alias": "quick-*"}).status_code == 200  # a pattern is nobody's name
    assert names_of(admin) == ({"no": "faster"}, {"narrow": ["faster", "fast-*"]}, {"faster": "ma", "quick-*": "mb"})


@pytest.mark.parametrize("file", [True, False], ids=["file", "store"])
def test_who_names_a_combo_does_not_follow_a_model_of_its_name(start_sluice, scripted, file):
    """A combo goes before a model, and a model before an alias, of the same name: what names it means the first."""
    more = {"combos": {"ma": {"members": [{"model": "mc"}]}}, "aliases": {"to-it": "ma"}, "policies": {"no": {"model": "ma", "key": "c1", "action": "deny"}}}
    s = start_sluice(config_of(scripted.origin, **(more if file else {})))
    s.key = ADMIN
    if not file:
        assert s.post("/sluice/v1/combos", {"name": "ma", "members": [{"model": "mc"}]}).status_code == 201
        assert s.post("/sluice/v1/aliases", {"alias": "to-it", "to": "ma"}).status_code == 201
        assert s.call("PUT", "/sluice/v1/policies/no", {"model": "ma", "key": "c1", "action": "deny"}).status_code == 200
    narrow = s.post("/sluice/v1/keys", {"label": "narrow", "allowed_models": ["ma", "to-it"]}).json()["key"]
    before = names_of(s)
    assert who(s, "ma") == who(s, "to-it") == "c"
    assert s.call("PATCH", "/sluice/v1/models/ma", {"name": "mx"}).status_code == 200
    assert names_of(s) == before and who(s, "to-it") == "c" and who(s, "mx") == "a"
    assert ask(s, "ma", headers=s.auth(KEY)).status_code == 403 and ask(s, "ma", headers=s.auth(narrow)).status_code == 200
    assert s.post("/sluice/v1/aliases", {"alias": "mb", "to": "mc"}).status_code == 201  # hidden by the model mb
    assert s.call("PUT", "/sluice/v1/policies/of-mb", {"model": "mb", "key": "c1", "action": "deny"}).status_code == 200
    assert s.call("PATCH", "/sluice/v1/aliases/mb", {"alias": "mz"}).status_code == 200
    assert names_of(s)[0] == {"no": "ma", "of-mb": "mb"}
    assert s.call("DELETE", "/sluice/v1/combos/ma").status_code == 409, "the policy and the alias would lead nowhere"


def test_what_is_only_about_somebody_goes_with_them(admin):
    """Budgets and policies of a key, organisation or user that is deleted; others stay."""
    key = admin.post("/sluice/v1/keys", {"label": "k"}).json()["id"]
    assert admin.post("/sluice/v1/orgs", {"id": "acme"}).status_code == 201 and admin.post("/sluice/v1/users", {"id": "ann"}).status_code == 201
    for name, scope, subject in (("bk", "key", key), ("bo", "org", "acme"), ("bu", "user", "ann"), ("bt", "tag", "acme"), ("ba", "all", "")):
        assert admin.post("/sluice/v1/budgets", {"name": name, "scope": scope, "subject": subject, "limit_usd": 1, "period": "day"}).status_code == 201
    assert admin.call("PUT", "/sluice/v1/policies/of-k", {"key": key, "action": "deny"}).status_code == 200
    assert admin.call("PUT", "/sluice/v1/policies/of-all", {"model": "zz", "action": "deny"}).status_code == 200
    for path in ("keys/" + key, "orgs/acme", "users/ann"):
        assert admin.call("DELETE", "/sluice/v1/" + path).status_code == 204
    assert [b["name"] for b in admin.get("/sluice/v1/budgets").json()["data"]] == ["ba", "bt"]
    assert [p["name"] for p in admin.get("/sluice/v1/policies").json()["data"]] == ["of-all"]


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


def vendors(origin, **more):
    """An OpenAI account under a name of its own, a DeepSeek entry called so, and two kinds that have the same models."""
    config = config_of(origin, **more)
    config["providers"] = {"oa": provider("chat", origin + "/oa", type="openai"), "deepseek": provider("chat", origin + "/ds", type="deepseek"),
                           "cn": provider("chat", origin + "/cn", type="moonshot"), "out": provider("chat", origin + "/out", type="kimi"),
                           "anthropic": provider("chat", origin + "/not", type="openai-compatible")}
    config["models"] = {"gpt-off": {"provider": "oa", "enabled": False}, "plain": "cn"}
    return config


def test_a_vendors_model_by_its_bare_name(start_sluice, scripted):
    config = vendors(scripted.origin, aliases={"fast": "gpt-4o-mini", "gpt-x*": "deepseek-chat"}, combos={"k": {"members": ["deepseek-reasoner"]}},
                     chains={"gpt-chained": ["cn"]})
    s = start_sluice(config)
    for name, at, sent in (("gpt-4o", "oa", "gpt-4o"), ("o3", "oa", "o3"), ("deepseek-chat", "deepseek", "deepseek-chat"), ("openai/gpt-4o", "oa", "gpt-4o"),
                           ("ds/deepseek-chat", "deepseek", "deepseek-chat"), ("fast", "oa", "gpt-4o-mini"), ("gpt-x1", "deepseek", "deepseek-chat"),
                           ("k", "deepseek", "deepseek-reasoner"), ("gpt-chained", "cn", "gpt-chained"), ("gpt-4o[1m]", "oa", "gpt-4o")):
        assert who(s, name) == at and scripted.last.json["model"] == sent, name
    # what is switched off, whose vendor is not there (an entry that is only called so is another kind's), and what is nobody's
    for name in ("gpt-off", "claude-sonnet-4-5", "gemini-2.5-pro", "gpt-oss-120b", "whatever"):
        r = ask(s, name)
        assert r.status_code == 404 and r.json()["error"]["code"] == "model_not_found", name
    r = ask(s, "kimi-k2-thinking")
    assert r.status_code == 400 and r.json()["error"]["code"] == "ambiguous_model", r.text
    assert "'kimi/kimi-k2-thinking' or 'moonshot/kimi-k2-thinking'" in r.json()["error"]["message"]
    s.key = ADMIN
    assert explain(s, "gpt-4o")["model"] == "openai/gpt-4o"


def test_rules_see_which_vendors_model_a_name_means(start_sluice, scripted):
    scripted.reset()
    config = vendors(scripted.origin, policies={"no": {"model": "deepseek/deepseek-chat", "action": "deny"}, "not that": {"model": "openai/gpt-4o", "action": "deny"}})
    config["server"]["api_keys"][0]["allowed_models"] = ["openai/gpt-4*", "deepseek/*", "plain", "o3"]
    s = start_sluice(config)
    for name, code in (("gpt-4o", "policy_denied"), ("openai/gpt-4o", "policy_denied"), ("deepseek-chat", "policy_denied"), ("ds/deepseek-chat", "policy_denied"),
                       ("gpt-5", "model_not_allowed"), ("o1", "model_not_allowed")):
        r = ask(s, name)
        assert r.status_code == 403 and r.json()["error"]["code"] == code, (name, r.text)
    assert asked(scripted) == []
    assert [who(s, name) for name in ("gpt-4o-mini", "o3", "deepseek-reasoner", "ds/deepseek-reasoner", "plain")] == ["oa", "oa", "deepseek", "deepseek", "cn"]


def test_a_kind_of_provider_is_a_pool_of_accounts(start_sluice, scripted):
    config = config_of(scripted.origin)
    config["providers"]["b"]["priority"] = -1
    s = start_sluice(config)
    assert who(s, "openai-compatible/any") == "b"


# ---- how requests go ----

MEMBERS = [{"model": "ma"}, {"model": "mb"}, {"model": "mc"}]


def routed(start_sluice, scripted, members=None, server=None, **combo):
    scripted.reset()
    s = start_sluice(config_of(scripted.origin, combos={"k": {"members": members or MEMBERS, **combo}}, server={"route_seed": 3, **(server or {})}))
    s.client_key, s.key = s.key, ADMIN
    return s


def plays(scripted, **scripts):
    """A script for each of some providers; the others answer as usual."""
    async def script(conn, request):
        await (scripts.get(request.path.split("/")[1]) or scripted.default(request))(conn, request)
    scripted.reset()
    scripted.play(script)


def failing_first(scripted, script):
    """That script once, then as usual."""
    left = [script]

    async def play(conn, request):
        await (left.pop() if left else scripted.default(request))(conn, request)
    return play


def asked(scripted):
    """The providers that were asked, in order."""
    with scripted.lock:
        return [r.path.split("/")[1] for r in scripted.requests]


def broken(status, **headers):
    return failure(CHAT, status, "it does not work", headers=[(k.replace("_", "-"), v) for k, v in headers.items()])


def explain(s, model, **more):
    r = s.post("/sluice/v1/route/explain", {"model": model, **more})
    assert r.status_code == 200, r.text
    return r.json()


def counts(s, n=60, model="k"):
    seen = {"a": 0, "b": 0, "c": 0}
    for _ in range(n):
        seen[who(s, model)] += 1
    return seen


def test_round_robin_and_strict_random_share_evenly(start_sluice, scripted):
    s = routed(start_sluice, scripted, strategy="round-robin", sticky_limit=2)
    assert [who(s, "k") for _ in range(8)] == list("aabbccaa")
    s = routed(start_sluice, scripted, strategy="strict-random")
    order = [who(s, "k") for _ in range(30)]
    assert all(set(order[i:i + 3]) == set("abc") for i in range(0, 30, 3))
    assert all(x != y for x, y in zip(order, order[1:]))


def test_combos_in_combos_and_models_of_several_accounts_share_evenly(start_sluice, scripted):
    config = config_of(scripted.origin)
    config["server"]["target_strategy"] = "round-robin"
    config["models"]["ab"] = {"targets": ["a", "b"]}
    config["models"]["cb"] = {"targets": ["c", "b"]}
    config["combos"] = {"k": {"strategy": "round-robin", "members": ["ab", "cb"]},
                        "inner": {"strategy": "round-robin", "members": ["ma", "mb"]},
                        "outer": {"strategy": "strict-random", "members": ["inner", "mc"]}}
    s = start_sluice(config)
    assert counts(s, 12) == {"a": 3, "b": 6, "c": 3}
    seen = [who(s, "outer") for _ in range(12)]
    assert {n: seen.count(n) for n in "abc"} == {"a": 3, "b": 3, "c": 6}


def test_weighted_and_random_draw(start_sluice, scripted):
    s = routed(start_sluice, scripted, members=[{"model": "ma", "weight": 8}, {"model": "mb", "weight": 2}, {"model": "mc", "weight": 0}], strategy="weighted")
    seen = counts(s, 100)
    assert seen["c"] == 0 and 60 <= seen["a"] <= 95, seen
    seen = counts(routed(start_sluice, scripted, strategy="random"), 60)
    assert all(5 <= n <= 40 for n in seen.values()), seen


def test_cost_priority_and_fill_first_have_an_order(start_sluice, scripted):
    members = [{"model": "ma", "price_nanousd": 900, "priority": 2}, {"model": "mb", "priority": 1}, {"model": "mc", "price_nanousd": 100, "priority": 3}]
    assert counts(routed(start_sluice, scripted, members, strategy="cost-optimized"), 3) == {"a": 0, "b": 0, "c": 3}
    assert counts(routed(start_sluice, scripted, members, strategy="priority"), 3) == {"a": 0, "b": 3, "c": 0}
    assert counts(routed(start_sluice, scripted, members, strategy="fill-first"), 3) == {"a": 0, "b": 3, "c": 0}
    s = routed(start_sluice, scripted, members, strategy="auto", auto={"cost": 1, "health": 0, "latency": 0, "explore": 0})
    assert counts(s, 3)["c"] == 3


def test_use_and_load_spread(start_sluice, scripted):
    seen = counts(routed(start_sluice, scripted, strategy="least-used"), 9)
    assert seen == {"a": 3, "b": 3, "c": 3}
    for strategy in ("p2c", "latency"):
        seen = counts(routed(start_sluice, scripted, strategy=strategy), 30)
        assert sum(seen.values()) == 30 and sum(n > 0 for n in seen.values()) >= 2, (strategy, seen)


def test_targets_of_a_model_have_a_strategy_too(start_sluice, scripted):
    config = config_of(scripted.origin)
    config["models"]["m"] = {"targets": [{"provider": "a", "weight": 0}, {"provider": "b", "weight": 1}], "strategy": "weighted"}
    s = start_sluice(config)
    assert who(s, "m") == "b"


def test_conversations_and_prefixes_stick(start_sluice, scripted):
    s = routed(start_sluice, scripted, strategy="random", sticky="conversation")

    def say(text, system="you are", **headers):
        return s.post("/v1/chat/completions", {"model": "k", "messages": [{"role": "system", "content": system}, {"role": "user", "content": text},
                                                                          {"role": "assistant", "content": "x"}, {"role": "user", "content": os.urandom(4).hex()}]},
                      headers=headers).headers["x-sluice-upstream"]
    for i in range(4):
        assert len({say("hello %d" % i) for _ in range(4)}) == 1
    assert len({say("hello %d" % i) for i in range(20)}) > 1
    assert len({say("t%d" % i, **{"X-Session-Id": "s1"}) for i in range(6)}) == 1
    s = routed(start_sluice, scripted, strategy="random", sticky="prefix")
    assert len({say("hi %d" % i, system="A" * 50) for i in range(6)}) == 1
    assert len({say("hi", system="B%d" % i) for i in range(20)}) > 1


def test_a_failed_member_is_left_and_its_breaker_seen_and_reset(start_sluice, scripted):
    s = routed(start_sluice, scripted, max_retries=0, server={"breaker_cooldown_ms": 50_000})
    plays(scripted, a=broken(503))
    assert who(s, "k") == "b" and asked(scripted) == ["a", "b"]
    assert who(s, "k") == "b" and asked(scripted) == ["a", "b", "b"]  # it is left alone
    row, = s.get("/sluice/v1/breakers").json()["data"]
    assert (row["provider"], row["model"], row["state"], row["fault"], row["level"]) == ("a", "ma", "open", "overload", 1) and 0 < row["wait_ms"] <= 50_000
    metrics = s.get("/metrics").text
    assert 'sluice_breakers_open{upstream="a"} 1' in metrics and 'sluice_breaker_transitions_total{to="open"} 1' in metrics
    assert s.post("/sluice/v1/breakers/reset", {"provider": "zz"}).status_code == 400
    assert s.post("/sluice/v1/breakers/reset", {"provider": "a"}).json() == {"reset": 1}
    scripted.reset()
    assert who(s, "k") == "a" and s.get("/sluice/v1/breakers").json()["data"] == []
    # a vendor's own word is obeyed, and the state outlives a restart
    plays(scripted, a=broken(429, retry_after="300"))
    assert who(s, "k") == "b"
    s.stop()
    t = type(s)(s.folder, None, key=ADMIN)
    try:
        row, = t.get("/sluice/v1/breakers").json()["data"]
        assert row["state"] == "open" and row["fault"] == "quota_window" and 280000 < row["wait_ms"] <= 300000
        scripted.reset()
        assert who(t, "k") == "b" and asked(scripted) == ["b"]
        assert who(t, "ma") == "a"  # a model of one target keeps serving
        assert who(t, "k") == "a"  # and what is well is asked again
    finally:
        t.stop()


def test_retries_of_one_member(start_sluice, scripted):
    s = routed(start_sluice, scripted, max_retries=1, retry_delay_ms=1, server={"breaker_failures": 5})
    plays(scripted, a=broken(502))
    assert who(s, "k") == "b" and asked(scripted) == ["a", "a", "b"]
    scripted.reset()
    plays(scripted, a=broken(400))
    assert ask(s, "k").status_code == 400 and asked(scripted) == ["a"]  # the caller's own mistake


def test_patience_with_a_short_recovery(start_sluice, scripted):
    s = routed(start_sluice, scripted, max_retries=0, patience_ms=500, server={"breaker_cooldown_ms": 150})
    plays(scripted, a=broken(503))
    assert who(s, "k") == "b"
    first, second = scripted.requests
    assert second.at - first.at >= 0.14


def test_all_cooling_waits_or_says_when(start_sluice, scripted):
    s = routed(start_sluice, scripted, members=MEMBERS[:2], max_retries=0)
    plays(scripted, a=broken(429, retry_after="1"), b=broken(429, retry_after="300"))
    assert ask(s, "k").status_code == 429
    scripted.reset()
    assert who(s, "k") == "a" and asked(scripted) == ["a"]  # waited for the nearer one
    plays(scripted, a=broken(429, retry_after="200"))
    assert ask(s, "k").status_code == 429
    scripted.reset()
    r = ask(s, "k")
    assert r.status_code == 429 and 1 <= int(r.headers["retry-after"]) <= 200 and r.json()["error"]["code"] == "all_targets_cooling"
    assert asked(scripted) == []


def test_who_was_refused_everywhere_waits_for_the_nearest_or_is_told_of_it(start_sluice, scripted):
    """Not what the last one said: a is ready long before b."""
    for wait, nearest, status, asks in ((0, "30", 429, "ab"), (10000, "1", 200, "aba")):
        s = routed(start_sluice, scripted, members=MEMBERS[:2], max_retries=0, server={"route_wait_ms": wait})
        plays(scripted, a=failing_first(scripted, broken(429, retry_after=nearest)), b=broken(429, retry_after="300", retry_after_ms="300000"))
        r = ask(s, "k")
        assert r.status_code == status and "".join(asked(scripted)) == asks
        if status == 429:
            (seconds,) = r.headers.get_list("retry-after")
            assert 1 <= int(seconds) <= 30 and "retry-after-ms" not in r.headers
            assert ask(s, "k").json()["error"]["code"] == "all_targets_cooling"
    # an overload is not waited for, and the attempts are counted
    s = routed(start_sluice, scripted, members=MEMBERS[:2], max_retries=0)
    plays(scripted, a=broken(503), b=broken(503))
    assert ask(s, "k").status_code == 503 and asked(scripted) == ["a", "b"]
    s = routed(start_sluice, scripted, members=MEMBERS[:2], max_retries=0, server={"max_attempts": 3})
    plays(scripted, a=broken(429, retry_after="0.1"), b=broken(429, retry_after="0.1"))
    assert ask(s, "k").status_code == 429 and asked(scripted) == ["a", "b", "a"]


def test_an_answer_from_before_does_not_close_a_breaker(start_sluice, scripted):
    s = routed(start_sluice, scripted, members=MEMBERS[:2], max_retries=0)
    gate = threading.Event()

    async def late(conn, request):
        while not gate.is_set():
            await asyncio.sleep(0.005)
        await scripted.default(request)(conn, request)
    plays(scripted, a=late)
    first = []
    t = threading.Thread(target=lambda: first.append(who(s, "k")))
    t.start()
    wait_for(lambda: asked(scripted) == ["a"], "the first is under way")
    plays(scripted, a=broken(429, retry_after="60"))
    assert who(s, "k") == "b"
    gate.set()
    t.join()
    assert first == ["a"] and who(s, "k") == "b" and asked(scripted) == ["a", "b", "b"]
    row, = s.get("/sluice/v1/breakers").json()["data"]
    assert row["state"] == "open" and row["provider"] == "a"


def test_a_client_that_leaves_ends_nobody_elses_probe(start_sluice, scripted):
    s = routed(start_sluice, scripted, members=MEMBERS[:2], max_retries=0)
    opened = []

    def open_one(n):
        """A request that a holds on to, the n-th to be asked there."""
        body = json.dumps({"model": "k", "messages": [{"role": "user", "content": "hi"}]})
        c = socket.create_connection(("127.0.0.1", s.port))
        c.sendall(("POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %s\r\nContent-Type: application/json\r\n"
                   "Content-Length: %d\r\n\r\n%s" % (s.key, len(body), body)).encode())
        opened.append(c)
        wait_for(lambda: asked(scripted).count("a") == n, "it is asked")
        return c

    def breaker():
        return s.get("/sluice/v1/breakers").json()["data"][0]
    try:
        plays(scripted, a=silence)
        old = open_one(1)
        plays(scripted, a=broken(429, retry_after="1"))
        assert who(s, "k") == "b"
        plays(scripted, a=silence)
        wait_for(lambda: breaker()["state"] == "half-open", "its time is over")
        open_one(1)
        assert breaker()["is_probing"]
        gone = s.get("/sluice/v1/requests/active").json()["data"]
        old.close()
        wait_for(lambda: len(s.get("/sluice/v1/requests/active").json()["data"]) < len(gone), "it is noticed that the first left")
        assert breaker()["is_probing"] and who(s, "k") == "b" and asked(scripted).count("a") == 1
    finally:
        for c in opened:
            c.close()


def test_more_than_any_number_holds_is_as_long_as_can_be(start_sluice, scripted):
    s = routed(start_sluice, scripted, max_retries=0)
    plays(scripted, a=broken(429, retry_after="99999999999999999999"))
    assert who(s, "k") == "b"
    row, = s.get("/sluice/v1/breakers").json()["data"]
    assert row["state"] == "open" and 7 * 86400_000 < row["wait_ms"] <= 8 * 86400_000


def test_a_kill_does_not_make_breakers_forget(calls, scripted, tmp_path):
    scripted.reset()
    config = config_of(scripted.origin, combos={"k": {"members": MEMBERS[:2], "max_retries": 0}})
    s = Sluice(tmp_path / "killed", config, calls)
    s.key = ADMIN
    plays(scripted, a=broken(429, retry_after="300"))
    assert who(s, "k") == "b"

    def kept():
        with contextlib.closing(sqlite3.connect("file:%s?mode=ro" % (s.folder / "data/sluice.db"), uri=True)) as db:
            return db.execute("SELECT 1 FROM metrics WHERE key = 'breakers' AND value LIKE '%\"a\"%'").fetchall()
    wait_for(kept, "the breaker is in the store")  # at once, not with what is saved every half minute
    s.http.close()
    s.process.send_signal(signal.SIGKILL)
    s.process.wait(30)
    again = Sluice(tmp_path / "killed", None, calls)
    try:
        again.key = ADMIN
        row, = again.get("/sluice/v1/breakers").json()["data"]
        assert (row["provider"], row["state"]) == ("a", "open") and 280000 < row["wait_ms"] <= 300000
    finally:
        again.stop()


def test_a_seed_repeats_what_was_drawn_in_every_process(start_sluice, scripted):
    seen = []
    for _ in range(2):
        config = config_of(scripted.origin, server={"route_seed": 7})
        for strategy in ("strict-random", "random", "weighted"):
            config["models"]["of-" + strategy] = {"targets": [{"provider": p, "upstream_model": "m"} for p in "abc"], "strategy": strategy}
        scripted.reset()
        s = start_sluice(config)
        seen.append([who(s, m) for m in config["models"] if m.startswith("of-") for _ in range(12)])
    assert seen[0] == seen[1]


def test_the_global_fallback_is_for_those_who_may_use_it(start_sluice, scripted):
    for more, status in (({"policies": {"p": {"model": "mc", "action": "deny"}}}, 503), ({}, 503), ({"allowed": ["ma", "mc"]}, 200)):
        config = config_of(scripted.origin, server={"global_fallback_model": "mc"}, **{k: v for k, v in more.items() if k != "allowed"})
        if not more.get("policies"):
            config["server"]["api_keys"][0]["allowed_models"] = more.get("allowed", ["ma"])
        s = start_sluice(config)
        plays(scripted, a=broken(503))
        assert ask(s, "ma").status_code == status and asked(scripted) == (["a", "c"] if status == 200 else ["a"])


def test_other_names_are_no_way_around_policies_and_limits(start_sluice, scripted):
    """provider/model, an alias and a pattern lead to a model that is refused, or limited, by its name."""
    scripted.reset()
    config = config_of(scripted.origin, aliases={"al": "mb", "w-*": "mb"}, combos={"k": {"members": ["ma"]}, "own": {"members": ["mb"]}},
                       policies={"no": {"model": "mb", "action": "deny"}, "no combo": {"model": "k", "action": "deny"},
                                 "other": {"model": "a/ma", "action": "route", "target": "mc"}})
    config["aliases"]["ak"] = "k"
    config["models"]["mc"] = {"provider": "c", "limits": {"requests_per_minute": 2}}
    config["server"]["limit_queue_ms"] = 0
    s = start_sluice(config)
    for name in ("mb", "b/up-b", "al", "w-1", "k", "ak"):
        r = ask(s, name)
        assert r.status_code == 403 and r.json()["error"]["code"] == "policy_denied", name
    assert asked(scripted) == []
    assert who(s, "own") == "b"  # what the operator put together is another name
    assert who(s, "b/another") == "b" and who(s, "ma") == "a"
    assert who(s, "a/ma") == "c" and who(s, "c/mc") == "c"  # the policy, and the limit of two
    for name in ("mc", "c/mc", "a/ma"):
        assert ask(s, name).status_code == 429, name
    assert who(s, "c/another") == "c"


def test_the_global_fallback_takes_over_once(start_sluice, scripted):
    s = routed(start_sluice, scripted, members=[{"model": "ma"}], server={"global_fallback_model": "mc"}, max_retries=0)
    plays(scripted, a=broken(503), b=broken(503))
    assert who(s, "k") == "c" and who(s, "mb") == "c"
    assert "sluice_global_fallbacks_total 2" in s.get("/metrics").text
    plays(scripted, a=broken(503), b=broken(503), c=broken(503))
    assert ask(s, "mb").status_code == 503
    plays(scripted, b=broken(400))
    assert ask(s, "mb").status_code == 400


def test_a_chain_follows_the_models_own_targets(start_sluice, scripted):
    s = start_sluice(config_of(scripted.origin, chains={"ma": ["c", {"provider": "b", "priority": -1}], "a/x": ["b"], "unserved": ["c"]}))
    plays(scripted, a=broken(503))
    assert who(s, "ma") == "b" and asked(scripted) == ["a", "b"]
    assert json.loads(scripted.last.body)["model"] == "ma"
    assert who(s, "a/x") == "b" and who(s, "unserved") == "c"


def test_places_at_a_member_are_limited(start_sluice, scripted):
    s = routed(start_sluice, scripted, members=MEMBERS[:2], concurrency=1, queue_timeout_ms=100)
    gate = threading.Event()

    async def slow(conn, request):
        while not gate.is_set():
            await asyncio.sleep(0.005)
        await scripted.default(request)(conn, request)
    plays(scripted, a=slow)
    first = []
    t = threading.Thread(target=lambda: first.append(who(s, "k")))
    t.start()
    wait_for(lambda: asked(scripted) == ["a"], "the first is under way")
    assert who(s, "k") == "b"  # no place came free in time
    gate.set()
    t.join()
    assert first == ["a"] and who(s, "k") == "a"


def test_a_combos_own_time_limit(start_sluice, scripted):
    s = routed(start_sluice, scripted, timeout_ms=2000, max_retries=0)
    plays(scripted, a=silence)
    assert who(s, "k") == "b"


def test_credentials_of_one_provider_take_turns_around_a_refused_one(start_sluice, scripted):
    config = config_of(scripted.origin)
    config["providers"]["a"]["api_key"] = "good-one,bad-one"

    async def script(conn, request):
        bad = "bad-one" in request.header("authorization")
        await (broken(401) if bad else scripted.default(request))(conn, request)
    s = start_sluice(config)
    scripted.reset()
    scripted.play(script)
    seen = [ask(s, "ma").status_code for _ in range(6)]
    assert seen.count(502) == 1 and seen.count(200) == 5, seen


def test_what_an_account_may_not_use_is_not_the_other_models_fault(start_sluice, scripted):
    config = config_of(scripted.origin)
    config["models"]["t"] = {"targets": ["a", "b"]}
    s = start_sluice(config)
    s.key = ADMIN
    plays(scripted, a=failing_first(scripted, broken(403)))
    assert ask(s, "a/forbidden").status_code == 403
    assert who(s, "t") == "a"  # whoever else uses this account
    open_ones = [(b["provider"], b["model"], b["fault"]) for b in s.get("/sluice/v1/breakers").json()["data"] if b["state"] == "open"]
    assert open_ones == [("a", "forbidden", "auth")]
    plays(scripted, a=broken(403))  # two that it may not use, and nothing answered between them: so it is the account
    assert ask(s, "a/another").status_code == 403 and ask(s, "a/third").status_code == 403
    assert who(s, "t") == "b"


def test_quota_windows_are_obeyed(start_sluice, scripted):
    s = routed(start_sluice, scripted)
    body = json.dumps(CHAT.reply(Turn(text="x"), "ma")).encode()

    async def nearly_out(conn, request):
        conn.send(head(200, [("Content-Type", "application/json"), ("Content-Length", len(body)), ("x-codex-primary-used-percent", "95"),
                             ("x-codex-primary-reset-after-seconds", "9000"), ("x-codex-primary-window-minutes", "300")]) + body)
    plays(scripted, a=nearly_out)
    assert who(s, "k") == "a"
    quota, = s.get("/sluice/v1/quotas").json()["data"]
    assert (quota["provider"], quota["window"], quota["used"]) == ("a", "5h", 0.95) and quota["forecast"] > 1.8
    assert who(s, "k") == "b"  # it would run out before it is reset
    assert explain(s, "k")["candidates"][-1]["state"] == "strained"


def by_key(full=False):
    """Any upstream: a key with `bad` in it is used up (429 for an hour; full: 200, and its week is over), every other one answers with its own text."""
    async def script(conn, request):
        key = request.header("authorization").removeprefix("Bearer ")
        text = json.dumps(CHAT.reply(Turn(text=key), "m")).encode()
        if "bad" not in key:
            conn.send(head(200, [("Content-Type", "application/json"), ("Content-Length", len(text))]) + text)
        elif full:
            conn.send(head(200, [("Content-Type", "application/json"), ("Content-Length", len(text)), ("x-codex-secondary-used-percent", "100"),
                                 ("x-codex-secondary-reset-after-seconds", "500000"), ("x-codex-secondary-window-minutes", "10080")]) + text)
        else:
            await broken(429, retry_after="3600")(conn, request)
    return script


def key_used(s, model="k"):
    r = ask(s, model)
    assert r.status_code == 200, r.text
    return CHAT.read(r.content).text


def keyed(scripted, a, b="ok-b", **more):
    """Providers a and b with these credentials, and k, which asks a first."""
    return config_of(scripted.origin, combos={"k": {"members": MEMBERS[:2], "strategy": "priority", "max_retries": 0}}, providers={
        "a": provider("chat", scripted.origin + "/a", api_key=a), "b": provider("chat", scripted.origin + "/b", api_key=b)},
        models={"ma": {"provider": "a", "upstream_model": "m"}, "mb": {"provider": "b", "upstream_model": "m"}}, **more)


def change(s, whose, **what):
    r = s.call("PATCH", "/sluice/v1/providers/" + whose, what)
    assert r.status_code == 200, r.text


def left_alone(s):
    """Provider and place of what is left alone, wherever it is told."""
    rows = [(b["provider"], b["credential"]) for b in s.get("/sluice/v1/breakers").json()["data"]]
    cooling = {m["connectionId"] for m in s.get("/api/rate-limits").json()["lockouts"]}
    assert len(cooling) == len({p for p, _ in rows})
    return rows


def test_a_new_credential_has_nothing_to_answer_for(scripted, calls, tmp_path):
    scripted.reset()
    scripted.play(by_key())
    s = Sluice(tmp_path / "keys", keyed(scripted, "bad-1,good-2"), calls)
    try:
        s.key = ADMIN
        assert {key_used(s) for _ in range(4)} == {"good-2", "ok-b"} and left_alone(s) == [("a", 0)]
        # merely moved: the used up one is known at its new place, over a restart as well
        change(s, "a", api_key="good-2,bad-1")
        assert left_alone(s) == [("a", 1)]
        scripted.reset()
        scripted.play(by_key())
        assert {key_used(s) for _ in range(4)} == {"good-2"} and len(scripted.requests) == 4
        s.stop()
        s = Sluice(tmp_path / "keys", None, calls)
        s.key = ADMIN
        assert left_alone(s) == [("a", 1)] and key_used(s) == "good-2"
        # renamed: the same
        change(s, "a", name="z")
        assert left_alone(s) == [("z", 1)] and {key_used(s) for _ in range(4)} == {"good-2"}
        change(s, "z", name="a")
        assert left_alone(s) == [("a", 1)]
        # taken out: the good one stands at another place, and serves
        change(s, "a", api_key="bad-1")
        assert left_alone(s) == [("a", 0)] and key_used(s) == "ok-b" and explain(s, "k")["candidates"][-1]["state"] == "cooling"
        change(s, "a", api_key="good-2")
        assert left_alone(s) == [] and explain(s, "k")["candidates"][0]["state"] == "ready" and key_used(s) == "good-2"
        # replaced: what is saved has nothing of the old one either
        change(s, "b", api_key="bad-3")
        assert ask(s, "mb").status_code == 429 and left_alone(s) == [("b", 0)]
        change(s, "b", api_key="good-3")
        assert left_alone(s) == []
        s.stop()
        s = Sluice(tmp_path / "keys", None, calls)
        s.key = ADMIN
        assert left_alone(s) == [] and key_used(s, "mb") == "good-3"
    finally:
        s.stop()


def test_another_address_and_a_provider_made_anew_are_asked(start_sluice, scripted):
    scripted.reset()
    scripted.play(by_key())
    s = start_sluice(keyed(scripted, "bad-1"))
    s.key = ADMIN
    assert key_used(s) == "ok-b" and left_alone(s) == [("a", 0)]
    scripted.reset()  # everybody answers now, but the old address is not asked again
    assert who(s, "k") == "b"
    change(s, "a", base_url=scripted.origin + "/a2/v1")
    assert left_alone(s) == [] and who(s, "k") == "a" and asked(scripted)[-1] == "a2"
    scripted.reset()
    scripted.play(by_key())
    assert who(s, "k") == "b"
    made = {"name": "a", "type": "openai-compatible", "api_key": "brand-new", "base_url": scripted.origin + "/a2/v1"}
    assert s.call("DELETE", "/sluice/v1/providers/a?cascade=true").status_code == 204
    assert s.post("/sluice/v1/providers", made).status_code == 201
    assert s.post("/sluice/v1/models", {"name": "again", "targets": [{"provider": "a", "upstream_model": "m"}, {"provider": "b", "upstream_model": "m"}]}).status_code == 201
    assert left_alone(s) == [] and key_used(s, "again") == "brand-new"


def test_both_accounts_replaced_are_asked(start_sluice, scripted):
    scripted.reset()
    scripted.play(by_key())
    s = start_sluice(keyed(scripted, "bad-1", "bad-2"))
    s.key = ADMIN
    assert ask(s, "k").status_code == 429 and ask(s, "k").json()["error"]["code"] == "all_targets_cooling"
    change(s, "a", api_key="good")
    change(s, "b", api_key="good")
    assert key_used(s) == "good" and left_alone(s) == []


def test_a_quota_window_goes_with_its_credential(scripted, calls, tmp_path):
    scripted.reset()
    scripted.play(by_key(full=True))
    s = Sluice(tmp_path / "quota", keyed(scripted, "bad-1"), calls)

    def windows():
        return [(q["provider"], q["credential"], q["window"]) for q in s.get("/sluice/v1/quotas").json()["data"]]
    try:
        s.key = ADMIN
        assert key_used(s) == "bad-1" and key_used(s) == "ok-b" and windows() == [("a", 0, "7d")]
        change(s, "a", api_key="fresh-0,bad-1")
        assert windows() == [("a", 1, "7d")] and {key_used(s) for _ in range(4)} == {"fresh-0"}
        s.stop()
        s = Sluice(tmp_path / "quota", None, calls)
        s.key = ADMIN
        assert windows() == [("a", 1, "7d")] and {key_used(s) for _ in range(4)} == {"fresh-0"}
        # a provider's reset asks for its windows again, and they do not come back at a restart
        assert s.post("/sluice/v1/breakers/reset", {"provider": "b"}).json() == {"reset": 0} and windows()
        assert s.post("/sluice/v1/breakers/reset", {"provider": "a"}).json() == {"reset": 1} and windows() == []
        s.stop()
        s = Sluice(tmp_path / "quota", None, calls)
        s.key = ADMIN
        assert windows() == []
        # used up again, and the credential replaced
        change(s, "a", api_key="bad-1")
        assert key_used(s) == "bad-1" and key_used(s) == "ok-b"
        change(s, "a", api_key="fresh-9")
        assert windows() == [] and key_used(s) == "fresh-9"
    finally:
        s.stop()


def test_what_an_older_version_saved_by_place_is_forgotten_and_no_credential_is_saved(scripted, calls, tmp_path):
    scripted.reset()
    scripted.play(by_key())
    s = Sluice(tmp_path / "older", keyed(scripted, "bad-1,good-2"), calls)
    s.key = ADMIN
    assert {key_used(s) for _ in range(4)} == {"good-2", "ok-b"} and left_alone(s) == [("a", 0)]
    s.stop()
    with contextlib.closing(sqlite3.connect(s.folder / "data" / "sluice.db")) as db:
        text, = db.execute("SELECT value FROM metrics WHERE key = 'breakers'").fetchone()
        assert b"bad-1" not in (text if isinstance(text, bytes) else text.encode())
        rows = json.loads(text)
        assert all(len(row["mark"]) == 16 for row in rows) and rows
        for row in rows:
            del row["mark"]
        old_quota = [{"provider": "a", "key": 1, "window": "7d", "used": 1.0, "until": rows[0]["until"]}]
        for key, value in (("breakers", rows), ("quotas", old_quota)):
            db.execute("INSERT OR REPLACE INTO metrics (key, value) VALUES (?, ?)", (key, json.dumps(value)))
        db.commit()
    s = Sluice(tmp_path / "older", None, calls)
    try:
        s.key = ADMIN
        assert left_alone(s) == [] and s.get("/sluice/v1/quotas").json()["data"] == []
        assert {key_used(s) for _ in range(4)} == {"good-2", "ok-b"} and left_alone(s) == [("a", 0)]  # who is asked says so again
    finally:
        s.stop()


@pytest.mark.parametrize("stop", ["stop", "kill"])
def test_a_quota_that_is_used_up_is_known_after_a_restart(scripted, calls, tmp_path, stop):
    body = json.dumps(CHAT.reply(Turn(text="x"), "ma")).encode()

    async def used_up(conn, request):
        conn.send(head(200, [("Content-Type", "application/json"), ("Content-Length", len(body)), ("x-codex-secondary-used-percent", "100"),
                             ("x-codex-secondary-reset-after-seconds", "500000"), ("x-codex-secondary-window-minutes", "10080")]) + body)
    scripted.reset()
    plays(scripted, a=used_up)
    shape = config_of(scripted.origin, combos={"k": {"members": MEMBERS, "strategy": "priority"}})
    s = Sluice(tmp_path / "again", shape, calls)
    try:
        s.key = ADMIN
        assert who(s, "k") == "a" and who(s, "k") == "b"

        def saved():
            with contextlib.closing(sqlite3.connect(s.folder / "data" / "sluice.db")) as db:
                return any(b"7d" in row[0].encode() for row in db.execute("SELECT value FROM metrics WHERE key = 'quotas'"))
        if stop == "kill":
            wait_for(saved, "it is saved")
            s.process.send_signal(signal.SIGKILL)
            s.process.wait()
    finally:
        s.stop() if stop == "stop" else s.http.close()
    s = Sluice(tmp_path / "again", None, calls)
    try:
        s.key = ADMIN
        told = explain(s, "k")
        a = next(c for c in told["candidates"] if c["provider"] == "a")
        assert a["state"] == "cooling" and a["fault"] == "quota_window" and 400000000 < a["wait_ms"] <= 500000000
        assert who(s, "k") == "b"
        quota, = s.get("/sluice/v1/quotas").json()["data"]
        assert (quota["provider"], quota["window"], quota["used"]) == ("a", "7d", 1.0)
    finally:
        s.stop()


@pytest.mark.parametrize("strategy", ["random", "weighted", "strict-random", "round-robin", "p2c", "least-used", "auto"])
def test_what_is_told_is_what_happens(start_sluice, scripted, strategy):
    """Of each of many requests, by the answer that its client gets."""
    s = routed(start_sluice, scripted, members=[{"model": "ma", "weight": 3}, {"model": "mb", "weight": 2}, {"model": "mc"}], strategy=strategy)
    seen = set()
    for _ in range(20):
        told = next(c["provider"] for c in explain(s, "k")["candidates"] if c.get("chosen"))
        assert who(s, "k") == told
        seen.add(told)
    assert len(seen) > 1 or strategy == "auto"


def test_explained_for_whom_and_of_what(start_sluice, scripted):
    """A key's policies and models, a conversation's place, what a request needs."""
    config = config_of(scripted.origin, policies={"p": {"model": "ma", "key": "c1", "action": "route", "target": "mb"}},
                       combos={"k": {"members": MEMBERS, "strategy": "random", "sticky": "conversation"},
                               "able": {"members": ["ma", "mc"], "strategy": "auto", "auto": {**dict.fromkeys(("quota", "health", "cost", "latency", "stability", "priority", "explore"), 0), "fit": 1}}})
    config["models"]["mc"] = {"provider": "c", "capabilities": ["text", "vision"]}
    config["models"]["ma"] = {"provider": "a", "capabilities": ["text"]}
    config["server"]["api_keys"][0]["allowed_models"] = ["ma", "k", "able"]
    s = start_sluice(config)
    client, s.key = s.auth(KEY), ADMIN

    def told(model, **more):
        return next(c["provider"] for c in explain(s, model, **more)["candidates"] if c.get("chosen"))
    assert told("ma") == "a" and told("ma", key="c1") == "b" == who(s, "ma", headers=client)
    for body, field in (({"model": "mc", "key": "c1"}, "model"), ({"model": "ma", "key": "zz"}, "key"), ({"model": "ma", "request": []}, "request")):
        r = s.post("/sluice/v1/route/explain", body)
        assert r.status_code == 400 and r.json()["error"]["param"] == field, r.text
    for text in ("one", "two", "three", "four", "five"):
        said = {"messages": [{"role": "user", "content": text}]}
        at = s.post("/v1/chat/completions", {"model": "k", **said}, headers=client).headers["x-sluice-upstream"]
        why = explain(s, "k", key="c1", request=said)
        assert why["is_pinned"] and why["candidates"][0]["provider"] == at
    at = s.post("/v1/chat/completions", {"model": "k", **said}, headers={**client, "X-Session-Id": "s1"}).headers["x-sluice-upstream"]
    assert told("k", key="c1", session="s1") == at and "is_pinned" not in explain(s, "k", session="s1")
    picture = {"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "data:image/png;base64,QUFB"}}]}]}
    assert told("able") == "a" and told("able", request=picture) == "c"


def test_explained_before_and_after(start_sluice, scripted):
    s = routed(start_sluice, scripted, members=[{"model": "ma"}, {"model": "mb"}], max_retries=0, server={"breaker_cooldown_ms": 60_000})
    told = explain(s, "k")
    assert told["kind"] == "combo" and told["strategy"] == "priority"
    assert [(c["provider"], c["provider_model"], c["state"], c.get("chosen", False)) for c in told["candidates"]] == \
        [("a", "ma", "ready", True), ("b", "up-b", "ready", False)]
    down = explain(s, "k", down=["a"])["candidates"]
    assert [(c["provider"], c["state"], c.get("chosen", False)) for c in down] == [("b", "ready", True), ("a", "down", False)]
    assert explain(s, "k", exclude=["b"])["candidates"][1]["state"] == "excluded"
    assert explain(s, "ma")["candidates"][0]["why"] == "the only one"
    by_cost = routed(start_sluice, scripted, members=[{"model": "ma", "price_nanousd": 3000}, {"model": "mb"}], strategy="cost-optimized")
    down = explain(by_cost, "k", down=["a"])["candidates"]  # what is known of one that is down stays known
    assert [(c["provider"], c["why"], c["score"], c.get("price_nanousd")) for c in down] == \
        [("b", "ahead of those that are out of reach", -1, None), ("a", "by price", 3000000000, 3000)]
    assert asked(scripted) == []  # nothing was sent
    assert s.post("/sluice/v1/route/explain", {"model": "nope"}).status_code == 400
    assert s.post("/sluice/v1/route/explain", {"model": "k", "down": ["zz"]}).status_code == 400
    plays(scripted, a=broken(503))
    r = ask(s, "k")
    row = wait_for(lambda: (x := s.get("/sluice/v1/requests/" + r.headers["x-request-id"])).status_code == 200 and x.json(), "the request is logged")
    route = row["route"]
    assert route["strategy"] == "priority" and route["candidates"][0]["left"] == "overload" and route["candidates"][1]["chosen"]
    assert [t["provider"] for t in row["tried"]] == ["a", "b"]
    told = explain(s, "k")
    assert told["candidates"][1]["state"] == "cooling" and told["candidates"][1]["fault"] == "overload" and told["candidates"][0]["chosen"]
    r = ask(s, "ma")
    row = wait_for(lambda: (x := s.get("/sluice/v1/requests/" + r.headers["x-request-id"])).status_code == 200 and x.json(), "the request is logged")
    assert row["route"] is None  # there was no choice
