"""The usage and log pages of OmniRoute's surface, over requests that really went through."""
import asyncio
import datetime
import json
import re
import threading

import pytest
from formats import FORMATS
from formats.common import Ask
from gateway import KEY, provider, wait_for
from upstream import http

ADMIN = "sk-admin-0123456789abcdef0123456789"


def config(origin, **server):
    return {"providers": {"main": provider("chat", origin), "second": {**provider("chat", origin), "proxy": ""}, "echo": {"type": "echo"}},
            "models": {"m": {"provider": "main", "upstream_model": "vendor/gpt-x"}, "echo": "echo",
                       "both": {"targets": [{"provider": "main", "upstream_model": "gpt-y"}, {"provider": "second", "upstream_model": "gpt-y"}]}},
            "server": {"api_keys": [{"id": "0a1b2c3d", "key": KEY, "label": "tests"},
                                    {"id": "ad317110", "key": ADMIN, "label": "admin", "scopes": ["admin"]}], **server}}


@pytest.fixture
def serve(start_sluice, upstream):
    def start(**server):
        return start_sluice(config(upstream.origin, **server))
    return start


def ok(r, status=200):
    assert r.status_code == status, r.text
    return r.json()


def admin(s, path, method="GET", body=None, **options):
    return s.call(method, path, body, auth=False, headers={"Authorization": "Bearer " + ADMIN}, **options)


def chat(s, model="echo", text="hello", **more):
    f, ask = FORMATS["chat"], Ask(model=model)
    body = {**f.request(ask), "messages": [{"role": "user", "content": text}], **more}
    return s.post(f.path(ask), body)


def on(upstream, choose):
    """choose: a request to the script that answers it; may block."""
    async def script(conn, request):
        await (await asyncio.to_thread(choose, request))(conn, request)

    upstream.play(script)


def reply(text="hi"):
    return http(200, json.dumps({"id": "c", "object": "chat.completion", "created": 1, "model": "gpt", "choices": [
        {"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 30, "completion_tokens": 5, "total_tokens": 35, "prompt_tokens_details": {"cached_tokens": 10}}}))


def logged(s, n, **query):
    """The call log once it holds n requests that fit."""
    return wait_for(lambda: (lambda rows: rows if len(rows) >= n else None)(ok(admin(s, "/api/usage/call-logs", params=query))), "%d rows" % n)


def test_analytics_and_history_add_up_the_same_requests(serve, upstream):
    s = serve()
    on(upstream, lambda r: reply())
    for _ in range(3):
        ok(chat(s, "m"))
    ok(chat(s))
    assert chat(s, "no-such-model").status_code == 404
    logged(s, 5)
    a = ok(admin(s, "/api/usage/analytics"))
    today = datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%d")
    assert a["range"] == "30d" and a["summary"]["totalRequests"] == 5
    model = next(m for m in a["byModel"] if m["model"] == "gpt-x")  # the last segment of vendor/gpt-x
    assert (model["requests"], model["promptTokens"], model["completionTokens"], model["totalTokens"]) == (3, 90, 15, 105)
    assert model["provider"] == "openai-compatible" and re.fullmatch(r"\d+\.\d", model["pct"])
    assert {x["account"]: x["requests"] for x in a["byAccount"]} == {"main": 3, "echo": 1}
    assert [(k["apiKey"], k["apiKeyId"], k["apiKeyName"], k["requests"]) for k in a["byApiKey"]] == [
        ("tests (0a1b2c3d)", "0a1b2c3d", "tests", 5)]
    assert a["summary"]["uniqueApiKeys"] == 1 and a["summary"]["uniqueAccounts"] == 2 and a["summary"]["streak"] == 1
    assert len(a["activityMap"]) == 365 and a["activityMap"][today] == a["summary"]["totalTokens"] > 0
    assert sum(d["requests"] for d in a["dailyTrend"]) == 5 and a["dailyByModel"][-1]["gpt-x"] == 105
    assert "gpt-x" in a["modelNames"] and len(a["weeklyPattern"]) == 7
    assert sum(d["totalTokens"] for d in a["weeklyPattern"]) == a["summary"]["totalTokens"]
    h = ok(admin(s, "/api/usage/history"))
    assert (h["totalRequests"], h["totalPromptTokens"]) == (5, a["summary"]["promptTokens"])
    assert h["byProvider"]["openai-compatible"]["requests"] == 3
    assert h["byModel"]["vendor/gpt-x (openai-compatible)"]["promptTokens"] == 90
    row = h["byAccount"]["vendor/gpt-x (openai-compatible - main)"]
    assert (row["rawModel"], row["accountName"], row["completionTokens"]) == ("vendor/gpt-x", "main", 15) and row["lastUsed"].endswith("Z")
    assert row["connectionId"] in [p["id"] for p in ok(admin(s, "/api/providers"))["connections"] if p["name"] == "main"]
    assert h["byApiKey"]["tests (0a1b2c3d)"]["requests"] == 5
    assert len(h["last10Minutes"]) == 10 and sum(m["requests"] for m in h["last10Minutes"]) == 5
    m = ok(admin(s, "/api/provider-metrics"))["metrics"]["openai-compatible"]
    assert (m["totalRequests"], m["totalSuccesses"], m["successRate"]) == (3, 3, 100)


def test_figures_outlive_the_log_and_a_restart(serve):
    s = serve()
    for _ in range(4):
        ok(chat(s))
    logged(s, 4)
    assert admin(s, "/sluice/v1/requests", "DELETE").status_code == 204
    assert ok(admin(s, "/api/usage/call-logs")) == []
    assert ok(admin(s, "/api/usage/analytics?range=1d"))["summary"]["totalRequests"] == 4
    s.stop()
    again = type(s)(s.folder, None)
    try:
        ok(chat(again))
        wait_for(lambda: ok(admin(again, "/api/usage/history"))["totalRequests"] == 5, "the sum of both lives")
        for name in ("1d", "7d", "30d", "90d", "ytd", "all"):
            got = ok(admin(again, "/api/usage/analytics?range=" + name))
            assert (got["range"], got["summary"]["totalRequests"]) == (name, 5)
        for name, same in (("day", "1d"), ("week", "7d"), ("month", "30d")):
            assert ok(admin(again, "/api/usage/analytics?period=" + name))["range"] == same
    finally:
        again.stop()


def test_call_logs_filter_and_page(serve, upstream):
    s = serve()
    on(upstream, lambda r: http(502, json.dumps({"error": {"message": "gone fishing"}})) if b"please fail" in r.body else reply())
    ok(chat(s, "m"))
    ok(chat(s))
    assert chat(s, "m", "please fail").status_code == 502
    rows = logged(s, 3)
    assert [r["status"] for r in rows] == [502, 200, 200]  # newest first
    failed, echo, good = rows
    assert (good["method"], good["path"], good["model"], good["requestedModel"]) == ("POST", "/v1/chat/completions", "vendor/gpt-x", "m")
    assert (good["provider"], good["account"], good["tokens"]) == ("openai-compatible", "main", {"in": 30, "out": 5})
    assert (good["apiKeyId"], good["apiKeyName"], good["error"], good["comboName"]) == ("0a1b2c3d", "tests", None, None)
    assert not good["hasRequestBody"] and "gone fishing" in failed["error"]
    ids = lambda **q: [r["id"] for r in ok(admin(s, "/api/usage/call-logs", params=q))]  # noqa: E731
    assert ids(status="error") == [failed["id"]] and ids(status="ok") == [echo["id"], good["id"]] and ids(status="502") == [failed["id"]]
    assert ids(model="m") == ids(model="vendor/gpt-x") == [failed["id"], good["id"]]
    assert ids(provider="echo") == ids(account="echo") == [echo["id"]] and ids(provider="openai-compatible", status="ok") == [good["id"]]
    assert ids(apiKey="tests") == ids(apiKey="0a1b2c3d") == [r["id"] for r in rows] and ids(apiKey="nobody") == []
    assert ids(search="GPT-X") == [failed["id"], good["id"]]
    assert ids(limit=1) == [failed["id"]] and ids(limit=1, offset=1) == [echo["id"]] and ids(offset=2) == [good["id"]]
    r = admin(s, "/api/usage/call-logs?status=strange")
    assert r.status_code == 400 and r.json()["error"]["details"][0]["field"] == "status"
    assert admin(s, "/api/usage/call-logs?limit=0").status_code == 400
    r = admin(s, "/api/usage/call-logs/123")
    assert r.status_code == 404 and isinstance(r.json()["error"], str)
    assert admin(s, "/api/usage/call-logs/" + good["id"]).json()["requestId"]


def test_call_logs_of_combos(start_sluice, upstream):
    """By the combo's name or an alias of it; a model, and a name of nothing, are of none."""
    on(upstream, lambda r: reply())
    s = start_sluice({**config(upstream.origin), "combos": {"co": {"members": ["m"]}, "other": {"members": ["echo"]}}, "aliases": {"fast-*": "co"}})
    for model in ("co", "m", "fast-1", "other"):
        ok(chat(s, model))
    assert chat(s, "nope").status_code == 404
    rows = logged(s, 5)
    said = {r["requestedModel"]: r["comboName"] for r in rows}
    assert said == {"co": "co", "m": None, "fast-1": "co", "other": "other", "nope": None}
    asked = lambda q: [r["requestedModel"] for r in ok(admin(s, "/api/usage/call-logs?combo=" + q))]  # noqa: E731
    assert asked("1") == ["other", "fast-1", "co"] and asked("co") == ["fast-1", "co"] and asked("other") == ["other"]
    assert asked("nope") == asked("m") == [] and len(asked("")) == 5
    combo = next(c for c in ok(admin(s, "/api/combos"))["combos"] if c["name"] == "co")
    assert asked(combo["id"]) == ["fast-1", "co"]
    got = ok(admin(s, "/api/usage/call-logs/" + next(r["id"] for r in rows if r["requestedModel"] == "fast-1")))
    assert got["comboName"] == "co"
    assert [r["comboName"] for r in ok(admin(s, "/api/logs/export"))["logs"]] == [r["comboName"] for r in rows]
    # proxies were taken, or not, by those that asked somebody
    taken = ok(admin(s, "/api/usage/proxy-logs"))
    assert [(r["comboId"] == combo["id"], bool(r["provider"])) for r in taken] == [(False, True), (True, True), (False, True), (True, True)]
    export = ok(admin(s, "/api/logs/export?type=proxy-logs"))
    assert [r["id"] for r in export["logs"]] == [r["id"] for r in taken] and export["count"] == 4 and export["truncated"] is False


def test_proxy_logs_have_no_answers_of_the_cache(serve, upstream):
    s = serve(response_cache=True)
    on(upstream, lambda r: reply())
    ok(chat(s, "m", temperature=0))
    ok(chat(s, "m", temperature=0))
    assert len(logged(s, 2)) == 2 and len(upstream.requests) == 1
    assert [r["account"] for r in ok(admin(s, "/api/usage/proxy-logs"))] == ["main"]


def test_check_52_a_large_body_is_whole_in_the_detail(serve, upstream):
    """Check 52: the list says that there is a body, the detail returns all of it."""
    s = serve(log_bodies="all")
    on(upstream, lambda r: reply("answer"))
    long = "x" * 20000
    ok(chat(s, "m", long))
    row = logged(s, 1)[0]
    assert row["hasRequestBody"] and row["hasResponseBody"] and "requestBody" not in row
    got = ok(admin(s, "/api/usage/call-logs/" + row["id"]))
    assert got["requestBody"]["messages"][0]["content"] == long and got["account"] == "main" and got["connectionId"]
    assert got["responseBody"]["choices"][0]["message"]["content"] == "answer"
    four = got["pipelinePayloads"]
    assert four["clientRequest"]["model"] == "m" and four["providerRequest"]["model"] == "vendor/gpt-x"
    listed = ok(admin(s, "/api/logs/detail?limit=5"))
    assert listed["enabled"] is True and listed["logs"][0]["id"] == row["id"]
    # a key of which none are kept
    quiet = ok(admin(s, "/api/keys", "POST", {"name": "quiet", "noLog": True}), 201)
    assert ok(admin(s, "/api/keys/" + quiet["id"]))["noLog"] is True
    f, ask = FORMATS["chat"], Ask(model="m")
    ok(s.call("POST", f.path(ask), f.request(ask), auth=False, headers={"Authorization": "Bearer " + quiet["key"]}))
    row = logged(s, 2)[0]
    assert row["apiKeyName"] == "quiet" and not row["hasRequestBody"] and not row["hasResponseBody"]
    got = ok(admin(s, "/api/usage/call-logs/" + row["id"]))
    assert got["requestBody"] is None and got["responseBody"] is None
    # a viewer reads the log, but no bodies
    assert s.get("/api/usage/call-logs/" + row["id"]).status_code == 401


def test_bodies_too_large_to_keep_are_shown_cut(serve, upstream):
    s = serve(log_bodies="all", log_body_max_bytes=300)
    on(upstream, lambda r: reply())
    ok(chat(s, "m", "y" * 5000))
    got = ok(admin(s, "/api/usage/call-logs/" + logged(s, 1)[0]["id"]))["requestBody"]
    assert got["_truncated"] is True and got["_originalSize"] > 5000 and len(got["_preview"]) <= 300


def test_keeping_bodies_is_switched(start_sluice, upstream):
    s = start_sluice(config(upstream.origin))
    on(upstream, lambda r: reply())
    assert ok(admin(s, "/api/logs/detail")) == {"enabled": False, "logs": [], "total": 0}
    assert ok(admin(s, "/api/logs/detail", "POST", {"enabled": True})) == {"success": True, "enabled": True}
    ok(chat(s, "m"))
    wait_for(lambda: ok(admin(s, "/api/logs/detail"))["logs"], "a request with bodies")
    assert ok(admin(s, "/api/logs/detail?offset=1"))["logs"] == []
    assert ok(admin(s, "/api/logs/detail", "POST", {"enabled": False}))["enabled"] is False
    ok(chat(s, "m", "not kept"))
    assert logged(s, 2)[0]["hasRequestBody"] is False
    assert admin(s, "/api/logs/detail", "POST", {}).status_code == 400


def test_text_logs_show_what_is_pending_first(serve, upstream):
    s = serve()
    held = threading.Event()

    def answer(r):
        if b"slow" in r.body:
            held.wait(100)
        return reply()

    on(upstream, answer)
    ok(chat(s, "m"))
    logged(s, 1)
    slow = threading.Thread(target=lambda: chat(s, "m", "slow"))
    slow.start()
    try:
        lines = wait_for(lambda: (lambda v: v if "| main |" in v[0] and "PENDING" in v[0] else None)(ok(admin(s, "/api/usage/logs"))), "a pending line")
        assert len(lines) == 2
        assert re.fullmatch(r"\d\d-\d\d-\d{4} \d\d:\d\d:\d\d \| vendor/gpt-x \| OPENAI-COMPATIBLE \| main \| 0 \| 0 \| PENDING", lines[0])
        assert re.fullmatch(r"\d\d-\d\d-\d{4} \d\d:\d\d:\d\d \| vendor/gpt-x \| OPENAI-COMPATIBLE \| main \| 30 \| 5 \| 200 OK", lines[1])
        h = ok(admin(s, "/api/usage/history"))
        assert h["pending"] == {"byModel": {"vendor/gpt-x (openai-compatible)": 1}, "byAccount": {"main": 1}}
        assert h["activeRequests"] == [{"model": "vendor/gpt-x", "provider": "openai-compatible", "account": "main", "count": 1}]
    finally:
        held.set()
        slow.join()
    wait_for(lambda: [line.endswith("200 OK") for line in ok(admin(s, "/api/usage/request-logs"))] == [True, True], "the end of both")


def test_proxy_logs_say_which_way_a_request_went(start_sluice, upstream):
    c = config(upstream.origin)
    # the scripted upstream answers a proxy's request as well: its path is a whole URL then
    c["providers"]["proxied"] = {**provider("chat", "http://models.invalid"), "proxy": upstream.origin.replace("://", "://user:pass@")}
    c["models"]["far"] = {"provider": "proxied", "upstream_model": "gpt-far"}
    s = start_sluice(c)
    on(upstream, lambda r: reply())
    ok(chat(s, "m"))
    far = chat(s, "far")
    rows = wait_for(lambda: (lambda v: v if len(v) == 2 else None)(ok(admin(s, "/api/usage/proxy-logs"))), "both requests")
    assert (rows[1]["level"], rows[1]["proxy"], rows[1]["status"], rows[1]["targetUrl"]) == (
        "direct", None, "success", "openai-compatible/vendor/gpt-x")
    port = int(upstream.origin.rsplit(":", 1)[1])
    assert (rows[0]["level"], rows[0]["levelId"], rows[0]["proxy"]) == (
        "provider", "proxied", {"type": "http", "host": "127.0.0.1", "port": port}), far.text
    assert "pass" not in json.dumps(rows)
    assert len(ok(admin(s, "/api/usage/proxy-logs?level=direct"))) == 1 == len(ok(admin(s, "/api/usage/proxy-logs?type=http")))
    assert ok(admin(s, "/api/usage/proxy-logs?status=timeout")) == [] and len(ok(admin(s, "/api/usage/proxy-logs?limit=1"))) == 1
    assert admin(s, "/api/usage/proxy-logs?status=strange").status_code == 400
    assert ok(admin(s, "/api/usage/proxy-logs", "DELETE")) == {"cleared": True}
    assert ok(admin(s, "/api/usage/proxy-logs")) == [] and len(logged(s, 2)) == 2  # the request log is another matter
    ok(chat(s, "m"))
    wait_for(lambda: len(ok(admin(s, "/api/usage/proxy-logs"))) == 1, "the next request")


def test_logs_to_take_away(serve):
    s = serve()
    ok(chat(s))
    logged(s, 1)
    r = admin(s, "/api/logs/export?hours=1")
    assert r.headers["content-disposition"] == 'attachment; filename="call-logs-1h.json"'
    got = ok(r)
    assert (got["type"], got["hours"], got["count"], got["truncated"]) == ("call-logs", 1, 1, False) and got["logs"][0]["account"] == "echo"
    assert ok(admin(s, "/api/logs/export?type=proxy-logs"))["logs"][0]["level"] == "direct"
    assert ok(admin(s, "/api/logs/export?type=request-logs"))["logs"][0].endswith("200 OK")
    for bad in ("hours=0", "hours=169", "type=everything"):
        assert admin(s, "/api/logs/export?" + bad).status_code == 400


def test_none_of_it_is_for_client_keys(serve):
    s = serve()
    for path in ("analytics", "history", "call-logs", "call-logs/1", "logs", "request-logs", "proxy-logs"):
        r = s.get("/api/usage/" + path)
        assert (r.status_code, r.json()["error"]["code"]) == (401, "AUTH_001"), path


def test_check_53_costs_are_those_of_the_ledger(start_sluice, upstream):
    """Check 53: 1000 in (200 cached) and 500 out at 3/15/1.5 cost 0.0102; a model without a price is null, never 0."""
    c = config(upstream.origin)
    c["prices"] = {"main/vendor/gpt-x": {"input": 3, "output": 15, "cache_read": 1.5}}
    c["models"]["unpriced"] = {"provider": "second", "upstream_model": "made-up-1"}
    s = start_sluice(c)
    usage = {"prompt_tokens": 1000, "completion_tokens": 500, "total_tokens": 1500, "prompt_tokens_details": {"cached_tokens": 200}}
    on(upstream, lambda r: http(200, json.dumps({"id": "c", "object": "chat.completion", "created": 1, "model": "g", "usage": usage, "choices": [
        {"index": 0, "message": {"role": "assistant", "content": "hi"}, "finish_reason": "stop"}]})))
    ok(chat(s, "m"))
    ok(chat(s, "unpriced"))
    logged(s, 2)
    for query in ("range=30d", "range=1d", "range=all"):
        a = ok(admin(s, "/api/usage/analytics?" + query))
        assert a["summary"]["totalCost"] == pytest.approx(0.0102), query
        assert {m["model"]: m["cost"] for m in a["byModel"]} == {"gpt-x": pytest.approx(0.0102), "made-up-1": None}
        assert {x["account"]: x["cost"] for x in a["byAccount"]} == {"main": pytest.approx(0.0102), "second": None}
        assert [k["cost"] for k in a["byApiKey"]] == [pytest.approx(0.0102)] == [d["cost"] for d in a["dailyTrend"]]
    h = ok(admin(s, "/api/usage/history"))
    assert h["totalCost"] == pytest.approx(0.0102) and h["byModel"]["made-up-1 (openai-compatible)"]["cost"] is None
    assert sum(m["cost"] or 0 for m in h["last10Minutes"]) == pytest.approx(0.0102)


def test_check_14_daily_and_monthly_budgets_stop_a_key(start_sluice, upstream):
    """Check 14: beyond the day's limit the key gets 429; the month's limit counts as well."""
    c = config(upstream.origin)
    c["prices"] = {"main/vendor/gpt-x": {"input": 3, "output": 15, "cache_read": 1.5}}
    s = start_sluice(c)
    on(upstream, lambda r: reply())
    got = ok(admin(s, "/api/usage/budget?apiKeyId=0a1b2c3d"))
    assert (got["budget"], got["budgetCheck"]["allowed"], got["dailyTotal"]) == (None, True, 0)
    for bad in ({"apiKeyId": "0a1b2c3d"}, {"apiKeyId": "0a1b2c3d", "dailyLimitUsd": 0}, {"apiKeyId": "0a1b2c3d", "dailyLimitUsd": 1, "warningThreshold": 2},
                {"keyId": "0a1b2c3d", "limit": 1, "period": "day"}):
        assert admin(s, "/api/usage/budget", "POST", bad).status_code == 400, bad
    assert admin(s, "/api/usage/budget", "POST", {"apiKeyId": "nobody", "dailyLimitUsd": 1}).status_code == 404
    assert ok(admin(s, "/api/usage/budget", "POST", {"apiKeyId": "0a1b2c3d", "dailyLimitUsd": "5", "monthlyLimitUsd": 20})) == {
        "success": True, "apiKeyId": "0a1b2c3d", "dailyLimitUsd": 5}
    ok(chat(s, "m", max_tokens=5))
    got = wait_for(lambda: (lambda v: v if v["totalEntries"] else None)(ok(admin(s, "/api/usage/budget?apiKeyId=0a1b2c3d"))), "a line")
    assert got["budget"] == {"dailyLimitUsd": 5, "monthlyLimitUsd": 20, "warningThreshold": 0.8}
    assert got["dailyTotal"] == got["monthlyTotal"] > 0 and got["budgetCheck"]["dailyLimit"] == 5
    assert {b["apiKeyId"] for b in ok(admin(s, "/api/usage/budget"))["budgets"]} == {"0a1b2c3d", "ad317110"}
    ok(admin(s, "/api/usage/budget", "POST", {"apiKeyId": "0a1b2c3d", "dailyLimitUsd": 0.0001}))
    r = chat(s, "m", max_tokens=500)
    assert r.status_code == 429, r.text
    assert ok(admin(s, "/api/usage/budget?apiKeyId=0a1b2c3d"))["budgetCheck"]["warningReached"] is True
    # the month's limit alone
    ok(admin(s, "/api/usage/budget", "POST", {"apiKeyId": "0a1b2c3d", "dailyLimitUsd": 5, "monthlyLimitUsd": 0.0001}))
    assert chat(s, "m", max_tokens=500).status_code == 429
