"""Upstreams that fail in every way and at every stage, and clients that leave at every stage.

The upstream is scripted: no real server does these things on demand.
"""
import socket
import struct
import threading
import time

import httpx
import pytest
from conftest import basic_config
from formats import FORMATS
from formats.common import HELLO, Ask, Turn, dump
from gateway import KEY, Sluice, provider, read_answer, wait_for
from upstream import (answer, chunk, cut_stream, failure, head, held_stream, http, raw, reset, silence, slam, stream)

PAIRS = [(c, u) for c in FORMATS for u in FORMATS]
FOREIGN = [c for c in FORMATS if c != "chat"]
foreign = pytest.mark.parametrize("client", FOREIGN)
clients = pytest.mark.parametrize("client", FORMATS)
ups = pytest.mark.parametrize("up", FORMATS)
CHAT = "/v1/chat/completions"
FRAMES = FORMATS["chat"].events(Turn(text=HELLO))


def post(sluice, client="chat", up="chat", stream=False, **options):
    f, ask = FORMATS[client], Ask(model="to-" + up, stream=stream)
    return sluice.post(f.path(ask), f.request(ask), **options)


def problem(r, client="chat"):
    assert r.headers["content-type"].startswith("application/json"), r.text
    return FORMATS[client].read_error(r.status_code, r.content)


def two_targets(origin, second=None, **server):
    """Model `pair`: a first target on the scripted upstream, a second one behind it."""
    config = basic_config(origin)
    config["providers"]["first"] = provider("chat", origin)
    config["providers"]["second"] = provider("chat", second or origin)
    config["models"]["pair"] = {"targets": [{"provider": "first", "upstream_model": "first-model"},
                                            {"provider": "second", "upstream_model": "second-model"}]}
    config["server"].update(server)
    return config


def ask_pair(s, stream=False):
    f = FORMATS["chat"]
    return s.post(CHAT, f.request(Ask(model="pair", stream=stream)))


CLOSED = []


def closed_port():
    """A port where nobody listens: kept as long as the tests run, so that nobody else comes to listen there."""
    s = socket.socket()
    s.bind(("127.0.0.1", 0))
    CLOSED.append(s)
    return s.getsockname()[1]


# The upstream is dead before, at or after each stage

@clients
@pytest.mark.parametrize("streaming", [False, True])
@pytest.mark.parametrize("what,script", [
    ("closes-at-once", slam), ("resets", reset), ("half-a-status-line", raw(b"HTTP/1.", "close")),
    ("half-a-head", raw(b"HTTP/1.1 200 OK\r\nContent-Ty", "close")), ("not-http", raw(b"SSH-2.0-OpenSSH\r\n\r\n", "close")),
    ("bad-status", raw(b"HTTP/1.1 99999 No\r\n\r\n", "close")), ("bad-length", raw(b"HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n{}", "close")),
    ("two-lengths", raw(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 9\r\n\r\n{}", "close")),
    ("half-a-body", raw(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 500\r\n\r\n{\"id\":", "close")),
    ("bad-chunk", raw(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", "close")),
], ids=lambda v: v if isinstance(v, str) else "")
def test_upstream_dies_early(sluice, upstream, client, streaming, what, script):
    """Nothing has reached the client yet: 502 in its own words (a length was promised in half-a-body, so there the
    same-format answer may also be cut)."""
    upstream.play(script)
    try:
        r = post(sluice, client, "chat", streaming)
    except httpx.RemoteProtocolError:
        assert what == "half-a-body" and client == "chat"
        return
    if what == "half-a-body" and r.status_code == 200:  # it had begun to stream
        assert FORMATS[client].read_stream_error(r.content).message
        return
    assert r.status_code == 502, r.text
    got = problem(r, client)
    assert got.message
    if client in ("chat", "responses"):
        assert (got.type, got.code) == ("server_error", "bad_gateway")
    if client == "anthropic":
        assert got.type == "api_error"
    if client == "google":
        assert got.type == "UNAVAILABLE"


@clients
def test_nobody_listens(start_sluice, scripted, client):
    config = basic_config("http://127.0.0.1:%d" % closed_port())
    s = start_sluice(config)
    r = post(s, client)
    assert r.status_code == 502, r.text
    assert problem(r, client).message


@clients
def test_upstream_is_silent(start_sluice, scripted, upstream, client):
    config = basic_config(scripted.origin)
    config["server"]["first_byte_timeout_ms"] = 300
    upstream.play(silence)
    r = post(start_sluice(config), client)
    assert r.status_code == 504, r.text
    got = problem(r, client)
    if client == "google":
        assert got.type == "DEADLINE_EXCEEDED"
    if client == "anthropic":
        assert got.type == "timeout_error"
    assert upstream.wait()[0].gone.wait(30), "the upstream connection was kept"


@clients
@ups
def test_upstream_stalls_in_a_stream(start_stalled, upstream, client, up):
    """The stream stops moving: it ends in a well-formed error event."""
    u = FORMATS[up]
    frames = u.events(Turn(text=HELLO))
    part = next(i for i, f in enumerate(frames) if b"scripte" in f)
    upstream.play(stream(frames[:part], u.stream_type, "whole", end="silence"))  # no stall of its own before
    f, ask = FORMATS[client], Ask(model="to-" + up, stream=True)
    r = start_stalled.post(f.path(ask), f.request(ask))
    assert b"Hello" in r.content
    assert f.read_stream_error(r.content).message
    assert upstream.wait()[0].gone.wait(30)


@pytest.fixture(scope="module")
def start_stalled(scripted, calls, tmp_path_factory):
    config = basic_config(scripted.origin)
    config["server"]["between_timeout_ms"] = 300
    s = Sluice(tmp_path_factory.mktemp("stalled"), config, calls)
    yield s
    s.stop()


@clients
@pytest.mark.parametrize("end", ["close", "reset", "half"])
def test_cut_in_every_place(sluice, upstream, client, end):
    """An OpenAI stream cut at many bytes, inside events and inside characters: a client of any format sees an error
    or a torn connection, never a good end; and what it sees is always valid UTF-8."""
    whole = b"".join(FRAMES)
    places = list(range(20, len(whole) - 12, len(whole) // 12)) + [whole.index("é".encode()) + 1,
                                                                 whole.index("🙂".encode()) + 2]
    f, ask = FORMATS[client], Ask(model="to-chat", stream=True)
    for keep in places:
        upstream.play(cut_stream(FORMATS["chat"], Turn(text=HELLO), keep, end))
        try:
            r = sluice.post(f.path(ask), f.request(ask))
        except httpx.RemoteProtocolError:
            assert client == "chat", keep
            continue
        if r.status_code != 200:
            assert r.status_code == 502
            continue
        if client == "chat":
            assert b"[DONE]" not in r.content, keep
        else:
            assert f.read_stream_error(r.content).message, keep


def test_cut_character_is_whole_elsewhere(sluice, upstream):
    """Delivered in single bytes, every character arrives whole in every format."""
    for client in FORMATS:
        f, ask = FORMATS[client], Ask(model="to-chat", stream=True)
        upstream.play(stream(FRAMES, "text/event-stream", "bytes"))
        assert f.read_stream(sluice.post(f.path(ask), f.request(ask)).content).text == HELLO


# Wrong kinds of answers

@pytest.mark.parametrize("client,up", [p for p in PAIRS if p[0] != p[1]])
@pytest.mark.parametrize("what,script", [
    ("html", http(200, "<html>busy</html>", "text/html")), ("html-502", http(502, "<html><h1>502</h1></html>", "text/html")),
    ("empty", http(200, "")), ("broken-json", http(200, '{"id":')), ("json-null", http(200, "null")),
    ("json-array", http(200, "[]")), ("json-number", http(200, "1")), ("empty-object", http(200, "{}")),
    ("not-utf-8", http(200, b'{"id":"\xff\xfe"}'))], ids=lambda v: v if isinstance(v, str) else "")
def test_nonsense_answers(sluice, upstream, client, up, what, script):
    """Across formats a nonsensical 200 is a 502 in the client's envelope."""
    upstream.play(script)
    r = post(sluice, client, up)
    assert r.status_code == 502, r.text
    assert problem(r, client).message


@pytest.mark.parametrize("client", FORMATS)
def test_nonsense_in_the_same_format_is_left_for_the_next_target(sluice, upstream, client):
    """Bytes pass unread, but a page, nothing at all, or half an object is no answer: 502, not a success."""
    for what, script in {"html": http(200, "<html>busy</html>", "text/html"), "empty": http(200, ""), "blank": http(200, "  \n"), "no-content": http(204, ""),
                         "reset-content": http(205, ""), "null": http(200, "null"), "array": http(200, "[{}]"), "cut": http(200, '{"id":"x","choices":[{"index":0'),
                         "status-999": http(999, "{}"), "status-600": http(600, "{}"), "other-coding": raw(
                             b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: gzip, chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n", "close"),
                         "two-codings": raw(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n", "close")}.items():
        upstream.play(script)
        r = post(sluice, client, client)
        assert r.status_code == 502, (what, r.status_code, r.text)
        if not what.startswith("status"):  # an error in the upstream's own words passes
            assert problem(r, client).message, what
    upstream.play(answer(FORMATS[client], Turn(text=HELLO)))
    assert post(sluice, client, client).status_code == 200


@foreign
@pytest.mark.parametrize("streaming", [False, True])
def test_error_json_with_status_200(sluice, upstream, client, streaming):
    """Some upstreams say 200 and mean an error."""
    upstream.play(http(200, dump({"error": {"message": "quota of the month is used up", "type": "x", "code": 429}})))
    r = post(sluice, client, "chat", streaming)
    assert r.status_code >= 400, r.text
    assert "quota of the month" in problem(r, client).message


@foreign
def test_a_stream_where_none_was_asked(sluice, upstream, client):
    """SSE to a request without stream is gathered into one answer."""
    upstream.play(stream(FRAMES, "text/event-stream"))
    r = post(sluice, client, "chat", False)
    assert r.status_code == 200, r.text
    assert FORMATS[client].read(r.content).text == HELLO


@pytest.mark.parametrize("status", [301, 302, 307, 308])
def test_redirects_are_not_followed(sluice, upstream, status):
    upstream.play(http(status, "", headers=[("Location", upstream.origin + "/v1/elsewhere")]))
    r = post(sluice)
    assert r.status_code == 502, r.text
    assert [q.path for q in upstream.requests] == ["/v1/chat/completions"]
    assert "location" not in r.headers


# Odd but legal HTTP

def test_legal_oddities(sluice, upstream):
    f, ask = FORMATS["chat"], Ask(model="to-chat")
    body = dump(f.reply(Turn(text=HELLO))).encode()
    length = b"Content-Type: application/json\r\nContent-Length: %d\r\n" % len(body)
    for name, script in {
        "informational": raw(b"HTTP/1.1 103 Early Hints\r\nLink: <x>\r\n\r\nHTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\n"
                             + length + b"\r\n" + body),
        "until-close": raw(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\r\n" + body, "close"),
        "http-1.0": raw(b"HTTP/1.0 200 OK\r\n" + length + b"\r\n" + body, "close"),
        "chunk-extensions": raw(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n"
                                + b"%x;name=value\r\n%s\r\n0\r\nX-Trailer: 1\r\n\r\n" % (len(body), body)),
        "connection-close": raw(b"HTTP/1.1 200 OK\r\nConnection: close\r\n" + length + b"\r\n" + body, "close"),
        "small-letters": raw(b"HTTP/1.1 200 \r\ncontent-type:application/json\r\ncontent-length:%d\r\n\r\n%s" % (len(body), body)),
        "bytes": stream([body], "application/json", "bytes"),
    }.items():
        upstream.play(script)
        r = sluice.post(CHAT, f.request(ask))
        assert r.status_code == 200 and r.content == body, name


def test_trailers_after_a_stream(sluice, upstream):
    upstream.play(stream(FRAMES, "text/event-stream", trailers=[("X-Sum", "1")]))
    f = FORMATS["anthropic"]
    r = post(sluice, "anthropic", "chat", True)
    assert f.read_stream(r.content).text == HELLO
    assert post(sluice).status_code == 200


def test_early_answer_to_a_large_body(sluice, upstream):
    """The upstream answers 413 before it has read the body, and closes."""
    async def script(conn, request):
        conn.send(head(413, [("Content-Length", 2), ("Content-Type", "application/json"), ("Connection", "close")]) + b"{}")
        await conn.drain()
        conn.finish()

    script.reads_body = True
    upstream.play(script)
    body = FORMATS["chat"].request(Ask(model="to-chat", messages=[("user", "x" * (4 << 20))]))
    r = sluice.post(CHAT, body)
    assert r.status_code in (413, 502)


def test_keep_alive_race(sluice, upstream):
    """The upstream closes an idle connection just as the next request goes out: no client notices. The request was
    not answered, so it is sent again on a new connection."""
    async def answer_then_close(conn, request):
        await answer(FORMATS["chat"], Turn(text=HELLO))(conn, request)
        await conn.drain()
        conn.finish()

    for _ in range(30):
        upstream.play(answer_then_close)
        assert post(sluice).status_code == 200

    async def answer_then_slam_next(conn, request):
        await answer(FORMATS["chat"], Turn(text=HELLO))(conn, request)

    upstream.play(answer_then_slam_next)
    assert post(sluice).status_code == 200
    upstream.reset()
    upstream.next(slam)  # on the kept connection, without a byte of an answer
    assert post(sluice).status_code == 200
    assert len(upstream.requests) == 2


def test_connections_are_kept(start_sluice, scripted, upstream):
    """One client, one request after the other: one upstream connection."""
    config = basic_config(scripted.origin)
    s = start_sluice(config, arguments=["--threads", "1"])
    for streaming in (False, True) * 5:
        assert post(s, stream=streaming).status_code == 200
    assert len({r.connection for r in upstream.requests}) == 1


def test_unasked_bytes_close_the_connection(sluice, upstream):
    """What an upstream says without being asked never becomes the answer of the next request."""
    body = dump(FORMATS["chat"].reply(Turn(text=HELLO))).encode()
    good = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(body) + body
    upstream.play(raw(good + good.replace(b"Hello", b"Other")))
    for _ in range(5):
        r = post(sluice)
        assert r.status_code == 200 and r.content == body


# Limits and their words

RESETS = [("retry-after", "7"), ("retry-after", "Wed, 21 Oct 2037 07:28:00 GMT"), ("retry-after-ms", "7000"),
          ("x-ratelimit-reset-requests", "7s"), ("x-ratelimit-reset-tokens", "6m0s"),
          ("anthropic-ratelimit-requests-reset", "2037-01-01T00:00:00Z"), ("x-ratelimit-reset", "2114380800"),
          ("ratelimit-reset", "7")]


@clients
@pytest.mark.parametrize("header,value", RESETS, ids=["%s-%d" % (h, n) for n, (h, _) in enumerate(RESETS)])
def test_rate_limit(start_limited, upstream, client, header, value):
    """429 with each vendor's words for when: status, envelope and header reach the client."""
    s = start_limited
    upstream.play(failure(FORMATS["chat"], 429, "slow down please", [(header, value)], kind="rate_limit_error",
                          code="rate_limit_exceeded"))
    r = post(s, client)
    assert r.status_code == 429, r.text
    assert "slow down" in problem(r, client).message
    assert r.headers[header] == value


def test_rate_limit_of_google_in_the_body(start_limited, upstream):
    """RetryInfo becomes Retry-After."""
    upstream.play(http(429, dump({"error": {"code": 429, "message": "quota", "status": "RESOURCE_EXHAUSTED", "details": [
        {"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "13s"}]}})))
    r = post(start_limited, "chat", "google")
    assert r.status_code == 429
    assert r.headers["retry-after"] == "13"


@pytest.fixture
def start_limited(start_sluice, scripted):
    return start_sluice(basic_config(scripted.origin))


@clients
@pytest.mark.parametrize("status,kinds", [
    (401, (502, 503)), (403, (403, 502)), (404, (404, 502)), (408, (408, 502, 504)), (413, (413,)), (422, (400, 422)),
    (500, (500, 502)), (502, (502,)), (503, (503,)), (504, (504,)), (529, (503, 529))])
def test_upstream_statuses(start_limited, upstream, client, status, kinds):
    """Each status of an upstream and what the client makes of it; the gateway's own key failing is not the client's 401."""
    up = "anthropic" if client != "anthropic" else "chat"
    upstream.play(failure(FORMATS[up], status, "it is so"))
    r = post(start_limited, client, up)
    assert r.status_code in kinds, r.text
    assert problem(r, client).message
    assert "upstream-secret" not in r.text
    if status == 529:
        assert r.status_code == (529 if client == "anthropic" else 503)


# Failover

@pytest.mark.parametrize("what,script", [
    ("429", failure(FORMATS["chat"], 429, "no")), ("500", failure(FORMATS["chat"], 500, "no")),
    ("503", failure(FORMATS["chat"], 503, "no")), ("401", failure(FORMATS["chat"], 401, "no")),
    ("close", slam), ("reset", reset), ("garbage", raw(b"nonsense\r\n\r\n", "close"))],
    ids=lambda v: v if isinstance(v, str) else "")
@pytest.mark.parametrize("streaming", [False, True])
def test_failover_before_the_first_byte(start_sluice, scripted, upstream, what, script, streaming):
    async def play(conn, request):
        if request.json["model"] == "first-model":
            await script(conn, request)
        else:
            await answer(FORMATS["chat"], Turn(text=HELLO))(conn, request)

    upstream.play(play)
    r = ask_pair(start_sluice(two_targets(scripted.origin)), streaming)
    assert r.status_code == 200, r.text
    f = FORMATS["chat"]
    assert (f.read_stream if streaming else f.read)(r.content).text == HELLO
    assert upstream.last.json["model"] == "second-model"


def test_failover_from_a_dead_address(start_sluice, scripted, upstream):
    config = two_targets(scripted.origin)
    config["providers"]["first"]["base_url"] = "http://127.0.0.1:%d/v1" % closed_port()
    assert ask_pair(start_sluice(config)).status_code == 200
    assert upstream.last.json["model"] == "second-model"


def test_failover_from_silence(start_sluice, scripted, upstream):
    async def play(conn, request):
        await (silence if request.json["model"] == "first-model" else
               answer(FORMATS["chat"], Turn(text=HELLO)))(conn, request)

    upstream.play(play)
    assert ask_pair(start_sluice(two_targets(scripted.origin, first_byte_timeout_ms=300))).status_code == 200


def test_no_failover_for_the_clients_own_mistake(start_sluice, scripted, upstream):
    upstream.play(failure(FORMATS["chat"], 400, "your fault"))
    r = ask_pair(start_sluice(two_targets(scripted.origin)))
    assert r.status_code == 400
    assert len(upstream.requests) == 1


def test_no_failover_after_the_first_byte(start_sluice, scripted, upstream):
    """What has been said is not said again by another."""
    upstream.play(cut_stream(FORMATS["chat"], Turn(text=HELLO), 700))
    f = FORMATS["chat"]
    s = start_sluice(two_targets(scripted.origin))
    try:
        r = s.post(CHAT, f.request(Ask(model="pair", stream=True)))
        assert b"[DONE]" not in r.content
    except httpx.RemoteProtocolError:
        pass
    assert len(upstream.requests) == 1


def test_all_targets_failed(start_sluice, scripted, upstream):
    """The last target's failure is told; each was tried."""
    upstream.play(failure(FORMATS["chat"], 503, "everything is down"))
    r = ask_pair(start_sluice(two_targets(scripted.origin)))
    assert r.status_code in (502, 503)
    assert "everything is down" in problem(r).message
    assert {q.json["model"] for q in upstream.requests} == {"first-model", "second-model"}


def test_failover_across_formats(start_sluice, scripted, upstream):
    """The second target may speak another format."""
    config = basic_config(scripted.origin)
    config["models"]["pair"] = {"targets": [{"provider": "chat", "upstream_model": "first-model"},
                                            {"provider": "anthropic", "upstream_model": "second-model"}]}

    async def play(conn, request):
        if request.json["model"] == "first-model":
            await slam(conn, request)
        else:
            await answer(FORMATS["anthropic"], Turn(text=HELLO))(conn, request)

    upstream.play(play)
    s = start_sluice(config)
    for streaming in (False, True):
        r = ask_pair(s, streaming)
        f = FORMATS["chat"]
        assert (f.read_stream if streaming else f.read)(r.content).text == HELLO


# The client leaves

def leave(s, how):
    if how == "reset":
        s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    s.close()


def raw_request(sluice, client, up, streaming):
    f, ask = FORMATS[client], Ask(model="to-" + up, stream=streaming)
    body = dump(f.request(ask)).encode()
    return ("POST %s HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %s\r\nContent-Type: application/json\r\n"
            "Content-Length: %d\r\n\r\n" % (f.path(ask), KEY, len(body))).encode() + body


def closes_in_time(go, how):
    """go: a request that is under way, as (client's socket, upstream's request). The upstream is closed within 50 ms of its client's
    leaving; a loaded machine may miss that now and then, not always, and only as far as anything takes long there."""
    took, usual = [], []
    for _ in range(10):
        began = time.monotonic()
        s, request = go()
        left = time.monotonic()
        leave(s, how)
        assert request.gone.wait(30), "the upstream was not closed"
        usual.append(left - began)  # the way to the upstream is at least as long as the news that its client left
        took.append(request.gone_at - left)
        if took[-1] < max(0.05, 2 * max(usual)):
            return
    raise AssertionError("closed only after %s seconds" % took)


@pytest.mark.threads
@pytest.mark.parametrize("how", ["close", "reset"])
@pytest.mark.parametrize("client,up", [("chat", "chat"), ("anthropic", "chat"), ("chat", "anthropic"), ("google", "ollama")])
def test_client_leaves_while_the_upstream_thinks(sluice, upstream, how, client, up):
    """Upstream closed at once, seen from the upstream's side."""
    for streaming in (False, True):
        def go():
            upstream.reset()
            upstream.play(silence)
            s = sluice.connect()
            s.sendall(raw_request(sluice, client, up, streaming))
            return s, upstream.wait()[0]

        closes_in_time(go, how)


@pytest.mark.threads
@pytest.mark.parametrize("how", ["close", "reset"])
@pytest.mark.parametrize("client,up", [("chat", "chat"), ("responses", "chat"), ("chat", "anthropic"), ("ollama", "google")])
def test_client_leaves_in_a_stream(sluice, upstream, how, client, up):
    u = FORMATS[up]
    frames = u.events(Turn(text=HELLO))

    def go():
        upstream.reset()
        upstream.play(held_stream(frames[:4], threading.Event(), [], u.stream_type))
        s = sluice.connect()
        s.sendall(raw_request(sluice, client, up, True))
        s.settimeout(60)
        assert s.recv(100).startswith(b"HTTP/1.1 200")
        return s, upstream.wait()[0]

    closes_in_time(go, how)


def test_client_leaves_before_its_request_is_whole(sluice, upstream):
    data = raw_request(sluice, "chat", "chat", False)
    for keep in (1, 20, data.index(b"\r\n\r\n"), data.index(b"\r\n\r\n") + 4, len(data) - 1):
        for how in ("close", "reset"):
            s = sluice.connect()
            s.sendall(data[:keep])
            leave(s, how)
    assert post(sluice).status_code == 200
    assert len(upstream.requests) == 1


def test_client_that_does_not_read(sluice, upstream):
    """Back-pressure: an upstream that sends without end is read only as fast as the client reads."""
    sent = [0]
    event = b"data: " + dump({"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "m", "choices": [
        {"index": 0, "delta": {"content": "z" * 8000}, "finish_reason": None}]}).encode() + b"\n\n"

    async def flood(conn, request):
        conn.send(head(200, [("Content-Type", "text/event-stream"), ("Transfer-Encoding", "chunked")]))
        while not conn.lost.is_set() and sent[0] < 200 << 20:
            conn.send(chunk(event))
            sent[0] += len(event)
            await conn.drain()

    for client in ("chat", "anthropic"):
        upstream.reset()
        upstream.play(flood)
        sent[0] = 0
        s = sluice.connect()
        s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        s.sendall(raw_request(sluice, client, "chat", True))
        request = upstream.wait()[0]
        wait_for(lambda: sent[0] > 100000, "the stream to begin")
        last = [-1]

        def stands():
            still = sent[0] == last[0]
            last[0] = sent[0]
            time.sleep(0.3)
            return still

        wait_for(stands, "the upstream to be held back")
        assert sent[0] < 64 << 20
        s.close()
        assert request.gone.wait(30)


def test_answer_and_connection_after_an_upstream_failure(sluice, upstream):
    """A failed request leaves the client's connection usable."""
    upstream.next(slam)
    upstream.play(http(500, "{}"))
    with sluice.connect() as s:
        s.sendall(raw_request(sluice, "chat", "chat", False))
        assert read_answer(s)[0] >= 500
        upstream.reset()
        s.sendall(raw_request(sluice, "chat", "chat", False))
        assert read_answer(s)[0] == 200
