"""The disk fails under a change of the configuration: full, read-only, slow. What was acknowledged is there, what was refused is not,
nothing is there in half, the error says why, and inference goes on."""
import errno
import os
import re
import signal
import threading
import time

import pytest
from faults import DISK, FULL, Gate, preloaded
from gateway import KEY, Sluice, wait_for

ADMIN = "sk-admin-0123456789abcdef"
CONFIG = {"providers": {"p": {"type": "echo"}}, "models": {"m": "p", "fixed": "p"},
          "server": {"api_keys": [{"id": "0a1b2c3d", "key": KEY}, {"id": "ad000001", "key": ADMIN, "scopes": ["admin"]}]}}
LISTS = ("providers", "models", "keys", "settings", "config/versions", "combos", "chains", "aliases", "orgs", "users", "budgets", "prices")


def ask(s, key=KEY, model="fixed"):
    return s.post("/v1/chat/completions", {"model": model, "messages": [{"role": "user", "content": "x"}]}, headers=s.auth(key))


def state(s):
    answers = [s.get("/sluice/v1/" + name) for name in LISTS]
    assert [r.status_code for r in answers] == [200] * len(LISTS), [r.text[:300] for r in answers]
    return [s.config_path.read_text()] + [r.json()["data"] for r in answers]


def status(s):
    return s.get("/healthz", auth=False).json()["status"]


class Made:
    """A sluice whose disk a test may fail, with a model, a key and a provider where changes go: into the file, or into the store."""

    def __init__(self, library, folder, home):
        self.folder, self.library = folder, library
        self.start(CONFIG)
        if home == "store":
            os.chmod(self.s.config_path, 0o444)
        assert self.s.post("/sluice/v1/providers", {"name": "q", "type": "echo"}).json()["origin"] == {"file": "file", "store": "api"}[home]
        assert self.s.post("/sluice/v1/models", {"name": "own", "targets": [{"provider": "q"}]}).status_code == 201
        self.key = self.s.post("/sluice/v1/keys", {"label": "k", "allowed_models": ["own", "fixed"]}).json()
        self.version = self.s.get("/sluice/v1/config/versions").json()["data"][0]["id"]  # from here on there is something to go back from
        assert self.s.post("/sluice/v1/combos", {"name": "c", "members": [{"model": "fixed"}]}).status_code == 201
        assert self.s.post("/sluice/v1/aliases", {"alias": "a", "to": "c"}).status_code == 201

    def start(self, config=None):
        self.s = Sluice(self.folder, config, key=ADMIN, env=preloaded(self.library, self.folder.parent / "gate"))
        self.gate = Gate(self.folder.parent / "gate")

    def kill(self):
        self.s.process.send_signal(signal.SIGKILL)
        self.s.process.wait()
        self.s.http.close()
        self.s.log.close()


@pytest.fixture
def made(library, tmp_path):
    running = []

    def make(home):
        running.append(Made(library, tmp_path / "s", home))
        return running[0]

    yield make
    for m in running:
        m.gate.disarm()
        m.s.stop()


def changes(m):
    return [("POST", "/sluice/v1/providers", {"name": "new", "type": "echo"}), ("PATCH", "/sluice/v1/providers/q", {"enabled": False}),
            ("PATCH", "/sluice/v1/providers/q", {"name": "renamed"}), ("POST", "/sluice/v1/models", {"name": "new", "targets": [{"provider": "p"}]}),
            ("PATCH", "/sluice/v1/models/own", {"name": "renamed"}), ("DELETE", "/sluice/v1/models/own", None),
            ("POST", "/sluice/v1/keys", {"label": "new"}), ("PATCH", "/sluice/v1/keys/" + m.key["id"], {"enabled": False}),
            ("DELETE", "/sluice/v1/keys/" + m.key["id"], None),
            ("PATCH", "/sluice/v1/settings/max_attempts", {"value": 7}),
            ("POST", "/sluice/v1/combos", {"name": "new-c", "members": [{"model": "own"}]}), ("PATCH", "/sluice/v1/combos/c", {"name": "renamed-c"}),
            ("PUT", "/sluice/v1/chains/m", {"chain": [{"provider": "p"}]}), ("POST", "/sluice/v1/aliases", {"alias": "new-a", "to": "own"}),
            ("DELETE", "/sluice/v1/aliases/a", None), ("POST", "/sluice/v1/orgs", {"id": "o", "name": "o"}), ("POST", "/sluice/v1/users", {"id": "u", "name": "u"}),
            ("POST", "/sluice/v1/budgets", {"name": "b", "scope": "all", "limit_usd": 1}), ("POST", "/sluice/v1/prices", {"provider": "p", "model": "x", "price": {"input": 1}}),
            ("POST", "/sluice/v1/config/versions/%s/rollback" % m.version, {}), ("DELETE", "/sluice/v1/providers/q?cascade=true", None)]


def test_a_file_that_cannot_be_written_is_told_in_the_words_of_the_surface(made):
    m = made("file")
    m.gate.arm("fsync", 1, errno.ENOSPC, goes_on=True)  # the store's are by fdatasync
    r = m.s.call("PUT", "/admin/api/config/models/new", {"provider": "p"})
    assert r.status_code == 500 and re.match("Failed to write config: .*No space left", r.json()["error"]), r.text
    r = m.s.post("/sluice/v1/models", {"name": "new", "targets": [{"provider": "p"}]})
    assert r.status_code == 500 and re.match("The configuration file cannot be written: .*No space left", r.json()["error"]["message"]), r.text


@pytest.mark.parametrize("home", ["file", "store"])
def test_a_full_or_read_only_disk_refuses_changes_whole(made, home):
    m = made(home)
    s, before = m.s, state(m.s)
    for calls, number, says in ((FULL, errno.ENOSPC, ("No space left", "is full", "I/O error")), (DISK, errno.EROFS, ("Read-only", "readonly"))):
        m.gate.arm(calls, 1, number, goes_on=True)
        for method, path, body in changes(m):
            r = s.call(method, path, body)
            assert r.status_code >= 500 and any(word in r.json()["error"]["message"] for word in says), (method, path, r.status_code, r.text)
            assert ask(s).status_code == 200 and ask(s, m.key["key"], "own").status_code == 200
        wait_for(lambda: status(s) == "degraded", "it says so")
        r = ask(s)
        assert r.status_code == 200 and r.headers["x-sluice-degraded"] == "store"
        assert state(s) == before
        assert sorted(p.name for p in m.folder.iterdir() if ".new" in p.name) == []
        m.gate.disarm()
        wait_for(lambda: status(s) == "ok", "it recovers")
        assert "x-sluice-degraded" not in ask(s).headers
    m.gate.arm(FULL, 1, errno.ENOSPC, goes_on=True)
    assert s.call("PATCH", "/sluice/v1/models/own", {"name": "renamed"}).status_code >= 500
    m.kill()  # in the middle of it all: nothing shows later what was refused
    m.start()
    assert state(m.s) == before
    assert m.s.call("PATCH", "/sluice/v1/models/own", {"name": "renamed"}).status_code == 200
    assert ask(m.s, m.key["key"], "renamed").status_code == 200 and ask(m.s, m.key["key"], "own").status_code == 403


def test_a_disk_that_fills_up_at_any_point_of_a_change(made):
    """The change stands in the file and in the store: a model, and a key that may use it. Both of it, or nothing."""
    m = made("store")  # the key is there …
    s, name, other, hits, waited = m.s, "m", "n", 0, 0
    os.chmod(s.config_path, 0o644)  # … and the model here
    assert s.call("PATCH", "/sluice/v1/keys/" + m.key["id"], {"allowed_models": ["m", "fixed"]}).status_code == 200

    def both(model):
        return [x["name"] for x in s.get("/sluice/v1/models").json()["data"] if x["name"] in ("m", "n")] == [model] and \
            s.get("/sluice/v1/keys/" + m.key["id"]).json()["allowed_models"] == [model, "fixed"] and \
            '"%s": ' % model in s.config_path.read_text() and ask(s, m.key["key"], model).status_code == 200

    def fill_up(n):
        """As much of a change as works when the n-th call that writes fails; others of the process come between. Whether any did."""
        nonlocal name, other, waited
        m.gate.arm(FULL, n, errno.ENOSPC if n % 2 else errno.EIO, goes_on=True)
        r = s.call("PATCH", "/sluice/v1/models/" + name, {"name": other})
        has_failed = m.gate.has_failed()
        assert r.status_code == 200 or (has_failed and r.status_code >= 500), (n, r.text)
        reload = s.post("/sluice/v1/reload")
        assert reload.status_code in (200, 500)
        assert ask(s).status_code == 200
        m.gate.disarm()
        waits = r.status_code != 200 and "takes effect once" in r.text
        if r.status_code == 200 or waits:
            waited += waits
            if waits:
                assert ask(s, m.key["key"], name).status_code == 200, n  # until then the old one, whole
                assert s.post("/sluice/v1/reload").status_code == 200
            name, other = other, name
        assert both(name), (n, r.status_code, r.text)
        assert s.post("/sluice/v1/reload").status_code == 200
        assert both(name), (n, r.status_code, r.text)
        return has_failed

    assert both(name)
    for n in range(1, 400):
        if not fill_up(n):
            break
        hits += 1
    assert hits > 8
    for n in range(1, 400):  # where it was saved and then not loaded is one call among them, which another thread's may have been
        if waited:
            break
        fill_up(n % hits + 1)
    assert waited


def test_a_disk_that_takes_five_seconds_for_each_fsync(made):
    m = made("file")
    s, answers = m.s, []
    m.gate.arm("fsync,fdatasync", 1, -5000, goes_on=True)
    change = threading.Thread(target=lambda: answers.append(s.post("/sluice/v1/keys", {"label": "slow"})))
    change.start()
    wait_for(m.gate.has_failed, "the change waits for the disk")
    rounds = 0
    while change.is_alive() and rounds < 20:  # all the while
        assert ask(s).status_code == 200 and ask(s, m.key["key"], "own").status_code == 200
        assert s.get("/sluice/v1/models").status_code == 200
        rounds += change.is_alive()
        time.sleep(.1)
    assert rounds, "nobody was served beside the change"
    wait_for(lambda: status(s) == "degraded", "it says so")
    m.gate.disarm()  # the one that waits goes on waiting
    change.join(60)
    assert answers[0].status_code == 201, answers[0].text
    assert ask(s, answers[0].json()["key"]).status_code == 200
    wait_for(lambda: status(s) == "ok", "it recovers")
    m.kill()
    m.start()
    assert ask(m.s, answers[0].json()["key"]).status_code == 200
