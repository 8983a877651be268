"""Counters: that /metrics says what happened, in a text that Prometheus takes, and no more than a bounded number of names."""
import re
import subprocess
import threading

import pytest
from conftest import basic_config
from formats import FORMATS
from formats.common import HELLO, Ask, Turn
from gateway import CACHE, Sluice, wait_for
from upstream import failure, stream

ADMIN = "sk-admin-0123456789abcdef"
PROMTOOL = CACHE / "promtool"
CHAT = FORMATS["chat"]
BUSY = {"model": "echo", "messages": [{"role": "user", "content": "[[delay 60000]] hi"}]}


def with_admin(config):
    config["server"]["api_keys"].append({"id": "ad000001", "key": ADMIN, "label": "operator", "scopes": ["inference", "models", "admin"]})
    return config


@pytest.fixture
def node(start_sluice, scripted, upstream):
    s = start_sluice(with_admin(basic_config(scripted.origin)))
    s.client_key, s.key = s.key, ADMIN
    return s


def scrape(s, **options):
    """{name: {frozenset of labels: value}}"""
    r = s.get("/metrics", **options)
    assert r.status_code == 200, r.text
    out = {}
    for line in r.text.splitlines():
        if line and not line.startswith("#"):
            name, labels, value = re.fullmatch(r"(\w+)(?:\{(.*)\})? (\S+)", line).groups()
            pairs = frozenset(re.findall(r'(\w+)="((?:[^"\\]|\\.)*)"', labels or ""))
            assert pairs not in out.setdefault(name, {}), "twice: " + line
            out[name][pairs] = float(value)
    return out


def total(metrics, name, **labels):
    return sum(v for k, v in metrics.get(name, {}).items() if set(labels.items()) <= k)


def ask(s, model, key=None, **more):
    body = CHAT.request(Ask(model=model, stream=more.pop("stream", False)))
    return s.post("/v1/chat/completions", {**body, **more}, headers=s.auth(key or s.client_key))


def begun(f):
    """A stream that says a little and then no more."""
    return stream(f.events(Turn(text=HELLO))[:5], f.stream_type, end="silence")


async def quiet(conn, request):
    await conn.until_gone()


def settle(s, n):
    """The count of a request is made when its connection is done with it, a moment after the client has its answer."""
    return wait_for(lambda: (m := scrape(s)) and total(m, "sluice_requests_total") >= n and m, "%d requests are counted" % n)


def test_who_may_read_it(node, start_sluice, scripted):
    assert node.get("/metrics", auth=False).status_code == 401
    assert node.get("/metrics", headers=node.auth(node.client_key)).status_code == 403
    assert node.get("/metrics").headers["content-type"].startswith("text/plain; version=0.0.4")
    config = with_admin(basic_config(scripted.origin))
    config["server"]["metrics_loopback"] = True
    near = start_sluice(config)
    assert near.get("/metrics", auth=False).status_code == 200
    for name in ("X-Forwarded-For", "Forwarded"):
        assert near.get("/metrics", auth=False, headers={name: "203.0.113.9"}).status_code == 401
    config["server"] = {**config["server"], "metrics_loopback": False, "metrics_public": True}
    near.write_config(config)
    wait_for(lambda: near.get("/metrics", auth=False, headers={"X-Forwarded-For": "203.0.113.9"}).status_code == 200, "it is public")
    assert near.get("/sluice/v1/metrics/series", auth=False).status_code == 401


def test_it_says_what_happened(node, scripted, upstream):
    assert ask(node, "to-chat").status_code == 200
    r = ask(node, "to-anthropic", stream=True)
    assert r.status_code == 200 and CHAT.read_stream(r.content).text == HELLO
    assert ask(node, "no-such-model").status_code == 404
    upstream.next(failure(FORMATS["google"], 503, "busy", [("Retry-After", "60")]))  # it cools until the end
    assert ask(node, "to-google").status_code == 503
    assert node.post("/v1/chat/completions", {}, auth=False).status_code == 401
    m = settle(node, 4)
    assert total(m, "sluice_requests_total", code="200", upstream="chat", gen_ai_request_model="to-chat", format="openai_chat") == 1
    assert total(m, "sluice_requests_total", code="200", upstream="anthropic", gen_ai_operation_name="chat") == 1
    assert total(m, "sluice_requests_total", code="404", gen_ai_request_model="", upstream="") == 1
    assert total(m, "sluice_requests_total", code="503", upstream="google") == 1
    assert total(m, "sluice_requests_total") == 4
    assert total(m, "sluice_request_errors_total", error_type="model_not_found") == 1
    assert total(m, "sluice_refused_requests_total", code="401") == 1
    assert total(m, "sluice_upstream_attempts_total", upstream="google", fault="overload") == 1
    assert total(m, "sluice_upstream_attempts_total", upstream="chat", fault="none") == 1
    assert total(m, "sluice_upstream_cooling_seconds", upstream="google") > 0
    assert total(m, "sluice_tokens_total", upstream="chat", type="input") == Turn().usage.input
    assert total(m, "sluice_tokens_total", type="output") == 2 * Turn().usage.output
    assert total(m, "sluice_streams_total") == 1
    assert total(m, "sluice_key_requests_total", key_id="0a1b2c3d", key_label="tests", outcome="ok") == 2
    assert total(m, "sluice_key_tokens_total", key_id="0a1b2c3d", type="input") == 2 * Turn().usage.input
    for name, n in (("gen_ai_server_request_duration_seconds", 4), ("gen_ai_client_token_usage", 4)):
        assert total(m, name + "_count") == n == total(m, name + "_bucket", le="+Inf"), name
    assert total(m, "gen_ai_server_time_to_first_token_seconds_count", outcome="ok", gen_ai_provider_name="anthropic") == 1
    assert total(m, "gen_ai_server_time_per_output_token_seconds_count") == 1
    assert total(m, "sluice_build_info") == 1 and total(m, "process_resident_memory_bytes") > 1 << 20
    assert total(m, "sluice_upstream_connects_total") >= 1 and total(m, "sluice_connections") >= 1
    wait_for(lambda: total(scrape(node), "sluice_store_records_total") == 4, "the records are in the store")


def test_a_failover_is_counted(start_sluice, scripted, upstream):
    config = with_admin(basic_config(scripted.origin))
    config["models"]["two"] = {"targets": [{"provider": "chat", "upstream_model": "a"}, {"provider": "ollama", "upstream_model": "b"}]}
    s = start_sluice(config, key=ADMIN)
    s.client_key = ADMIN
    upstream.next(failure(CHAT, 429, "slow down"))
    assert ask(s, "two").status_code == 200
    m = settle(s, 1)
    assert total(m, "sluice_failovers_total", gen_ai_request_model="two", upstream="ollama") == 1
    assert total(m, "sluice_upstream_attempts_total", upstream="chat", fault="quota_window") == 1
    assert total(m, "sluice_upstream_attempts_total", upstream="ollama", fault="none") == 1


def test_the_configuration_and_what_is_open(node, scripted, upstream):
    before = scrape(node)
    assert total(before, "sluice_config_last_reload_successful") == 1
    good = node.config_path.read_text()
    node.config_path.write_text("{ nonsense")
    node.post("/sluice/v1/reload")
    m = scrape(node)
    assert total(m, "sluice_config_last_reload_successful") == 0 and total(m, "sluice_config_reloads_total", result="failed") >= 1
    node.config_path.write_text(good)
    assert node.post("/sluice/v1/reload").status_code == 200
    m = scrape(node)
    assert total(m, "sluice_config_last_reload_successful") == 1
    assert total(m, "sluice_config_version") > total(before, "sluice_config_version")
    upstream.play(begun(CHAT))
    with node.stream("/v1/chat/completions", CHAT.request(Ask(model="to-chat", stream=True))) as r:
        came = r.iter_raw()
        next(came)
        m = scrape(node)
        assert total(m, "sluice_requests_in_flight") == 1 == total(m, "sluice_streams_active")
        assert total(m, "sluice_upstream_connections", state="busy") == 1
    wait_for(lambda: total(scrape(node), "sluice_streams_active") == 0, "the stream is over")


def test_prometheus_takes_the_text(node, upstream):
    assert PROMTOOL.exists(), "run tests/setup"
    for model in ("to-chat", "to-ollama", "nobody"):
        ask(node, model)
        ask(node, model, stream=True)
    node.post("/v1/embeddings", {"model": "echo", "input": "x"})
    settle(node, 7)
    text = node.get("/metrics").text
    r = subprocess.run([PROMTOOL, "check", "metrics"], input=text, capture_output=True, text=True, check=False)
    assert r.returncode == 0 and not r.stdout + r.stderr, r.stdout + r.stderr
    r = node.get("/metrics", headers={"Accept": "application/openmetrics-text;version=1.0.0;q=0.8, text/plain;q=0.5"})
    assert r.headers["content-type"].startswith("application/openmetrics-text; version=1.0.0")
    assert r.text.endswith("\n# EOF\n") and "# TYPE sluice_requests counter\n" in r.text and "\nsluice_requests_total{" in r.text


def test_names_are_escaped(start_sluice, scripted, upstream):
    config = with_admin(basic_config(scripted.origin))
    nasty = 'a"b\\c\u00e9'
    config["models"][nasty] = "echo"
    config["server"]["api_keys"][0]["label"] = nasty
    s = start_sluice(config, key=ADMIN)
    s.client_key = config["server"]["api_keys"][0]["key"]
    assert ask(s, nasty).status_code == 200
    m = settle(s, 1)
    assert total(m, "sluice_requests_total", gen_ai_request_model='a\\"b\\\\c\u00e9') == 1
    r = subprocess.run([PROMTOOL, "check", "metrics"], input=s.get("/metrics").text, capture_output=True, text=True, check=False)
    assert r.returncode == 0, r.stderr


def test_ten_thousand_names_stay_few(start_sluice, scripted):
    """By a client that makes models up, and by a configuration that has as many."""
    config = with_admin(basic_config(scripted.origin))
    config["server"]["metrics_max_labels"] = 60
    for i in range(5000):
        config["models"]["model-%d" % i] = "echo"
    s = start_sluice(config, key=ADMIN)
    s.client_key = ADMIN
    body = '{"model":"%s","messages":[{"role":"user","content":"x"}]}'

    def many(names):
        with s.connect() as conn:
            for at in range(0, len(names), 50):
                batch = names[at : at + 50]
                requests = [body % name for name in batch]
                conn.sendall(b"".join(
                    b"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %s\r\nContent-Type: application/json\r\n"
                    b"Content-Length: %d\r\n\r\n%s" % (ADMIN.encode(), len(r), r.encode()) for r in requests))
                seen = b""
                while seen.count(b"HTTP/1.1 200") < len(batch):
                    data = conn.recv(1 << 16)
                    assert data, seen[-500:]
                    seen += data

    many(["echo/made-up-%d" % i for i in range(5000)])
    many(["model-%d" % i for i in range(5000)])
    m = settle(s, 10000)
    names = {dict(k)["gen_ai_request_model"] for k in m["sluice_requests_total"]}
    assert len(names) == 61 and "other" in names
    assert sum(n.startswith("echo/") for n in names) == 30
    assert total(m, "sluice_requests_total") == 10000 and total(m, "sluice_metric_labels_beyond_total") == 9940
    assert len(s.get("/metrics").text) < 2_000_000
    assert len(s.get("/sluice/v1/metrics/series").json()["models"]) <= 61


def test_series(node, upstream):
    for _ in range(3):
        ask(node, "to-chat")
    ask(node, "to-google", stream=True)
    r = wait_for(lambda: (r := node.get("/sluice/v1/metrics/series?seconds=30").json()) and sum(p["tokens_out"] for p in r["series"]) == 4 * Turn().usage.output
                 and sum(x["requests"] for x in r["models"]) == 4 and r, "all are counted")
    assert r["seconds"] == 30 and [p["t"] for p in r["series"]] == list(range(-29, 1))
    assert sum(p["requests"] for p in r["series"]) == 4 and sum(p["streams"] for p in r["series"]) == 1
    assert [(x["id"], x["requests"]) for x in r["models"]] == [("to-chat", 3), ("to-google", 1)]
    assert [x["id"] for x in r["upstreams"]] == ["chat", "google"]
    assert r["keys"][0]["id"] == "0a1b2c3d" and r["keys"][0]["label"] == "tests"
    r = node.get("/sluice/v1/metrics/series?by=model&label=to-chat&seconds=300").json()
    assert r["step_seconds"] == 5 and len(r["series"]) == 60 and sum(p["requests"] for p in r["series"]) == 3
    assert node.get("/sluice/v1/metrics/series?by=model&label=nobody").status_code == 404
    assert node.get("/sluice/v1/metrics/series?by=colour&label=red").status_code == 400
    assert node.get("/sluice/v1/metrics/series?seconds=soon").status_code == 400
    for given, used in (("0", 1), ("-5", 1), ("9999", 300)):
        assert node.get("/sluice/v1/metrics/series?seconds=" + given).json()["seconds"] == used
    assert node.get("/sluice/v1/metrics/series", headers=node.auth(node.client_key)).status_code == 403


def actives(s):
    r = s.get("/sluice/v1/requests/active")
    assert r.status_code == 200, r.text
    return r.json()["data"]


class Background:
    """A streaming client in a thread: what it gets, until its end."""

    def __init__(self, s, f, model, streaming=True):
        self.status, self.body = None, b""

        def work():
            a = Ask(model=model, stream=streaming)
            with s.stream(f.path(a), f.request(a), headers={"X-Request-Id": "req-of-the-test"}) as r:
                self.status = r.status_code
                for data in r.iter_raw():
                    self.body += data

        self.thread = threading.Thread(target=work, daemon=True)
        self.thread.start()

    def join(self):
        self.thread.join(60)
        assert not self.thread.is_alive()


@pytest.mark.parametrize("up", ["chat", "anthropic"])
@pytest.mark.parametrize("client", FORMATS)
def test_a_stream_is_seen_and_cancelled(node, upstream, client, up):
    f = FORMATS[client]
    upstream.play(begun(FORMATS[up]))
    b = Background(node, f, "to-" + up)
    wait_for(lambda: b.body, "the first bytes arrive")
    [row] = actives(node)
    assert row["id"] == "req-of-the-test" and row["model"] == "to-" + up and row["upstream"] == up
    assert row["state"] == "answering" and row["stream"] is True and row["key_id"] == "ad000001" and row["key_label"] == "operator"
    assert row["elapsed_ms"] >= 0 and row["ttft_ms"] > 0 and row["bytes_out"] > 0 and row["attempts"] == 1
    assert row["tokens_estimated"] is True and row["tokens_out"] >= 0 and row["address"] == "127.0.0.1"
    assert node.call("DELETE", "/sluice/v1/requests/active/req-of-the-test").status_code == 204
    b.join()
    assert b.status == 200
    assert "cancelled" in f.read_stream_error(b.body).message
    assert upstream.last.gone.wait(30), "the upstream is let go"
    wait_for(lambda: not actives(node), "nothing is served any more")
    assert node.call("DELETE", "/sluice/v1/requests/active/req-of-the-test").status_code == 404
    m = wait_for(lambda: (m := settle(node, 1)) and total(m, "sluice_request_errors_total", error_type="cancelled") == 1 and m, "it is counted")
    assert total(m, "sluice_requests_total", code="499") == 1 and total(m, "sluice_requests_total", code="200") == 0
    row = wait_for(lambda: node.get("/sluice/v1/requests?status=error").json()["data"], "its record says so, though its head said 200")[0]
    assert row["status"] == 499 and row["error"] == "cancelled"
    assert not node.get("/sluice/v1/requests?status=ok").json()["data"]


@pytest.mark.parametrize("model", ["to-chat", "to-google", "echo"])
def test_one_that_waits_is_cancelled(node, upstream, model):
    upstream.play(quiet)
    got = {}

    def work():
        got["r"] = node.post("/v1/chat/completions", {**BUSY, "model": model}, headers={"X-Request-Id": "req-of-the-test"})

    t = threading.Thread(target=work)
    t.start()
    row = wait_for(lambda: [a for a in actives(node) if a["state"] == "waiting"], "it waits")[0]
    assert row["model"] == model and row["ttft_ms"] is None and row["tokens_out"] == 0 and row["stream"] is False
    if model != "echo":
        upstream.wait()
    assert node.call("DELETE", "/sluice/v1/requests/active/" + row["id"]).status_code == 204
    t.join(60)
    assert got["r"].status_code == 499 and "cancelled" in got["r"].json()["error"]["message"]
    if model != "echo":
        assert upstream.last.gone.wait(30)
    wait_for(lambda: not actives(node), "nothing is served any more")


def test_who_may_see_and_cancel(node, upstream):
    for method, path in (("GET", "/sluice/v1/requests/active"), ("DELETE", "/sluice/v1/requests/active/x")):
        assert node.call(method, path, auth=False).status_code == 401
        assert node.call(method, path, headers=node.auth(node.client_key)).status_code == 403
    assert node.call("DELETE", "/sluice/v1/requests/active/x").status_code == 404


def test_one_whose_body_is_still_coming(node):
    with node.connect() as c:
        c.sendall(b"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %s\r\nContent-Type: application/json\r\n"
                  b"Content-Length: 1000\r\nX-Request-Id: req-slow-body\r\n\r\n{\"model\":" % ADMIN.encode())
        row = wait_for(lambda: actives(node), "it is seen")[0]
        assert row["state"] == "reading" and row["model"] == "" and row["upstream"] is None
        assert node.call("DELETE", "/sluice/v1/requests/active/req-slow-body").status_code == 204
        assert c.recv(65536).startswith(b"HTTP/1.1 499 ")
    wait_for(lambda: not actives(node), "it is gone")


# ---- /admin/api/metrics


def panel(s, query=""):
    r = s.get("/admin/api/metrics" + query)
    assert r.status_code == 200, r.text
    return r.json()


def test_the_panel_sees_what_counts(node, upstream):
    for _ in range(2):
        ask(node, "to-chat")
    f = FORMATS["anthropic"]
    a = Ask(model="to-google", stream=True)
    assert node.post(f.path(a), f.request(a)).status_code == 200
    upstream.next(failure(FORMATS["chat"], 500, "broken"))
    assert ask(node, "to-chat").status_code >= 500
    ask(node, "no-such-model")  # led nowhere: not counted
    node.post("/v1/chat/completions", b"{nonsense")
    settle(node, 6)
    r = wait_for(lambda: (p := panel(node, "?seconds=30"))["persistence"]["log_entries"] == 6 and p, "the log has them")
    assert r["total_requests"] == 4 and r["total_errors"] == 1 and r["total_streams"] == 1 and r["error_rate"] == 0.25
    assert r["active_streams"] == 0 and 0 <= r["uptime_seconds"] < 60
    assert r["by_model"] == {"to-chat": 3, "to-google": 1}
    assert r["by_source_provider"] == {"anthropic": 1, "openai_chat": 3}
    assert r["by_target_provider"] == {"chat": 3, "google": 1}
    assert r["by_status_code"]["200"] == 3 and sum(r["by_status_code"].values()) == 4
    assert [p["t"] for p in r["series"]] == list(range(-29, 1))
    assert sum(p["count"] for p in r["series"]) == 4 and sum(p["errors"] for p in r["series"]) == 1
    assert all((p["avg_ms"] > 0) == (p["count"] > 0) for p in r["series"])
    p = r["persistence"]
    assert p["log_success_entries"] == 3 and p["log_error_entries"] == 3 and p["db_bytes"] > 0
    assert p["log_max_success"] > 0 and p["log_max_error"] > 0


def test_the_length_of_the_panel_s_series(node):
    assert len(panel(node)["series"]) == 60
    for given, used in (("0", 1), ("-3", 1), ("1", 1), ("300", 300), ("301", 300)):
        assert len(panel(node, "?seconds=" + given)["series"]) == used
    r = node.get("/admin/api/metrics?seconds=many")
    assert r.status_code == 400 and set(r.json()) == {"error"}
    assert panel(node)["by_model"] == {} and panel(node)["error_rate"] == 0
    assert node.get("/admin/api/metrics", auth=False).status_code == 401


def test_counters_outlive_the_process(scripted, upstream, calls, tmp_path):
    config = with_admin(basic_config(scripted.origin))
    for n in (1, 2, 3):
        s = Sluice(tmp_path / "one", config, calls, key=ADMIN)
        s.client_key = ADMIN
        assert ask(s, "to-chat").status_code == 200
        assert ask(s, "to-ollama", stream=True).status_code == 200
        settle(s, 2)
        r = panel(s)
        assert r["total_requests"] == 2 * n and r["by_model"] == {"to-chat": n, "to-ollama": n} and r["total_streams"] == n
        assert r["by_status_code"] == {"200": 2 * n}
        assert sum(p["count"] for p in r["series"]) == 2 and r["uptime_seconds"] < 60  # these are of this run
        s.stop()
