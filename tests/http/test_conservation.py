"""Money is conserved whatever happens to requests: they are answered, broken off, left, failed over, sent twice, and the process is killed among
them. What was answered is paid for once, what is spent is the sum of the lines, and spent and held together never pass the limit."""
import concurrent.futures
import json
import random
import signal
import threading

import httpx
import pytest
from conftest import basic_config
from gateway import KEY, Sluice, wait_for
from upstream import chunk, head, http

ADMIN = "sk-admin-0123456789abcdef0123456789"
LIMIT = 60_000_000  # nano-USD
KINDS = ("whole", "whole", "stream", "translated", "failover", "refused", "left", "broken", "twice")


def config(origin):
    made = basic_config(origin)
    made["server"]["api_keys"].append({"id": "ad000000", "key": ADMIN, "scopes": ["admin"]})
    made["providers"] = {"first": {"type": "openai-compatible", "api_key": "sk-up-0123456789", "base_url": origin + "/first/v1"},
                         "second": {"type": "openai-compatible", "api_key": "sk-up-0123456789", "base_url": origin + "/second/v1"}}
    made["models"] = {"m": {"targets": [{"provider": "first", "upstream_model": "a", "priority": 1}, {"provider": "second", "upstream_model": "b", "priority": 2}]}}
    made["prices"] = {"first/*": {"input": 3, "output": 15, "cache_read": 1.5}, "second/*": {"input": 2, "output": 20, "cache_read": 1}}
    made["budgets"] = {"b": {"scope": "all", "limit_usd": LIMIT / 1e9, "period": "ever"}}
    made["server"].update(breaker_failures=100, breaker_cooldown_ms=1, breaker_cooldown_max_ms=1)
    return made


async def upstream(conn, request):
    """Does what the request's text says, with the use that it says."""
    said = json.loads(request.json["messages"][0]["content"].split("|")[0])
    kind, usage = said["kind"], {"prompt_tokens": said["in"], "completion_tokens": said["out"], "total_tokens": said["in"] + said["out"],
                                 "prompt_tokens_details": {"cached_tokens": said["cached"]}}
    if kind == "failover" and request.path.startswith("/first/") or kind == "refused":
        await http(503 if kind == "failover" else 400, '{"error":{"message":"no"}}')(conn, request)
    elif request.json.get("stream"):
        piece = {"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "m", "choices": [{"index": 0, "delta": {"content": "hi"}, "finish_reason": None}]}
        conn.send(head(200, [("Content-Type", "text/event-stream"), ("Transfer-Encoding", "chunked")]))
        conn.send(chunk(b"data: " + json.dumps(piece).encode() + b"\n\n"))
        if kind == "left":
            await conn.until_gone()
        elif kind == "broken":
            conn.reset()
        else:
            end = {**piece, "choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}
            conn.send(chunk(b"".join(b"data: " + json.dumps(x).encode() + b"\n\n" for x in (end, {**piece, "choices": [], "usage": usage})) + b"data: [DONE]\n\n") + b"0\r\n\r\n")
    else:
        await http(200, json.dumps({"id": "c", "object": "chat.completion", "created": 1, "model": "m", "usage": usage,
                                    "choices": [{"index": 0, "message": {"role": "assistant", "content": "hi"}, "finish_reason": "stop"}]}))(conn, request)


def cost_of(said, provider):
    cost_in, cached, out = (3, 1.5, 15) if provider == "first" else (2, 1, 20)
    return int((said["in"] - said["cached"]) * cost_in * 1000 + said["cached"] * cached * 1000 + said["out"] * out * 1000)


class Client:
    """One of several at once: asks, and keeps what it was told whole, by request id."""

    def __init__(self, s, seed, paid):
        self.s, self.random, self.paid, self.free = s, random.Random(seed), paid, set()
        self.http = httpx.Client(base_url=s.origin, trust_env=False, timeout=60, headers={"Authorization": "Bearer " + KEY})

    def turn(self, n):
        kind = self.random.choice(KINDS)
        said = {"kind": kind, "in": self.random.randrange(20, 90), "out": self.random.randrange(1, 100)}
        said["cached"] = self.random.randrange(0, said["in"])
        body = {"model": "m", "max_tokens": 100, "messages": [{"role": "user", "content": json.dumps(said) + "|" + "x" * 300}], "stream": kind in ("stream", "translated", "left", "broken")}
        headers = {"Idempotency-Key": "%d-%d" % (id(self), n)} if kind == "twice" else {}
        path = "/v1/messages" if kind == "translated" else "/v1/chat/completions"
        for _ in range(2 if kind == "twice" else 1):
            with self.http.stream("POST", path, json=body, headers=headers) as r:
                if kind == "left" and r.status_code == 200:
                    next(r.iter_bytes())
                    return
                text = r.read().decode()
            whole = r.status_code == 200 and kind != "broken" and (not body["stream"] or text.rstrip().endswith(("[DONE]", '{"type":"message_stop"}')))
            if whole and r.headers.get("x-sluice-idempotent") != "true":
                self.paid[r.headers["x-request-id"]] = cost_of(said, r.headers["x-sluice-upstream"]), said
            elif whole:
                self.free.add(r.headers["x-request-id"])

    def run(self, turns, stopping):
        for n in range(turns):
            if stopping.is_set():
                return
            try:
                self.turn(n)
            except httpx.TransportError:  # the process is gone, or its upstream was
                pass


def admin(s, path, method="GET", body=None, **params):
    r = s.call(method, path, body, headers=s.auth(ADMIN), params=params)
    assert r.status_code == 200, r.text
    return r.json()


def budget(s):
    b = admin(s, "/sluice/v1/budgets/b")
    assert b["spent_nanousd"] + b["held_nanousd"] <= LIMIT, b
    return b


def lines_of(s):
    lines, after = [], None
    while True:
        page = admin(s, "/sluice/v1/ledger", limit=1000, **({"after": after} if after else {}))
        lines += page["data"]
        after = page["next"]
        if not page["has_more"]:
            return lines


def books(s, paid, free):
    """What stands in the ledger, held against what clients were told."""
    lines, by_request = lines_of(s), {}
    for x in lines:
        by_request.setdefault(x["request_id"], []).append(x)
        assert x["entry"] == "settle" and x["cost_nanousd"] is not None
    for request, (cost, said) in paid.items():
        x, = by_request[request]
        assert (x["cost_nanousd"], x["usage_quality"], x["ended"]) == (cost, "reported", "done"), (request, cost, x)
        assert (x["input_tokens"] + x["cache_read_tokens"], x["cache_read_tokens"], x["output_tokens"] + x["reasoning_tokens"]) == (said["in"], said["cached"], said["out"])
    assert not free & set(by_request)  # what was delivered twice was paid for once
    for ones in by_request.values():
        assert len(ones) == 1 and ones[0]["ended"] != "failed", ones
    total = sum(x["cost_nanousd"] for x in lines)
    check = admin(s, "/sluice/v1/ledger/verify")
    assert check["ok"] and check["total_nanousd"] == check["recomputed_nanousd"] == total
    again = admin(s, "/sluice/v1/ledger/reprice", "POST", {"from": "2020-01-01T00:00:00Z", "to": "2100-01-01T00:00:00Z"})
    assert again["changed"] == 0 and again["before_nanousd"] == again["after_nanousd"] == total
    return total


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_money_is_conserved(scripted, calls, tmp_path, seed):
    scripted.reset()
    scripted.play(upstream)
    paid, free, s = {}, set(), None
    for life in range(3):
        s = Sluice(tmp_path / "books", config(scripted.origin) if life == 0 else None, calls)
        before = budget(s)
        assert before["held_nanousd"] == 0 and before["spent_nanousd"] == books(s, paid, free)  # no hold outlived its process, no answer is forgotten
        clients = [Client(s, seed * 100 + life * 10 + i, paid) for i in range(4)]
        stopping = threading.Event()
        with concurrent.futures.ThreadPoolExecutor(4) as pool:
            running = [pool.submit(c.run, 14 if life < 2 else 8, stopping) for c in clients]
            while not all(r.done() for r in running):
                budget(s)  # at all times
                if life < 2 and len(paid) >= 8 * (life + 1):  # in the midst of it
                    s.process.send_signal(signal.SIGKILL)
                    s.process.wait(30)
                    stopping.set()
                    break
                concurrent.futures.wait(running, 0.02)
            for r in running:
                r.result(90)
        for c in clients:
            free |= c.free
            c.http.close()
        if life < 2 and s.process.poll() is None:
            s.process.send_signal(signal.SIGKILL)
            s.process.wait(30)
        if life < 2:
            s.http.close()
    wait_for(lambda: budget(s)["held_nanousd"] == 0, "every hold was settled", 60)
    wait_for(lambda: budget(s)["spent_nanousd"] == sum(x["cost_nanousd"] for x in lines_of(s)), "the last lines are written", 60)
    assert budget(s)["spent_nanousd"] == books(s, paid, free)
    assert len(paid) >= 16
    s.stop()
    scripted.reset()
