"""The request log: what stands in it, every filter, pages that join up, and llm-rosetta's view of it."""
import concurrent.futures
import json
import os
import random
import sqlite3
import threading
import time

import pytest
from conftest import basic_config
from formats import FORMATS
from formats.common import Call, Turn, dump, sse
from gateway import KEY, Sluice, provider, read_all, wait_for
from test_forms import SAID, send, upload
from upstream import answer, cut_stream, failure, held_stream, http

ADMIN, OTHER = "sk-admin-0123456789abcdef0123456789", "sk-other-0123456789abcdef0123456789"
CHAT, LIST = "/v1/chat/completions", "/sluice/v1/requests"


def config_with_keys(origin):
    config = basic_config(origin)
    config["server"]["api_keys"] += [
        {"id": "ad000000", "key": ADMIN, "label": "operator", "scopes": ["inference", "models", "admin"]},
        {"id": "0b000000", "key": OTHER, "label": "second"}, {"id": "0c000000", "key": "sk-nolabel-0123456789abcdef"}]
    return config


def ask(s, text="hello", key=KEY, model="echo", request_id=None, **more):
    body = {"model": model, "messages": [{"role": "user", "content": text}], **more}
    return s.post(CHAT, body, headers={**s.auth(key), **({"x-request-id": request_id} if request_id else {})})


def listed(s, **query):
    r = s.get(LIST, params=query, headers=s.auth(ADMIN))
    assert r.status_code == 200, r.text
    return r.json()


def ids(s, **query):
    return [row["id"] for row in listed(s, **query)["data"]]


@pytest.fixture(scope="module")
def logged(scripted, calls, tmp_path_factory):
    """A log with eight requests of many kinds, oldest first r-00000001 …"""
    scripted.reset()
    s = Sluice(tmp_path_factory.mktemp("requests"), config_with_keys(scripted.origin), calls)
    ask(s, request_id="r-00000001")
    ask(s, request_id="r-00000002", stream=True)
    ask(s, request_id="r-00000003", key=OTHER, model="echo/other")
    ask(s, "[[error 503 away]]", request_id="r-00000004")
    ask(s, request_id="r-00000005", model="no_such_model")
    s.post("/v1/messages", {"model": "echo", "max_tokens": 9, "messages": [{"role": "user", "content": "hi"}]},
           headers={"x-request-id": "r-00000006"})
    ask(s, request_id="r-00000007", key="sk-nolabel-0123456789abcdef")
    scripted.play(failure(FORMATS["chat"], 429, "slow down"))
    ask(s, request_id="r-00000008", model="to-chat")
    wait_for(lambda: len(ids(s)) == 8, "eight records")
    yield s
    s.stop()
    scripted.reset()


def test_rows_say_what_happened(logged):
    rows = {row["id"]: row for row in listed(logged)["data"]}
    first = rows["r-00000001"]
    assert (first["model"], first["provider"], first["status"], first["stream"], first["operation"]) == ("echo", "echo", 200, False, "chat")
    assert (first["key"], first["key_label"], first["error"], first["attempts"]) == ("0a1b2c3d", "tests", None, 1)
    assert first["output_tokens"] > 0 and first["cache_read_tokens"] is None and first["usage_quality"] == "reported"
    assert first["ended"].endswith("Z") and first["duration_us"] > 0 and first["bytes_out"] > 0
    assert rows["r-00000002"]["stream"] is True and rows["r-00000002"]["ttft_us"] > 0
    assert (rows["r-00000005"]["status"], rows["r-00000005"]["error"], rows["r-00000005"]["provider"]) == (404, "model_not_found", None)
    assert rows["r-00000006"]["client_format"] == "anthropic"
    assert (rows["r-00000008"]["status"], rows["r-00000008"]["provider"]) == (429, "chat")
    seqs = [row["seq"] for row in listed(logged)["data"]]
    assert seqs == sorted(seqs, reverse=True) and len(set(seqs)) == 8


@pytest.mark.parametrize("query,found", [
    ({}, "87654321"), ({"limit": 3}, "876"), ({"status": "ok"}, "76321"), ({"status": "error"}, "854"), ({"status": "4xx"}, "85"),
    ({"status": "503"}, "4"), ({"model": "echo"}, "764" + "21"), ({"model": "echo", "stream": "true"}, "2"), ({"stream": "false", "limit": 2}, "87"),
    ({"key": "0b000000"}, "3"), ({"key_label": "second"}, "3"), ({"key_label": "nobody"}, ""), ({"key": "none"}, ""),
    ({"provider": "chat"}, "8"), ({"format": "anthropic"}, "6"), ({"operation": "messages"}, "6"), ({"error": "model_not_found"}, "5"),
    ({"id": "r-00000004"}, "4"), ({"q": "NO_SUCH"}, "5"), ({"q": "no%such"}, ""), ({"q": "SECON"}, "3"), ({"from": "2099-01-01T00:00:00Z"}, ""),
    ({"to": "2020-01-01T00:00:00Z"}, ""), ({"from": "1"}, "87654321"),
], ids=str)
def test_filters(logged, query, found):
    assert ids(logged, **query) == ["r-0000000" + c for c in found]
    page = listed(logged, **query, total="true")
    assert page["total"] == len(found) or "limit" in query
    assert listed(logged, **query)["total"] is None


def test_pages_join_up(logged):
    for sort, cursor, expected in (("-at", "before", range(8, 0, -1)), ("at", "after", range(1, 9))):
        seen, place = [], 0
        while place is not None:
            page = listed(logged, limit=3, sort=sort, total="true", **{cursor: place})
            seen += [row["id"] for row in page["data"]]
            place = page["next"]
            assert page["total"] == 8 and page["has_more"] is (place is not None)
        assert seen == ["r-0000000%d" % n for n in expected]


@pytest.mark.parametrize("query,field", [({"limit": 0}, "limit"), ({"limit": 1001}, "limit"), ({"from": "yesterday"}, "from"), ({"status": "6xx"}, "status"),
                                         ({"stream": "maybe"}, "stream"), ({"before": -1}, "before"), ({"sort": "model"}, "sort"),
                                         ({"sort": "at", "before": 5}, "before"), ({"after": 5}, "after")], ids=str)
def test_bad_filters_are_named(logged, query, field):
    r = logged.get(LIST, params=query, headers=logged.auth(ADMIN))
    assert r.status_code == 400 and r.json()["error"]["param"] == field, r.text


def test_one_request(logged):
    r = logged.get(LIST + "/r-00000005", headers=logged.auth(ADMIN))
    assert r.status_code == 200 and r.json()["model"] == "no_such_model"
    by_seq = logged.get("%s/%d" % (LIST, r.json()["seq"]), headers=logged.auth(ADMIN)).json()
    assert by_seq == r.json()
    assert logged.get(LIST + "/r-none0000", headers=logged.auth(ADMIN)).status_code == 404


def test_only_operators_read_it(logged):
    for method, path in [("GET", LIST), ("DELETE", LIST), ("GET", LIST + "/r-00000001"), ("GET", "/admin/api/requests"),
                         ("DELETE", "/admin/api/requests"), ("GET", "/admin/api/requests/key-labels")]:
        assert logged.call(method, path).status_code == (401 if path.startswith("/admin") else 403), path
        assert logged.call(method, path, auth=False).status_code == 401, path


# llm-rosetta's view

def rosetta(s, **query):
    r = s.get("/admin/api/requests", params=query, headers={"X-Admin-Token": ADMIN}, auth=False)
    assert r.status_code == 200, r.text
    return r.json()


def test_rosetta_entries(logged):
    answer = rosetta(logged)
    assert answer["total"] == 8 and [e["id"] for e in answer["entries"]] == ["r-0000000%d" % n for n in range(8, 0, -1)]
    entry = answer["entries"][-1]
    assert set(entry) == {"id", "timestamp", "model", "source_provider", "target_provider", "is_stream", "status_code", "duration_ms", "api_key_label"}
    assert (entry["model"], entry["source_provider"], entry["target_provider"], entry["status_code"]) == ("echo", "openai_chat", "echo", 200)
    assert entry["is_stream"] is False and entry["api_key_label"] == "tests" and isinstance(entry["duration_ms"], float)
    stamp, _, offset = entry["timestamp"].partition("+")
    assert offset == "00:00" and len(stamp) == len("2025-01-01T00:00:00.123456")
    assert rosetta(logged, offset=1, limit=1)["entries"][0]["api_key_label"] == ""
    assert answer["entries"][3]["error_detail"]


@pytest.mark.parametrize("query,found,total", [
    ({"limit": 2}, "87", 8), ({"limit": 2, "offset": 3}, "54", 8), ({"offset": 7}, "1", 8), ({"offset": 99}, "", 8), ({"status": "ok"}, "76321", 5),
    ({"status": "error"}, "854", 3), ({"status": "odd"}, "87654321", 8), ({"limit": 0}, "8", 8), ({"limit": -5}, "8", 8), ({"limit": 99999}, "87654321", 8),
    ({"model": "no_such_model"}, "5", 1), ({"provider": "chat"}, "8", 1), ({"api_key_label": "second"}, "3", 1), ({"offset": -1, "limit": 1}, "8", 8),
], ids=str)
def test_rosetta_filters(logged, query, found, total):
    answer = rosetta(logged, **query)
    assert [e["id"] for e in answer["entries"]] == ["r-0000000" + c for c in found]
    assert answer["total"] == total


def test_rosetta_labels_and_bad_numbers(logged):
    r = logged.get("/admin/api/requests/key-labels", headers=logged.auth(ADMIN))
    assert sorted(r.json()["labels"]) == ["second", "tests"]
    r = logged.get("/admin/api/requests?limit=many", headers=logged.auth(ADMIN))
    assert r.status_code == 400 and set(r.json()) == {"error"}


@pytest.mark.parametrize("path", [LIST, "/admin/api/requests"])
def test_emptying(start_sluice, scripted, path):
    s = start_sluice(config_with_keys(scripted.origin))
    for _ in range(3):
        ask(s)
    r = s.call("DELETE", path, headers=s.auth(ADMIN))
    assert (r.status_code, r.text) == ((204, "") if path == LIST else (200, '{"ok":true}'))
    assert rosetta(s) == {"entries": [], "total": 0}
    assert ids(s) == []
    ask(s, request_id="r-afterwards")
    wait_for(lambda: ids(s) == ["r-afterwards"], "the next request is logged")


# Beyond the figures: attempts, what was dropped, why it failed

def one(s, request_id):
    r = wait_for(lambda: (r := s.get(LIST + "/" + request_id, headers=s.auth(ADMIN))).status_code == 200 and r, "it is logged")
    return r.json()


def test_attempts_with_reasons(start_sluice, scripted, upstream):
    config = config_with_keys(scripted.origin)
    config["providers"]["second"] = provider("chat", scripted.origin)
    config["models"]["pair"] = {"targets": [{"provider": "chat", "upstream_model": "m1"}, {"provider": "second", "upstream_model": "m2"}]}
    s = start_sluice(config)
    upstream.next(failure(FORMATS["chat"], 500, "it broke: upstream-secret-chat"), answer(FORMATS["chat"], Turn(text="fine")))
    assert ask(s, model="pair", request_id="r-attempts").status_code == 200
    row = one(s, "r-attempts")
    first, second = row["tried"]
    assert (first["provider"], first["provider_model"], first["status"], first["fault"]) == ("chat", "m1", 500, "server")
    assert first["message"] == "it broke: [redacted]"
    assert (second["provider"], second["status"], second.get("fault")) == ("second", 200, None)
    assert second["at_us"] >= first["at_us"] + first["duration_us"] and second["duration_us"] > 0
    assert (row["status"], row["attempts"], row["error"], row["error_message"]) == (200, 2, None, None)
    upstream.play(failure(FORMATS["chat"], 500, "both broke"))
    ask(s, model="pair", request_id="r-bothbroke")
    row = one(s, "r-bothbroke")
    assert [t["fault"] for t in row["tried"]] == ["server", "server"]
    assert row["status"] == 500 and "both broke" in row["error_message"]
    entry = s.get("/admin/api/requests?limit=1", headers=s.auth(ADMIN)).json()["entries"][0]
    assert entry["error_detail"] == row["error_message"]


def test_a_stream_that_breaks_off(start_sluice, scripted, upstream):
    s = start_sluice(config_with_keys(scripted.origin))
    f = FORMATS["chat"]
    upstream.play(cut_stream(f, Turn(text="hello there"), 3))
    ask(s, model="to-chat", stream=True, request_id="r-cutstream")
    row = one(s, "r-cutstream")
    assert row["error"] and row["error_message"]
    assert [t["provider"] for t in row["tried"]] == ["chat"] and row["tried"][0]["code"] == row["error"]


def test_what_was_dropped_is_listed(start_sluice, scripted, upstream):
    s = start_sluice(config_with_keys(scripted.origin))
    upstream.play(answer(FORMATS["anthropic"], Turn(text="fine")))
    r = ask(s, model="to-anthropic", request_id="r-dropped0", seed=5, logit_bias={"1": 2})
    assert r.status_code == 200, r.text
    dropped = one(s, "r-dropped0")["dropped"]
    assert dropped and dropped == r.headers["x-sluice-dropped"].split(", ")


def test_what_a_stream_loses_is_told(start_sluice, scripted, upstream):
    """What its request lost stands in the head, what it loses on its way in the log, and behind the body for who reads trailers."""
    s = start_sluice(config_with_keys(scripted.origin))
    body = FORMATS["anthropic"].reply(Turn(text="x"))
    body["content"] = [{"type": "text", "text": "So."}]
    frames = list(FORMATS["anthropic"].events(Turn(text="So.")))
    hosted = {"type": "server_tool_use", "id": "s", "name": "web_search", "input": {}}
    late = [sse(dump({"type": "content_block_start", "index": 9, "content_block": hosted}), "content_block_start"),
            sse(dump({"type": "content_block_stop", "index": 9}), "content_block_stop")]
    end = next(i for i, f in enumerate(frames) if b"message_delta" in f)

    def streamed(request_id, *more):
        body = dump({"model": "to-anthropic", "stream": True, "seed": 5, "messages": [{"role": "user", "content": "x"}]})
        head = ["POST /v1/chat/completions HTTP/1.1", "Host: x", "Authorization: Bearer " + KEY, "Content-Type: application/json",
                "X-Request-Id: " + request_id, "Connection: close", "Content-Length: %d" % len(body), *more]
        gate, answer = threading.Event(), b""
        upstream.play(held_stream(frames[:end], gate, late + frames[end:], "text/event-stream"))
        with s.connect() as c:
            c.sendall(("\r\n".join(head) + "\r\n\r\n" + body).encode())
            while b"\r\n\r\n" not in answer:
                answer += c.recv(65536)
            gate.set()  # the head is out
            answer += read_all(c)
        return answer.partition(b"\r\n\r\n")[0].decode().lower().split("\r\n"), answer

    def says_seed(head):  # and what was lost of what was read at once with the head
        return any(line.startswith("x-sluice-dropped: seed") for line in head)

    head, plain = streamed("r-streamloss1")
    assert says_seed(head) and plain.endswith(b"data: [DONE]\n\n\r\n0\r\n\r\n")
    assert one(s, "r-streamloss1")["dropped"] == ["seed", "server_tool_use"]
    head, told = streamed("r-streamloss2", "TE: gzip, trailers")
    assert says_seed(head) and "trailer: x-sluice-dropped" in head
    assert told.endswith(b"data: [DONE]\n\n\r\n0\r\nx-sluice-dropped: seed, server_tool_use\r\n\r\n")


def test_common_requests_have_nothing_more(logged, scripted):
    row = one(logged, "r-00000001")
    assert row["tried"] == row["dropped"] == [] and row["client_address"] is None and row["has_bodies"] is False
    with sqlite3.connect(logged.folder / "data" / "sluice.db") as db:
        details = db.execute("SELECT count(*) FROM usage_detail").fetchone()[0]
    assert details == 3  # of the three that failed


def test_clients_are_logged_where_asked_for(start_sluice, scripted):
    config = config_with_keys(scripted.origin)
    config["server"]["log_clients"] = True
    s = start_sluice(config)
    s.post(CHAT, {"model": "echo", "messages": [{"role": "user", "content": "x"}]}, headers={"x-request-id": "r-client00", "User-Agent": "tester/1"})
    row = one(s, "r-client00")
    assert (row["client_address"], row["user_agent"]) == ("127.0.0.1", "tester/1")


def test_behind_a_trusted_proxy_it_is_the_clients_address(start_sluice, scripted):
    config = config_with_keys(scripted.origin)
    config["server"].update(log_clients=True, trusted_proxies="127.0.0.1")
    s = start_sluice(config)
    came = threading.Event()

    async def waits(conn, request):
        came.set()
        await conn.until_gone()
    scripted.play(waits)
    http = {"x-request-id": "r-behind000", "X-Forwarded-For": "198.51.100.7", **s.auth()}
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        asked = pool.submit(s.post, CHAT, {"model": "to-chat", "messages": [{"role": "user", "content": "x"}]}, headers=http)
        assert came.wait(30)
        row, = [r for r in s.get("/sluice/v1/requests/active", headers=s.auth(ADMIN)).json()["data"] if r["upstream"]]
        assert row["address"] == "198.51.100.7", row
        assert s.call("DELETE", "/sluice/v1/requests/active/" + row["id"], headers=s.auth(ADMIN)).status_code == 204
        asked.result(30)
    scripted.reset()
    assert one(s, "r-behind000")["client_address"] == "198.51.100.7"


# Bodies

BODIES = ("client-request", "upstream-request", "upstream-response", "client-response")


def body(s, request_id, which):
    return s.get("%s/%s/bodies/%s" % (LIST, request_id, which), headers=s.auth(ADMIN))


def with_bodies(origin, what="all", **more):
    config = config_with_keys(origin)
    config["server"].update(log_bodies=what, **more)
    return config


@pytest.mark.parametrize("stream", [False, True])
def test_the_four_bodies(start_sluice, scripted, upstream, stream):
    s = start_sluice(with_bodies(scripted.origin))
    upstream.play(answer(FORMATS["anthropic"], Turn(text="the answer")))
    r = ask(s, "the question", model="to-anthropic", stream=stream, request_id="r-bodies00")
    assert r.status_code == 200
    assert one(s, "r-bodies00")["has_bodies"] is True
    got = {which: body(s, "r-bodies00", which).json() for which in BODIES}
    assert "the question" in got["client-request"]["text"] and '"messages"' in got["client-request"]["text"]
    assert "anthropic-model" in got["upstream-request"]["text"] and "the question" in got["upstream-request"]["text"]
    assert "message" in got["upstream-response"]["text"] and got["upstream-response"]["size"] > 50
    assert got["client-response"]["text"] == r.text and got["client-response"]["size"] == len(r.content)
    assert not any(b["truncated"] for b in got.values())
    assert body(s, "r-bodies00", "other").status_code == 404
    assert s.get("%s/r-bodies00/bodies/client-request" % LIST).status_code == 403


def test_what_became_of_each_value(start_sluice, scripted, upstream):
    """Kept, mapped, dropped or added, on the way up and on the way back."""
    s = start_sluice(with_bodies(scripted.origin))
    upstream.play(answer(FORMATS["anthropic"], Turn(text="the answer")))

    def way(request_id, **query):
        return s.get("%s/%s/translation" % (LIST, request_id), params=query, headers=s.auth(ADMIN))

    assert ask(s, "the question", model="to-anthropic", request_id="r-ways0000", temperature=0.25, logit_bias={"5": 7}).status_code == 200
    assert one(s, "r-ways0000")["has_bodies"] is True
    got = way("r-ways0000").json()
    fates = {v["from"] or v["to"]: (v["fate"], v["to"]) for v in got["values"]}
    assert got["dropped"] == ["logit_bias"] and fates["logit_bias.5"] == ("dropped", None)
    assert fates["model"] == ("mapped", "model") and fates["temperature"] == ("kept", "temperature") and fates["max_tokens"] == ("added", "max_tokens")
    question = next(v for v in got["values"] if v["from"] == "messages[0].content")
    assert question["fate"] in ("kept", "mapped") and question["to"].startswith("messages[0].content")
    returned = way("r-ways0000", of="response").json()["values"]
    back = {v["from"]: v["to"] for v in returned if v["fate"] == "mapped"}
    assert "choices[0].message.content" in back.values(), back
    assert back["stop_reason"] == "choices[0].finish_reason" and back["usage.input_tokens"] == "usage.prompt_tokens" and back["usage.output_tokens"] == "usage.completion_tokens"
    assert not [v for v in returned if v["fate"] == "dropped"], "nothing was said to be left out"
    assert way("r-ways0000", of="nothing").status_code == 400 and way("r-nosuch000").status_code == 404
    assert way("r-ways0000", of="response").json()["from_gathered"] is None
    assert s.get("%s/r-ways0000/translation" % LIST).status_code == 403


@pytest.mark.parametrize("name", sorted(FORMATS))
def test_a_stream_is_compared_by_what_it_comes_to(start_sluice, scripted, upstream, name):
    s = start_sluice(with_bodies(scripted.origin))

    def way(request_id):
        return s.get("%s/%s/translation" % (LIST, request_id), params={"of": "response"}, headers=s.auth(ADMIN))

    upstream.play(answer(FORMATS[name], Turn(text="the answer in pieces", calls=[Call("look_up", '{"city":"Ulm","days":[1,2]}', "call_7")], finish="tool_calls")))
    assert ask(s, "the question", model="to-" + name, request_id="r-ways0001", stream=True, tools=[{"type": "function", "function": {"name": "look_up"}}]).status_code == 200
    assert one(s, "r-ways0001")["has_bodies"] is True
    got = way("r-ways0001").json()
    assert "the answer in pieces" in json.dumps(got["from_gathered"])
    message = got["to_gathered"]["choices"][0]["message"]
    assert message["content"] == "the answer in pieces" and json.loads(message["tool_calls"][0]["function"]["arguments"]) == {"city": "Ulm", "days": [1, 2]}
    met = {v["to"]: v["fate"] for v in got["values"] if v["from"]}
    for place in ("content", "tool_calls[0].function.name", "tool_calls[0].function.arguments"):
        assert met["choices[0].message." + place] in ("kept", "mapped"), (place, got["values"])
    assert not [v for v in got["values"] if v["fate"] == "dropped"]


def test_a_stream_that_broke_off_is_not_compared(start_sluice, scripted, upstream):
    s = start_sluice(with_bodies(scripted.origin))
    turn = Turn(text="the answer in pieces")
    upstream.play(cut_stream(FORMATS["anthropic"], turn, len(b"".join(FORMATS["anthropic"].events(turn))) * 2 // 3))
    ask(s, "the question", model="to-anthropic", request_id="r-ways0002", stream=True)
    assert one(s, "r-ways0002")["has_bodies"] is True
    r = s.get("%s/r-ways0002/translation?of=response" % LIST, headers=s.auth(ADMIN))
    assert r.status_code == 404 and r.json()["error"]["code"] == "not_comparable"
    assert s.get("%s/r-ways0002/translation" % LIST, headers=s.auth(ADMIN)).status_code == 200


def test_only_errors(start_sluice, scripted, upstream):
    s = start_sluice(with_bodies(scripted.origin, "errors"))
    ask(s, request_id="r-finefine")
    ask(s, "[[error 500 no]]", request_id="r-notfine0")
    ask(s, model="nobody", request_id="r-nomodel0")
    assert "[[error" in json.loads(body_when(s, "r-notfine0", "client-request")["text"])["messages"][0]["content"]
    assert body_when(s, "r-nomodel0", "client-response")["text"].startswith('{"error"')
    assert one(s, "r-finefine")["has_bodies"] is False
    r = body(s, "r-finefine", "client-request")
    assert r.status_code == 404 and r.json()["error"]["code"] == "bodies_not_kept"


def test_one_key_may_have_it_otherwise(start_sluice, scripted, upstream):
    s = start_sluice(with_bodies(scripted.origin, "errors"))
    keys = {}
    for says in ("", "off", "errors", "all"):
        r = s.post("/sluice/v1/keys", {"label": "k-" + says, "log_bodies": says}, headers=s.auth(ADMIN))
        assert r.status_code == 201 and r.json()["log_bodies"] == says, r.text
        keys[says] = r.json()
    kept = {"": "e", "off": "", "errors": "e", "all": "se"}
    for says, key in keys.items():
        ask(s, key=key["key"], request_id="r-success-" + says)
        ask(s, "[[error 500 no]]", key=key["key"], request_id="r-errored-" + says)
        assert one(s, "r-success-" + says)["has_bodies"] is ("s" in kept[says]), says
        assert one(s, "r-errored-" + says)["has_bodies"] is ("e" in kept[says]), says
    path = "/sluice/v1/keys/" + keys["off"]["id"]
    assert s.call("PATCH", path, {"log_bodies": "all"}, headers=s.auth(ADMIN)).json()["log_bodies"] == "all"
    ask(s, key=keys["off"]["key"], request_id="r-success-now")
    assert one(s, "r-success-now")["has_bodies"] is True
    r = s.call("PATCH", path, {"log_bodies": "some"}, headers=s.auth(ADMIN))
    assert r.status_code == 400 and r.json()["error"]["param"] == "log_bodies"


def test_forms_are_kept_too(start_sluice, scripted, upstream):
    """As they came and as they went, cut like all, whether they are held or streamed."""
    s = start_sluice(with_bodies(scripted.origin, log_body_max_bytes=2000))
    for n, (order, sound) in enumerate((("before", b"la" * 100), ("after", b"la" * 100), ("before", os.urandom(2 << 20)))):
        form, name = upload(order, sound=sound), "r-aform%03d" % n
        upstream.play(SAID)
        assert send(s, form, **{"x-request-id": name}).status_code == 200
        assert one(s, name)["has_bodies"] is True
        came, went = (body(s, name, which).json() for which in ("client-request", "upstream-request"))
        assert came["size"] == len(form) and went["size"] == len(form) + 3  # another model's name
        assert came["truncated"] == went["truncated"] == (len(form) > 2000)
        if len(form) < 2000:
            assert came["text"].encode() == form and went["text"].encode() == form.replace(b"to-chat", b"chat-model")
        assert body(s, name, "upstream-response").json()["text"] == '{"text":"said"}'
        r = s.post("%s/%s/replay" % (LIST, name), {}, headers=s.auth(ADMIN))
        assert r.status_code == 409 and r.json()["error"]["code"] == "body_not_whole", r.text


def body_when(s, request_id, which):
    one(s, request_id)
    r = body(s, request_id, which)
    assert r.status_code == 200, r.text
    return r.json()


def test_bodies_without_secrets(start_sluice, scripted, upstream):
    s = start_sluice(with_bodies(scripted.origin, log_redact_fields="password,pin", log_redact_pattern="cc-[0-9]+"))
    upstream.play(http(200, '{"id":"x","choices":[{"message":{"role":"assistant","content":"upstream-secret-chat and %s"},"finish_reason":"stop"}]}' % KEY))
    ask(s, 'my {"pin":"4711"} sk-proj-0123456789abcdef cc-123', model="to-chat", request_id="r-secrets0", password="hunter2")
    kept = "".join(body_when(s, "r-secrets0", which)["text"] for which in BODIES)
    for secret in ("4711", "0123456789abcdef", "cc-123", "hunter2", "upstream-secret-chat", KEY):
        assert secret not in kept, secret
    assert kept.count("[redacted]") >= 8
    for path in (s.folder / "data" / "bodies").rglob("*"):
        assert (path.stat().st_mode & 0o777) == (0o700 if path.is_dir() else 0o600)


def test_bodies_go_by_age_and_by_size(start_sluice, scripted, tmp_path):
    """Files go whole, looked at when the first bodies of a run are written; the records stay."""
    def run(name, **server):
        s = start_sluice(with_bodies(scripted.origin, **server), arguments=("--data", str(tmp_path / "data")))
        ask(s, random.randbytes(6000).hex(), request_id=name)
        assert body_when(s, name, "client-request")["size"] > 12000
        return s

    def there(s, name):
        assert one(s, name)["id"] == name
        return body(s, name, "client-request").status_code == 200

    run("r-oldbodies").stop()
    files = [p for p in (tmp_path / "data" / "bodies").rglob("*") if p.is_file()]
    assert files
    for path in files:
        os.utime(path, (time.time() - 8 * 86400,) * 2)
    s = run("r-newbodies", log_bodies_days=9)
    assert there(s, "r-oldbodies")
    s.stop()
    s = run("r-latbodies", log_bodies_days=7)
    wait_for(lambda: not there(s, "r-oldbodies"), "what is eight days old goes")
    assert there(s, "r-newbodies") and there(s, "r-latbodies")
    s.stop()
    s = run("r-endbodies", log_bodies_max_bytes=15000)
    wait_for(lambda: not there(s, "r-newbodies"), "the oldest goes when there is too much")
    assert there(s, "r-endbodies")


def test_bodies_never_take_more_than_they_may(start_sluice, scripted):
    """Room is made before a record is written, so that its line in the log comes when the rest has gone."""
    most = 100_000
    s = start_sluice(with_bodies(scripted.origin, log_bodies_max_bytes=most, log_body_max_bytes=200_000))
    files = lambda: [p.stat().st_size for p in (s.folder / "data" / "bodies").rglob("*") if p.is_file()]  # noqa: E731
    for n in range(16):
        ask(s, random.randbytes(10_000).hex(), request_id="r-much%04d" % n)
        assert one(s, "r-much%04d" % n)["has_bodies"]
        assert sum(files()) <= most, files()
    kept = [n for n in range(16) if body(s, "r-much%04d" % n, "client-request").status_code == 200]
    assert len(kept) >= 4 and kept == list(range(16 - len(kept), 16)), kept  # the newest: an eighth of it goes at once
    ask(s, random.randbytes(180_000).hex()[:190_000], request_id="r-toomuch0")
    assert one(s, "r-toomuch0")["has_bodies"] is False and sum(files()) <= most
    assert s.call("PATCH", "/sluice/v1/settings/log_bodies_max_bytes", {"value": 30_000}, headers=s.auth(ADMIN)).status_code == 200
    wait_for(lambda: sum(files()) <= 30_000, "a lower limit holds at once")


def test_values_of_any_kind_go(start_sluice, scripted):
    s = start_sluice(with_bodies(scripted.origin, log_redact_fields="ssn,secret,date of birth,a.b,straße"))
    text = (r'{"model":"echo","messages":[{"role":"user","content":"{\"ssn\": 1234567, \"n\":1}"}],"metadata":{"ssn":123456789,"secret":["arr1",{"x":"arr2"}],'
            r'"SECRET" : {"a":"nested","b":[1]},"ssn":"escaped","date of birth":"y2000","a.b":true,"straße":"s-1","kept":"yes","ssn":null}}')
    s.post("/v1/chat/completions", text.encode(), headers={"X-Request-Id": "r-anykind0"})
    kept = json.loads(body_when(s, "r-anykind0", "client-request")["text"])
    gone = "[redacted]"
    assert json.loads(kept["messages"][0]["content"]) == {"ssn": gone, "n": 1}
    assert kept["metadata"] == {"ssn": None, "secret": gone, "SECRET": gone, "date of birth": gone, "a.b": gone, "straße": gone, "kept": "yes"}
    for secret in ("123456", "arr1", "arr2", "nested", "escaped", "y2000", "s-1"):
        assert secret not in json.dumps(kept), secret


def test_long_bodies_are_cut(start_sluice, scripted):
    s = start_sluice(with_bodies(scripted.origin, log_body_max_bytes=1000))
    r = ask(s, "x" * 5000, request_id="r-toolong0")
    got = body_when(s, "r-toolong0", "client-response")
    assert (got["truncated"], got["kept"], got["size"]) == (True, 1000, len(r.content)) and r.text.startswith(got["text"])


def test_bodies_go_with_the_log(start_sluice, scripted):
    s = start_sluice(with_bodies(scripted.origin))
    ask(s, request_id="r-goesaway")
    assert body_when(s, "r-goesaway", "client-request")
    files = lambda: [p for p in (s.folder / "data" / "bodies").rglob("*") if p.is_file()]  # noqa: E731
    assert files()
    assert s.call("DELETE", LIST, headers=s.auth(ADMIN)).status_code == 204
    wait_for(lambda: not files(), "the files are deleted")
    ask(s, request_id="r-comesnew")
    assert body_when(s, "r-comesnew", "client-request")


def test_a_folder_that_refuses_bodies_loses_nothing_else(start_sluice, scripted):
    s = start_sluice(with_bodies(scripted.origin))
    (s.folder / "data" / "bodies").write_text("in the way")
    for n in range(3):
        assert ask(s, request_id="r-inthewa%d" % n).status_code == 200
    for n in range(3):
        assert one(s, "r-inthewa%d" % n)["has_bodies"] is False


@pytest.mark.parametrize("name,value", [("log_bodies", "some"), ("log_redact_pattern", "(open"), ("log_redact_fields", 'a,b"c'), ("log_redact_fields", "a\\b"),
                                        ("log_redact_fields", "a\tb"), ("log_redact_fields", ",".join("f%d" % n for n in range(65)))])
def test_settings_are_checked(logged, name, value):
    r = logged.call("PATCH", "/sluice/v1/settings/" + name, {"value": value}, headers=logged.auth(ADMIN))
    assert r.status_code == 400 and r.json()["error"]["param"] == name, r.text


# Sending again

def replay(s, request_id, body=None):
    return s.post("%s/%s/replay" % (LIST, request_id), body, headers=s.auth(ADMIN))


def test_sending_again(start_sluice, scripted, upstream):
    s = start_sluice(with_bodies(scripted.origin))
    upstream.play(answer(FORMATS["chat"], Turn(text="from elsewhere")))
    ask(s, "say it again", request_id="r-original")
    body_when(s, "r-original", "client-request")
    r = replay(s, "r-original")
    assert r.status_code == 200, r.text
    assert r.json()["status"] == 200 and r.json()["body"]["choices"][0]["message"]["content"] == "say it again"
    again = one(s, r.json()["request_id"])
    assert (again["key"], again["model"], again["status"]) == ("internal", "echo", 200)
    other = replay(s, "r-original", {"target": "chat/some-model"}).json()
    assert other["body"]["choices"][0]["message"]["content"] == "from elsewhere"
    assert json.loads(upstream.last.body)["model"] == "some-model"
    streamed = replay(s, "r-original", {"stream": True}).json()
    assert streamed["content_type"].startswith("text/event-stream") and "data: [DONE]" in streamed["body"]
    assert replay(s, "r-original", {"target": "nobody"}).json()["status"] == 404
    assert s.post("%s/r-original/replay" % LIST).status_code == 403


def test_sending_again_in_googles_format(start_sluice, scripted):
    s = start_sluice(with_bodies(scripted.origin))
    path = "/v1beta/models/echo:generateContent"
    s.post(path, {"contents": [{"role": "user", "parts": [{"text": "bonjour"}]}]}, headers={"x-request-id": "r-google00"})
    body_when(s, "r-google00", "client-request")
    got = replay(s, "r-google00", {"target": "echo/other"}).json()
    assert got["body"]["candidates"][0]["content"]["parts"][0]["text"] == "bonjour"
    assert one(s, got["request_id"])["model"] == "echo/other"
    assert "data: {" in replay(s, "r-google00", {"stream": True}).json()["body"]


def test_what_was_redacted_is_whole_without_it(start_sluice, scripted):
    s = start_sluice(with_bodies(scripted.origin))
    ask(s, "my key is sk-abcdef0123456789abcdef0123456789abcd, keep it", request_id="r-redacted")
    kept = body_when(s, "r-redacted", "client-request")
    assert "sk-abcdef" not in kept["text"] and kept["text"].endswith("}") and kept["truncated"] is False
    assert kept["size"] == len(kept["text"])
    again = replay(s, "r-redacted")
    assert again.status_code == 200 and "my key is" in json.dumps(again.json()), again.text


def test_what_was_not_kept_cannot_be_sent_again(start_sluice, scripted, logged):
    r = replay(logged, "r-00000001")
    assert r.status_code == 409 and r.json()["error"]["code"] == "bodies_not_kept"
    assert replay(logged, "r-none0000").status_code == 404
    s = start_sluice(with_bodies(scripted.origin, log_body_max_bytes=1000))
    ask(s, "x" * 3000, request_id="r-toolong1")
    body_when(s, "r-toolong1", "client-request")
    r = replay(s, "r-toolong1")
    assert r.status_code == 409 and r.json()["error"]["code"] == "body_not_whole"


def test_limits_as_llm_rosetta_writes_them(start_sluice, scripted):
    config = config_with_keys(scripted.origin)
    config["server"]["request_log"] = {"success_max": 4, "error_max": 2}
    s = start_sluice(config)
    limits = {row["name"]: (row["value"], row["origin"]) for row in s.get("/sluice/v1/settings", headers=s.auth(ADMIN)).json()["data"]}
    assert limits["request_log_success_max"] == (4, "file") and limits["request_log_error_max"] == (2, "file")
    for n in range(9):
        ask(s, "[[error 500 x]]" if n % 2 else "fine", request_id="r-limits%02d" % n)
    s.call("DELETE", LIST, headers=s.auth(ADMIN))  # makes the writer look at what is kept, now
    for n in range(10, 19):
        ask(s, "[[error 500 x]]" if n % 2 else "fine", request_id="r-limits%02d" % n)
    wait_for(lambda: len(ids(s)) == 9, "all are there")
    config["server"]["request_log"]["error_max"] = 1
    s.write_config(config)
    assert s.post("/sluice/v1/reload", headers=s.auth(ADMIN)).status_code == 200
    wait_for(lambda: ids(s) == ["r-limits18", "r-limits17", "r-limits16", "r-limits14", "r-limits12"], "the oldest of each are gone")
