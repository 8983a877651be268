"""The scripted upstream does what it says, seen without sluice: else a fault test might prove nothing."""
import socket

import httpx
import pytest
from formats import FORMATS
from formats.common import HELLO, Ask, Turn, dump
from gateway import wait_for
from upstream import answer, cut_stream, held_stream, http, raw, reset, silence, slam, stream

CHAT = FORMATS["chat"]
FRAMES = CHAT.events(Turn(text=HELLO))


@pytest.fixture
def post(upstream):
    with httpx.Client(base_url=upstream.origin, trust_env=False, verify=False, timeout=60) as c:
        yield lambda streaming=True: c.post("/v1/chat/completions", json=CHAT.request(Ask(stream=streaming)))


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize("streaming", [False, True])
def test_it_answers_in_every_format(upstream, name, streaming):
    f, ask = FORMATS[name], Ask(stream=streaming)
    upstream.play(answer(f, Turn(text=HELLO), "bytes" if streaming else "events"))
    r = httpx.post(upstream.origin + f.path(ask), json=f.request(ask), trust_env=False, verify=False, timeout=60)
    assert (f.read_stream if streaming else f.read)(r.content).text == HELLO
    assert f.understand(upstream.last).messages == ask.messages


@pytest.mark.parametrize("end", ["close", "reset", "half"])
def test_a_stream_is_torn(upstream, post, end):
    upstream.play(cut_stream(CHAT, Turn(text=HELLO), 400, end))
    with pytest.raises(httpx.TransportError):
        post()


@pytest.mark.parametrize("script", [slam, reset, raw(b"nonsense\r\n\r\n", "close"), raw(b"HTTP/1.1 200 OK\r\nContent-Le", "close")])
def test_no_answer_comes(upstream, post, script):
    upstream.play(script)
    with pytest.raises(httpx.TransportError):
        post()


def test_single_bytes_come_singly(upstream):
    upstream.play(stream(FRAMES[:1], "text/event-stream", "bytes"))
    with httpx.stream("POST", upstream.origin + "/v1/chat/completions", json=CHAT.request(Ask(stream=True)), trust_env=False, verify=False, timeout=60) as r:
        assert max(len(b) for b in r.iter_raw()) < len(FRAMES[0]) / 2


def test_requests_are_kept_byte_for_byte(upstream):
    with socket.create_connection(("127.0.0.1", upstream.port)) as s:
        sent = b"POST /v1/chat/completions?x=%20 HTTP/1.1\r\nHost:  a\r\nTransfer-Encoding: chunked\r\n\r\n2;e=1\r\n{}\r\n0\r\nT: 1\r\n\r\n"
        upstream.play(http(200, "{}"))
        s.sendall(sent)
        request = upstream.wait()[0]
    assert request.head + request.raw_body == sent
    assert request.body == b"{}" and request.query == "x=%20"


@pytest.mark.parametrize("script", [silence, held_stream(FRAMES[:2], type("Never", (), {"is_set": lambda self: False})(), [], "text/event-stream")])
def test_it_sees_the_peer_leave(upstream, script):
    upstream.play(script)
    s = socket.create_connection(("127.0.0.1", upstream.port))
    body = dump(CHAT.request(Ask(stream=True))).encode()
    s.sendall(b"POST /v1/chat/completions HTTP/1.1\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
    request = upstream.wait()[0]
    assert not request.gone.is_set()
    s.close()
    wait_for(request.gone.is_set, "the peer is seen to leave")


def test_a_queue_comes_first(upstream, post):
    upstream.play(http(500, "{}"))
    upstream.next(http(201, "{}"), http(202, "{}"))
    assert [post().status_code for _ in range(4)] == [201, 202, 500, 500]
