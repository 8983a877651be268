"""Starts the binary under test, talks to it, and sees that it ends well."""
import contextlib
import json
import os
import pathlib
import random
import signal
import socket
import subprocess
import time

import httpx
from contract import CONTROL, Contract

ROOT = pathlib.Path(__file__).resolve().parents[2]
BINARY = pathlib.Path(os.environ.get("SLUICE_BIN", ROOT / "build/debug/sluice")).resolve()
CACHE = pathlib.Path(os.environ.get("SLUICE_TEST_CACHE", ROOT / ".cache"))
KEY = "sk-test-0123456789abcdef0123456789abcdef"

# For each format of an upstream: provider type, what its base URL has behind the origin, and the format to insist on
# where the type speaks several.
KINDS = {"chat": ("openai-compatible", "/v1", None), "responses": ("openai", "/v1", "openai_responses"),
         "anthropic": ("anthropic", "", None), "google": ("google", "", None), "ollama": ("ollama", "", "ollama")}


def provider(name, origin, **more):
    kind, base, wire = KINDS[name]
    entry = {"type": kind, "api_key": "upstream-secret-" + name, "base_url": origin + base, **more}
    if wire:
        entry["wire"] = wire
    return entry


STREAMS = ("text/event-stream", "application/x-ndjson")  # read as they come, by the test itself


class Calls:
    """Which endpoints were called by which test: what the status page is made from."""

    def __init__(self, path):
        self.path, self.test, self.seen = path, "", set()

    def note(self, method, path):
        path = "".join(c if c.isprintable() else " " for c in path.partition("?")[0])  # hostile ones hold ends of lines
        row = "%s\t%s\t%s\n" % (method, path, self.test)
        if row not in self.seen:
            self.seen.add(row)
            with open(self.path, "a", encoding="utf-8") as out:  # O_APPEND: parallel workers may share it
                out.write(row)


class Sluice:
    """One running sluice. Ends by SIGTERM, and must then exit 0 without a sanitizer's report."""

    def __init__(self, folder, config, calls=None, arguments=(), env=None, key=KEY, wait=True, link_to=None):
        self.folder = pathlib.Path(folder)
        self.folder.mkdir(parents=True, exist_ok=True)
        self.config_path = self.folder / "sluice.jsonc"
        self.calls, self.key = calls, key
        if link_to:
            self.config_path.symlink_to(link_to)
        if config is not None:  # else as it stands
            self.write_config(config)
        port_file = self.folder / "port"
        port_file.unlink(missing_ok=True)
        self.log_path = self.folder / "log"
        self.log = open(self.log_path, "wb")
        clean = {k: v for k, v in os.environ.items() if not k.endswith("_API_KEY")}
        reports = "log_path=%s/sanitizer:exitcode=99" % self.folder
        for name in ("ASAN_OPTIONS", "UBSAN_OPTIONS", "TSAN_OPTIONS", "LSAN_OPTIONS"):
            clean[name] = ":".join(filter(None, [os.environ.get(name), reports]))
        self.process = subprocess.Popen(
            [str(BINARY), "serve", "--config", str(self.config_path), "--data", str(self.folder / "data"),
             "--port", "0", "--port-file", str(port_file), *arguments],
            stdout=self.log, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL, cwd=self.folder,
            env={**clean, "HOME": str(self.folder), **(env or {})})
        if not wait:
            return
        end = time.monotonic() + 60
        while not (port_file.exists() and port_file.read_text().strip()):
            if self.process.poll() is not None or time.monotonic() > end:
                self.process.kill()
                raise AssertionError("sluice did not start (status %s):\n%s" % (self.process.poll(), self.output()))
            time.sleep(0.005)
        self.port = int(port_file.read_text())
        self.origin = "http://127.0.0.1:%d" % self.port
        self.http = httpx.Client(base_url=self.origin, timeout=60, trust_env=False, verify=False,
                                 event_hooks={"request": [self.note], "response": [self.check]})

    def note(self, request):
        if self.calls:
            self.calls.note(request.method, request.url.path)

    contract = None  # of the binary under test: read once

    def check(self, response):
        """An answer of the control plane is what the served OpenAPI document says."""
        path = response.request.url.path
        if not path.startswith(CONTROL) or response.headers.get("content-type", "").startswith(STREAMS):
            return
        if Sluice.contract is None:
            with httpx.Client(trust_env=False, timeout=60) as http:
                Sluice.contract = Contract(http.get(self.origin + "/openapi.json").json())
        response.read()
        Sluice.contract.check(response.request.method, path, response)

    def write_config(self, config):
        """An object, or the text itself."""
        self.config_path.write_text(config if isinstance(config, str) else json.dumps(config, indent=1, ensure_ascii=False),
                                    encoding="utf-8")

    def output(self):
        self.log.flush()
        return self.log_path.read_text(errors="replace")

    def auth(self, key=None):
        return {"Authorization": "Bearer " + (key or self.key)}

    def get(self, path, **options):
        return self.call("GET", path, **options)

    def post(self, path, body=None, **options):
        return self.call("POST", path, body, **options)

    def call(self, method, path, body=None, headers=None, auth=True, **options):
        """body: an object (sent as JSON) or bytes."""
        headers = {**(self.auth() if auth else {}), **(headers or {})}
        if isinstance(body, (bytes, str)):
            options["content"] = body
            headers.setdefault("Content-Type", "application/json")
        elif body is not None:
            options["json"] = body
        return self.http.request(method, path, headers=headers, **options)

    def stream(self, path, body, headers=None):
        """A context manager: httpx's streaming answer."""
        return self.http.stream("POST", path, json=body, headers={**self.auth(), **(headers or {})})

    def connect(self):
        return socket.create_connection(("127.0.0.1", self.port), timeout=30)

    def raw(self, data, wait=True):
        """Sends bytes on a connection of its own, returns all that comes back until the peer closes."""
        with self.connect() as s:
            s.sendall(data)
            return read_all(s) if wait else b""

    def stop(self):
        if getattr(self, "http", None):
            self.http.close()
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        try:
            status = self.process.wait(30)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            raise AssertionError("sluice did not stop within 30 s of SIGTERM:\n" + self.output()[-3000:]) from None
        self.log.close()
        reports = [p.read_text(errors="replace") for p in self.folder.glob("sanitizer*")]
        assert not reports, "sanitizer report:\n" + "\n".join(reports)[:8000]
        assert status == 0, "sluice ended with status %s:\n%s" % (status, self.log_path.read_text(errors="replace")[-3000:])


def free_port():
    """A port for a program that cannot tell which one it was given: not of those that the kernel hands out meanwhile, and held by nobody."""
    low = int(pathlib.Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    while True:
        port = random.randrange(low // 2, low)
        with socket.socket() as s, contextlib.suppress(OSError):
            s.bind(("127.0.0.1", port))
            return port


def read_all(s):
    out = b""
    while True:
        try:
            data = s.recv(65536)
        except ConnectionResetError:
            return out
        if not data:
            return out
        out += data


def read_answer(s):
    """(status, headers, body) of one answer with a length or chunks, leaving the connection open."""
    data = b""

    def more():
        nonlocal data
        got = s.recv(65536)
        if not got:
            raise AssertionError("connection closed inside an answer: %r" % data[-300:])
        data += got

    while b"\r\n\r\n" not in data:
        more()
    head, _, data = data.partition(b"\r\n\r\n")
    lines = head.decode("latin-1").split("\r\n")
    headers = {k.strip().lower(): v.strip() for k, _, v in (line.partition(":") for line in lines[1:])}
    status, body = int(lines[0].split(" ")[1]), b""
    if headers.get("transfer-encoding") == "chunked":
        while True:
            while b"\r\n" not in data:
                more()
            size, _, rest = data.partition(b"\r\n")
            size = int(size.split(b";")[0], 16)
            while len(rest) < size + 2:
                more()
                size_line, _, rest = data.partition(b"\r\n")
            body, data = body + rest[:size], rest[size + 2:]
            if size == 0:
                return status, headers, body
    while len(data) < int(headers.get("content-length", 0)):
        more()
    return status, headers, data


def wait_for(condition, what, seconds=60):
    """Polls: for things that happen soon, whose moment is not the point."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        found = condition()
        if found:
            return found
        time.sleep(0.01)
    raise AssertionError("did not happen within %s s: %s" % (seconds, what))
