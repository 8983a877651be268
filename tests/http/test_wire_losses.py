"""What cannot be carried from one upstream or format to another is refused or named, never lost in silence."""
import json

import pytest
from formats import FORMATS
from gateway import KEY
from upstream import failure, http

SIGNED = [{"role": "user", "content": "q"},
          {"role": "assistant", "content": [{"type": "thinking", "thinking": "T", "signature": "SIG"}, {"type": "redacted_thinking", "data": "HIDDEN"},
                                            {"type": "text", "text": "a", "cache_control": {"type": "ephemeral"}}]},
          {"role": "user", "content": "more"}]


def entry(kind, base):
    return {"type": kind, "api_key": "k-0123456789", "base_url": base}


@pytest.fixture
def makers(start_sluice, scripted):
    """Two accounts of one vendor and one of another, all of whom speak Anthropic's format; and one that only talks Chat."""
    config = {"providers": {"a": entry("anthropic", scripted.origin + "/a"), "b": entry("zai", scripted.origin + "/b"),
                            "c": entry("anthropic", scripted.origin + "/c"), "plain": entry("anthropic-compatible", scripted.origin + "/p"),
                            "chat": entry("openai-compatible", scripted.origin + "/v1")},
              "models": {"ma": "a", "mb": "b", "mc": "c"},
              "combos": {"other": {"members": ["ma", "mb"], "max_retries": 0}, "same": {"members": ["ma", "mc"], "max_retries": 0}},
              "server": {"api_keys": [{"id": "0a1b2c3d", "key": KEY}]}}
    return start_sluice(config)


def first_fails(scripted):
    async def script(conn, request):
        broken = request.path.startswith("/a/")
        await (failure(FORMATS["anthropic"], 503, "it does not work") if broken else scripted.default(request))(conn, request)
    scripted.reset()
    scripted.play(script)


@pytest.mark.parametrize("is_stream", [False, True])
def test_signed_thinking_stays_with_its_maker(makers, scripted, is_stream):
    first_fails(scripted)
    body = {"model": "other", "max_tokens": 50, "stream": is_stream, "messages": SIGNED, "of_tomorrow": 1}
    r = makers.post("/v1/messages", body)
    assert r.status_code == 200, r.text
    assert r.headers["x-sluice-dropped"] == "reasoning"
    to_a, to_b = [q for q in scripted.requests if q.path.endswith("/messages")]
    assert to_a.path.startswith("/a/") and to_a.json["messages"] == SIGNED
    assert to_b.path.startswith("/b/") and "SIG" not in json.dumps(to_b.json) and "HIDDEN" not in json.dumps(to_b.json)
    kept = to_b.json["messages"][1]["content"]
    assert kept == [{"type": "text", "text": "a", "cache_control": {"type": "ephemeral"}}]
    assert to_b.json["of_tomorrow"] == 1 and to_b.json["stream" if is_stream else "max_tokens"] and to_b.json["model"] == "mb"


def test_another_account_of_the_vendor_gets_it_as_it_is(makers, scripted):
    first_fails(scripted)
    r = makers.post("/v1/messages", {"model": "same", "max_tokens": 50, "messages": SIGNED})
    assert r.status_code == 200 and "x-sluice-dropped" not in r.headers
    assert scripted.last.path.startswith("/c/") and scripted.last.json["messages"] == SIGNED


@pytest.mark.parametrize("status", [404, 405, 501])
def test_tokens_are_estimated_where_there_is_no_such_call(makers, scripted, status):
    body = {"model": "plain/m", "messages": [{"role": "user", "content": "How many?"}]}
    scripted.reset()
    scripted.play(http(200, '{"input_tokens":17}'))
    r = makers.post("/v1/messages/count_tokens", body)
    assert r.json() == {"input_tokens": 17} and "x-sluice-estimated" not in r.headers
    assert scripted.last.path == "/p/v1/messages/count_tokens"
    scripted.reset()
    scripted.play(http(status, '{"detail":"Not Found"}'))
    for _ in range(8):  # it is no fault that a breaker would count
        r = makers.post("/v1/messages/count_tokens", body)
        assert r.status_code == 200 and r.headers["x-sluice-estimated"] == "true" and r.json()["input_tokens"] > 5
    scripted.reset()
    assert makers.post("/v1/messages", {"model": "plain/m", "max_tokens": 5, "messages": body["messages"]}).status_code == 200
    scripted.play(http(400, '{"type":"error","error":{"type":"invalid_request_error","message":"no"}}'))
    assert makers.post("/v1/messages/count_tokens", body).status_code == 400


VECTOR = '{"object":"list","data":[{"object":"embedding","index":0,"embedding":[0.5]}],"model":"x","usage":{"prompt_tokens":2,"total_tokens":2}}'
PICTURE = {"inlineData": {"mimeType": "image/png", "data": "AA=="}}


@pytest.mark.parametrize("parts,at", [([{"text": "x"}, PICTURE], 1), ([PICTURE], 0)])
def test_pictures_are_not_embedded_as_nothing(makers, scripted, parts, at):
    scripted.reset()
    scripted.play(http(200, VECTOR))
    for path, body in ((":embedContent", {"content": {"parts": parts}}), (":batchEmbedContents", {"requests": [{"content": {"parts": parts}}]})):
        r = makers.post("/v1beta/models/chat%2Fm" + path, body)
        assert r.status_code == 400 and "content.parts[%d]" % at in r.json()["error"]["message"], r.text
    assert not scripted.requests


def test_what_embeddings_lose_is_named(makers, scripted):
    scripted.reset()
    scripted.play(http(200, VECTOR))
    cases = [("/v1beta/models/chat%2Fm:embedContent", {"content": {"parts": [{"text": "x"}]}, "taskType": "RETRIEVAL_QUERY", "title": "t", "outputDimensionality": 3},
              "taskType, title"),
             ("/api/embed", {"model": "chat/m", "input": "x", "truncate": False, "keep_alive": "5m", "options": {"num_ctx": 9}, "dimensions": 3},
              "keep_alive, options, truncate"),
             ("/api/embed", {"model": "chat/m", "input": "x", "truncate": True, "dimensions": 3}, None)]
    for path, body, names in cases:
        r = makers.post(path, body)
        assert r.status_code == 200, r.text
        assert r.headers.get("x-sluice-dropped") == names and scripted.last.json["dimensions"] == 3
