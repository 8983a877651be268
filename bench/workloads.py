"""What is measured, and how: every workload returns plain numbers; report.py judges them."""
import contextlib
import hashlib
import itertools
import json
import os
import shutil
import socket
import sqlite3
import subprocess
import time
from dataclasses import dataclass, field
from pathlib import Path

import bodies
import servers
from servers import BenchError

DELTAS = 100


@dataclass(frozen=True)
class Cell:
    """One server under one load. For nginx `client` is `upstream`: it translates nothing."""

    load: str
    server: str
    client: str
    upstream: str

    def __str__(self):
        pair = self.client if self.client == self.upstream else f"{self.client}->{self.upstream}"
        return f"{self.load} {pair} {self.server}"


@dataclass(frozen=True)
class Load:
    """How the generator drives a cell."""

    temper: str = "once"
    stream: bool = False
    large: bool = False
    connections: int = 64
    rate: int = 0
    per_piece: bool = False  # CPU per upstream event instead of per request
    warmup: float = 0.5
    stretch: float = 1.0  # of the measured time
    options: tuple = ()


LOADS = {
    "json": Load(),
    "json-200k": Load(large=True, connections=16),
    "sse": Load(stream=True),
    "paced": Load("paced", True, connections=500, per_piece=True, warmup=2.5,
                  options=("--spread", 400)),
    "tls": Load("tls"),
    "latency": Load(rate=5000),
}

PAIRS = tuple(itertools.permutations(bodies.FORMATS, 2))
BIG_PAIRS = tuple(itertools.permutations(bodies.BIG_THREE, 2))


def _same(load, fmts):
    return [Cell(load, server, f, f) for f in fmts for server in ("nginx", "sluice")]


def _cross(load, pairs):
    peers = [Cell(load, "nginx", upstream, upstream) for _, upstream in pairs]
    return [cell for peer, (client, upstream) in zip(peers, pairs)
            for cell in (peer, Cell(load, "sluice", client, upstream))]


# Scenarios of load: name -> cells. Cells that several share are run once a round.
CELLS = {
    "json-same": _same("json", bodies.FORMATS),
    "json-cross": _cross("json", PAIRS),
    "json-200k": _same("json-200k", ("chat",)),
    "sse-same": _same("sse", bodies.FORMATS),
    "sse-cross": _cross("sse", PAIRS),
    "paced-same": _same("paced", bodies.BIG_THREE),
    "paced-cross": _cross("paced", BIG_PAIRS),
    "tls": _same("tls", ("chat",)),
    "latency": [Cell("latency", server, "chat", "chat") for server in ("direct", "nginx", "sluice")],
}


@dataclass
class Settings:
    rounds: int = 3
    seconds: float = 3.0
    idle_streams: int = 5000
    active_streams: int = 1000
    keys: int = 100_000
    starts: int = 5
    sluice: Path = None
    folder: Path = None
    only: tuple = ()


@dataclass
class Lab:
    """The running programs and the two cores: the server's, and that of mock and generator."""

    settings: Settings
    every_core: list = field(default_factory=list)
    server_core: set = field(default_factory=set)
    load_core: set = field(default_factory=set)
    cert: tuple = None
    mock: servers.Mock = None
    nginx: servers.Nginx = None
    sluice: servers.Sluice = None
    sluice_fault: str = None

    @classmethod
    def open(cls, settings):
        cores = sorted(os.sched_getaffinity(0))
        lab = cls(settings, cores, {cores[0]}, {cores[min(1, len(cores) - 1)]})
        os.sched_setaffinity(0, lab.load_core)
        try:
            lab.cert = servers.make_certificate(settings.folder)
            lab.mock = servers.Mock(settings.folder, lab.load_core, lab.cert)
            lab.nginx = servers.Nginx(settings.folder, lab.server_core, lab.mock, lab.cert)
        except BaseException:
            lab.close()
            raise
        return lab

    def close(self):
        for server in (self.sluice, self.nginx, self.mock):
            if server is not None:
                server.stop()

    def start_sluice(self, name="sluice", threads=1, cores=None, more=None, controls="all on"):
        if self.settings.sluice is None:
            raise BenchError("sluice is not measured in this run")
        return servers.Sluice(self.settings.sluice, self.settings.folder,
                              cores or self.server_core, self.mock, self.cert, threads, name, more, controls)

    def server(self, name):
        """The running server of that name; sluice is restarted when it has died."""
        if name == "direct":
            return self.mock
        if name == "nginx":
            return self.nginx
        if self.sluice is not None and not self.sluice.is_alive():
            fault = self.sluice.process.last_words()
            self.sluice = None
            raise BenchError(f"sluice ended: {fault}")
        if self.sluice is None:
            self.sluice = self.start_sluice()
        return self.sluice

    def body_file(self, cell, load):
        model = f"{load.temper}-{cell.upstream}"
        size = "large" if load.large else "small"
        name = f"{cell.client}-{model}-{'stream' if load.stream else 'json'}-{size}.json"
        path = self.settings.folder / name
        if not path.exists():
            path.write_bytes(bodies.body(cell.client, model, load.stream, load.large))
        return path

    def options(self, cell, load, headers):
        """The generator's arguments for a cell, but for how long and at what."""
        marks = bodies.MARKS[cell.client]
        out = ["--body", self.body_file(cell, load), "--stats-file", self.mock.stats]
        out += ["--connections", load.connections, *load.options]
        out += itertools.chain.from_iterable(("--header", h) for h in headers)
        if load.stream:
            out += ["--expect", marks.stream, "--end", marks.end, "--events", DELTAS]
        else:
            out += ["--expect", marks.json]
        return out + (["--rate", load.rate] if load.rate else [])

    def verify(self, cell):
        """One answer read in full: same text and usage as from the upstream itself."""
        load = LOADS[cell.load]
        temper = "once" if load.temper == "paced" else load.temper
        read = bodies.read_stream if load.stream else bodies.read_json
        if temper == "tls":
            expected_url, _ = self.mock.url("once", load.stream, cell.upstream, cell.upstream)
        else:
            expected_url, _ = self.mock.url(temper, load.stream, cell.upstream, cell.upstream)
        reference = bodies.body(cell.upstream, "m", load.stream)
        _, wanted = servers.request_once(expected_url, [], reference)
        url, headers = self.server(cell.server).url(temper, load.stream, cell.client, cell.upstream)
        body = bodies.body(cell.client, f"{temper}-{cell.upstream}", load.stream, load.large)
        status, got = servers.request_once(url, headers, body)
        if status != 200:
            raise BenchError(f"{cell}: status {status}: {got[:300]!r}")
        want, have = read(cell.upstream, wanted), read(cell.client, got)
        if want != have:
            raise BenchError(f"{cell}: the answer differs: {str(have)[-200:]} not {str(want)[-200:]}")

    def measure(self, cell):
        """One run of one cell."""
        load = LOADS[cell.load]
        server = self.server(cell.server)
        url, headers = server.url(load.temper, load.stream, cell.client, cell.upstream)
        options = self.options(cell, load, headers)
        options += ["--warmup", load.warmup, "--duration", self.settings.seconds * load.stretch]
        if cell.server != "direct":
            options += ["--pid", server.pid]
        result = servers.run_load(self.load_core, url, options)
        units = result["mock_pieces"] if load.per_piece else result["requests"]
        if units == 0:
            raise BenchError(f"{cell}: nothing was answered in the window")
        result["units"] = units
        if "cpu_seconds" in result:
            result["cpu_us"] = result["cpu_seconds"] * 1e6 / units
            result["per_cpu_second"] = units / result["cpu_seconds"]
        result["per_second"] = units / result["seconds"]
        return result


# ---- scenarios that are not a cell


def idle_streams(lab):
    """User memory that one open, silent stream takes: (anonymous memory after - before) / streams."""
    count = lab.settings.idle_streams
    out = {}
    for name in ("nginx", "sluice"):
        try:
            out[name] = _idle_streams_of(lab, name, count)
        except BenchError as e:
            out[name] = {"fault": str(e)}
    return out


def _idle_streams_of(lab, name, count):
    cell = Cell("sse", name, "chat", "chat")
    load = Load("idle", True, connections=count, options=("--spread", 1500))
    fresh = lab.start_sluice("sluice-idle") if name == "sluice" else None
    server = fresh or lab.nginx
    try:
        warm_url, warm_headers = server.url("once", True, "chat", "chat")
        warm = Load(stream=True)
        servers.run_load(lab.load_core, warm_url,
                         [*lab.options(cell, warm, warm_headers), "--requests", 200])
        url, headers = server.url("idle", True, "chat", "chat")
        command = [servers.TOOLS / "load", "--hold", "--duration", 120, "--timeout", 60,
                   *lab.options(cell, load, headers), url]
        command = [str(part) for part in command]
        before = servers.memory_kb(server.pid, "RssAnon")
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
                              preexec_fn=servers.on_cores(lab.load_core)) as holder:
            line = holder.stdout.readline()
            if not line.startswith("holding"):
                holder.stdin.close()
                raise BenchError(f"{name}: {count} idle streams could not be opened: {line[:200]}")
            time.sleep(1)
            after = servers.memory_kb(server.pid, "RssAnon")
            rss = servers.memory_kb(server.pid, "VmRSS")
            holder.stdin.close()
            holder.stdout.read()
        return {"streams": count, "bytes_each": (after - before) * 1024 / count, "rss_kb": rss}
    finally:
        if fresh is not None:
            fresh.stop()


def active_streams(lab):
    """Resident memory of a fresh process while 1 000 streams of 10 events a second run."""
    out = {}
    for client, upstream in (("chat", "chat"), ("messages", "chat")):
        cell = Cell("sse", "sluice", client, upstream)
        load = Load("slow", True, connections=lab.settings.active_streams,
                    options=("--spread", 1000, "--timeout", 30))
        server = None
        try:
            server = lab.start_sluice("sluice-active")
            url, headers = server.url("slow", True, client, upstream)
            options = lab.options(cell, load, headers)
            options += ["--warmup", 2, "--duration", 3, "--pid", server.pid]
            result = servers.run_load(lab.load_core, url, options)
            out[f"{client}->{upstream}"] = {"rss_kb": result["rss_kb"],
                                            "events_per_second": result["mock_pieces"] / 3}
        except BenchError as e:
            out[f"{client}->{upstream}"] = {"fault": str(e)}
        finally:
            if server is not None:
                server.stop()
    return out


def idle_memory(lab):
    """Resident memory of a process that has answered one request of each kind."""
    server = lab.start_sluice("sluice-rss")
    try:
        for stream in (False, True):
            url, headers = server.url("once", stream, "chat", "chat")
            servers.request_once(url, headers, bodies.body("chat", "once-chat", stream))
        time.sleep(1)
        return {"rss_kb": servers.memory_kb(server.pid, "VmRSS"),
                "anonymous_kb": servers.memory_kb(server.pid, "RssAnon")}
    finally:
        server.stop()


def threads(lab):
    """Two loop threads against one.

    With four cores or more, requests a second with the server on two cores and the rest on two
    others. With fewer, mock and generator need a share of the same cores, so throughput says
    nothing: then it is requests per CPU second of the server, times the threads.
    """
    every = lab.every_core
    is_wide = len(every) >= 4
    out = {"cores": len(every), "method": "throughput" if is_wide else "per CPU second"}
    if len(every) < 2:
        raise BenchError("needs two cores")
    load = LOADS["json"]
    cell = Cell("json", "sluice", "chat", "chat")
    best = {}
    for _ in range(lab.settings.rounds):
        for count in (1, 2):
            own = set(every[:count]) if is_wide else ({every[0]} if count == 1 else set(every[:2]))
            rest = set(every[2:4]) if is_wide else ({every[1]} if count == 1 else set(every[:2]))
            server = lab.start_sluice("sluice-threads", threads=count, cores=own)
            os.sched_setaffinity(lab.mock.process.pid, rest)
            try:
                url, headers = server.url("once", False, "chat", "chat")
                options = lab.options(cell, load, headers)
                options += ["--warmup", 0.5, "--duration", lab.settings.seconds]
                result = servers.run_load(rest, url, [*options, "--pid", server.pid])
            finally:
                os.sched_setaffinity(lab.mock.process.pid, lab.load_core)
                server.stop()
            rate = (result["requests"] / result["seconds"] if is_wide
                    else count * result["requests"] / result["cpu_seconds"])
            best[count] = max(best.get(count, 0), rate)
    return out | {"one": best[1], "two": best[2], "ratio": best[2] / best[1]}


def cold_start(lab):
    """From exec to the first answered request, with many keys: in the store, where keys made over the
    API live, and (for comparison) all of them in the configuration file. Each after a first start."""
    if lab.settings.sluice is None:
        raise BenchError("sluice is not measured in this run")
    texts = [f"sk-{i:08x}-bench-cold-start-key-{i:016x}" for i in range(1, lab.settings.keys + 1)]
    folder = lab.settings.folder / "cold"
    folder.mkdir(exist_ok=True)
    stored, listed = folder / "stored.jsonc", folder / "listed.jsonc"
    stored.write_text(json.dumps(servers.sluice_configuration(lab.mock, lab.cert, 1)))
    listed.write_text(json.dumps(servers.sluice_configuration(lab.mock, lab.cert, 1, [
        {"id": f"{i:08x}", "key": text, "label": f"k{i}"} for i, text in enumerate(texts, 1)])))
    _one_start(lab, stored, folder / "stored", servers.CLIENT_KEY)
    _store_keys(folder / "stored", texts)
    in_store = [_one_start(lab, stored, folder / "stored", texts[-1])
                for _ in range(lab.settings.starts + 1)]
    in_file = [_one_start(lab, listed, folder / "listed", texts[-1])
               for _ in range(lab.settings.starts + 1)]
    return {"keys": len(texts), "origin": "store", "first_ms": in_store[0],
            "best_ms": min(in_store[1:]), "file_best_ms": min(in_file[1:]), "all_ms": in_store}


def _store_keys(data, texts):
    """What the API would write, without a hundred thousand calls: see src/store/migrations."""
    found = [path for path in data.iterdir()
             if path.is_file() and path.open("rb").read(15) == b"SQLite format 3"]
    if len(found) != 1:
        raise BenchError(f"no one database in the data directory: {[p.name for p in found]}")
    rows = [(f"{i:08x}", hashlib.sha256(text.encode()).digest(), f"k{i}")
            for i, text in enumerate(texts, 1)]
    with contextlib.closing(sqlite3.connect(found[0])) as db, db:
        db.executemany("INSERT INTO key (id, hash, label, scopes, created_ms) VALUES (?, ?, ?, 3, 1)", rows)


def _one_start(lab, conf, data, key):
    port = servers.free_ports(1)[0]
    body = bodies.body("chat", "once-chat", False)
    head = (f"POST /v1/chat/completions HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nContent-Type: "
            f"application/json\r\nAuthorization: Bearer {key}\r\nContent-Length: {len(body)}\r\n"
            "Connection: close\r\n\r\n").encode()
    command = [lab.settings.sluice, "serve", "--config", conf, "--data", data, "--port", port,
               "--threads", 1]
    begun = time.monotonic()
    process = servers.Process("sluice-cold", command, lab.server_core, lab.settings.folder,
                              env=servers.bare_environment(lab.settings.folder))
    try:
        while True:
            try:
                with socket.create_connection(("127.0.0.1", port), 10) as s:
                    s.settimeout(10)
                    s.sendall(head + body)
                    answer = s.recv(4096)
                break
            except OSError as e:
                if process.child.poll() is not None or time.monotonic() - begun > 20:
                    raise BenchError(f"cold start: {e}: {process.last_words()}") from e
                time.sleep(0.0005)
        ended = time.monotonic()
    finally:
        process.stop()
    if not answer.startswith(b"HTTP/1.1 200"):
        raise BenchError(f"cold start: {answer[:200]!r}")
    return (ended - begun) * 1000


def size(lab):
    """Bytes of the stripped program."""
    if lab.settings.sluice is None:
        raise BenchError("sluice is not measured in this run")
    copy = lab.settings.folder / "stripped"
    shutil.copy(lab.settings.sluice, copy)
    subprocess.run(["strip", "--strip-all", str(copy)], check=True)
    return {"bytes": copy.stat().st_size, "unstripped": lab.settings.sluice.stat().st_size}


SLOW_CALLS = 100


def slow_admin(lab):
    """Latency of the relay alone, and while 100 administrative calls wait for a provider that never answers."""
    out = {}
    with socket.create_server(("127.0.0.1", 0), backlog=4 * SLOW_CALLS) as silent:
        stuck = {"type": "openai-compatible", "api_key": "none",
                 "base_url": f"http://127.0.0.1:{silent.getsockname()[1]}/v1"}
        server = lab.start_sluice("sluice-admin", more={"stuck": stuck})
        try:
            cell, load = Cell("latency", "sluice", "chat", "chat"), Load(rate=2000)
            url, headers = server.url("once", False, "chat", "chat")
            options = [*lab.options(cell, load, headers), "--warmup", 0.3, "--duration", lab.settings.seconds]
            for _ in range(lab.settings.rounds):
                for name in ("alone", "beside 100 slow calls"):
                    calls = [] if name == "alone" else _slow_calls(server.port)
                    result = servers.run_load(lab.load_core, url, options)
                    waiting = sum(1 for c in calls if _is_waiting(c))
                    for c in calls:
                        c.close()
                    row = out.setdefault(name, {"p50_us": 1e9, "p99_us": 1e9, "still_waiting": waiting})
                    for mark in ("p50", "p99"):
                        row[f"{mark}_us"] = min(row[f"{mark}_us"], result["latency_us"][mark])
                    row["still_waiting"] = min(row["still_waiting"], waiting)
        finally:
            server.stop()
    return out


def controls(lab):
    """What limits, prices and budgets add, and then the look into the cache: the same load with none of them configured and with
    all, one after the other in each round. Key check, metrics and the usage record cannot be switched off: they are in each."""
    out = {}
    several = {name: lab.start_sluice(f"sluice-controls-{i}", controls=name) for i, name in enumerate(servers.CONTROLS)}
    try:
        for _ in range(lab.settings.rounds):
            for what in ("json", "sse"):
                load, cell = LOADS[what], Cell(what, "sluice", "chat", "chat")
                for name, server in several.items():
                    url, headers = server.url("once", load.stream, "chat", "chat")
                    options = [*lab.options(cell, load, headers), "--warmup", load.warmup, "--duration", lab.settings.seconds]
                    result = servers.run_load(lab.load_core, url, [*options, "--pid", server.pid])
                    row = out.setdefault(f"{what}, {name}", {"cpu_us": 1e9, "p50_us": 1e9})
                    row["cpu_us"] = min(row["cpu_us"], result["cpu_seconds"] * 1e6 / result["requests"])
                    row["p50_us"] = min(row["p50_us"], result["latency_us"]["p50"])
    finally:
        for server in several.values():
            server.stop()
    return out


def _slow_calls(port):
    calls = [socket.create_connection(("127.0.0.1", port), timeout=30) for _ in range(SLOW_CALLS)]
    for call in calls:
        call.sendall(f"GET /admin/api/config/providers/stuck/models HTTP/1.1\r\nHost: bench\r\n"
                     f"Authorization: Bearer {servers.CLIENT_KEY}\r\n\r\n".encode())
    return calls


def _is_waiting(call):
    """Whether it has no answer yet."""
    call.setblocking(False)
    try:
        call.recv(1)
    except BlockingIOError:
        return True
    return False


OTHERS = {
    "controls": controls,
    "slow-admin": slow_admin,
    "idle-streams": idle_streams,
    "active-streams": active_streams,
    "idle-memory": idle_memory,
    "threads": threads,
    "cold-start": cold_start,
    "size": size,
}
SCENARIOS = (*CELLS, *OTHERS)


def run_cells(lab, names, say):
    """All rounds of all chosen cells, interleaved: {cell: [result, ...]} and {cell: fault}."""
    cells = list(dict.fromkeys(c for name in names if name in CELLS for c in CELLS[name]
                              if c.server != "sluice" or lab.settings.sluice is not None))
    cells.sort(key=lambda c: (list(LOADS).index(c.load), bodies.FORMATS.index(c.upstream)))
    results = {cell: [] for cell in cells}
    faults = {}
    for cell in cells:
        try:
            lab.verify(cell)
        except (BenchError, OSError, ValueError, KeyError, IndexError, TypeError) as e:
            faults[cell] = f"wrong answer: {e!r}" if not isinstance(e, BenchError) else str(e)
            say(f"  {cell}: {faults[cell]}")
    for number in range(lab.settings.rounds):
        say(f"round {number + 1} of {lab.settings.rounds}")
        for cell in cells:
            if cell in faults:
                continue
            try:
                result = lab.measure(cell)
            except BenchError as e:
                faults[cell] = str(e)
                say(f"  {cell}: {e}")
                continue
            results[cell].append(result)
            cost = f"{result['cpu_us']:8.2f} us CPU" if "cpu_us" in result else " " * 15
            say(f"  {str(cell):38} {cost} {result['per_second']:10.0f}/s"
                f"  p50 {result['latency_us']['p50']:.0f} us")
    return results, faults


def run_others(lab, names, say):
    results = {}
    for name in names:
        if name not in OTHERS:
            continue
        try:
            results[name] = OTHERS[name](lab)
        except (BenchError, OSError, subprocess.CalledProcessError) as e:
            results[name] = {"fault": str(e)}
        say(f"  {name}: {json.dumps(results[name])}")
    return results
