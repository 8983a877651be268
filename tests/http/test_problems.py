"""What is broken now, or soon will be: each kind found where it is, told with what to do, and gone when it is put right."""
import json
import time

from gateway import KEY, wait_for
from test_top import top

ADMIN = "sk-admin-0123456789abcdef"
CHAT = {"model": "broken", "messages": [{"role": "user", "content": "hello"}]}


def config(**more):
    return {"providers": {"echo": {"type": "echo"}, "dead": {"type": "openai-compatible", "base_url": "http://127.0.0.1:9/v1", "api_key": "sk-none"},
                          "keyless": {"type": "groq"}, "spare": {"type": "mistral"}, "resting": {"type": "echo", "enabled": False}},
            "models": {"echo": "echo", "broken": "dead", "keyless-model": "keyless",
                       "off": {"targets": [{"provider": "resting", "upstream_model": "a", "weight": 7}]},
                       "half": {"targets": [{"provider": "echo", "upstream_model": "one"}, {"provider": "resting", "upstream_model": "two", "weight": 3},
                                            {"provider": "echo", "upstream_model": "three"}]}},
            "combos": {"nowhere": {"members": ["off"]}}, "aliases": {"stale": "off"},
            "prices": {"echo/*": {"input": 1000, "output": 1000}},
            "server": {"api_keys": [{"id": "ad000001", "key": ADMIN, "scopes": ["inference", "models", "admin"]}, {"id": "k0000001", "key": KEY, "label": "tests"}]}, **more}


def problems(s, query=""):
    return s.get("/sluice/v1/problems" + query).json()["data"]


def found(s, query=""):
    return {p["id"]: p for p in problems(s, query)}


def start(start_sluice, **more):
    return start_sluice(config(**more), key=ADMIN)


def test_what_the_configuration_says(start_sluice):
    s = start(start_sluice)
    assert s.get("/sluice/v1/problems", auth=False).status_code == 401
    assert s.get("/sluice/v1/problems", headers={"Authorization": "Bearer " + KEY}, auth=False).status_code == 403
    p = found(s)
    assert set(p) == {"credential_missing/keyless", "model_unserved/off", "model_unserved/nowhere", "model_unserved/stale"}
    one = p["credential_missing/keyless"]
    assert (one["severity"], one["object"], one["name"], one["kind"]) == ("error", "provider", "keyless", "credential_missing")
    assert "'keyless'" in one["message"] and one["fix"] and "label" not in one and "errors" not in one
    shown = top(s, "--once")
    assert shown.returncode == 0 and "!! " + one["message"] in shown.stdout, shown.stdout
    assert {x["id"] for x in json.loads(top(s, "--once", "--json").stdout)["problems"]["data"]} == set(p)
    assert {i.split("/")[1]: x["object"] for i, x in p.items() if x["kind"] == "model_unserved"} == {"off": "model", "nowhere": "combo", "stale": "alias"}
    # filters, order and pages, as of every list
    assert set(found(s, "?kind=model_unserved&name=off")) == {"model_unserved/off"}
    assert set(found(s, "?object=provider")) == {"credential_missing/keyless"} and problems(s, "?severity=warning") == []
    assert s.get("/sluice/v1/problems?kind=nonsense").status_code == 400
    first = s.get("/sluice/v1/problems?limit=1").json()
    assert first["has_more"] and [x["id"] for x in first["data"]] == [min(p)]
    assert min(p) not in {x["id"] for x in problems(s, "?after=" + first["next"])}
    # a key that ends within three days is a warning, behind the errors
    at = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + 86400))
    assert s.call("PATCH", "/sluice/v1/keys/k0000001", {"expires_at": at}).status_code == 200
    last = problems(s, "?sort=severity")[-1]
    assert (last["kind"], last["severity"], last["name"], last["label"], last["at"][:19]) == ("key_expires", "warning", "k0000001", "tests", at[:19])
    # put right: gone
    assert s.call("PATCH", "/sluice/v1/providers/resting", {"enabled": True}).status_code == 200
    assert s.call("PATCH", "/sluice/v1/providers/keyless", {"api_key": "gsk-of-mine"}).status_code == 200
    assert s.call("PATCH", "/sluice/v1/keys/k0000001", {"expires_at": ""}).status_code == 200
    assert problems(s) == []


def test_a_provider_that_fails_and_is_left_alone(start_sluice):
    s = start(start_sluice)
    asked, p = 0, {}
    while asked < 3 or "provider_left_alone/dead" not in p:
        assert s.post("/v1/chat/completions", CHAT).status_code in (502, 503)
        asked, p = asked + 1, found(s)
        assert asked < 50
    assert p["provider_left_alone/dead"]["fault"] == "transport" and p["provider_left_alone/dead"]["severity"] == "error"
    failing = wait_for(lambda: found(s).get("provider_failing/dead"), "it fails")
    assert failing["severity"] == "error" and 2 <= failing["errors"] <= failing["requests"] <= asked
    assert s.post("/sluice/v1/breakers/reset", {"provider": "dead"}).status_code == 200
    p = found(s)
    assert "provider_left_alone/dead" not in p and "provider_failing/dead" in p  # what was stays for five minutes


def test_budgets(start_sluice):
    s = start(start_sluice, budgets={"tight": {"scope": "key", "subject": "k0000001", "limit_usd": 0.0001, "warn_percent": 1},
                                     "told": {"scope": "all", "limit_usd": 0.0001, "action": "warn"}, "wide": {"scope": "all", "limit_usd": 1000}})
    assert not [i for i in found(s) if i.startswith("budget")]
    assert s.call("PATCH", "/sluice/v1/budgets/wide", {"scope": "key", "subject": "gone"}).json()["error"]["param"] == "subject"
    ask = {"model": "echo", "max_tokens": 5, "messages": [{"role": "user", "content": "hello"}]}
    assert s.post("/v1/chat/completions", ask).status_code == 200  # by the administrator's key: of "told" only
    p = wait_for(lambda: {i: x for i, x in found(s).items() if i.startswith("budget")}, "it is spent")
    assert set(p) == {"budget_passed/told"} and p["budget_passed/told"]["severity"] == "warning" and p["budget_passed/told"]["at"]
    assert s.call("PATCH", "/sluice/v1/budgets/told", {"limit_usd": 0.05, "warn_percent": 1}).status_code == 200
    assert found(s)["budget_warning/told"]["severity"] == "warning"
    assert s.call("PATCH", "/sluice/v1/budgets/told", {"limit_usd": 0.0001, "action": "stop"}).status_code == 200
    assert found(s)["budget_passed/told"]["severity"] == "error"
    assert s.post("/v1/chat/completions", ask).status_code == 429


def test_a_budget_that_refuses_though_something_is_left(start_sluice):
    s = start(start_sluice, budgets={"small": {"scope": "all", "limit_usd": 0.05, "warn_percent": 100}})
    ask = {"model": "echo", "max_tokens": 100000, "messages": [{"role": "user", "content": "hello"}]}
    assert s.post("/v1/chat/completions", ask).status_code == 429
    one = found(s)["budget_passed/small"]
    assert (one["severity"], one["limit_nanousd"], one["refused"]) == ("error", 50_000_000, 1) and "spent_nanousd" not in one
    assert s.call("PATCH", "/sluice/v1/budgets/small", {"action": "warn"}).status_code == 200
    assert "budget_passed/small" not in found(s)


def test_who_was_not_asked_does_not_fail(start_sluice):
    s = start(start_sluice, budgets={"all": {"scope": "all", "limit_usd": 5}})  # and nobody knows what "dead" costs
    for _ in range(3):
        assert s.post("/v1/chat/completions", CHAT).status_code == 402
    series = wait_for(lambda: (lambda x: x if [m["requests"] for m in x["models"] if m["id"] == "broken"] == [3] else None)(s.get("/sluice/v1/metrics/series").json()), "counted")
    assert [u["id"] for u in series["upstreams"] if u["id"] == "dead"] == [] and "provider_failing/dead" not in found(s)


def test_budgets_of_nobody(start_sluice):
    of = {"key": "k0000001", "org": "acme", "user": "ada", "tag": "any"}
    s = start(start_sluice, budgets={"%s-%s" % (scope, subject): {"scope": scope, "subject": subject, "limit_usd": 1}
                                     for scope, there in of.items() for subject in (there, "gone")})
    assert {i for i in found(s) if i.startswith("budget_of")} == {"budget_of_nobody/" + n for n in ("key-gone", "org-gone", "user-gone", "org-acme", "user-ada")}
    assert s.post("/sluice/v1/orgs", {"id": "acme"}).status_code == 201 and s.post("/sluice/v1/users", {"id": "ada"}).status_code == 201
    p = {i: x for i, x in found(s).items() if i.startswith("budget_of")}
    assert set(p) == {"budget_of_nobody/" + n for n in ("key-gone", "org-gone", "user-gone")} and "'gone'" in p["budget_of_nobody/key-gone"]["message"]
    assert "config.budget_of_nobody" in s.output()


def test_a_file_that_is_wrong(start_sluice):
    s = start(start_sluice)
    good = s.config_path.read_text()
    s.config_path.write_text("{\n  nonsense")
    s.post("/sluice/v1/reload")
    one = wait_for(lambda: found(s).get("config_fault"), "the fault shows")
    assert one["severity"] == "error" and one["object"] == "server" and one["at"] and one["fault"] in one["message"] and "name" not in one
    s.config_path.write_text(good)
    assert s.post("/sluice/v1/reload").status_code == 200
    wait_for(lambda: "config_fault" not in found(s), "the fault is gone")


def test_targets_that_rest_are_shown_and_kept(start_sluice):
    """A model whose provider is switched off is listed as it is written: who changes it by its list does not lose them."""
    s = start(start_sluice)
    names = [(t["provider"], t["upstream_model"], t["weight"]) for t in s.get("/sluice/v1/models/half").json()["targets"]]
    assert names == [("echo", "one", 1), ("resting", "two", 3), ("echo", "three", 1)]
    assert {m["name"] for m in s.get("/sluice/v1/models?provider=resting").json()["data"]} == {"off", "half"}
    seen = s.get("/sluice/v1/models/half").json()
    assert s.call("PATCH", "/sluice/v1/models/half", {"targets": seen["targets"], "context_tokens": 1000}).status_code == 200
    text = json.loads(s.config_path.read_text())
    assert [t["provider"] for t in text["models"]["half"]["targets"]] == ["echo", "resting", "echo"]
    assert s.post("/sluice/v1/route/explain", {"model": "half"}).json()["candidates"][0]["provider"] == "echo"
    assert len(s.post("/sluice/v1/route/explain", {"model": "half"}).json()["candidates"]) == 2
