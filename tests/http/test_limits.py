"""Limits over the wire: never one too many, the true time to try again, who waits and who is served, what clients are told."""
import asyncio
import concurrent.futures
import json
import re
import threading

import httpx
import pytest
from formats import FORMATS
from formats.common import Turn
from gateway import KEY, provider, wait_for
from upstream import answer, failure, silence

ADMIN = "sk-admin-0123456789abcdef"
OTHER = "sk-other-0123456789abcdef0123456789abcd"
CHAT = {"model": "echo", "messages": [{"role": "user", "content": "hello"}]}


def config(limits=None, settings=None, other=None, **sections):
    return {**{"providers": {"echo": {"type": "echo"}}, "models": {"echo": {"provider": "echo"}}, **sections},
            "server": {**(settings or {}), "api_keys": [
                {"id": "ad000001", "key": ADMIN, "scopes": ["inference", "models", "admin"]},
                {"id": "k0000001", "key": KEY, **({"limits": limits} if limits else {})}, {"id": "k0000002", "key": OTHER, **(other or {})}]}}


def chat(s, key=KEY, body=None, path="/v1/chat/completions", **options):
    return s.call("POST", path, body or CHAT, headers={"Authorization": "Bearer " + key}, auth=False, **options)


def test_so_many_a_minute_and_not_one_more_with_many_clients_at_once(start_sluice):
    s = start_sluice(config({"requests_per_minute": 150}))

    def client(_):
        with httpx.Client(base_url=s.origin, trust_env=False, timeout=60) as http:
            return [http.post("/v1/chat/completions", json=CHAT, headers={"Authorization": "Bearer " + KEY}).status_code for _ in range(25)]
    with concurrent.futures.ThreadPoolExecutor(16) as pool:
        statuses = [status for some in pool.map(client, range(16)) for status in some]
    assert sorted(set(statuses)) == [200, 429] and statuses.count(200) == 150
    assert chat(s, OTHER).status_code == 200
    view = s.get("/sluice/v1/limits", headers={"Authorization": "Bearer " + ADMIN}, auth=False).json()["data"]
    assert [(v["of"], v["id"], v["kind"], v["used"], v["remaining"], v["refused"]) for v in view] == \
        [("key", "k0000001", "requests_per_minute", 150, 0, 250)]
    metrics = s.get("/metrics", headers={"Authorization": "Bearer " + ADMIN}, auth=False).text
    assert 'sluice_limit_refused_total{of="key",limit="requests_per_minute"} 250' in metrics


@pytest.mark.parametrize("path, body, shape", [
    ("/v1/chat/completions", CHAT, lambda j: j["error"]["code"] == "rate_limit_exceeded"),
    ("/v1/responses", {"model": "echo", "input": "hi"}, lambda j: j["error"]["code"] == "rate_limit_exceeded"),
    ("/v1/messages", {**CHAT, "max_tokens": 9}, lambda j: j["type"] == "error" and j["error"]["type"] == "rate_limit_error"),
    ("/v1beta/models/echo:generateContent", {"contents": [{"role": "user", "parts": [{"text": "hi"}]}]}, lambda j: j["error"]["status"] == "RESOURCE_EXHAUSTED"),
    ("/api/chat", CHAT, lambda j: "Rate limit" in j["error"]),
])
def test_every_format_is_refused_in_its_own_words_and_told_when(start_sluice, path, body, shape):
    s = start_sluice(config({"requests_per_minute": 1}))
    first = chat(s, body=body, path=path)
    assert first.status_code == 200
    kind = "anthropic-ratelimit-requests-%s" if path == "/v1/messages" else "x-ratelimit-%s-requests"
    names = [kind % n for n in ("limit", "remaining")]
    assert [first.headers[n] for n in names] == ["1", "0"]
    reset = first.headers[kind % "reset"]
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z" if path == "/v1/messages" else r"(1m)?\d+s", reset), reset
    refused = chat(s, body=body, path=path)
    assert refused.status_code == 429 and shape(refused.json()), refused.text
    assert 1 <= int(refused.headers["retry-after"]) <= 62
    assert [refused.headers[n] for n in names] == ["1", "0"]


def test_tokens_are_settled_with_what_was_used(start_sluice):
    s = start_sluice(config({"tokens_per_minute": 2000}, {"limit_queue_ms": 0}))
    used = []
    for _ in range(3):  # each reserves 1024 and more, and uses few
        r = chat(s)
        assert r.status_code == 200, r.text
        used.append(r.json()["usage"]["total_tokens"])
    wait_for(lambda: s.get("/sluice/v1/limits", headers={"Authorization": "Bearer " + ADMIN}, auth=False).json()["data"][0]["used"] == sum(used),
             "what was used is all that counts")
    refused = chat(s, body={**CHAT, "max_tokens": 1990, "messages": [{"role": "user", "content": "x " * 200}]})
    assert refused.status_code == 429 and "tokens per minute" in refused.json()["error"]["message"]
    assert chat(s).headers["x-ratelimit-limit-tokens"] == "2000"


def test_limits_of_users_and_organisations_hold_for_all_their_keys(start_sluice):
    s = start_sluice(config(orgs={"acme": {"limits": {"requests_per_day": 3}}}, users={"ada": {"org": "acme", "limits": {"requests_per_minute": 2}}}))
    headers = {"Authorization": "Bearer " + ADMIN}
    for key, owner in (("k0000001", {"user": "ada"}), ("k0000002", {"org": "acme"})):
        assert s.call("PATCH", "/sluice/v1/keys/" + key, owner, headers=headers, auth=False).status_code == 200
    assert [chat(s).status_code for _ in range(2)] == [200, 200]
    refused = chat(s)
    assert refused.status_code == 429 and "this user" in refused.json()["error"]["message"]
    assert chat(s, OTHER).status_code == 200
    refused = chat(s, OTHER)
    assert refused.status_code == 429 and "this organisation" in refused.json()["error"]["message"]
    assert int(refused.headers["retry-after"]) > 80000
    assert s.call("PATCH", "/sluice/v1/orgs/acme", {"limits": {}}, headers=headers, auth=False).status_code == 200  # in force at once
    assert chat(s, OTHER).status_code == 200


def admin(s, method, path, body=None):
    return s.call(method, path, body, headers={"Authorization": "Bearer " + ADMIN}, auth=False)


def limits(s, **wanted):
    return [v for v in admin(s, "GET", "/sluice/v1/limits").json()["data"] if all(v[k] == wanted[k] for k in wanted)]


def held(s, key=KEY, model="echo"):
    """A request that is being served until its socket is closed."""
    body = json.dumps({"model": model, "messages": [{"role": "user", "content": "[[delay 300000]] x"}]})
    sock = s.connect()
    sock.sendall(("POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %s\r\nContent-Type: application/json\r\n"
                  "Content-Length: %d\r\n\r\n%s" % (key, len(body), body)).encode())
    return sock


def running(s, n, **wanted):
    wait_for(lambda: [v["used"] for v in limits(s, kind="concurrency", **wanted)] == [n], "%d run" % n)


def waiting(s, n):
    wait_for(lambda: [v["waiting"] for v in limits(s, kind="concurrency")] == [n], "%d wait" % n)


def test_the_next_waits_until_a_place_is_free(start_sluice):
    s = start_sluice(config({"concurrency": 1}, {"limit_queue_ms": 60000}))
    first = held(s)
    running(s, 1)
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        others = [pool.submit(chat, s) for _ in range(4)]
        waiting(s, 4)
        first.close()
        assert [o.result().status_code for o in others] == [200] * 4
    running(s, 0)
    assert limits(s)[0]["waiting"] == 0 == limits(s)[0]["refused"]


def test_keys_share_what_they_wait_for_evenly(start_sluice, upstream):
    s = start_sluice(config(None, {"limit_queue_ms": 60000}, providers={"chat": provider("chat", upstream.origin)},
                            models={"one": {"provider": "chat", "limits": {"concurrency": 1}}}))
    upstream.next(silence)
    first = held(s, model="one")
    running(s, 1, of="model")

    def ask(key):
        assert chat(s, key, {"model": "one", "messages": [{"role": "user", "content": key}]}).status_code == 200
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        asked = [pool.submit(ask, KEY) for _ in range(6)]
        waiting(s, 6)
        asked += [pool.submit(ask, OTHER) for _ in range(2)]
        waiting(s, 8)
        first.close()
        for one in asked:
            one.result()
    order = [q.json["messages"][0]["content"] for q in upstream.wait(9)[1:]]  # one at a time, as they were let in
    assert order.index(OTHER) <= 2 and [i for i, key in enumerate(order) if key == OTHER][1] <= 4, order


def test_who_goes_away_leaves_the_queue(start_sluice):
    s = start_sluice(config({"concurrency": 1}, {"limit_queue_ms": 60000}))
    first = held(s)
    running(s, 1)
    others = [held(s) for _ in range(3)]
    waiting(s, 3)
    for sock in others:
        sock.close()
    waiting(s, 0)
    first.close()
    running(s, 0)
    assert chat(s).status_code == 200


@pytest.mark.parametrize("settings", [{"limit_queue_ms": 0}, {"limit_queue_max": 0}, {"limit_queue_ms": 200}], ids=["none", "full", "too long"])
def test_who_cannot_wait_or_has_waited_long_enough_is_refused(start_sluice, settings):
    s = start_sluice(config({"concurrency": 1}, settings))
    first = held(s)
    running(s, 1)
    refused = chat(s)
    assert refused.status_code == 429 and "1 requests at once" in refused.json()["error"]["message"] and refused.headers["retry-after"] == "1"
    first.close()
    running(s, 0)
    assert chat(s).status_code == 200


def two(limits_of_first, **more):
    return config(providers={"a": {"type": "echo", "limits": limits_of_first}, "b": {"type": "echo", **more}},
                  models={"m": {"targets": [{"provider": "a"}, {"provider": "b"}]}, "only": "a"}, settings={"limit_queue_ms": 60000})


def test_an_upstream_without_room_leaves_its_turn_to_the_next_target(start_sluice):
    s = start_sluice(two({"requests_per_hour": 2}))
    came = [chat(s, body={**CHAT, "model": "m"}).headers["x-sluice-upstream"] for _ in range(4)]
    assert came == ["a", "a", "b", "b"]
    refused = chat(s, body={**CHAT, "model": "only"})  # longer than anybody waits
    assert refused.status_code == 429 and "the upstreams of this model: 2 requests per hour" in refused.json()["error"]["message"]
    assert int(refused.headers["retry-after"]) > 600 and "x-sluice-upstream" not in refused.headers


def test_all_upstreams_without_room_are_waited_for(start_sluice):
    s = start_sluice(two({"concurrency": 1}, limits={"concurrency": 1}))
    socks = [held(s, model="m"), held(s, model="m")]
    wait_for(lambda: [v["used"] for v in limits(s)] == [1, 1], "both are busy")
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        asked = [pool.submit(chat, s, KEY, {**CHAT, "model": "m"}) for _ in range(2)]
        wait_for(lambda: [v["waiting"] for v in limits(s)] == [2, 2], "two wait, each for both")
        socks[0].close()
        assert [a.result().status_code for a in asked] == [200, 200]
    socks[1].close()
    wait_for(lambda: [v["used"] for v in limits(s)] == [0, 0], "nothing is left behind")


class Accounts:
    """Two providers at one scripted upstream, of one request at once each; every answer waits until the test lets it go."""

    def __init__(self, start_sluice, upstream, of_b=None, **settings):
        self.upstream, self.gates = upstream, []
        shape = config(providers={name: {**provider("chat", upstream.origin + "/" + name), "limits": limits_of}
                                  for name, limits_of in (("a", {"concurrency": 1}), ("b", of_b or {"concurrency": 1}))},
                       models={"m": {"targets": [{"provider": "a"}, {"provider": "b"}]}, "ma": "a"}, settings={"limit_queue_ms": 120000, **settings})
        self.s = start_sluice(shape)
        reply = answer(FORMATS["chat"], Turn(text="x"))

        async def script(conn, request):
            gate = asyncio.Event()
            self.gates.append(gate)
            await gate.wait()
            await reply(conn, request)
        upstream.play(script)

    def order(self):
        return [r.json["messages"][0]["content"] for r in self.upstream.requests]

    def served(self, n):
        self.upstream.wait(n)
        wait_for(lambda: len(self.gates) >= n, "%d are being answered" % n)

    def let_go(self, i):
        self.upstream.loop.call_soon_threadsafe(self.gates[i].set)

    def ask(self, text, key=KEY, model="m"):
        return chat(self.s, key, {"model": model, "messages": [{"role": "user", "content": text}]})

    def wait(self, n):
        wait_for(lambda: max(v["waiting"] for v in limits(self.s)) == n, "%d wait" % n)


@pytest.mark.threads
@pytest.mark.parametrize("seed", range(3))
def test_several_upstreams_are_one_line_in_order_and_in_turn(start_sluice, upstream, seed):
    """Whichever account is free first: of one key in the order of arrival, and each of two keys has its half."""
    up = Accounts(start_sluice, upstream)
    names = ["first", "second"] + ["A%d" % i for i in range(12)] + ["B%d" % i for i in range(4)]
    with concurrent.futures.ThreadPoolExecutor(len(names)) as pool:
        asked = []
        for i, name in enumerate(names):
            asked.append(pool.submit(up.ask, name, OTHER if name[0] == "B" else KEY))
            up.served(i + 1) if i < 2 else up.wait(i - 1)
        running = [0, 1]
        for n in range(2, len(names)):
            up.let_go(running.pop(seed * n // 2 % 2))
            up.served(n + 1)
            running.append(n)
        for i in running:
            up.let_go(i)
        assert [a.result().status_code for a in asked] == [200] * len(names)
    order = up.order()[2:]
    for key in "AB":
        assert [name for name in order if name[0] == key] == [name for name in names[2:] if name[0] == key], order
    assert [i for i, name in enumerate(order) if name[0] == "B"][-1] <= 8, order
    assert {r.path.split("/")[1] for r in upstream.requests} == {"a", "b"}
    wait_for(lambda: [(v["used"], v["waiting"], v["refused"]) for v in limits(up.s)] == [(0, 0, 0)] * 2, "nothing is left behind")


@pytest.mark.threads
def test_a_line_of_several_upstreams_and_one_of_a_single_one(start_sluice, upstream):
    """Who may go to one account alone stands in the same line as those who may go to either."""
    up = Accounts(start_sluice, upstream)
    with concurrent.futures.ThreadPoolExecutor(6) as pool:
        asked = []
        for i, (name, model) in enumerate((("0", "m"), ("1", "m"), ("2", "m"), ("3", "ma"), ("4", "m"), ("5", "ma"))):
            asked.append(pool.submit(up.ask, name, KEY, model))
            up.served(i + 1) if i < 2 else up.wait(min(i - 1, 4) if i != 2 else 1)
        for n, gate in ((2, 0), (3, 2)):  # a is free, twice
            up.let_go(gate)
            up.served(n + 1)
        assert up.order() == ["0", "1", "2", "3"]
        up.let_go(1)  # b is free: the next that may go there
        up.served(5)
        assert up.order()[4] == "4" and upstream.requests[4].path.startswith("/b/")
        up.let_go(3)
        up.served(6)
        for gate in (4, 5):
            up.let_go(gate)
        assert [a.result().status_code for a in asked] == [200] * 6


@pytest.mark.threads
def test_who_waits_for_several_upstreams_leaves_all_lines(start_sluice, upstream):
    up = Accounts(start_sluice, upstream)
    with concurrent.futures.ThreadPoolExecutor(3) as pool:
        asked = [pool.submit(up.ask, "0")]
        up.served(1)
        asked.append(pool.submit(up.ask, "1"))
        up.served(2)
        gone = held(up.s, model="m")
        up.wait(1)
        asked.append(pool.submit(up.ask, "3"))
        up.wait(2)
        gone.close()
        wait_for(lambda: [v["waiting"] for v in limits(up.s)] == [1, 1], "one waits, for both")
        up.let_go(1)
        up.served(3)
        assert up.order() == ["0", "1", "3"]
        for gate in (0, 2):
            up.let_go(gate)
        assert [a.result().status_code for a in asked] == [200] * 3


@pytest.mark.threads
def test_the_time_to_wait_for_several_upstreams_ends(start_sluice, upstream):
    up = Accounts(start_sluice, upstream, limit_queue_ms=300)
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        asked = [pool.submit(up.ask, "0")]
        up.served(1)
        asked.append(pool.submit(up.ask, "1"))
        up.served(2)
        refused = up.ask("2")
        assert refused.status_code == 429 and refused.headers["retry-after"] == "1"
        assert "the upstreams of this model: 1 requests at once" in refused.json()["error"]["message"]
        assert sorted(v["refused"] for v in limits(up.s)) == [0, 1] and [v["waiting"] for v in limits(up.s)] == [0, 0]
        for gate in (0, 1):
            up.let_go(gate)
        assert [a.result().status_code for a in asked] == [200, 200]


@pytest.mark.threads
@pytest.mark.parametrize("change", [{"concurrency": 3}, {}], ids=["raised", "removed"])
def test_a_limit_that_changes_is_known_to_those_who_wait(start_sluice, upstream, change):
    up = Accounts(start_sluice, upstream)
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        asked = []
        for i in range(4):
            asked.append(pool.submit(up.ask, str(i)))
            up.served(i + 1) if i < 2 else up.wait(i - 1)
        assert admin(up.s, "PATCH", "/sluice/v1/providers/b", {"limits": change}).status_code == 200
        up.served(4)
        # two go at once, on connections of their own: either may come first
        assert up.order()[:2] == ["0", "1"] and sorted(up.order()) == ["0", "1", "2", "3"] and [r.path[1] for r in upstream.requests] == ["a", "b", "b", "b"]
        for gate in range(4):
            up.let_go(gate)
        assert [a.result().status_code for a in asked] == [200] * 4
    wait_for(lambda: [v["used"] for v in limits(up.s)] == [0] * len(limits(up.s)), "nothing is left behind")


@pytest.mark.threads
def test_a_limit_of_a_key_that_changes_is_known_to_those_who_wait(start_sluice):
    s = start_sluice(config({"concurrency": 1}, {"limit_queue_ms": 120000}))
    first = held(s)
    running(s, 1)
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        others = [pool.submit(chat, s) for _ in range(2)]
        waiting(s, 2)
        assert admin(s, "PATCH", "/sluice/v1/keys/k0000001", {"limits": {"concurrency": 2}}).status_code == 200
        assert [o.result().status_code for o in others] == [200, 200]
    first.close()
    running(s, 0)


@pytest.mark.threads
def test_ten_times_more_than_several_upstreams_take_at_once(start_sluice, upstream):
    """Answers of any order, clients of several loops: never one too many at an account, and all are served."""
    at_once, most, lock = {}, {}, threading.Lock()
    reply = answer(FORMATS["chat"], Turn(text="x"))
    up = Accounts(start_sluice, upstream, {"concurrency": 2}, threads=2)

    async def script(conn, request):
        account = request.path.split("/")[1]
        with lock:
            at_once[account] = at_once.get(account, 0) + 1
            most[account] = max(most.get(account, 0), at_once[account])
        await asyncio.sleep(0.002)
        with lock:
            at_once[account] -= 1
        await reply(conn, request)
    upstream.play(script)
    with concurrent.futures.ThreadPoolExecutor(30) as pool:
        statuses = list(pool.map(lambda i: up.ask("x%d" % i, (KEY, OTHER)[i % 2], ("m", "m", "ma")[i % 3]).status_code, range(150)))
    assert statuses == [200] * 150 and most["a"] <= 1 and most["b"] <= 2
    wait_for(lambda: [(v["used"], v["waiting"]) for v in limits(up.s)] == [(0, 0)] * 2, "nothing is left behind")


def full_and_other(start_sluice, upstream, of_b, **settings):
    """Two providers: b, which is asked first and full after one request, and u; bu and ub name both."""
    shape = config(providers={"b": {**provider("chat", upstream.origin + "/b"), "limits": of_b}, "u": provider("chat", upstream.origin + "/u")},
                   models={"bu": {"targets": [{"provider": "b"}, {"provider": "u"}]}, "ub": {"targets": [{"provider": "u"}, {"provider": "b"}]}}, settings=settings)
    return start_sluice(shape)


def come_again(after):
    return failure(FORMATS["chat"], 429, "slow down", headers=[("Retry-After", str(after))])


def test_beside_a_full_upstream_the_nearest_recovery_is_told_and_waited_for(start_sluice, upstream):
    s = full_and_other(start_sluice, upstream, {"requests_per_minute": 1}, limit_queue_ms=0)
    assert chat(s, body={**CHAT, "model": "bu"}).headers["x-sluice-upstream"] == "b"
    upstream.next(come_again(1))
    waited = chat(s, body={**CHAT, "model": "bu"})  # within route_wait_ms
    assert (waited.status_code, waited.headers["x-sluice-upstream"]) == (200, "u") and len(upstream.requests) == 3
    for model in ("bu", "ub"):
        admin(s, "POST", "/sluice/v1/breakers/reset", {})
        upstream.next(come_again(40))
        said = chat(s, body={**CHAT, "model": model})
        assert said.status_code == 429 and 30 < int(said.headers["retry-after"]) <= 40, (model, said.headers, said.text)
        asked = len(upstream.requests)
        told = chat(s, body={**CHAT, "model": model})
        assert told.json()["error"]["code"] == "all_targets_cooling" and 30 < int(told.headers["retry-after"]) <= 40
        assert len(upstream.requests) == asked
    admin(s, "POST", "/sluice/v1/breakers/reset", {})
    upstream.next(come_again(3600))
    assert chat(s, body={**CHAT, "model": "ub"}).status_code == 429
    told = chat(s, body={**CHAT, "model": "ub"})  # b is full, and sooner free
    assert told.json()["error"]["code"] == "rate_limit_exceeded" and int(told.headers["retry-after"]) <= 62


@pytest.mark.threads
@pytest.mark.parametrize("first", ["room", "recovery"])
def test_room_and_recovery_are_waited_for_at_once(start_sluice, upstream, first):
    """Whichever of the two comes first."""
    s = full_and_other(start_sluice, upstream, {"concurrency": 1}, limit_queue_ms=120000)
    gate, reply = threading.Event(), answer(FORMATS["chat"], Turn(text="x"))

    async def held_up(conn, request):
        while not gate.is_set():
            await asyncio.sleep(0.005)
        await reply(conn, request)
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        upstream.next(held_up, come_again(1 if first == "recovery" else 3600))
        asked = [pool.submit(chat, s, KEY, {**CHAT, "model": "bu"})]
        upstream.wait(1)
        asked.append(pool.submit(chat, s, KEY, {**CHAT, "model": "bu"}))
        upstream.wait(2)
        if first == "room":
            waiting(s, 1)
            gate.set()
        second = asked[1].result()
        gate.set()
        assert asked[0].result().status_code == second.status_code == 200
    assert second.headers["x-sluice-upstream"] == ("b" if first == "room" else "u")
    running(s, 0)
    waiting(s, 0)


def explained(s, model, **more):
    told = admin(s, "POST", "/sluice/v1/route/explain", {"model": model, **more}).json()
    return told, [(c["provider"], c["provider_model"], c["state"], c.get("chosen", False)) for c in told["candidates"]]


def test_limits_are_explained(start_sluice, upstream):
    """What is told is what happens: who has no room is passed by."""
    shape = config(providers={"b": {**provider("chat", upstream.origin + "/b"), "limits": {"requests_per_minute": 1}}, "u": provider("chat", upstream.origin + "/u")},
                   models={"bu": {"targets": [{"provider": "b", "upstream_model": "x"}, {"provider": "u", "upstream_model": "x"}]}, "only": "b",
                           "lm": {"provider": "u", "limits": {"tokens_per_minute": 3000}}, "mu": "u"},
                   combos={"k": {"members": ["lm", "mu"]}}, settings={"limit_queue_ms": 0})
    s = start_sluice(shape)
    assert explained(s, "bu")[1] == [("b", "x", "ready", True), ("u", "x", "ready", False)]
    assert chat(s, body={**CHAT, "model": "bu"}).headers["x-sluice-upstream"] == "b"
    told, rows = explained(s, "bu")
    assert rows == [("b", "x", "limited", False), ("u", "x", "ready", True)] and 50000 < told["candidates"][0]["wait_ms"] <= 62000
    assert chat(s, body={**CHAT, "model": "bu"}).headers["x-sluice-upstream"] == "u"
    told, rows = explained(s, "only")
    assert rows == [("b", "only", "limited", False)] and 50000 < told["wait_ms"] <= 62000
    assert explained(s, "bu", down=["u"])[1] == [("b", "x", "limited", False), ("u", "x", "down", False)]
    # by what the request would take of tokens
    assert explained(s, "k")[1] == [("u", "lm", "ready", True), ("u", "mu", "ready", False)]
    assert chat(s, body={**CHAT, "model": "lm", "max_tokens": 100}).status_code == 200
    wait_for(lambda: 0 < limits(s, kind="tokens_per_minute")[0]["used"] < 100, "its tokens are settled")
    large = {"model": "k", "max_tokens": 2990, "messages": [{"role": "user", "content": "hi"}]}
    assert explained(s, "k", request=large)[1] == [("u", "lm", "limited", False), ("u", "mu", "ready", True)]
    assert explained(s, "k", request={**large, "max_tokens": 10})[1][0][2:] == ("ready", True)
    r = chat(s, body=large)
    assert r.status_code == 200 and upstream.last.json["model"] == "mu"
    detail = wait_for(lambda: admin(s, "GET", "/sluice/v1/requests/" + r.headers["x-request-id"]).json().get("route"), "it is in the log")
    assert [(c["provider_model"], c.get("left"), c.get("chosen", False)) for c in detail["candidates"]] == [("lm", "limited", False), ("mu", None, True)]


@pytest.mark.parametrize("cost", ["free", "full"])
def test_answers_that_are_given_again_use_what_they_cost(start_sluice, cost):
    s = start_sluice(config({"tokens_per_minute": 100000}, {"response_cache": True, "response_cache_cost": cost}))
    body = {**CHAT, "temperature": 0, "max_tokens": 3000}

    def used(n):
        wait_for(lambda: [v["used"] for v in limits(s, kind="tokens_per_minute")] == [n], "%d tokens are used" % n)
    first = chat(s, body=body)
    each = first.json()["usage"]["total_tokens"]
    assert first.headers["x-sluice-cache"] == "MISS"
    used(each)
    for n in (2, 3):
        assert chat(s, body=body).headers["x-sluice-cache"] == "HIT"
        used(each * n if cost == "full" else each)
    again = {"Authorization": "Bearer " + KEY, "Idempotency-Key": "i"}
    for n in range(3):
        r = s.call("POST", "/v1/chat/completions", {**CHAT, "max_tokens": 3000}, headers=again, auth=False)
        assert r.headers.get("x-sluice-idempotent") == ("true" if n else None)
    used(each * 4 if cost == "full" else each * 2)  # one that is sent again was paid for


def test_limits_of_providers_and_models_are_changed_over_the_api(start_sluice):
    s = start_sluice(config())
    assert admin(s, "PATCH", "/sluice/v1/providers/echo", {"limits": {"requests_per_hour": 7, "requests_per_day": 5}}).json()["limits"] == {"requests_per_hour": 7, "requests_per_day": 5}
    assert admin(s, "PATCH", "/sluice/v1/models/echo", {"limits": {"tokens_per_day": 9}}).json()["limits"] == {"tokens_per_day": 9}
    assert [(v["of"], v["kind"], v["limit"]) for v in limits(s)] == [
        ("model", "tokens_per_day", 9), ("upstream", "requests_per_day", 5), ("upstream", "requests_per_hour", 7)]
    written = json.loads(s.config_path.read_text())
    assert written["providers"]["echo"]["limits"] == {"requests_per_hour": 7, "requests_per_day": 5} and written["models"]["echo"]["limits"] == {"tokens_per_day": 9}
    assert admin(s, "PATCH", "/sluice/v1/models/echo", {"limits": {}}).json()["limits"] == {}
    assert [v["of"] for v in limits(s)] == ["upstream", "upstream"]


def test_without_limits_the_upstreams_own_headers_pass(start_sluice):
    s = start_sluice(config(settings={"limit_headers": False}, limits={"requests_per_minute": 9}))
    assert not [h for h in chat(s).headers if "ratelimit" in h]


def test_so_many_an_hour(start_sluice, calls, tmp_path):
    """A window like the others: counted, told, listed, refused with the time of an hour, and not forgotten by a restart."""
    from gateway import Sluice
    shape = config({"requests_per_minute": 50, "requests_per_hour": 3, "requests_per_day": 100}, {"limit_queue_ms": 0})
    for left in (2, 0):
        s = Sluice(tmp_path / "again", shape, calls)
        try:
            r = chat(s)
            assert r.status_code == 200 and (r.headers["x-ratelimit-limit-requests"], r.headers["x-ratelimit-remaining-requests"]) == ("3", str(left))
            if left:
                assert chat(s).status_code == 200
                continue
            refused = chat(s)
            assert refused.status_code == 429 and 3400 < int(refused.headers["retry-after"]) <= 3840
            assert "3 requests per hour" in refused.json()["error"]["message"]
            (seen,) = [v for v in limits(s) if v["kind"] == "requests_per_hour"]
            assert (seen["limit"], seen["used"], seen["remaining"]) == (3, 3, 0)
        finally:
            s.stop()


def test_a_restart_forgets_no_day(start_sluice, calls, tmp_path):
    from gateway import Sluice
    shape = config({"requests_per_day": 3, "tokens_per_day": 100000}, {"limit_queue_ms": 0})
    for left in (2, 0):
        s = Sluice(tmp_path / "again", shape, calls)
        try:
            r = chat(s)
            assert r.status_code == 200 and r.headers["x-ratelimit-remaining-requests"] == str(left), r.headers
            if left:
                assert chat(s).status_code == 200
            else:
                refused = chat(s)
                assert refused.status_code == 429 and 82800 < int(refused.headers["retry-after"]) <= 92160
        finally:
            s.stop()
