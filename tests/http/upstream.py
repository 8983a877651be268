"""A scripted upstream: a raw-socket HTTP server that does on demand what no real server does on demand.

Each request is answered by a script: an async function script(conn, request) that writes whatever bytes it
likes, when it likes. Every request is kept byte for byte, with the moment at which the peer went away.
It is a double, and says so: nothing here parses what sluice sends more leniently than the format modules do.
"""
import asyncio
import collections
import json
import socket
import struct
import threading
import time

from formats import FORMATS
from formats.common import HELLO, Turn, dump

REASONS = {200: "OK", 400: "Bad Request", 401: "Unauthorized", 403: "Forbidden", 404: "Not Found",
           413: "Content Too Large", 429: "Too Many Requests", 500: "Internal Server Error", 502: "Bad Gateway",
           503: "Service Unavailable", 504: "Gateway Timeout", 529: "Overloaded", 302: "Found", 307: "Temporary Redirect"}


class Request:
    """One request as it arrived. `gone` is set when the peer closed or reset while the answer was under way."""

    def __init__(self, head, connection):
        self.head = head  # the bytes up to and with the blank line
        self.connection = connection  # number of the connection it came on
        self.raw_body = b""  # the body as on the wire, with chunk framing
        self.body = b""
        lines = head.decode("latin-1").split("\r\n")
        self.method, self.target, self.version = lines[0].split(" ", 2)
        self.path = self.target.partition("?")[0]
        self.query = self.target.partition("?")[2]
        self.headers = [(k.strip().lower(), v.strip()) for k, _, v in (line.partition(":") for line in lines[1:-2])]
        self.at = time.monotonic()
        self.gone = threading.Event()
        self.gone_at = None
        self.answered = threading.Event()

    def header(self, name, default=None):
        values = [v for k, v in self.headers if k == name.lower()]
        return ", ".join(values) if values else default

    @property
    def json(self):
        return json.loads(self.body)

    def left(self):
        if not self.gone.is_set():
            self.gone_at = time.monotonic()
            self.gone.set()


class Connection(asyncio.Protocol):
    def __init__(self, upstream):
        self.upstream = upstream
        self.buffer = bytearray()
        self.more = asyncio.Event()
        self.lost = asyncio.Event()
        self.request = None

    def connection_made(self, transport):
        self.transport = transport
        sock = transport.get_extra_info("socket")
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        with self.upstream.lock:
            self.upstream.connections += 1
            self.number = self.upstream.connections
            tls = transport.get_extra_info("ssl_object")
            if tls:
                self.upstream.resumed.append(tls.session_reused)
        self.upstream.open.add(self)
        self.task = asyncio.ensure_future(self.serve())

    def data_received(self, data):
        self.buffer += data
        self.more.set()

    def eof_received(self):
        self.leave()
        return False

    def connection_lost(self, error):
        self.leave()
        self.upstream.open.discard(self)

    def leave(self):
        if self.request is not None and not self.request.answered.is_set():
            self.request.left()
        self.lost.set()
        self.more.set()

    async def until(self, ready):
        while True:
            found = ready()
            if found is not None:
                return found
            if self.lost.is_set():
                raise ConnectionResetError
            self.more.clear()
            await self.more.wait()

    async def take(self, n):
        await self.until(lambda: True if len(self.buffer) >= n else None)
        data = bytes(self.buffer[:n])
        del self.buffer[:n]
        return data

    async def take_line(self):
        at = await self.until(lambda: None if (i := self.buffer.find(b"\r\n")) < 0 else i)
        return await self.take(at + 2)

    async def read_head(self):
        at = await self.until(lambda: None if (i := self.buffer.find(b"\r\n\r\n")) < 0 else i)
        return Request(await self.take(at + 4), self.number)

    async def read_body(self, request):
        if request.header("transfer-encoding", "").lower() == "chunked":
            raw_body, body, size = bytearray(), bytearray(), None
            while size != 0:
                line = await self.take_line()
                size = int(line.split(b";")[0], 16)
                data = await self.take(size + 2) if size else b""
                raw_body += line + data
                body += data[:-2]
            while line != b"\r\n":  # trailers
                line = await self.take_line()
                raw_body += line
            request.raw_body, request.body = bytes(raw_body), bytes(body)
        elif request.header("content-length"):
            request.body = request.raw_body = await self.take(int(request.header("content-length")))

    async def serve(self):
        try:
            while True:
                request = self.request = await self.read_head()
                if self.lost.is_set():  # it came and went before it was looked at
                    request.left()
                with self.upstream.lock:
                    script = self.upstream.pick(request)
                if not getattr(script, "reads_body", False):
                    await self.read_body(request)
                    with self.upstream.lock:
                        script = script or self.upstream.default(request)
                        self.upstream.requests.append(request)
                        self.upstream.arrived.notify_all()
                await script(self, request)
                request.answered.set()
                if self.transport.is_closing():
                    return
        except (ConnectionError, asyncio.CancelledError):
            pass
        except Exception as e:  # a bug of the rig or a request that breaks HTTP: the test must see it
            self.upstream.broken.append(repr(e))
            self.transport.abort()

    # what scripts are made of

    def send(self, data):
        self.transport.write(data)

    async def drain(self):
        """Waits until everything is with the kernel."""
        while self.transport.get_write_buffer_size() and not self.lost.is_set():
            await asyncio.sleep(0.001)

    async def until_read(self):
        """Waits until the peer has read everything: a reset would throw away what it has not."""
        await self.drain()
        sock = self.transport.get_extra_info("socket")
        mine, theirs = (":%04X" % name[1] for name in (sock.getsockname(), sock.getpeername()))
        end = time.monotonic() + 10  # a peer that is held back itself reads no more
        while not self.lost.is_set() and time.monotonic() < end:
            with open("/proc/net/tcp", encoding="ascii") as table:
                rows = [line.split() for line in table]
            ends = {(a[-5:], b[-5:]): queue.split(":") for _, a, b, _, queue, *_ in rows}
            if not any(int(n, 16) for n in (ends.get((mine, theirs), "00")[0], ends.get((theirs, mine), "00")[1])):  # sent, and received
                return
            await asyncio.sleep(0.005)

    def finish(self):
        """Closes both directions after what was written."""
        self.transport.close()

    def half_close(self):
        self.transport.write_eof()

    def reset(self):
        sock = self.transport.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.transport.abort()

    async def until_gone(self, seconds=120):
        """Says nothing until the peer leaves."""
        try:
            await asyncio.wait_for(self.lost.wait(), seconds)
        except asyncio.TimeoutError:
            pass


class Upstream:
    """The server, in a thread of its own. With an ssl.SSLContext it speaks TLS."""

    def __init__(self, tls=None):
        self.lock = threading.RLock()
        self.arrived = threading.Condition(self.lock)
        self.requests, self.queue, self.open, self.broken = [], collections.deque(), set(), []
        self.connections, self.answers, self.always, self.resumed = 0, 0, None, []
        self.loop = asyncio.new_event_loop()
        ready = threading.Event()

        def work():
            asyncio.set_event_loop(self.loop)
            self.server = self.loop.run_until_complete(
                self.loop.create_server(lambda: Connection(self), "127.0.0.1", 0, backlog=4096, ssl=tls))
            self.port = self.server.sockets[0].getsockname()[1]
            ready.set()
            self.loop.run_forever()

        self.thread = threading.Thread(target=work, name="upstream", daemon=True)
        self.thread.start()
        ready.wait()
        self.origin = "%s://127.0.0.1:%d" % ("https" if tls else "http", self.port)

    def stop(self):
        def end():
            self.server.close()
            for c in list(self.open):
                c.transport.abort()
            self.loop.call_later(0.05, self.loop.stop)

        self.loop.call_soon_threadsafe(end)
        self.thread.join(30)
        self.loop.close()

    def reset(self):
        """Forgets scripts and requests. Connections stay: sluice's pool is part of what is tested."""
        with self.lock:
            self.requests, self.queue, self.always, self.broken = [], collections.deque(), None, []

    def next(self, *scripts):
        """Plays each script once, in order, before anything else."""
        with self.lock:
            self.queue.extend(scripts)

    def play(self, script):
        """Plays the script for every request from now on."""
        with self.lock:
            self.always = script

    def pick(self, request):
        if self.queue:
            return self.queue.popleft()
        return self.always

    def default(self, request):
        """A plain answer in the format of the path."""
        for f in FORMATS.values():
            if request.method == "POST" and f.is_for_me(request.path):
                return answer(f, Turn(text=HELLO))
        return http(404, dump({"error": {"message": "the scripted upstream has no " + request.path,
                                         "type": "invalid_request_error", "param": None, "code": None}}))

    def wait(self, count=1, seconds=60):
        """The first `count` requests, once they have arrived."""
        with self.lock:
            if not self.arrived.wait_for(lambda: len(self.requests) >= count, seconds):
                raise AssertionError("the upstream saw %d requests, not %d" % (len(self.requests), count))
            return self.requests[:count]

    @property
    def last(self):
        with self.lock:
            assert self.requests, "nothing reached the upstream"
            return self.requests[-1]


# Scripts

def head(status=200, headers=(), version="HTTP/1.1"):
    lines = ["%s %d %s" % (version, status, REASONS.get(status, "Something"))]
    lines += ["%s: %s" % h for h in (headers.items() if isinstance(headers, dict) else headers)]
    return ("\r\n".join(lines) + "\r\n\r\n").encode()


def http(status=200, body="", content_type="application/json", headers=()):
    """A whole answer with a length."""
    body = body if isinstance(body, bytes) else body.encode()

    async def script(conn, request):
        conn.send(head(status, [("Content-Type", content_type), ("Content-Length", len(body)), *headers]) + body)

    return script


def chunk(data):
    return b"%x\r\n%s\r\n" % (len(data), data)


def pieces(data, size):
    return [data[i : i + size] for i in range(0, len(data), size)]


def stream(frames, content_type="text/event-stream", how="events", pause=0, end="chunked", headers=(), trailers=()):
    """A chunked answer. how: "events" one frame a write, "bytes" one byte a write, "whole" one write.
    end: "chunked" ends well, "close" closes without the last chunk, "reset", "silence" says no more,
    "half" shuts the sending side only, "eof" is an answer without framing that ends with the connection."""
    data = b"".join(frames)
    parts = {"events": frames, "whole": [data], "bytes": pieces(data, 1)}.get(how) if isinstance(how, str) \
        else pieces(data, how)
    framed = end != "eof"

    async def script(conn, request):
        framing = [("Transfer-Encoding", "chunked")] if framed else [("Connection", "close")]
        conn.send(head(200, [("Content-Type", content_type), *framing, *headers]))
        for p in parts:
            conn.send(chunk(p) if framed else p)
            if how != "whole":  # one segment each
                await asyncio.sleep(pause)
            if conn.lost.is_set():
                return
            await conn.drain()
        if end == "chunked":
            conn.send(b"0\r\n" + b"".join(("%s: %s\r\n" % t).encode() for t in trailers) + b"\r\n")
        elif end == "silence":
            await conn.until_gone()
        elif end == "half":
            conn.half_close()
            await conn.until_gone()
        elif end == "reset":
            await conn.until_read()
            conn.reset()
        else:
            conn.finish()

    return script


def answer(fmt, turn, how="events", **options):
    """A model's answer in a format, streamed if the request asks for it."""

    async def script(conn, request):
        conn.upstream.answers += 1
        fmt.serial = conn.upstream.answers  # as with a real vendor, no two answers have the same id
        model = request.json.get("model") or request.path.split("/models/")[-1].split(":")[0]
        if fmt.wants_stream(request):
            asked = fmt.name != "chat" or bool((request.json.get("stream_options") or {}).get("include_usage"))
            play = stream(fmt.events(turn, model, asked), fmt.stream_type, how, **options)
        else:
            play = http(200, dump(fmt.reply(turn, model)))
        await play(conn, request)

    return script


def cut_stream(fmt, turn, keep, end="close"):
    """The first `keep` bytes of a stream, then the given end."""
    return stream([b"".join(fmt.events(turn))[:keep]], fmt.stream_type, "whole", end=end)


def failure(fmt, status, message, headers=(), **more):
    """An error in the words of a format."""
    return http(status, dump(fmt.error(status, message, **more)), headers=headers)


def raw(data, then="keep"):
    """Any bytes at all."""

    async def script(conn, request):
        conn.send(data)
        await conn.drain()
        if then == "close":
            conn.finish()
        elif then == "reset":
            await conn.until_read()
            conn.reset()
        elif then == "silence":
            await conn.until_gone()

    return script


async def silence(conn, request):
    await conn.until_gone()


async def slam(conn, request):
    """Closes without a word."""
    conn.finish()


async def reset(conn, request):
    conn.reset()


def held_stream(first, gate, then, content_type):
    """Some frames, then nothing until a threading.Event is set, then the rest and a good end."""

    async def script(conn, request):
        conn.send(head(200, [("Content-Type", content_type), ("Transfer-Encoding", "chunked")]))
        conn.send(chunk(b"".join(first)))
        while not gate.is_set() and not conn.lost.is_set():
            await asyncio.sleep(0.005)
        if not conn.lost.is_set():
            conn.send(chunk(b"".join(then)) + b"0\r\n\r\n")

    return script
