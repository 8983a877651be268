"""Hedging: the next target is asked beside a silent one, the first byte wins, and the other is closed, paid for and not blamed."""
import asyncio
import json
import threading

import pytest
from formats import FORMATS
from formats.common import HELLO, Turn
from gateway import KEY, provider, wait_for
from upstream import answer, failure, head, http, silence

CHAT = FORMATS["chat"]
ADMIN = "sk-admin-0123456789abcdef"
ANSWER = answer(CHAT, Turn(text=HELLO))


async def slow(conn, request):
    """Answers, long after another would have been asked."""
    await asyncio.sleep(0.5)
    await ANSWER(conn, request)


def in_turn(*scripts):
    """A script for each request that comes, one after the other."""
    left = iter(scripts)

    async def script(conn, request):
        await next(left)(conn, request)
    return script


def by_path(**scripts):
    """Scripts for the upstreams a, b, c, told apart by their path."""
    async def script(conn, request):
        await scripts[request.path[1]](conn, request)
    return script


def config(origin, combo=None, key=None, prices=None, budgets=None, **server):
    return {"providers": {"a": provider("chat", origin + "/a"), "b": provider("chat", origin + "/b"), "c": provider("anthropic", origin + "/c")},
            "models": {"ma": "a", "mb": "b", "mc": "c"},
            "combos": {"k": {"members": ["ma", "mb", "mc"], "hedge_after_ms": 30, "max_retries": 0, **(combo or {})}},
            "prices": prices or {}, "budgets": budgets or {},
            "server": {"api_keys": [{"id": "c1", "key": KEY, "label": "client", **(key or {})},
                                    {"id": "ad000001", "key": ADMIN, "label": "operator", "scopes": ["inference", "models", "admin"]}],
                       "route_wait_ms": 0, "limit_queue_ms": 0, **server}}


def ask(s, **more):
    return s.post("/v1/chat/completions", {"model": "k", "messages": [{"role": "user", "content": "hi"}], **more})


def see(s, path):
    r = s.get(path, headers=s.auth(ADMIN))
    assert r.status_code == 200, r.text
    return r.json()


def counted(s, what, value):
    label = "outcome" if what in ("won", "lost", "failed", "left") else "reason"
    name = "sluice_hedges_total" if label == "outcome" else "sluice_hedges_withheld_total"
    return wait_for(lambda: '%s{%s="%s"} %d\n' % (name, label, what, value) in s.get("/metrics", headers=s.auth(ADMIN)).text,
                    "%s %s %d" % (name, what, value))


def record(s):
    """Of the last request, with its attempts."""
    row = wait_for(lambda: see(s, "/sluice/v1/requests")["data"], "a record")[0]
    return see(s, "/sluice/v1/requests/" + row["id"])


def breakers(s):
    return see(s, "/sluice/v1/breakers")["data"]


@pytest.mark.threads
@pytest.mark.parametrize("streams", (False, True))
def test_the_next_one_answers_for_a_silent_one_which_is_closed(start_sluice, upstream, streams):
    s = start_sluice(config(upstream.origin))
    upstream.play(by_path(a=silence, b=ANSWER))
    r = ask(s, stream=streams)
    assert r.status_code == 200 and HELLO[:4] in r.text and r.headers["x-sluice-upstream"] == "b"
    first, second = sorted(upstream.wait(2), key=lambda q: q.path)  # they may be read in any order
    assert (first.path[1], second.path[1]) == ("a", "b")
    assert json.loads(first.body)["messages"] == json.loads(second.body)["messages"]
    assert first.gone.wait(30) and not second.gone.is_set()  # seen from the upstream's side
    counted(s, "won", 1)
    log = record(s)
    assert [(t["provider"], t.get("reason"), t.get("fault")) for t in log["tried"]] == [("a", None, "hedge"), ("b", "hedge", None)]
    assert [(c["provider"], c.get("left"), c.get("chosen")) for c in log["route"]["candidates"]][:2] == [("a", "hedge", None), ("b", None, True)]
    assert not [m for m in s.get("/metrics", headers=s.auth(ADMIN)).text.split("\n")
                if m.startswith("sluice_failovers_total{") and not m.endswith(" 0")]
    assert breakers(s) == []  # a lost race is no failure


@pytest.mark.threads
def test_the_first_one_may_still_win(start_sluice, upstream):
    s = start_sluice(config(upstream.origin))
    both = threading.Event()

    async def at_last(conn, request):
        while not both.is_set():
            await asyncio.sleep(0.005)
        await ANSWER(conn, request)

    async def never(conn, request):
        both.set()
        await silence(conn, request)

    upstream.play(by_path(a=at_last, b=never))
    r = ask(s)
    assert r.status_code == 200 and r.headers["x-sluice-upstream"] == "a"
    assert max(upstream.wait(2), key=lambda q: q.path).gone.wait(30)
    counted(s, "lost", 1)
    assert [(t["provider"], t.get("reason"), t.get("fault")) for t in record(s)["tried"]] == [("b", "hedge", "hedge"), ("a", None, None)]
    assert breakers(s) == []


def test_a_head_alone_is_no_answer_and_formats_may_differ(start_sluice, upstream):
    s = start_sluice(config(upstream.origin, {"members": ["ma", "mc"]}))

    async def head_only(conn, request):
        conn.send(head(200, [("Content-Type", "text/event-stream"), ("Transfer-Encoding", "chunked")]))
        await conn.until_gone()

    upstream.play(by_path(a=head_only, c=answer(FORMATS["anthropic"], Turn(text=HELLO))))
    r = ask(s, stream=True)
    assert r.status_code == 200 and r.headers["x-sluice-upstream"] == "c" and "chat.completion.chunk" in r.text
    assert min(upstream.wait(2), key=lambda q: q.path).gone.wait(30)


@pytest.mark.threads
def test_who_fails_leaves_it_to_the_other(start_sluice, upstream):
    s = start_sluice(config(upstream.origin, {"members": ["ma", "mb"]}))
    second, failed = threading.Event(), threading.Event()

    async def fails(conn, request):
        await failure(CHAT, 503, "busy")(conn, request)
        await conn.until_read()
        failed.set()

    async def late_failure(conn, request):
        while not second.is_set():
            await asyncio.sleep(0.005)
        await fails(conn, request)

    async def answers_then(conn, request):
        second.set()
        while not failed.is_set():
            await asyncio.sleep(0.005)
        await ANSWER(conn, request)

    upstream.play(by_path(a=late_failure, b=answers_then))
    r = ask(s)  # the first one fails while the second works: the second goes on
    assert r.status_code == 200 and r.headers["x-sluice-upstream"] == "b"
    assert len(upstream.requests) == 2
    log = record(s)
    assert [(t["provider"], t.get("reason"), t.get("fault")) for t in log["tried"]] == [("a", None, "overload"), ("b", "hedge", None)]
    counted(s, "won", 1)
    assert [b["provider"] for b in breakers(s)] == ["a"]
    assert s.post("/sluice/v1/breakers/reset", {}, headers=s.auth(ADMIN)).status_code == 200

    upstream.reset()
    failed.clear()
    upstream.play(by_path(a=answers_then, b=fails))
    r = ask(s)  # the second one fails: the first goes on
    assert r.status_code == 200 and r.headers["x-sluice-upstream"] == "a"
    counted(s, "failed", 1)

    # both fail: the third's turn, and then the error
    assert s.call("PATCH", "/sluice/v1/combos/k", {"members": [{"model": m} for m in ("ma", "mb", "mc")]}, headers=s.auth(ADMIN)).status_code == 200
    assert s.post("/sluice/v1/breakers/reset", {}, headers=s.auth(ADMIN)).status_code == 200
    upstream.reset()
    second.clear()

    async def fails_late(conn, request):
        second.set()
        await asyncio.sleep(0.02)
        await failure(CHAT, 503, "busy")(conn, request)

    upstream.play(by_path(a=late_failure, b=fails_late, c=failure(FORMATS["anthropic"], 529, "no")))
    r = ask(s)
    assert r.status_code == 503 and sorted(q.path[1] for q in upstream.requests) == ["a", "b", "c"] and upstream.last.path[1] == "c"


def test_the_budget_bounds_it(start_sluice, upstream):
    s = start_sluice(config(upstream.origin, hedge_burst=1, hedge_budget_percent=50))
    upstream.play(by_path(a=in_turn(silence, slow, silence, slow, silence), b=ANSWER))
    assert [ask(s).headers["x-sluice-upstream"] for _ in range(5)] == ["b", "a", "b", "a", "b"]
    counted(s, "budget", 2)


def test_nothing_that_is_stored_or_calls_out_is_asked_twice(start_sluice, upstream):
    s = start_sluice(config(upstream.origin))
    upstream.play(by_path(a=in_turn(slow, silence, slow, silence, slow), b=ANSWER))
    assert ask(s, store=True).headers["x-sluice-upstream"] == "a"
    assert ask(s, store=False).headers["x-sluice-upstream"] == "b"
    assert s.post("/v1/responses", {"model": "k", "input": "hi"}).headers["x-sluice-upstream"] == "a"  # stored unless it says no
    assert s.post("/v1/responses", {"model": "k", "input": "hi", "store": False}).headers["x-sluice-upstream"] == "b"
    assert ask(s, mcp_servers=[]).headers["x-sluice-upstream"] == "a"


def test_limits_hold_for_both_attempts_together(start_sluice, upstream):
    upstream.play(by_path(a=in_turn(slow, silence, silence), b=ANSWER))
    s = start_sluice(config(upstream.origin, key={"limits": {"concurrency": 1}}))
    assert ask(s).headers["x-sluice-upstream"] == "a"
    counted(s, "limit", 1)
    s = start_sluice(config(upstream.origin, key={"limits": {"concurrency": 2, "requests_per_minute": 2}}))
    for _ in range(2):  # nothing leaks, and the caller's own windows count requests, not attempts
        r = ask(s)
        assert r.status_code == 200 and r.headers["x-sluice-upstream"] == "b", r.text
    assert ask(s).status_code == 429


def test_the_cancelled_one_has_a_line_of_its_own(start_sluice, upstream):
    s = start_sluice(config(upstream.origin, prices={"a/*": {"input": 4, "output": 8}, "b/*": {"input": 1, "output": 2}},
                            budgets={"all": {"scope": "all", "period": "day", "limit_usd": 1}}, cost_client_left_estimate=True))
    usage = {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15}
    reply = {"id": "c", "object": "chat.completion", "created": 1, "model": "m", "usage": usage,
             "choices": [{"index": 0, "message": {"role": "assistant", "content": "hi"}, "finish_reason": "stop"}]}
    upstream.play(by_path(a=silence, b=http(200, json.dumps(reply))))
    assert ask(s, max_tokens=100).headers["x-sluice-upstream"] == "b"
    ledger = wait_for(lambda: len(see(s, "/sluice/v1/ledger")["data"]) == 2 and see(s, "/sluice/v1/ledger")["data"], "two lines")
    upward = see(s, "/sluice/v1/ledger?sort=at&limit=1")
    assert upward["data"] == ledger[1:] and upward["has_more"]
    assert see(s, "/sluice/v1/ledger?sort=at&after=" + upward["next"])["data"] == ledger[:1]
    by = {line["provider"]: line for line in ledger}
    assert by["b"]["ended"] == "done" and by["b"]["cost_nanousd"] == 10 * 1000 + 5 * 2000
    assert by["a"]["ended"] == "hedged" and by["a"]["usage_quality"] == "estimated" and by["a"]["output_tokens"] == 0
    assert by["a"]["cost_nanousd"] == by["a"]["input_tokens"] * 4000 > 0
    assert by["a"]["request_id"] == by["b"]["request_id"]
    path = "/sluice/v1/requests/" + by["a"]["request_id"]
    wait_for(lambda: s.get(path, headers=s.auth(ADMIN)).status_code == 200, "its record follows its line")
    row = see(s, path)  # what it cost in all, and how much of it the second one was
    assert row["cost_nanousd"] == by["a"]["cost_nanousd"] + by["b"]["cost_nanousd"] and row["hedge_cost_nanousd"] == by["a"]["cost_nanousd"]
    budget = see(s, "/sluice/v1/budgets/all")
    assert budget["held_nanousd"] == 0 and budget["spent_nanousd"] == by["a"]["cost_nanousd"] + by["b"]["cost_nanousd"]


def test_a_budget_without_room_for_two_asks_one(start_sluice, upstream):
    # the first holds 1000 tokens of output at 8 dollars a million: 8 mUSD; the second would hold as much
    s = start_sluice(config(upstream.origin, prices={"a/*": {"input": 0, "output": 8}, "b/*": {"input": 0, "output": 8}, "c/*": {"input": 0, "output": 8}},
                            budgets={"all": {"scope": "all", "period": "day", "limit_usd": 0.012}}))
    upstream.play(by_path(a=slow, b=ANSWER))
    assert ask(s, max_tokens=1000).headers["x-sluice-upstream"] == "a"
    counted(s, "money", 1)
    assert see(s, "/sluice/v1/budgets/all")["held_nanousd"] == 0


@pytest.mark.threads
def test_a_client_that_leaves_closes_both(start_sluice, upstream):
    s = start_sluice(config(upstream.origin, prices={p + "/*": {"input": 1, "output": 1} for p in "abc"},
                            budgets={"all": {"scope": "all", "period": "day", "limit_usd": 1}}))
    upstream.play(by_path(a=silence, b=silence, c=silence))
    body = json.dumps({"model": "k", "messages": [{"role": "user", "content": "hi"}]}).encode()
    with s.connect() as c:
        c.sendall(b"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %s\r\nContent-Length: %d\r\n\r\n%s"
                  % (KEY.encode(), len(body), body))
        upstream.wait(2)
    for q in upstream.wait(2):
        assert q.gone.wait(30)
    counted(s, "left", 1)
    wait_for(lambda: see(s, "/sluice/v1/budgets/all")["held_nanousd"] == 0, "nothing is held")
    assert breakers(s) == []


def test_the_explanation_says_when(start_sluice, upstream):
    s = start_sluice(config(upstream.origin, {"hedge_after_ms": -1, "hedge_percentile": 95}, combo_hedge_after_ms=70))
    plan = s.post("/sluice/v1/route/explain", {"model": "k"}, headers=s.auth(ADMIN)).json()
    assert [c["hedge_after_ms"] for c in plan["candidates"]] == [70, 70, 70]

    async def after_a_while(conn, request):
        await asyncio.sleep(0.1)
        await ANSWER(conn, request)

    upstream.play(after_a_while)
    with_percentile = s.call("PATCH", "/sluice/v1/combos/k", {"members": [{"model": "ma"}, {"model": "mb"}]}, headers=s.auth(ADMIN))
    assert with_percentile.status_code == 200 and with_percentile.json()["hedge_percentile"] == 95
    assert s.call("PATCH", "/sluice/v1/settings/hedge_budget_percent", {"value": 1}, headers=s.auth(ADMIN)).status_code == 200
    for _ in range(20):  # learnt from its own times, those that were cut short included
        assert ask(s).status_code == 200
    plan = s.post("/sluice/v1/route/explain", {"model": "k"}, headers=s.auth(ADMIN)).json()
    assert plan["candidates"][0]["hedge_after_ms"] > 90
