"""The live tail of the request log: what comes, what a filter leaves out, coming back, falling behind, many at once."""
import contextlib
import json
import socket
import threading

import pytest
from gateway import wait_for
from test_requests import ADMIN, OTHER, ask, config_with_keys

TAIL = "/sluice/v1/requests/tail"
PASSWORD = "hunter-two"


class Listener:
    """Reads a tail on a thread of its own."""

    def __init__(self, s, query="", last_id=None, token=ADMIN):
        self.events, self.done = [], threading.Event()
        self.socket = s.connect()
        head = "GET %s%s HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %s\r\n" % (TAIL, query, token)
        self.socket.sendall((head + ("Last-Event-ID: %s\r\n" % last_id if last_id else "") + "\r\n").encode())
        self.file = self.socket.makefile("rb")
        assert b" 200 " in self.file.readline()
        while self.file.readline().strip():
            pass
        self.started = threading.Event()
        self.thread = threading.Thread(target=self.read, daemon=True)
        self.thread.start()
        assert self.started.wait(30)

    def chunks(self):
        while True:
            size = int(self.file.readline() or b"0", 16)
            if size == 0:
                return
            yield self.file.read(size)
            self.file.readline()

    def read(self):
        data = b""
        with contextlib.suppress(OSError, ValueError):
            for piece in self.chunks():
                self.started.set()  # the comment at the beginning: it is among the listeners
                data += piece
                while b"\n\n" in data:
                    one, data = data.split(b"\n\n", 1)
                    fields = dict(line.split(": ", 1) for line in one.decode().splitlines() if ": " in line and not line.startswith(":"))
                    if "data" in fields:
                        self.events.append((fields["event"], fields.get("id"), json.loads(fields["data"])))
        self.done.set()

    def ids(self):
        return [data["id"] for event, _, data in list(self.events) if event == "request"]

    def close(self):
        with contextlib.suppress(OSError):
            self.socket.shutdown(socket.SHUT_RDWR)
        self.thread.join(60)
        self.file.close()
        self.socket.close()


@pytest.fixture
def listen(start_sluice, scripted):
    config = config_with_keys(scripted.origin)
    config["server"].update(admin_password=PASSWORD, password_memory_bytes=8192, password_passes=1)
    s = start_sluice(config)
    open_ones = []

    def start(**options):
        open_ones.append(Listener(s, **options))
        return open_ones[-1]

    start.sluice = s
    yield start
    for listener in open_ones:
        listener.close()


@pytest.mark.threads
def test_requests_come_as_they_end(listen):
    s, one, two = listen.sluice, listen(), listen()
    for n in range(3):
        ask(s, request_id="r-tail%04d" % n)
    for listener in (one, two):
        wait_for(lambda at=listener: len(at.ids()) == 3, "three events")
        assert listener.ids() == ["r-tail%04d" % n for n in range(3)]
        assert all(int(seq) == data["seq"] for _, seq, data in listener.events)
    wait_for(lambda: [one.events[-1][2]] == s.get("/sluice/v1/requests?limit=1", headers=s.auth(ADMIN)).json()["data"], "the same stands in the list")


@pytest.mark.threads
def test_filters(listen):
    s = listen.sluice
    errors, streams, key, label, text = (listen(query="?" + q) for q in ("status=error", "stream=true", "key=0b000000", "key_label=second", "q=NO_SUCH"))
    ask(s, request_id="r-plain000")
    ask(s, request_id="r-stream00", stream=True)
    ask(s, request_id="r-other000", key=OTHER)
    ask(s, request_id="r-error000", model="no_such_model")
    everything = listen(last_id="1")
    wait_for(lambda: len(everything.ids()) == 4 and all(one.ids() for one in (errors, streams, key, label, text)), "all are there")
    assert errors.ids() == text.ids() == ["r-error000"] and streams.ids() == ["r-stream00"] and key.ids() == label.ids() == ["r-other000"]
    r = s.get(TAIL + "?status=odd", headers=s.auth(ADMIN))
    assert r.status_code == 400 and r.json()["error"]["param"] == "status"
    assert s.get(TAIL).status_code == 403 and s.get(TAIL, auth=False).status_code == 401


@pytest.mark.threads
def test_coming_back(listen):
    s, first = listen.sluice, listen()
    for n in range(3):
        ask(s, request_id="r-before%02d" % n)
    wait_for(lambda: len(first.ids()) == 3, "three events")
    seen = first.events[0][1]
    first.close()
    ask(s, request_id="r-meanwhil")
    back = listen(last_id=seen)
    ask(s, request_id="r-after000")
    wait_for(lambda: "r-after000" in back.ids(), "the newest")
    assert back.ids() == ["r-before01", "r-before02", "r-meanwhil", "r-after000"]


@pytest.mark.timeout(600)
def test_who_reads_too_slowly_is_told(listen):
    """Records enough that neither sockets nor the loop's own store can hold them."""
    s = listen.sluice
    slow = s.connect()
    slow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
    slow.sendall(("GET %s HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %s\r\n\r\n" % (TAIL, ADMIN)).encode())
    quick = listen()
    text = "[[error 500 %s]]" % ("a long story " * 30)  # every event holds it
    body = json.dumps({"model": "echo", "messages": [{"role": "user", "content": text}]}).encode()
    request = b"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %s\r\nContent-Length: %d\r\n\r\n%s" % (ADMIN.encode(), len(body), body)
    total = 30000
    with s.connect() as busy:
        for _ in range(total // 200):
            busy.sendall(request * 200)
            answers = b""
            while answers.count(b"HTTP/1.1 500") < 200 or not answers.endswith(b"}"):
                answers += busy.recv(1 << 20)
    wait_for(lambda: seen_by(quick) == total, "the quick one got all, or was told", 120)
    data = b""
    slow.settimeout(60)
    while b"event: lost" not in data:
        got = slow.recv(1 << 16)
        assert got and b"\n:\n\n" not in got, "no word of what was lost"
        data += got
    slow.close()


def seen_by(listener):
    return sum(data["count"] if event == "lost" else 1 for event, _, data in list(listener.events))


@pytest.mark.threads
def test_a_hundred_listeners(listen):
    s = listen.sluice
    many = [listen() for _ in range(100)]
    ask(s, request_id="r-hundred0")
    wait_for(lambda: all(at.ids() == ["r-hundred0"] for at in many), "everybody got it", 30)
    for at in many[::2]:
        at.close()
    ask(s, request_id="r-hundred1")
    wait_for(lambda: all("r-hundred1" in at.ids() for at in many[1::2]), "the others got the next", 30)


def test_it_ends_when_the_server_does(listen):
    s, one = listen.sluice, listen()
    s.process.terminate()
    assert one.done.wait(30), "the tail held the server up"


def test_it_ends_when_its_callers_right_does(listen):
    """By signing out, an ended session, a disabled operator, a deleted or disabled key; those of others go on."""
    s, stays = listen.sluice, listen()
    operators, sessions = [], []
    owner = s.post("/sluice/v1/session", {"password": PASSWORD}, auth=False).json()["token"]
    s.http.cookies.clear()
    for name in ("ann", "bob", "cat"):
        r = s.call("POST", "/sluice/v1/operators", {"name": name, "role": "viewer", "password": "long enough for all"}, headers=s.auth(owner))
        assert r.status_code == 201, r.text
        operators.append(r.json()["id"])
        sessions.append(s.post("/sluice/v1/session", {"name": name, "password": "long enough for all"}, auth=False).json())
        s.http.cookies.clear()
    keys = [s.call("POST", "/sluice/v1/keys", {"label": "k", "scopes": ["admin"]}, headers=s.auth(ADMIN)).json() for _ in range(2)]
    tails = [listen(token=one["token"]) for one in sessions] + [listen(token=k["key"]) for k in keys]
    ask(s, request_id="r-all00000")
    for t in tails:
        wait_for(lambda t=t: t.ids() == ["r-all00000"], "everybody hears the first")
    ends = [s.call("DELETE", "/sluice/v1/session", headers=s.auth(sessions[0]["token"])),
            s.call("PATCH", "/sluice/v1/operators/" + operators[1], {"enabled": False}, headers=s.auth(owner)),
            s.call("DELETE", "/sluice/v1/operators/" + operators[2], headers=s.auth(owner)),
            s.call("DELETE", "/sluice/v1/keys/" + keys[0]["id"], headers=s.auth(ADMIN)),
            s.call("PATCH", "/sluice/v1/keys/" + keys[1]["id"], {"enabled": False}, headers=s.auth(ADMIN))]
    assert all(r.status_code in (200, 204) for r in ends), [r.text for r in ends]
    assert all(t.done.wait(30) for t in tails), "some hear more"
    ask(s, request_id="r-later000")
    wait_for(lambda: "r-later000" in stays.ids(), "who may still hears the next")
    assert not any("r-later000" in t.ids() for t in tails)
