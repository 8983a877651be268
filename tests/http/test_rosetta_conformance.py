"""The conformance checklist of llm-rosetta's contract, one test a row, against a file written by hand."""
import concurrent.futures
import json
import re

import pytest
from formats import FORMATS
from formats.common import Ask
from gateway import Sluice, wait_for
from upstream import http

PASSWORD = "hunter-two"
KEY = "rsk-0123456789abcdef0123456789abcdef"
CHEAP = '"password_memory_bytes": 65536, "password_passes": 1'
ADMIN = "/admin/api"
CONFIG = ADMIN + "/config"

TEXT = """\
{
  // who serves
  "providers": {
    "oa": { "type": "openai_chat", "api_key": "sk-abcdefghijkl", "base_url": "@/v1" },
    "an": { "type": "anthropic", "api_key": "${AN_KEY}", "base_url": "@", "proxy": "" } /* with a comment */
  },
  "models": {
    "old-form": "oa", // just a name
    "new-form": { "provider": "oa", "capabilities": ["text", "tools"], "upstream_model": "up-2" },
    "claude": { "provider": "an" }
  },
  "server": { %s"api_keys": [ { "id": "0a1b2c3d", "key": "%s", "label": "ci", "created": "2025-01-01T00:00:00+00:00" } ] }
}
"""


class Gateway(Sluice):
    """sluice on a file of llm-rosetta's, spoken to as its panel does."""
    token = None

    def write_config(self, text):
        self.config_path = self.folder / "config.jsonc"
        self.config_path.write_text(text, encoding="utf-8")

    def file(self):
        return self.config_path.read_text(encoding="utf-8")

    def sign_in(self, password=PASSWORD):
        r = self.post(ADMIN + "/login", {"password": password}, auth=False)
        self.http.cookies.clear()
        if r.status_code == 200:
            self.token = r.json()["token"]
        return r

    def admin(self, method, path, body=None, **options):
        headers = {"X-Admin-Token": self.token} if self.token else {}
        return self.call(method, path, body, auth=False, headers=headers, **options)

    def chat(self, model, key=KEY, **more):
        f, ask = FORMATS["chat"], Ask(model=model)
        return self.post(f.path(ask), {**f.request(ask), **more}, headers=self.auth(key), auth=False)


@pytest.fixture
def serve(tmp_path, scripted, upstream, calls):
    running = []

    def start(text=None, server='"admin_password": "%s", %s, ' % (PASSWORD, CHEAP), arguments=(), signs_in=True, **env):
        text = (text or TEXT % (server, KEY)).replace("@", scripted.origin)
        s = Gateway(tmp_path / ("gateway%d" % len(running)), text, calls, arguments=arguments, key=KEY,
                    env={"AN_KEY": "sk-an-0123456789", **env})
        running.append(s)
        if signs_in:
            assert s.sign_in().status_code == 200
        return s

    yield start
    for s in running:
        s.stop()


def ok(r):
    assert r.status_code == 200, r.text
    return r.json()


def refused(r, status, text):
    assert (r.status_code, r.json()) == (status, {"error": text}), r.text


def entry_of(text, name):
    """The lines from a provider's entry to the end of its section."""
    start = text.index('"%s": {' % name)
    return text[start:text.index('"models"')]


def test_01_auth_check_flips_with_the_password(serve):
    s = serve(signs_in=False)
    assert ok(s.get(ADMIN + "/auth-check", auth=False)) == {"requires_auth": True}
    refused(s.get(CONFIG, auth=False), 401, "Admin authentication required")
    refused(s.get(CONFIG), 401 if s.get(CONFIG).status_code == 401 else 403, s.get(CONFIG).json()["error"])  # a client key
    got = ok(s.sign_in())
    assert got["ok"] is True and re.fullmatch("[0-9a-f]{64}", got["token"])
    ok(s.admin("GET", CONFIG))
    ok(s.get(CONFIG, auth=False, headers={"Authorization": "Bearer " + got["token"]}))
    assert s.chat("old-form", key=got["token"]).status_code == 401  # the token is no key
    # without a password nothing is open, unless the operator says so for this machine
    s = serve(server="", signs_in=False)
    refused(s.get(CONFIG, auth=False), 401, "Admin authentication required")
    r = s.sign_in()
    assert r.status_code == 400 and r.json()["error"] == "Admin password not configured"  # Routstr's `detail` stands beside it
    s = serve(server='"require_login": false, ', signs_in=False)
    assert ok(s.get(ADMIN + "/auth-check", auth=False)) == {"requires_auth": False}
    ok(s.get(CONFIG, auth=False))


def test_02_five_wrong_logins_lock_the_address(serve):
    s = serve(signs_in=False)
    r = s.post(ADMIN + "/login", b"{", auth=False)
    assert r.status_code == 400 and r.json()["error"] == "Invalid JSON body"  # counts as nothing
    for body in ({"password": "no"}, {"password": ""}, {}, {"password": PASSWORD + " "}):
        r = s.post(ADMIN + "/login", body, auth=False)
        assert (r.status_code, r.json()["error"]) == (401, "Invalid password")
    r = s.post(ADMIN + "/login", {"password": "no"}, auth=False)
    assert r.status_code == 401 and re.fullmatch(r"Too many failed attempts\. Locked for (300|2\d\d)s\.", r.json()["error"])
    r = s.sign_in()
    assert r.status_code == 429 and re.fullmatch(r"Too many failed attempts\. Try again in (\d+)s\.", r.json()["error"])
    assert 200 <= int(r.headers["retry-after"]) <= 300
    assert s.post(ADMIN + "/login", b"{", auth=False).status_code == 429  # before the body is looked at
    s = serve(server='"admin_password": "%s", %s, "login_lockout_ms": 5000, ' % (PASSWORD, CHEAP), signs_in=False)
    for _ in range(5):
        s.sign_in("no")
    assert s.sign_in().status_code == 429
    wait_for(lambda: s.sign_in().status_code == 200, "the end of the lock-out")


@pytest.mark.parametrize("key,shown", [("", "***"), ("12345678", "***"), ("123456789", "1234***6789"),
                                       ("0123456789012345678901234567890123456789", "0123***6789"), ("${X}", "${X}"), ("${X}y", "***"),
                                       ("${LONG_NAME}y", "${LO***ME}y"), ("key-one,key-two", "key-***-two"), ("é" * 8, "***"),
                                       ("é" * 9, "éééé***éééé")])
def test_03_masking(serve, key, shown):
    text = json.dumps({"providers": {"p": {"type": "openai_chat", "api_key": key, "base_url": "@/v1"}}, "models": {}, "server": {
        "admin_password": PASSWORD, "password_memory_bytes": 65536, "password_passes": 1}}, ensure_ascii=False)
    s = serve(text, X="value-of-x", LONG_NAME="value-of-long-name")
    assert ok(s.admin("GET", CONFIG))["providers"]["p"]["api_key"] == shown


def test_04_a_masked_key_keeps_the_stored_one_and_placeholders_survive(serve, upstream):
    s = serve()
    base = ok(s.admin("GET", CONFIG))["providers"]["oa"]["base_url"]
    for turn in range(10):
        shown = ok(s.admin("GET", CONFIG))["providers"]
        ok(s.admin("PUT", CONFIG + "/providers/oa", {**shown["oa"], "base_url": base}))
        ok(s.admin("PUT", CONFIG + "/providers/an", {**shown["an"]}))
        ok(s.admin("PUT", CONFIG + "/models/turn", {"provider": "oa", "upstream_model": "m%d" % turn}))
    assert '"sk-abcdefghijkl"' in s.file() and '"${AN_KEY}"' in s.file()
    assert s.chat("old-form").status_code == 200 and upstream.last.header("authorization") == "Bearer sk-abcdefghijkl"
    assert s.chat("claude").status_code == 200 and upstream.last.header("x-api-key") == "sk-an-0123456789"
    for comment in ("// who serves", "/* with a comment */", "// just a name"):
        assert comment in s.file()


def test_05_renames(serve, scripted):
    s = serve()
    before = s.file()
    body = {"base_url": scripted.origin + "/v1", "type": "openai_chat"}
    refused(s.admin("PUT", CONFIG + "/providers/an", {**body, "rename_from": "oa"}), 409, "Provider 'an' already exists")
    refused(s.admin("PUT", CONFIG + "/models/claude", {"provider": "oa", "rename_from": "old-form"}), 409, "Model 'claude' already exists")
    assert s.file() == before
    ok(s.admin("PUT", CONFIG + "/providers/oa", {**body, "rename_from": "oa"}))  # to itself: a plain update
    ok(s.admin("PUT", CONFIG + "/providers/fresh", {**body, "rename_from": "oa"}))
    models = ok(s.admin("GET", CONFIG))["models"]
    assert models["old-form"]["provider"] == "fresh" == models["new-form"]["provider"] and models["claude"]["provider"] == "an"
    assert '"old-form": "fresh"' in s.file()  # the short form stays short
    assert s.chat("old-form").status_code == 200 and s.chat("new-form").status_code == 200


def test_06_deleting_providers(serve):
    s = serve()
    before = s.file()
    refused(s.admin("DELETE", CONFIG + "/providers/oa"), 409,
            "Cannot delete provider 'oa': referenced by models: ['old-form', 'new-form']")
    assert s.file() == before
    got = ok(s.admin("DELETE", CONFIG + "/providers/oa?cascade=1"))
    assert got == {"ok": True, "deleted": "oa", "providers": ["an"], "cascade_deleted_models": ["old-form", "new-form"]}
    ok(s.admin("DELETE", CONFIG + "/models/claude"))
    assert "cascade_deleted_models" not in ok(s.admin("DELETE", CONFIG + "/providers/an?cascade=true"))


def test_07_toggling_twice_restores_the_entry(serve):
    s = serve()
    for name in ("oa", "an"):
        before = entry_of(s.file(), name)
        assert ok(s.admin("POST", CONFIG + "/providers/%s/toggle" % name))["enabled"] is False
        assert entry_of(s.file(), name) != before
        assert ok(s.admin("POST", CONFIG + "/providers/%s/toggle" % name))["enabled"] is True
        assert entry_of(s.file(), name) == before


@pytest.mark.parametrize("path,name", [("a/b/c", "a/b/c"), ("a%2Fb%2Fc", "a/b/c"), ("with%20space", "with space"),
                                       ("%E6%A8%A1%E5%9E%8B", "模型"), ("q%22uote", 'q"uote')])
def test_08_model_names(serve, upstream, path, name):
    s = serve()
    got = ok(s.admin("PUT", CONFIG + "/models/" + path, {"provider": "oa"}))
    assert got["model"] == name and got["models"][name] == "oa"
    assert s.chat(name).status_code == 200 and upstream.last.json["model"] == name
    assert ok(s.admin("DELETE", CONFIG + "/models/" + path))["deleted"] == name
    assert s.chat(name).status_code == 404


def test_09_bulk_add_skips_what_stands_twice(serve):
    s = serve()
    got = ok(s.admin("POST", CONFIG + "/models", {"provider": "oa", "models": ["x", "x", "y"], "prefix": "my/"}))
    assert (got["added"], got["skipped"]) == (["my/x", "my/y"], ["my/x"])
    before = s.file()
    got = ok(s.admin("POST", CONFIG + "/models", {"provider": "oa", "models": ["x", "y"], "prefix": "my/"}))
    assert got == {"ok": True, "added": [], "skipped": ["my/x", "my/y"], "message": "All models already exist"}
    assert s.file() == before


def test_10_the_legacy_key(serve):
    text = '{ "providers": {"echo": {"type": "echo"}}, "models": {"echo": "echo"}, // one key\n' \
           '  "server": { "api_key": "legacy-key-0001", "admin_password": "%s", %s } }' % (PASSWORD, CHEAP)
    s = serve(text)
    assert ok(s.admin("GET", ADMIN + "/keys")) == {"keys": [{"id": "default", "key": "lega***0001", "label": "default", "created": ""}]}
    for method, path, body in (("PUT", "", {"label": "x"}), ("DELETE", "", None), ("POST", "/rotate", None)):
        refused(s.admin(method, ADMIN + "/keys/default" + path, body), 404, "Key 'default' not found")
    assert s.chat("echo", "legacy-key-0001").status_code == 200
    made = ok(s.admin("POST", ADMIN + "/keys", {"label": "second"}))["key"]
    keys = ok(s.admin("GET", ADMIN + "/keys"))["keys"]
    assert [k["id"] for k in keys] == ["default", made["id"]]
    for key in ("legacy-key-0001", made["key"]):
        assert s.chat("echo", key).status_code == 200
    assert "// one key" in s.file()
    assert ok(s.admin("DELETE", ADMIN + "/keys/default"))["deleted"] == "default"
    assert s.chat("echo", "legacy-key-0001").status_code == 401 and s.chat("echo", made["key"]).status_code == 200


def test_11_metrics_series(serve):
    s = serve()
    s.chat("old-form")
    for asked, n in ((1, 1), (60, 60), (300, 300), (999, 300), (0, 1), (-5, 1), (None, 60)):
        got = ok(s.admin("GET", ADMIN + "/metrics" + ("" if asked is None else "?seconds=%d" % asked)))
        assert [point["t"] for point in got["series"]] == list(range(-(n - 1), 1)), asked
    assert s.admin("GET", ADMIN + "/metrics?seconds=many").status_code == 400
    assert got["total_requests"] == 1 and got["by_model"] == {"old-form": 1} and got["by_target_provider"] == {"oa": 1}


def test_12_the_request_log(serve, upstream, tmp_path):
    s = serve()
    for model in ("old-form", "new-form", "claude", "old-form"):
        assert s.chat(model).status_code == 200
    upstream.play(http(400, '{"error":{"message":"no"}}'))
    assert s.chat("old-form").status_code == 400

    def entries(query=""):
        return ok(s.admin("GET", ADMIN + "/requests" + query))

    got = wait_for(lambda: (g := entries())["total"] == 5 and g, "five records")
    times = [e["timestamp"] for e in got["entries"]]
    assert times == sorted(times, reverse=True)
    assert [e["model"] for e in entries("?limit=2&offset=1")["entries"]] == ["old-form", "claude"]
    assert entries("?limit=1")["total"] == 5
    assert {e["model"] for e in entries("?model=old-form")["entries"]} == {"old-form"} and entries("?model=old-form")["total"] == 3
    assert entries("?provider=an")["total"] == 1 and entries("?status=error")["total"] == 1 and entries("?status=ok")["total"] == 4
    entry = entries("?status=error")["entries"][0]
    assert (entry["target_provider"], entry["source_provider"], entry["status_code"], entry["api_key_label"]) == (
        "oa", "openai_chat", 400, "ci")
    s.stop()
    again = Gateway(s.folder, s.file(), s.calls, key=KEY, env={"AN_KEY": "k"})
    try:
        again.sign_in()
        assert ok(again.admin("GET", ADMIN + "/requests"))["total"] == 5  # they survive a restart
        assert ok(again.admin("DELETE", ADMIN + "/requests")) == {"ok": True}
        assert ok(again.admin("GET", ADMIN + "/requests")) == {"entries": [], "total": 0}
    finally:
        again.stop()


def test_13_test_tasks(serve, upstream):
    s = serve()
    body = {"endpoint": "/v1/chat/completions", "payload": {"model": "old-form", "messages": [{"role": "user", "content": "Hi"}]}}
    task = ADMIN + "/test/" + ok(s.admin("POST", ADMIN + "/test", body))["task_id"]
    got = wait_for(lambda: (g := ok(s.admin("GET", task)))["status"] != "pending" and g, "the end")
    assert (got["status"], got["status_code"]) == ("done", 200)

    async def never(conn, request):
        await conn.until_gone()

    upstream.play(never)
    task = ADMIN + "/test/" + ok(s.admin("POST", ADMIN + "/test", body))["task_id"]
    assert ok(s.admin("GET", task)) == {"status": "pending"}
    assert ok(s.admin("DELETE", task)) == {"ok": True} and ok(s.admin("GET", task)) == {"status": "cancelled"}
    refused(s.admin("GET", ADMIN + "/test/0123456789ab"), 404, "Task not found")
    refused(s.admin("POST", ADMIN + "/test", {**body, "payload": [1]}), 400, "Missing endpoint or payload")
    wait_for(lambda: "internal" in ok(s.admin("GET", ADMIN + "/requests/key-labels"))["labels"], "their records")


def test_14_a_file_that_does_not_load(serve):
    s = serve()
    good = s.file()
    s.config_path.write_text(good.replace('"base_url": "http', '"base_url": "ftp', 1), encoding="utf-8")
    r = s.admin("POST", CONFIG + "/reload")
    assert r.status_code == 500 and r.json()["error"].startswith("Reload failed: ") and "base_url" in r.json()["error"]
    assert s.chat("old-form").status_code == 200 and s.chat("claude").status_code == 200
    r = s.admin("PUT", CONFIG + "/models/more", {"provider": "an"})
    assert r.status_code == 500 and r.json()["saved"] is True and r.json()["reloaded"] is False
    assert r.json()["error"].startswith("Config saved but reload failed: ")
    assert s.chat("old-form").status_code == 200
    s.config_path.write_text("{ nonsense", encoding="utf-8")
    r = s.admin("GET", CONFIG)
    assert r.status_code == 500 and r.json()["error"].startswith("Failed to read config: ")
    assert s.chat("old-form").status_code == 200
    s.config_path.write_text(good, encoding="utf-8")
    assert ok(s.admin("POST", CONFIG + "/reload"))["ok"] is True


@pytest.mark.parametrize("client,path", [("chat", "/v1/chat/completions"), ("responses", "/v1/responses"), ("anthropic", "/v1/messages"),
                                         ("google", "/v1beta/models/old-form:generateContent")])
def test_15_error_envelopes(serve, client, path):
    s = serve(signs_in=False)
    asked = FORMATS[client].request(Ask(model="nothing"))
    for r, status, message in (
            (s.post(path.replace("old-form", "nothing"), asked), 404, "Unknown model: 'nothing'"),
            (s.post(path, b"{"), 400, "JSON"),
            (s.post(path, asked, auth=False, headers={"Authorization": "Bearer rsk-wrong-0001"}), 401, "Invalid or missing API key")):
        assert r.status_code == status, r.text
        body, error = r.json(), r.json()["error"]
        assert message in error["message"]
        if client == "anthropic":
            assert body["type"] == "error" and error["type"]
        elif client == "google":
            assert error["code"] == status and error["status"] == {400: "INVALID_ARGUMENT", 401: "UNAUTHENTICATED", 404: "NOT_FOUND"}[status]
        else:
            assert error["type"] and "code" in error


def test_16_writes_that_race_lose_nothing(serve):
    s = serve()

    def add(i):
        kind = i % 3
        if kind == 0:
            return s.admin("PUT", CONFIG + "/models/race-%d" % i, {"provider": "oa"})
        if kind == 1:
            return s.admin("POST", ADMIN + "/keys", {"label": "race-%d" % i})
        return s.admin("POST", CONFIG + "/models", {"provider": "an", "models": ["race-%d" % i]})

    with concurrent.futures.ThreadPoolExecutor(16) as pool:
        answers = list(pool.map(add, range(60)))
    assert {r.status_code for r in answers} == {200}, [r.text for r in answers if r.status_code != 200]
    models = ok(s.admin("GET", CONFIG))["models"]
    labels = {k["label"] for k in ok(s.admin("GET", ADMIN + "/keys"))["keys"]}
    for i in range(60):
        assert ("race-%d" % i in labels) if i % 3 == 1 else ("race-%d" % i in models), i
    for r in answers[1::3]:
        assert s.chat("old-form", r.json()["key"]["key"]).status_code == 200
    for comment in ("// who serves", "/* with a comment */", "// just a name"):
        assert comment in s.file()
    ok(s.admin("POST", CONFIG + "/reload"))
