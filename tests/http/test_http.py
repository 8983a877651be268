"""HTTP as HTTP asks: methods, CORS, framing, request smuggling shapes, slow and numerous peers."""
import resource
import signal
import socket
import threading
import time

import pytest
from conftest import basic_config
from formats import FORMATS
from formats.common import Ask, Turn
from gateway import read_all, read_answer, wait_for
from upstream import held_stream, raw

CHAT = "/v1/chat/completions"
BODY = b'{"model":"echo","messages":[{"role":"user","content":"hi"}]}'


def request(sluice, body=BODY, path=CHAT, headers=(), framing=None, method="POST"):
    """A raw request; framing replaces Content-Length."""
    lines = ["%s %s HTTP/1.1" % (method, path), "Host: x", "Authorization: Bearer " + sluice.key,
             "Content-Type: application/json"]
    lines += [framing if framing is not None else "Content-Length: %d" % len(body), *headers]
    return "\r\n".join(line for line in lines if line).encode() + b"\r\n\r\n" + body


def status_of(answer):
    assert answer.startswith(b"HTTP/1.1 "), answer[:200]
    return int(answer.split(b" ", 2)[1])


# Methods

def test_options_for_browsers(sluice):
    for path in (CHAT, "/v1/messages", "/v1/responses", "/v1beta/models/echo:generateContent", "/api/chat", "/v1/models"):
        r = sluice.call("OPTIONS", path, auth=False, headers={
            "Origin": "https://app.example", "Access-Control-Request-Method": "POST",
            "Access-Control-Request-Headers": "authorization,content-type,x-api-key,anthropic-version"})
        assert r.status_code in (200, 204), path
        assert r.headers["access-control-allow-origin"] in ("*", "https://app.example")
        allowed = r.headers["access-control-allow-headers"].lower()
        assert allowed == "*" or all(h in allowed for h in ("authorization", "content-type", "x-api-key",
                                                            "anthropic-version"))
        assert ("GET" if path == "/v1/models" else "POST") in r.headers["access-control-allow-methods"]


def test_options_of_what_is_not_there(sluice):
    assert sluice.call("OPTIONS", "/v1/nothing", auth=False).status_code == 404
    assert sluice.call("OPTIONS", CHAT, auth=False).status_code == 204
    assert status_of(sluice.raw(b"OPTIONS * HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")) == 204


def test_answers_carry_cors(sluice):
    for r in (sluice.post(CHAT, BODY, headers={"Origin": "https://app.example"}),
              sluice.post(CHAT, b"{", headers={"Origin": "https://app.example"}),
              sluice.get("/v1/models", headers={"Origin": "https://app.example"})):
        assert r.headers["access-control-allow-origin"] in ("*", "https://app.example")


@pytest.mark.parametrize("method,path,allow", [("GET", CHAT, "POST"), ("PUT", CHAT, "POST"), ("DELETE", "/v1/messages", "POST"),
                                               ("PATCH", "/v1/models", "GET"), ("POST", "/healthz", "GET")])
def test_wrong_method(sluice, method, path, allow):
    r = sluice.call(method, path)
    assert r.status_code == 405
    assert allow in r.headers["allow"]


@pytest.mark.parametrize("path", ["/v1/models", "/healthz", "/openapi.json"])
def test_head_is_get_without_a_body(sluice, path):
    get, head = sluice.get(path), sluice.call("HEAD", path)
    assert head.status_code == get.status_code == 200
    assert head.content == b""
    assert head.headers["content-type"] == get.headers["content-type"]


@pytest.mark.parametrize("path", ["/nothing", "/v1/nothing", "/v1", "/v1/chat", "//v1/models", "/v1/models/", "/%00",
                                  "/v1/../etc/passwd", "/v1beta/models/x:fly"])
def test_unknown_paths(sluice, path):
    answer = sluice.raw(b"GET %s HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %s\r\nConnection: close\r\n\r\n"
                        % (path.encode(), sluice.key.encode()))
    assert status_of(answer) in (200, 400, 404, 405), answer[:200]
    if path in ("/nothing", "/v1/nothing", "/%00"):
        assert status_of(answer) in (400, 404)


def test_wrong_content_type(sluice):
    for kind in ("text/html", "application/xml", "multipart/form-data; boundary=x"):
        r = sluice.post(CHAT, BODY, headers={"Content-Type": kind})
        assert r.status_code == 415, kind
        FORMATS["chat"].read_error(415, r.content)
    for kind in ("application/json; charset=utf-8", "application/json", "APPLICATION/JSON"):
        assert sluice.post(CHAT, BODY, headers={"Content-Type": kind}).status_code == 200, kind


def test_length_required(sluice):
    answer = sluice.raw(request(sluice, b"", framing="Connection: close"))
    assert status_of(answer) in (400, 411)


def test_target_too_long(sluice):
    answer = sluice.raw(b"GET /" + b"a" * 100000 + b" HTTP/1.1\r\nHost: x\r\n\r\n")
    assert status_of(answer) in (414, 431)


def test_headers_too_large(sluice):
    answer = sluice.raw(request(sluice, headers=["X-Big: " + "a" * 200000]))
    assert status_of(answer) == 431
    answer = sluice.raw(request(sluice, headers=["X-%d: a" % i for i in range(3000)]))
    assert status_of(answer) == 431


MEGABYTE = "a" * (1 << 20)


@pytest.mark.parametrize("path, auth", [(CHAT, True), ("/sluice/v1/keys", True), ("/admin/api/config", True), ("/api/providers", True), ("/nowhere", False)])
def test_header_values_of_a_megabyte(sluice, path, auth):
    """Refused while they come, whoever asks for what; what such a value says is taken for nothing."""
    for name in ("X-Big", "Authorization", "Cookie", "Content-Type", "x-api-key", "traceparent", "x-request-id", "If-Match", "Host"):
        try:
            answer = sluice.raw(request(sluice, path=path, headers=["%s: %s" % (name, MEGABYTE)]))
        except (BrokenPipeError, ConnectionResetError):
            continue  # refused before all of it was sent
        assert answer == b"" or status_of(answer) == 431, (path, name, answer[:200])
    assert sluice.get("/v1/models").status_code == 200


def test_header_values_of_a_megabyte_where_they_may_come(start_sluice, scripted, upstream):
    config = basic_config(scripted.origin)
    config["server"]["max_head_bytes"] = 4 << 20
    s = start_sluice(config)
    for name in ("X-Big", "Cookie", "traceparent", "If-None-Match", "X-Forwarded-For", "Idempotency-Key", "x-request-id", "Accept"):
        answer = s.raw(request(s, headers=["%s: %s" % (name, MEGABYTE), "Connection: close"]))
        assert status_of(answer) in (200, 400), (name, answer[:200])
        assert len(answer) < 100_000, name
    for name in ("Authorization", "x-api-key", "x-goog-api-key"):
        answer = s.raw(b"POST %s HTTP/1.1\r\nHost: x\r\n%s: %s\r\nContent-Type: application/json\r\nContent-Length: %d\r\nConnection: close\r\n\r\n%s"
                       % (CHAT.encode(), name.encode(), MEGABYTE.encode(), len(BODY), BODY))
        assert status_of(answer) == 401 and len(answer) < 100_000, (name, answer[:200])


@pytest.mark.parametrize("stream", [False, True])
def test_header_values_of_a_megabyte_from_an_upstream(sluice, upstream, stream):
    body = {"model": "to-chat", "stream": stream, "messages": [{"role": "user", "content": "hi"}]}
    for name in ("x-request-id", "retry-after", "x-ratelimit-remaining-requests", "set-cookie", "x-anything"):
        upstream.play(raw(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n%s: %s\r\nContent-Length: 2\r\n\r\n{}"
                          % (name.encode(), MEGABYTE.encode()), then="close"))
        r = sluice.post(CHAT, body)
        assert r.status_code == 502 and r.json()["error"]["message"] and len(r.content) < 5000, (name, r.status_code, r.text[:300])
        assert sum(len(k) + len(v) for k, v in r.headers.items()) < 10_000
        upstream.reset()


def test_expect_continue(sluice):
    with sluice.connect() as s:
        s.sendall(request(sluice, b"", framing="Content-Length: %d" % len(BODY), headers=["Expect: 100-continue"]))
        s.settimeout(60)
        assert s.recv(100).startswith(b"HTTP/1.1 100 ")
        s.sendall(BODY)
        assert read_answer(s)[0] == 200


def test_expect_continue_is_refused_without_reading(sluice):
    """A wrong key is said before the body is sent."""
    with sluice.connect() as s:
        s.sendall(b"POST %s HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer no\r\nContent-Type: application/json\r\n"
                  b"Content-Length: 50000\r\nExpect: 100-continue\r\n\r\n" % CHAT.encode())
        s.settimeout(60)
        first = s.recv(4096)
        assert first.startswith((b"HTTP/1.1 401", b"HTTP/1.1 100"))


def test_pipelined_requests_are_answered_in_order(sluice):
    bodies = [b'{"model":"echo","messages":[{"role":"user","content":"number %d"}]}' % i for i in range(5)]
    with sluice.connect() as s:
        s.sendall(b"".join(request(sluice, b) for b in bodies))
        data = b""
        s.settimeout(60)
        while data.count(b"number ") < 5:
            got = s.recv(65536)
            assert got, data
            data += got
    order = [data.index(b"number %d" % i) for i in range(5)]
    assert order == sorted(order)


def test_body_in_single_bytes(sluice):
    with sluice.connect() as s:
        s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for b in request(sluice):
            s.sendall(bytes([b]))
        assert read_answer(s)[0] == 200


@pytest.mark.parametrize("path", [CHAT, "/v1/messages", "/sluice/v1/session"])
@pytest.mark.parametrize("size", [b"ffffffffffffffff", b"7fffffffffffffff", b"0000000040000000"])
def test_a_chunk_larger_than_a_body_may_be_is_refused_before_it_comes(sluice, path, size):
    answer = sluice.raw(request(sluice, size + b"\r\n{", path, framing="Transfer-Encoding: chunked"))
    assert status_of(answer) == 413, answer[:300]


def test_chunked_request_with_extensions_and_trailers(sluice):
    body = b"".join(b"%x;a=b\r\n%s\r\n" % (len(p), p) for p in (BODY[:7], BODY[7:30], BODY[30:])) + b"0\r\nX-T: 1\r\n\r\n"
    with sluice.connect() as s:
        s.sendall(request(sluice, body, framing="Transfer-Encoding: chunked"))
        assert read_answer(s)[0] == 200
        s.sendall(request(sluice))  # the connection is still in step
        assert read_answer(s)[0] == 200


def test_http_1_0(sluice):
    answer = sluice.raw(b"GET /healthz HTTP/1.0\r\n\r\n")
    assert b" 200 " in answer.split(b"\r\n")[0]


# Shapes that smuggle one request behind another when two parties read them differently

CHUNKED = b"%x\r\n%s\r\n0\r\n\r\n" % (len(BODY), BODY)
LENGTH = "Content-Length: %d" % len(BODY)
SMUGGLES = {
    "length-and-chunked": (["Content-Length: 6", "Transfer-Encoding: chunked"], CHUNKED),
    "chunked-and-length": (["Transfer-Encoding: chunked", "Content-Length: 6"], CHUNKED),
    "two-lengths": (["Content-Length: 5", LENGTH], BODY),
    "length-list": (["Content-Length: %d, %d" % (len(BODY), len(BODY) + 1)], BODY),
    "negative-length": (["Content-Length: -1"], BODY),
    "plus-length": (["Content-Length: +%d" % len(BODY)], BODY),
    "hex-length": (["Content-Length: 0x10"], BODY),
    "length-overflow": (["Content-Length: 18446744073709551617"], BODY),
    "length-with-space": (["Content-Length : %d" % len(BODY)], BODY),
    "chunked-twice": (["Transfer-Encoding: chunked", "Transfer-Encoding: chunked"], CHUNKED),
    "chunked-not-last": (["Transfer-Encoding: chunked, identity"], CHUNKED),
    "unknown-coding": (["Transfer-Encoding: xchunked"], CHUNKED),
    "vertical-tab": (["Transfer-Encoding:\x0bchunked"], CHUNKED),
    "obs-fold": (["X-A: b", " Transfer-Encoding: chunked", LENGTH], BODY),
    "folded-coding": (["Transfer-Encoding:", " chunked"], CHUNKED),
    "nul-in-header": (["X-A: a\x00b", LENGTH], BODY),
    "bare-cr-in-header": (["X-A: a\rContent-Length: 0", LENGTH], BODY),
    "name-with-space": (["X A: b", LENGTH], BODY),
    "no-colon": (["NoColonHere", LENGTH], BODY),
    "bad-chunk-size": (["Transfer-Encoding: chunked"], b"zz\r\n" + BODY),
    "chunk-size-overflow": (["Transfer-Encoding: chunked"], b"FFFFFFFFFFFFFFFFF\r\n" + BODY),
    "chunk-without-crlf": (["Transfer-Encoding: chunked"], b"5\r\nhelloX0\r\n\r\n"),
    "negative-chunk": (["Transfer-Encoding: chunked"], b"-5\r\nhello\r\n0\r\n\r\n"),
}


@pytest.mark.parametrize("what", SMUGGLES)
def test_smuggling_shapes_are_refused_and_the_connection_closed(sluice, upstream, what):
    headers, body = SMUGGLES[what]
    behind = b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"
    answer = sluice.raw(request(sluice, body + behind, framing="", headers=headers))
    assert status_of(answer) in (400, 411, 501), answer[:300]
    assert answer.count(b"HTTP/1.1 ") == 1, "what stood behind was answered: %r" % answer


@pytest.mark.parametrize("what,data", [
    ("line-feeds-only", b"GET /healthz HTTP/1.1\nHost: x\n\n"),
    ("bare-lf-in-headers", b"GET /healthz HTTP/1.1\r\nHost: x\nX-A: b\r\n\r\n"),
    ("no-version", b"GET /healthz\r\n\r\n"),
    ("http-2", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"),
    ("http-9", b"GET / HTTP/9.9\r\nHost: x\r\n\r\n"),
    ("tls", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\0" * 60),
    ("garbage", bytes(range(256)) * 4),
    ("space-method", b" GET / HTTP/1.1\r\nHost: x\r\n\r\n"),
    ("long-method", b"G" * 20000 + b" / HTTP/1.1\r\nHost: x\r\n\r\n"),
    ("no-host", b"GET /healthz HTTP/1.1\r\n\r\n"),
    ("two-hosts", b"GET /healthz HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n"),
])
def test_malformed_requests_close(sluice, what, data):
    answer = sluice.raw(data)
    assert answer == b"" or status_of(answer) in (400, 414, 431, 501, 505), answer[:200]
    assert sluice.get("/healthz", auth=False).status_code == 200


# Slow and many

@pytest.fixture
def impatient(start_sluice, scripted):
    config = basic_config(scripted.origin)
    config["server"].update(head_timeout_ms=400, body_timeout_ms=400, idle_timeout_ms=400)
    return start_sluice(config)


@pytest.mark.threads
def test_slow_headers_are_ended(impatient):
    """A byte now and then does not keep a connection: the whole head has a time."""
    with impatient.connect() as s:
        s.sendall(b"GET /healthz HTTP/1.1\r\n")
        s.settimeout(0.1)
        answer, ended = b"", False
        end = time.monotonic() + 60
        while not ended and time.monotonic() < end:
            try:
                s.sendall(b"X")
                got = s.recv(1000)
                answer += got
                ended = not got
            except socket.timeout:
                continue
            except OSError:
                ended = True
        assert ended
        assert answer == b"" or status_of(answer) == 408


def test_slow_body_is_ended(impatient):
    with impatient.connect() as s:
        s.sendall(request(impatient, BODY[:5], framing="Content-Length: %d" % len(BODY)))
        s.settimeout(60)
        answer = read_all(s)
    assert answer == b"" or status_of(answer) == 408


def test_idle_connections_are_closed(impatient):
    with impatient.connect() as s:
        s.settimeout(60)
        assert read_all(s) == b""


@pytest.mark.threads
def test_many_connections(start_sluice, scripted):
    """Ten thousand open connections (as many as the system allows), each of which then gets its answer."""
    config = basic_config(scripted.origin)
    config["server"].update(head_timeout_ms=600_000, idle_timeout_ms=600_000)  # however long all of them take to come
    sluice = start_sluice(config)
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)[1]  # of each process: ours and sluice's
    count = 10000 if limit >= 11000 else limit * 2 // 3
    sockets = []
    try:
        for _ in range(count):
            sockets.append(sluice.connect())
        for s in sockets:
            s.sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
        for s in sockets:
            assert read_answer(s)[0] == 200
        assert sluice.get("/v1/models").status_code == 200
    finally:
        for s in sockets:
            s.close()


@pytest.mark.threads
def test_concurrent_requests_do_not_mix(sluice, upstream):
    """Every caller gets its own words back, over many connections at once, streamed and not."""
    problems = []

    def work(n):
        f = FORMATS["chat"]
        for i in range(15):
            word = "word-%d-%d" % (n, i)
            r = sluice.post(CHAT, {"model": "echo", "stream": i % 2 == 1,
                                   "stream_options": {"include_usage": True}, "messages": [{"role": "user", "content": word}]})
            turn = f.read_stream(r.content) if i % 2 else f.read(r.content)
            if word not in turn.text:
                problems.append((word, turn.text))

    threads = [threading.Thread(target=work, args=(n,)) for n in range(16)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert not problems


def test_request_id_is_unique_and_taken_over(sluice):
    ids = {sluice.get("/v1/models").headers["x-request-id"] for _ in range(20)}
    assert len(ids) == 20
    r = sluice.get("/v1/models", headers={"x-request-id": "mine-123"})
    assert r.headers["x-request-id"]
    assert r.headers["x-request-id"] == "mine-123"
    r = sluice.get("/v1/models", headers={"x-request-id": "1764000000000000"})  # would stand for a place in the log
    assert r.headers["x-request-id"].startswith("req_")
    r = sluice.get("/v1/models", headers={"x-request-id": "bad\tid <x>" + "y" * 500})
    assert len(r.headers["x-request-id"]) < 200


@pytest.mark.threads
def test_draining_finishes_what_is_under_way(start_sluice, scripted, upstream):
    """SIGTERM during a stream: nobody new gets in, the stream ends whole, then the process exits 0."""
    gate, f, got = threading.Event(), FORMATS["chat"], []
    frames = f.events(Turn(text="slow but whole"))
    upstream.play(held_stream(frames[:3], gate, frames[3:], f.stream_type))
    s = start_sluice(basic_config(scripted.origin))

    def ask():
        with s.stream(CHAT, f.request(Ask(model="to-chat", stream=True))) as r:
            for data in r.iter_raw():
                got.append(data)

    t = threading.Thread(target=ask)
    t.start()
    wait_for(lambda: got, "the first bytes of the stream")
    s.process.send_signal(signal.SIGTERM)
    wait_for(lambda: is_refused(s), "the listener closes")
    gate.set()
    t.join(60)
    assert f.read_stream(b"".join(got)).text == "slow but whole"


def is_refused(s):
    try:
        s.connect().close()
    except OSError:
        return True
    return False
