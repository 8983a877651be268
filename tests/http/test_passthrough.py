"""Same format on both sides: the bytes go through, with the model's name as the only edit."""
import json
import random

import pytest
from formats import FORMATS
from formats.common import HELLO, THINKING, Ask, Call, Turn, Usage, dump
from upstream import answer, http, stream

same = pytest.mark.parametrize("name", FORMATS)
FULL = Turn(text=HELLO, reasoning=THINKING, finish="tool_calls", usage=Usage(30, 20, 8, 5),
            calls=[Call("get_weather", '{"city":"Paris"}', "call_1")])
# What a re-serialising gateway would lose: order, number lexemes, escapes, spaces, duplicates, unknown members.
ODD = ('"zz_unknown" : {"b":1.0,"a":1e3, "n":123456789012345678901234567890,"u":"\\u00e9\\ud83d\\ude42\\/" ,"x":null} ,\n'
       '\t"temperature":0.70, "metadata":{ "user_id":"\\u0041" }')


def odd_request(f, ask, model):
    """A request of the format, with odd members and odd white space, as text."""
    text = json.dumps(f.request(ask), ensure_ascii=False, separators=(", ", " :"))
    text = "{ " + ODD + " , " + text[1:]
    return text.replace(json.dumps(ask.model), json.dumps(model)) if f.name != "google" else text


@same
@pytest.mark.parametrize("streaming", [False, True], ids=["whole", "streamed"])
def test_request_bytes(sluice, upstream, name, streaming):
    f, ask = FORMATS[name], Ask(model="to-" + name, stream=streaming)
    r = sluice.post(f.path(ask), odd_request(f, ask, ask.model).encode())
    assert r.status_code == 200, r.text
    assert upstream.last.body.decode() == odd_request(f, ask, name + "-model")


@same
def test_random_bodies(sluice, upstream, name):
    """Unknown members of any shape reach the upstream as they are."""
    source = random.Random(7)

    def anything(depth=0):
        kind = source.randrange(7 if depth < 4 else 5)
        if kind == 0:
            return source.choice([None, True, False, 0, -1, 1.5, 10**30, 1e-7])
        if kind < 5:
            return "".join(source.choice('ab"\\\n\té日🙂\x01/') for _ in range(source.randrange(12)))
        if kind == 5:
            return [anything(depth + 1) for _ in range(source.randrange(4))]
        return {str(anything(9)): anything(depth + 1) for _ in range(source.randrange(4))}

    f = FORMATS[name]
    for n in range(25):
        ask = Ask(model="to-" + name)
        members = list(f.request(ask).items()) + [("x_%d_%s" % (i, anything(9)), anything()) for i in range(4)]
        source.shuffle(members)
        text = json.dumps(dict(members), ensure_ascii=source.random() < 0.5)
        r = sluice.post(f.path(ask), text.encode())
        assert r.status_code == 200, r.text
        assert upstream.last.body.decode() == text.replace('"to-%s"' % name, '"%s-model"' % name), n


@same
def test_response_bytes(sluice, upstream, name):
    f, ask = FORMATS[name], Ask(model="to-" + name, reasoning="low")
    body = "{ " + ODD + " , " + dump(f.reply(FULL))[1:] + " \n"
    upstream.play(http(200, body, headers=[("x-ratelimit-remaining-requests", "17"), ("x-internal-thing", "secret")]))
    r = sluice.post(f.path(ask), f.request(ask))
    assert r.status_code == 200
    assert r.content.decode() == body
    assert r.headers["x-ratelimit-remaining-requests"] == "17"


@same
@pytest.mark.parametrize("how", ["events", "bytes", "whole", 13])
def test_stream_bytes(sluice, upstream, name, how):
    f, ask = FORMATS[name], Ask(model="to-" + name, stream=True, reasoning="low")
    frames = f.events(FULL)
    if f.stream_type == "text/event-stream":  # comments, CRLF and odd spacing go through too
        frames = [b": hello\n\n", b"retry: 1000\n\n"] + frames[:2] + [b": keep-alive\r\n\r\n"] + frames[2:]
    upstream.play(stream(frames, f.stream_type, how))
    r = sluice.post(f.path(ask), f.request(ask))
    assert r.content == b"".join(frames)
    assert r.headers["content-type"].startswith(f.stream_type)


STATUSES = [(f, s) for f in FORMATS for s in (400, 403, 404, 413, 422, 429, 500, 503)] + [("anthropic", 529)]


@pytest.mark.parametrize("name,status", STATUSES)
def test_error_bytes(sluice, upstream, name, status):
    """An upstream's own error goes to a client of the same format verbatim."""
    f, ask = FORMATS[name], Ask(model="to-" + name)
    body = dump({**f.error(status, "as the upstream said it"), "more": [1, 2]})
    upstream.play(http(status, body, headers=[("retry-after", "0")]))
    r = sluice.post(f.path(ask), f.request(ask))
    assert r.status_code == status
    assert r.content.decode() == body


def test_chat_stream_usage_is_metered_but_not_shown(sluice, upstream):
    """A chat client that did not ask for usage does not see the chunk that sluice asked for."""
    upstream.play(answer(FORMATS["chat"], Turn(text=HELLO)))
    r = sluice.post("/v1/chat/completions", {"model": "to-chat", "stream": True,
                                             "messages": [{"role": "user", "content": "x"}]})
    assert upstream.last.json["stream_options"] == {"include_usage": True}
    assert b'"choices":[]' not in r.content
    assert r.content == b"".join(FORMATS["chat"].events(Turn(text=HELLO), "chat-model", include_usage=False))


def test_chat_stream_options_of_the_client_stay(sluice, upstream):
    body = {"model": "to-chat", "stream": True, "stream_options": {"include_usage": False, "x": 1},
            "messages": [{"role": "user", "content": "x"}]}
    sluice.post("/v1/chat/completions", body)
    assert upstream.last.json["stream_options"]["x"] == 1


def test_headers_to_the_upstream(sluice, upstream):
    """Forwarded by an allow-list: the vendor's headers go, credentials and hop-by-hop headers never."""
    upstream.play(answer(FORMATS["anthropic"], Turn(text=HELLO)))
    sluice.post("/v1/messages", FORMATS["anthropic"].request(Ask(model="to-anthropic")), auth=False, headers={
        "x-api-key": sluice.key, "anthropic-version": "2026-10-21", "anthropic-beta": "a-1,b-2", "cookie": "a=b",
        "x-forwarded-for": "1.2.3.4", "x-something": "private", "connection": "keep-alive, x-hop", "x-hop": "1"})
    request = upstream.last
    assert request.header("anthropic-version") == "2026-10-21"
    assert request.header("anthropic-beta") == "a-1,b-2"
    assert request.header("x-api-key") == "upstream-secret-anthropic"
    assert sluice.key not in request.head.decode("latin-1")
    for name in ("cookie", "x-something", "x-hop", "authorization"):
        assert request.header(name) is None, name
    assert request.header("host") == upstream.origin.removeprefix("http://")


@pytest.mark.parametrize("name,header,value", [
    ("chat", "authorization", "Bearer upstream-secret-chat"),
    ("responses", "authorization", "Bearer upstream-secret-responses"),
    ("anthropic", "x-api-key", "upstream-secret-anthropic"),
    ("google", "x-goog-api-key", "upstream-secret-google")])
def test_upstream_credentials(sluice, upstream, name, header, value):
    f, ask = FORMATS[name], Ask(model="to-" + name)
    sluice.post(f.path(ask), f.request(ask))
    assert upstream.last.header(header) == value
    assert sluice.key not in upstream.last.head.decode("latin-1")


def test_google_query(sluice, upstream):
    """alt goes on, the key does not."""
    f, ask = FORMATS["google"], Ask(model="to-google", stream=True)
    r = sluice.call("POST", "/v1beta/models/to-google:streamGenerateContent?alt=sse&key=" + sluice.key,
                    f.request(ask), auth=False)
    assert r.status_code == 200, r.text
    assert upstream.last.path == "/v1beta/models/google-model:streamGenerateContent"
    assert "alt=sse" in upstream.last.query and sluice.key not in upstream.last.target


def test_google_stream_as_an_array(sluice, upstream):
    """Without alt=sse the Google format streams one JSON array, also from another format."""
    upstream.play(answer(FORMATS["chat"], Turn(text=HELLO)))
    r = sluice.post("/v1beta/models/to-chat:streamGenerateContent", FORMATS["google"].request(Ask(model="x")))
    assert r.status_code == 200, r.text
    assert r.headers["content-type"].startswith("application/json")
    chunks = r.json()
    assert isinstance(chunks, list)
    assert "".join(p.get("text", "") for c in chunks for p in c["candidates"][0]["content"].get("parts", [])) == HELLO
    assert chunks[-1]["candidates"][0]["finishReason"] == "STOP"


def test_compressed_request_body(sluice, upstream):
    import gzip
    body = dump(FORMATS["chat"].request(Ask(model="to-chat"))).encode()
    r = sluice.post("/v1/chat/completions", gzip.compress(body), headers={"Content-Encoding": "gzip"})
    assert r.status_code == 200, r.text
    assert upstream.last.json["model"] == "chat-model"
    assert upstream.last.header("content-encoding") is None


def test_event_of_several_megabytes(sluice, upstream):
    """A picture in one event."""
    f = FORMATS["chat"]
    frames = f.events(Turn(text="x" * 40))
    big = frames[3].replace(b"xxxxxxx", b"y" * (5 << 20))
    assert len(big) > 5 << 20
    upstream.play(stream(frames[:3] + [big] + frames[4:], f.stream_type, 65536))
    r = sluice.post("/v1/chat/completions", f.request(Ask(model="to-chat", stream=True)))
    assert r.content == b"".join(frames[:3] + [big] + frames[4:])
