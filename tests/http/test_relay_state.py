"""What a request leaves behind and holds: memory, stored responses, configurations that change under it."""
import asyncio
import concurrent.futures
import gzip
import json
import signal
import threading

import pytest
from conftest import basic_config
from formats import FORMATS
from formats.common import HELLO, Ask, Turn
from gateway import Sluice, read_all, read_answer, wait_for
from upstream import answer, chunk, head, held_stream, http, stream

CHAT = "/v1/chat/completions"
FRAMES = FORMATS["chat"].events(Turn(text=HELLO))
SSE = "text/event-stream"
OTHER = "sk-other-0123456789abcdef0123456789abcdef"


def chat_body(size=0, model="to-chat", streaming=False):
    return {"model": model, "stream": streaming, "messages": [{"role": "user", "content": "x" * size + "Hi"}]}


def head_of(s, path=CHAT, headers=()):
    lines = ["POST %s HTTP/1.1" % path, "Host: x", "Authorization: Bearer " + s.key, "Content-Type: application/json", *headers]
    return ("\r\n".join(lines) + "\r\n\r\n").encode()


# Memory

@pytest.mark.parametrize("end", ["all", "leaves"])
def test_upstream_answers_while_the_body_is_on_its_way(sluice, upstream, end):
    """The stream's head is out before the request is: the request must stay until it is sent, or nobody wants it."""

    async def script(conn, request):
        conn.send(head(200, [("Content-Type", SSE), ("Transfer-Encoding", "chunked")]) + chunk(FRAMES[0]))
        if end == "leaves":
            await conn.until_read()
            conn.reset()
            return
        await asyncio.sleep(0.2)
        await conn.read_body(request)
        assert len(request.body) > 20_000_000 and request.json["messages"][0]["content"].endswith("Hi")
        conn.send(b"".join(chunk(f) for f in FRAMES[1:]) + b"0\r\n\r\n")

    script.reads_body = True
    upstream.next(script)
    with sluice.stream(CHAT, chat_body(20_000_000, streaming=True)) as r:
        data = r.read()
    assert r.status_code == 200
    assert (b"[DONE]" in data) == (end == "all")
    assert sluice.post(CHAT, chat_body()).status_code == 200


def limited(origin, **server):
    config = basic_config(origin)
    config["server"].update({"max_memory_bytes": 1 << 20, **server})
    return config


def test_chunked_bodies_count_as_they_come(start_sluice, scripted, upstream):
    """Their length is not known before: what has come is what is held."""
    s = start_sluice(limited(scripted.origin, max_memory_bytes=4 << 20), arguments=("--threads", "1"))
    piece = b"80000\r\n" + b" " * 0x80000 + b"\r\n"
    first = s.connect()
    first.sendall(head_of(s, headers=["Transfer-Encoding: chunked"]) + piece * 3)
    second = s.connect()
    second.sendall(head_of(s, headers=["Transfer-Encoding: chunked"]) + piece * 7)
    status, headers, body = read_answer(second)
    assert status == 503 and headers["retry-after"] == "1"
    FORMATS["chat"].read_error(503, body)
    second.close()
    assert s.post(CHAT, chat_body()).status_code in (200, 503)
    first.close()
    wait_for(lambda: s.post(CHAT, chat_body()).status_code == 200, "the bodies are let go")


def test_what_is_read_from_a_body_counts(start_sluice, scripted, upstream):
    """A body of many small parts holds a multiple of its length once it is read for another format."""
    body = {"model": "to-anthropic", "max_tokens": 5, "messages": [{"role": "user", "content": [{"type": "text", "text": "x"}] * 20_000}]}
    assert len(json.dumps(body)) < 1 << 20
    tight = start_sluice(limited(scripted.origin, max_memory_bytes=2 << 20), arguments=("--threads", "1"))
    r = tight.post(CHAT, body)
    assert r.status_code == 503 and r.headers["retry-after"] == "1", r.text
    assert FORMATS["chat"].read_error(503, r.content).code == "memory_limit" and not upstream.requests
    assert tight.post(CHAT, chat_body()).status_code == 200
    ample = start_sluice(limited(scripted.origin, max_memory_bytes=64 << 20), arguments=("--threads", "1"))
    assert ample.post(CHAT, body).status_code == 200


def test_replies_count_as_they_come(start_sluice, scripted, upstream):
    s = start_sluice(limited(scripted.origin, max_memory_bytes=2 << 20), arguments=("--threads", "1"))
    sent, gate = threading.Event(), threading.Event()

    async def half(conn, request):
        conn.send(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 4000000\r\n\r\n" + b" " * 3_000_000)
        await conn.drain()
        sent.set()
        while not gate.is_set() and not conn.lost.is_set():
            await asyncio.sleep(0.005)
        conn.finish()

    upstream.next(half)
    waiting = threading.Thread(target=s.post, args=(CHAT, chat_body()))
    waiting.start()
    try:
        assert sent.wait(30)
        wait_for(lambda: s.post(CHAT, chat_body()).status_code == 503, "the reply that is held fills the ceiling")
    finally:
        gate.set()
        waiting.join()
    wait_for(lambda: s.post(CHAT, chat_body()).status_code == 200, "it is let go")


def test_an_announced_length_does_not_fill_the_ceiling(start_sluice, scripted, upstream):
    s = start_sluice(limited(scripted.origin), arguments=("--threads", "1"))
    with s.connect() as greedy:
        greedy.sendall(head_of(s, headers=["Content-Length: 9000000000000000000", "Expect: 100-continue"]))
        assert read_answer(greedy)[0] == 413
        assert s.post(CHAT, chat_body()).status_code == 200


def test_streams_do_not_hold_what_they_have_sent(start_sluice, scripted, upstream):
    """Four passed streams with large requests, all open: none of them is counted any more."""
    s = start_sluice(limited(scripted.origin), arguments=("--threads", "1"))
    gate = threading.Event()
    upstream.play(held_stream(FRAMES[:2], gate, FRAMES[2:], SSE))
    open_ones = []
    try:
        for _ in range(4):
            c = s.stream(CHAT, chat_body(600_000, streaming=True))
            r = c.__enter__()
            open_ones.append(c)
            assert r.status_code == 200, r.read()
    finally:
        gate.set()
        for c in open_ones:
            c.__exit__(None, None, None)


@pytest.mark.parametrize("framing", ["length", "chunked"])
def test_a_large_body_is_refused(start_sluice, scripted, upstream, framing):
    s = start_sluice(limited(scripted.origin, max_body_bytes=100_000))
    body = json.dumps(chat_body(200_000)).encode()
    pieces = (body[i : i + 5000] for i in range(0, len(body), 5000))
    r = s.post(CHAT, body) if framing == "length" else s.http.post(CHAT, content=pieces, headers={
        **s.auth(), "Content-Type": "application/json"})
    assert r.status_code == 413
    FORMATS["chat"].read_error(413, r.content)
    assert not upstream.requests


def test_a_bomb_is_refused(start_sluice, scripted, upstream):
    s = start_sluice(limited(scripted.origin, max_body_bytes=1_000_000))
    bomb = gzip.compress(json.dumps(chat_body(50_000_000)).encode())
    assert len(bomb) < 100_000
    r = s.post(CHAT, bomb, headers={"Content-Encoding": "gzip"})
    assert r.status_code == 413
    FORMATS["chat"].read_error(413, r.content)
    fine = gzip.compress(json.dumps(chat_body(10_000)).encode())
    assert s.post(CHAT, fine, headers={"Content-Encoding": "gzip"}).status_code == 200
    assert upstream.last.json["messages"][0]["content"] == "x" * 10_000 + "Hi"
    assert s.post(CHAT, fine[:-9], headers={"Content-Encoding": "gzip"}).status_code == 400
    plain = json.dumps(chat_body(20_000)).encode()
    assert s.post(CHAT, gzip.compress(plain[:500]) + gzip.compress(plain[500:]), headers={"Content-Encoding": "gzip"}).status_code == 200
    assert upstream.last.json["messages"][0]["content"] == "x" * 20_000 + "Hi"


# Long requests take time in proportion: by the square these would outlast the limit of a test

CALLS = 60_000
LONG = {
    "systems": {"messages": [{"role": "system", "content": "s"}] * 300_000 + [{"role": "user", "content": "Hi"}]},
    "calls": {"messages": [
        {"role": "user", "content": "Hi"},
        {"role": "assistant", "content": None, "tool_calls": [
            {"id": "c%d" % i, "type": "function", "function": {"name": "f", "arguments": "{}"}} for i in range(CALLS)]},
        *({"role": "tool", "tool_call_id": "c%d" % i, "content": "r"} for i in reversed(range(CALLS)))]},
    "same ids": {"messages": [
        {"role": "user", "content": "Hi"},
        {"role": "assistant", "content": None, "tool_calls": [
            {"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}] * CALLS},
        *({"role": "tool", "tool_call_id": "c", "content": "r"} for _ in range(CALLS))]},
    "required": {"messages": [{"role": "user", "content": "Hi"}], "tools": [{"type": "function", "function": {
        "name": "f", "parameters": {"type": "object", "properties": {"p%d" % i: {"type": "string"} for i in range(200_000)},
                                    "required": ["p%d" % i for i in range(200_000)]}}}]},
}


@pytest.fixture(scope="module")
def patient(scripted, calls, tmp_path_factory):
    """While it works on one of them it looks at no connection."""
    config = basic_config(scripted.origin)
    config["server"].update(connect_timeout_ms=200_000)
    s = Sluice(tmp_path_factory.mktemp("patient"), config, calls)
    s.http.timeout = 250
    yield s
    s.stop()


@pytest.mark.parametrize("up", ["anthropic", "google"])  # they need the most rearranging
@pytest.mark.parametrize("what", LONG)
def test_long_requests(patient, upstream, what, up):
    r = patient.post(CHAT, {"model": "to-" + up, **LONG[what]})
    assert r.status_code == 200, r.text
    seen = FORMATS[up].understand(upstream.last) if what == "systems" else None
    if seen:
        assert seen.messages[-1] == ("user", "Hi")


# The built-in upstream is nobody's lever

@pytest.mark.parametrize("text", [" a" * 4_000_000, "[[tool f {}]]" * 400_000, "[[chunks 99999999]]" + "b" * 2_000_000,
                                  "[[" * 2_000_000, "[[x]]]]" * 500_000], ids=["words", "tools", "chunks", "open", "closed"])
def test_echo_bears_large_texts(sluice, text):
    body = {"model": "echo", "stream": True, "messages": [{"role": "user", "content": text}]}
    r = sluice.post(CHAT, body)
    assert r.status_code == 200 and r.content.endswith(b"data: [DONE]\n\n")
    assert r.content.count(b"\n\n") < 25_000


def test_echo_ranks_many_documents(sluice):
    documents = ["document %d" % (i % 977) for i in range(200_000)]
    r = sluice.post("/v1/rerank", {"model": "echo", "query": "document 976" + " q" * 100_000, "documents": documents, "top_n": 3})
    assert r.status_code == 200
    scores = [x["relevance_score"] for x in r.json()["results"]]
    assert len(scores) == 3 and scores == sorted(scores, reverse=True) and scores[0] > 0


def test_echo_embeds_only_what_it_may_answer(start_sluice, scripted):
    s = start_sluice(limited(scripted.origin, max_reply_bytes=100_000))
    r = s.post("/v1/embeddings", {"model": "echo", "input": ["a"] * 2000, "dimensions": 4096})
    assert r.status_code == 413
    FORMATS["chat"].read_error(413, r.content)


# Stored responses

def two_keys(origin):
    config = basic_config(origin)
    config["server"]["api_keys"].append({"id": "11223344", "key": OTHER, "label": "other"})
    config["providers"]["native"] = {"type": "openai", "api_key": "upstream-secret-native", "base_url": origin + "/v1"}
    config["models"]["to-native"] = {"provider": "native", "upstream_model": "native-model"}
    return config


@pytest.mark.parametrize("model", ["to-anthropic", "to-native"])
def test_responses_belong_to_their_key(start_sluice, scripted, upstream, model):
    s = start_sluice(two_keys(scripted.origin))
    other = {"Authorization": "Bearer " + OTHER}
    made = s.post("/v1/responses", {"model": model, "input": "A secret", "store": True})
    assert made.status_code == 200, made.text
    rid = made.json()["id"]
    seen = len(upstream.requests)
    for method, path in (("GET", ""), ("GET", "/input_items"), ("DELETE", "")):
        r = s.call(method, "/v1/responses/" + rid + path, headers=other)
        assert r.status_code == 404
    r = s.post("/v1/responses", {"model": model, "input": "What was it?", "previous_response_id": rid}, headers=other)
    assert r.status_code == 400 and r.json()["error"]["param"] == "previous_response_id"
    assert len(upstream.requests) == seen, "another key's conversation reached the upstream"
    if model == "to-anthropic":
        assert s.get("/v1/responses/" + rid).status_code == 200
    r = s.post("/v1/responses", {"model": model, "input": "What was it?", "previous_response_id": rid})
    assert r.status_code == 200, r.text


def reply_of_chat(text):
    return http(200, json.dumps({"id": "chatcmpl-7", "object": "chat.completion", "created": 1700000000, "model": "m",
                                 "choices": [{"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"}]}))


def said(r):
    return r.json()["output"][0]["content"][0]["text"]


def test_two_answers_that_an_upstream_gives_one_id_are_two(start_sluice, scripted, upstream):
    """Of one key and of two, whole and streamed; nor does a request id that two clients chose make one of them."""
    s = start_sluice(two_keys(scripted.origin))
    other = {"Authorization": "Bearer " + OTHER}

    def ask(text, **more):
        upstream.next(reply_of_chat(text))
        r = s.post("/v1/responses", {"model": "to-chat", "input": "x"}, **more)
        assert r.status_code == 200 and r.json()["id"].startswith("resp_chatcmpl-7_"), r.text
        return r.json()["id"]
    first, second, third = ask("one"), ask("two"), ask("three", headers=other)
    assert len({first, second, third}) == 3
    assert [said(s.get("/v1/responses/" + i)) for i in (first, second)] == ["one", "two"]
    assert said(s.get("/v1/responses/" + third, headers=other)) == "three"
    for i in (first, second):
        assert s.get("/v1/responses/" + i, headers=other).status_code == 404
    assert s.post("/v1/responses", {"model": "to-chat", "input": "on", "previous_response_id": first}).status_code == 200
    assert ("assistant", "one") in FORMATS["chat"].understand(upstream.last).messages
    upstream.next(reply_of_chat("four"))
    unkept = s.post("/v1/responses", {"model": "to-chat", "input": "x", "store": False})
    assert unkept.json()["id"] == "resp_chatcmpl-7" and s.get("/v1/responses/resp_chatcmpl-7").status_code == 404
    with s.stream("/v1/responses", {"model": "to-chat", "input": "x", "stream": True}) as r:
        events = [json.loads(line[6:]) for line in r.read().decode().split("\n") if line.startswith("data: {")]
    ids = {e["response"]["id"] for e in events if "response" in e}
    assert len(ids) == 1 and s.get("/v1/responses/" + ids.pop()).status_code == 200
    mine = {"x-request-id": "trace-abc"}
    echoed = [s.post("/v1/responses", {"model": "echo", "input": "mine"}, headers={**s.auth(), **mine}).json()["id"],
              s.post("/v1/responses", {"model": "echo", "input": "theirs"}, headers={**other, **mine}).json()["id"]]
    assert echoed[0] != echoed[1]
    assert s.get("/v1/responses/" + echoed[0]).status_code == 200
    assert s.get("/v1/responses/" + echoed[1], headers=other).status_code == 200


def keeping(origin):
    config = two_keys(origin)
    config["providers"]["same"] = {"type": "openai-responses", "api_key": "upstream-secret-same", "base_url": origin + "/v1"}
    config["models"]["to-same"] = {"provider": "same", "upstream_model": "same-model"}
    return config


def test_nobody_takes_a_response_by_its_id(start_sluice, scripted, upstream):
    """What passes as it came keeps the upstream's id: the first one's stays, also once the store alone knows it."""
    config = keeping(scripted.origin)
    s = start_sluice(config)
    other = {"Authorization": "Bearer " + OTHER}

    def ask(text, **more):
        reply = FORMATS["responses"].reply(Turn(text=text), "same-model")
        upstream.next(http(200, json.dumps({**reply, "id": "resp_same"})))
        r = s.post("/v1/responses", {"model": "to-same", "input": "x"}, **more)
        assert r.status_code == 200 and r.json()["id"] == "resp_same", r.text

    def mine_stays():
        assert said(s.get("/v1/responses/resp_same")) == "mine"
        assert s.get("/v1/responses/resp_same", headers=other).status_code == 404
    ask("mine")
    ask("theirs", headers=other)
    mine_stays()
    s.stop()
    s = Sluice(s.folder, config)
    try:
        ask("theirs", headers=other)
        wait_for(lambda: s.get("/v1/responses/resp_same").status_code == 200, "the store says whose it is")
        mine_stays()
    finally:
        s.stop()


def test_thoughts_of_another_upstream_are_left_out(start_sluice, scripted, upstream):
    """A conversation that goes on elsewhere in the same format: nobody there knows what was thought, and items of that kind are refused."""
    s = start_sluice(keeping(scripted.origin))
    upstream.next(answer(FORMATS["anthropic"], Turn(text=HELLO, reasoning="Let me think.")))
    first = s.post("/v1/responses", {"model": "to-anthropic", "input": "x", "reasoning": {"effort": "low"}}).json()
    assert [o["type"] for o in first["output"]] == ["reasoning", "message"]
    upstream.next(answer(FORMATS["responses"], Turn(text="On.", reasoning="Here too.")))
    r = s.post("/v1/responses", {"model": "to-same", "input": "on", "previous_response_id": first["id"]})
    assert r.status_code == 200 and r.headers["x-sluice-dropped"] == "reasoning", (r.text, r.headers)
    assert [i.get("type", "message") for i in upstream.last.json["input"]] == ["message"] * 3
    upstream.next(answer(FORMATS["responses"], Turn(text="End.")))
    r = s.post("/v1/responses", {"model": "to-same", "input": "on", "previous_response_id": r.json()["id"]})
    assert r.status_code == 200 and "x-sluice-dropped" not in r.headers
    assert "reasoning" in [i.get("type") for i in upstream.last.json["input"]]  # its own it may read again


def test_deleted_at_once_and_for_good(start_sluice, scripted, upstream):
    """On any connection and loop, while the store's writer may still be behind; and after a restart."""
    config = basic_config(scripted.origin)
    s = start_sluice(config, arguments=("--threads", "4"))

    def make_and_delete(n):
        rid = s.post("/v1/responses", {"model": "to-anthropic", "input": "n%d" % n, "store": True}).json()["id"]
        assert s.call("DELETE", "/v1/responses/" + rid).status_code == 200
        return rid, [s.get("/v1/responses/" + rid).status_code for _ in range(5)]

    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        deleted = list(pool.map(make_and_delete, range(40)))
    assert {status for _, found in deleted for status in found} == {404}
    kept = s.post("/v1/responses", {"model": "to-anthropic", "input": "stay", "store": True}).json()
    s.stop()
    again = type(s)(s.folder, config)
    try:
        for rid, _ in deleted:
            assert again.get("/v1/responses/" + rid).status_code == 404
        assert again.get("/v1/responses/" + kept["id"]).json() == kept
        more = again.post("/v1/responses", {"model": "to-anthropic", "input": "on", "previous_response_id": kept["id"]})
        assert more.status_code == 200, more.text
        assert FORMATS["anthropic"].understand(upstream.last).messages[0] == ("user", "stay")
    finally:
        again.stop()


def test_stored_responses_outlive_the_name_of_their_provider(start_sluice, scripted, upstream):
    """What a vendor keeps stays with its account, whatever that is called, and goes to nobody who takes the name."""
    config = two_keys(scripted.origin)
    config["server"]["api_keys"].append({"id": "ad000000", "key": "sk-admin-0123456789abcdef", "scopes": ["admin"]})
    s = start_sluice(config)
    admin = {"Authorization": "Bearer sk-admin-0123456789abcdef"}
    rid = s.post("/v1/responses", {"model": "to-native", "input": "A secret", "store": True}).json()["id"]
    assert s.call("PATCH", "/sluice/v1/providers/native", {"name": "mine"}, headers=admin).status_code == 200
    other = {"name": "native", "type": "openai", "api_key": "upstream-secret-other", "base_url": scripted.origin + "/v1"}
    assert s.post("/sluice/v1/providers", other, headers=admin).status_code == 201

    def asked_with(status=200):
        before = len(upstream.requests)
        upstream.next(http(200, '{"id":"%s","object":"response","status":"completed","output":[]}' % rid))
        assert s.get("/v1/responses/" + rid).status_code == status
        return [r.header("authorization") for r in upstream.requests[before:]]
    assert asked_with() == ["Bearer upstream-secret-native"]
    r = s.post("/v1/responses", {"model": "to-native", "input": "What was it?", "previous_response_id": rid})
    assert r.status_code == 200, r.text
    assert s.call("DELETE", "/sluice/v1/providers/mine?cascade=true", headers=admin).status_code == 204
    assert asked_with(404) == []


def test_expired_ones_are_gone(start_sluice, scripted, upstream):
    config = basic_config(scripted.origin)
    config["server"]["response_ttl_ms"] = 2000
    s = start_sluice(config)
    kept = s.post("/v1/responses", {"model": "to-anthropic", "input": "stay", "store": True}).json()
    wait_for(lambda: s.get("/v1/responses/" + kept["id"]).status_code == 404, "it expires")


@pytest.mark.parametrize("status", [302, 401, 403])
def test_what_the_upstream_says_of_our_key_stays_here(start_sluice, scripted, upstream, status):
    s = start_sluice(two_keys(scripted.origin))
    rid = s.post("/v1/responses", {"model": "to-native", "input": "x", "store": True}).json()["id"]
    upstream.next(http(status, '{"error":{"message":"Incorrect API key provided: upstream-secret","type":"x"}}'))
    r = s.get("/v1/responses/" + rid)
    assert r.status_code == 502 and "upstream-secret" not in r.text
    FORMATS["responses"].read_error(502, r.content)


# Configurations change

def test_reload_drops_nothing(start_sluice, scripted, upstream):
    """Streams and requests under way end well; a key that was taken away opens nothing new."""
    config = two_keys(scripted.origin)
    s = start_sluice(config, arguments=("--threads", "2"))
    gate = threading.Event()
    upstream.play(held_stream(FRAMES[:2], gate, FRAMES[2:], SSE))
    other = {"Authorization": "Bearer " + OTHER}
    with concurrent.futures.ThreadPoolExecutor(12) as pool:
        def one(n):
            return s.post(CHAT, chat_body(streaming=True), headers=other if n % 2 else None)
        running = [pool.submit(one, n) for n in range(12)]
        upstream.wait(12)
        config["server"]["api_keys"].pop()
        config["models"] = {"echo": "echo", "renamed": config["models"]["to-chat"]}
        for _ in range(5):
            s.write_config(config)
            s.process.send_signal(signal.SIGHUP)
        wait_for(lambda: s.get("/v1/models", headers=other).status_code == 401, "the key stops working")
        wait_for(lambda: s.post(CHAT, {**chat_body(), "model": "to-chat"}).status_code == 404, "the model is gone")
        gate.set()
        for r in (f.result() for f in running):
            assert r.status_code == 200 and r.content.endswith(b"data: [DONE]\n\n")
    upstream.play(None)
    assert s.post(CHAT, chat_body(model="renamed")).status_code == 200


def test_a_bad_configuration_changes_nothing(start_sluice, scripted, upstream):
    s = start_sluice(basic_config(scripted.origin))
    s.config_path.write_text('{"providers": {"x": ')
    s.process.send_signal(signal.SIGHUP)
    wait_for(lambda: "config.refused" in s.output(), "the new file is refused")
    assert s.post(CHAT, chat_body()).status_code == 200


# HTTP around it

@pytest.mark.parametrize("path", ["/v1/models", "/v1/models/to-chat", "/v1beta/models", "/api/tags", "/api/version",
                                  "/healthz", "/openapi.json", "/docs"])
def test_head_is_get_without_a_body(sluice, path):
    got = sluice.get(path)
    asked = sluice.call("HEAD", path)
    assert asked.status_code == got.status_code == 200 and asked.content == b""
    assert asked.headers["content-type"] == got.headers["content-type"]
    assert asked.headers.get("content-length") == got.headers.get("content-length")


def test_head_does_not_infer(sluice, upstream):
    r = sluice.call("HEAD", CHAT)
    assert r.status_code == 405 and "POST" in r.headers["allow"] and not upstream.requests


def test_names_cannot_make_headers(start_sluice, scripted, upstream):
    """The names of upstreams, dropped fields and ids come from outside: none of them starts a line of its own."""
    config = basic_config(scripted.origin)
    config["models"]["evil\r\nx-evil: 1"] = config["models"]["to-anthropic"]
    s = start_sluice(config)
    body = {**chat_body(model="evil\r\nx-evil: 1"), "logit_bias\r\nx-evil: 1": {}, "logit_bias": {"1": 1}, "seed": 1}
    r = s.post(CHAT, body, headers={"x-request-id": "abcdefgh\tx"})
    assert "x-evil" not in r.headers and r.headers["x-request-id"].startswith("req_")
    data = s.raw(head_of(s, headers=["Content-Length: 2", "x-request-id: aaaa\x0bbbbbb", "Connection: close"]) + b"{}")
    assert b"\x0b" not in data.partition(b"\r\n\r\n")[0]


def test_a_stopped_gateway_leaves_nothing(start_sluice, scripted, upstream):
    """Stopped with lookups, streams and forms under way: no leak, no hang, status 0 (the fixture looks)."""
    config = basic_config(scripted.origin)
    config["server"]["drain_timeout_ms"] = 200
    s = start_sluice(config, arguments=("--threads", "2"))
    gate = threading.Event()
    upstream.play(held_stream(FRAMES[:1], gate, FRAMES[1:], SSE))
    sockets = []
    for n in range(12):
        c = s.connect()
        sockets.append(c)
        body = json.dumps(chat_body(streaming=True)).encode()
        if n % 3 == 0:
            body = json.dumps({"model": "to-anthropic", "input": "x", "previous_response_id": "resp_%d" % n}).encode()
            c.sendall(head_of(s, "/v1/responses", ["Content-Length: %d" % len(body)]) + body)
        elif n % 3 == 1:
            c.sendall(head_of(s, CHAT, ["Content-Length: %d" % len(body)]) + body)
        else:
            c.sendall(head_of(s, CHAT, ["Content-Length: %d" % len(body)]) + body[:-1])
    upstream.wait(4)
    s.stop()
    gate.set()
    for c in sockets:
        read_all(c)
        c.close()
