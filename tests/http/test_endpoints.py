"""Every endpoint of the data plane once: relayed with the model resolved, answered as its documents say."""
import json

import pytest
from conftest import basic_config
from formats import FORMATS
from formats.common import HELLO, Ask, Turn, dump, sse_events
from formats.responses import SKELETON
from upstream import answer, http, stream

USER = [{"role": "user", "content": "Hi"}]
PLAIN = Turn(text=HELLO)


# Echo: no account anywhere

@pytest.mark.parametrize("client", FORMATS)
@pytest.mark.parametrize("streaming", [False, True])
def test_echo_answers_in_every_format(sluice, client, streaming):
    f, ask = FORMATS[client], Ask(model="echo", messages=[("user", "Say é 🙂 back")], stream=streaming)
    r = sluice.post(f.path(ask), f.request(ask))
    assert r.status_code == 200, r.text
    turn = (f.read_stream if streaming else f.read)(r.content)
    assert "Say é 🙂 back" in turn.text and turn.finish == "stop"
    again = sluice.post(f.path(ask), f.request(ask))
    assert (f.read_stream if streaming else f.read)(again.content).text == turn.text


def test_directives_of_echo(sluice):
    def ask(text, **more):
        return sluice.post("/v1/chat/completions", {"model": "echo", "messages": [{"role": "user", "content": text}], **more})

    message = ask('Hi [[reasoning why not]] there [[tool f {"a":[[1],[2]]}]][[tool g]] [[chunks 2]]').json()["choices"][0]
    assert message["message"]["content"] == "Hi  there" and message["message"]["reasoning_content"] == "why not"
    assert [(c["function"]["name"], json.loads(c["function"]["arguments"])) for c in message["message"]["tool_calls"]] == [
        ("f", {"a": [[1], [2]]}), ("g", {})]
    assert message["finish_reason"] == "tool_calls"
    broken = ask("x [[tool f {not json}]] y").json()["choices"][0]["message"]
    assert broken["content"] == "x  y" and broken["tool_calls"][0]["function"]["arguments"] == "{not json}"
    assert ask("[[refuse No]]").json()["choices"][0]["message"]["refusal"] == "No"
    assert ask("a [[length]]").json()["choices"][0]["finish_reason"] == "length"
    assert ask("[[error 429 slow down]]").status_code == 429
    assert ask("open [[ and ]] closed").json()["choices"][0]["message"]["content"] == "open  closed"
    cut = ask("a b c d [[break]]", stream=True).text
    assert '"error"' in cut and "[DONE]" not in cut


# Path aliases

@pytest.mark.parametrize("path", ["/v1/chat/completions", "/api/v1/chat/completions", "/v1/v1/chat/completions",
                                  "/chat/completions", "/openai/v1/chat/completions", "/openai/chat/completions"])
def test_chat_aliases(sluice, upstream, path):
    r = sluice.post(path, FORMATS["chat"].request(Ask(model="to-chat")))
    assert r.status_code == 200, r.text
    assert FORMATS["chat"].read(r.content).text == HELLO
    assert upstream.last.path == "/v1/chat/completions"


@pytest.mark.parametrize("path", ["/v1/responses", "/api/v1/responses", "/v1/v1/responses", "/responses",
                                  "/codex/responses", "/codex/v1/responses", "/openai/v1/responses"])
def test_responses_aliases(sluice, upstream, path):
    r = sluice.post(path, FORMATS["responses"].request(Ask(model="to-responses")))
    assert r.status_code == 200, r.text
    assert FORMATS["responses"].read(r.content).text == HELLO


@pytest.mark.parametrize("path", ["/v1/messages", "/api/v1/messages", "/v1/v1/messages", "/anthropic/v1/messages",
                                  "/v1/messages?beta=true"])
def test_messages_aliases(sluice, upstream, path):
    r = sluice.post(path, FORMATS["anthropic"].request(Ask(model="to-anthropic")))
    assert r.status_code == 200, r.text
    assert FORMATS["anthropic"].read(r.content).text == HELLO


@pytest.mark.parametrize("path", ["/v1beta/models/to-google:generateContent", "/v1/models/to-google:generateContent",
                                  "/api/v1beta/models/to-google:generateContent",
                                  "/genai/v1beta/models/to-google:generateContent",
                                  "/v1beta/models/models/to-google:generateContent",
                                  "/v1beta/models/to%2Dgoogle:generateContent"])
def test_google_aliases(sluice, upstream, path):
    r = sluice.post(path, FORMATS["google"].request(Ask()))
    assert r.status_code == 200, r.text
    assert FORMATS["google"].read(r.content).text == HELLO
    assert upstream.last.path == "/v1beta/models/google-model:generateContent"


@pytest.mark.parametrize("path", ["/api/chat", "/v1/api/chat", "/api/v1/api/chat"])
def test_ollama_aliases(sluice, upstream, path):
    r = sluice.post(path, FORMATS["ollama"].request(Ask(model="to-ollama")))
    assert r.status_code == 200, r.text
    assert FORMATS["ollama"].read(r.content).text == HELLO


def test_google_model_with_a_slash(start_sluice, scripted, upstream):
    config = basic_config(scripted.origin)
    config["models"]["team/model"] = {"provider": "google", "upstream_model": "g"}
    s = start_sluice(config)
    r = s.post("/v1beta/models/team/model:generateContent", FORMATS["google"].request(Ask()))
    assert r.status_code == 200, r.text
    assert upstream.last.path == "/v1beta/models/g:generateContent"


@pytest.mark.parametrize("prefix", ["/v1beta/models/", "/v1/models/", "/genai/v1beta/models/"])
def test_google_verbs_on_every_mount(sluice, upstream, prefix):
    f, body = FORMATS["google"], FORMATS["google"].request(Ask())
    r = sluice.post(prefix + "to-google:streamGenerateContent?alt=sse", body)
    assert f.read_stream(r.content).text == HELLO
    upstream.play(http(200, '{"totalTokens":9}'))
    assert sluice.post(prefix + "to-google:countTokens", {"contents": body["contents"]}).json() == {"totalTokens": 9}
    upstream.play(http(200, '{"embedding":{"values":[0.5]}}'))
    r = sluice.post(prefix + "to-google:embedContent", {"content": {"parts": [{"text": "Hi"}]}})
    assert r.json() == {"embedding": {"values": [0.5]}}
    assert upstream.last.path == "/v1beta/models/google-model:embedContent"


def test_mounts_of_lists_and_counts(sluice, upstream):
    upstream.play(http(200, '{"input_tokens":17}'))
    r = sluice.post("/anthropic/v1/messages/count_tokens", {"model": "to-anthropic", "messages": USER})
    assert r.json() == {"input_tokens": 17}
    models = sluice.get("/anthropic/v1/models", headers={"anthropic-version": "2023-06-01"}).json()
    assert "to-chat" in {m["id"] for m in models["data"]}
    assert "models/to-chat" in {m["name"] for m in sluice.get("/genai/v1beta/models").json()["models"]}


@pytest.mark.parametrize("method,path,body,answered", [
    ("POST", "/api/v1/messages/count_tokens", {"model": "to-anthropic", "messages": USER}, '{"input_tokens":17}'),
    ("POST", "/api/v1/completions", {"model": "to-anthropic", "prompt": "Hi"}, None), ("GET", "/api/v1beta/models", None, None)])
def test_more_of_the_prefix_api(sluice, upstream, method, path, body, answered):
    upstream.play(http(200, answered) if answered else answer(FORMATS["anthropic"], PLAIN))
    r = sluice.call(method, path, body)
    assert r.status_code == 200, r.text
    assert {"/api/v1/messages/count_tokens": lambda: r.json() == {"input_tokens": 17},
            "/api/v1/completions": lambda: r.json()["choices"][0]["text"] == HELLO and r.json()["object"] == "text_completion",
            "/api/v1beta/models": lambda: "models/to-chat" in {m["name"] for m in r.json()["models"]}}[path]()


# Ollama's defaults and generate

def test_ollama_streams_by_default(sluice, upstream):
    upstream.play(answer(FORMATS["chat"], PLAIN))
    r = sluice.post("/api/chat", {"model": "to-chat", "messages": USER})
    assert r.headers["content-type"].startswith("application/x-ndjson")
    assert FORMATS["ollama"].read_stream(r.content).text == HELLO


@pytest.mark.parametrize("up", [u for u in FORMATS if u != "ollama"])
def test_ollama_generate(sluice, upstream, up):
    upstream.play(answer(FORMATS[up], PLAIN))
    r = sluice.post("/api/generate", {"model": "to-" + up, "prompt": "Hi", "system": "Be brief", "stream": False})
    assert r.status_code == 200, r.text
    got = r.json()
    assert got["response"] == HELLO and got["done"] is True and got["done_reason"] == "stop"
    ask = FORMATS[up].understand(upstream.last)
    assert ask.messages == [("system", "Be brief"), ("user", "Hi")]
    lines = [json.loads(line) for line in sluice.post("/api/generate", {"model": "to-" + up, "prompt": "Hi"}).text.splitlines()]
    assert "".join(line["response"] for line in lines) == HELLO
    assert [line["done"] for line in lines].count(True) == 1 and lines[-1]["done"]


@pytest.mark.parametrize("path,body", [("/api/chat", {}), ("/api/chat", {"messages": []}), ("/api/generate", {}), ("/api/generate", {"prompt": ""})])
@pytest.mark.parametrize("streaming", [False, True])
def test_loading_a_model(sluice, upstream, path, body, streaming):
    """A request that says nothing loads the model: a matter of Ollama alone, elsewhere models are at hand."""
    for up in [f for f in FORMATS if f != "ollama"] + ["echo"]:
        for keep, reason in ((None, "load"), ("5m", "load"), (0, "unload"), ("0s", "unload")):
            more = {} if keep is None else {"keep_alive": keep}
            model = up if up == "echo" else "to-" + up
            r = sluice.post(path, {"model": model, "stream": streaming, **body, **more})
            assert r.status_code == 200, r.text
            assert r.headers["content-type"].startswith("application/x-ndjson" if streaming else "application/json")
            line = json.loads(r.text)  # one, also of a stream
            assert (line["done"], line["done_reason"]) == (True, reason) and line["created_at"]
            assert (line["response"] if path == "/api/generate" else line["message"]["content"]) == ""
    assert not upstream.requests
    upstream.play(http(body=dump({"model": "m", "created_at": "2026-01-01T00:00:00Z", "done": True, "done_reason": "load",
                                  "message": {"role": "assistant", "content": ""}})))
    assert sluice.post(path, {"model": "to-ollama", "stream": False, **body}).json()["done_reason"] == "load"
    assert upstream.last.path == path and upstream.last.json["model"] == "ollama-model"
    assert sluice.post(path, {"model": "nosuch", "stream": False, **body}).status_code == 404


# Legacy completions

@pytest.mark.parametrize("up", ["anthropic", "google", "ollama", "responses"])
def test_completions_over_other_formats(sluice, upstream, up):
    upstream.play(answer(FORMATS[up], PLAIN))
    r = sluice.post("/v1/completions", {"model": "to-" + up, "prompt": "Hi", "max_tokens": 99})
    assert r.status_code == 200, r.text
    assert r.json()["object"] == "text_completion"
    assert r.json()["choices"][0]["text"] == HELLO and r.json()["choices"][0]["finish_reason"] == "stop"
    ask = FORMATS[up].understand(upstream.last)
    assert ask.messages == [("user", "Hi")] and ask.max_tokens == 99


def test_completions_pass_through(sluice, upstream):
    body = '{"id":"cmpl-1","object":"text_completion","created":1,"model":"x","choices":[{"text":"hi","index":0,' \
           '"logprobs":null,"finish_reason":"stop"}],"usage":{"prompt_tokens":1,"completion_tokens":1,"total_tokens":2}}'
    upstream.play(http(200, body))
    r = sluice.post("/v1/completions", {"model": "to-chat", "prompt": ["a", "b"], "echo": True})
    assert r.text == body
    assert upstream.last.path == "/v1/completions"
    assert upstream.last.json == {"model": "chat-model", "prompt": ["a", "b"], "echo": True}


# The relayed OpenAI endpoints

RELAYED = {
    "/v1/embeddings": {"input": "Hi", "dimensions": 3},
    "/v1/images/generations": {"prompt": "a cat", "n": 1, "size": "256x256"},
    "/v1/audio/speech": {"input": "Hi", "voice": "alloy"},
    "/v1/moderations": {"input": ["Hi"]},
    "/v1/rerank": {"query": "q", "documents": ["a", "b"], "top_n": 1},
}


@pytest.mark.parametrize("path", RELAYED)
@pytest.mark.parametrize("prefix", ["", "/api", "/openai"])
def test_relayed(sluice, upstream, path, prefix):
    body = '{"object":"list", "odd" : 1.0,"data":[]}'
    upstream.play(http(200, body))
    r = sluice.post(prefix + path, {"model": "to-chat", **RELAYED[path], "unknown": {"kept": True}})
    assert r.status_code == 200, r.text
    assert r.text == body
    assert upstream.last.path == path
    assert upstream.last.json == {"model": "chat-model", **RELAYED[path], "unknown": {"kept": True}}


@pytest.mark.parametrize("path", RELAYED)
def test_relayed_errors(sluice, upstream, path):
    upstream.play(http(400, dump(FORMATS["chat"].error(400, "not like this"))))
    r = sluice.post(path, {"model": "to-chat", **RELAYED[path]})
    assert r.status_code == 400 and r.json()["error"]["message"] == "not like this"
    r = sluice.post(path, {"model": "nothing", **RELAYED[path]})
    assert r.status_code == 404 and r.json()["error"]["code"] == "model_not_found"
    r = sluice.post(path, RELAYED[path])
    assert r.status_code in (400, 404) and r.json()["error"]["message"]
    assert sluice.post(path, b"{", ).status_code == 400
    assert sluice.post(path, {"model": "to-chat"}, auth=False).status_code == 401


def test_an_upstream_without_the_endpoint(sluice, upstream):
    """A provider that has no such thing is said to have none; nothing is asked of it."""
    r = sluice.post("/v1/images/generations", {"model": "to-anthropic", "prompt": "a cat"})
    assert r.status_code in (400, 404, 501), r.text
    assert r.json()["error"]["message"]
    assert not upstream.requests


def test_speech_is_bytes(sluice, upstream):
    sound = bytes(range(256)) * 400
    upstream.play(http(200, sound, "audio/mpeg"))
    r = sluice.post("/v1/audio/speech", {"model": "to-chat", "input": "Hi", "voice": "alloy"})
    assert r.content == sound and r.headers["content-type"] == "audio/mpeg"


@pytest.mark.parametrize("path", ["/v1/audio/transcriptions", "/v1/audio/translations", "/v1/images/edits"])
@pytest.mark.parametrize("order", ["model-first", "model-last"])
def test_multipart(sluice, upstream, path, order):
    """The form goes on with the model's part edited, whatever the order, and the file's bytes untouched."""
    sound = bytes(range(256)) * 2000
    boundary = b"----WebKitFormBoundaryX7"
    model = b'Content-Disposition: form-data; name="model"\r\n\r\nto-chat'
    file = b'Content-Disposition: form-data; name="file"; filename="a \xc3\xa9.mp3"\r\nContent-Type: audio/mpeg\r\n\r\n' + sound
    other = b'Content-Disposition: form-data; name="language"\r\n\r\nde'
    parts = [model, other, file] if order == "model-first" else [other, file, model]
    body = b"".join(b"--" + boundary + b"\r\n" + p + b"\r\n" for p in parts) + b"--" + boundary + b"--\r\n"
    upstream.play(http(200, '{"text":"said"}'))
    r = sluice.post(path, body, headers={"Content-Type": "multipart/form-data; boundary=" + boundary.decode()})
    assert r.status_code == 200, r.text
    assert r.json() == {"text": "said"}
    assert upstream.last.path == path
    assert upstream.last.header("content-type") == "multipart/form-data; boundary=" + boundary.decode()
    assert upstream.last.body == body.replace(b"\r\n\r\nto-chat", b"\r\n\r\nchat-model")


def test_large_upload_is_streamed(sluice, upstream):
    """Forty megabytes go through without forty megabytes of memory."""
    def memory():
        with open("/proc/%d/status" % sluice.process.pid) as f:
            return next(int(line.split()[1]) for line in f if line.startswith("VmRSS"))

    data = bytes(1 << 20)
    boundary = "b0undary"
    start = ('--%s\r\nContent-Disposition: form-data; name="model"\r\n\r\nto-chat\r\n--%s\r\nContent-Disposition: '
             'form-data; name="file"; filename="x.wav"\r\nContent-Type: audio/wav\r\n\r\n' % (boundary, boundary)).encode()
    seen = []

    def body():
        yield start
        for _ in range(40):
            seen.append(memory())
            yield data
        yield ("\r\n--%s--\r\n" % boundary).encode()

    before = memory()
    upstream.play(http(200, '{"text":"said"}'))
    r = sluice.http.post("/v1/audio/transcriptions", content=body(), headers={
        **sluice.auth(), "Content-Type": "multipart/form-data; boundary=" + boundary})
    assert r.status_code == 200, r.text
    assert len(upstream.last.body) > 40 << 20
    assert max(seen) - before < 20 << 10, "kB of growth"


# Lists of models

def test_models_for_openai(sluice):
    r = sluice.get("/v1/models").json()
    assert r["object"] == "list"
    by_id = {m["id"]: m for m in r["data"]}
    assert set(by_id) >= {"to-" + n for n in FORMATS} | {"echo"}
    assert by_id["to-chat"]["object"] == "model" and isinstance(by_id["to-chat"]["created"], int)
    assert by_id["to-chat"]["owned_by"]
    assert [m["id"] for m in r["data"]] == sorted(by_id)


def test_models_for_anthropic(sluice):
    headers = {"anthropic-version": "2023-06-01", "x-api-key": sluice.key}
    r = sluice.get("/v1/models", auth=False, headers=headers).json()
    assert set(r) >= {"data", "has_more", "first_id", "last_id"}
    m = next(m for m in r["data"] if m["id"] == "to-chat")
    assert m["type"] == "model" and m["display_name"] and m["created_at"].endswith("Z")
    one = sluice.get("/v1/models/to-chat", auth=False, headers=headers).json()
    assert one["id"] == "to-chat" and one["type"] == "model"


@pytest.mark.parametrize("path", ["/v1beta/models", "/v1/models"])
def test_models_for_google(sluice, path):
    r = sluice.get(path, auth=False, headers={"x-goog-api-key": sluice.key}).json()
    m = next(m for m in r["models"] if m["name"] == "models/to-chat")
    assert {"generateContent", "streamGenerateContent"} <= set(m["supportedGenerationMethods"])
    one = sluice.get(path + "/to-chat", auth=False, headers={"x-goog-api-key": sluice.key}).json()
    assert one["name"] == "models/to-chat"


def test_models_for_ollama(sluice):
    r = sluice.get("/api/tags").json()
    m = next(m for m in r["models"] if m["name"] == "to-chat")
    assert m["model"] == "to-chat" and m["modified_at"] and isinstance(m["details"], dict)
    shown = sluice.post("/api/show", {"model": "to-chat"})
    assert shown.status_code == 200 and isinstance(shown.json()["details"], dict)
    assert sluice.post("/api/show", {"model": "nothing"}).status_code == 404


@pytest.mark.parametrize("path", ["/models", "/api/v1/models", "/v1/v1/models", "/openai/v1/models", "/api/v1"])
def test_model_list_aliases(sluice, path):
    assert "to-chat" in {m["id"] for m in sluice.get(path).json()["data"]}


def test_one_model(sluice):
    r = sluice.get("/v1/models/to-chat")
    assert r.json()["id"] == "to-chat" and r.json()["object"] == "model"
    r = sluice.get("/v1/models/nothing")
    assert r.status_code == 404 and r.json()["error"]["code"] == "model_not_found"


# Stored responses

def test_responses_are_stored_and_read_back(sluice, upstream):
    """Also over an upstream that keeps nothing: create, retrieve, its input, go on from it, delete."""
    upstream.play(answer(FORMATS["anthropic"], PLAIN))
    first = sluice.post("/v1/responses", {"model": "to-anthropic", "input": "My name is Ada", "store": True}).json()
    got = sluice.get("/v1/responses/" + first["id"])
    assert got.status_code == 200 and got.json() == first
    items = sluice.get("/v1/responses/%s/input_items" % first["id"]).json()
    assert items["object"] == "list"
    assert items["data"][0]["content"][0]["text"] == "My name is Ada"
    for query, param in (("limit=0", "limit"), ("limit=101", "limit"), ("limit=x", "limit"), ("order=up", "order")):
        r = sluice.get("/v1/responses/%s/input_items?%s" % (first["id"], query))
        assert (r.status_code, r.json()["error"]["param"]) == (400, param), query
    again = sluice.post("/v1/responses", {"model": "to-anthropic", "input": "And what is it?",
                                          "previous_response_id": first["id"]})
    assert again.status_code == 200, again.text
    assert again.json()["previous_response_id"] == first["id"]
    assert FORMATS["anthropic"].understand(upstream.last).messages == [
        ("user", "My name is Ada"), ("assistant", HELLO), ("user", "And what is it?")]
    gone = sluice.call("DELETE", "/v1/responses/" + first["id"])
    assert gone.status_code == 200 and gone.json()["deleted"] is True
    assert sluice.get("/v1/responses/" + first["id"]).status_code == 404
    after = sluice.post("/v1/responses", {"model": "to-anthropic", "input": "x", "previous_response_id": first["id"]})
    assert after.status_code in (400, 404)
    assert after.json()["error"]["param"] == "previous_response_id"


def test_streamed_responses_are_stored_too(sluice, upstream):
    upstream.play(answer(FORMATS["chat"], PLAIN))
    r = sluice.post("/v1/responses", {"model": "to-chat", "input": "Hi", "store": True, "stream": True})
    turn = FORMATS["responses"].read_stream(r.content)
    assert sluice.get("/v1/responses/" + turn.id).json()["output"][0]["content"][0]["text"] == HELLO


SAID = {"reasoning": {"type": "reasoning", "id": "rs_1", "summary": [{"type": "summary_text", "text": "first"}, {"type": "summary_text", "text": "then"}]},
        "text": {"type": "message", "id": "msg_1", "status": "completed", "role": "assistant", "phase": "final", "content": [
            {"type": "output_text", "text": "é \"quoted\" \n", "annotations": [], "logprobs": []}, {"type": "output_text", "text": "more", "annotations": [
                {"type": "url_citation", "url": "https://a.example", "title": "A", "start_index": 0, "end_index": 4}], "logprobs": []}]},
        "call": {"type": "function_call", "id": "fc_1", "call_id": "call_1", "name": "f", "arguments": '{"a": 1}', "status": "completed"},
        "hosted": {"type": "web_search_call", "id": "ws_1", "status": "completed", "action": {"type": "search", "query": "x"}}}


@pytest.mark.parametrize("status", ["completed", "incomplete", "failed"])
def test_a_stored_response_is_told_once_more_as_a_stream(start_sluice, scripted, upstream, status):
    """Whole, and from behind any event: what shows the response or an item shows it as it is stored, whatever else its upstream said of it."""
    config = basic_config(scripted.origin)
    config["providers"]["open"] = {"type": "openai-responses", "api_key": "k", "base_url": scripted.origin + "/v1"}  # keeps nothing itself
    sluice = start_sluice(config)
    whole = {"id": "resp_of_an_upstream_" + status, "object": "response", "created_at": 1700000000, "status": status, "error": None, "incomplete_details": None,
             "model": "responses-model", "output": list(SAID.values()),
             "usage": {"input_tokens": 3, "input_tokens_details": {"cached_tokens": 0}, "output_tokens": 5, "output_tokens_details": {"reasoning_tokens": 0}, "total_tokens": 8},
             "x_more": {"a": [1.50]}}
    if status != "completed":
        whole |= {"incomplete_details": {"reason": "max_output_tokens"}, "output": [SAID[k] for k in SAID if k != "hosted"]} if status == "incomplete" else {"error": {"code": "server_error", "message": "oh"}, "output": []}
    upstream.play(http(200, dump(whole)))
    assert sluice.post("/v1/responses", {"model": "open/m", "input": "Hi", "store": True}).status_code == 200
    where = "/v1/responses/" + whole["id"]
    kept = sluice.get(where).json()
    r = sluice.get(where + "?stream=true")
    assert r.status_code == 200 and r.headers["content-type"].startswith("text/event-stream")
    events = [json.loads(data) for _, data in sse_events(r.content)]
    assert [e["sequence_number"] for e in events] == list(range(len(events)))
    assert [e["type"] for e in events[:2]] == ["response.created", "response.in_progress"] and events[-1]["type"] == "response." + status
    assert events[-1]["response"] == kept
    assert events[0]["response"] == kept | {"status": "in_progress", "output": [], "usage": None, "error": None, "incomplete_details": None}
    assert [e["item"] for e in events if e["type"] == "response.output_item.done"] == kept["output"]
    texts = [e["delta"] for e in events if e["type"] == "response.output_text.delta"]
    assert texts == (["é \"quoted\" \n", "more"] if status != "failed" else [])
    if status == "incomplete":
        FORMATS["responses"].read_stream(b"".join(b"event: %s\ndata: %s\n\n" % (e["type"].encode(), dump(
            e if "response" not in e else e | {"response": {**dict.fromkeys(SKELETON), **e["response"]}}).encode()) for e in events))
    for after in (0, 3, len(events) - 1, len(events) + 5):
        r = sluice.get("%s?stream=true&starting_after=%d" % (where, after))
        assert r.status_code == 200 and [json.loads(data) for _, data in sse_events(r.content)] == events[after + 1:], after
    assert sluice.get(where + "?stream=false").json() == kept


def test_what_is_wrong_in_the_query_of_a_stored_response_is_named(sluice, upstream):
    upstream.play(answer(FORMATS["anthropic"], PLAIN))
    made = sluice.post("/v1/responses", {"model": "to-anthropic", "input": [{"role": "user", "content": str(i)} for i in range(5)]}).json()
    where = "/v1/responses/" + made["id"]
    for path, param in (("?stream=yes", "stream"), ("?stream=true&starting_after=-1", "starting_after"), ("?stream=true&starting_after=x", "starting_after"),
                        ("/input_items?after=item_of_nobody", "after")):
        r = sluice.get(where + path)
        assert (r.status_code, r.json()["error"]["param"], r.json()["error"]["type"]) == (400, param, "invalid_request_error"), path
    seen, after = [], ""
    while True:
        page = sluice.get(where + "/input_items?limit=2&order=asc" + after).json()
        seen += [i["content"] for i in page["data"]]
        if not page["has_more"]:
            break
        after = "&after=" + page["last_id"]
    assert seen == ["0", "1", "2", "3", "4"]


def test_a_stream_of_the_upstreams_own_response_passes(start_sluice, scripted, upstream):
    config = basic_config(scripted.origin)
    config["providers"]["own"] = {"type": "openai", "api_key": "k", "base_url": scripted.origin + "/v1", "wire": "openai_responses"}
    config["models"]["to-own"] = {"provider": "own", "upstream_model": "m"}
    s = start_sluice(config)
    upstream.play(answer(FORMATS["responses"], PLAIN))
    made = s.post("/v1/responses", {"model": "to-own", "input": "Hi"}).json()
    frames = [b'event: response.created\ndata: {"type":"response.created","sequence_number":4}\n\n', b"data: x\n\n"]
    upstream.play(stream(frames))
    r = s.get("/v1/responses/%s?stream=true&starting_after=3" % made["id"])
    assert r.status_code == 200 and r.content == b"".join(frames) and r.headers["content-type"].startswith("text/event-stream")
    assert upstream.last.target == "/v1/responses/%s?stream=true&starting_after=3" % made["id"]
    upstream.play(http(404, '{"error":{"message":"gone","type":"invalid_request_error","param":null,"code":null}}'))
    assert s.get("/v1/responses/%s?stream=true" % made["id"]).status_code == 404


def test_unstored_responses_are_not_kept(sluice, upstream):
    upstream.play(answer(FORMATS["google"], PLAIN))
    r = sluice.post("/v1/responses", {"model": "to-google", "input": "Hi", "store": False}).json()
    assert sluice.get("/v1/responses/" + r["id"]).status_code == 404


def test_unknown_response_ids(sluice):
    for method, path in (("GET", "/v1/responses/resp_no"), ("DELETE", "/v1/responses/resp_no"),
                         ("GET", "/v1/responses/resp_no/input_items")):
        r = sluice.call(method, path)
        assert r.status_code == 404
        FORMATS["responses"].read_error(404, r.content)


def test_stored_responses_belong_to_a_key(start_sluice, scripted, upstream):
    config = basic_config(scripted.origin)
    other = "sk-test-other-key-00000000000000000000"
    config["server"]["api_keys"].append({"id": "99999999", "key": other, "label": "other"})
    s = start_sluice(config)
    upstream.play(answer(FORMATS["chat"], PLAIN))
    r = s.post("/v1/responses", {"model": "to-chat", "input": "secret", "store": True}).json()
    for method, path in (("GET", ""), ("DELETE", ""), ("GET", "/input_items")):
        foreign = s.call(method, "/v1/responses/" + r["id"] + path, auth=False, headers=s.auth(other))
        assert foreign.status_code == 404
    assert s.get("/v1/responses/" + r["id"]).status_code == 200


def test_input_tokens(sluice, upstream):
    upstream.play(http(200, '{"object":"response.input_tokens","input_tokens":11}'))
    r = sluice.post("/v1/responses/input_tokens", {"model": "to-responses", "input": "Hi"})
    assert r.json()["input_tokens"] == 11 and upstream.last.path == "/v1/responses/input_tokens"
    r = sluice.post("/v1/responses/input_tokens", {"model": "to-anthropic", "input": "Hi " * 100})
    assert r.status_code == 200 and r.json()["input_tokens"] > 0


def test_compact(sluice, upstream):
    body = '{"id":"resp_c","object":"response.compaction","output":[]}'
    upstream.play(http(200, body))
    r = sluice.post("/v1/responses/compact", {"model": "to-responses", "input": "Hi"})
    assert r.status_code == 200 and r.text == body
    assert upstream.last.path == "/v1/responses/compact"
    upstream.reset()
    r = sluice.post("/v1/responses/compact", {"model": "to-anthropic", "input": "Hi"})
    assert r.status_code in (400, 404, 501)
    assert not upstream.requests


# Google's counting and embedding

def test_google_count_and_embed(sluice, upstream):
    upstream.play(http(200, '{"totalTokens":9}'))
    r = sluice.post("/v1beta/models/to-google:countTokens", {"contents": [{"role": "user", "parts": [{"text": "Hi"}]}]})
    assert r.json()["totalTokens"] == 9 and upstream.last.path == "/v1beta/models/google-model:countTokens"
    r = sluice.post("/v1beta/models/to-chat:countTokens", {"contents": [{"role": "user", "parts": [{"text": "Hi " * 50}]}]})
    assert r.status_code == 200 and r.json()["totalTokens"] > 0
    upstream.play(http(200, '{"embedding":{"values":[0.5]}}'))
    r = sluice.post("/v1beta/models/to-google:embedContent", {"content": {"parts": [{"text": "Hi"}]}})
    assert r.json() == {"embedding": {"values": [0.5]}}
    assert upstream.last.path == "/v1beta/models/google-model:embedContent"


def test_embedding_across_formats(sluice, upstream):
    """Google's and Ollama's embedding calls over an OpenAI upstream."""
    upstream.play(http(200, '{"object":"list","data":[{"object":"embedding","index":0,"embedding":[0.5,-1.0]}],'
                            '"model":"x","usage":{"prompt_tokens":2,"total_tokens":2}}'))
    r = sluice.post("/api/embed", {"model": "to-chat", "input": "Hi"})
    assert r.status_code == 200, r.text
    assert r.json()["embeddings"] == [[0.5, -1.0]]
    assert upstream.last.path == "/v1/embeddings"
    r = sluice.post("/v1beta/models/to-chat:embedContent", {"content": {"parts": [{"text": "Hi"}]}})
    assert r.json()["embedding"]["values"] == [0.5, -1.0]


# What describes itself

def test_openapi(sluice):
    doc = sluice.get("/openapi.json", auth=False).json()
    assert doc["openapi"].startswith("3.")
    for path, method in (("/v1/chat/completions", "post"), ("/v1/messages", "post"), ("/v1/responses", "post"),
                         ("/v1/models", "get"), ("/healthz", "get"), ("/api/chat", "post")):
        assert doc["paths"][path][method]["summary"]
    assert len(dump(doc)) > 5000


def test_docs_have_no_external_assets(sluice):
    r = sluice.get("/docs", auth=False)
    assert r.status_code == 200 and r.headers["content-type"].startswith("text/html")
    for mark in ('src="http', "src='http", 'href="http', "@import", "//cdn"):
        assert mark not in r.text


def test_version_of_ollama(sluice):
    assert sluice.get("/api/version").json()["version"]


def test_stream_headers(sluice, upstream):
    """Proxies must not hold a stream back."""
    upstream.play(stream(FORMATS["chat"].events(PLAIN), "text/event-stream"))
    r = sluice.post("/v1/chat/completions", FORMATS["chat"].request(Ask(model="to-chat", stream=True)))
    assert "no-cache" in r.headers.get("cache-control", "") or "no-store" in r.headers.get("cache-control", "")
