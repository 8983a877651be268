"""Model tests through the gateway itself: started, polled, cancelled, and never anywhere else than the data plane."""
import asyncio
import re
import threading

import pytest
from conftest import basic_config
from formats.common import HELLO
from gateway import wait_for
from upstream import http

ADMIN = "sk-admin-0123456789abcdef"
TESTS = "/admin/api/test"
CHAT = {"model": "to-chat", "messages": [{"role": "user", "content": "Hi"}], "max_tokens": 256}


@pytest.fixture
def admin(start_sluice, scripted, upstream):
    config = basic_config(scripted.origin)
    config["server"]["api_keys"].append({"id": "ad000001", "key": ADMIN, "scopes": ["inference", "models", "admin"]})
    return start_sluice(config, key=ADMIN)


def begin(s, payload=CHAT, endpoint="/v1/chat/completions"):
    r = s.post(TESTS, {"endpoint": endpoint, "payload": payload})
    assert r.status_code == 200 and set(r.json()) == {"task_id"}, r.text
    assert re.fullmatch("[0-9a-f]{12}", r.json()["task_id"])
    return TESTS + "/" + r.json()["task_id"]


def settled(s, task):
    return wait_for(lambda: (got := s.get(task).json())["status"] != "pending" and got, "the end of a test")


@pytest.mark.parametrize("client,path,payload", [
    ("chat", "/v1/chat/completions", CHAT),
    ("anthropic", "/v1/messages", CHAT),
    ("responses", "/v1/responses", {"model": "to-chat", "input": "Hi"}),
    ("google", "/v1beta/models/to-chat:generateContent", {"contents": [{"role": "user", "parts": [{"text": "Hi"}]}]}),
])
def test_every_format(admin, client, path, payload):
    task = begin(admin, payload, path)
    got = settled(admin, task)
    assert set(got) == {"status", "status_code", "body"} and (got["status"], got["status_code"]) == ("done", 200), got
    assert HELLO.splitlines()[0] in str(got["body"])
    noted = admin.get("/sluice/v1/audit?kind=test&limit=1").json()["data"][0]
    assert noted["object"] == payload.get("model", "") and noted["after"] == {"endpoint": path, "task_id": task.rsplit("/", 1)[1]}, noted


def test_states(admin, upstream):
    gate = threading.Event()

    async def slow(conn, request):
        while not gate.is_set() and not conn.lost.is_set():
            await asyncio.sleep(0.005)
        await http(200, '{"choices":[]}')(conn, request)

    upstream.play(slow)
    task = begin(admin)
    r = admin.get(task)
    assert r.json() == {"status": "pending"} and r.headers["cache-control"] == "no-store"
    r = admin.post(task + "/poll")
    assert r.json() == {"status": "pending"} and r.headers["cache-control"] == "no-store"
    cancelled = begin(admin)
    assert admin.call("DELETE", cancelled).json() == {"ok": True}
    assert admin.get(cancelled).json() == {"status": "cancelled"}
    if len(upstream.requests) > 1:  # it was asked before, in whichever order: it is left alone, though it never said a word
        wait_for(lambda: any(r.gone.is_set() for r in upstream.requests), "one of the two is left")
    gate.set()
    assert settled(admin, task)["status"] == "done"
    assert admin.get(cancelled).json() == {"status": "cancelled"}
    assert admin.call("DELETE", task).json() == {"ok": True}
    assert admin.get(task).json()["status"] == "done"


def test_failures_and_streams_are_shown(admin, upstream):
    upstream.play(http(403, '{"error":{"message":"no such luck"}}'))
    got = settled(admin, begin(admin))
    assert got["status"] == "done" and got["status_code"] == 403 and "no such luck" in got["body"]["error"]["message"]
    got = settled(admin, begin(admin, {**CHAT, "model": "nothing"}))
    assert got["status_code"] == 404
    got = settled(admin, begin(admin, {**CHAT, "model": "echo", "stream": True}))
    assert got["status"] == "done" and isinstance(got["body"], str) and got["body"].startswith("data: ") and "[DONE]" in got["body"]


@pytest.mark.parametrize("body", [{}, {"endpoint": "/v1/x"}, {"payload": {}}, {"endpoint": "", "payload": {}},
                                  {"endpoint": "/v1/x", "payload": []}, {"endpoint": "/v1/x", "payload": "x"},
                                  {"endpoint": "/v1/x", "payload": None}])
def test_what_is_missing(admin, body):
    r = admin.post(TESTS, body)
    assert (r.status_code, r.json()) == (400, {"error": "Missing endpoint or payload"})


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"nonsense"])
def test_no_json(admin, body):
    r = admin.post(TESTS, body)
    assert (r.status_code, r.json()) == (400, {"error": "Invalid JSON"})


@pytest.mark.parametrize("endpoint", ["/admin/api/config", "http://127.0.0.1:1/v1/x", "@127.0.0.1:1/v1/x", "/v1/../admin/api/config",
                                      "/v1/%2e%2e/admin/api/keys", "/v1/./x", "/v1/x y", "/v1/\r\nX: y", "/v1", "/v2/x", "v1/x",
                                      "/v1\\..\\admin", "/v1/x#y", "/v1/é", "/sluice/v1/keys", "//127.0.0.1:1/v1/x", "/v1evil/x"])
def test_only_the_data_plane(admin, upstream, endpoint):
    r = admin.post(TESTS, {"endpoint": endpoint, "payload": {}})
    assert r.status_code == 400 and "endpoint" in r.json()["error"], r.text


def test_unknown_tasks(admin):
    for method, path in (("GET", "/0123456789ab"), ("DELETE", "/0123456789ab"), ("POST", "/0123456789ab/poll"), ("GET", "/x")):
        r = admin.call(method, TESTS + path)
        assert (r.status_code, r.json()) == (404, {"error": "Task not found"})


def test_a_running_task_does_not_hold_up_the_end(admin, upstream):
    async def never(conn, request):
        await conn.until_gone()

    upstream.play(never)
    config = admin.call("PATCH", "/sluice/v1/settings/drain_timeout_ms", {"value": 200})
    assert config.status_code == 200
    task = begin(admin)
    upstream.wait(1)
    assert admin.get(task).json() == {"status": "pending"}
    admin.stop()
