"""Answers of another shape, size, encoding or end than was asked for, and clients that read slowly."""
import gzip
import json
import socket
import zlib

import pytest
from conftest import basic_config
from formats import FORMATS
from formats.common import HELLO, Ask, Turn, dump, sse_events
from gateway import KEY, read_all, wait_for
from upstream import http, stream

clients = pytest.mark.parametrize("client", FORMATS)
MARKED = ["chat", "responses", "anthropic", "ollama"]  # formats whose streams say that they are at their end


def post(sluice, client, up, streaming):
    f, ask = FORMATS[client], Ask(model="to-" + up, stream=streaming)
    return sluice.post(f.path(ask), f.request(ask))


# The same format, but the other shape: a stream for a whole answer, a whole answer for a stream

@clients
def test_a_stream_for_a_whole_answer(sluice, upstream, client):
    f = FORMATS[client]
    upstream.play(stream(f.events(Turn(text=HELLO)), f.stream_type))
    r = post(sluice, client, client, False)
    assert r.status_code == 200, r.text
    assert r.headers["content-type"].startswith("application/json")
    assert f.read(r.content).text == HELLO


@clients
def test_a_whole_answer_for_a_stream(sluice, upstream, client):
    f = FORMATS[client]
    upstream.play(http(200, dump(f.reply(Turn(text=HELLO), "up"))))
    r = post(sluice, client, client, True)
    assert r.status_code == 200, r.text
    assert r.headers["content-type"].startswith(f.stream_type)
    assert f.read_stream(r.content).text == HELLO


COMPLETION = {"id": "cmpl-1", "object": "text_completion", "created": 1700000000, "model": "m", "choices": [
    {"text": HELLO, "index": 0, "logprobs": None, "finish_reason": "length"},
    {"text": "Two", "index": 1, "logprobs": None, "finish_reason": "stop"}],
    "usage": {"prompt_tokens": 3, "completion_tokens": 9, "total_tokens": 12}}


def completion_frames():
    def frame(**members):
        return b"data: " + dump({**COMPLETION, "choices": [], "usage": None, **members}).encode() + b"\n\n"

    choices = COMPLETION["choices"]
    return [frame(choices=[{**choices[0], "text": HELLO[:9], "finish_reason": None}]),
            frame(choices=[choices[1]]),
            frame(choices=[{**choices[0], "text": HELLO[9:]}]),
            frame(usage=COMPLETION["usage"]), b"data: [DONE]\n\n"]


def test_completions_of_the_other_shape(sluice, upstream):
    """OpenAI's legacy format, passed through to an upstream that knows it."""
    ask = {"model": "to-chat", "prompt": "Hi", "n": 2, "stream_options": {"include_usage": True}}
    upstream.play(stream(completion_frames(), "text/event-stream"))
    r = sluice.post("/v1/completions", ask)
    assert upstream.last.path == "/v1/completions"
    assert r.status_code == 200, r.text
    got = r.json()
    assert got["object"] == "text_completion" and got["usage"] == COMPLETION["usage"]
    assert [(c["text"], c["finish_reason"]) for c in got["choices"]] == [(HELLO, "length"), ("Two", "stop")]

    upstream.play(http(200, dump(COMPLETION)))
    r = sluice.post("/v1/completions", {**ask, "stream": True})
    assert r.headers["content-type"].startswith("text/event-stream")
    events = [d for _, d in sse_events(r.content)]
    assert events.pop() == "[DONE]"
    chunks = [json.loads(e) for e in events]
    said = {0: "", 1: ""}
    for choice in (c for chunk in chunks for c in chunk["choices"]):
        said[choice["index"]] += choice["text"]
    assert said == {0: HELLO, 1: "Two"}
    assert chunks[-1]["usage"]["completion_tokens"] == 9


def test_generate_of_the_other_shape(sluice, upstream):
    """Ollama's /api/generate, whose words stand elsewhere than those of a chat."""
    whole = {"model": "m", "created_at": "2026-01-01T00:00:00Z", "response": HELLO, "thinking": "Hm.", "done": True,
             "done_reason": "stop", "prompt_eval_count": 3, "eval_count": 9}
    lines = [dump({**whole, "response": HELLO[:9], "done": False}).encode() + b"\n",
             dump({**whole, "response": HELLO[9:], "thinking": ""}).encode() + b"\n"]
    upstream.play(http(200, dump(whole)))
    r = sluice.post("/api/generate", {"model": "to-ollama", "prompt": "Hi"})
    assert upstream.last.path == "/api/generate"
    got = [json.loads(line) for line in r.text.splitlines()]
    assert "".join(x["response"] for x in got) == HELLO
    assert "".join(x.get("thinking", "") for x in got) == "Hm."
    assert got[-1]["done"] is True and got[-1]["eval_count"] == 9

    upstream.play(stream(lines, "application/x-ndjson"))
    r = sluice.post("/api/generate", {"model": "to-ollama", "prompt": "Hi", "stream": False})
    assert r.status_code == 200, r.text
    assert (r.json()["response"], r.json()["thinking"], r.json()["eval_count"]) == (HELLO, "Hm.", 9)


@pytest.mark.parametrize("path,body,kind", [
    ("/v1/completions", {"model": "to-chat", "prompt": "Hi"}, "application/x-ndjson"),
    ("/v1/chat/completions", FORMATS["chat"].request(Ask(model="to-chat")), "application/x-ndjson"),
    ("/api/generate", {"model": "to-ollama", "prompt": "Hi"}, "text/event-stream"),
    ("/api/chat", FORMATS["ollama"].request(Ask(model="to-ollama")), "text/event-stream")], ids=lambda v: v if isinstance(v, str) else "")
@pytest.mark.parametrize("streaming", [False, True])
def test_a_stream_of_another_kind(sluice, upstream, path, body, kind, streaming):
    """What the format has no stream of is not handed on under its name."""
    upstream.play(stream([b'{"a":1}\n', b"data: {}\n\n"], kind))
    r = sluice.post(path, {**body, "stream": streaming})
    assert r.status_code == 502, r.text
    assert kind in r.text


@pytest.mark.parametrize("kind", ["text/event-stream", "application/x-ndjson", "text/html"])
def test_events_where_a_document_is_due(sluice, upstream, kind):
    """What has no stream in any format is not lent the name of JSON: a fault of the upstream, in the words of who asked."""
    say = [{"role": "user", "content": "Hi"}]
    for client, path, body in [
            ("chat", "/v1/embeddings", {"model": "to-chat", "input": "x"}), ("chat", "/v1/embeddings", {"model": "to-google", "input": "x"}),
            ("google", "/v1beta/models/to-google:embedContent", {"content": {"parts": [{"text": "x"}]}}),
            ("ollama", "/api/embed", {"model": "to-ollama", "input": "x"}), ("ollama", "/api/embed", {"model": "to-chat", "input": "x"}),
            ("anthropic", "/v1/messages/count_tokens", {"model": "to-anthropic", "messages": say}),
            ("google", "/v1beta/models/to-google:countTokens", {"contents": [{"role": "user", "parts": [{"text": "x"}]}]}),
            ("responses", "/v1/responses/input_tokens", {"model": "to-responses", "input": "x"}),
            ("responses", "/v1/responses/compact", {"model": "to-responses", "input": "x"}),
            ("chat", "/v1/moderations", {"model": "to-chat", "input": "x"}),
            ("chat", "/v1/rerank", {"model": "to-chat", "query": "x", "documents": ["y"]})]:
        upstream.reset()
        upstream.play(stream([b'data: {"a":1}\n\n'], kind, end="silence"))  # it may never end
        r = sluice.post(path, body)
        assert r.status_code == 502 and r.headers["content-type"].startswith("application/json"), path
        assert kind in FORMATS[client].read_error(502, r.content).message
        assert upstream.last.gone.wait(30)


def test_a_document_that_is_none(sluice, upstream):
    upstream.play(http(200, "data: {}\n\n"))
    for path, body in [("/v1/embeddings", {"model": "to-chat", "input": "x"}), ("/v1/images/generations", {"model": "to-chat", "prompt": "x"})]:
        r = sluice.post(path, body)
        assert r.status_code == 502 and "JSON" in FORMATS["chat"].read_error(502, r.content).message, path


# A stream for a whole answer whose connection does not end well

@pytest.mark.parametrize("end", ["close", "reset", "half", "silence"])
@pytest.mark.parametrize("client", ["chat", "anthropic"])
def test_a_whole_answer_needs_no_clean_end(sluice, upstream, client, end):
    for up in MARKED if end == "close" else ["chat"]:
        f = FORMATS[up]
        upstream.play(stream(f.events(Turn(text=HELLO)), f.stream_type, "whole", end=end))
        r = post(sluice, client, up, False)
        assert r.status_code == 200, r.text
        assert FORMATS[client].read(r.content).text == HELLO


@clients
def test_an_unfinished_stream_is_no_whole_answer(sluice, upstream, client):
    f = FORMATS["chat"]
    upstream.play(stream(f.events(Turn(text=HELLO))[:4], f.stream_type, end="close"))
    r = post(sluice, client, "chat", False)
    assert r.status_code == 502, r.text


# Nothing at all

@clients
@pytest.mark.parametrize("status", [200, 204])
def test_an_empty_answer(sluice, upstream, client, status):
    """It is none: another target may have one, and who asked is told in its own format."""
    upstream.play(http(status, ""))
    r = post(sluice, client, client, False)
    assert r.status_code == 502 and FORMATS[client].read_error(502, r.content).message, r.text


def test_empty_answers_of_other_operations(sluice, upstream):
    upstream.play(http(200, ""))
    for path, body in [("/v1/responses/compact", {"model": "to-responses", "input": "x"}),
                       ("/v1/completions", {"model": "to-chat", "prompt": "x"}),
                       ("/v1/embeddings", {"model": "to-chat", "input": "x"}),
                       ("/v1/images/generations", {"model": "to-chat", "prompt": "x"}),
                       ("/v1/moderations", {"model": "to-chat", "input": "x"})]:
        r = sluice.post(path, body)
        if path == "/v1/completions":
            assert r.status_code == 502 and r.json()["error"]["message"], r.text
        else:
            assert (r.status_code, r.content) == (200, b""), path


# Encoded answers, though none was asked for

BROTLI = bytes.fromhex("1b0d00002441d2dcaa104e4a5b05fb363d")  # "a plain answer"


def members(plain):
    """gzip data of several members (RFC 1952, 2.2)."""
    return b"".join(gzip.compress(plain[i:i + 100]) for i in range(0, len(plain), 100))


ENCODERS = {"gzip": gzip.compress, "x-gzip": members, "deflate": zlib.compress}


@clients
@pytest.mark.parametrize("encoding", ENCODERS)
def test_an_encoded_answer(sluice, upstream, client, encoding):
    """It is asked for as it is; what comes encoded all the same is decoded, whole, streamed and of an error."""
    f, header = FORMATS["chat"], [("Content-Encoding", encoding)]
    encode = ENCODERS[encoding]
    upstream.play(http(200, encode(dump(f.reply(Turn(text=HELLO), "up")).encode()), headers=header))
    r = post(sluice, client, "chat", False)
    assert upstream.last.header("accept-encoding") == "identity"
    assert r.status_code == 200, r.text
    assert "content-encoding" not in r.headers
    assert FORMATS[client].read(r.content).text == HELLO
    for how in ("whole", 7):
        upstream.play(stream([encode(b"".join(f.events(Turn(text=HELLO))))], f.stream_type, how, headers=header))
        r = post(sluice, client, "chat", True)
        assert FORMATS[client].read_stream(r.content).text == HELLO
    upstream.play(http(400, encode(dump({"error": {"message": "no such thing", "type": "invalid_request_error", "param": None, "code": None}}).encode()),
                       headers=header))
    r = post(sluice, client, "chat", False)
    assert r.status_code == 400
    assert "no such thing" in FORMATS[client].read_error(400, r.content).message


@clients
def test_an_answer_that_cannot_be_decoded(sluice, upstream, client):
    f = FORMATS["chat"]
    whole = gzip.compress(dump(f.reply(Turn(text=HELLO), "up")).encode())
    for encoding, body in (("gzip", whole[:-9]), ("gzip", b"no gzip at all"), ("deflate", whole), ("zstd", whole), ("gzip, br", whole),
                           ("gzip", whole + b"more")):
        upstream.play(http(200, body, headers=[("Content-Encoding", encoding)]))
        r = post(sluice, client, "chat", False)
        assert r.status_code == 502, (encoding, r.text)
        assert encoding in FORMATS[client].read_error(502, r.content).message
    upstream.play(http(429, b"no gzip at all", headers=[("Content-Encoding", "gzip"), ("Retry-After", "7")]))
    r = post(sluice, client, "chat", False)
    assert r.status_code == 429 and r.headers["retry-after"] == "7"
    assert FORMATS[client].read_error(429, r.content).message
    cut = gzip.compress(b"".join(f.events(Turn(text=HELLO))))
    upstream.play(stream([cut[:-12]], f.stream_type, headers=[("Content-Encoding", "gzip")]))
    r = post(sluice, client, "chat", True)
    assert b"[DONE]" not in r.content and b"error" in r.content


def test_an_encoded_answer_of_bytes(sluice, upstream):
    sound = bytes(range(256)) * 999
    for encoding, body, wanted in (("gzip", gzip.compress(sound), sound), ("br", BROTLI, b"a plain answer"), ("identity", sound, sound)):
        upstream.play(http(200, body, "audio/mpeg", [("Content-Encoding", encoding)]))
        r = sluice.post("/v1/audio/speech", {"model": "to-chat", "input": "x", "voice": "v"})
        assert r.status_code == 200 and r.content == wanted, encoding
        assert "content-encoding" not in r.headers


def test_an_encoded_answer_is_bounded(start_sluice, scripted, upstream):
    """By what it becomes, not by what it was."""
    config = basic_config(scripted.origin)
    config["server"]["max_reply_bytes"] = 1 << 20
    upstream.play(http(200, gzip.compress(b"{" + b" " * (8 << 20)), headers=[("Content-Encoding", "gzip")]))
    r = post(start_sluice(config), "chat", "chat", False)
    assert r.status_code == 502 and "max_reply_bytes" in r.text


# Large answers, and clients that take their time

def read_late(sluice, upstream, path, body):
    """(head, body as on the wire) of an answer of which nothing is read before the upstream has said all of it."""
    data = dump(body).encode()
    with sluice.connect() as s:
        s.settimeout(60)
        s.sendall(b"POST %s HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %s\r\nContent-Type: application/json\r\n"
                  b"Connection: close\r\nContent-Length: %d\r\n\r\n%s" % (path.encode(), KEY.encode(), len(data), data))
        assert upstream.wait()[0].answered.wait(60)
        got = bytearray()
        while piece := s.recv(1 << 16):
            got += piece
    head, _, rest = bytes(got).partition(b"\r\n\r\n")
    return head.decode("latin-1").lower(), rest


LARGE = "y" * (12 << 20)


def test_what_waits_for_slow_clients_counts(start_sluice, scripted, upstream):
    """An answer that its client does not take is held twice: as it came, and as it waits for the socket."""
    config = basic_config(scripted.origin)
    config["server"]["max_memory_bytes"] = 38 << 20
    s = start_sluice(config, arguments=("--threads", "1"))
    upstream.next(http(200, dump({"object": "list", "data": [{"embedding": LARGE * 2}]})))
    data = dump({"model": "to-chat", "input": "x"}).encode()

    def small():
        return post(s, "chat", "chat", False).status_code

    with socket.socket() as slow:
        slow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 16)
        slow.connect(("127.0.0.1", s.port))
        slow.sendall(b"POST /v1/embeddings HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %s\r\nContent-Type: application/json\r\n"
                     b"Connection: close\r\nContent-Length: %d\r\n\r\n%s" % (KEY.encode(), len(data), data))
        wait_for(lambda: small() == 503, "its answer counts", 60)
        assert len(read_all(slow)) > len(LARGE) * 2
    wait_for(lambda: small() == 200, "it is let go", 60)


@pytest.mark.parametrize("path,body,reply", [
    ("/v1/chat/completions", FORMATS["chat"].request(Ask(model="to-chat")), FORMATS["chat"].reply(Turn(text=LARGE), "up")),
    ("/v1/messages", FORMATS["anthropic"].request(Ask(model="to-chat")), FORMATS["chat"].reply(Turn(text=LARGE), "up")),
    ("/v1/embeddings", {"model": "to-chat", "input": "x"}, {"object": "list", "data": [{"embedding": LARGE}]}),
    ("/v1/images/generations", {"model": "to-chat", "prompt": "x"}, {"created": 1, "data": [{"b64_json": LARGE}]})],
    ids=["same", "foreign", "embeddings", "images"])
def test_a_large_answer_to_a_slow_client(sluice, upstream, path, body, reply):
    """What is held whole waits for its reader."""
    upstream.play(http(200, dump(reply)))
    head, got = read_late(sluice, upstream, path, body)
    assert head.startswith("http/1.1 200")
    assert "content-length: %d" % len(got) in head
    assert LARGE.encode() in got
    json.loads(got)


@pytest.mark.parametrize("client", ["responses", "anthropic", "google", "ollama"])
def test_a_large_event_to_a_slow_client(sluice, upstream, client):
    """One event of 6 MB becomes more than that in some formats: all of it arrives."""
    size = 6 << 20
    frames = [f.replace(b"QQQQQ", b"y" * size) for f in FORMATS["chat"].events(Turn(text="QQQQQ"))]
    upstream.play(stream(frames, "text/event-stream", 1 << 18))
    f, ask = FORMATS[client], Ask(model="to-chat", stream=True)
    head, got = read_late(sluice, upstream, f.path(ask), f.request(ask))
    assert head.startswith("http/1.1 200")
    assert got.endswith(b"0\r\n\r\n")
    body = bytearray()
    while got:
        line, _, got = got.partition(b"\r\n")
        n = int(line, 16)
        body += got[:n]
        got = got[n + 2:]
    assert f.read_stream(bytes(body)).text == "y" * size


def test_events_that_grow_when_they_are_translated(start_sluice, scripted, upstream):
    """A Responses stream says each text five times: an event that may come finds room for that. What is more ends in an error that its
    client can read."""
    frames = [f.replace(b"QQQQQ", b"y" * (14 << 20)) for f in FORMATS["chat"].events(Turn(text="QQQQQ"))]
    for most in (16 << 20, 4 << 20):
        config = basic_config(scripted.origin)
        config["server"]["max_event_bytes"] = most
        s = start_sluice(config)
        for split in (1, len(frames)):  # after a beginning, and all in one
            upstream.play(stream([b"".join(frames[:split]), b"".join(frames[split:])], "text/event-stream", 1 << 20))
            r = post(s, "responses", "chat", True)
            if most > 14 << 20:
                assert r.status_code == 200 and len(r.content) > 5 * (14 << 20)
                assert r.content.rstrip().rpartition(b"\n\n")[2].startswith(b"event: response.completed\n")
            elif r.status_code == 200:
                assert "larger" in FORMATS["responses"].read_stream_error(r.content).message or "large" in r.text
            else:
                assert r.status_code == 502 and "large" in r.text
        upstream.reset()
        assert FORMATS["responses"].read_stream(post(s, "responses", "chat", True).content).text == HELLO
