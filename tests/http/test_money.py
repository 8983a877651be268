"""Money: prices of every source, what requests cost, budgets that bind, the ledger that comes out the same again, restarts and kills."""
import asyncio
import datetime
import json
import signal
import sqlite3
import subprocess
import threading
import time

import httpx
import pytest
from conftest import basic_config
from gateway import BINARY, KEY, Sluice, wait_for
from upstream import http, stream

ADMIN = "sk-admin-0123456789abcdef0123456789"
CHAT = "/v1/chat/completions"
M = 1_000_000_000  # nano-USD


def money_config(scripted, prices=None, budgets=None, **server):
    config = basic_config(scripted.origin)
    config["server"]["api_keys"] += [
        {"id": "ad000000", "key": ADMIN, "label": "operator", "scopes": ["inference", "models", "admin"]},
        {"id": "0b000000", "key": "sk-budget-0123456789abcdef", "org": "acme", "user": "ann", "tags": ["red"]}]
    config["orgs"], config["users"] = {"acme": {"name": "Acme"}}, {"ann": {"name": "Ann", "org": "acme"}}
    config["prices"] = {"chat/*": {"input": 3, "output": 15, "cache_read": 1.5}, **(prices or {})}
    config["budgets"] = budgets or {}
    config["server"].update(server)
    return config


@pytest.fixture
def start(scripted, calls, tmp_path):
    running = []
    scripted.reset()

    def begin(config, folder="money", **options):
        s = Sluice(tmp_path / folder, config, calls, **options)
        running.append(s)
        return s

    yield begin
    for s in running:
        s.stop()
        assert "config.unknown_" not in s.log_path.read_text(errors="replace"), "every section and setting is known"
    scripted.reset()


def reply(scripted, usage, text="hi", fmt="chat"):
    """One answer of the scripted upstream with these counts."""
    body = {"id": "c", "object": "chat.completion", "created": 1, "model": "m", "usage": usage,
            "choices": [{"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"}]}
    scripted.play(http(200, json.dumps(body)))


def ask(s, key=KEY, model="to-chat", **more):
    return s.post(CHAT, {"model": model, "messages": [{"role": "user", "content": "hello"}], "max_tokens": 100, **more},
                  headers=s.auth(key))


def admin(s, method, path, body=None, **options):
    return s.call(method, path, body, headers=s.auth(ADMIN), **options)


def lines(s, count=None, **query):
    def read():
        r = admin(s, "GET", "/sluice/v1/ledger", params=query)
        assert r.status_code == 200, r.text
        return r.json()["data"]
    if count is None:
        return read()
    return wait_for(lambda: len(read()) >= count and read(), "%d lines" % count)


USAGE = {"prompt_tokens": 1000, "completion_tokens": 500, "total_tokens": 1500, "prompt_tokens_details": {"cached_tokens": 200},
         "completion_tokens_details": {"reasoning_tokens": 100}, "cost": 0.0103}


def test_a_request_is_priced_and_its_line_explains_it(start, scripted):
    s = start(money_config(scripted))
    reply(scripted, USAGE)
    assert ask(s).status_code == 200
    line = lines(s, 1)[0]
    assert line["cost_nanousd"] == 10_200_000 and line["stated_nanousd"] == 10_300_000  # the contract's example, and what the upstream said
    assert (line["input_tokens"], line["cache_read_tokens"], line["output_tokens"], line["reasoning_tokens"]) == (800, 200, 400, 100)
    assert (line["ended"], line["usage_quality"], line["cost_state"], line["entry"]) == ("done", "reported", "known", "settle")
    bill = admin(s, "GET", "/sluice/v1/ledger/" + line["id"]).json()
    assert sum(x["cost_nanousd"] for x in bill["bill"]) == 10_200_000
    assert bill["price"]["input"] == 3
    assert admin(s, "GET", "/sluice/v1/ledger/" + line["request_id"]).json()["line"]["id"] == line["id"]
    price = admin(s, "GET", "/sluice/v1/prices/versions/%d" % line["price_version"]).json()
    assert price["name"] == "chat/*" and price["source"] == "override" and price["origin"] == "file"
    row = wait_for(lambda: admin(s, "GET", "/sluice/v1/requests").json()["data"], "the record follows its line")[0]
    assert row["cost_nanousd"] == 10_200_000
    check = admin(s, "GET", "/sluice/v1/ledger/verify").json()
    assert check["ok"] and check["total_nanousd"] == check["recomputed_nanousd"] == 10_200_000
    models = {m["name"]: m for m in admin(s, "GET", "/sluice/v1/models").json()["data"]}
    assert (models["to-chat"]["input_nanousd"], models["to-chat"]["output_nanousd"]) == (3 * M, 15 * M)
    assert models["to-google"]["input_nanousd"] is None


async def quiet(conn, request):
    await conn.until_gone()


def test_what_runs_says_what_it_costs_so_far(start, scripted):
    s = start(money_config(scripted))
    scripted.play(quiet)
    got = []
    body = json.dumps({"model": "to-chat", "messages": [{"role": "user", "content": "x" * 2800}]})
    t = threading.Thread(target=lambda: got.append(s.post(CHAT, body, headers=s.auth(KEY), timeout=60)))
    t.start()
    row = wait_for(lambda: [a for a in admin(s, "GET", "/sluice/v1/requests/active").json()["data"] if a["upstream"]], "it waits")[0]
    assert row["cost_nanousd"] == row["bytes_in"] // 3 * 3000 and row["bytes_in"] == len(body)
    assert admin(s, "DELETE", "/sluice/v1/requests/active/" + row["id"]).status_code == 204
    t.join(60)
    assert got


@pytest.mark.parametrize("is_stream", [False, True])
def test_the_service_that_was_given_is_paid_for(start, scripted, is_stream):
    s = start(money_config(scripted, {p + "/*": {"input": 3, "output": 15, "priority": {"input": 6, "output": 30}} for p in ("chat", "responses", "anthropic")}))
    usage = {"prompt_tokens": 1000, "completion_tokens": 0, "total_tokens": 1000}

    def event(body, name=None):
        return ("event: %s\n" % name if name else "").encode() + b"data: " + json.dumps(body).encode() + b"\n\n"

    def paid(path, asked, whole, frames):
        scripted.play(stream(frames) if is_stream else http(200, json.dumps(whole)))
        n = len(lines(s))
        body = {"model": "to-chat", "messages": [{"role": "user", "content": "x"}], "input": "x", "max_tokens": 5, "stream": is_stream, **asked}
        assert s.post(path, body, headers=s.auth(KEY)).status_code == 200
        line = lines(s, n + 1)[0]
        return line["service"], line["cost_nanousd"]
    for asked, given, cost in (("priority", "default", 3_000_000), ("auto", "priority", 6_000_000), ("priority", None, 6_000_000)):
        tier = {"service_tier": given} if given else {}
        chunk = {"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "m", "metadata": {"service_tier": "flex"}, **tier}
        got = paid(CHAT, {"service_tier": asked}, {**chunk, "object": "chat.completion", "usage": usage, "choices": [
            {"index": 0, "message": {"role": "assistant", "content": "hi"}, "finish_reason": "stop"}]},
            [event({**chunk, "choices": [{"index": 0, "delta": {"content": "hi"}, "finish_reason": "stop"}]}),
             event({**chunk, "choices": [], "usage": usage}), b"data: [DONE]\n\n"])
        assert got == ({"default": "standard"}.get(given, "priority"), cost)
    response = {"id": "r", "object": "response", "created_at": 1, "status": "completed", "model": "m", "service_tier": "priority",
                "output": [{"type": "message", "id": "m", "role": "assistant", "status": "completed", "content": [{"type": "output_text", "text": "hi", "annotations": []}]}],
                "usage": {"input_tokens": 1000, "output_tokens": 0, "total_tokens": 1000}, "metadata": {"service_tier": "flex"}}
    assert paid("/v1/responses", {"model": "to-responses"}, response, [
        event({"type": "response.created", "response": {**response, "status": "in_progress", "usage": None}}, "response.created"),
        event({"type": "response.completed", "response": response}, "response.completed")]) == ("priority", 6_000_000)
    message = {"id": "m", "type": "message", "role": "assistant", "model": "x", "content": [{"type": "text", "text": "hi"}], "stop_reason": "end_turn",
               "usage": {"input_tokens": 1000, "output_tokens": 0, "service_tier": "standard"}}
    assert paid("/v1/messages", {"model": "to-anthropic", "service_tier": "auto"}, message, [
        event({"type": "message_start", "message": {**message, "content": []}}, "message_start"),
        event({"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": 0}}, "message_delta"),
        event({"type": "message_stop"}, "message_stop")]) == ("standard", 3_000_000)
    assert admin(s, "GET", "/sluice/v1/ledger/verify").json()["ok"]


def test_what_is_unknown_is_not_zero_and_failures_cost_nothing(start, scripted):
    s = start(money_config(scripted, prices={"chat/*": {"input": 3, "output": 15}, "anthropic/claude-x": {"input": 1, "output": 1}}))
    scripted.play(http(400, '{"error":{"message":"no"}}'))
    assert ask(s).status_code == 400
    assert ask(s, model="no-such-model").status_code == 404
    scripted.play(http(200, json.dumps({"id": "m", "type": "message", "role": "assistant", "model": "x", "stop_reason": "end_turn",
                                     "content": [{"type": "text", "text": "hi"}], "usage": {"input_tokens": 5, "output_tokens": 2}})))
    assert ask(s, model="to-anthropic").status_code == 200
    line = lines(s, 1)
    assert len(line) == 1 and line[0]["cost_nanousd"] is None and line[0]["cost_state"] == "unknown"
    assert line[0]["input_tokens"] == 5 and line[0]["price_version"] is None
    costs = admin(s, "GET", "/sluice/v1/costs").json()
    assert (costs["total_nanousd"], costs["unpriced"], costs["forecast_nanousd"]) == (None, 1, None)
    assert [(r["requests"], r["cost_nanousd"]) for r in costs["data"]] == [(1, None)]
    assert admin(s, "GET", "/sluice/v1/costs", params={"format": "csv"}).text.split("\r\n")[1].split(",")[7:10] == ["1", "1", ""]
    # set a price, compute again: the difference is a line of its own, once
    version = admin(s, "POST", "/sluice/v1/prices", {"provider": "anthropic", "model": "*", "price": {"input": 2, "output": 10}})
    assert version.status_code == 200, version.text
    span = {"from": "2020-01-01T00:00:00Z", "to": "2100-01-01T00:00:00Z"}
    assert admin(s, "POST", "/sluice/v1/ledger/reprice", span).json()["after_nanousd"] == 30_000
    assert lines(s)[0]["entry"] == "settle"  # only computed
    for _ in range(2):
        assert admin(s, "POST", "/sluice/v1/ledger/reprice", {**span, "dry_run": False}).status_code == 200
    assert [(x["entry"], x["cost_nanousd"]) for x in lines(s)] == [("adjust", 30_000), ("settle", None)]
    assert admin(s, "GET", "/sluice/v1/costs").json()["total_nanousd"] == 30_000
    assert admin(s, "GET", "/sluice/v1/ledger/verify").json()["ok"]


@pytest.mark.parametrize("budget,status", [({"period": "month"}, 429), ({"period": "ever"}, 402)])
@pytest.mark.parametrize("scope", ["all", "key", "org", "user", "tag"])
def test_a_budget_refuses_what_could_pass_it(start, scripted, scope, budget, status):
    if status == 402 and scope not in ("key", "all"):
        pytest.skip("one of each is enough")
    subject = {"all": "", "key": "0b000000", "org": "acme", "user": "ann", "tag": "red"}[scope]
    entry = {"scope": scope, "subject": subject, "limit_usd": 0.012, **budget}
    s = start(money_config(scripted, budgets={"team": {k: v for k, v in entry.items() if v != ""}}))
    reply(scripted, USAGE)
    assert ask(s, "sk-budget-0123456789abcdef").status_code == 200
    seen = wait_for(lambda: next((b for b in admin(s, "GET", "/sluice/v1/budgets").json()["data"] if b["spent_nanousd"] and not b["held_nanousd"]), None), "spent")
    assert (seen["spent_nanousd"], seen["held_nanousd"], seen["left_nanousd"], seen["is_warning"]) == (10_200_000, 0, 1_800_000, True)
    r = ask(s, "sk-budget-0123456789abcdef", max_tokens=200)  # 3 million nano-USD of output alone
    assert r.status_code == status and r.json()["error"]["code"] == "budget_exceeded", r.text
    assert ("retry-after" in r.headers) == (status == 429)
    r = s.post("/v1/messages", {"model": "to-chat", "max_tokens": 200, "messages": [{"role": "user", "content": "x"}]},
               headers=s.auth("sk-budget-0123456789abcdef"))
    assert r.status_code == status and r.json()["type"] == "error"
    if scope != "all":
        reply(scripted, USAGE)
        assert ask(s).status_code == 200  # others go on
    reply(scripted, {"prompt_tokens": 10, "completion_tokens": 5})
    r = ask(s, "sk-budget-0123456789abcdef", max_tokens=5)  # what is surely small enough goes through, with a warning
    assert r.status_code == 200 and r.headers["x-sluice-budget-warning"] == "team"


def test_a_warning_hides_no_other(start, scripted):
    s = start(money_config(scripted, budgets={"a": {"scope": "all", "limit_usd": 0.001, "action": "warn"}, "b": {"scope": "all", "limit_usd": 0.02, "warn_percent": 50}}))
    for _ in range(2):  # the hold of the second one brings both to their level
        reply(scripted, USAGE)
        r = ask(s)
        assert r.status_code == 200
    assert r.headers["x-sluice-budget-warning"] == "b, a"
    seen = {b["name"]: b for b in admin(s, "GET", "/sluice/v1/budgets").json()["data"]}
    assert seen["b"]["warned"] == 1 and seen["a"]["warned"] >= 1


def test_many_at_once_never_pass_a_limit(start, scripted):
    s = start(money_config(scripted, budgets={"tight": {"scope": "all", "limit_usd": 0.02}}))
    for _ in range(30):
        reply(scripted, {"prompt_tokens": 20, "completion_tokens": 100})
    done = []
    threads = [threading.Thread(target=lambda: done.append(ask(s).status_code)) for _ in range(30)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert set(done) <= {200, 429} and done.count(200) >= 1
    seen = wait_for(lambda: next((b for b in admin(s, "GET", "/sluice/v1/budgets").json()["data"] if not b["held_nanousd"]), None), "no holds")
    assert seen["spent_nanousd"] == done.count(200) * 1_560_000 <= 20_000_000
    assert seen["refused"] == done.count(429)


def budget(s, name="b"):
    return admin(s, "GET", "/sluice/v1/budgets/" + name).json()


def test_a_budget_that_comes_back_knows_what_was_spent_meanwhile(start, scripted):
    s = start(money_config(scripted))

    def asks(times):
        for _ in range(times):
            reply(scripted, USAGE)
            assert ask(s).status_code == 200

    def make(name):
        made = admin(s, "POST", "/sluice/v1/budgets", {"name": name, "scope": "all", "limit_usd": 1, "period": "ever"})
        assert made.status_code == 201, made.text
        return made.json()["spent_nanousd"]
    for n in range(4):  # what was answered just before is on its way to the ledger
        asks(1)
        assert make("b%d" % n) == (n + 1) * 10_200_000
    assert admin(s, "PATCH", "/sluice/v1/budgets/b0", {"enabled": False}).status_code == 200
    assert admin(s, "DELETE", "/sluice/v1/budgets/b1").status_code == 204
    asks(2)
    assert admin(s, "PATCH", "/sluice/v1/budgets/b0", {"enabled": True}).status_code == 200
    assert make("b1") == 6 * 10_200_000
    assert admin(s, "PATCH", "/sluice/v1/budgets/b2", {"name": "b4"}).json()["spent_nanousd"] == 6 * 10_200_000
    asks(1)
    assert {b["name"]: b["spent_nanousd"] for b in admin(s, "GET", "/sluice/v1/budgets").json()["data"]} == \
        {n: 7 * 10_200_000 for n in ("b0", "b1", "b3", "b4")}
    s.stop()
    s = start(None)
    assert {b["spent_nanousd"] for b in admin(s, "GET", "/sluice/v1/budgets").json()["data"]} == {7 * 10_200_000}


def test_as_many_budgets_as_there_are_hold(start, scripted):
    budgets = {"b%03d" % i: {"scope": "all", "limit_usd": 5} for i in range(300)}
    s = start(money_config(scripted, budgets={**budgets, "z": {"scope": "all", "limit_usd": 0}}))
    assert ask(s).status_code == 429 and "'z'" in ask(s).text


def test_a_dearer_fallback_is_held_for_before_it_is_asked(start, scripted):
    s = start(money_config(scripted, {"chat/*": {"input": 0.1, "output": 0.1}, "anthropic/*": {"input": 10, "output": 50}},
                           {"b": {"scope": "all", "limit_usd": 0.01, "period": "ever"}}, global_fallback_model="to-anthropic"))
    told = json.dumps({"id": "m", "type": "message", "role": "assistant", "model": "x", "stop_reason": "end_turn", "content": [],
                       "usage": {"input_tokens": 10, "output_tokens": 100}})

    def play(status=200):
        scripted.next(http(503, '{"error":{"message":"busy"}}'), http(status, told))
    play()
    assert ask(s).status_code == 200  # 0.0051 USD
    wait_for(lambda: budget(s)["spent_nanousd"] == 5_100_000, "spent")
    seen = len(scripted.requests)
    play()
    r = ask(s)
    assert r.status_code == 503 and "busy" in r.text, r.text  # what the first one said: there is no room for the other
    assert [x.path for x in scripted.requests[seen:]] == ["/v1/chat/completions"]
    assert (budget(s)["spent_nanousd"], budget(s)["held_nanousd"]) == (5_100_000, 0)


def test_whatever_may_be_used_is_held_for(start, scripted):
    price = {"input": 3, "output": 10, "audio_out": 80, "cache_write_1h": 6, "search": 0.01, "image": 0.04}
    s = start(money_config(scripted, {"chat/*": price, "anthropic/*": price, "google/*": {"input": 1, "output": 1, "priority": {"output": 90}},
                                      "responses/*": {"input": 1, "output": 1, "priority": {"output": 90}}},
                           {"b": {"scope": "all", "limit_usd": 0.02, "period": "ever"}}, budget_hold_images=0))

    def refused(path, body):
        r = s.post(path, {"model": "to-chat", **body}, headers=s.auth(KEY))
        return r.status_code == 402 and "has no room" in r.text
    talk = {"messages": [{"role": "user", "content": "hello"}]}
    assert refused(CHAT, {**talk, "max_tokens": 250})  # all of it may be sound
    assert refused("/v1/completions", {"prompt": "x", "max_tokens": 100, "best_of": 20})
    assert refused("/v1/images/generations", {"prompt": "x"})  # billed by tokens as well
    search = {"type": "web_search_20250305", "name": "web_search"}
    assert refused("/v1/messages", {**talk, "max_tokens": 10, "tools": [search]})
    assert refused(CHAT, {**talk, "max_tokens": 10, "web_se\\u0061rch_options": {}})
    assert refused("/v1/messages", {**talk, "max_tokens": 10, "tools": [{**search, "max_uses": 2}]})
    assert refused("/v1/responses", {"model": "to-responses", "input": "x", "max_output_tokens": 300, "service_tier": "auto"})
    assert not scripted.requests and budget(s)["refused"] == 7
    reply(scripted, {"prompt_tokens": 10, "completion_tokens": 5})
    assert ask(s, max_tokens=200).status_code == 200
    s.stop()
    s = start(money_config(scripted, {"chat/*": {"image": 0.04}}, {"b": {"scope": "all", "limit_usd": 2, "period": "ever"}}), "images")
    assert refused("/v1/images/generations", {"prompt": "x", "n": 101}) and refused("/v1/images/generations", {"prompt": "x", "n": 51})


def test_unpriced_models_are_refused_where_a_budget_must_hold(start, scripted):
    budgets = {"b": {"scope": "all", "limit_usd": 5}}
    s = start(money_config(scripted, budgets=budgets))
    r = ask(s, model="to-anthropic")
    assert r.status_code == 402 and r.json()["error"]["code"] == "price_unknown", r.text
    s.stop()
    s = start(money_config(scripted, budgets=budgets, budget_allow_unpriced=True), "lenient")
    scripted.play(http(200, json.dumps({"id": "m", "type": "message", "role": "assistant", "model": "x", "stop_reason": "end_turn",
                                     "content": [], "usage": {"input_tokens": 5, "output_tokens": 2}})))
    assert ask(s, model="to-anthropic").status_code == 200


def test_a_stream_is_ended_well_when_its_hold_is_spent(start, scripted):
    budgets = {"b": {"scope": "all", "limit_usd": 0.01, "cut_streams": True}}
    s = start(money_config(scripted, budgets=budgets, budget_hold_tokens=100))
    piece = b"data: " + json.dumps({"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "m", "choices": [
        {"index": 0, "delta": {"content": "word " * 40}, "finish_reason": None}]}).encode() + b"\n\n"
    scripted.play(stream([piece] * 200 + [b"data: [DONE]\n\n"]))
    body = {"model": "to-chat", "stream": True, "messages": [{"role": "user", "content": "tell me"}]}
    with s.stream(CHAT, body) as r:
        text = r.read().decode()
    assert '"finish_reason":"length"' in text and text.rstrip().endswith("[DONE]")
    line = lines(s, 1)[0]
    assert line["ended"] == "cut" and line["usage_quality"] == "estimated" and 0 < line["cost_nanousd"] <= 10_000_000
    assert admin(s, "GET", "/sluice/v1/budgets").json()["data"][0]["cut"] == 1


@pytest.mark.parametrize("path, piece, kind, end", [
    ("/v1beta/models/to-google:streamGenerateContent?alt=sse", b"data: %s\n\n", "text/event-stream", '"finishReason":"MAX_TOKENS"'),
    ("/v1beta/models/to-google:streamGenerateContent", b"data: %s\n\n", "text/event-stream", '"finishReason":"MAX_TOKENS"'),
    ("/api/generate", b"%s\n", "application/x-ndjson", '"done_reason":"length"'),
    ("/api/chat", b"%s\n", "application/x-ndjson", '"done_reason":"length"')])
def test_so_are_googles_and_ollamas_own(start, scripted, path, piece, kind, end):
    s = start(money_config(scripted, {p + "/*": {"input": 3, "output": 15} for p in ("google", "ollama")},
                           {"b": {"scope": "all", "limit_usd": 0.01, "cut_streams": True}}, budget_hold_tokens=100))
    text = "word " * 40
    one = {"candidates": [{"index": 0, "content": {"role": "model", "parts": [{"text": text}]}}]} if "v1beta" in path else \
        {"model": "m", "created_at": "2026-01-01T00:00:00Z", "done": False,
         **({"response": text} if "generate" in path else {"message": {"role": "assistant", "content": text}})}
    scripted.play(stream([piece % json.dumps(one).encode()] * 200, kind))
    body = {"contents": [{"role": "user", "parts": [{"text": "tell me"}]}]} if "v1beta" in path else \
        {"model": "to-ollama", **({"prompt": "tell me"} if "generate" in path else {"messages": [{"role": "user", "content": "tell me"}]})}
    with s.stream(path, body) as r:
        got = r.read().decode()
    assert r.status_code == 200 and got.count("word word") < 200, got[-500:]
    if path.endswith("streamGenerateContent"):  # one array, whole; its upstream was asked for events, which can be ended
        chunks = json.loads(got)
        assert chunks[-1]["candidates"][0]["finishReason"] == "MAX_TOKENS" and "alt=sse" in scripted.last.query
    else:
        assert end in got.split("\n")[-2 if "api" in path else -3], got[-500:]
    assert lines(s, 1)[0]["ended"] == "cut"


def test_an_older_completion_is_ended_well_when_its_hold_is_spent(start, scripted):
    """On an upstream that has them itself, and on one that has conversations only."""
    config = money_config(scripted, {p + "/*": {"input": 3, "output": 15} for p in ("chat", "anthropic")}, {"b": {"scope": "all", "limit_usd": 0.01, "cut_streams": True}},
                          budget_hold_tokens=100)
    s = start(config)
    text = "word " * 40
    own = [b"data: " + json.dumps({"id": "cmpl-1", "object": "text_completion", "created": 1, "model": "m", "choices": [
        {"index": 0, "text": text, "logprobs": None, "finish_reason": None}]}).encode() + b"\n\n"] * 200
    other = [b"event: message_start\ndata: " + json.dumps({"type": "message_start", "message": {"id": "m", "type": "message", "role": "assistant", "content": [], "model": "m",
             "stop_reason": None, "stop_sequence": None, "usage": {"input_tokens": 3, "output_tokens": 1}}}).encode() + b"\n\n",
             b'event: content_block_start\ndata: {"type":"content_block_start","index":0,"content_block":{"type":"text","text":""}}\n\n'] + [
        b"event: content_block_delta\ndata: " + json.dumps({"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": text}}).encode() + b"\n\n"] * 200
    for n, (model, frames) in enumerate((("to-chat", own), ("to-anthropic", other))):
        scripted.play(stream(frames))
        with s.stream("/v1/completions", {"model": model, "stream": True, "prompt": "tell me", "stream_options": {"include_usage": True}}) as r:
            got = r.read().decode()
        assert r.status_code == 200, got
        chunks = [json.loads(x[6:]) for x in got.split("\n\n") if x.startswith("data: {")]
        assert 1 < len(chunks) < 150 and got.rstrip().endswith("[DONE]"), got[-500:]
        assert [c["finish_reason"] for x in chunks for c in x["choices"]][-1] == "length" and chunks[-1]["usage"]["completion_tokens"] > 0
        line = lines(s, n + 1)[0]
        assert line["ended"] == "cut" and line["cost_nanousd"] > 0
        assert budget(s)["spent_nanousd"] + budget(s)["held_nanousd"] <= (n + 1) * 10_000_000
        assert admin(s, "PATCH", "/sluice/v1/budgets/b", {"limit_usd": 0.02}).status_code == 200


def test_the_densest_prompt_passes_no_limit(start, scripted):
    """Of every byte of text a token, as no tokenizer makes more: what was spent stays below the limit to the last request that is let in."""
    s = start(money_config(scripted, {"chat/*": {"input": 3, "output": 15}}, {"b": {"scope": "all", "limit_usd": 0.02, "period": "ever"}}))
    refused = answered = 0
    for n in range(12):
        text = "~" * (700 + 100 * (n % 3))
        reply(scripted, {"prompt_tokens": len(text), "completion_tokens": 1})
        r = s.post(CHAT, {"model": "to-chat", "max_tokens": 1, "messages": [{"role": "user", "content": text}]}, headers=s.auth(KEY))
        answered, refused = answered + (r.status_code == 200), refused + (r.status_code == 402)
        wait_for(lambda: budget(s)["held_nanousd"] == 0, "settled")
        assert budget(s)["spent_nanousd"] <= 20_000_000
    assert answered >= 5 and refused >= 1


def test_pictures_that_a_conversation_may_make_are_held_for(start, scripted):
    config = money_config(scripted, {"chat/*": {"input": 3, "output": 15, "image": 0.04}, "responses/*": {"input": 3, "output": 15, "image": 0.04}},
                          {"b": {"scope": "all", "limit_usd": 0.1, "period": "ever"}})
    s = start(config)
    reply(scripted, {"prompt_tokens": 3, "completion_tokens": 1})
    talk = {"model": "to-chat", "max_tokens": 5, "messages": [{"role": "user", "content": "draw"}]}
    r = s.post(CHAT, talk, headers=s.auth(KEY))
    assert r.status_code == 402 and r.json()["error"]["code"] == "budget_exceeded"  # four of them are 0.16 USD
    tool = {"model": "to-responses", "max_output_tokens": 5, "input": "draw", "store": False, "tools": [{"type": "image_generation"}]}
    assert s.post("/v1/responses", {**tool, "max_tool_calls": 3}, headers=s.auth(KEY)).status_code == 402
    scripted.play(http(200, json.dumps(answer_of("responses", 3))))
    assert s.post("/v1/responses", {**tool, "max_tool_calls": 1}, headers=s.auth(KEY)).status_code == 200
    s.stop()
    config["server"]["budget_hold_images"] = 1
    s = start(config, "one")
    reply(scripted, {"prompt_tokens": 3, "completion_tokens": 1})
    assert s.post(CHAT, talk, headers=s.auth(KEY)).status_code == 200
    assert s.post(CHAT, {**talk, "n": 3}, headers=s.auth(KEY)).status_code == 402


def test_budgets_are_objects_of_the_configuration(start, scripted):
    s = start(money_config(scripted))
    made = admin(s, "POST", "/sluice/v1/budgets", {"name": "x", "scope": "key", "subject": "0b000000", "limit_usd": 1.25, "time_zone": "Europe/Berlin"})
    assert made.status_code == 201, made.text
    assert made.json()["limit_nanousd"] == 1_250_000_000 and made.json()["origin"] == "file" and made.json()["begins"]
    assert '"x"' in s.config_path.read_text()
    for body, field in (({"limit_usd": -1}, "limit_usd"), ({"period": "hour"}, "period"), ({"time_zone": "Mars"}, "time_zone"), ({"scope": "all"}, "subject")):
        r = admin(s, "PATCH", "/sluice/v1/budgets/x", body)
        assert r.status_code == 400 and r.json()["error"]["param"] == field, r.text
    assert admin(s, "PATCH", "/sluice/v1/budgets/x", {"name": "y", "limit_usd": 2, "action": "warn"}).json()["action"] == "warn"
    assert admin(s, "GET", "/sluice/v1/budgets/x").status_code == 404
    tag = admin(s, "GET", "/sluice/v1/budgets/y").headers["etag"]
    assert admin(s, "DELETE", "/sluice/v1/budgets/y", params={}).status_code == 204 and tag
    assert admin(s, "DELETE", "/sluice/v1/budgets/y").status_code == 404
    # prices as well; a provider's new name is theirs too
    assert admin(s, "POST", "/sluice/v1/prices", {"provider": "chat", "model": "m", "price": {"input": "0.1"}}).status_code == 200
    r = admin(s, "POST", "/sluice/v1/prices", {"provider": "chat", "model": "m", "price": {"inptu": 1}})
    assert r.status_code == 400 and r.json()["error"]["param"] == "inptu", r.text
    assert admin(s, "PATCH", "/sluice/v1/providers/chat", {"name": "talk"}).status_code == 200
    names = {p["name"] for p in admin(s, "GET", "/sluice/v1/prices", params={"source": "override"}).json()["data"]}
    assert names == {"talk/*", "talk/m"}
    assert admin(s, "DELETE", "/sluice/v1/prices", params={"provider": "talk", "model": "m"}).status_code == 204
    r = admin(s, "GET", "/sluice/v1/prices/lookup", params={"model": "to-chat"}).json()["data"]
    assert r[0]["source"] == "override" and r[0]["price"]["output"] == 15
    # all of it comes out of an export and in again
    s.stop()
    out = subprocess.run([str(BINARY), "export", "--config", str(s.config_path), "--data", str(s.folder / "data")], capture_output=True, timeout=60)
    assert out.returncode == 0 and b'"talk/*"' in out.stdout, out.stderr


def test_the_shell_sets_prices_and_verifies(start, scripted, tmp_path):
    s = start(money_config(scripted))
    reply(scripted, USAGE)
    assert ask(s).status_code == 200
    lines(s, 1)
    s.stop()

    def run(*arguments, status=0):
        place = ["--config", str(s.config_path), "--data", str(s.folder / "data")]
        done = subprocess.run([str(BINARY), *arguments, *place], capture_output=True, timeout=60)
        assert done.returncode == status, (arguments, done.stderr.decode())
        return done.stdout.decode()

    public = tmp_path / "list.json"
    public.write_text(json.dumps({"gpt-9": {"litellm_provider": "openai", "input_cost_per_token": 1.25e-06}}))
    assert "1 prices (litellm), 1 of them new" in run("price", "import", str(public))
    run("price", "set", "chat/m", '{"input":0.25}')
    run("price", "set", "chat/m", '{"inptu":0.25}', status=1)
    shown = run("price", "list", "chat/")
    assert "chat/m" in shown and "0.25" in shown and "override" in shown and "gpt-9" in run("price", "list", "gpt-9")
    run("price", "remove", "chat/m")
    assert "chat/m " not in run("price", "list", "chat/")
    assert "1 requests" in run("ledger", "verify") and "0.0102 USD computed again" in run("ledger", "verify")


ALL = {"from": "2020-01-01T00:00:00Z", "to": "2100-01-01T00:00:00Z"}


def test_the_past_is_priced_again_at_its_own_prices(start, scripted):
    config = money_config(scripted)
    config["providers"]["gone"] = dict(config["providers"]["chat"])
    config["models"]["to-gone"] = {"targets": [{"provider": "gone", "upstream_model": "m"}]}
    config["prices"]["gone/*"] = {"input": 1}
    s = start(config)
    for model in ("to-chat", "to-gone"):
        reply(scripted, USAGE)
        assert ask(s, model=model).status_code == 200
    line = next(x for x in lines(s, 2) if x["model"] == "to-chat")
    # a refund stands beside the price: computing again at the same prices changes nothing
    assert admin(s, "POST", "/sluice/v1/ledger", {"entry": "credit", "corrects": line["id"], "amount_nanousd": 5_000_000, "note": "sorry"}).status_code == 201
    r = admin(s, "POST", "/sluice/v1/ledger/reprice", {**ALL, "dry_run": False}).json()
    assert (r["lines"], r["changed"], r["unknown"], r["before_nanousd"]) == (2, 0, 0, 11_200_000), r
    assert r["after_nanousd"] == r["before_nanousd"]
    r = admin(s, "POST", "/sluice/v1/ledger", {"entry": "adjust", "amount_nanousd": 1, "note": "priced again"})
    assert r.status_code == 400 and r.json()["error"]["param"] == "note"
    s.stop()
    # the price of then is corrected, another one holds by now, and one provider is gone
    later = datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(seconds=1)
    config["prices"] = {"chat/*": [{"input": 6, "output": 30, "cache_read": 3}, {"input": 1, "valid_from": later.strftime("%Y-%m-%dT%H:%M:%SZ")}],
                        "gone/*": {"input": 2}}
    del config["models"]["to-gone"], config["providers"]["gone"]
    s = start(config)
    wait_for(lambda: datetime.datetime.now(datetime.timezone.utc) > later, "the new price holds")
    for changed in (2, 0):
        r = admin(s, "POST", "/sluice/v1/ledger/reprice", {**ALL, "dry_run": False}).json()
        assert (r["lines"], r["changed"], r["unknown"], r["after_nanousd"]) == (2, changed, 0, 22_400_000), r
    assert admin(s, "GET", "/sluice/v1/costs").json()["total_nanousd"] == 17_400_000
    assert admin(s, "GET", "/sluice/v1/ledger/verify").json()["ok"]
    # so are the vendor's books: it counted 100 output tokens more, at the price of then
    export = {"data": [{"date": line["at"][:10], "model": "chat-model", "usage": 0.0117, "requests": 1, "prompt_tokens": 1000, "completion_tokens": 600}]}
    assert admin(s, "POST", "/sluice/v1/reconciliation/import", export, params={"provider": "chat"}).status_code == 200
    found = admin(s, "GET", "/sluice/v1/reconciliation", params={"provider": "chat"}).json()["data"][0]
    assert (found["cause"], found["parts"]) == ("token_counts", [{"cause": "token_counts", "nanousd": 1_500_000}]), found


@pytest.mark.parametrize("waits", ["for its upstream", "for its body"])
def test_a_price_that_begins_meanwhile_is_not_of_what_was_admitted_before(start, scripted, waits):
    """What is held, settled and computed again is of one moment, so that a rise that is known beforehand passes no limit."""
    config = money_config(scripted, budgets={"b": {"scope": "all", "limit_usd": 0.005}})
    config["prices"] = {}
    s = start(config)
    utc = datetime.timezone.utc
    body = json.dumps({"id": "c", "object": "chat.completion", "created": 1, "model": "m", "usage": {"prompt_tokens": 10, "completion_tokens": 100, "total_tokens": 110},
                       "choices": [{"index": 0, "message": {"role": "assistant", "content": "hi"}, "finish_reason": "stop"}]})

    async def late(conn, request):
        while datetime.datetime.now(utc) <= rise:
            await asyncio.sleep(0.05)
        await http(200, body)(conn, request)

    def pieces():
        asked = json.dumps({"model": "chat/chat-model", "max_tokens": 100, "messages": [{"role": "user", "content": "hello"}]}).encode()
        yield asked[:9]
        while waits == "for its body" and datetime.datetime.now(utc) <= rise:
            time.sleep(0.05)
        yield asked[9:]

    for wait in (1, 5, 25):  # a machine may take its time to admit it
        assert admin(s, "DELETE", "/sluice/v1/prices/import", params={"provider": "chat"}).status_code == 200
        scripted.reset()
        rise = datetime.datetime.now(utc) + datetime.timedelta(seconds=wait)
        for output, begins in ((10, rise - datetime.timedelta(hours=1)), (1000, rise)):
            r = admin(s, "POST", "/sluice/v1/prices/import", {"prices": {"chat/chat-model": {"input": 0, "output": output}}},
                      params={"provider": "chat", "valid_from": begins.isoformat(timespec="milliseconds").replace("+00:00", "Z")})
            assert r.status_code == 200, r.text
        scripted.play(late)
        if s.http.post(CHAT, content=pieces(), headers={**s.auth(KEY), "content-type": "application/json"}).status_code != 200:
            continue  # the new price was in force, and is too much
        line = lines(s, 1)[0]
        if line["admitted_at"] < rise.isoformat(timespec="milliseconds"):
            break
    assert line["admitted_at"] < rise.isoformat(timespec="milliseconds") < line["at"] and line["cost_nanousd"] == 1_000_000, line
    assert budget(s)["spent_nanousd"] == sum(x["cost_nanousd"] for x in lines(s)) <= 5_000_000
    r = admin(s, "POST", "/sluice/v1/ledger/reprice", ALL).json()
    assert (r["lines"], r["changed"]) == (len(lines(s)), 0), r


def test_lists_are_read_as_they_are(start, scripted):
    s = start(money_config(scripted, ))
    public = {"sample_spec": {}, "gpt-9": {"litellm_provider": "openai", "input_cost_per_token": 1.25e-06, "output_cost_per_token": 1e-05},
              "odd": {"litellm_provider": "openai", "input_cost_per_second": 1}}
    tried = admin(s, "POST", "/sluice/v1/prices/import", public, params={"dry_run": True}).json()
    assert (tried["rows"], tried["added"]) == (1, 1) and admin(s, "GET", "/sluice/v1/prices", params={"source": "list"}).json()["data"] == []
    assert tried["changes"] == [{"provider": "openai", "model": "gpt-9", "input_was_nanousd": None, "output_was_nanousd": None,
                                 "input_nanousd": 1_250_000_000, "output_nanousd": 10_000_000_000}]
    r = admin(s, "POST", "/sluice/v1/prices/import", public, params={"note": "a test"}).json()
    assert (r["format"], r["rows"], r["added"], [x["model"] for x in r["skipped"]]) == ("litellm", 1, 1, ["odd"])
    assert admin(s, "POST", "/sluice/v1/prices/import", public).json()["added"] == 0
    dearer = {"gpt-9": {**public["gpt-9"], "input_cost_per_token": 2e-06}}
    change, = admin(s, "POST", "/sluice/v1/prices/import", dearer, params={"dry_run": True}).json()["changes"]
    assert (change["input_was_nanousd"], change["input_nanousd"]) == (1_250_000_000, 2_000_000_000)
    row = admin(s, "GET", "/sluice/v1/prices", params={"source": "list"}).json()["data"]
    assert len(row) == 1 and row[0]["input_nanousd"] == 1_250_000_000 and row[0]["note"] == "a test"
    router = {"data": [{"id": "a/b", "pricing": {"prompt": "0.000002", "completion": "0.00001"}}]}
    assert admin(s, "POST", "/sluice/v1/prices/import", router, params={"provider": "responses"}).json()["format"] == "openrouter"
    assert admin(s, "GET", "/sluice/v1/prices/lookup", params={"model": "responses/a/b"}).json()["data"][0]["source"] == "provider"
    assert admin(s, "POST", "/sluice/v1/prices/import", {"nothing": 1}).status_code == 400
    assert admin(s, "DELETE", "/sluice/v1/prices/import").json()["dropped"] == 1
    assert admin(s, "GET", "/sluice/v1/prices", params={"source": "list"}).json()["data"] == []
    assert len(admin(s, "GET", "/sluice/v1/prices", params={"source": "shipped", "limit": 1000}).json()["data"]) > 100


def test_what_the_public_list_says_of_cache_hits_and_of_vertex(start, scripted):
    """A model whose cached tokens have their price under another name; Google's platform under one of its many names."""
    config = money_config(scripted)
    config["providers"]["vertex"] = {"type": "vertex", "api_key": "k", "base_url": scripted.origin}
    s = start(config)
    public = {"deepseek/r1": {"litellm_provider": "deepseek", "input_cost_per_token": 5.5e-07, "input_cost_per_token_cache_hit": 1.4e-07,
                              "output_cost_per_token": 2.19e-06, "citation_cost_per_token": 2e-06},
              "gemini-2.5-pro": {"litellm_provider": "vertex_ai-language-models", "input_cost_per_token": 1.25e-06, "output_cost_per_token": 1e-05}}
    r = admin(s, "POST", "/sluice/v1/prices/import", public).json()
    assert r["rows"] == 2 and r["skipped"] == [{"model": "deepseek/r1", "why": "'citation_cost_per_token' is left out"}]
    rows = {x["name"]: x for x in admin(s, "GET", "/sluice/v1/prices", params={"source": "list"}).json()["data"]}
    assert rows["deepseek/r1"]["price"]["cache_read"] == 0.14
    found = admin(s, "GET", "/sluice/v1/prices/lookup", params={"model": "vertex/gemini-2.5-pro"}).json()["data"]
    assert found[0]["source"] == "list" and found[0]["price"]["input"] == 1.25


def test_read_prices_follow_the_name_of_their_provider(start, scripted):
    s = start(money_config(scripted))
    router = {"data": [{"id": "a/b", "pricing": {"prompt": "0.000002", "completion": "0.00001"}}]}
    assert admin(s, "POST", "/sluice/v1/prices/import", router, params={"provider": "responses"}).json()["added"] == 1

    def known_for(name):
        r = admin(s, "GET", "/sluice/v1/prices/lookup", params={"model": name + "/a/b"}).json().get("data")  # none: nobody is called so
        return r[0]["source"] == "provider" and r[0]["price"]["input"] if r else None
    assert known_for("responses") == 2
    version = admin(s, "GET", "/sluice/v1/config/versions", params={"limit": 1}).json()["data"][0]["id"]
    assert admin(s, "PATCH", "/sluice/v1/providers/responses", {"name": "mine"}).status_code == 200
    assert known_for("mine") == 2 and not known_for("responses")
    assert admin(s, "POST", "/sluice/v1/config/versions/%d/rollback" % version).status_code == 200
    assert known_for("responses") == 2 and not known_for("mine")
    assert admin(s, "POST", "/sluice/v1/prices/import", router, params={"provider": "google"}).json()["added"] == 1
    assert admin(s, "DELETE", "/sluice/v1/providers/responses", params={"cascade": True}).status_code == 204
    made = admin(s, "POST", "/sluice/v1/providers", {"name": "responses", "type": "openai-compatible", "base_url": scripted.origin + "/v1"})
    assert made.status_code == 201, made.text
    assert not known_for("responses") and known_for("google") == 2  # another contract, perhaps


def test_costs_are_grouped_and_corrected(start, scripted):
    s = start(money_config(scripted, budgets={"b": {"scope": "org", "subject": "acme", "limit_usd": 5}}))
    for key in (KEY, "sk-budget-0123456789abcdef", "sk-budget-0123456789abcdef"):
        reply(scripted, USAGE)
        assert ask(s, key).status_code == 200
    lines(s, 3)
    by = {r["org"]: r for r in admin(s, "GET", "/sluice/v1/costs", params={"group_by": "org", "bucket": "total"}).json()["data"]}
    assert by["acme"]["cost_nanousd"] == 20_400_000 and by["(none)"]["requests"] == 1
    two = admin(s, "GET", "/sluice/v1/costs", params={"group_by": "model,tag", "bucket": "day", "time_zone": "Asia/Tokyo", "tag": "red"}).json()
    assert [(r["model"], r["tag"], r["input_tokens"], r["cached_tokens"]) for r in two["data"]] == [("to-chat", "red", 2000, 400)]
    r = admin(s, "GET", "/sluice/v1/costs", params={"group_by": "key", "format": "csv"})
    assert r.headers["content-type"].startswith("text/csv") and r.text.startswith("at,key,") and '"0b000000"' in r.text
    for query in ({"group_by": "a"}, {"group_by": "key,org,user"}, {"bucket": "year"}, {"time_zone": "Mars"}, {"from": "x"}):
        assert admin(s, "GET", "/sluice/v1/costs", params=query).status_code == 400
    credit = admin(s, "POST", "/sluice/v1/ledger", {"entry": "credit", "key": "0b000000", "amount_nanousd": 400_000, "note": "sorry"})
    assert credit.status_code == 201 and credit.json()["cost_nanousd"] == -400_000 and credit.json()["org"] == "acme", credit.text
    assert admin(s, "GET", "/sluice/v1/budgets/b").json()["spent_nanousd"] == 20_000_000
    assert admin(s, "POST", "/sluice/v1/ledger", {"entry": "credit", "key": "nobody", "amount_nanousd": 1, "note": "x"}).status_code == 400
    for entry in ("credit", "adjust"):
        for amount in (-2**63, 2**63 - 1, 0):
            r = admin(s, "POST", "/sluice/v1/ledger", {"entry": entry, "key": "0b000000", "amount_nanousd": amount, "note": "x"})
            assert r.status_code == 400 and r.json()["error"]["param"] == "amount_nanousd", r.text
    for ends in ("-9223372036854775808", "9223372036854775807"):  # whatever becomes of these, no number of theirs ends the process
        for path in ("ledger", "ledger/verify", "costs"):
            for end in ("from", "to"):
                assert admin(s, "GET", "/sluice/v1/" + path, params={end: ends}).status_code in (200, 400)
    assert admin(s, "GET", "/sluice/v1/costs", params={"org": "acme"}).json()["total_nanousd"] == 20_000_000
    page = admin(s, "GET", "/sluice/v1/ledger", params={"limit": 2}).json()
    rest = admin(s, "GET", "/sluice/v1/ledger", params={"after": page["next"]}).json()
    assert page["has_more"] and len(page["data"]) + len(rest["data"]) == 4 and not rest["has_more"]
    assert admin(s, "GET", "/sluice/v1/ledger", params={"format": "csv"}).text.count("\r\n") == 5
    assert admin(s, "GET", "/sluice/v1/ledger/verify").json()["ok"]


def test_vendors_exports_are_compared_with_the_ledger(start, scripted):
    s = start(money_config(scripted))
    for _ in range(3):
        reply(scripted, USAGE)
        assert ask(s).status_code == 200
    day = lines(s, 3)[0]["at"][:10]
    export = {"data": [{"date": day, "model": "chat-model", "usage": 0.04, "requests": 4, "prompt_tokens": 4000, "completion_tokens": 2000},
                       {"date": day, "model": "other", "usage": 0.5, "requests": 1, "prompt_tokens": 1, "completion_tokens": 1}]}
    r = admin(s, "POST", "/sluice/v1/reconciliation/import", export, params={"provider": "chat"})
    assert r.status_code == 200 and (r.json()["format"], r.json()["rows"], r.json()["from"]) == ("openrouter_activity", 2, day), r.text
    rows = {x["model"]: x for x in admin(s, "GET", "/sluice/v1/reconciliation", params={"provider": "chat"}).json()["data"]}
    found = rows["chat-model"]
    assert (found["ours_nanousd"], found["vendor_nanousd"], found["cause"]) == (30_600_000, 40_000_000, "missing_requests")
    assert {p["cause"]: p["nanousd"] for p in found["parts"]} == {"missing_requests": 10_200_000, "rounding": -800_000}
    assert rows["other"]["cause"] == "missing_requests" and rows["other"]["ours_nanousd"] is None
    assert admin(s, "POST", "/sluice/v1/reconciliation/import", export, params={"provider": "nobody"}).status_code == 400
    assert admin(s, "POST", "/sluice/v1/reconciliation/import", {"data": [{"x": 1}]}, params={"provider": "chat"}).status_code == 400


def test_killed_again_and_again_no_settled_line_is_lost_and_no_hold_leaks(start, scripted, tmp_path):
    config = money_config(scripted, budgets={"b": {"scope": "all", "limit_usd": 5}})
    seen = 0
    for round in range(3):
        s = start(config if round == 0 else None, "killed")
        before = admin(s, "GET", "/sluice/v1/budgets/b").json()
        assert (before["held_nanousd"], before["spent_nanousd"]) == (0, seen * 10_200_000)
        for _ in range(4):
            reply(scripted, USAGE)
            assert ask(s).status_code == 200
        s.http.close()
        s.process.send_signal(signal.SIGKILL)
        s.process.wait(30)
        s.stop = lambda: None
        again = start(None, "killed")
        now = len(lines(again))
        assert now == seen + 4
        check = admin(again, "GET", "/sluice/v1/ledger/verify").json()
        assert check["ok"] and check["total_nanousd"] == now * 10_200_000
        seen = now
        again.stop()
        again.stop = lambda: None


@pytest.mark.parametrize("kind", ["whole", "passed", "translated"])
def test_under_a_budget_what_was_answered_is_in_the_ledger_when_it_is_killed(start, scripted, kind):
    """Killed with the answer's last byte, again and again: the budget ends it where it ends without that."""
    s = start(money_config(scripted, budgets={"b": {"scope": "all", "limit_usd": 0.045, "period": "ever"}}), "killed")
    path = "/v1/messages" if kind == "translated" else CHAT
    body = {"model": "to-chat", "messages": [{"role": "user", "content": "x"}], "max_tokens": 600, "stream": kind != "whole", "stream_options": {"include_usage": True}}
    if kind == "translated":
        del body["stream_options"]
    chunk = {"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "m"}
    frames = [b"data: " + json.dumps({**chunk, "choices": [{"index": 0, "delta": {"content": "hi"}, "finish_reason": "stop"}]}).encode() + b"\n\n",
              b"data: " + json.dumps({**chunk, "choices": [], "usage": USAGE}).encode() + b"\n\n", b"data: [DONE]\n\n"]
    answered = 0
    for _ in range(6):
        codes = []
        for _ in range(2):
            if kind == "whole":
                reply(scripted, USAGE)
            else:
                scripted.play(stream(frames))
            r = s.post(path, body, headers=s.auth(KEY))
            codes.append(r.status_code)
            assert r.status_code != 200 or kind == "whole" or r.text.rstrip().endswith(("[DONE]", '{"type":"message_stop"}')), r.text
        answered += codes.count(200)
        s.http.close()
        s.process.send_signal(signal.SIGKILL)
        s.process.wait(30)
        s.stop = lambda: None
        scripted.reset()
        s = start(None, "killed")
        assert len(lines(s)) == answered
        assert (budget(s)["spent_nanousd"], budget(s)["held_nanousd"]) == (answered * 10_200_000, 0)
        if 200 not in codes:
            break
    assert answered == 4  # 0.0408 of 0.045 USD: there is no room for a fifth
    check = admin(s, "GET", "/sluice/v1/ledger/verify").json()
    assert check["ok"] and check["total_nanousd"] == answered * 10_200_000


def test_killed_while_the_store_takes_nothing_what_was_settled_is_added_at_the_next_start(start, scripted, tmp_path):
    """Two loops, and a store that somebody else holds: nothing was committed when the process ends."""
    config = money_config(scripted, {"echo/*": {"input": 1, "output": 1, "request": 0.001}},
                          {"b": {"scope": "org", "subject": "acme", "limit_usd": 5, "period": "ever"}}, threads=2,
                          budget_commit_ms=2000)
    s = start(config, "killed")
    data = s.folder / "data"
    assert "setting=budget_commit_ms" in s.log_path.read_text(errors="replace")  # there is nothing to wait for any more
    ask_echo = {"model": "echo", "messages": [{"role": "user", "content": "x"}], "max_tokens": 5}
    assert s.post(CHAT, ask_echo, headers=s.auth("sk-budget-0123456789abcdef")).status_code == 200
    lines(s, 1)
    holder = sqlite3.connect(data / "sluice.db", isolation_level=None, timeout=60)
    holder.execute("BEGIN IMMEDIATE")
    for _ in range(8):
        with httpx.Client(base_url=s.origin, timeout=60, trust_env=False) as one:  # of either loop
            for key in (KEY, KEY, "sk-budget-0123456789abcdef"):  # without a budget, each is settled before the next one begins
                assert one.post(CHAT, json=ask_echo, headers=s.auth(key)).status_code == 200
    s.http.close()
    s.process.send_signal(signal.SIGKILL)
    s.process.wait(30)
    s.stop = lambda: None
    holder.execute("ROLLBACK")
    holder.close()
    assert (data / "sluice.db-ledger").exists()
    del config["server"]["budget_commit_ms"]
    again = start(config, "killed")
    assert "added=24 torn=0" in again.log_path.read_text(errors="replace")  # the first may have been committed and not let go
    of = [line["key"] for line in lines(again)]
    assert (of.count("0b000000"), len(of)) == (9, 25)
    per = lines(again)[0]["cost_nanousd"]
    assert per > 0 and (budget(again)["spent_nanousd"], budget(again)["held_nanousd"]) == (9 * per, 0)
    check = admin(again, "GET", "/sluice/v1/ledger/verify").json()
    assert check["ok"] and check["total_nanousd"] == 25 * per
    again.stop()
    again.stop = lambda: None
    assert not [f.name for f in data.iterdir() if "-ledger" in f.name]  # all of it is in the ledger


def test_images_are_counted_and_priced_each(start, scripted):
    s = start(money_config(scripted, {"chat/*": {"image": 0.04}}))
    body = {"created": 1, "data": [{"b64_json": "QQ=="}, {"b64_json": "QQ=="}, {"url": "https://x.example/1.png"}]}
    scripted.play(http(200, json.dumps(body)))
    assert s.post("/v1/images/generations", {"model": "to-chat", "prompt": "a cat", "n": 3}, headers=s.auth(KEY)).status_code == 200
    line = lines(s, 1)[0]
    assert line["images"] == 3 and line["cost_nanousd"] == 120_000_000 and line["ended"] == "done"


PICTURE = "QUFB" * 5000
INLINE = {"inlineData": {"mimeType": "image/png", "data": PICTURE}}
CHAT_PICTURE = {"type": "image_url", "image_url": {"url": "data:image/png;base64," + PICTURE}}


def sse(*objects, end=b""):
    return [b"data: " + json.dumps(o).encode() + b"\n\n" for o in objects] + [end]


def gemini(*parts):
    return {"candidates": [{"index": 0, "content": {"role": "model", "parts": list(parts)}, "finishReason": "STOP"}], "usageMetadata": {
        "promptTokenCount": 7, "candidatesTokenCount": 1290, "totalTokenCount": 1297}}


def chat_images(n, stream=False):
    said = {"role": "assistant", "content": 'two \\"image_url\\": here', "images": [CHAT_PICTURE] * n}
    return {"id": "c", "object": "chat.completion" + (".chunk" if stream else ""), "created": 1, "model": "m", "choices": [
        {"index": 0, "delta" if stream else "message": said, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 7, "completion_tokens": 9, "total_tokens": 16}}


def ollama_images(n, done=True):
    return {"model": "m", "created_at": "2026-01-01T00:00:00Z", "message": {"role": "assistant", "content": "", "images": [PICTURE] * n},
            "done": done, **({"done_reason": "stop", "prompt_eval_count": 7, "eval_count": 9} if done else {})}


GOOGLE = {"contents": [{"role": "user", "parts": [{"text": "a cat"}]}]}
TALK = {"messages": [{"role": "user", "content": "a cat"}], "max_tokens": 100}
DRAWN = [{"type": "response.image_generation_call.completed", "output_index": 0, "item_id": "ig"},
         {"type": "response.output_item.done", "output_index": 0, "item": {"id": "ig", "type": "image_generation_call", "status": "completed", "result": PICTURE}},
         {"type": "response.completed", "response": {"id": "r", "object": "response", "status": "completed", "model": "m", "output": [
             {"id": "ig", "type": "image_generation_call", "status": "completed", "result": PICTURE}], "usage": {"input_tokens": 7, "output_tokens": 9, "total_tokens": 16}}}]


@pytest.mark.parametrize("model, path, body, answer, count", [
    ("to-google", "/v1beta/models/to-google:generateContent", GOOGLE, lambda: http(200, json.dumps(gemini({"text": "x"}, INLINE, INLINE))), 2),
    ("to-google", "/v1beta/models/to-google:generateContent", GOOGLE, lambda: http(200, json.dumps(gemini({"text": '"mimeType": "image/png"'}))), 0),
    ("to-google", "/v1beta/models/to-google:streamGenerateContent?alt=sse", GOOGLE, lambda: stream(sse(gemini(INLINE), gemini({"text": "x"}, INLINE))), 2),
    ("to-google", "/v1beta/models/to-google:streamGenerateContent", GOOGLE, lambda: http(200, json.dumps([gemini(INLINE), gemini(INLINE)])), 2),
    ("to-google", CHAT, TALK, lambda: http(200, json.dumps(gemini(INLINE))), 1),  # translated
    ("to-google", CHAT, {**TALK, "stream": True}, lambda: stream(sse(gemini(INLINE), gemini(INLINE))), 2),
    ("to-chat", CHAT, TALK, lambda: http(200, json.dumps(chat_images(3))), 3),
    ("to-chat", CHAT, {**TALK, "stream": True}, lambda: stream(sse(chat_images(1, True), chat_images(1, True), end=b"data: [DONE]\n\n")), 2),
    ("to-ollama", "/api/chat", {**TALK, "stream": False}, lambda: http(200, json.dumps(ollama_images(2))), 2),
    ("to-ollama", "/api/chat", TALK, lambda: stream([json.dumps(ollama_images(n, n == 1)).encode() + b"\n" for n in (2, 0, 1)], "application/x-ndjson"), 3),
    ("to-ollama", "/api/generate", {"prompt": "a cat"}, lambda: stream([json.dumps({**ollama_images(0), "response": "", "images": [PICTURE]}).encode() + b"\n"], "application/x-ndjson"), 1),
    ("to-responses", "/v1/responses", {"input": "a cat", "store": False}, lambda: http(200, json.dumps(DRAWN[2]["response"])), 1),
    ("to-responses", "/v1/responses", {"input": "a cat", "store": False, "stream": True}, lambda: stream(
        [b"event: %s\n" % e["type"].encode() + sse(e)[0] for e in DRAWN]), 1),
])
def test_images_that_a_model_makes_in_a_conversation_are_counted(start, scripted, model, path, body, answer, count):
    s = start(money_config(scripted, {p + "/*": {"input": 0, "output": 0, "image": 0.04} for p in ("chat", "google", "responses", "ollama")}))
    scripted.play(answer())
    r = s.post(path, body if "v1beta" in path else {"model": model, **body}, headers=s.auth(KEY))
    assert r.status_code == 200, r.text
    line = lines(s, 1)[0]
    assert line["images"] == count and line["cost_nanousd"] == count * 40_000_000, line

# ---- requests that name no maximum


def answer_of(kind, tokens):
    """The upstream answers with so many tokens, or with as many as it was told to stop at."""
    usage = {"prompt_tokens": 10, "completion_tokens": tokens, "total_tokens": 10 + tokens}
    if kind == "anthropic":
        return {"id": "m", "type": "message", "role": "assistant", "model": "x", "stop_reason": "max_tokens", "content": [{"type": "text", "text": "hi"}],
                "usage": {"input_tokens": 10, "output_tokens": tokens}}
    if kind == "google":
        return {"candidates": [{"index": 0, "content": {"role": "model", "parts": [{"text": "hi"}]}, "finishReason": "MAX_TOKENS"}],
                "usageMetadata": {"promptTokenCount": 10, "candidatesTokenCount": tokens, "totalTokenCount": 10 + tokens}}
    if kind == "ollama":
        return {"model": "m", "created_at": "2026-01-01T00:00:00Z", "message": {"role": "assistant", "content": "hi"}, "response": "hi", "done": True,
                "done_reason": "length", "prompt_eval_count": 10, "eval_count": tokens}
    if kind == "responses":
        return {"id": "r", "object": "response", "created_at": 1, "status": "incomplete", "incomplete_details": {"reason": "max_output_tokens"}, "model": "m",
                "output": [{"type": "message", "id": "m", "role": "assistant", "status": "incomplete", "content": [{"type": "output_text", "text": "hi", "annotations": []}]}],
                "usage": {"input_tokens": 10, "output_tokens": tokens, "total_tokens": 10 + tokens}}
    choice = {"index": 0, "text": "hi", "finish_reason": "length"} if kind == "completions" else \
        {"index": 0, "message": {"role": "assistant", "content": "hi"}, "finish_reason": "length"}
    return {"id": "c", "object": "text_completion" if kind == "completions" else "chat.completion", "created": 1, "model": "m", "usage": usage, "choices": [choice]}


TOLD = {"chat": "max_tokens", "completions": "max_tokens", "responses": "max_output_tokens", "anthropic": "max_tokens",
        "google": "generationConfig.maxOutputTokens", "ollama": "options.num_predict"}


def told(request, kind):
    value = request.json
    for name in TOLD[kind].split("."):
        snake = "".join("_" + c.lower() if c.isupper() else c for c in name)
        value = value.get(name, value.get(snake)) if value else None
    return value


SAY = {"messages": [{"role": "user", "content": "hello"}]}
WAYS = [  # the upstream's format, the client's path and body, which say nothing of a maximum in each way there is
    ("chat", CHAT, SAY), ("chat", CHAT, {**SAY, "max_tokens": None, "max_completion_tokens": None}), ("chat", CHAT, {**SAY, "n": 4}),
    ("completions", "/v1/completions", {"prompt": "hello"}), ("responses", "/v1/responses", {"input": "hello", "store": False}),
    ("google", "/v1beta/models/to-google:generateContent", {"contents": [{"parts": [{"text": "hello"}]}]}),
    ("google", "/v1beta/models/to-google:generateContent", {"contents": [{"parts": [{"text": "hello"}]}], "generationConfig": {"temperature": 1}}),
    ("google", "/v1beta/models/to-google:generateContent", {"contents": [{"parts": [{"text": "hello"}]}], "generation_config": {"max_output_tokens": None}}),
    ("ollama", "/api/chat", {**SAY, "stream": False}), ("ollama", "/api/chat", {**SAY, "stream": False, "options": {"num_predict": -1, "seed": 7}}),
    ("ollama", "/api/generate", {"prompt": "hello", "stream": False}),
    ("anthropic", CHAT, SAY), ("google", CHAT, SAY), ("ollama", CHAT, SAY), ("responses", "/v1/messages", {**SAY, "max_tokens": None}), ("chat", "/v1/responses", {"input": "x", "store": False})]


def test_a_reply_without_a_maximum_gets_one_that_the_budget_pays_for(start, scripted):
    """Whole replies of every format: what a budget has left is what they can cost, however long the model would go on."""
    limit, price = 0.2, 15
    s = start(money_config(scripted, {p + "/*": {"input": 3, "output": price} for p in ("chat", "responses", "anthropic", "google", "ollama")},
                           {"b": {"scope": "all", "limit_usd": limit, "period": "ever"}}, budget_hold_tokens=100, budget_max_tokens=8000))
    spent, shares = 0, []
    for kind, path, body in WAYS:
        name = "chat" if kind == "completions" else kind
        body = body if "v1beta" in path else {"model": "to-" + name, **body}

        async def as_long_as_it_may(conn, request, kind=kind, n=body.get("n", 1)):
            await http(200, json.dumps(answer_of(kind, told(request, kind) * n)))(conn, request)
        scripted.play(as_long_as_it_may)
        r = s.post(path, body, headers=s.auth(KEY))
        assert r.status_code == 200, (kind, path, r.text)
        tokens = told(scripted.last, kind)
        assert r.headers["x-sluice-budget-max-tokens"] == str(tokens) and tokens > 16, (kind, body)
        # a quarter of what was left, for all the answers together
        left = int(limit * M) - spent
        cost = tokens * body.get("n", 1) * price * 1000
        assert cost <= left // 4 or tokens * body.get("n", 1) <= 100, (kind, tokens, left)
        shares.append(cost)
        spent = wait_for(lambda: (lambda b: b["held_nanousd"] == 0 and b["spent_nanousd"] > spent and b["spent_nanousd"])(budget(s)), "settled")
        assert spent <= limit * M
    assert len(set(shares)) > 3  # less and less
    assert scripted.last.json.get("max_tokens")
    # what is told is what the reply may have: a request that says it itself is left as it is
    reply(scripted, {"prompt_tokens": 10, "completion_tokens": 5})
    r = ask(s, max_tokens=7)
    assert r.status_code == 200 and scripted.last.json["max_tokens"] == 7 and "x-sluice-budget-max-tokens" not in r.headers


def test_what_is_known_of_a_model_is_held_and_nothing_is_told(start, scripted):
    config = money_config(scripted, budgets={"b": {"scope": "all", "limit_usd": 0.1, "period": "ever"}}, budget_hold_tokens=500)
    config["models"]["to-chat"] = {"targets": [{"provider": "chat", "upstream_model": "m"}], "max_output_tokens": 1000}
    s = start(config)
    reply(scripted, {"prompt_tokens": 10, "completion_tokens": 1000})
    r = s.post(CHAT, {"model": "to-chat", **SAY}, headers=s.auth(KEY))
    assert r.status_code == 200 and "max_tokens" not in scripted.last.json and "x-sluice-budget-max-tokens" not in r.headers
    # four answers of a thousand tokens each cost more than a quarter of what is left
    reply(scripted, {"prompt_tokens": 10, "completion_tokens": 2000})
    r = s.post(CHAT, {"model": "to-chat", "n": 4, **SAY}, headers=s.auth(KEY))
    assert r.status_code == 200 and 125 <= scripted.last.json["max_tokens"] < 1000
    s.stop()
    config["server"]["budget_max_tokens"] = 0
    config["budgets"]["b"]["limit_usd"] = 0.05
    s = start(config, "left_alone")
    r = s.post(CHAT, {"model": "to-chat", "n": 4, **SAY}, headers=s.auth(KEY))
    assert r.status_code == 402, r.text  # 4000 tokens are 0.06 USD
    reply(scripted, {"prompt_tokens": 10, "completion_tokens": 1000})
    assert s.post(CHAT, {"model": "to-chat", **SAY}, headers=s.auth(KEY)).status_code == 200
    assert "max_tokens" not in scripted.last.json


def test_a_stream_that_is_not_cut_is_told_its_maximum_and_so_is_an_older_completion(start, scripted):
    for cuts, path, body in ((False, CHAT, SAY), (True, "/v1/completions", {"prompt": "x", "logprobs": 1})):
        s = start(money_config(scripted, budgets={"b": {"scope": "all", "limit_usd": 0.1, "cut_streams": cuts}}, budget_hold_tokens=100), "cuts%d" % cuts)
        chunk = {"id": "c", "object": "x", "created": 1, "model": "m", "choices": [
            {"index": 0, "text": "hi", "finish_reason": "stop"} if cuts else {"index": 0, "delta": {"content": "hi"}, "finish_reason": "stop"}]}
        scripted.play(stream(sse(chunk, {**chunk, "choices": [], "usage": {"prompt_tokens": 3, "completion_tokens": 1, "total_tokens": 4}}, end=b"data: [DONE]\n\n")))
        with s.stream(path, {"model": "to-chat", "stream": True, **body}) as r:
            assert "[DONE]" in r.read().decode()
        assert 1000 < scripted.last.json["max_tokens"] < 1700
        s.stop()


def test_room_for_thinking_is_held_for_as_well(start, scripted):
    """Anthropic wants max_tokens above the budget for thinking: it is raised, and so is what is held."""
    s = start(money_config(scripted, {"plain/*": {"input": 3, "output": 15}}, {"b": {"scope": "all", "limit_usd": 0.1, "period": "ever"}}))
    r = s.post(CHAT, {"model": "to-plain", "max_tokens": 100, "reasoning_effort": "high", **SAY}, headers=s.auth(KEY))
    assert r.status_code == 402 and r.json()["error"]["code"] == "budget_exceeded", r.text
    assert not scripted.requests and budget(s)["held_nanousd"] == 0
    scripted.play(http(200, json.dumps(answer_of("anthropic", 3))))
    r = s.post(CHAT, {"model": "to-plain", "reasoning_effort": "high", **SAY}, headers=s.auth(KEY))
    assert r.status_code == 200, r.text
    assert scripted.last.json["max_tokens"] == int(r.headers["x-sluice-budget-max-tokens"]) < 4096 * 2


def test_the_other_operations_are_bounded_by_what_they_are_given(start, scripted):
    price = {"input": 10, "output": 10}
    s = start(money_config(scripted, {p + "/*": price for p in ("chat", "responses")}, {"b": {"scope": "all", "limit_usd": 0.01, "period": "ever"}}))

    def refused(path, body, **more):
        r = s.post(path, body, headers=s.auth(KEY), **more)
        return r.status_code == 402 and "has no room" in r.text
    ids = [1] * 1500  # two bytes each
    assert refused("/v1/embeddings", json.dumps({"model": "to-chat", "input": ids}, separators=(",", ":")))
    assert refused("/v1/completions", json.dumps({"model": "to-chat", "prompt": ids, "max_tokens": 1}, separators=(",", ":")))
    assert refused("/v1/completions", {"model": "to-chat", "prompt": ["a", "b,]\"", "c", "d"], "n": 3, "max_tokens": 100})
    assert refused("/v1/audio/speech", {"model": "to-chat", "input": "1234567 " * 16, "voice": "alloy"})
    assert refused("/v1/responses/compact", {"model": "to-responses", "input": "x"})
    form = (b"--x\r\nContent-Disposition: form-data; name=\"model\"\r\n\r\nto-chat\r\n--x\r\n"
            b"Content-Disposition: form-data; name=\"file\"; filename=\"a.mp3\"\r\n\r\n" + b"A" * 100 + b"\r\n--x--\r\n")
    r = s.call("POST", "/v1/audio/transcriptions", form, headers={**s.auth(KEY), "Content-Type": "multipart/form-data; boundary=x"})
    assert r.status_code == 402 and "has no room" in r.text, r.text
    assert not scripted.requests
    # sound is estimated by the text that it speaks, not by how it is coded
    scripted.play(http(200, b"\xff\xfb" + b"\0" * 60000, "audio/mpeg"))
    assert s.post("/v1/audio/speech", {"model": "to-chat", "input": "hello", "voice": "alloy"}, headers=s.auth(KEY)).status_code == 200
    line = lines(s, 1)[0]
    assert line["usage_quality"] == "estimated" and 0 < line["cost_nanousd"] < 2_000_000 and line["audio_out_tokens"] > 0, line
