"""Sockets and the store fail under sluice's feet: every caller still gets the right answer or an honest error, the next
one is served, and the process ends clean. With the store gone, valid keys go on working."""
import contextlib
import errno
import pathlib
import sqlite3
import subprocess

import httpx
import pytest
from conftest import basic_config
from formats import FORMATS
from formats.common import HELLO, Ask, Grammar
from gateway import BINARY, ROOT, wait_for

SOCKET_FAULTS = [("connect", errno.ECONNREFUSED), ("connect", errno.EADDRNOTAVAIL), ("connect", errno.ENETUNREACH),
                 ("socket", errno.EMFILE), ("socket", errno.ENOBUFS), ("accept4", errno.ECONNABORTED), ("accept4", errno.EMFILE),
                 ("read", errno.ECONNRESET), ("recvmsg", errno.ECONNRESET), ("recv", errno.EIO),
                 ("write", errno.EPIPE), ("writev", errno.EPIPE), ("send", errno.ECONNRESET), ("sendmsg", errno.ECONNRESET)]
STORE_FAULTS = [("pwrite64", errno.ENOSPC), ("pwrite64", errno.EIO), ("fsync", errno.EIO), ("fdatasync", errno.EIO),
                ("pread64", errno.EIO), ("ftruncate64", errno.EIO)]


@pytest.fixture(scope="session")
def library(tmp_path_factory):
    out = tmp_path_factory.mktemp("faults") / "faults.so"
    subprocess.run(["gcc", "-D_GNU_SOURCE", "-D_LARGEFILE64_SOURCE", "-O1", "-shared", "-fPIC", "-o", str(out),
                    str(ROOT / "tests/tools/faults.c"), "-ldl"], check=True)
    return out


@pytest.fixture
def faulty(library, start_sluice, scripted, tmp_path):
    def start(call, first, every, number):
        gate = tmp_path / "gate"
        gate.write_bytes(b"\0\0")
        linked = subprocess.run(["ldd", str(BINARY)], capture_output=True, text=True, check=True).stdout
        sanitizer = [line.split("=>")[1].split()[0] for line in linked.splitlines() if "libasan" in line or "libtsan" in line]
        s = start_sluice(basic_config(scripted.origin), env={
            "LD_PRELOAD": ":".join([*sanitizer, str(library)]), "SLUICE_FAULT": "%s:%d:%d:%d" % (call, first, every, number),
            "SLUICE_FAULT_GATE": str(gate)})
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
            with httpx.Client(base_url=s.origin, trust_env=False, verify=False, timeout=30) as c:
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
    assert s.get("/healthz", auth=False).json()["status"] == "ok"
    assert [s.get("/v1/responses/" + i).status_code for i in [before, *ids]] == [404, 404, 200, 200]
    s.stop()


def test_the_injection_injects(faulty, upstream):
    """Otherwise the tests above would prove nothing."""
    s = faulty("connect", 1, 1, errno.ECONNREFUSED)
    opened(s, True)
    assert set(session(s)) == {"error", "good"}  # echo needs no upstream
    assert pathlib.Path(s.gate).read_bytes()[1] == 1
