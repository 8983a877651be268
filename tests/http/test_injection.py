"""Sockets and the store fail under sluice's feet: every caller still gets the right answer or an honest error, the next
one is served, and the process ends clean. With the store gone, valid keys go on working.

Memory is not made to fail: a size that a peer chooses has a maximum (test_bad_input.py, test_relay_state.py), and below it a
system without memory ends the process, by design."""
import contextlib
import errno
import os
import pathlib
import sqlite3

import httpx
import pytest
from conftest import basic_config
from faults import Gate, preloaded
from formats import FORMATS
from formats.common import HELLO, Ask, Grammar
from gateway import wait_for

SOCKET_FAULTS = [("connect", errno.ECONNREFUSED), ("connect", errno.EADDRNOTAVAIL), ("connect", errno.ENETUNREACH),
                 ("socket", errno.EMFILE), ("socket", errno.ENOBUFS), ("accept4", errno.ECONNABORTED), ("accept4", errno.EMFILE),
                 ("recv", errno.ECONNRESET), ("recv", errno.EIO),
                 ("write", errno.EPIPE), ("writev", errno.EPIPE), ("send", errno.ECONNRESET), ("sendmsg", errno.ECONNRESET)]
STORE_FAULTS = [("pwrite64", errno.ENOSPC), ("pwrite64", errno.EIO), ("fsync", errno.EIO), ("fdatasync", errno.EIO),
                ("pread64", errno.EIO), ("ftruncate64", errno.EIO)]


@pytest.fixture
def faulty(library, start_sluice, scripted, tmp_path):
    def start(call, first, every, number):
        gate = tmp_path / "gate"
        s = start_sluice(basic_config(scripted.origin), env=preloaded(library, gate, "%s:%d:%d:%d" % (call, first, every, number)))
        s.gate = gate
        return s

    return start


def opened(s, is_open):
    with open(s.gate, "r+b") as f:
        f.write(b"\1" if is_open else b"\0")


def session(s):
    """A few requests of several kinds; what each came to: "good", "error" or "torn"."""
    out = []
    for client, up, streaming in [("chat", "chat", False), ("chat", "chat", True), ("anthropic", "chat", True),
                                  ("responses", "anthropic", False), ("google", "ollama", True), ("chat", "echo", False)] * 2:
        f, ask = FORMATS[client], Ask(model="echo" if up == "echo" else "to-" + up, stream=streaming)
        try:
            with httpx.Client(base_url=s.origin, trust_env=False, verify=False, timeout=120) as c:
                r = c.post(f.path(ask), json=f.request(ask), headers=s.auth())
        except httpx.TransportError:
            out.append("torn")
            continue
        if r.status_code != 200:
            assert f.read_error(r.status_code, r.content).message
            assert r.status_code >= 500, r.text
            out.append("error")
            continue
        try:
            turn = (f.read_stream if streaming else f.read)(r.content)
            assert turn.text == HELLO or up == "echo"
            out.append("good")
        except (Grammar, UnicodeDecodeError, KeyError):
            if client != up:
                assert f.read_stream_error(r.content).message
            out.append("error")
    return out


@pytest.mark.parametrize("call,number", SOCKET_FAULTS, ids=["%s-%s" % (c, errno.errorcode[n]) for c, n in SOCKET_FAULTS])
def test_sockets_fail(faulty, upstream, call, number):
    for first, every in ((1, 3), (2, 5), (1, 10**9), (4, 10**9)):
        s = faulty(call, first, every, number)
        opened(s, True)
        session(s)
        opened(s, False)
        assert session(s) == ["good"] * 12, "sluice did not recover"
        s.stop()


@pytest.mark.parametrize("call,number", STORE_FAULTS, ids=["%s-%s" % (c, errno.errorcode[n]) for c, n in STORE_FAULTS])
def test_the_store_fails(faulty, upstream, call, number):
    """A full or broken disk is never an authentication fault, nor any fault of an inference request."""
    s = faulty(call, 1, 1, number)
    opened(s, True)
    assert session(s) == ["good"] * 12
    assert s.get("/livez", auth=False).status_code == 200
    opened(s, False)
    assert session(s) == ["good"] * 12
    s.stop()


def test_a_response_outlives_a_full_disk(faulty, upstream):
    """What cannot be written now is at hand all the same, and written when there is room again."""
    def rows():
        with contextlib.closing(sqlite3.connect("file:%s/data/sluice.db?mode=ro" % s.folder, uri=True)) as db:
            return {row[0] for row in db.execute("SELECT id FROM response")}

    def made(text):
        r = s.post("/v1/responses", {"model": "to-chat", "input": text})
        assert r.status_code == 200, r.text
        return r.json()["id"]

    s = faulty("pwrite64", 1, 1, errno.ENOSPC)
    before = made("before")
    wait_for(lambda: before in rows(), "it is stored")
    opened(s, True)
    ids = [made(text) for text in ("one", "two", "three")]
    wait_for(lambda: s.get("/healthz", auth=False).json()["status"] == "degraded", "the store is degraded")
    assert pathlib.Path(s.gate).read_bytes()[1] == 1
    assert not set(ids) & rows()
    assert s.call("DELETE", "/v1/responses/" + ids[0]).status_code == 200
    assert s.call("DELETE", "/v1/responses/" + before).status_code == 200
    assert [s.get("/v1/responses/" + i).status_code for i in [before, *ids]] == [404, 404, 200, 200]
    opened(s, False)
    wait_for(lambda: rows() == set(ids[1:]), "what was left is stored, what was deleted is gone")
    wait_for(lambda: s.get("/healthz", auth=False).json()["status"] == "ok", "the store is well again")
    assert [s.get("/v1/responses/" + i).status_code for i in [before, *ids]] == [404, 404, 200, 200]
    s.stop()


ADMIN = "sk-admin-0123456789abcdef"
TRIES = 400 if os.environ.get("SLUICE_TEST_FAULTS") == "all" else 12
EACH_SOCKET = [f for f in SOCKET_FAULTS if f[0] in ("connect", "socket", "accept4", "recv", "send")]  # what is called here
EACH_STORE = [f for f in STORE_FAULTS if f[0] != "ftruncate64"] + [("file_write", errno.ENOSPC), ("rename", errno.EROFS), ("open", errno.EROFS)]
STEPS = [(c, u, streaming) for c, u in (("chat", "chat"), ("chat", "anthropic"), ("anthropic", "chat"), ("responses", "ollama"),
                                        ("google", "responses"), ("ollama", "google")) for streaming in (False, True)]


def one(s, client, up, streaming):
    """What one request came to: "good", "error" (an honest one, in the words of the caller's format) or "torn"."""
    f, ask = FORMATS[client], Ask(model="to-" + up, stream=streaming)
    try:
        with httpx.Client(base_url=s.origin, trust_env=False, verify=False, timeout=120) as c:
            r = c.post(f.path(ask), json=f.request(ask), headers=s.auth())
    except httpx.TransportError:
        return "torn"
    if r.status_code != 200:
        assert r.status_code >= 500 and f.read_error(r.status_code, r.content).message, r.text
        return "error"
    try:
        assert (f.read_stream if streaming else f.read)(r.content).text == HELLO
        return "good"
    except (Grammar, UnicodeDecodeError, KeyError):
        assert client == up or f.read_stream_error(r.content).message
        return "error"


def admin_write(s, n):
    """A change, and a look at what became of it: either all of it or nothing."""
    try:
        with httpx.Client(base_url=s.origin, trust_env=False, verify=False, timeout=120, headers=s.auth(ADMIN)) as c:
            r = c.post("/sluice/v1/keys", json={"label": "n%d" % n})
            assert r.status_code in (200, 201) or r.status_code >= 500, r.text
            return "good" if r.status_code < 300 else "error"
    except httpx.TransportError:
        return "torn"


def key_labels(s):
    return [k["label"] for k in s.get("/sluice/v1/keys", headers=s.auth(ADMIN)).json()["data"]]


@pytest.fixture
def armed(library, start_sluice, scripted, tmp_path):
    gate = tmp_path / "gate"
    config = basic_config(scripted.origin)
    config["server"]["api_keys"].append({"id": "ad000001", "key": ADMIN, "label": "operator", "scopes": ["admin"]})
    s = start_sluice(config, arguments=("--threads", "1"), env=preloaded(library, gate))
    s.gate = Gate(gate)
    return s


@pytest.mark.parametrize("call,number", EACH_SOCKET, ids=["%s-%s" % (c, errno.errorcode[n]) for c, n in EACH_SOCKET])
def test_each_call_fails_once(armed, upstream, call, number):
    """The first, the second, the third … until there is no such call any more: never worse than an honest error, and the
    next request is served."""
    s, hits = armed, 0
    for client, up, streaming in STEPS:
        for n in range(1, TRIES + 1):
            s.gate.arm(call, n, number)
            came = one(s, client, up, streaming)
            has_failed = s.gate.disarm()
            assert came == "good" or has_failed, (client, up, streaming, n, came)
            assert one(s, client, up, streaming) == "good", (client, up, streaming, n)
            hits += has_failed
            if not has_failed:
                break
    assert hits, "nothing was injected"
    s.stop()


@pytest.mark.parametrize("call,number", EACH_STORE, ids=["%s-%s" % (c, errno.errorcode[n]) for c, n in EACH_STORE])
def test_each_call_of_the_store_fails_once(armed, upstream, call, number):
    """A change of the control plane is made or refused; a request with a key that was made is served."""
    s, made, hits = armed, [], 0
    for n in range(1, TRIES + 1):
        s.gate.arm(call, n, number)
        came = admin_write(s, n)
        assert one(s, "chat", "chat", False) == "good"
        has_failed = s.gate.disarm()
        assert came == "good" or has_failed, (n, came)
        if came == "good":
            made.append("n%d" % n)
        hits += has_failed
        if not has_failed:
            break
    assert hits, "nothing was injected"
    assert admin_write(s, 1000) == "good"
    labels = key_labels(s)
    assert set(made) | {"n1000"} <= set(labels), (made, labels)
    assert len(labels) == len(set(labels))
    s.stop()


def test_the_injection_injects(faulty, upstream):
    """Otherwise the tests above would prove nothing."""
    s = faulty("connect", 1, 1, errno.ECONNREFUSED)
    opened(s, True)
    assert set(session(s)) == {"error", "good"}  # echo needs no upstream
    assert pathlib.Path(s.gate).read_bytes()[1] == 1
