"""Idempotency-Key: each POST that makes something does it once, however often it is sent; the answer is the first one's."""
import json
import os
import threading

import httpx
import pytest
from conftest import basic_config
from faults import Gate, preloaded
from gateway import KEY, Sluice, wait_for

ADMIN = "sk-admin-0123456789abcdef"
# A body that succeeds, and what counts what it made: a list of the API, and where its items stand.
BODIES = {
    "/sluice/v1/providers": {"name": "p1", "type": "echo"},
    "/sluice/v1/models": {"name": "m1", "targets": [{"provider": "echo"}]},
    "/sluice/v1/combos": {"name": "c1", "members": [{"model": "echo"}]},
    "/sluice/v1/aliases": {"alias": "a1", "to": "echo"},
    "/sluice/v1/keys": {"label": "k1"},
    "/sluice/v1/orgs": {"name": "o1"},
    "/sluice/v1/users": {"name": "u1"},
    "/sluice/v1/ip-filter/bans": {"address": "203.0.113.9"},
    "/sluice/v1/budgets": {"name": "b1", "scope": "all", "limit_usd": 1},
    "/sluice/v1/prices": {"provider": "chat", "model": "x", "price": {"input": 1}},
    "/sluice/v1/prices/import": {"prices": {"chat/y": {"input": 1}}},
    "/sluice/v1/ledger": {"entry": "credit", "amount_nanousd": 1000, "note": "for the outage"},
    "/sluice/v1/ledger/reprice": {"from": "2026-01-01T00:00:00Z", "to": "2026-02-01T00:00:00Z"},
    "/admin/api/keys": {"label": "k2"},
    "/admin/api/keys/{id}/rotate": {},
    "/admin/api/config/models": {"provider": "echo", "models": ["bulk-1", "bulk-2"]},
    "/admin/api/config/providers/{name}/toggle": {},
    "/admin/api/test": {"endpoint": "/v1/chat/completions", "payload": {"model": "echo", "messages": [{"role": "user", "content": "x"}]}},
    "/api/keys": {"name": "k3"},
    "/api/providers": {"provider": "together", "name": "q1", "apiKey": "sk-0123456789"},
    "/api/provider-nodes": {"type": "openai-compatible", "name": "Own", "prefix": "mine", "baseUrl": "https://own.example/v1", "apiType": "chat"},
    "/api/db-backups": {},
}
COUNTED = {"/sluice/v1/keys": "/sluice/v1/keys", "/admin/api/keys": "/sluice/v1/keys", "/api/keys": "/sluice/v1/keys",
           "/sluice/v1/orgs": "/sluice/v1/orgs", "/sluice/v1/users": "/sluice/v1/users", "/sluice/v1/ledger": "/sluice/v1/ledger"}


@pytest.fixture(scope="module")
def s(scripted, calls, tmp_path_factory):
    config = basic_config(scripted.origin)
    config["server"]["api_keys"] += [{"id": "ad000001", "key": ADMIN, "label": "operator", "scopes": ["admin"]},
                                     {"id": "c1000001", "key": "sk-client-0123456789abcdef", "label": "turned"},
                                     {"id": "c2000001", "key": "sk-client-fedcba9876543210", "label": "turned, too"}]
    running = Sluice(tmp_path_factory.mktemp("twice"), config, calls, key=ADMIN)
    yield running
    running.stop()


def repeatable(s):
    for path, item in s.get("/openapi.json").json()["paths"].items():
        if any(p["name"] == "idempotency-key" for p in item.get("post", {}).get("parameters", [])) and item["post"]["x-sluice-access"] in ("member", "admin", "owner"):
            yield path


def fill(path):
    return path.replace("/keys/{id}", "/keys/c1000001").replace("{name}", "plain").replace("{id}", "nobody")


def test_each_create_makes_one(s):
    rows = list(repeatable(s))
    assert set(BODIES) <= set(rows), set(BODIES) - set(rows)
    for n, path in enumerate(rows):
        body, headers = BODIES.get(path, {}), {"Idempotency-Key": "create-%d" % n}
        counted = COUNTED.get(path)

        def count():
            return len(s.get(counted).json()["data"]) if counted else 0  # noqa: B023
        before = count()
        one = s.post(fill(path), body, headers=headers)
        two = s.post(fill(path), body, headers=headers)
        what = (path, one.status_code, one.text[:200], two.text[:200])
        assert "idempotent-replayed" not in one.headers, what
        if path in BODIES:
            assert one.status_code in (200, 201), what
        if one.status_code >= 300:  # what failed is tried again
            assert "idempotent-replayed" not in two.headers, what
            continue
        assert (two.status_code, two.text, two.headers.get("idempotent-replayed")) == (one.status_code, one.text, "true"), what
        assert not counted or count() == before + 1, what
        other = s.post(fill(path), json.dumps(body) + " ", headers=headers)
        assert other.status_code == 409, (path, other.text[:200])


@pytest.mark.parametrize("given", ["", "x" * 300])
def test_a_key_that_is_none_makes_nothing(s, given):
    before = len(s.get("/sluice/v1/keys").json()["data"])
    r = s.post("/sluice/v1/keys", {"label": "never"}, headers={"Idempotency-Key": given})
    assert r.status_code == 400 and r.json()["error"]["param"] == "idempotency-key", r.text
    assert len(s.get("/sluice/v1/keys").json()["data"]) == before


def test_the_path_and_the_query_are_part_of_what_is_asked(s):
    headers = {"Idempotency-Key": "the same"}
    first = s.post("/admin/api/keys/c1000001/rotate", {}, headers=headers)
    assert first.status_code == 200
    assert s.post("/admin/api/keys/c2000001/rotate", {}, headers=headers).status_code == 409
    assert s.post("/admin/api/keys/c1000001/rotate", {}, headers=headers).json() == first.json()
    prices = {"prices": {"chat/z": {"input": 1}}}
    assert s.post("/sluice/v1/prices/import", prices, headers=headers).status_code == 200
    assert s.post("/sluice/v1/prices/import", prices, headers=headers, params={"provider": "chat"}).status_code == 409


def test_what_turns_something_over_turns_it_once(s):
    path, headers = "/admin/api/config/providers/plain/toggle", {"Idempotency-Key": "once only"}
    was = {p["name"]: p["enabled"] for p in s.get("/sluice/v1/providers").json()["data"]}["plain"]
    for _ in range(3):
        assert s.post(path, {}, headers=headers).status_code == 200
    assert {p["name"]: p["enabled"] for p in s.get("/sluice/v1/providers").json()["data"]}["plain"] is not was


# Killed in the middle

class Mortal:
    """A sluice that is killed when one of its disk's calls is due, and started again on what it left."""

    def __init__(self, library, folder):
        self.folder, self.library = folder, library
        self.start({"providers": {"p": {"type": "echo"}}, "models": {"m": "p"},
                    "server": {"api_keys": [{"id": "0a1b2c3d", "key": KEY}, {"id": "ad000001", "key": ADMIN, "scopes": ["admin"]}]}})

    def start(self, config=None):
        self.s = Sluice(self.folder / "s", config, key=ADMIN, env=preloaded(self.library, self.folder / "gate"))
        self.gate = Gate(self.folder / "gate")

    def send(self, path, body, name):
        return self.s.post(path, body, headers={"Idempotency-Key": name})

    def dies_in(self, calls, n, path, body, name):
        """Killed before the n-th of the calls; False: there are not so many, and the call was answered."""
        answers = []

        def send():
            try:
                answers.append(self.send(path, body, name))
            except httpx.HTTPError:
                pass
        self.gate.arm(calls, n, -600000)
        call = threading.Thread(target=send)
        call.start()
        wait_for(lambda: self.gate.has_failed() or answers, "the call is due or answered", 60)
        hit = self.gate.disarm()
        if hit:
            self.s.process.kill()
        call.join(60)
        if not hit:
            return False
        self.s.process.wait()
        self.s.http.close()
        self.s.log.close()
        self.start()
        return True


@pytest.fixture
def mortal(library, tmp_path):
    running = []

    def make():
        running.append(Mortal(library, tmp_path))
        return running[0]
    yield make
    for m in running:
        m.gate.disarm()
        m.s.stop()


@pytest.mark.parametrize("home,calls", [("file", "fsync,fdatasync,rename"), ("store", "fdatasync,pwrite64")])
def test_killed_at_any_point_it_makes_one(mortal, home, calls):
    """The answer is lost with the process, and the call is sent again: there is one key, and its text is in the second answer."""
    m = mortal()
    if home == "store":
        os.chmod(m.s.config_path, 0o444)
    step, n, rounds = (1, 1, 0) if home == "file" else (4, 1, 0)
    while True:
        name = "round-%d" % n
        hit = m.dies_in(calls, n, "/sluice/v1/keys", {"label": name}, name)
        r = m.send("/sluice/v1/keys", {"label": name}, name)
        assert r.status_code == 201, (n, r.text)
        made = [k["id"] for k in m.s.get("/sluice/v1/keys").json()["data"] if k["label"] == name]
        assert made == [r.json()["id"]], n
        ask = {"model": "m", "messages": [{"role": "user", "content": "x"}]}
        assert m.s.post("/v1/chat/completions", ask, headers=m.s.auth(r.json()["key"])).status_code == 200, n
        again = m.send("/sluice/v1/keys", {"label": name}, name)
        assert again.json()["id"] == r.json()["id"] and again.json()["key"] == r.json()["key"], n
        assert m.send("/sluice/v1/keys", {"label": "else"}, name).status_code == 409, n
        rounds += hit
        n += step
        if not hit:
            break
    assert rounds >= 3, "it was killed at so many points"


MADE = [("/sluice/v1/providers", {"name": "p1", "type": "echo"}, "name"), ("/sluice/v1/models", {"name": "m1", "targets": [{"provider": "p"}]}, "name"),
        ("/sluice/v1/combos", {"name": "c1", "members": [{"model": "m"}]}, "name"), ("/sluice/v1/aliases", {"alias": "a1", "to": "m"}, "alias"),
        ("/sluice/v1/orgs", {"name": "o1"}, "name"), ("/sluice/v1/users", {"name": "u1"}, "name"),
        ("/sluice/v1/budgets", {"name": "b1", "scope": "all", "limit_usd": 1}, "name")]


def test_what_was_made_when_it_was_killed_is_answered(mortal):
    """Each between the change and the answer: the store has it, the file is not written yet."""
    m = mortal()
    for path, body, field in MADE:
        assert m.dies_in("rename", 1, path, body, "one"), path
        r = m.send(path, body, "one")
        assert r.status_code == 201 and r.headers["idempotent-replayed"] == "true", (path, r.text)
        assert len([o for o in m.s.get(path).json()["data"] if o[field] == body[field]]) == 1, path
    # also where another surface made it
    assert m.dies_in("rename", 1, "/api/keys", {"name": "omni"}, "one")
    r = m.send("/api/keys", {"name": "omni"}, "one")
    assert r.status_code == 201 and len([k for k in m.s.get("/sluice/v1/keys").json()["data"] if k["label"] == "omni"]) == 1, r.text
