"""Configuration while serving: the file is edited in place, watched, locked; what cannot be loaded changes nothing."""
import concurrent.futures
import json
import os
import random
import re
import subprocess
import threading
import time

import httpx
import pytest
from gateway import BINARY, KEY, Sluice, wait_for

ADMIN = "sk-admin-0123456789abcdef"
KEYS = [{"id": "0a1b2c3d", "key": KEY}, {"id": "ad000001", "key": ADMIN, "scopes": ["inference", "models", "admin"]}]

MESSY = """// written by hand, loved
{
\t"$schema": "./sluice.schema.json",   /* an editor wants it */
  "providers": { // those we pay for

      "oa": { "type":"openai-compatible", "base_url": "http://127.0.0.1:9/v1", "api_key" : "${TEST_OA_KEY}" ,"x-note":{"by":"us",},
              /* a , in a comment: } */ "enabled": true }
      , "an" : {
          "api_key": "file:an.key", // rotated monthly
          "type": "anthropic",
      } // the second
  },
  "models": {"a":"oa", "b": {"provider":"an"} /* b */, "c": {"targets": ["oa", {"provider": "an", "upstream_model": "x"}]}},
  "server": { "max_attempts": ${TEST_ATTEMPTS}, "proxy": "${TEST_PROXY}", "api_keys": [
     {"id":"0a1b2c3d", "key":"%s"}, // one
     {"id":"ad000001", "key":"%s", "scopes": ["inference","models","admin"]}
  ] }
}   
// the end
""" % (KEY, ADMIN)
ENV = {"TEST_OA_KEY": "sk-from-the-environment", "TEST_ATTEMPTS": "3", "TEST_PROXY": ""}


@pytest.fixture
def messy(start_sluice, tmp_path):
    (tmp_path / "sluice0").mkdir()
    (tmp_path / "sluice0" / "an.key").write_text("sk-ant-from-a-file\n")
    return start_sluice(MESSY, env=ENV, key=ADMIN)


def text(s):
    return s.config_path.read_text(encoding="utf-8")


def test_ten_cycles_of_changes_leave_every_other_byte_of_a_file_written_by_hand(messy):
    for _ in range(10):
        assert messy.call("PATCH", "/sluice/v1/providers/an", {"enabled": False}).status_code == 200
        assert messy.post("/sluice/v1/providers", {"name": "more", "type": "echo"}).status_code == 201
        assert messy.post("/sluice/v1/models", {"name": "d/e", "targets": [{"provider": "more"}]}).status_code == 201
        assert messy.call("PATCH", "/sluice/v1/models/c", {"context_tokens": 9}).status_code == 200
        assert messy.call("PATCH", "/sluice/v1/providers/an", {"name": "claude"}).status_code == 200
        assert '"b": {"provider":"claude"} /* b */' in text(messy) and '"x-note":{"by":"us",}' in text(messy)
        made = messy.post("/sluice/v1/keys", {"label": "x"}).json()
        assert made["key"] not in text(messy) and made["id"] in text(messy)
        assert messy.call("PATCH", "/sluice/v1/settings/max_body_bytes", {"value": 4096}).status_code == 200
        for kept in ("// written by hand", "${TEST_OA_KEY}", "file:an.key", "// rotated monthly", "${TEST_ATTEMPTS}", "// the end"):
            assert kept in text(messy)
        assert messy.call("PATCH", "/sluice/v1/settings/max_body_bytes", {"value": None}).status_code == 200
        assert messy.call("DELETE", "/sluice/v1/keys/" + made["id"]).status_code == 204
        assert messy.call("PATCH", "/sluice/v1/providers/claude", {"name": "an", "enabled": True}).status_code == 200
        assert messy.call("PATCH", "/sluice/v1/models/c", {"context_tokens": -1}).status_code == 200
        assert messy.call("DELETE", "/sluice/v1/providers/more?cascade=true").status_code == 204
        assert text(messy) == MESSY
    assert "from-the-environment" not in text(messy) + messy.output()


@pytest.mark.parametrize("path, body, place", [
    ("/sluice/v1/providers/oa", {"api_key": "sk-new"}, r"sluice\.jsonc:6:\d+: 'api_key' .*\$\{TEST_OA_KEY\}"),
    ("/sluice/v1/settings/max_attempts", {"value": 5}, r"sluice\.jsonc:14:\d+: 'max_attempts' .*\$\{TEST_ATTEMPTS\}"),
    ("/sluice/v1/settings/proxy", {"value": None}, r"sluice\.jsonc:14:\d+: 'proxy' .*\$\{TEST_PROXY\}"),
])
def test_what_the_environment_gives_is_refused_with_its_place(messy, path, body, place):
    r = messy.call("PATCH", path, body)
    assert r.status_code == 409 and re.search(place, r.json()["error"]["message"]), r.text
    assert text(messy) == MESSY


def test_a_setting_from_the_environment_is_refused(start_sluice):
    s = start_sluice({"server": {"api_keys": KEYS}}, env={"SLUICE_MAX_ATTEMPTS": "2"}, key=ADMIN)
    r = s.call("PATCH", "/sluice/v1/settings/max_attempts", {"value": 5})
    assert r.status_code == 409 and "environment" in r.text, r.text


def test_a_read_only_file_is_left_alone_and_new_things_go_to_the_store(start_sluice):
    s = start_sluice({"models": {"old": "echo"}, "server": {"api_keys": KEYS}}, key=ADMIN)
    before = text(s)
    os.chmod(s.config_path, 0o444)
    for method, path, body in (("PATCH", "/sluice/v1/models/old", {"enabled": False}), ("DELETE", "/sluice/v1/models/old", None),
                               ("DELETE", "/sluice/v1/keys/0a1b2c3d", None)):
        r = s.call(method, path, body)
        assert r.status_code == 409 and str(s.config_path) in r.text and "read-only" in r.text, (path, r.text)
    r = s.post("/sluice/v1/models", {"name": "new", "targets": [{"provider": "echo"}]})
    assert r.status_code == 201 and r.json()["origin"] == "api", r.text
    assert text(s) == before
    os.chmod(s.config_path, 0o640)
    assert s.call("DELETE", "/sluice/v1/models/old").status_code == 204
    assert s.config_path.stat().st_mode & 0o777 == 0o640  # kept over the replacement
    assert [m["name"] for m in s.get("/sluice/v1/models").json()["data"]] == ["echo", "new"]


def test_a_symbolic_link_stays_one(start_sluice, tmp_path):
    (tmp_path / "elsewhere").mkdir()
    real = tmp_path / "elsewhere" / "real.jsonc"
    s = start_sluice({"server": {"api_keys": KEYS}}, key=ADMIN, link_to=real)
    assert s.config_path.is_symlink()
    assert s.post("/sluice/v1/models", {"name": "new", "targets": [{"provider": "echo"}]}).status_code == 201
    assert s.config_path.is_symlink() and '"new"' in real.read_text()
    config = json.loads(real.read_text())
    config["models"]["later"] = "echo"
    real.write_text(json.dumps(config))  # behind the link: watched too
    wait_for(lambda: s.get("/v1/models/later").status_code == 200, "the watched file is loaded")


def test_a_hundred_writers_lose_nothing(start_sluice):
    s = start_sluice({"models": {"m": {"provider": "echo", "capabilities": []}}, "server": {"api_keys": KEYS}}, key=ADMIN)

    together = threading.Barrier(100)
    s.http = httpx.Client(base_url=s.origin, timeout=240, trust_env=False, limits=httpx.Limits(max_connections=100))

    def write(i):
        together.wait(60)  # all of them at once
        one = s.call("PATCH", "/sluice/v1/models/m", {"context_tokens": i + 1}).status_code
        two = s.post("/sluice/v1/models", {"name": "w%d" % i, "targets": [{"provider": "echo"}]}).status_code
        json.loads(text(s))  # never a part of a file
        return one, two

    with concurrent.futures.ThreadPoolExecutor(100) as pool:
        assert set(pool.map(write, range(100))) == {(200, 201)}
    config = json.loads(text(s))
    assert set(config["models"]) == {"m"} | {"w%d" % i for i in range(100)}
    assert config["models"]["m"]["context_tokens"] in range(1, 101)
    assert len(s.get("/sluice/v1/models").json()["data"]) == 102
    assert not [p.name for p in s.folder.iterdir() if ".new" in p.name]


def test_garbage_while_serving_leaves_the_old_configuration_and_shows(start_sluice):
    config = {"models": {"m": "echo"}, "server": {"api_keys": KEYS}}
    s = start_sluice(config, key=ADMIN)
    good = text(s)
    made = s.post("/sluice/v1/keys", {"label": "leaked"})
    assert made.status_code == 201
    for garbage, says in (("{\n  nonsense", r"sluice\.jsonc.*line 2, column 3|sluice\.jsonc:2:3"), ("", "sluice.jsonc"),
                          ('{"models": {\n "m": 7}}', r"sluice\.jsonc:2:7")):
        s.config_path.write_text(garbage)
        wait_for(lambda: (fault := s.get("/sluice/v1/info").json()["config_faults"]) and re.search(says, fault[0]["message"]),
                 "the fault shows: " + says)  # at first it may be that of a file which is half written
        assert s.get("/readyz", auth=False).json()["status"] == "degraded"
        assert s.post("/v1/chat/completions", {"model": "m", "messages": [{"role": "user", "content": "hi"}]}).status_code == 200
        assert s.post("/sluice/v1/reload").status_code >= 400
        # an edit of the file would build on ruins
        assert s.call("PATCH", "/sluice/v1/models/m", {"enabled": False}).status_code in (400, 409)
        assert s.config_path.read_text() == garbage
        s.config_path.write_text(good)
        wait_for(lambda: not s.get("/sluice/v1/info").json()["config_faults"], "the fault is gone")
        assert s.get("/readyz", auth=False).json()["status"] == "ok"
    wait_for(lambda: "event=config.refused" in s.output() and "event=config.mended" in s.output(), "both are logged")


def test_a_key_of_the_store_can_be_revoked_while_the_file_is_broken(start_sluice):
    s = start_sluice({"models": {"m": "echo"}, "server": {"api_keys": KEYS}}, key=ADMIN)
    os.chmod(s.config_path, 0o444)
    made = s.post("/sluice/v1/keys", {"label": "leaked"}).json()
    assert made["origin"] == "api" and s.get("/v1/models", headers=s.auth(made["key"])).status_code == 200
    os.chmod(s.config_path, 0o644)
    s.config_path.write_text("{")
    assert s.call("DELETE", "/sluice/v1/keys/" + made["id"]).status_code == 204
    assert s.get("/v1/models", headers=s.auth(made["key"])).status_code == 401
    assert s.get("/v1/models/m").status_code == 200


PASSWORD = "a long enough password"


def owner(s):
    """The headers of the owner's session; a key has the role admin at most."""
    r = s.post("/sluice/v1/session", {"name": "admin", "password": PASSWORD}, auth=False)
    assert r.status_code == 201, r.text
    s.http.cookies.clear()
    return {"Authorization": "Bearer " + r.json()["token"]}


def test_a_change_that_would_not_load_changes_nothing(start_sluice):
    s = start_sluice({"providers": {"p": {"type": "openai-compatible", "base_url": "http://127.0.0.1:9"}},
                      "server": {"admin_password": PASSWORD, "api_keys": KEYS}}, key=ADMIN)
    before = text(s)
    for body in ({"base_url": "ftp://x"}, {"type": "nonsense"}, {"api_key": "file:missing.key"}):
        r = s.call("PATCH", "/sluice/v1/providers/p", body, headers=owner(s))
        assert r.status_code == 400, r.text
        assert text(s) == before
    assert s.get("/sluice/v1/info").json()["config_faults"] == []


def test_a_secret_may_be_named_instead_of_given(start_sluice, scripted, upstream):
    s = start_sluice({"server": {"admin_password": PASSWORD, "api_keys": KEYS}}, env={"TEST_UPSTREAM_KEY": "sk-named"}, key=ADMIN)
    r = s.post("/sluice/v1/providers", {"name": "p", "type": "openai-compatible", "base_url": scripted.origin + "/v1",
                                        "api_key": "${TEST_UPSTREAM_KEY}"}, headers=owner(s))
    assert r.status_code == 201, r.text
    assert '"${TEST_UPSTREAM_KEY}"' in text(s) and "sk-named" not in text(s)
    s.post("/v1/chat/completions", {"model": "p/chat-model", "messages": [{"role": "user", "content": "hi"}]})
    assert upstream.last.header("authorization") == "Bearer sk-named"


def test_only_owners_make_references(start_sluice, tmp_path):
    """Else whoever may change a provider could send the environment and files of this machine to a server of theirs."""
    (tmp_path / "secret").write_text("of this machine")
    s = start_sluice({"providers": {"p": {"type": "openai-compatible", "base_url": "http://127.0.0.1:9/v1", "api_key": "${MINE}"},
                                    "r": {"type": "openai-compatible", "base_url": "http://127.0.0.1:9/v1", "api_key": "sk-r"}},
                      "server": {"admin_password": PASSWORD, "api_keys": KEYS}}, env={"MINE": "sk-mine", "OTHER": "sk-other"}, key=ADMIN)
    before = text(s)
    for method, path, body in (("PATCH", "/sluice/v1/providers/r", {"api_key": "${OTHER}"}),
                               ("PATCH", "/sluice/v1/providers/r", {"base_url": "http://127.0.0.1:9/${MINE}"}),
                               ("PATCH", "/sluice/v1/providers/r", {"api_key": "file:%s/secret" % tmp_path}),
                               ("POST", "/sluice/v1/models", {"name": "${OTHER}", "targets": [{"provider": "p"}]}),
                               ("POST", "/sluice/v1/models", {"name": "m", "targets": [{"provider": "p", "upstream_model": "${OTHER}"}]}),
                               ("PATCH", "/sluice/v1/settings/proxy", {"value": "http://${OTHER}@127.0.0.1:9"}),
                               ("POST", "/sluice/v1/keys", {"label": "${OTHER}"}),
                               ("PUT", "/admin/api/config/providers/q", {"api_key": "${OTHER}", "base_url": "http://127.0.0.1:9"})):
        r = s.call(method, path, body)
        assert r.status_code == 403 and "Only an owner" in r.text, (path, body, r.text)
        assert text(s) == before
    # what is there may move
    assert s.call("PATCH", "/sluice/v1/providers/p", {"name": "q"}).status_code == 200
    assert text(s).count("${MINE}") == 1
    assert s.call("PATCH", "/sluice/v1/providers/r", {"api_key": "${OTHER}"}, headers=owner(s)).status_code == 200


def test_a_text_that_holds_what_a_reference_begins_with(start_sluice):
    """Escaped it is written by everybody, shown as what it says, and may be changed like any other."""
    s = start_sluice({"server": {"admin_password": PASSWORD, "api_keys": KEYS, "otlp_service_name": "of ${TEAM}"}}, env={"TEAM": "us", "X": "never"}, key=ADMIN)
    prompt, said = "/sluice/v1/settings/system_prompt", "Write ${X} and $${X}, file:x"
    r = s.call("PATCH", prompt, {"value": said})
    assert r.status_code == 403 and "$${ is the text ${" in r.text
    assert s.call("PATCH", prompt, {"value": "file:is a text here"}).status_code == 200
    r = s.call("PATCH", prompt, {"value": "Write $${X} and $$${X}, file:x"})
    assert r.status_code == 200 and r.json()["value"] == said, r.text
    before = text(s)
    assert '"Write $${X} and $$${X}, file:x"' in before
    for _ in range(2):  # as it was shown
        r = s.call("PATCH", prompt, {"value": s.get(prompt).json()["value"]})
        assert r.status_code == 200 and r.json()["value"] == said and text(s) == before, r.text
    # no way to a reference
    assert s.call("PATCH", prompt, {"value": "${X} and $$${X}, file:x"}).status_code == 403
    assert s.call("PATCH", prompt, {"value": "Write $${X"}).status_code == 200
    assert s.call("PATCH", prompt, {"value": None}).status_code == 200
    # what an owner names is a reference, and read-only
    assert s.get("/sluice/v1/settings/otlp_service_name").json()["value"] == "of us"
    assert s.call("PATCH", "/sluice/v1/settings/otlp_service_name", {"value": "x"}).status_code == 409
    r = s.call("PATCH", prompt, {"value": "For ${TEAM}, not $${TEAM}"}, headers=owner(s))
    assert r.status_code == 200 and r.json()["value"] == "For us, not ${TEAM}", r.text


def test_models_of_every_form_follow_a_renamed_provider(messy):
    assert messy.call("PATCH", "/sluice/v1/providers/oa", {"name": "first"}).status_code == 200
    assert '{"a":"first", "b": {"provider":"an"} /* b */, "c": {"targets": ["first", {"provider": "an", "upstream_model": "x"}]}}' in text(messy)
    r = messy.call("DELETE", "/sluice/v1/providers/first")
    assert r.status_code == 409 and "'a', 'c'" in r.text, r.text
    assert messy.call("DELETE", "/sluice/v1/providers/first?cascade=true").status_code == 204
    assert '{"b": {"provider":"an"} /* b */, "c": {"targets": [{"provider": "an", "upstream_model": "x"}]}}' in text(messy)


def test_references_follow_a_renamed_provider_though_a_chain_bears_the_name(start_sluice):
    """"p/x" is also the name that a fallback chain of it gives a model: still the provider's."""
    s = start_sluice({"providers": {"p": {"type": "echo"}, "w": {"type": "echo"}}, "chains": {"p/x": ["w"]}, "models": {"m": "w"},
                      "combos": {"c": {"members": [{"model": "p/x"}, {"model": "m"}]}}, "aliases": {"a": "p/x"},
                      "server": {"api_keys": KEYS, "global_fallback_model": "p/x", "system_prompt_except": "m,p/x"}}, key=ADMIN)

    def explained(name):
        r = s.post("/sluice/v1/route/explain", {"model": name})
        assert r.status_code == 200, r.text
        return [(c["provider"], c["provider_model"]) for c in r.json()["candidates"]]

    before = explained("c")
    assert ("p", "x") in before and len(before) > 1
    assert s.call("PATCH", "/sluice/v1/providers/p", {"name": "q"}).status_code == 200
    now = json.loads(text(s))
    assert "p/x" not in text(s), text(s)
    assert now["chains"] == {"q/x": ["w"]} and now["aliases"] == {"a": "q/x"} and now["combos"]["c"]["members"][0]["model"] == "q/x"
    assert now["server"]["global_fallback_model"] == "q/x" and now["server"]["system_prompt_except"] == "m,q/x"
    assert explained("c") == [("q" if provider == "p" else provider, model) for provider, model in before]
    assert s.call("DELETE", "/sluice/v1/providers/q").status_code == 409
    assert s.call("DELETE", "/sluice/v1/providers/q?cascade=true").status_code == 204
    assert text(s).count("q/x") == 1 and '"m,q/x"' in text(s), text(s)  # a list of patterns holds nobody
    assert explained("c") == [("w", "m")]


def test_many_models_follow_and_go_at_once(start_sluice, tmp_path):
    """Comments, order and what others say of them are as after as many single changes."""
    lines = ['"m%d": %s, // number %d' % (i, ('"p"', '{"provider": "p", "capabilities": ["text"]}', '{"targets": ["w", "p", {"provider": "p"}]}')[i % 3], i)
             for i in range(60)]
    path = tmp_path / "many.jsonc"
    path.write_text("""{
  "providers": {"p": {"type": "echo"}, "w": {"type": "echo"}},
  "models": { // all
    %s
    "last": "w"
  },
  "combos": {"c": {"members": [{"model": "m0"}, {"model": "m3"}, {"model": "last"}, {"model": "m2"}]}, "d": {"members": [{"model": "m1"}]}},
  "server": {"api_keys": %s, "global_fallback_model": "m4"}
}
""" % ("\n    ".join(lines), json.dumps(KEYS)), encoding="utf-8")
    s = start_sluice(path.read_text(encoding="utf-8"), key=ADMIN)
    before = text(s)
    assert s.call("PATCH", "/sluice/v1/providers/p", {"name": "first"}).status_code == 200
    assert re.sub(r', "id": "[^"]*"', "", text(s)) == before.replace('"p"', '"first"')
    assert s.call("DELETE", "/sluice/v1/providers/first?cascade=true").status_code == 204
    left = ['"m%d": {"targets": ["w"]}, // number %d' % (i, i) for i in range(60) if i % 3 == 2]
    assert "\n    ".join(["// all", *left, '"last": "w"\n']) in text(s), text(s)
    assert '"combos": {"c": {"members": [{"model": "last"}, {"model": "m2"}]}}' in text(s) and "global_fallback_model" not in text(s)
    many = ["n%d" % i for i in range(50)]
    r = s.post("/admin/api/config/models", {"provider": "w", "models": [*many, "n7", "last"]}).json()
    assert (r["added"], r["skipped"]) == (many, ["n7", "last"])
    assert [m for m in s.get("/admin/api/config").json()["models"] if m.startswith("n")] == many


def test_a_key_without_an_id_keeps_the_one_that_is_made_for_it(start_sluice):
    """Wherever it stands: who revokes the first twice has not revoked the second."""
    texts = ["sk-one-0123456789abcdef", "sk-two-0123456789abcdef", "sk-three-0123456789abcdef"]
    s = start_sluice({"server": {"api_keys": [{"key": t, "label": t[3:6]} for t in texts] + KEYS}}, key=ADMIN)

    def ids():
        return {k["label"]: k["id"] for k in s.get("/sluice/v1/keys").json()["data"] if k["label"] in ("one", "two", "thr")}

    made = ids()
    assert len(set(made.values())) == 3 and all(re.fullmatch("[0-9a-f]{8}", i) for i in made.values())
    assert {k["label"]: k["id"] for k in s.get("/admin/api/keys").json()["keys"] if k["label"] in made} == made
    assert [s.call("DELETE", "/sluice/v1/keys/" + made["one"]).status_code for _ in range(2)] == [204, 404]
    assert ids() == {label: i for label, i in made.items() if label != "one"}
    assert s.call("PUT", "/admin/api/keys/" + made["two"], {"label": "named"}).status_code == 200
    assert s.call("DELETE", "/admin/api/keys/" + made["thr"]).status_code == 200
    assert [k["label"] for k in s.get("/sluice/v1/keys?origin=file").json()["data"] if k["id"] == made["two"]] == ["named"]
    before = text(s)
    s.config_path.write_text(before.replace('"label": "named"', '"label": "named", "id": "%s"' % KEYS[0]["id"]))
    r = s.post("/admin/api/config/reload")
    assert r.status_code == 500 and "is the id of another key too" in r.text, r.text


def test_keys_may_use_by_its_new_name_what_they_could_use_by_the_old(start_sluice):
    guest = {"id": "0b000000", "key": "sk-guest-0123456789", "allowed_models": ["p/*", "m", "pp/x"]}
    s = start_sluice({"providers": {"p": {"type": "echo"}}, "models": {"m": "echo"}, "server": {"api_keys": [*KEYS, guest]}}, key=ADMIN)

    def may(model):
        return s.post("/v1/chat/completions", {"model": model, "messages": [{"role": "user", "content": "x"}]},
                      headers=s.auth(guest["key"])).status_code == 200

    assert may("p/x") and may("m") and not may("echo")
    assert s.call("PATCH", "/sluice/v1/providers/p", {"name": "q"}).status_code == 200
    assert s.call("PATCH", "/sluice/v1/models/m", {"name": "n"}).status_code == 200
    assert may("q/x") and may("n") and not may("echo")
    assert s.get("/sluice/v1/keys/0b000000").json()["allowed_models"] == ["q/*", "n", "pp/x"]
    assert s.post("/sluice/v1/models", {"name": "q/own", "targets": [{"provider": "echo"}]}).status_code == 201
    assert s.call("PATCH", "/sluice/v1/providers/q", {"name": "r"}).status_code == 200
    assert may("r/x") and may("q/own")


def test_another_program_that_holds_the_lock_is_waited_for(start_sluice):
    import fcntl
    s = start_sluice({"server": {"api_keys": KEYS}}, key=ADMIN)
    with concurrent.futures.ThreadPoolExecutor(1) as pool, open(str(s.config_path) + ".lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        change = pool.submit(s.post, "/sluice/v1/models", {"name": "new", "targets": [{"provider": "echo"}]})
        config = json.loads(text(s))
        config["models"] = {"foreign": "echo"}
        s.write_config(config)  # under the lock, as a well-behaved editor does
        assert not change.done()
        fcntl.flock(lock, fcntl.LOCK_UN)
        assert change.result(30).status_code == 201
    assert set(json.loads(text(s))["models"]) == {"foreign", "new"}
    assert s.get("/v1/models/foreign").status_code == 200


# versions

VERSIONS = "/sluice/v1/config/versions"


def versions(s):
    r = s.get(VERSIONS)
    assert r.status_code == 200, r.text
    return r.json()["data"]


def test_every_change_is_a_version_that_can_be_gone_back_to(start_sluice, scripted, upstream):
    s = start_sluice({"providers": {"p": {"type": "openai-compatible", "base_url": scripted.origin + "/v1", "api_key": "sk-first-secret"}},
                      "models": {"m": {"provider": "p", "upstream_model": "chat-model"}}, "server": {"api_keys": KEYS}}, key=ADMIN)

    def asked_with():
        assert s.post("/v1/chat/completions", {"model": "m", "messages": [{"role": "user", "content": "hi"}]}).status_code == 200
        return upstream.last.header("authorization")

    first = wait_for(lambda: versions(s), "the version of the start")[0]
    assert first["actor"] == "start" and first["is_current"]
    was = text(s)
    assert s.call("PATCH", "/sluice/v1/providers/p", {"api_key": "sk-second-secret"}).status_code == 200
    assert asked_with() == "Bearer sk-second-secret"
    made = s.post("/sluice/v1/keys", {"label": "kept"}).json()
    assert s.call("DELETE", "/sluice/v1/keys/0a1b2c3d").status_code == 204
    s.config_path.write_text(text(s) + "// by hand\n")
    wait_for(lambda: versions(s)[0]["actor"] == "file", "the edit by hand is a version")
    told = versions(s)
    assert [v["actor"] for v in told] == ["file", "key ad000001", "key ad000001", "key ad000001", "start"]
    assert told[3]["what"] == "provider p changed" and "comments" in told[0]["what"]
    for query, found in (("sort=at", told[::-1]), ("sort=at&limit=2", told[:2:-1]), ("sort=at&after=%d" % told[2]["id"], told[1::-1]), ("actor=file", told[:1]),
                         ("actor=nobody", []), ("since=2099-01-01T00:00:00Z", []), ("until=2020-01-01T00:00:00Z", []),
                         ("since=2020-01-01T00:00:00Z&until=2099-01-01T00:00:00Z", told)):
        assert s.get(VERSIONS + "?" + query).json()["data"] == found, query
    assert s.get(VERSIONS + "?sort=actor").json()["error"]["param"] == "sort"
    diff = s.get("%s/%d" % (VERSIONS, told[3]["id"])).json()["changes"]
    assert [(d["kind"], d["name"]) for d in diff] == [("provider", "p")]
    assert diff[0]["before"]["api_key"] == "sk-f***cret" and diff[0]["after"]["api_key"] == "sk-s***cret"
    between = s.get("%s/%d/diff?against=%d" % (VERSIONS, told[0]["id"], first["id"])).json()
    assert {(d["kind"], d["name"]) for d in between["changes"]} == {("provider", "p"), ("key", "0a1b2c3d"), ("key", made["id"])}
    assert s.get("%s/%d/diff" % (VERSIONS, told[3]["id"])).json()["from"] == first["id"]

    r = s.post("%s/%d/rollback" % (VERSIONS, first["id"]))
    assert r.status_code == 200 and r.json()["what"] == "rolled back to version %d" % first["id"], r.text
    assert asked_with() == "Bearer sk-first-secret"
    config = json.loads(text(s))
    assert config["providers"] == json.loads(was)["providers"]
    assert [k["id"] for k in config["server"]["api_keys"]] == ["ad000001", made["id"]]  # keys are not rolled back
    assert s.get("/v1/models", headers=s.auth(KEY)).status_code == 401
    assert s.get("/v1/models", headers=s.auth(made["key"])).status_code == 200
    assert s.post(VERSIONS + "/999/rollback").status_code == 404 and s.get(VERSIONS + "/x").status_code == 404
    everything = s.get(VERSIONS).text + "".join(s.get("%s/%d" % (VERSIONS, v["id"])).text for v in versions(s))
    stored = b"".join(p.read_bytes() for p in (s.folder / "data").iterdir())
    for secret in ("sk-first-secret", "sk-second-secret", KEY, made["key"]):
        assert secret not in everything + s.output() and secret.encode() not in stored


def test_keys_follow_names_back_and_forth(start_sluice):
    """Keys are not rolled back, but what they may use must be found: renamed twice, and back behind it, and forth again."""
    config = {"providers": {"oa": {"type": "echo"}}, "models": {"m": "oa", "other": "oa"},
              "server": {"api_keys": [{"key": ADMIN, "scopes": ["admin"]}, {"id": "0a1b2c3d", "key": KEY, "allowed_models": ["m", "oa/*"], "providers": ["oa"]}]}}
    s = start_sluice(config, key=ADMIN)
    added = s.post("/sluice/v1/keys", {"label": "of the store", "allowed_models": ["m"]}).json()
    first = versions(s)[0]["id"]
    assert s.call("PATCH", "/sluice/v1/models/m", {"name": "mm"}).status_code == 200
    assert s.call("PATCH", "/sluice/v1/providers/oa", {"name": "noa"}).status_code == 200
    assert s.call("PATCH", "/sluice/v1/models/mm", {"name": "mmm"}).status_code == 200
    assert s.post("/sluice/v1/keys", {"label": "made since", "allowed_models": ["mmm"]}).status_code == 201
    last = versions(s)[0]["id"]

    def state():
        keys = {k["label"]: k for k in s.get("/sluice/v1/keys").json()["data"] if k["allowed_models"]}
        served = [m for m in ("m", "mm", "mmm") if s.post("/v1/chat/completions", {"model": m, "messages": [{"role": "user", "content": "x"}]},
                                                          headers=s.auth(KEY), auth=False).status_code == 200]
        return served, keys[""]["allowed_models"], keys[""]["providers"], [keys[x]["allowed_models"] for x in ("of the store", "made since")]
    renamed = (["mmm"], ["mmm", "noa/*"], ["noa"], [["mmm"], ["mmm"]])
    assert state() == renamed
    assert s.post("%s/%d/rollback" % (VERSIONS, first)).status_code == 200
    assert state() == (["m"], ["m", "oa/*"], ["oa"], [["m"], ["m"]])
    assert s.post("%s/%d/rollback" % (VERSIONS, last)).status_code == 200
    assert state() == renamed
    assert s.post("%s/%d/rollback" % (VERSIONS, first)).status_code == 200
    assert state() == (["m"], ["m", "oa/*"], ["oa"], [["m"], ["m"]]) and added["id"]


def test_a_rollback_mends_a_broken_file(start_sluice):
    s = start_sluice({"models": {"m": "echo"}, "server": {"api_keys": KEYS}}, key=ADMIN)
    wait_for(lambda: versions(s), "the version of the start")
    good = text(s)
    s.config_path.write_text("garbage")
    wait_for(lambda: s.get("/sluice/v1/info").json()["config_faults"], "the fault shows")
    assert s.post("%s/%d/rollback" % (VERSIONS, versions(s)[0]["id"])).status_code == 200
    assert text(s) == good and s.get("/sluice/v1/info").json()["config_faults"] == []


def test_versions_come_in_pages_and_are_not_kept_for_ever(start_sluice):
    s = start_sluice({"server": {"api_keys": KEYS, "config_versions_kept": 5}}, key=ADMIN)
    for i in range(9):
        assert s.post("/sluice/v1/models", {"name": "m%d" % i, "targets": [{"provider": "echo"}]}).status_code == 201
    seen, after = [], None
    while True:
        page = s.get(VERSIONS, params={"limit": 2, **({"after": after} if after else {})}).json()
        seen += [v["id"] for v in page["data"]]
        after = page["next"]
        assert page["has_more"] == (after is not None)
        if not after:
            break
    assert len(seen) == 5 and seen == sorted(seen, reverse=True)


def test_versions_from_the_shell(start_sluice):
    s = start_sluice({"models": {"m": "echo"}, "server": {"api_keys": KEYS}}, key=ADMIN)
    env = {**os.environ, "SLUICE_DATA": str(s.folder / "data"), "SLUICE_CONFIG": str(s.config_path)}

    def run(*arguments, status=0):
        done = subprocess.run([str(BINARY), "config", *arguments], env=env, capture_output=True, text=True, timeout=60, check=False)
        assert done.returncode == status, done
        return done.stdout + done.stderr

    wait_for(lambda: versions(s), "the version of the start")
    assert s.call("DELETE", "/sluice/v1/models/m").status_code == 204
    history = json.loads(run("history", "--json"))
    assert [h["what"] for h in history] == ["model m removed", "as found"] and "model m removed" in run("history")
    assert run("diff", str(history[0]["id"])) == '- model m\n    - "echo"\n'
    assert json.loads(run("diff", "--json", str(history[0]["id"]), str(history[1]["id"])))[0]["after"] == "echo"
    assert "version %d again" % history[1]["id"] in run("rollback", str(history[1]["id"]))
    wait_for(lambda: s.get("/v1/models/m").status_code == 200, "the server takes it over")
    assert versions(s)[0]["actor"] == "shell"
    assert "no version" in run("rollback", "soon", status=2) and "no version" in run("rollback", "999", status=1)


# killed at any point

class Changes:
    """Adds models and renames their provider, adds one of the other nouns, sets a setting or goes back by a version, one after the other,
    until the server is gone."""
    NOUNS = {"combos": ("name", lambda n: {"name": n, "members": [{"model": "m"}]}), "aliases": ("alias", lambda n: {"alias": n, "to": "m"}),
             "chains": ("model", lambda n: {"chain": [{"provider": "echo"}]}), "orgs": ("id", lambda n: {"id": n, "name": n}),
             "users": ("id", lambda n: {"id": n, "name": n}), "budgets": ("name", lambda n: {"name": n, "scope": "all", "limit_usd": 1})}

    def __init__(self, rng):
        self.rng, self.kept, self.open, self.name, self.stop, self.turn = rng, set(), None, "p0", threading.Event(), 0
        self.others, self.maybe, self.attempts = set(), set(), None  # (noun, name): acknowledged, and not known; values of max_attempts

    def make(self, s, noun, name):
        body = self.NOUNS[noun][1](name)
        self.maybe.add((noun, name))
        where = "/sluice/v1/" + noun
        r = s.call("PUT", where + "/" + name, body) if noun == "chains" else s.post(where, body)
        assert r.status_code in (200, 201), (noun, r.text)
        self.maybe.discard((noun, name))
        self.others.add((noun, name))

    def other(self, s):
        self.turn += 1
        kind = [*self.NOUNS, "settings", "rollback"][self.turn % (len(self.NOUNS) + 2)]
        name = "x%d" % self.rng.randrange(10**9)
        if kind == "settings":
            value = self.rng.randint(2, 9)
            self.attempts.add(value)
            r = s.call("PATCH", "/sluice/v1/settings/max_attempts", {"value": value})
            assert r.status_code == 200, r.text
            self.attempts = {value}
        elif kind == "rollback":  # what was made last is gone again
            before = s.get("/sluice/v1/config/versions").json()["data"][0]["id"]
            self.make(s, "aliases", name)
            self.others.discard(("aliases", name))
            self.maybe.add(("aliases", name))
            r = s.post("/sluice/v1/config/versions/%s/rollback" % before, {})
            assert r.status_code == 200, r.text
            self.maybe.discard(("aliases", name))
        else:
            self.make(s, kind, name)

    def run(self, s):
        while not self.stop.is_set():
            self.open = "k%d" % self.rng.randrange(10**9)
            to = "p%d" % self.rng.randrange(10**9)
            try:
                r = s.post("/sluice/v1/models", {"name": self.open, "targets": [{"provider": self.name}]})
                assert r.status_code == 201, r.text
                self.kept.add(self.open)
                self.other(s)
                r = s.call("PATCH", "/sluice/v1/providers/" + self.name, {"name": to})
                assert r.status_code == 200, r.text
                self.name = to
            except (OSError, httpx.HTTPError):
                return

    def check_others(self, s):
        now = {(noun, one[key]) for noun, (key, _) in self.NOUNS.items() for one in s.get("/sluice/v1/" + noun).json()["data"]}
        assert self.others <= now, "acknowledged, but lost"
        assert now - self.others <= self.maybe, "refused or taken back, but there"
        self.others, self.maybe = now, set()
        (attempts,) = [x["value"] for x in s.get("/sluice/v1/settings").json()["data"] if x["name"] == "max_attempts"]
        assert self.attempts is None or attempts in self.attempts
        self.attempts = {attempts}


@pytest.mark.parametrize("seed", range(3))
def test_killed_at_any_point_nothing_acknowledged_is_lost_and_nothing_is_half(calls, tmp_path, seed):
    """The provider stands in the file, one of its models in the store: a rename changes both, or neither."""
    changes = Changes(random.Random(seed))
    config = {"providers": {"p0": {"type": "echo"}}, "models": {"m": "p0"}, "server": {"api_keys": KEYS}}
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "sluice.jsonc").write_text(json.dumps(config))
    subprocess.run([str(BINARY), "model", "add", "stored", "p0/x"], check=True, capture_output=True,
                   env={**os.environ, "SLUICE_DATA": str(tmp_path / "data")})
    for life in range(6):
        s = Sluice(tmp_path, config if life == 0 else None, calls, key=ADMIN)
        models = {m["name"]: [t["provider"] for t in m["targets"]] for m in s.get("/sluice/v1/models").json()["data"]}
        assert changes.kept <= set(models), "acknowledged, but lost"
        assert set(models) - changes.kept <= {"m", "stored", "echo", changes.open}
        (changes.name,) = {target for name, targets in models.items() for target in targets if name != "echo"}  # all the same one
        assert set(json.loads(text(s))["providers"]) == {changes.name}
        changes.check_others(s)
        if life == 5:
            s.stop()
            break
        if changes.open in models:  # done, though nobody was told
            changes.kept.add(changes.open)
        changes.stop.clear()
        worker = threading.Thread(target=changes.run, args=(s,))
        told = len(changes.kept)
        worker.start()
        wait_for(lambda: len(changes.kept) > told, "a change is acknowledged")
        time.sleep(changes.rng.uniform(0, 0.8))
        s.process.kill()
        changes.stop.set()
        worker.join(60)
        assert not worker.is_alive()
        s.process.wait()
        s.http.close()
        s.log.close()
    assert len(changes.kept) + len(changes.others) > 3


def test_of_a_member_that_stands_twice_the_last_one_counts(start_sluice, scripted, upstream):
    """For every reader, as llm-rosetta has it, and the log says where; an edit leaves no older one to come to light."""
    s = start_sluice("""{
  "providers": {"p": {"type": "openai-compatible", "api_key": "sk-first-of-two",
                      "base_url": "%s/v1", "api_key": "sk-second-of-two"},
                "q": {"type": "echo"}, "\\u0071": {"type": "echo", "enabled": false}},
  "models": {"m": "q", "m": "p"},
  "server": {"max_attempts": 2, "api_keys": %s, "max_attempts": 5}
}""" % (scripted.origin, json.dumps(KEYS)), key=ADMIN)
    assert 'config.duplicate_member' in s.output() and re.search("sluice.jsonc:3:[0-9]+: 'api_key' stands there twice", s.output())
    s.post("/v1/chat/completions", {"model": "m", "messages": [{"role": "user", "content": "hi"}]})
    assert upstream.last.header("authorization") == "Bearer sk-second-of-two"
    assert s.get("/sluice/v1/providers/p").json()["api_key"] == "sk-s***-two"
    assert s.get("/admin/api/config").json()["providers"]["p"]["api_key"] == "sk-s***-two"
    assert s.get("/sluice/v1/settings/max_attempts").json()["value"] == 5
    assert s.get("/sluice/v1/providers/q").json()["enabled"] is False
    assert s.call("PATCH", "/sluice/v1/settings/max_attempts", {"value": 6}).json()["value"] == 6
    assert s.call("PATCH", "/sluice/v1/providers/q", {"name": "r"}).status_code == 200
    assert [p["name"] for p in s.get("/sluice/v1/providers").json()["data"]] == ["echo", "p", "r"]
    assert s.call("DELETE", "/sluice/v1/models/m").status_code == 204
    assert "m" not in [m["name"] for m in s.get("/sluice/v1/models").json()["data"]]
    assert s.call("PATCH", "/sluice/v1/settings/max_attempts", {"value": None}).json()["value"] == 4
    assert "max_attempts" not in text(s)


def test_drafts_of_killed_processes_do_not_stay(start_sluice, tmp_path):
    """Whole configurations stand in them."""
    s = start_sluice({"server": {"api_keys": KEYS}}, key=ADMIN)
    stale = [s.folder / ("sluice.jsonc.new-%d" % n) for n in (1, 99999999, s.process.pid)]
    kept = [s.folder / name for name in ("sluice.jsonc.new-mine", "sluice.jsonc.new-", "other.jsonc.new-7")]
    for path in stale + kept:
        path.write_text("{}")
    assert s.call("PATCH", "/sluice/v1/settings/max_attempts", {"value": 6}).status_code == 200
    assert [p.exists() for p in stale + kept] == [False] * 3 + [True] * 3
    for path in stale:
        path.write_text("{}")
    done = subprocess.run([str(BINARY), "setting", "list", "--config", str(s.config_path), "--data", str(tmp_path / "another")],
                          capture_output=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    assert [p.exists() for p in stale + kept] == [False] * 3 + [True] * 3  # at each start, too


def test_a_member_that_nothing_reads_is_named(start_sluice, scripted):
    s = start_sluice({"providers": {"p": {"type": "openai-compatible", "api_key": "k", "base_url": scripted.origin, "fetch_image": False, "limits": {}}},
                      "models": {"m": {"provider": "p", "capabilites": ["vision"], "strategy": "random"}}, "modells": {},
                      "server": {"api_keys": KEYS, "max_attempt": 5}}, key=ADMIN)
    named = set(re.findall(r"config\.unknown_\w+.*?(?:member|setting)=(\S+)", s.output()))
    assert named == {"providers.p.fetch_image", "models.m.capabilites", "modells", "max_attempt"}, s.output()
