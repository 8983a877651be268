"""The request log: what stands in it, every filter, pages that join up, and llm-rosetta's view of it."""
import time

import pytest
from conftest import basic_config
from formats import FORMATS
from gateway import KEY, Sluice, wait_for
from upstream import failure

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
    ({"id": "r-00000004"}, "4"), ({"q": "NO_SUCH"}, "5"), ({"q": "no%such"}, ""), ({"from": "2099-01-01T00:00:00Z"}, ""),
    ({"to": "2020-01-01T00:00:00Z"}, ""), ({"from": "1"}, "87654321"),
], ids=str)
def test_filters(logged, query, found):
    assert ids(logged, **query) == ["r-0000000" + c for c in found]
    page = listed(logged, **query, total="true")
    assert page["total"] == len(found) or "limit" in query
    assert listed(logged, **query)["total"] is None


def test_pages_join_up(logged):
    seen, before = [], 0
    while before is not None:
        page = listed(logged, limit=3, before=before, total="true")
        seen += [row["id"] for row in page["data"]]
        before = page["next"]
        assert page["total"] == 8
    assert seen == ["r-0000000%d" % n for n in range(8, 0, -1)]


@pytest.mark.parametrize("query,field", [({"limit": 0}, "limit"), ({"limit": 1001}, "limit"), ({"from": "yesterday"}, "from"), ({"status": "6xx"}, "status"),
                                         ({"stream": "maybe"}, "stream"), ({"before": -1}, "before")], ids=str)
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
        assert logged.call(method, path).status_code == 403, path
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
