"""The programs of a benchmark: mock upstream, nginx, sluice, and runs of the load generator.

Everything listens on loopback, is pinned to a core, and dies with this process.
"""
import ctypes
import http.client
import json
import os
import shutil
import signal
import socket
import subprocess
import time
from pathlib import Path

import bodies

ROOT = Path(__file__).resolve().parent.parent
TOOLS = ROOT / "build" / "bench"
CLIENT_KEY = "sk-bench-0123456789abcdef0123456789abcdef"
UPSTREAM_KEY = "upstream-key"
TEMPERS = ("once", "paced", "slow", "idle", "tls")
START_SECONDS = 20

_LIBC = ctypes.CDLL(None)


class BenchError(Exception):
    """Something that makes one measurement impossible; the others go on."""


def build_tools():
    """The mock and the generator, optimised, whatever else is built."""
    steps = []
    if not (TOOLS / "build.ninja").exists():
        steps.append(["cmake", "-S", str(ROOT / "bench"), "-B", str(TOOLS), "-G", "Ninja"])
    steps.append(["ninja", "-C", str(TOOLS)])
    for step in steps:
        done = subprocess.run(step, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise SystemExit(f"bench: {' '.join(step)} failed:\n{done.stdout}{done.stderr}")


def make_certificate(folder):
    """A P-256 certificate for 127.0.0.1; returns its path and its key's."""
    cert, key = folder / "cert.pem", folder / "key.pem"
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"]
    command += ["-nodes", "-days", "2", "-subj", "/CN=localhost", "-keyout", str(key)]
    command += ["-addext", "subjectAltName=IP:127.0.0.1,DNS:localhost", "-out", str(cert)]
    subprocess.run(command, check=True, capture_output=True)
    return cert, key


def free_ports(count):
    """Different ones; another program may still take one before it is used."""
    held = [socket.socket() for _ in range(count)]
    try:
        for s in held:
            s.bind(("127.0.0.1", 0))
        return [s.getsockname()[1] for s in held]
    finally:
        for s in held:
            s.close()


def wait_for(condition, what, process=None):
    """Calls until it returns something true."""
    end = time.monotonic() + START_SECONDS
    while time.monotonic() < end:
        value = condition()
        if value:
            return value
        if process is not None and process.poll() is not None:
            raise BenchError(f"{what}: the program ended with status {process.returncode}")
        time.sleep(0.01)
    raise BenchError(f"{what}: not within {START_SECONDS} s")


def connects(port):
    try:
        socket.create_connection(("127.0.0.1", port), 1).close()
        return True
    except OSError:
        return False


def on_cores(cores):
    """For preexec_fn: pin, and end when the benchmark ends."""

    def prepare():
        os.sched_setaffinity(0, cores)
        _LIBC.prctl(1, signal.SIGTERM)  # PR_SET_PDEATHSIG

    return prepare


class Process:
    """One child; its output is kept in a file for when it fails."""

    def __init__(self, name, command, cores, folder, env=None):
        self.name = name
        self.log = folder / f"{name}.log"
        with open(self.log, "wb") as out:
            self.child = subprocess.Popen(
                [str(part) for part in command],
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.STDOUT,
                preexec_fn=on_cores(cores),
                env=env,
            )
        self.pid = self.child.pid

    def stop(self):
        if self.child.poll() is None:
            self.child.terminate()
            try:
                self.child.wait(10)
            except subprocess.TimeoutExpired:
                self.child.kill()
                self.child.wait()

    def last_words(self):
        return self.log.read_text(errors="replace")[-600:].strip()


def memory_kb(pid, field):
    """VmRSS, RssAnon, VmHWM of a process."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith(field + ":"):
            return int(line.split()[1])
    raise BenchError(f"no {field} for process {pid}")


class Mock:
    """The upstream of everything."""

    def __init__(self, folder, cores, cert):
        ports = folder / "mock.ports"
        self.stats = folder / "mock.stats"
        command = [TOOLS / "mock", "--port-file", ports, "--stats-file", self.stats]
        command += ["--cert", cert[0], "--key", cert[1]]
        self.process = Process("mock", command, cores, folder)
        wait_for(ports.exists, "mock", self.process.child)
        self.ports = {name: int(port) for name, port in map(str.split, ports.open())}

    def url(self, temper, stream, client, upstream):
        """(url, headers): the mock itself is reached in the upstream's format."""
        del client
        where = bodies.path(upstream, f"{temper}-{upstream}", stream)
        return f"http://127.0.0.1:{self.ports[temper]}{where}", []

    def stop(self):
        self.process.stop()


class Nginx:
    """The peer: plain reverse proxy with upstream keep-alive, unbuffered for streams."""

    name = "nginx"

    def __init__(self, folder, cores, mock, cert):
        program = shutil.which("nginx") or "/usr/sbin/nginx"
        if not os.access(program, os.X_OK):
            raise SystemExit("bench: nginx is missing: install the package nginx-light")
        self.folder = folder / "nginx"
        self.folder.mkdir()
        for attempts_left in (2, 1, 0):
            try:
                self._start(program, folder, cores, mock, cert)
                return
            except BenchError:
                self.process.stop()
                if attempts_left == 0:
                    raise

    def _start(self, program, folder, cores, mock, cert):
        wanted = [(t, stream) for t in TEMPERS for stream in (False, True)]
        self.ports = dict(zip(wanted, free_ports(len(wanted))))
        conf = self.folder / "nginx.conf"
        conf.write_text(self._configuration(mock, cert))
        command = [program, "-c", conf, "-p", self.folder, "-e", self.folder / "error.log"]
        self.process = Process("nginx", command, cores, folder)
        wait_for(lambda: all(map(connects, self.ports.values())), "nginx", self.process.child)
        self.pid = wait_for(self._worker, "nginx worker", self.process.child)

    def _configuration(self, mock, cert):
        temporary = "\n".join(
            f"    {kind}_temp_path {self.folder}/{kind};"
            for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
        )
        upstreams = "\n".join(
            f"    upstream {t} {{ server 127.0.0.1:{mock.ports[t]}; keepalive 1024; "
            "keepalive_requests 1000000000; keepalive_timeout 600s; }"
            for t in TEMPERS
        )
        servers = "\n".join(
            f"""    server {{
        listen 127.0.0.1:{port} backlog=4096;
        location / {{
            proxy_pass {"https" if temper == "tls" else "http"}://{temper};
            proxy_buffering {"off" if stream else "on"};
        }}
    }}"""
            for (temper, stream), port in self.ports.items()
        )
        user = "user root;" if os.geteuid() == 0 else ""
        return f"""# One worker, nothing logged, connections kept on both sides.
{user}
worker_processes 1;
daemon off;
pid {self.folder}/nginx.pid;
worker_rlimit_nofile {descriptor_limit()};
events {{ worker_connections {min(16384, descriptor_limit())}; }}
http {{
    access_log off;
{temporary}
    keepalive_timeout 600s;
    keepalive_requests 1000000000;
    client_max_body_size 16m;
    client_body_buffer_size 1m;
    proxy_http_version 1.1;
    proxy_set_header Connection "";
    proxy_read_timeout 600s;
    proxy_ssl_protocols TLSv1.3;
    proxy_ssl_name localhost;
    proxy_ssl_server_name on;
    proxy_ssl_verify on;
    proxy_ssl_trusted_certificate {cert[0]};
    proxy_ssl_session_reuse on;
{upstreams}
{servers}
}}
"""

    def _worker(self):
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children")
        return int((children.read_text().split() or [0])[0])

    def url(self, temper, stream, client, upstream):
        """nginx translates nothing: it is measured in the upstream's format."""
        del client
        where = bodies.path(upstream, f"{temper}-{upstream}", stream)
        return f"http://127.0.0.1:{self.ports[temper, stream]}{where}", []

    def stop(self):
        self.process.stop()


def descriptor_limit():
    import resource

    return resource.getrlimit(resource.RLIMIT_NOFILE)[1]


CONTROLS = ("bare", "all on", "all on and the cache")


def with_controls(configuration, controls):
    """What may stand in the way of a request: limits of its key, a price, a budget that holds and settles; then also a cache that
    is asked and never has the answer. None of it turns anything away."""
    if controls == "bare":
        return configuration
    key = configuration["server"]["api_keys"][0]
    key["limits"] = {"requests_per_minute": 10**9, "requests_per_day": 10**9, "tokens_per_minute": 10**12,
                     "tokens_per_day": 10**12, "concurrency": 100_000}
    configuration["prices"] = {"*/bench-model": {"input": 3, "cache_read": 0.3, "output": 15}}
    configuration["budgets"] = {"all": {"scope": "all", "period": "month", "limit_usd": 1_000_000}}
    if controls == "all on and the cache":
        configuration["server"] |= {"response_cache": True, "response_cache_any_temperature": True, "response_cache_max_entries": 0}
    return configuration


def sluice_configuration(mock, cert, threads, keys=(), more=None):
    """Every temper of the mock in each format is a provider, and `temper-format` a model on it. `more`: further providers."""
    kinds = {
        "chat": ("openai", "openai_chat", "/v1"),
        "responses": ("openai", "openai_responses", "/v1"),
        "messages": ("anthropic", "anthropic", ""),
        "gemini": ("google", "google", ""),
    }
    providers, models = {}, {}
    for temper in TEMPERS:
        for fmt, (kind, wire, base) in kinds.items():
            name = f"{temper}-{fmt}"
            scheme = "https" if temper == "tls" else "http"
            providers[name] = {
                "type": kind,
                "wire": wire,
                "api_key": UPSTREAM_KEY,
                "base_url": f"{scheme}://127.0.0.1:{mock.ports[temper]}{base}",
            }
            if temper == "tls":
                providers[name]["ca_file"] = str(cert[0])
            models[name] = {"provider": name, "upstream_model": "bench-model"}
    own_key = {"id": "0badcafe", "key": CLIENT_KEY, "label": "bench",
               "scopes": ["inference", "models", "admin"]}
    providers.update(more or {})
    return {
        "providers": providers,
        "models": models,
        "server": {
            "host": "127.0.0.1",
            "threads": threads,
            "api_keys": [own_key, *keys],
            "max_conns": 16000,
            "upstream_max_conns": 16000,
            "upstream_max_idle": 1024,
        },
    }


class Sluice:
    """What is measured. Key check, routing, metrics and the usage record are always on; the rest as CONTROLS says."""

    name = "sluice"

    def __init__(self, program, folder, cores, mock, cert, threads=1, name="sluice", more=None, controls="all on"):
        self.data = folder / f"{name}-data"
        conf = folder / f"{name}.jsonc"
        port_file = folder / f"{name}.port"
        port_file.unlink(missing_ok=True)
        configuration = sluice_configuration(mock, cert, threads, more=more)
        conf.write_text(json.dumps(with_controls(configuration, controls)))
        command = [program, "serve", "--config", conf, "--data", self.data, "--port", "0"]
        command += ["--threads", threads, "--port-file", port_file]
        self.process = Process(name, command, cores, folder, env=bare_environment(folder))
        self.pid = self.process.pid
        try:
            wait_for(lambda: port_file.exists() and port_file.read_text().strip(), name,
                     self.process.child)
        except BenchError as e:
            self.stop()
            raise BenchError(f"{e}\n{self.process.last_words()}") from e
        self.port = int(port_file.read_text())

    def url(self, temper, stream, client, upstream):
        where = bodies.path(client, f"{temper}-{upstream}", stream)
        return f"http://127.0.0.1:{self.port}{where}", bodies.key_header(client, CLIENT_KEY)

    def is_alive(self):
        return self.process.child.poll() is None

    def stop(self):
        self.process.stop()


def bare_environment(folder):
    """Without the user's own provider keys and settings."""
    return {"PATH": os.environ.get("PATH", ""), "HOME": str(folder), "LANG": "C.UTF-8"}


def request_once(url, headers, body, seconds=60):
    """(status, body) of one request, read to its end."""
    host, _, rest = url.removeprefix("http://").partition("/")
    conn = http.client.HTTPConnection(host, timeout=seconds)
    try:
        fields = dict(h.split(": ", 1) for h in headers)
        conn.request("POST", "/" + rest, body, {"Content-Type": "application/json", **fields})
        answer = conn.getresponse()
        return answer.status, answer.read()
    finally:
        conn.close()


def run_load(cores, url, options):
    """One run of the generator; its JSON object. Errors in answers make it a BenchError."""
    command = [TOOLS / "load", *options, url]
    done = subprocess.run(
        [str(part) for part in command],
        capture_output=True,
        text=True,
        check=False,
        preexec_fn=on_cores(cores),
    )
    if done.returncode != 0:
        raise BenchError(f"load: {done.stderr.strip() or done.stdout.strip()}"[:600])
    return json.loads(done.stdout)
