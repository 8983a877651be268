"""A model with several targets: the next one answers as long as nothing has reached the client, and only then."""
import asyncio
import threading

import pytest
from conftest import basic_config
from formats import FORMATS
from formats.common import HELLO, Ask, Turn, dump
from gateway import Sluice, provider
from test_faults import closed_port
from upstream import answer, failure, head, http, reset, slam, stream

CHAT = FORMATS["chat"]
PLAIN = Turn(text=HELLO)
clients = pytest.mark.parametrize("client", FORMATS)
ups = pytest.mark.parametrize("up", FORMATS)
streamed = pytest.mark.parametrize("streaming", [False, True])


FAILS_OVER = {404: "model", 405: None, 406: "overload", 409: None, 410: "model", 413: None, 414: None, 415: None, 423: "overload", 424: "server",
              425: "overload", 426: "server", 431: None, 451: None}  # and what its breaker has to remember


def targets(origin, *names, first_origin=None, **server):
    """Model `many`: one provider of its own for each name of a format."""
    config = basic_config(origin)
    config["models"]["many"] = {"targets": []}
    for n, name in enumerate(names):
        config["providers"]["t%d" % n] = provider(name, first_origin if first_origin and n == 0 else origin)
        config["models"]["many"]["targets"].append({"provider": "t%d" % n, "upstream_model": "model-%d" % n})
    config["server"].update(server)
    return config


def ask(s, client="chat", streaming=False):
    f, a = FORMATS[client], Ask(model="many", stream=streaming)
    return s.post(f.path(a), f.request(a))


def text_of(client, r, streaming):
    f = FORMATS[client]
    return (f.read_stream(r.content) if streaming else f.read(r.content)).text


def first_frame(name):
    """An error as the first event of a stream that said 200."""
    f = FORMATS[name]
    body = dump(f.error(429, "slow down")).encode()
    frame = {"chat": b'data: {"error":{"message":"slow down","type":"rate_limit_error","code":"rate_limit_exceeded"}}\n\n',
             "anthropic": b"event: error\ndata: " + body + b"\n\n", "ollama": body + b"\n",
             "responses": b'event: error\ndata: {"type":"error","code":"rate_limit_exceeded","message":"slow down","param":null}\n\n'}
    return stream([frame.get(name, b"data: " + body + b"\n\n")], f.stream_type)


def model_of(request):
    return request.path.split("/models/")[-1].split(":")[0] if "/models/" in request.path else request.json["model"]


@pytest.fixture(scope="module")
def pairs(scripted, calls, tmp_path_factory):
    """Models pair-<format>: that format first, another behind it."""
    config = basic_config(scripted.origin)
    for up in FORMATS:
        config["providers"]["first-" + up] = provider(up, scripted.origin)
        config["providers"]["second-" + up] = provider("anthropic" if up == "chat" else "chat", scripted.origin)
        config["models"]["pair-" + up] = {"targets": [{"provider": "first-" + up, "upstream_model": "one"},
                                                      {"provider": "second-" + up, "upstream_model": "two"}]}
    s = Sluice(tmp_path_factory.mktemp("pairs"), config, calls)
    yield s
    s.stop()


def fall_over(s, upstream, client, up, script, streaming):
    """The first target plays the script, the second one answers."""
    upstream.reset()
    warm = s.post(CHAT.path(Ask()), {"model": "first-%s/one" % up, "messages": [{"role": "user", "content": "x"}]})
    assert warm.status_code == 200, warm.text  # one that failed before stands back until it has answered
    upstream.reset()

    async def play(conn, request):
        if model_of(request) == "one":
            await script(conn, request)
        else:
            await answer(FORMATS["anthropic" if up == "chat" else "chat"], PLAIN)(conn, request)

    upstream.play(play)
    a = Ask(model="pair-" + up, stream=streaming)
    r = s.post(FORMATS[client].path(a), FORMATS[client].request(a))
    assert r.status_code == 200, r.text
    assert text_of(client, r, streaming) == HELLO
    assert [model_of(q) for q in upstream.requests][-2:] == ["one", "two"]
    assert r.headers["x-sluice-upstream"] == "second-" + up
    assert "retry-after" not in r.headers


@clients
@ups
@pytest.mark.parametrize("what", ["429", "500", "slam", "reset"])
@streamed
def test_the_next_one_answers(pairs, upstream, client, up, what, streaming):
    f = FORMATS[up]
    wait = [("Retry-After", "9")]
    fall_over(pairs, upstream, client, up, {"429": failure(f, 429, "slow down", headers=wait), "500": failure(f, 500, "oops"),
                                            "slam": slam, "reset": reset}[what], streaming)


@clients
@ups
def test_an_error_as_first_frame(pairs, upstream, client, up):
    """200 and then an error: nothing has been said yet."""
    fall_over(pairs, upstream, client, up, first_frame(up), True)


@streamed
def test_a_dead_address(start_sluice, scripted, upstream, streaming):
    s = start_sluice(targets(scripted.origin, "chat", "google", first_origin="http://127.0.0.1:%d" % closed_port()))
    for _ in range(2):
        r = ask(s, streaming=streaming)
        assert r.status_code == 200 and text_of("chat", r, streaming) == HELLO


@pytest.mark.parametrize("up", FORMATS)
@pytest.mark.parametrize("end", ["close", "reset"])
def test_none_after_the_first_byte(start_sluice, scripted, upstream, up, end):
    """A text that has begun is never begun again by somebody else."""
    f = FORMATS[up]
    frames = f.events(PLAIN)
    part = next(i for i, x in enumerate(frames) if b"scripte" in x)
    s = start_sluice(targets(scripted.origin, up, "chat"))
    upstream.next(stream(frames[:part], f.stream_type, end=end))
    r = ask(s, "anthropic", True)
    assert r.status_code == 200 and b"Hello" in r.content
    assert FORMATS["anthropic"].read_stream_error(r.content).message
    assert len(upstream.requests) == 1


@pytest.mark.parametrize("up", ["anthropic", "responses", "chat"])
def test_an_opening_without_content_is_not_yet_an_answer(start_sluice, scripted, upstream, up):
    """message_start, response.created or a role alone, then the end: the next target answers a client of another format."""
    f = FORMATS[up]
    opening = {"anthropic": 1, "responses": 1, "chat": 1}[up]
    s = start_sluice(targets(scripted.origin, up, "google"))
    upstream.next(stream(f.events(PLAIN)[:opening], f.stream_type, end="close"))
    r = ask(s, "ollama", True)
    assert r.status_code == 200 and text_of("ollama", r, True) == HELLO
    assert len(upstream.requests) == 2


@pytest.mark.parametrize("value, shown, low", [("7", "7", 7), ("1.5", None, 0), ("0", "0", 0)])
def test_all_fail_and_the_last_word_counts(start_sluice, scripted, upstream, value, shown, low):
    """Across formats: the wait that the last upstream asked for, exactly, and nothing of the first one's."""
    s = start_sluice(targets(scripted.origin, "google", "anthropic", route_wait_ms=0))
    upstream.next(failure(FORMATS["google"], 500, "first", headers=[("Retry-After", "99")]),
                  failure(FORMATS["anthropic"], 429, "second", headers=[("Retry-After", value)]))
    r = ask(s)
    assert r.status_code == 429 and "second" in CHAT.read_error(429, r.content).message
    if shown is not None:
        assert r.headers.get_list("retry-after") == [shown]
    assert len(upstream.requests) == 2


def test_it_stands_back_while_it_was_asked_to(start_sluice, scripted, upstream):
    s = start_sluice(targets(scripted.origin, "chat", "anthropic"))
    upstream.next(failure(CHAT, 429, "slow down", headers=[("Retry-After", "60")]))
    for _ in range(3):
        assert ask(s).status_code == 200
    assert [q.json["model"] for q in upstream.requests] == ["model-0", "model-1", "model-1", "model-1"]


def test_all_stand_back_and_the_caller_is_told_until_when(start_sluice, scripted, upstream):
    """Whoever asked to be left alone is: the nearest recovery is the answer."""
    s = start_sluice(targets(scripted.origin, "chat", "chat"))
    upstream.next(failure(CHAT, 429, "a", headers=[("Retry-After", "60")]), failure(CHAT, 429, "b", headers=[("Retry-After", "30")]))
    assert ask(s).status_code == 429
    r = ask(s)
    assert r.status_code == 429 and r.json()["error"]["code"] == "all_targets_cooling"
    assert 1 <= int(r.headers["retry-after"]) <= 30 and len(upstream.requests) == 2


@pytest.mark.parametrize("status", [400, 422])
def test_the_callers_mistake_is_not_carried_on(start_sluice, scripted, upstream, status):
    s = start_sluice(targets(scripted.origin, "chat", "chat"))
    upstream.next(failure(CHAT, status, "your fault"))
    r = ask(s)
    assert r.status_code == status and len(upstream.requests) == 1


def test_what_one_refuses_another_may_take(start_sluice, scripted, upstream):
    """Every other refusal goes on to the next target. Of those that a caller can bring about no breaker hears, so that nobody is kept from an upstream by
    somebody else's request; the others leave it alone as docs/routing.md says."""
    admin = {"id": "ad000001", "key": "sk-admin-0123456789abcdef", "label": "operator", "scopes": ["admin"]}
    config = targets(scripted.origin, "chat", "chat", breaker_failures=1)
    config["server"]["api_keys"].append(admin)
    s = start_sluice(config)
    admin = s.auth(admin["key"])
    for status, fault in FAILS_OVER.items():
        upstream.reset()
        upstream.next(failure(CHAT, status, "not here"))
        r = ask(s)
        assert r.status_code == 200 and r.headers["x-sluice-upstream"] == "t1" and len(upstream.requests) == 2, status
        rows = s.get("/sluice/v1/breakers", headers=admin).json()["data"]
        assert [(b["provider"], b["fault"]) for b in rows] == ([("t0", fault)] if fault else []), status
        assert s.post("/sluice/v1/breakers/reset", {}, headers=admin).status_code == 200
    # refused by all of them: the last one's word
    upstream.reset()
    upstream.next(failure(CHAT, 413, "too large"), failure(CHAT, 413, "too large"))
    r = ask(s)
    assert r.status_code == 413 and "too large" in r.text and len(upstream.requests) == 2


def test_our_own_key_is_not_the_callers_fault(start_sluice, scripted, upstream):
    s = start_sluice(targets(scripted.origin, "chat", "chat"))
    upstream.next(failure(CHAT, 401, "bad key sk-upstream"))
    assert ask(s).status_code == 200
    assert len(upstream.requests) == 2
    upstream.play(failure(CHAT, 401, "bad key sk-upstream"))
    r = ask(s)
    assert r.status_code == 502 and "sk-upstream" not in r.text


def test_attempts_are_bounded(start_sluice, scripted, upstream):
    s = start_sluice(targets(scripted.origin, *["chat"] * 6, max_attempts=3))
    upstream.play(failure(CHAT, 503, "busy"))
    assert ask(s).status_code == 503
    assert len(upstream.requests) == 3


@streamed
def test_a_large_request_is_whole_at_the_second(start_sluice, scripted, upstream, streaming):
    """The first one answers 503 without having read it."""

    async def busy(conn, request):
        conn.send(head(503, [("Content-Type", "application/json"), ("Content-Length", 2)]) + b"{}")
        await conn.drain()
        await asyncio.sleep(0.05)
        conn.finish()

    busy.reads_body = True
    s = start_sluice(targets(scripted.origin, "chat", "chat"))
    body = {"model": "many", "stream": streaming, "messages": [{"role": "user", "content": "y" * 8_000_000}]}
    upstream.next(busy)
    r = s.post(CHAT.path(Ask()), body)
    assert r.status_code == 200, r.text
    assert upstream.last.json["messages"] == body["messages"] and upstream.last.json["model"] == "model-1"


def test_the_client_leaves_between_two_attempts(start_sluice, scripted, upstream):
    """Nobody is asked any more on its behalf."""
    s = start_sluice(targets(scripted.origin, "chat", "chat"))
    gate, asked = threading.Event(), threading.Event()

    async def late_failure(conn, request):
        asked.set()
        while not gate.is_set() and not conn.lost.is_set():
            await asyncio.sleep(0.005)
        if not conn.lost.is_set():
            await http(500, "{}")(conn, request)

    upstream.next(late_failure)
    body = b'{"model":"many","messages":[]}'
    with s.connect() as c:
        c.sendall(b"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %s\r\nContent-Type: application/json\r\n"
                  b"Content-Length: %d\r\n\r\n%s" % (s.key.encode(), len(body), body))
        assert asked.wait(30)
    first = upstream.wait(1)[0]
    assert first.gone.wait(30), "the upstream was not let go"
    gate.set()
    assert ask(s).status_code == 200
    assert len(upstream.requests) == 2


def test_echo_behind_a_dead_one(start_sluice, scripted, upstream):
    config = targets(scripted.origin, "chat")
    config["models"]["many"]["targets"].append({"provider": "echo", "upstream_model": "echo"})
    s = start_sluice(config)
    upstream.play(failure(CHAT, 500, "oops"))
    for streaming in (False, True):
        r = ask(s, "anthropic", streaming)
        assert r.status_code == 200 and r.headers["x-sluice-upstream"] == "echo"
