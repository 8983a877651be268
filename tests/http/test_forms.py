"""Multipart uploads: the model anywhere in the form, an upstream that answers early, a client that leaves."""
import asyncio
import gzip
import os
import threading

import httpx
import pytest
from conftest import basic_config
from formats import FORMATS
from gateway import read_all, read_answer
from test_faults import two_targets
from upstream import head, http, reset, slam

PATH = "/v1/audio/transcriptions"
BOUNDARY = b"b0undary7MA4YWxk"
TYPE = "multipart/form-data; boundary=" + BOUNDARY.decode()
SOUND = os.urandom(5 << 20)
SAID = http(200, '{"text":"said"}')


def part(name, value, filename=None, more=b""):
    return (b'Content-Disposition: form-data; name="%s"%s\r\n%s\r\n%s' %
            (name, b'; filename="%s"' % filename if filename else b"", more, value))


def form(*parts):
    return b"".join(b"--" + BOUNDARY + b"\r\n" + p + b"\r\n" for p in parts) + b"--" + BOUNDARY + b"--\r\n"


def upload(order, model=b"to-chat", sound=SOUND):
    model, file = part(b"model", model), part(b"file", sound, b"a.mp3", b"Content-Type: audio/mpeg\r\n")
    extra = part(b"language", b"de")
    return form(*{"before": [model, extra, file], "after": [file, extra, model], "between": [extra, model, file],
                  "missing": [file, extra]}[order])


def send(s, body, how="length", size=64_000, path=PATH, **options):
    headers = {**s.auth(), "Content-Type": TYPE, **options}
    content = body if how == "length" else (body[i : i + size] for i in range(0, len(body), size))
    return s.http.post(path, content=content, headers=headers)


def head_of(s, *headers):
    return ("\r\n".join(["POST %s HTTP/1.1" % PATH, "Host: x", "Authorization: Bearer " + s.key, "Content-Type: " + TYPE,
                         *headers]) + "\r\n\r\n").encode()


@pytest.mark.parametrize("how", ["length", "chunked"])
@pytest.mark.parametrize("order", ["before", "between", "after"])
def test_the_model_may_stand_anywhere(sluice, upstream, order, how):
    body = upload(order)
    upstream.play(SAID)
    for _ in range(2):
        r = send(sluice, body, how)
        assert r.status_code == 200 and r.json() == {"text": "said"}, r.text
        assert upstream.last.body == body.replace(b"\r\n\r\nto-chat", b"\r\n\r\nchat-model")
    if how == "length":  # its length is known before its end is
        assert upstream.last.header("content-length") == str(len(body) + 3)


def test_a_form_under_another_path(sluice, upstream):
    upstream.play(SAID)
    r = send(sluice, upload("before", sound=b"la" * 10), path="/api" + PATH)
    assert r.status_code == 200 and r.json() == {"text": "said"} and upstream.last.path == PATH


@pytest.mark.parametrize("size", [1, 7, 4096])
def test_any_cut(sluice, upstream, size):
    """Delimiters and heads that lie across pieces."""
    body = upload("between", sound=b"\r\n--b0undary7MA4YWx\r\n--" + os.urandom(2000) + b"\r\n--")
    upstream.play(SAID)
    assert send(sluice, body, "chunked", size).status_code == 200
    assert upstream.last.body == body.replace(b"\r\n\r\nto-chat", b"\r\n\r\nchat-model")


@pytest.mark.parametrize("how", ["length", "chunked"])
def test_without_a_model(sluice, upstream, how):
    r = send(sluice, upload("missing"), how)
    assert r.status_code == 400 and r.json()["error"]["param"] == "model"
    assert not upstream.requests
    upstream.play(SAID)
    assert send(sluice, upload("before")).status_code == 200


@pytest.mark.parametrize("body, type_, status", [
    (upload("before", b""), TYPE, 400),
    (upload("before", b"m" * 5000), TYPE, 400),
    (upload("before", b"nobody-has-this"), TYPE, 404),
    (upload("before"), "multipart/form-data", 400),
    (upload("before"), "multipart/form-data; boundary=" + "b" * 71, 400),
    (upload("before"), "multipart/form-data; boundary=other", 400),
    (b"--" + BOUNDARY + b"\r\n" + b"x" * 100_000, TYPE, 400),
    (b"", TYPE, 400),
    (form(part(b"model", b"to-chat", b"model.txt")), TYPE, 400),
], ids=["empty", "long", "unknown", "no-boundary", "long-boundary", "other-boundary", "endless-head", "nothing", "a-file"])
def test_bad_forms(sluice, upstream, body, type_, status):
    r = sluice.http.post(PATH, content=body, headers={**sluice.auth(), "Content-Type": type_})
    assert r.status_code == status, r.text
    FORMATS["chat"].read_error(status, r.content)
    assert not upstream.requests


DISPOSITION = b'Content-Disposition: form-data; name="model"'
TWICE = {  # heads of a second part that some reader behind us may take for the model
    "once-more": DISPOSITION, "no-quotes": b"Content-Disposition: form-data; name=model", "spaces": b'content-disposition :form-data ; name = "model" ; x=y',
    "extended": b"Content-Disposition: form-data; name*=UTF-8''model", "escaped": b'Content-Disposition: form-data; name="mo\\del"',
    "two-names": b'Content-Disposition: form-data; name="x"; name="model"', "two-headers": b'Content-Disposition: form-data; name="x"\r\n' + DISPOSITION,
    "folded": b'Content-Disposition: form-data;\r\n name="model"', "line-feed": b"X: y\n" + DISPOSITION, "a-file": DISPOSITION + b'; filename="m"',
    "open-quote": b'Content-Disposition: form-data; x="; name="model"',
}


@pytest.mark.parametrize("size", [10, 2 << 20])
@pytest.mark.parametrize("what", TWICE)
def test_no_second_model_reaches_the_upstream(sluice, upstream, what, size):
    """What is allowed and priced is the first one: another behind it, also behind a large file that is under way already, is refused."""
    upstream.play(SAID)
    second = TWICE[what] + b"\r\n\r\ndearer-model"
    body = form(part(b"model", b"to-chat"), part(b"file", b"x" * size, b"a.mp3"), second)
    r = send(sluice, body, "chunked")
    assert r.status_code == 400 and r.json()["error"]["code"] == "invalid_multipart", r.text
    assert not [q for q in upstream.requests if b"dearer-model" in q.body]
    upstream.play(SAID)
    assert send(sluice, upload("before", sound=b"la")).status_code == 200


@pytest.mark.parametrize("head", [b"Content-Disposition: form-data; name=model", b'CONTENT-DISPOSITION: form-data ; Name = "model"; charset=utf-8',
                                  b'Content-Type: text/plain; x="a;b"\r\nContent-Disposition: form-data; x="y;\\"z"; name="model"'])
def test_spellings_of_the_models_part(sluice, upstream, head):
    upstream.play(SAID)
    odd = b"\r\n--" + BOUNDARY + b"x\r\n" + DISPOSITION + b"\r\n\r\nno-part\r\n--" + BOUNDARY + b"-\r\n"  # only begins like a boundary
    body = form(b'Content-Disposition: form-data; name="model2"\r\n\r\nother', part(b"file", odd, b"name=\\\"model\\\";.mp3"), head + b"\r\n\r\nto-chat")
    body = body.replace(b"--" + BOUNDARY + b"\r\n", b"--" + BOUNDARY + b" \t\r\n", 1)
    assert send(sluice, body, "chunked", 13).status_code == 200
    assert upstream.last.body == body.replace(b"\r\n\r\nto-chat", b"\r\n\r\nchat-model")


@pytest.mark.parametrize("size", [10, 2 << 20])
def test_a_form_that_does_not_end_is_refused(sluice, upstream, size):
    """Its length is right, its last boundary is not there: the end of the file may be missing."""
    upstream.play(SAID)
    body = form(part(b"model", b"to-chat"), part(b"file", b"x" * size, b"a.mp3"))
    for cut in (len(BOUNDARY) + 8, len(BOUNDARY) + 2, 4, 3):
        r = send(sluice, body[:-cut], "chunked")
        assert r.status_code == 400 and r.json()["error"]["code"] == "invalid_multipart", (cut, r.text)
    assert send(sluice, body[:-2], "chunked").status_code == 200  # only a line end is missing


def test_the_boundary_is_the_parameter_of_that_name(sluice, upstream):
    upstream.play(SAID)
    body = upload("before", sound=b"la")
    for type_, status in (('multipart/form-data; x="boundary=other"; boundary="%s"' % BOUNDARY.decode(), 200), ("Multipart/Form-Data;BOUNDARY = %s ;x" % BOUNDARY.decode(), 200),
                          ("multipart/form-data; boundary=%s; boundary=other" % BOUNDARY.decode(), 400), ("multipart/form-data; xboundary=%s" % BOUNDARY.decode(), 400)):
        r = sluice.http.post(PATH, content=body, headers={**sluice.auth(), "Content-Type": type_})
        assert r.status_code == status, (type_, r.text)


def test_a_compressed_form_is_refused_by_name(sluice, upstream):
    r = send(sluice, gzip.compress(upload("before", sound=b"x")), **{"Content-Encoding": "gzip"})
    assert r.status_code == 415 and r.json()["error"]["code"] == "unsupported_content_encoding"
    assert not upstream.requests


@pytest.mark.parametrize("status, shown", [(401, 502), (413, 413), (400, 400)])
@pytest.mark.parametrize("then", ["keeps reading", "closes"])
def test_upstream_answers_early(sluice, upstream, status, shown, then):
    """It has seen only the head. The client gets the answer, and its connection serves the next request."""
    body = b'{"error":{"message":"no thanks","type":"invalid_request_error","param":null,"code":null}}'

    async def script(conn, request):
        conn.send(head(status, [("Content-Type", "application/json"), ("Content-Length", len(body))]) + body)
        if then == "closes":
            await conn.drain()
            conn.finish()
        else:
            await conn.read_body(request)

    script.reads_body = True
    upstream.next(script)
    r = send(sluice, upload("before"), "chunked")
    assert r.status_code in (shown, 502), r.text
    if then == "keeps reading":
        assert r.status_code == shown
    FORMATS["chat"].read_error(r.status_code, r.content)
    upstream.play(SAID)
    assert send(sluice, upload("before"), "chunked").status_code == 200


def test_a_slow_upstream_holds_the_client_back(sluice, upstream):
    """Pause and resume all the way: what it does not take is not read from the client without end, and nothing is lost."""
    body = upload("before", sound=SOUND * 6)

    async def script(conn, request):
        conn.transport.pause_reading()
        await asyncio.sleep(0.3)
        conn.transport.resume_reading()
        await conn.read_body(request)
        with conn.upstream.lock:
            conn.upstream.requests.append(request)
        await SAID(conn, request)

    script.reads_body = True
    upstream.next(script)
    assert send(sluice, body, "chunked").status_code == 200
    assert upstream.last.body == body.replace(b"\r\n\r\nto-chat", b"\r\n\r\nchat-model")


@pytest.mark.parametrize("sent", [300, 200_000, 1_000_000, 4_000_000])
@pytest.mark.parametrize("order", ["before", "after"])
def test_client_leaves_midway(sluice, upstream, order, sent):
    """The upstream sees half a form and then the end, not a whole one; the next request is served."""
    body, called, gone = upload(order), threading.Event(), threading.Event()

    async def script(conn, request):
        called.set()
        try:
            await conn.read_body(request)
        except ConnectionError:
            gone.set()

    script.reads_body = True
    upstream.play(script)
    with sluice.connect() as c:
        c.sendall(head_of(sluice, "Content-Length: %d" % len(body)) + body[:sent])
        if order == "before" and sent > 300_000:
            assert called.wait(60), "the upstream is called"
    if order == "before" and sent > 300_000:
        assert gone.wait(30), "the upstream was not let go"
    upstream.play(SAID)
    assert send(sluice, body).status_code == 200


def test_too_large(start_sluice, scripted, upstream):
    config = basic_config(scripted.origin)
    config["server"]["max_upload_bytes"] = 1 << 20
    s = start_sluice(config)
    for how in ("length", "chunked"):
        for order in ("before", "after"):
            try:
                r = send(s, upload(order), how)
            except httpx.TransportError:  # cut while it still sends: the answer may be lost with it
                continue
            assert r.status_code == 413
    with s.connect() as c:
        c.sendall(head_of(s, "Content-Length: 5000000"))
        assert read_answer(c)[0] == 413
    upstream.play(SAID)
    assert send(s, upload("before", sound=b"small")).status_code == 200


@pytest.mark.parametrize("first", [http(500, "{}"), http(429, "{}", headers=[("Retry-After", "7")]), slam, reset], ids=["500", "429", "slam", "reset"])
@pytest.mark.parametrize("order", ["before", "after"])
def test_a_form_that_is_held_is_tried_elsewhere(start_sluice, scripted, upstream, first, order):
    s = start_sluice(two_targets(scripted.origin))
    body = upload(order, b"pair", SOUND[:100_000])
    upstream.next(first, SAID)
    r = send(s, body)
    assert r.status_code == 200, r.text
    assert upstream.last.body == body.replace(b"\r\n\r\npair", b"\r\n\r\nsecond-model")


def test_a_form_that_comes_last_is_held_on_disk_and_tried_elsewhere(start_sluice, scripted, upstream):
    """Five megabytes before the model: they are kept beside the data, unlinked, and sent twice."""
    s = start_sluice(two_targets(scripted.origin))
    body = upload("after", b"pair")
    upstream.next(http(503, "{}"), SAID)
    r = send(s, body)
    assert r.status_code == 200, r.text
    assert upstream.last.body == body.replace(b"\r\n\r\npair", b"\r\n\r\nsecond-model")
    assert not [p for p in (s.folder / "data").iterdir() if "spool" in p.name]


def test_many_at_once(sluice, upstream):
    upstream.play(SAID)
    bodies = [upload(("before", "after")[n % 2], sound=SOUND[n * 1000 :]) for n in range(8)]
    results = []

    def one(n):
        results.append((n, send(sluice, bodies[n], ("length", "chunked")[n // 2 % 2]).status_code))

    threads = [threading.Thread(target=one, args=(n,)) for n in range(8)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert sorted(results) == [(n, 200) for n in range(8)]
    assert {r.body for r in upstream.requests} == {b.replace(b"\r\n\r\nto-chat", b"\r\n\r\nchat-model") for b in bodies}


def test_the_built_in_upstream_reads_the_form_to_its_end(sluice):
    for how in ("length", "chunked"):
        body = upload("before", b"echo")
        r = send(sluice, body, how)
        assert r.status_code == 200 and r.json()["text"] == "echo of %d bytes" % len(body), r.text


def test_pipelined_behind_a_form(sluice, upstream):
    """What follows a refused form on the same connection is served, not taken for a part of it."""
    body = upload("missing", sound=b"x" * 1000)
    with sluice.connect() as c:
        c.sendall(head_of(sluice, "Content-Length: %d" % len(body)) + body + b"GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        data = read_all(c)
    assert data.startswith(b"HTTP/1.1 400") and data.count(b"HTTP/1.1 200") == 1
