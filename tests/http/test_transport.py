"""The way to an upstream: TLS that is verified, and HTTP and SOCKS5 proxies. All of it on this machine."""
import asyncio
import concurrent.futures
import contextlib
import http.server
import shutil
import socket
import socketserver
import ssl
import struct
import subprocess
import threading

import pytest
from conftest import basic_config
from faults import preloaded
from formats import FORMATS
from formats.common import HELLO, Ask, Turn, dump
from gateway import KEY, Sluice, free_port, wait_for
from upstream import Upstream, answer, chunk, failure, head, held_stream, silence, stream

CHAT = FORMATS["chat"]


def run_openssl(folder, *arguments):
    subprocess.run(["openssl", *arguments], cwd=folder, check=True, capture_output=True)


@pytest.fixture(scope="module")
def certificates(tmp_path_factory):
    """A private CA, another CA that nobody knows, and certificates of the first: good, for another name, expired."""
    d = tmp_path_factory.mktemp("ca")
    key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]
    for ca in ("ca", "other"):
        run_openssl(d, "req", "-x509", *key, "-days", "30", "-subj", "/CN=" + ca, "-keyout", ca + ".key", "-out", ca + ".pem",
                    "-addext", "basicConstraints=critical,CA:TRUE")
    for name, san, dates in (("good", "DNS:localhost,IP:127.0.0.1", ["-days", "30"]),
                             ("elsewhere", "DNS:elsewhere.example", ["-days", "30"]),
                             ("expired", "DNS:localhost,IP:127.0.0.1", ["-days", "-1"])):
        (d / (name + ".ext")).write_text("subjectAltName=" + san + "\n")
        run_openssl(d, "req", *key, "-subj", "/CN=" + name, "-keyout", name + ".key", "-out", name + ".csr")
        run_openssl(d, "x509", "-req", "-in", name + ".csr", "-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial",
                    *dates, "-extfile", name + ".ext", "-out", name + ".pem")
    return d


@pytest.fixture
def tls_upstream(certificates):
    running = []

    def start(name="good"):
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificates / (name + ".pem"), certificates / (name + ".key"))
        running.append(Upstream(context))
        return running[-1]

    yield start
    for u in running:
        u.stop()


def config_for(origin, **provider):
    config = basic_config(origin)
    for entry in config["providers"].values():
        if entry["type"] != "echo":
            entry.update(provider)
    return config


def ask(s, up="chat", streaming=False):
    f = FORMATS["chat"]
    r = s.post("/v1/chat/completions", f.request(Ask(model="to-" + up, stream=streaming)))
    if r.status_code == 200:
        assert (f.read_stream if streaming else f.read)(r.content).text == HELLO
    return r


# TLS

@pytest.mark.parametrize("up", FORMATS)
def test_tls_with_a_private_ca(start_sluice, tls_upstream, certificates, up):
    u = tls_upstream()
    s = start_sluice(config_for(u.origin, ca_file=str(certificates / "ca.pem")))
    for streaming in (False, True):
        assert ask(s, up, streaming).status_code == 200
    assert len(u.requests) == 2


def test_tls_sessions_are_reused(start_sluice, tls_upstream, certificates):
    u = tls_upstream()

    async def closing(conn, request):
        await answer(CHAT, Turn(text=HELLO))(conn, request)
        await conn.drain()
        conn.finish()

    u.play(closing)
    s = start_sluice(config_for(u.origin, ca_file=str(certificates / "ca.pem")), arguments=["--threads", "1"])
    for _ in range(3):
        assert ask(s).status_code == 200
    assert u.resumed[0] is False and u.resumed[-1] is True


def test_tls_with_an_unknown_ca(start_sluice, tls_upstream, certificates):
    u = tls_upstream()
    for ca in ({}, {"ca_file": str(certificates / "other.pem")}):
        r = ask(start_sluice(config_for(u.origin, **ca)))
        assert r.status_code == 502, r.text
        assert "certificate" in r.json()["error"]["message"].lower()
    assert not u.requests, "a request was sent to somebody unproven"


@pytest.mark.parametrize("name", ["elsewhere", "expired"])
def test_tls_with_a_bad_certificate(start_sluice, tls_upstream, certificates, name):
    u = tls_upstream(name)
    r = ask(start_sluice(config_for(u.origin, ca_file=str(certificates / "ca.pem"))))
    assert r.status_code == 502, r.text
    assert not u.requests


def test_tls_to_a_plain_port_and_back(start_sluice, scripted, upstream, tls_upstream):
    config = config_for(scripted.origin.replace("http:", "https:"))
    config["server"]["connect_timeout_ms"] = 500  # the plain port waits for the rest of what it takes for a request
    assert ask(start_sluice(config)).status_code in (502, 504)
    u = tls_upstream()
    r = ask(start_sluice(config_for(u.origin.replace("https:", "http:"))))
    assert r.status_code == 502
    assert not u.requests


# Proxies

def pipe(a, b):
    def copy(x, y):
        try:
            while data := x.recv(65536):
                y.sendall(data)
        except OSError:
            pass
        for z in (x, y):
            try:
                z.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass

    t = threading.Thread(target=copy, args=(a, b), daemon=True)
    t.start()
    copy(b, a)
    t.join(60)


class Proxy(socketserver.ThreadingTCPServer):
    """An HTTP proxy (CONNECT, or absolute targets) or a SOCKS5 proxy. `seen` holds what was asked of it."""

    allow_reuse_address = daemon_threads = True

    def __init__(self, kind):
        self.seen, self.kind = [], kind
        super().__init__(("127.0.0.1", 0), {"http": HttpProxy, "socks5": SocksProxy}[kind])
        self.url = "%s://127.0.0.1:%d" % (kind, self.server_address[1])
        threading.Thread(target=self.serve_forever, daemon=True).start()


class HttpProxy(socketserver.BaseRequestHandler):
    def handle(self):
        head = b""
        while b"\r\n\r\n" not in head:
            data = self.request.recv(65536)
            if not data:
                return
            head += data
        method, target, _ = head.split(b"\r\n")[0].decode().split(" ")
        self.server.seen.append((method, target, head))
        if method == "CONNECT":
            host, _, port = target.rpartition(":")
            with socket.create_connection((host, int(port))) as out:
                self.request.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
                pipe(self.request, out)
        else:
            host, _, port = target.split("/")[2].partition(":")
            with socket.create_connection((host, int(port))) as out:
                path = "/" + target.split("/", 3)[3]
                out.sendall(head.replace(target.encode(), path.encode(), 1))
                pipe(self.request, out)


class SocksProxy(socketserver.BaseRequestHandler):
    def take(self, n):
        data = b""
        while len(data) < n:
            got = self.request.recv(n - len(data))
            if not got:
                raise ConnectionError
            data += got
        return data

    def handle(self):
        try:
            _, n = self.take(2)
            self.take(n)
            self.request.sendall(b"\x05\x00")
            _, command, _, kind = self.take(4)
            if kind == 3:
                host = self.take(self.take(1)[0]).decode()
            else:
                host = socket.inet_ntop(socket.AF_INET if kind == 1 else socket.AF_INET6, self.take(4 if kind == 1 else 16))
            port = struct.unpack(">H", self.take(2))[0]
        except ConnectionError:
            return
        self.server.seen.append((command, host, port))
        with socket.create_connection((host, port)) as out:
            self.request.sendall(b"\x05\x00\x00\x01\0\0\0\0\0\0")
            pipe(self.request, out)


@pytest.fixture(params=["http", "socks5"])
def proxy(request):
    p = Proxy(request.param)
    yield p
    p.shutdown()
    p.server_close()


@pytest.mark.parametrize("where", ["provider", "server"])
@pytest.mark.parametrize("up", FORMATS)
def test_proxies(start_sluice, scripted, upstream, proxy, where, up):
    config = config_for(scripted.origin, **({"proxy": proxy.url} if where == "provider" else {}))
    if where == "server":
        config["server"]["proxy"] = proxy.url
    s = start_sluice(config)
    for streaming in (False, True):
        r = ask(s, up, streaming)
        assert r.status_code == 200, r.text
    assert proxy.seen, "the proxy was passed by"
    assert len(upstream.requests) == 2


def test_proxy_and_tls(start_sluice, tls_upstream, certificates, proxy):
    """The proxy sees neither key nor words: TLS is with the upstream."""
    u = tls_upstream()
    s = start_sluice(config_for(u.origin, ca_file=str(certificates / "ca.pem"), proxy=proxy.url))
    for streaming in (False, True):
        assert ask(s, "chat", streaming).status_code == 200
    assert proxy.seen and len(u.requests) == 2
    if proxy.kind == "http":
        assert proxy.seen[0][0] == "CONNECT"
        assert b"upstream-secret" not in b"".join(h for _, _, h in proxy.seen)


def kept(s):
    return b"".join(f.read_bytes() for f in (s.folder / "data").rglob("*") if f.is_file())


def test_a_password_of_a_proxy_is_sealed_and_used(tmp_path, calls, scripted, upstream):
    """A provider's and the setting's, where the store holds them: through a rename, a switch, another change and a new start."""
    p = Proxy("http")
    secret = "http://user:pw-canary-0815@127.0.0.1:%d" % p.server_address[1]
    (tmp_path / "sluice.jsonc").write_text(dump({"server": {"api_keys": [{"key": KEY, "scopes": ["admin", "inference"]}]}}))
    (tmp_path / "sluice.jsonc").chmod(0o444)  # what is made over the API stands in the store

    def through(s, model, is_new=True):
        seen = len(p.seen)
        assert s.post("/v1/chat/completions", CHAT.request(Ask(model=model))).status_code == 200
        assert len(p.seen) == seen + is_new and b"proxy-authorization: basic dxnlcjpwdy1jyw5hcnktmdgxnq==" in p.seen[-1][2].lower()
        assert b"pw-canary" not in kept(s), "at rest it is sealed"

    s = Sluice(tmp_path, None, calls)
    for name, proxy, origin in (("own", secret, scripted.origin), ("shared", "", scripted.origin.replace("127.0.0.1", "localhost"))):
        assert s.post("/sluice/v1/providers", {"name": name, "type": "openai-compatible", "base_url": origin + "/v1",
                                               "api_key": "upstream-secret-chat", "proxy": proxy}).status_code == 201
        assert s.post("/sluice/v1/models", {"name": "m-" + name, "targets": [{"provider": name}]}).status_code == 201
    assert s.call("PATCH", "/sluice/v1/settings/proxy", {"value": secret}).status_code == 200
    through(s, "m-own")
    through(s, "m-shared")
    assert s.call("PATCH", "/sluice/v1/providers/own", {"priority": 3, "proxy": secret.replace("user:pw-canary-0815", "***")}).status_code == 200
    assert s.call("PATCH", "/sluice/v1/providers/own", {"name": "renamed"}).status_code == 200
    for _ in range(2):
        assert s.post("/admin/api/config/providers/renamed/toggle").status_code == 200
    through(s, "m-own", False)
    s.stop()
    s = Sluice(tmp_path, None, calls)
    through(s, "m-own")
    through(s, "m-shared")
    assert "***@" in s.get("/sluice/v1/providers/renamed").json()["proxy"]
    s.stop()
    (tmp_path / "data/master.key").write_text("ab" * 32)  # another installation's: what does not open must not go out another way
    s = Sluice(tmp_path, None, calls)
    assert s.post("/v1/chat/completions", CHAT.request(Ask(model="m-own"))).status_code in (404, 503)
    assert "provider.proxy_lost" in s.output()
    s.stop()
    p.shutdown()
    p.server_close()


def test_dead_proxy(start_sluice, scripted, upstream):
    with socket.socket() as s:  # nobody listens, and nobody else gets the port
        s.bind(("127.0.0.1", 0))
        for kind in ("http", "socks5"):
            running = start_sluice(config_for(scripted.origin, proxy="%s://127.0.0.1:%d" % (kind, s.getsockname()[1])))
            r = ask(running)
            assert r.status_code == 502 and "the proxy of" in r.text, r.text
            assert str(s.getsockname()[1]) not in r.text and "proxy.failed" in running.output()  # its address is the operator's
    assert not upstream.requests, "the proxy was passed by"


def test_client_leaves_behind_a_proxy(start_sluice, scripted, upstream, proxy):
    s = start_sluice(config_for(scripted.origin, proxy=proxy.url))
    upstream.play(silence)
    c = s.connect()
    body = dump(CHAT.request(Ask(model="to-chat", stream=True))).encode()
    c.sendall(b"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %s\r\nContent-Type: application/json\r\n"
              b"Content-Length: %d\r\n\r\n" % (KEY.encode(), len(body)) + body)
    request = upstream.wait()[0]
    c.close()
    assert request.gone.wait(30)


# HTTP/2

NGINX = shutil.which("nginx") or "/usr/sbin/nginx"


@pytest.fixture
def http2_upstream(tmp_path, certificates, scripted, upstream):
    """nginx speaks HTTP/2 over TLS and hands the requests on to the scripted upstream, with what it was spoken to in."""
    running = []

    def start(versions="http2"):
        port = free_port()
        folder = tmp_path / ("nginx%d" % len(running))
        folder.mkdir()
        (folder / "nginx.conf").write_text("""
            daemon off; pid %(folder)s/pid; error_log %(folder)s/error.log info; worker_processes 1;
            events { worker_connections 256; }
            http {
                access_log off; client_max_body_size 0; proxy_buffering off; proxy_http_version 1.1; proxy_set_header Connection "";
                client_body_temp_path %(folder)s/b; proxy_temp_path %(folder)s/p; fastcgi_temp_path %(folder)s/f;
                uwsgi_temp_path %(folder)s/u; scgi_temp_path %(folder)s/s;
                server {
                    listen 127.0.0.1:%(port)d ssl %(versions)s;
                    ssl_certificate %(ca)s/good.pem; ssl_certificate_key %(ca)s/good.key;
                    location / { proxy_pass %(origin)s; proxy_set_header x-spoken $server_protocol;
                                 proxy_set_header x-connection $connection; }
                }
            }""" % {"folder": folder, "port": port, "versions": versions, "ca": certificates, "origin": scripted.origin})
        process = subprocess.Popen([NGINX, "-p", str(folder), "-c", str(folder / "nginx.conf"), "-e", str(folder / "error.log")])
        running.append(process)

        def answers():
            assert process.poll() is None, (folder / "error.log").read_text()
            with socket.socket() as s:
                return s.connect_ex(("127.0.0.1", port)) == 0

        wait_for(answers, "nginx listens")
        return "https://127.0.0.1:%d" % port

    yield start
    for process in running:
        process.terminate()
        process.wait(30)


@pytest.mark.parametrize("up", FORMATS)
def test_http2(start_sluice, upstream, http2_upstream, certificates, up):
    s = start_sluice(config_for(http2_upstream(), ca_file=str(certificates / "ca.pem"), http2=True), arguments=["--threads", "1"])
    for streaming in (False, True, False):
        assert ask(s, up, streaming).status_code == 200
    assert [r.header("x-spoken") for r in upstream.requests] == ["HTTP/2.0"] * 3
    assert len({r.header("x-connection") for r in upstream.requests}) == 1, "the connection is kept"


def test_http2_streams_share_a_connection(start_sluice, upstream, http2_upstream, certificates):
    """Twenty at once, all open before the first one goes on."""
    s = start_sluice(config_for(http2_upstream(), ca_file=str(certificates / "ca.pem"), http2=True), arguments=["--threads", "1"])
    frames, gate = CHAT.events(Turn(text=HELLO)), threading.Event()
    upstream.play(held_stream(frames[:2], gate, frames[2:], "text/event-stream"))
    with concurrent.futures.ThreadPoolExecutor(20) as pool:
        asked = [pool.submit(ask, s, "chat", True) for _ in range(20)]
        upstream.wait(20, 100)
        gate.set()
        assert [f.result().status_code for f in asked] == [200] * 20
    assert len({r.header("x-connection") for r in upstream.requests}) < 20
    assert {r.header("x-spoken") for r in upstream.requests} == {"HTTP/2.0"}


def test_http2_where_the_server_has_none(start_sluice, upstream, http2_upstream, certificates):
    s = start_sluice(config_for(http2_upstream(""), ca_file=str(certificates / "ca.pem"), http2=True))
    assert ask(s).status_code == 200
    assert upstream.last.header("x-spoken") == "HTTP/1.1"


def test_http2_faults(start_sluice, upstream, http2_upstream, certificates):
    s = start_sluice(config_for(http2_upstream(), ca_file=str(certificates / "ca.pem"), http2=True))
    upstream.play(failure(CHAT, 429, "slow down", [("Retry-After", "7")]))
    r = ask(s)
    assert (r.status_code, r.headers["retry-after"]) == (429, "7") and "slow down" in r.text
    s.stop()
    s = start_sluice(config_for(http2_upstream(), ca_file=str(certificates / "ca.pem"), http2=True))
    gate = threading.Event()

    async def cut(conn, request):
        conn.send(head(200, [("Content-Type", "text/event-stream"), ("Transfer-Encoding", "chunked")]))
        conn.send(chunk(b"".join(CHAT.events(Turn(text=HELLO))[:3])))
        while not gate.is_set():
            await asyncio.sleep(0.005)
        conn.finish()  # nginx resets the stream

    upstream.play(cut)
    with s.stream("/v1/chat/completions", CHAT.request(Ask(model="to-chat", stream=True))) as r:
        pieces = r.iter_bytes()
        data = next(pieces)
        gate.set()
        data += b"".join(pieces)
    assert r.status_code == 200 and CHAT.read_stream_error(data).message


@pytest.mark.parametrize("siblings", [0, 1, 5])
def test_http2_upstream_is_told_that_nobody_listens(start_sluice, upstream, http2_upstream, certificates, siblings):
    """Also where the connection has other streams, none of which says anything."""
    s = start_sluice(config_for(http2_upstream(), ca_file=str(certificates / "ca.pem"), http2=True), arguments=["--threads", "1"])
    upstream.play(stream(CHAT.events(Turn(text=HELLO))[:3], end="silence"))
    body = CHAT.request(Ask(model="to-chat", stream=True))
    with contextlib.ExitStack() as stack:
        open_ones = [stack.enter_context(s.stream("/v1/chat/completions", body)).iter_bytes() for _ in range(siblings)]
        for pieces in open_ones:
            next(pieces)
        others = list(upstream.requests)
        with s.stream("/v1/chat/completions", body) as r:
            next(r.iter_bytes())
        assert upstream.requests[-1].gone.wait(30)
        assert len(upstream.requests) == siblings + 1 and not any(o.gone.is_set() for o in others)
    upstream.play(None)
    assert ask(s).status_code == 200


# Time and addresses

@pytest.mark.parametrize("where", ["provider", "server"])
def test_the_time_of_a_whole_reply(start_sluice, scripted, upstream, where):
    """A drip that never falls silent for long is ended all the same."""
    config = config_for(scripted.origin, **({"total_timeout_ms": 2000} if where == "provider" else {}))
    config["server"].update({"total_timeout_ms": 2000} if where == "server" else {})
    s = start_sluice(config)
    frames = CHAT.events(Turn(text="word " * 400))
    upstream.play(stream(frames, pause=0.05))
    r = s.post("/v1/chat/completions", CHAT.request(Ask(model="to-chat", stream=True)))
    assert r.status_code == 200
    assert "2000 ms" in CHAT.read_stream_error(r.content).message
    assert upstream.last.gone.wait(30)
    s.stop()
    s = start_sluice(config)  # one that failed cools down

    async def drip(conn, request):
        conn.send(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 100000\r\n\r\n{")
        while not conn.lost.is_set():
            conn.send(b" ")
            await asyncio.sleep(0.05)

    upstream.play(drip)
    r = s.post("/v1/chat/completions", CHAT.request(Ask(model="to-chat")))
    assert r.status_code == 504 and CHAT.read_error(504, r.content).code == "gateway_timeout"
    assert upstream.last.gone.wait(30)


class Elsewhere(http.server.BaseHTTPRequestHandler):
    """Another address of the upstream's name."""

    def do_POST(self):
        self.rfile.read(int(self.headers["content-length"]))
        self.server.served.append(self.path)
        body = dump(CHAT.reply(Turn(text=HELLO))).encode()
        self.send_response(200)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


@pytest.mark.parametrize("first", ["answers", "is mute", "refuses"])
def test_the_addresses_of_a_name_are_tried_in_turn(start_sluice, library, tmp_path, scripted, upstream, first):
    """RFC 8305: the next one is asked only when the one before refuses, or has said nothing for a while."""
    s = start_sluice(config_for("http://two.test:%d" % scripted.port, connect_timeout_ms=5000, allow_private=True),
                     env={**preloaded(library, tmp_path / "gate"), "SLUICE_NAMES": "two.test=127.0.0.2,127.0.0.1"})
    served = []
    with contextlib.ExitStack() as stack:
        if first == "answers":
            other = http.server.ThreadingHTTPServer(("127.0.0.2", scripted.port), Elsewhere)
            other.served = served
            threading.Thread(target=other.serve_forever, daemon=True).start()
            stack.callback(other.server_close)
            stack.callback(other.shutdown)
        if first == "is mute":
            mute = stack.enter_context(socket.socket())
            mute.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            mute.bind(("127.0.0.2", scripted.port))
            mute.listen(0)  # its queue is full: further connections are left without an answer
            for _ in range(8):
                c = stack.enter_context(socket.socket())
                c.setblocking(False)
                c.connect_ex(("127.0.0.2", scripted.port))
        assert ask(s).status_code == 200
        assert (len(served), len(upstream.requests)) == ((1, 0) if first == "answers" else (0, 1))
