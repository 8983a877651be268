"""Answers that need no upstream: the response cache, coalescing, Idempotency-Key. Nobody gets another tenant's."""
import asyncio
import concurrent.futures
import itertools
import json
import subprocess
import threading
import time

import pytest
from conftest import basic_config
from formats import FORMATS
from formats.common import HELLO, Ask, Turn, dump
from gateway import KEY, ROOT
from upstream import answer, http, reset, stream

CHAT = FORMATS["chat"]
OTHER = "sk-test-other-0123456789abcdef01234567"
NAMES = itertools.count()


def config(origin, **server):
    c = basic_config(origin)
    c["server"]["api_keys"].append({"id": "0000beef", "key": OTHER, "label": "another tenant"})
    c["server"]["api_keys"].append({"id": "0000ad00", "key": "sk-test-admin-0123456789abcdef0123456", "label": "admin",
                                    "scopes": ["admin"]})
    c["server"].update({"response_cache": True, **server})
    return c


@pytest.fixture
def cached(start_sluice, upstream):
    return start_sluice(config(upstream.origin))


def body(client="chat", stream=False, temperature=0, **more):
    f, a = FORMATS[client], Ask(model="to-chat", stream=stream)
    b = f.request(a)
    if temperature is not None:
        where = {"google": b.setdefault("generationConfig", {}) if client == "google" else None,
                 "ollama": b.setdefault("options", {}) if client == "ollama" else None}.get(client)
        (b if where is None else where)["temperature"] = temperature
    if client == "responses":
        b["store"] = False  # a stored one is an object of its own
    b.update(more)
    return f.path(a), b


def figures(s, layer="response"):
    r = s.call("GET", "/sluice/v1/cache", headers={"Authorization": "Bearer sk-test-admin-0123456789abcdef0123456"})
    assert r.status_code == 200, r.text
    return next(one for one in r.json()["layers"] if one["layer"] == layer)


@pytest.mark.parametrize("client", FORMATS)
@pytest.mark.parametrize("streaming", [False, True])
def test_an_equal_request_gets_the_same_bytes(cached, upstream, client, streaming):
    path, b = body(client, streaming)
    first, second = cached.post(path, b), cached.post(path, b)
    assert first.status_code == second.status_code == 200, first.text
    assert len(upstream.requests) == 1
    assert first.content == second.content and first.headers["content-type"] == second.headers["content-type"]
    assert (first.headers["x-sluice-cache"], second.headers["x-sluice-cache"]) == ("MISS", "HIT")
    assert second.headers["x-omniroute-cache"] == "HIT"
    assert first.headers["x-request-id"] != second.headers["x-request-id"]
    f = FORMATS[client]
    assert (f.read_stream if streaming else f.read)(second.content).text == HELLO


def test_the_order_of_members_makes_no_difference_and_everything_else_does(cached, upstream):
    path, b = body()
    assert cached.post(path, b).status_code == 200
    turned = dict(reversed(list(b.items())))
    assert cached.post(path, json.dumps(turned, indent=3)).headers["x-sluice-cache"] == "HIT"
    for n, change in enumerate([{"max_tokens": 7}, {"seed": 1}, {"top_p": 0.5}, {"user": "u"}, {"stop": ["x"]}, {"seed": 9007199254740992}, {"seed": 9007199254740993},
                                {"tools": [{"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}]},
                                {"messages": [{"role": "system", "content": "s"}, *b["messages"]]},
                                {"response_format": {"type": "json_object"}}, {"model": "to-anthropic"}]):
        assert cached.post(path, {**b, **change}).headers["x-sluice-cache"] == "MISS", change
        assert len(upstream.requests) == n + 2


def test_numbers_are_what_they_say(cached, upstream):
    path, b = body()
    text = json.dumps({**b, "temperature": 0, "top_p": 0.5, "max_tokens": 1200, "seed": -70})

    def told(name, number):
        was = json.dumps({name: json.loads(text)[name]})[1:-1]
        assert text.count(was) == 1
        return cached.post(path, text.replace(was, '"%s": %s' % (name, number)).encode()).headers["x-sluice-cache"]

    assert cached.post(path, text.encode()).headers["x-sluice-cache"] == "MISS"
    for name, number in (("temperature", "0.0"), ("temperature", "-0"), ("temperature", "0e5"), ("top_p", "0.50"), ("top_p", "5e-1"), ("top_p", "0.05E+1"),
                         ("max_tokens", "1200.0"), ("max_tokens", "12e2"), ("seed", "-7e1"), ("seed", "-70.00")):
        assert told(name, number) == "HIT", (name, number)
    assert len(upstream.requests) == 1
    for name, number in (("top_p", "0.05"), ("top_p", "0.501"), ("max_tokens", "120"), ("max_tokens", "12000"), ("seed", "70")):
        assert told(name, number) == "MISS", (name, number)


def test_formats_and_modes_have_their_own(cached, upstream):
    for n, client in enumerate(FORMATS):
        path, b = body(client)
        assert cached.post(path, b).headers["x-sluice-cache"] == "MISS"
        assert len(upstream.requests) == n + 1
    path, b = body("chat", True)
    assert cached.post(path, b).headers["x-sluice-cache"] == "MISS"


def test_never_another_tenants(cached, upstream):
    path, b = body()
    assert cached.post(path, b).headers["x-sluice-cache"] == "MISS"
    other = {"Authorization": "Bearer " + OTHER}
    assert cached.post(path, b, headers=other).headers["x-sluice-cache"] == "MISS"
    assert cached.post(path, b, headers=other).headers["x-sluice-cache"] == "HIT"
    assert len(upstream.requests) == 2


def test_callers_without_a_key_are_told_apart_behind_a_proxy_too(start_sluice, upstream):
    """By the address that a trusted proxy tells; what anybody else writes there makes no tenant."""
    path, b = body()
    trusting = start_sluice(config(upstream.origin, allow_anonymous=True, trusted_proxies="127.0.0.1"))
    sent = [({"X-Forwarded-For": "198.51.100.%d" % n, **more}, seen) for n, seen in ((1, "MISS"), (2, "MISS"), (1, "HIT"))
            for more in ({}, {"Idempotency-Key": "one", "X-Sluice-No-Cache": "true"})]
    for headers, seen in sent:
        r = trusting.post(path, b, auth=False, headers=headers)
        if "Idempotency-Key" in headers:
            assert r.headers.get("x-sluice-idempotent") == ("true" if seen == "HIT" else None), headers
        else:
            assert r.headers["x-sluice-cache"] == seen, headers
    assert len(upstream.requests) == 4
    plain = start_sluice(config(upstream.origin, allow_anonymous=True))
    assert [plain.post(path, b, auth=False, headers={"X-Forwarded-For": a}).headers["x-sluice-cache"] for a in ("198.51.100.1", "198.51.100.2")] == \
        ["MISS", "HIT"]


@pytest.mark.parametrize("temperature", [None, 0.1, 1])
def test_drawn_lots_are_drawn_again(cached, upstream, temperature):
    path, b = body(temperature=temperature)
    for _ in range(2):
        r = cached.post(path, b)
        assert r.status_code == 200 and r.headers.get("x-sluice-cache") != "HIT"
    assert len(upstream.requests) == 2


def test_unless_the_operator_says_otherwise(start_sluice, upstream):
    s = start_sluice(config(upstream.origin, response_cache_any_temperature=True))
    path, b = body(temperature=0.7)
    assert [s.post(path, b).headers["x-sluice-cache"] for _ in range(2)] == ["MISS", "HIT"]


@pytest.mark.parametrize("header", [("X-OmniRoute-No-Cache", "true"), ("X-Sluice-No-Cache", "true"), ("Cache-Control", "no-cache"),
                                    ("Cache-Control", "max-age=0, No-Store")])
def test_whoever_wants_a_fresh_answer_gets_it(cached, upstream, header):
    path, b = body()
    cached.post(path, b)
    r = cached.post(path, b, headers=dict([header]))
    assert r.headers["x-sluice-cache"] == "BYPASS" and len(upstream.requests) == 2


def test_off_unless_asked_for(start_sluice, upstream):
    s = start_sluice(config(upstream.origin, response_cache=False))
    path, b = body()
    for _ in range(2):
        assert "x-sluice-cache" not in s.post(path, b).headers
    assert len(upstream.requests) == 2


@pytest.mark.parametrize("streaming", [False, True])
def test_what_is_not_whole_and_good_is_not_kept(cached, upstream, streaming):
    path, b = body(stream=streaming)
    frames = [b'data: {"id":"x","object":"chat.completion.chunk","created":1,"model":"m","choices":[{"index":0,"delta":{"content":"hal"}}]}\n\n']
    for script in [http(500, dump({"error": {"message": "no"}})), reset, stream(frames, end="close"), http(200, "{")]:
        upstream.reset()
        upstream.play(script)
        bad = cached.post(path, b)
        assert bad.headers.get("x-sluice-cache") != "HIT"
    upstream.reset()
    good = cached.post(path, b)
    assert good.headers["x-sluice-cache"] == "MISS" and good.status_code == 200
    assert cached.post(path, b).headers["x-sluice-cache"] == "HIT"


def test_what_was_dropped_is_still_said(cached, upstream):
    path, b = body("anthropic", top_k=3, container="c")
    first, second = cached.post(path, b), cached.post(path, b)
    assert second.headers["x-sluice-cache"] == "HIT" and first.headers.get("x-sluice-dropped")
    assert first.headers["x-sluice-dropped"] == second.headers["x-sluice-dropped"]


def test_kept_for_its_time(start_sluice, upstream):
    s = start_sluice(config(upstream.origin, response_cache_ttl_ms=1))
    path, b = body()
    s.post(path, b)
    time.sleep(0.05)
    assert s.post(path, b).headers["x-sluice-cache"] == "MISS" and len(upstream.requests) == 2


def test_bounded_and_the_oldest_goes_first(start_sluice, upstream):
    s = start_sluice(config(upstream.origin, response_cache_max_entries=2))
    path, b = body()
    for seed in (1, 2, 1, 3):  # 2 is the one unused for longest when 3 comes
        s.post(path, {**b, "seed": seed})
    assert s.post(path, {**b, "seed": 1}).headers["x-sluice-cache"] == "HIT"
    assert s.post(path, {**b, "seed": 2}).headers["x-sluice-cache"] == "MISS"
    f = figures(s)
    assert f["entries"] == 2 and f["evicted"] == 2 and f["bytes"] > 0


def test_a_change_of_the_target_is_another_request(start_sluice, upstream):
    c = config(upstream.origin)
    s = start_sluice(c)
    path, b = body()
    s.post(path, b)
    c["models"]["to-chat"]["upstream_model"] = "newer"
    s.write_config(c)
    admin = {"Authorization": "Bearer sk-test-admin-0123456789abcdef0123456"}
    assert s.post("/sluice/v1/reload", headers=admin).status_code == 200
    assert s.post(path, b).headers["x-sluice-cache"] == "MISS"
    assert upstream.last.json["model"] == "newer"


@pytest.mark.parametrize("how", ["response", "coalesce"])
def test_thinking_that_the_operator_sets_is_part_of_the_request(start_sluice, upstream, how):
    """Also as a number that the client's format has no word for, and that stands nowhere in its body."""
    s = start_sluice(config(upstream.origin, response_cache=how == "response", coalesce=how == "coalesce", thinking_mode="custom", thinking_budget=2000))
    admin = {"Authorization": "Bearer sk-test-admin-0123456789abcdef0123456"}
    b = {"model": "to-google", "temperature": 0, "reasoning_effort": "low", "messages": [{"role": "user", "content": "hi"}]}
    told, go_on = [], threading.Event()

    async def script(conn, request):
        budget = request.json["generationConfig"]["thinkingConfig"]["thinkingBudget"]
        told.append(budget)
        while how == "coalesce" and not go_on.is_set():
            await asyncio.sleep(0.02)
        await answer(FORMATS["google"], Turn(text="thought %d" % budget))(conn, request)
    upstream.play(script)

    def ask():
        r = s.post("/v1/chat/completions", b, timeout=120)
        return r.status_code, r.headers["x-sluice-cache"], r.json()["choices"][0]["message"]["content"]
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        first = pool.submit(ask)
        upstream.wait(1)
        if how == "response":
            assert first.result(120) == (200, "MISS", "thought 2000") and ask() == (200, "HIT", "thought 2000")
        assert s.call("PATCH", "/sluice/v1/settings/thinking_budget", {"value": 3000}, headers=admin).status_code == 200
        second = pool.submit(ask)
        upstream.wait(2)  # beside the first one, not behind it
        go_on.set()
        assert first.result(120) == (200, "MISS", "thought 2000") and second.result(120) == (200, "MISS", "thought 3000")
    assert told == [2000, 3000]


def test_figures_and_forgetting(start_sluice, upstream):
    s = start_sluice(config(upstream.origin))
    admin = {"Authorization": "Bearer sk-test-admin-0123456789abcdef0123456"}
    path, b = body()
    for seed in (1, 1, 2):
        s.post(path, {**b, "seed": seed})
    s.post(path, {**b, "model": "to-anthropic"})
    f = figures(s)
    assert (f["hits"], f["misses"], f["entries"], f["running"]) == (1, 3, 3, 0) and f["tokens_saved"] > 0 and f["is_on"]

    def forget(query=""):
        r = s.call("DELETE", "/sluice/v1/cache" + query, headers=admin)
        return r.status_code, r.json().get("forgotten")

    assert forget("?older_than_ms=3600000") == (200, 0)
    assert forget("?model=to-anthropic") == (200, 1)
    assert forget("?id=zz")[0] == 400
    assert forget("?id=" + "0" * 64) == (200, 0)
    assert forget("?expired=true") == (200, 0)
    assert forget() == (200, 2)
    assert s.post(path, {**b, "seed": 1}).headers["x-sluice-cache"] == "MISS"
    assert s.call("DELETE", "/sluice/v1/cache/stats", headers=admin).status_code == 204
    assert figures(s)["misses"] == 0 and figures(s)["entries"] == 1


def test_the_log_says_so(start_sluice, upstream):
    s = start_sluice(config(upstream.origin))
    path, b = body()
    s.post(path, b)
    hit = s.post(path, b).headers["x-request-id"]
    admin = {"Authorization": "Bearer sk-test-admin-0123456789abcdef0123456"}
    end = time.monotonic() + 30
    while time.monotonic() < end:
        rows = {row["id"]: row for row in s.call("GET", "/sluice/v1/requests", headers=admin).json()["data"]}
        if hit in rows:
            break
        time.sleep(0.02)
    assert rows[hit]["cache"] == "hit" and rows[hit]["status"] == 200 and not rows[hit]["provider"]
    assert [row["cache"] for i, row in rows.items() if i != hit] == [None]


def test_embeddings_are_kept_as_well(cached, upstream):
    b = {"model": "to-chat", "input": ["one", "two"]}
    reply = http(200, dump({"object": "list", "model": "m", "data": [{"object": "embedding", "index": i, "embedding": [0.1]} for i in (0, 1)],
                            "usage": {"prompt_tokens": 2, "total_tokens": 2}}))
    upstream.play(reply)
    first, second = cached.post("/v1/embeddings", b), cached.post("/v1/embeddings", b)
    assert first.status_code == 200 and first.content == second.content and len(upstream.requests) == 1
    assert second.headers["x-sluice-cache"] == "HIT"


# Equal requests at the same time

def slow(gate, turn=Turn(text=HELLO)):
    """Answers once the gate is open."""
    async def script(conn, request):
        while not gate.is_set():
            await asyncio.sleep(0.005)
        await answer(CHAT, turn)(conn, request)

    return script


def wait_for(s, layer="response", **wanted):
    end = time.monotonic() + 30
    while time.monotonic() < end:
        f = figures(s, layer)
        if all(f[k] == v for k, v in wanted.items()):
            return
        time.sleep(0.01)
    raise AssertionError("%s, not %s" % (f, wanted))


@pytest.mark.threads
@pytest.mark.parametrize("is_kept", [False, True])
def test_one_answer_for_all_who_ask_at_once(start_sluice, upstream, is_kept):
    import threading
    s = start_sluice(config(upstream.origin, coalesce=True, response_cache=is_kept))
    gate, (path, b) = threading.Event(), body()
    upstream.play(slow(gate))
    with concurrent.futures.ThreadPoolExecutor(20) as pool:
        calls = [pool.submit(s.post, path, b) for _ in range(20)]
        wait_for(s, joined=19)
        gate.set()
        answers = [c.result() for c in calls]
    assert len(upstream.requests) == 1
    assert len({a.content for a in answers}) == 1 and all(a.status_code == 200 for a in answers)
    assert sorted(a.headers["x-sluice-cache"] for a in answers) == ["HIT"] * 19 + ["MISS"]
    assert figures(s)["entries"] == (1 if is_kept else 0)


@pytest.mark.threads
def test_when_the_first_one_fails_another_asks(start_sluice, upstream):
    import threading
    s = start_sluice(config(upstream.origin, coalesce=True, max_attempts=1))
    gate, (path, b) = threading.Event(), body()

    async def fails(conn, request):
        while not gate.is_set():
            await asyncio.sleep(0.005)
        await http(500, dump({"error": {"message": "no"}}))(conn, request)

    upstream.next(fails)
    with concurrent.futures.ThreadPoolExecutor(5) as pool:
        calls = [pool.submit(s.post, path, b) for _ in range(5)]
        wait_for(s, joined=4)
        gate.set()
        answers = [c.result() for c in calls]
    assert sorted(a.status_code for a in answers) == [200] * 4 + [500]
    assert len(upstream.requests) == 2


@pytest.mark.threads
def test_when_two_fail_the_others_go_at_once(start_sluice, upstream):
    """One tries for all; then each for itself, and none waits for another's failure."""
    import threading
    s = start_sluice(config(upstream.origin, coalesce=True, max_attempts=1))
    gates, (path, b) = [threading.Event() for _ in range(3)], body()

    def fails(gate):
        async def script(conn, request):
            while not gate.is_set():
                await asyncio.sleep(0.005)
            await http(500, dump({"error": {"message": "no"}}))(conn, request)
        return script

    upstream.next(fails(gates[0]), fails(gates[1]))
    upstream.play(fails(gates[2]))
    with concurrent.futures.ThreadPoolExecutor(6) as pool:
        calls = [pool.submit(s.post, path, b) for _ in range(6)]
        wait_for(s, joined=5)
        gates[0].set()
        upstream.wait(2)
        wait_for(s, joined=9)
        gates[1].set()
        upstream.wait(6)  # all of them, while none has an answer
        gates[2].set()
        assert [c.result().status_code for c in calls] == [500] * 6


@pytest.mark.threads
def test_when_the_first_ones_client_leaves_another_asks(start_sluice, upstream):
    import threading
    s = start_sluice(config(upstream.origin, coalesce=True))
    gate, (path, b) = threading.Event(), body()
    upstream.play(slow(gate))
    text = json.dumps(b).encode()
    request = ("POST %s HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %s\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" %
               (path, KEY, len(text))).encode() + text
    leader = s.connect()
    leader.sendall(request)
    upstream.wait(1)
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        follower = pool.submit(s.post, path, b)
        wait_for(s, joined=1)
        leader.close()
        upstream.wait(2)
        gate.set()
        assert follower.result().status_code == 200
    leaver = s.connect()  # and one that leaves while it waits disturbs nobody
    leaver.close()


@pytest.mark.threads
def test_who_waited_long_enough_asks_itself(start_sluice, upstream):
    import threading
    s = start_sluice(config(upstream.origin, coalesce=True, coalesce_wait_ms=1))
    gate, (path, b) = threading.Event(), body()
    upstream.play(slow(gate))
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        first = pool.submit(s.post, path, b)
        upstream.wait(1)
        second = pool.submit(s.post, path, b)
        upstream.wait(2)
        gate.set()
        assert first.result().status_code == second.result().status_code == 200


# Idempotency-Key

def key():
    return {"Idempotency-Key": "k-%d" % next(NAMES)}


@pytest.mark.parametrize("client", FORMATS)
@pytest.mark.parametrize("streaming", [False, True])
def test_a_request_sent_again_is_not_asked_again(sluice, upstream, client, streaming):
    path, b = body(client, streaming, temperature=None)
    k = key()
    first, second = sluice.post(path, b, headers=k), sluice.post(path, b, headers=k)
    assert len(upstream.requests) == 1 and first.content == second.content
    assert "x-sluice-idempotent" not in first.headers
    assert second.headers["x-sluice-idempotent"] == second.headers["x-omniroute-idempotent"] == "true"


def test_a_fresh_answer_is_not_a_second_one(cached, upstream):
    """What was sent with an Idempotency-Key is not done again, whatever is said of caches; and no header claims that it was."""
    path, b = body(temperature=None)
    k = {**key(), "Cache-Control": "no-cache"}
    first, second = cached.post(path, b, headers=k), cached.post(path, b, headers=k)
    assert first.headers["x-sluice-cache"] == "BYPASS" and "x-sluice-idempotent" not in first.headers
    assert second.headers["x-sluice-idempotent"] == "true" and "x-sluice-cache" not in second.headers and "x-omniroute-cache" not in second.headers
    assert len(upstream.requests) == 1 and first.content == second.content


def test_another_body_path_or_caller(start_sluice, upstream):
    s = start_sluice(config(upstream.origin, response_cache=False))
    path, b = body()
    k = key()
    assert s.post(path, b, headers=k).status_code == 200
    other = s.post(path, {**b, "seed": 5}, headers=k)
    assert other.status_code == 409 and other.json()["error"]["code"] == "idempotency_conflict"
    assert s.post(path, b, headers={**k, "Authorization": "Bearer " + OTHER}).headers.get("x-sluice-idempotent") is None
    assert s.post(*body("anthropic"), headers=k).headers.get("x-sluice-idempotent") is None
    assert len(upstream.requests) == 3
    long = s.post(path, b, headers={"Idempotency-Key": "k" * 256})
    assert long.status_code == 400 and "idempotency-key" in long.text


def test_what_the_address_asks_for_makes_another_request(sluice, upstream):
    """alt=sse decides how Google's streams come; the key in the address is no part of what is asked for."""
    _, b = body("google", True, temperature=None)
    path, k = "/v1beta/models/to-chat:streamGenerateContent", key()
    events, array = sluice.post(path + "?alt=sse", b, headers=k), sluice.post(path, b, headers=k)
    assert events.headers["content-type"].startswith("text/event-stream") and array.headers["content-type"].startswith("application/json")
    assert isinstance(array.json(), list) and "x-sluice-idempotent" not in array.headers and len(upstream.requests) == 2
    again = sluice.post(path + "?key=" + KEY + "&alt=sse", b, auth=False, headers=k)
    assert again.headers["x-sluice-idempotent"] == "true" and again.content == events.content and len(upstream.requests) == 2


def test_a_failure_is_tried_again(sluice, upstream):
    path, b = body()
    k = key()
    upstream.next(*[http(500, dump({"error": {"message": "no"}}))] * 4)
    assert sluice.post(path, b, headers=k).status_code == 500
    upstream.reset()
    again = sluice.post(path, b, headers=k)
    assert again.status_code == 200 and "x-sluice-idempotent" not in again.headers


@pytest.mark.threads
def test_one_that_comes_while_the_first_runs_waits_for_it(start_sluice, upstream):
    import threading
    s = start_sluice(config(upstream.origin, response_cache=False))
    gate, (path, b) = threading.Event(), body(stream=True)
    k = key()
    upstream.play(slow(gate))
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        calls = [pool.submit(s.post, path, b, headers=k) for _ in range(2)]
        wait_for(s, layer="idempotency", joined=1)
        gate.set()
        answers = [c.result() for c in calls]
    assert len(upstream.requests) == 1 and answers[0].content == answers[1].content
    assert [a.headers.get("x-sluice-idempotent") for a in answers].count("true") == 1


def test_the_window_can_be_closed(start_sluice, upstream):
    s = start_sluice(config(upstream.origin, idempotency_window_ms=0))
    path, b = body(temperature=None)
    k = key()
    for _ in range(2):
        assert s.post(path, b, headers=k).status_code == 200
    assert len(upstream.requests) == 2


def test_a_large_stream_is_given_again_whole(start_sluice, upstream):
    s = start_sluice(config(upstream.origin, response_cache_max_reply_bytes=16 << 20))
    path, b = body(stream=True)
    text = "wörter und mehr " * 1000
    frame = b"data: " + dump({"id": "x", "object": "chat.completion.chunk", "created": 1, "model": "m",
                              "choices": [{"index": 0, "delta": {"content": text}, "finish_reason": None}]}).encode() + b"\n\n"
    last = b'data: {"id":"x","object":"chat.completion.chunk","created":1,"model":"m","choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}\n\n'
    upstream.play(stream([frame] * 400 + [last, b"data: [DONE]\n\n"], how="whole"))
    first, second = s.post(path, b), s.post(path, b)
    assert second.headers["x-sluice-cache"] == "HIT"
    assert len(first.content) > 6 << 20 and first.content == second.content


def test_whose_an_answer_is_can_be_widened_to_a_user_and_no_further(start_sluice, upstream):
    c = config(upstream.origin, response_cache_scope="user")
    c["users"] = {"ann": {"name": "Ann"}, "bob": {"name": "Bob"}}
    keys = {"id": "%08d", "key": "sk-test-scope-%d-0123456789abcdef01234567"}
    for n, user in enumerate(["ann", "ann", "bob"]):
        c["server"]["api_keys"].append({"id": keys["id"] % n, "key": keys["key"] % n, "label": user, "user": user})
    s = start_sluice(c)
    path, b = body()
    seen = [s.post(path, b, headers={"Authorization": "Bearer " + keys["key"] % n}).headers["x-sluice-cache"] for n in range(3)]
    assert seen == ["MISS", "HIT", "MISS"]


# Questions that mean the same

WORDS = ["weather", "rain", "sun", "paris", "london", "cook", "bread", "oven"]


def vector(text):
    """What a model would make of it: which words are in it, whatever their order and form."""
    return [1.0 if w in text.lower() else 0.01 for w in WORDS]


@pytest.fixture(scope="module")
def engine():
    path = subprocess.run([ROOT / "tools/get-vector"], capture_output=True, text=True, check=True).stdout.strip()
    return {"SLUICE_SQLITE_VEC": path}


@pytest.fixture
def meaning(request, start_sluice, upstream, engine):
    asked = []

    settings = getattr(request, "param", {"response_cache_max_entries": 100})

    async def script(conn, request):
        if request.path.endswith("/embeddings"):
            asked.append(request.json["input"])
            await http(200, dump({"object": "list", "model": "m", "usage": {"prompt_tokens": 1, "total_tokens": 1},
                                  "data": [{"object": "embedding", "index": 0, "embedding": vector(request.json["input"])}]}))(conn, request)
        else:
            await answer(CHAT, Turn(text=HELLO))(conn, request)

    upstream.play(script)
    s = start_sluice(config(upstream.origin, semantic_cache_model="to-chat", **settings), env=engine)
    s.asked = asked
    return s


def question(text, **more):
    return {"model": "to-chat", "temperature": 0, "messages": [{"role": "system", "content": "Be brief."}, {"role": "user", "content": text}],
            **more}


def talked(upstream):
    return [r for r in upstream.requests if not r.path.endswith("/embeddings")]


def how(s, b, **options):
    r = s.post("/v1/chat/completions", b, **options)
    assert r.status_code == 200, r.text
    return r.headers["x-sluice-cache"]


@pytest.mark.threads
def test_a_question_that_means_the_same(meaning, upstream):
    assert how(meaning, question("What is the weather in Paris?")) == "MISS"
    wait_for(meaning, layer="semantic", entries=1)
    assert how(meaning, question("Paris: the weather, please")) == "HIT"
    assert how(meaning, question("What is the weather in London?")) == "MISS"
    assert how(meaning, question("How do I bake bread in an oven?")) == "MISS"
    assert len(talked(upstream)) == 3 and len(meaning.asked) == 4
    assert figures(meaning, "semantic")["hits"] == 1
    assert how(meaning, question("What is the weather in Paris?")) == "HIT"  # equal ones need no vector
    assert len(meaning.asked) == 4


@pytest.mark.threads
def test_all_else_must_be_equal(meaning, upstream):
    assert how(meaning, question("the weather in Paris")) == "MISS"
    wait_for(meaning, layer="semantic", entries=1)
    same = "Paris weather"
    for other in (question(same, max_tokens=5), question(same, stream=True), {**question(same), "messages": question(same)["messages"][1:]},
                  question(same, top_p=0.5)):
        assert how(meaning, other) == "MISS"
    assert how(meaning, question(same), headers={"Authorization": "Bearer " + OTHER}) == "MISS"
    assert how(meaning, question(same)) == "HIT"


@pytest.mark.threads
@pytest.mark.parametrize("meaning", [{"response_cache_ttl_ms": 2000}], indirect=True)
def test_an_answer_that_is_given_again_is_as_old_as_it_is(meaning, upstream):
    for n, word in enumerate(WORDS):  # a machine may be too slow to ask again in time
        assert how(meaning, question("%s?" % word)) == "MISS"
        wait_for(meaning, layer="semantic", stored=n + 1)
        kept = time.time()  # or before
        time.sleep(1)
        if how(meaning, question("the %s" % word)) == "HIT":
            break
    while time.time() <= kept + 2:
        time.sleep(0.05)
    assert how(meaning, question("the %s" % word)) == "MISS"


@pytest.mark.threads
@pytest.mark.parametrize("meaning", [{"response_cache_max_entries": 3}], indirect=True)
def test_bounded_and_forgotten(meaning, upstream):
    for n, word in enumerate(["sun", "rain", "cook", "bread"]):
        assert how(meaning, question(word)) == "MISS"
        wait_for(meaning, layer="semantic", stored=n + 1)
    f = figures(meaning, "semantic")
    assert f["entries"] == 3 and f["evicted"] == 1
    admin = {"Authorization": "Bearer sk-test-admin-0123456789abcdef0123456"}
    assert meaning.call("DELETE", "/sluice/v1/cache?model=to-chat", headers=admin).json()["forgotten"] == 6
    assert figures(meaning, "semantic")["bytes"] == 0
    assert how(meaning, question("bread, please")) == "MISS"


def test_without_vectors_the_request_is_sent(start_sluice, upstream, engine):
    async def script(conn, request):
        if request.path.endswith("/embeddings"):
            await http(500, dump({"error": {"message": "no"}}))(conn, request)
        else:
            await answer(CHAT, Turn(text=HELLO))(conn, request)

    upstream.play(script)
    s = start_sluice(config(upstream.origin, semantic_cache_model="to-chat"), env=engine)
    assert [how(s, question("weather")), how(s, question("weather"))] == ["MISS", "HIT"]
    s = start_sluice(config(upstream.origin, semantic_cache_model="to-chat"), env={"SLUICE_SQLITE_VEC": "/nonexistent/vec0.so"})
    assert how(s, question("weather")) == "MISS" and not figures(s, "semantic")["is_on"]


# Money

def priced(upstream, **server):
    c = config(upstream.origin, **server)
    c["prices"] = {"chat/*": {"input": 3, "output": 15}}
    upstream.play(http(200, dump({"id": "c", "object": "chat.completion", "created": 1, "model": "m",
                                  "usage": {"prompt_tokens": 1000, "completion_tokens": 100, "total_tokens": 1100, "cost": 0.5},
                                  "choices": [{"index": 0, "message": {"role": "assistant", "content": "hi"}, "finish_reason": "stop"}]})))
    return c


def rows(s, count, path="/sluice/v1/requests"):
    admin = {"Authorization": "Bearer sk-test-admin-0123456789abcdef0123456"}
    end = time.monotonic() + 30
    while time.monotonic() < end:
        data = s.call("GET", path, headers=admin).json()["data"]
        if len(data) >= count:
            return data
        time.sleep(0.02)
    raise AssertionError(data)


@pytest.mark.parametrize("cost", ["free", "full"])
def test_a_hit_costs_what_the_policy_says(start_sluice, upstream, cost):
    s = start_sluice(priced(upstream, response_cache_cost=cost))
    for _ in range(2):
        assert how(s, question("hello")) in ("MISS", "HIT")
    hit, miss = rows(s, 2)[:2]
    assert miss["cost_nanousd"] == 4_500_000 and hit["cache"] == "hit"
    assert hit["cost_nanousd"] == (4_500_000 if cost == "full" else None)  # null: nothing
    ledger = rows(s, 2 if cost == "full" else 1, "/sluice/v1/ledger")
    assert sum(line["cost_nanousd"] for line in ledger) == (9_000_000 if cost == "full" else 4_500_000)
    assert [line["stated_nanousd"] for line in ledger][-1] == 500_000_000 and ledger[0]["stated_nanousd"] == (None if cost == "full" else 500_000_000)
    admin = {"Authorization": "Bearer sk-test-admin-0123456789abcdef0123456"}
    assert s.call("GET", "/sluice/v1/ledger/verify", headers=admin).json()["ok"]


def test_a_request_that_is_sent_again_is_paid_for_once_and_passes_no_cache(start_sluice, upstream):
    s = start_sluice(priced(upstream, response_cache_cost="full"))
    b = question("hello")
    first, again = (s.post("/v1/chat/completions", b, headers={"Idempotency-Key": "k1"}) for _ in range(2))
    assert first.headers["x-sluice-cache"] == "MISS" and first.status_code == again.status_code == 200
    assert again.headers["x-sluice-idempotent"] == "true" and "x-sluice-cache" not in again.headers and "x-omniroute-cache" not in again.headers
    third = s.post("/v1/chat/completions", b, headers={"Idempotency-Key": "k2"})  # another request, which the cache knows, and which is paid for
    assert third.headers["x-sluice-cache"] == "HIT" and "x-sluice-idempotent" not in third.headers
    assert [r["cost_nanousd"] for r in rows(s, 3)[:3]] == [4_500_000, None, 4_500_000]
    assert sum(line["cost_nanousd"] for line in rows(s, 2, "/sluice/v1/ledger")) == 9_000_000 and len(upstream.requests) == 1


def test_a_hit_that_costs_is_refused_where_a_budget_is_spent(start_sluice, upstream):
    c = priced(upstream, response_cache_cost="full")
    c["budgets"] = {"tight": {"scope": "key", "subject": "0a1b2c3d", "limit_usd": 0.01, "period": "day"}}
    s = start_sluice(c)
    b = question("hello", max_tokens=100)
    seen = [s.post("/v1/chat/completions", b).status_code for _ in range(4)]
    assert seen[:2] == [200, 200] and seen[3] in (402, 429), seen
    assert len(upstream.requests) == 1
