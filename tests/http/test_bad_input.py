"""Bad requests get the right status in the caller's own envelope, naming the field; nothing hangs and nothing leaks."""
import gzip
import json

import pytest
from conftest import basic_config
from formats import FORMATS
from formats.common import HELLO, Ask, dump

clients = pytest.mark.parametrize("client", FORMATS)
STATUS = {400: "INVALID_ARGUMENT", 401: "UNAUTHENTICATED", 403: "PERMISSION_DENIED", 404: "NOT_FOUND"}
TYPES = {400: "invalid_request_error", 401: "authentication_error", 404: "not_found_error"}


def refuse(sluice, client, status, body, ask=None, **options):
    """Posts bytes or an object, expects a refusal, returns the problem."""
    f, ask = FORMATS[client], ask or Ask(model="to-" + client)
    r = sluice.post(f.path(ask), body, **options)
    assert r.status_code == status, r.text
    assert r.headers["content-type"].startswith("application/json")
    assert r.headers["x-request-id"]
    problem = f.read_error(status, r.content)
    if client == "google":
        assert problem.type == STATUS[status]
    if client == "anthropic":
        assert problem.type == TYPES[status]
    assert sluice.get("/healthz", auth=False).status_code == 200
    return problem


BROKEN = {
    "empty": b"",
    "blank": b"  \n",
    "word": b"hello",
    "cut": b'{"model":"to-chat","messages":[{"role":"user","content":"x',
    "cut-in-escape": b'{"model":"\\u00',
    "two-values": b'{"model":"to-chat"} {"model":"to-chat"}',
    "trailing": b'{"model":"to-chat","messages":[]}]',
    "comment": b'{"model":"to-chat" /* x */}',
    "comma": b'{"model":"to-chat",}',
    "single-quotes": b"{'model':'to-chat'}",
    "array": b'[{"model":"to-chat"}]',
    "null": b"null",
    "number": b"17",
    "string": b'"to-chat"',
    "nan": b'{"model":"to-chat","temperature":NaN}',
    "control-character": b'{"model":"to-chat","x":"a\nb"}',
    "latin-1": '{"model":"to-chat","x":"é"}'.encode("latin-1"),
    "overlong-utf-8": b'{"model":"to-chat","x":"\xc0\xaf"}',
    "surrogate-utf-8": b'{"model":"to-chat","x":"\xed\xa0\x80"}',
    "utf-16": '{"model":"to-chat"}'.encode("utf-16"),
    "nul": b'{"model":"to-chat"}\0',
    "deep-arrays": b'{"model":"to-chat","x":' + b"[" * 100000 + b"]" * 100000 + b"}",
    "deep-objects": b'{"model":"to-chat","x":' + b'{"a":' * 50000 + b"1" + b"}" * 50000 + b"}",
    "open-deep": b"[" * 200000,
}


@clients
@pytest.mark.parametrize("what", BROKEN)
def test_broken_json(sluice, upstream, client, what):
    refuse(sluice, client, 400, BROKEN[what])
    assert not upstream.requests


WRONG = {
    "chat": [({"messages": "x"}, "messages"), ({"messages": 5}, "messages"), ({"model": 5}, "model"),
             ({"model": ["a"]}, "model"), ({"messages": [5]}, "messages"),
             ({"messages": [{"role": "user", "content": 5}]}, "content"),
             ({"messages": [{"role": "wizard", "content": "x"}]}, "role"),
             ({"messages": [{"content": "x"}]}, "role"), ({"tools": {"a": 1}}, "tools"),
             ({"max_tokens": "many"}, "max_tokens"),
             ({"max_tokens": -5}, "max_tokens"), ({"max_tokens": 1.5}, "max_tokens"), ({"stream": "yes"}, "stream"),
             ({"temperature": "hot"}, "temperature"), ({"stop": 5}, "stop"), ({"n": 0}, "n"), ({"stream_options": 5}, "stream_options"),
             ({"logit_bias": [5]}, "logit_bias"), ({"modalities": "text"}, "modalities"), ({"audio": "loud"}, "audio")],
    "responses": [({"input": 5}, "input"), ({"input": [5]}, "input"), ({"model": None}, "model"),
                  ({"tools": "x"}, "tools"), ({"max_output_tokens": "x"}, "max_output_tokens"),
                  ({"input": [{"role": "user", "content": 5}]}, "content"), ({"instructions": 5}, "instructions"),
                  ({"text": "json"}, "text"), ({"include": "x"}, "include")],
    "anthropic": [({"messages": "x"}, "messages"), ({"messages": [5]}, "messages"), ({"model": {}}, "model"),
                  ({"messages": [{"role": "user", "content": 5}]}, "content"),
                  ({"messages": [{"role": "wizard", "content": "x"}]}, "role"), ({"system": 5}, "system"),
                  ({"max_tokens": "x"}, "max_tokens"), ({"tools": 5}, "tools"), ({"stop_sequences": "x"}, "stop_sequences"),
                  ({"messages": [{"role": "user", "content": [{"type": "image"}]}]}, "source"), ({"metadata": "x"}, "metadata"),
                  ({"messages": [{"role": "user", "content": [{"type": "tool_use", "id": "a", "name": "f", "input": {}}]}]}, "content"),
                  ({"output_config": []}, "output_config")],
    "google": [({"contents": 5}, "contents"), ({"contents": [5]}, "contents"),
               ({"contents": [{"role": "user", "parts": 5}]}, "parts"), ({"generationConfig": 5}, "generationConfig"),
               ({"generationConfig": {"maxOutputTokens": "x"}}, "maxOutputTokens"), ({"tools": 5}, "tools"), ({"toolConfig": []}, "toolConfig"),
               ({"safetySettings": {}}, "safetySettings")],
    "ollama": [({"messages": "x"}, "messages"), ({"messages": [5]}, "messages"), ({"options": 5}, "options"),
               ({"model": 5}, "model"), ({"options": {"num_predict": "x"}}, "num_predict"), ({"stream": 5}, "stream")],
}
CASES = [(c, n, change, field) for c, rows in WRONG.items() for n, (change, field) in enumerate(rows)]


@pytest.mark.parametrize("client,n,change,field", CASES, ids=["%s-%d-%s" % (c, n, f) for c, n, _, f in CASES])
def test_wrong_types_name_the_field(sluice, upstream, client, n, change, field):
    """Over another format, where sluice itself must understand the request."""
    up = "chat" if client != "chat" else "anthropic"
    ask = Ask(model="to-" + up)
    problem = refuse(sluice, client, 400, {**FORMATS[client].request(ask), **change}, ask)
    assert field in problem.message or field in str(problem.param)
    assert not upstream.requests


@pytest.mark.parametrize("client", [c for c in FORMATS if c != "google"])
def test_missing_model(sluice, upstream, client):
    body = FORMATS[client].request(Ask())
    del body["model"]
    problem = refuse(sluice, client, 400, body)
    assert "model" in problem.message or problem.param == "model"
    assert not upstream.requests


@clients
def test_unknown_model_names_near_ones(sluice, upstream, client):
    ask = Ask(model="to-cha")
    f = FORMATS[client]
    r = sluice.post(f.path(ask), f.request(ask))
    assert r.status_code == 404
    problem = f.read_error(404, r.content)
    assert "to-cha" in problem.message and "to-chat" in problem.message
    if client in ("chat", "responses"):
        assert (problem.type, problem.code) == ("invalid_request_error", "model_not_found")
    if client == "anthropic":
        assert problem.type == "not_found_error"
    if client == "google":
        assert problem.type == "NOT_FOUND"
    assert not upstream.requests


HEADERS = {"chat": {}, "anthropic": {"anthropic-version": "2023-06-01"}, "google": {"x-goog-api-client": "gl-python"}}


@pytest.mark.parametrize("client", HEADERS)
def test_models_are_refused_in_the_format_of_their_lists(sluice, client):
    """Whose list it would be is told by the headers; so is whose error."""
    for path in ("/v1/models", "/v1/models/to-chat"):
        r = sluice.get(path, auth=False, headers={"Authorization": "Bearer wrong", **HEADERS[client]})
        assert r.status_code == 401
        assert FORMATS[client].read_error(401, r.content).message
    r = sluice.get("/v1/models", auth=False, headers={"x-goog-api-key": "wrong"})
    assert FORMATS["google"].read_error(401, r.content).type == "UNAUTHENTICATED"
    r = sluice.get("/v1/models/to-cha", headers=HEADERS[client])
    assert r.status_code == 404
    problem = FORMATS[client].read_error(404, r.content)
    assert "'to-cha'" in problem.message and "'to-chat'" in problem.message


def test_show_names_near_models(sluice):
    r = sluice.post("/api/show", {"model": "to-olama"})
    assert r.status_code == 404
    assert "'to-ollama'" in FORMATS["ollama"].read_error(404, r.content).message


def test_near_names_are_those_that_a_key_may_use(start_sluice, scripted):
    config = basic_config(scripted.origin)
    config["server"]["api_keys"].append({"id": "0a1b2c3e", "key": "sk-narrow-0123456789", "label": "narrow", "allowed_models": ["to-cha*"]})
    config["models"]["ta-chat"] = "echo"
    s = start_sluice(config)
    narrow = {"Authorization": "Bearer sk-narrow-0123456789"}
    for client, f in FORMATS.items():
        ask = Ask(model="to-cha")
        r = s.call("POST", f.path(ask), f.request(ask), auth=False, headers=narrow)
        message = f.read_error(404, r.content).message
        assert "'to-chat'" in message and "ta-chat" not in message, client
    assert "to-chat" in s.get("/v1/models/to-cha", auth=False, headers=narrow).text
    assert "to-ollama" not in s.get("/v1/models/to-olama", auth=False, headers=narrow).text


PLACES = [("/v1/messages", "anthropic"), ("/v1/messages/count_tokens", "anthropic"), ("/anthropic/v1/messages", "anthropic"),
          ("/anthropic/nothing", "anthropic"), ("/v1beta/models/x:generateContent", "google"), ("/genai/v1beta/nothing", "google"),
          ("/genai/nothing", "google"), ("/api/chat", "ollama"), ("/v1/chat/completions", "chat"), ("/api/v1/nothing", "chat")]


@pytest.mark.parametrize("path,client", PLACES)
def test_refusals_of_ill_heads_are_in_the_format_of_their_path(sluice, path, client):
    for status, request in (
            (414, "POST %s?%s HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n" % (path, "a" * 70000)),
            (431, "POST %s HTTP/1.1\r\nHost: x\r\nX: %s\r\nConnection: close\r\n\r\n" % (path, "a" * 200000)),
            (400, "POST %s HTTP/1.1\r\nConnection: close\r\n\r\n" % path),
            (400, "POST %s HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n" % path)):
        answer = sluice.raw(request.encode())
        head, _, body = answer.partition(b"\r\n\r\n")
        got = int(head.split(b" ")[1])
        assert got == status, head
        assert FORMATS[client].read_error(got, body).message


@pytest.mark.parametrize("path,client", [p for p in PLACES if p[0].endswith("/nothing")])
def test_paths_that_nobody_serves(sluice, path, client):
    r = sluice.post(path, {})
    assert r.status_code == 404
    assert path in FORMATS[client].read_error(404, r.content).message


@pytest.mark.parametrize("model", ["", " ", "../etc/passwd", "a" * 5000, "to-chat\n", "to-chat\u0000", "🙂", "%2e%2e/x",
                                   "to-chat?key=1", "<script>alert(1)</script>"])
def test_odd_model_names(sluice, upstream, model):
    r = sluice.post("/v1/chat/completions", {"model": model, "messages": [{"role": "user", "content": "x"}]})
    assert r.status_code in (400, 404), r.text
    FORMATS["chat"].read_error(r.status_code, r.content)
    assert len(r.content) < 3000
    assert not upstream.requests


@clients
@pytest.mark.parametrize("streaming", [False, True])
def test_wrong_key(sluice, upstream, client, streaming):
    f, ask = FORMATS[client], Ask(model="to-" + client, stream=streaming)
    for headers in ({}, {"Authorization": "Bearer wrong"}, {"Authorization": "Basic eDp5"}, {"x-api-key": ""},
                    {"x-goog-api-key": "x" * 4000}, {"Authorization": "Bearer " + sluice.key[:-1]},
                    {"Authorization": "Bearer " + sluice.key + "0"}):
        r = sluice.post(f.path(ask), f.request(ask), auth=False, headers=headers)
        assert r.status_code == 401, (headers, r.text)
        problem = f.read_error(401, r.content)
        assert sluice.key not in r.text
        if client in ("chat", "responses"):
            assert problem.code == "invalid_api_key"
        elif client == "anthropic":
            assert problem.type == "authentication_error"
        elif client == "google":
            assert problem.type == "UNAUTHENTICATED"
    assert not upstream.requests


@clients
def test_body_beyond_the_limit(start_sluice, scripted, upstream, client):
    config = basic_config(scripted.origin)
    config["server"]["max_body_bytes"] = 65536
    s = start_sluice(config)
    f, ask = FORMATS[client], Ask(model="to-chat", messages=[("user", "x" * 70000)])
    r = s.post(f.path(ask), f.request(ask))
    assert r.status_code == 413
    f.read_error(413, r.content)
    # a body that does not say its length beforehand, and one that grows only when it is unpacked
    body = dump(f.request(ask)).encode()
    r = s.http.post(f.path(ask), content=iter([body[:1000], body[1000:]]), headers={
        **s.auth(), "content-type": "application/json"})
    assert r.status_code == 413
    bomb = gzip.compress(b'{"model":"to-chat","x":"' + b"a" * (64 << 20) + b'"}')
    assert len(bomb) < 65536 + 5000
    r = s.post(f.path(ask), bomb[:65000] if len(bomb) > 65536 else bomb, headers={"content-encoding": "gzip"})
    assert r.status_code in (400, 413)
    assert not upstream.requests


@pytest.mark.parametrize("encoding,body", [("gzip", b"not gzip"), ("gzip", gzip.compress(b'{"model":"to-chat"}')[:-6]),
                                           ("br", b"\x00\x01"), ("rot13", b"{}"), ("deflate", b"xx")],
                         ids=["not-gzip", "cut-gzip", "br", "unknown", "deflate"])
def test_bad_content_encoding(sluice, encoding, body):
    r = sluice.post("/v1/chat/completions", body, headers={"content-encoding": encoding})
    assert r.status_code in (400, 415)
    FORMATS["chat"].read_error(r.status_code, r.content)


def test_a_large_conversation_passes(sluice, upstream):
    """Eight megabytes of messages are data, not an attack."""
    f = FORMATS["chat"]
    messages = [("user" if n % 2 == 0 else "assistant", "é" * 2000) for n in range(2001)]
    for up in ("chat", "anthropic"):
        r = sluice.post("/v1/chat/completions", f.request(Ask(model="to-" + up, messages=messages)))
        assert r.status_code == 200, r.text[:300]
        assert f.read(r.content).text == HELLO


def test_numbers_and_nulls_are_tolerated(sluice, upstream):
    """1e3 and 512.0 are integers, null is absent, a BOM is skipped."""
    body = '\ufeff{"model":"to-anthropic","max_tokens":1e3,"temperature":null,"stream":null,"tools":null,"top_p":1.0,' \
           '"messages":[{"role":"user","content":"x","name":null}]}'
    r = sluice.post("/v1/chat/completions", body.encode())
    assert r.status_code == 200, r.text
    assert upstream.last.json["max_tokens"] == 1000


def test_unsupported_parameters_are_refused_by_name(sluice, upstream):
    """What cannot be answered honestly in the target is a 400 that names the field, not silence."""
    r = sluice.post("/v1/chat/completions", {"model": "to-anthropic", "n": 2,
                                             "messages": [{"role": "user", "content": "x"}]})
    assert r.status_code == 400
    assert r.json()["error"]["param"] == "n" and r.json()["error"]["code"] == "unsupported_parameter"
    assert not upstream.requests


def test_dropped_parameters_are_named(sluice, upstream):
    """What the target has no word for is dropped, and said."""
    r = sluice.post("/v1/chat/completions", {"model": "to-anthropic", "logit_bias": {"1": 2}, "seed": 4,
                                             "messages": [{"role": "user", "content": "x"}]})
    assert r.status_code == 200, r.text
    dropped = r.headers["x-sluice-dropped"]
    assert "logit_bias" in dropped and "seed" in dropped
    assert "logit_bias" not in upstream.last.json


def test_only_system_messages_to_anthropic(sluice, upstream):
    r = sluice.post("/v1/chat/completions", {"model": "to-anthropic", "messages": [{"role": "system", "content": "x"}]})
    assert r.status_code == 400
    assert "user" in r.json()["error"]["message"]
    assert not upstream.requests


def test_error_messages_are_valid_json_whatever_was_sent(sluice):
    """Names that come back in messages are quoted, shortened and clean."""
    for model in ('x"y\\z', "\x7f\x1b[31m", "a" * 100000, "\ud800"):
        body = json.dumps({"model": model, "messages": []}).encode("utf-8", "surrogatepass")
        r = sluice.post("/v1/chat/completions", body)
        assert r.status_code in (400, 404)
        assert json.loads(r.content.decode("utf-8"))["error"]["message"]
        assert len(r.content) < 5000
