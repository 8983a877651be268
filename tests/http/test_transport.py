"""The way to an upstream: TLS that is verified, and HTTP and SOCKS5 proxies. All of it on this machine."""
import socket
import socketserver
import ssl
import struct
import subprocess
import threading

import pytest
from conftest import basic_config
from formats import FORMATS
from formats.common import HELLO, Ask, Turn, dump
from gateway import KEY
from upstream import Upstream, answer, silence

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
    t.join(5)


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


def test_dead_proxy(start_sluice, scripted, upstream):
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        port = s.getsockname()[1]
    for kind in ("http", "socks5"):
        r = ask(start_sluice(config_for(scripted.origin, proxy="%s://127.0.0.1:%d" % (kind, port))))
        assert r.status_code == 502, r.text
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
    assert request.gone.wait(5)
