"""OmniRoute's own document, held by a contract proxy: prism stands before sluice, refuses what the document does not allow on the way in, and
fails on what it does not know on the way back. Every operation of the document's tags is called once."""
import json
import subprocess

import httpx
import pytest
from gateway import KEY, ROOT, free_port, wait_for
from node import NODE, environment
from omni import ADMIN, DOCUMENT_PATH, OPERATIONS, PASSWORD, documented, models, omni_config, start

PRISM = ROOT / "tests/node/node_modules/@stoplight/prism-cli/dist/index.js"
MESSAGES = [{"role": "user", "content": "hi"}]

# What other parts of OmniRoute answer for: they write files of the machine, end the process, or need a vendor's sign-in.
ELSEWHERE_TAGS = {"CLI Tools", "OAuth", "Cloud", "Translator"}
ELSEWHERE = {"/api/restart", "/api/shutdown", "/api/evals", "/api/evals/{suiteId}", "/api/sync/cloud", "/api/sync/initialize"}

# Exceptions, each where the document contradicts the contract's rulings. Operations that the document gives no body, though they cannot do
# without one; prism refuses any there. They are lent an object, so that what comes back is still held against the document.
BODIES = {
    "POST /api/providers/test-batch": "which connections (contract, 29)",
    "POST /api/providers/validate": "the credential to try (30)",
    "POST /api/provider-nodes": "the node (33)",
    "PATCH /api/provider-nodes/{id}": "what to change (34)",
    "POST /api/provider-nodes/validate": "the address to try (36)",
    "PATCH /api/combos/{id}": "what to change (43)",
    "POST /api/combos/test": "the combo's name (46)",
    "PATCH /api/settings/proxy": "the proxy (51)",
    "POST /api/settings/proxy/test": "the proxy to try (52)",
    "POST /api/settings/require-login": "whether (53)",
    "POST /api/pricing": "the prices (74)",
}


def document(folder):
    """The file that prism reads: the document with those bodies."""
    lent = json.loads(DOCUMENT_PATH.read_text(encoding="utf-8"))
    for name in BODIES:
        method, _, path = name.partition(" ")
        operation = lent["paths"][path][method.lower()]
        assert "requestBody" not in operation, "%s has a body by now: no exception" % name
        operation["requestBody"] = {"required": True, "content": {"application/json": {"schema": {"type": "object"}}}}
    (folder / "document.json").write_text(json.dumps(lent), encoding="utf-8")
    return folder / "document.json"


class Proxy:
    """prism in front of a sluice: notes what was called, and all violations."""

    def __init__(self, folder, origin):
        port = free_port()
        self.log, self.called, self.faults = folder / "prism.log", set(), []
        with open(self.log, "wb") as out:
            self.process = subprocess.Popen([NODE, PRISM, "proxy", document(folder), origin, "--errors", "--port", str(port), "--host", "127.0.0.1"],
                                            stdout=out, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL, env=environment())
        self.http = httpx.Client(base_url="http://127.0.0.1:%d" % port, timeout=60, trust_env=False)
        try:
            wait_for(self.listens, "prism listens", 60)
        except AssertionError:
            self.stop()
            raise

    def listens(self):
        text = self.log.read_text(errors="replace")
        assert self.process.poll() is None, text
        return "Prism is listening" in text

    def call(self, method, path, body=None, key=ADMIN, **options):
        """The answer as it came through. prism answers in its own name where something does not fit."""
        r = self.http.request(method, path, json=body, headers={"Authorization": "Bearer " + key}, **options)
        template = documented(method, path.partition("?")[0])[0]
        name = method + " " + template
        self.called.add((method, template))
        if "sl-violations" in r.headers or "stoplight.io/prism" in r.text:
            self.faults.append("%s: %d %s %s" % (name, r.status_code, r.headers.get("sl-violations", ""), r.text))
        elif not r.is_success:
            self.faults.append("%s is not well: %d %s" % (name, r.status_code, r.text))
        return r

    def json(self, *what, **options):
        """The same, for what the next calls need."""
        r = self.call(*what, **options)
        assert not self.faults, "\n".join(self.faults)
        return r.json()

    def get(self, *paths):
        for path in paths:
            self.call("GET", path)

    def stop(self):
        self.http.close()
        self.process.kill()
        self.process.wait()


@pytest.fixture
def proxy(upstream, calls, tmp_path):
    config = omni_config(upstream.origin, diagnostics_ip_url=upstream.origin + "/ip")
    running = start(tmp_path / "omni", upstream.origin, calls, config)
    proxy = Proxy(tmp_path, running.origin)
    yield proxy
    proxy.stop()
    running.stop()


def test_every_operation_through_a_contract_proxy(proxy, upstream):
    assert proxy.http.post("/api/v1/embeddings", json={"input": "hi"}).status_code == 401  # it does look
    assert proxy.http.post("/api/v1/embeddings", json={"input": "hi"}, headers={"Authorization": "Bearer " + KEY}).status_code == 422
    upstream.play(models("gpt-x"))
    inference(proxy)
    served_models(proxy)
    connections(proxy, upstream.origin)
    keys_and_combos(proxy)
    settings(proxy)
    usage_and_prices(proxy)
    system(proxy)
    assert not proxy.faults, "\n".join(proxy.faults)
    left = {(method, path) for method, _, path, operation in OPERATIONS
            if not ELSEWHERE_TAGS & set(operation["tags"]) and path not in ELSEWHERE} - proxy.called
    assert not left, "not called: %s" % sorted(left)


def inference(p):
    def ask(path, **body):
        return p.call("POST", "/api/v1" + path, {"model": "echo", **body}, KEY)

    ask("/chat/completions", messages=MESSAGES)
    ask("/chat/completions", messages=MESSAGES, stream=True)
    ask("/providers/echo/chat/completions", messages=MESSAGES)
    ask("/api/chat", messages=MESSAGES)
    ask("/messages", messages=MESSAGES, max_tokens=9)
    ask("/messages/count_tokens", messages=MESSAGES)
    ask("/responses", input="hi")
    ask("/embeddings", input="hi")
    ask("/providers/echo/embeddings", input="hi")
    ask("/images/generations", prompt="a cat")
    ask("/providers/echo/images/generations", prompt="a cat")
    ask("/audio/speech", input="hi", voice="alloy")
    p.call("POST", "/api/v1/audio/transcriptions", None, KEY, data={"model": "echo"}, files={"file": ("a.wav", b"RIFF", "audio/wav")})
    ask("/moderations", input="hi")
    ask("/rerank", query="hi", documents=["a", "b"])
    p.call("POST", "/api/v1beta/models/echo:generateContent", {"contents": [{"role": "user", "parts": [{"text": "hi"}]}]}, KEY)
    for path in ("/api/v1", "/api/v1/models", "/api/v1beta/models", "/api/tags"):
        p.call("GET", path, key=KEY)


def served_models(p):
    p.get("/api/models", "/api/models/catalog", "/api/models/availability")
    p.call("POST", "/api/models/alias", {"model": "echo", "alias": "fast"})
    p.call("POST", "/api/models/availability")


def connections(p, origin):
    new = {"provider": "together", "name": "t", "apiKey": "k-123456789", "url": "http://127.0.0.1:9/v1"}
    one = p.json("POST", "/api/providers", new)["connection"]["id"]
    p.get("/api/providers", "/api/providers/client", "/api/providers/" + one)
    p.call("PATCH", "/api/providers/" + one, {"provider": "together", "url": new["url"], "name": "u"})
    chat = next(c["id"] for c in p.json("GET", "/api/providers")["connections"] if c["name"] == "chat")
    p.call("POST", "/api/providers/%s/test" % chat)
    p.get("/api/providers/%s/models" % chat, "/api/usage/" + chat)
    p.call("POST", "/api/providers/test-batch", {"mode": "provider", "providerId": "openai-compatible"})
    p.call("POST", "/api/providers/validate", {"provider": "together", "apiKey": "k-123456789"})
    p.call("POST", "/api/rate-limit", {"connectionId": one, "enabled": True})
    p.call("DELETE", "/api/providers/" + one)
    node = {"name": "N", "prefix": "n", "apiType": "chat", "baseUrl": "http://127.0.0.1:9/v1"}
    made = p.json("POST", "/api/provider-nodes", node)["node"]["id"]
    p.get("/api/provider-nodes", "/api/provider-models")
    p.call("PATCH", "/api/provider-nodes/" + made, {"name": "M"})
    p.call("POST", "/api/provider-nodes/validate", {"baseUrl": origin + "/v1", "apiKey": "k-123456789"})
    p.call("DELETE", "/api/provider-nodes/" + made)


def keys_and_combos(p):
    made = p.json("POST", "/api/keys", {"label": "app"})["id"]
    p.get("/api/keys")
    p.call("GET", "/api/usage/budget?apiKeyId=" + made)
    p.call("POST", "/api/usage/budget", {"apiKeyId": made, "dailyLimitUsd": 5})
    p.call("DELETE", "/api/keys/" + made)
    echo = next(c["id"] for c in p.json("GET", "/api/providers")["connections"] if c["name"] == "echo")
    combo = p.json("POST", "/api/combos", {"name": "smart", "model": "echo", "strategy": "round-robin", "nodes": [
        {"connectionId": echo, "weight": 1, "priority": 1}]})["id"]
    p.get("/api/combos", "/api/combos/metrics")
    p.call("PATCH", "/api/combos/" + combo, {"isActive": True})
    p.call("POST", "/api/combos/test", {"comboName": "smart"})
    p.call("DELETE", "/api/combos/" + combo)
    p.call("POST", "/api/fallback/chains", {"model": "gpt-x", "chain": [{"provider": "chat", "priority": 1, "enabled": True}]})
    p.get("/api/fallback/chains")
    p.call("DELETE", "/api/fallback/chains", {"model": "gpt-x"})


def settings(p):
    p.get(*("/api/settings" + rest for rest in ("", "/combo-defaults", "/proxy", "/ip-filter", "/system-prompt", "/thinking-budget")))
    p.call("PATCH", "/api/settings", {"maxCallLogs": 5000})
    p.call("PATCH", "/api/settings/proxy", {"level": "global", "proxy": None})
    p.call("POST", "/api/settings/proxy/test", {"proxy": {"host": "127.0.0.1", "port": 9}})
    p.call("POST", "/api/settings/require-login", {"requireLogin": True})
    p.call("PUT", "/api/settings/ip-filter", {"addBlacklist": "192.0.2.1"})
    p.call("PUT", "/api/settings/system-prompt", {"enabled": False, "prompt": "Be brief."})
    p.call("PUT", "/api/settings/thinking-budget", {"mode": "auto"})


def usage_and_prices(p):
    p.get("/api/usage/analytics?period=week", "/api/usage/history", "/api/usage/logs", "/api/usage/request-logs", "/api/usage/proxy-logs")
    rows = wait_for(lambda: p.json("GET", "/api/usage/call-logs?limit=5&offset=0"), "a row of the log")
    p.get("/api/usage/call-logs/" + rows[0]["id"])
    p.get("/api/pricing", "/api/pricing/defaults", "/api/pricing/models")
    p.call("POST", "/api/pricing", {"openai": {"gpt-x": {"input": 1, "output": 2}}})


def system(p):
    p.call("POST", "/api/auth/login", {"password": PASSWORD})
    p.call("POST", "/api/auth/logout")
    p.get("/api/init", "/api/storage/health", "/api/monitoring/health", "/api/rate-limits", "/api/rate-limit", "/api/sessions")
    p.get("/api/telemetry/summary", "/api/token-health", "/api/cache", "/api/cache/stats", "/api/compliance/audit-log?limit=3")
    p.call("DELETE", "/api/cache")
    p.call("DELETE", "/api/cache/stats")
    p.call("POST", "/api/db-backups")
    p.get("/api/db-backups", "/api/resilience", "/api/policies")
    p.call("PUT", "/api/resilience", {"defaults": {"requestsPerMinute": 7}})
    p.call("POST", "/api/resilience/reset")
    policy = p.json("POST", "/api/policies", {"name": "no", "match": {"model": "two/*"}, "action": {"type": "deny"}})["id"]
    p.call("DELETE", "/api/policies?id=" + policy)
