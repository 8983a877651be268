"""The benchmark's own programs: the mock answers right, the generator counts right and sees faults.

No timings: what they measure is looked at by `make bench`.
"""
import http.server
import json
import pathlib
import socket
import struct
import subprocess
import time
import sys
import threading

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "bench"))

import bodies  # noqa: E402
import servers  # noqa: E402

DELTAS = 100
PIECES = DELTAS + 2  # head with preamble, each delta, the end


@pytest.fixture(scope="module", autouse=True)
def tools():
    servers.build_tools()


@pytest.fixture(scope="module")
def lab(tools, tmp_path_factory):
    """A mock with its TLS listener; `load(...)` runs the generator."""
    folder = tmp_path_factory.mktemp("bench")
    cert = servers.make_certificate(folder)
    ports, stats = folder / "ports", folder / "stats"
    command = [servers.TOOLS / "mock", "--port-file", ports, "--stats-file", stats, "--paced", "2000",
               "--cert", cert[0], "--key", cert[1]]
    mock = subprocess.Popen(command)
    try:
        servers.wait_for(ports.exists, "mock", mock)
        yield Lab(folder, dict(line.split() for line in ports.open()), stats, cert)
    finally:
        mock.terminate()
        assert mock.wait(30) == 0


class Lab:
    def __init__(self, folder, ports, stats, cert):
        self.folder, self.ports, self.stats, self.cert = folder, ports, stats, cert

    def counters(self):
        names = ("connections", "requests", "streams", "pieces")
        return dict(zip(names, struct.unpack("4Q", self.stats.read_bytes()[:32])))

    def after(self, before, streams):
        """The counters once so many streams are through: one counts when its last byte is gone, which a busy machine shows later."""
        for _ in range(1200):
            now = self.counters()
            if now["streams"] - before["streams"] >= streams:
                break
            time.sleep(0.05)
        return now

    def url(self, fmt, stream=False, temper="once"):
        return "http://127.0.0.1:%s%s" % (self.ports[temper], bodies.path(fmt, "m", stream))

    def load(self, url, *options, fmt="chat", stream=False, large=False, body=True):
        command = [servers.TOOLS / "load", *options]
        if body:
            file = self.folder / "body.json"
            file.write_bytes(bodies.body(fmt, "m", stream, large))
            command += ["--body", file]
        return subprocess.run([str(part) for part in [*command, url]], capture_output=True, text=True,
                              timeout=60, check=False, stdin=subprocess.DEVNULL)


def result_of(done):
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def checks(fmt, stream):
    marks = bodies.MARKS[fmt]
    if stream:
        return ["--expect", marks.stream, "--end", marks.end, "--events", DELTAS]
    return ["--expect", marks.json]


def test_the_chat_body_has_the_size_that_the_report_states():
    assert len(bodies.body("chat", "m" * 16, False)) == bodies.SMALL_BYTES
    for fmt in bodies.FORMATS:
        assert abs(len(bodies.body(fmt, "m", False, large=True)) - bodies.LARGE_BYTES) < 5000


@pytest.mark.parametrize("fmt", bodies.FORMATS)
def test_a_complete_answer_has_1002_bytes_text_and_usage(lab, fmt):
    status, data = servers.request_once(lab.url(fmt), [], bodies.body(fmt, "m", False))
    assert (status, len(data)) == (200, 1002)
    text, used_in, used_out = bodies.read_json(fmt, data)
    assert (len(text) > 300, used_in, used_out) == (True, 187, 100)


@pytest.mark.parametrize("fmt", bodies.FORMATS)
def test_a_stream_has_its_text_its_usage_and_events_of_290_bytes(lab, fmt):
    before = lab.counters()
    _, data = servers.request_once(lab.url(fmt, True), [], bodies.body(fmt, "m", True))
    lab.after(before, 1)  # for who counts next
    text, used_in, used_out = bodies.read_stream(fmt, data)
    assert (used_in, used_out) == (187, DELTAS)
    assert "\n\"répit\" " in text
    sizes = [len(e) for e in data.replace(b"\r\n", b"\n").split(b"\n\n")]
    assert sum(280 <= size <= 320 for size in sizes) >= DELTAS


@pytest.mark.parametrize("fmt", bodies.FORMATS)
@pytest.mark.parametrize("stream", [False, True])
def test_generator_and_mock_count_the_same(lab, fmt, stream):
    before = lab.counters()
    done = lab.load(lab.url(fmt, stream), "-n", "500", "-c", "7", "--stats-file", lab.stats,
                    *map(str, checks(fmt, stream)), fmt=fmt, stream=stream)
    result = result_of(done)
    after = lab.after(before, 500 if stream else 0)
    assert (result["requests"], result["errors"], result["unanswered"]) == (500, 0, 0)
    assert after["requests"] - before["requests"] == result["mock_requests"] == 500
    assert after["connections"] - before["connections"] == 7
    assert after["streams"] - before["streams"] == (500 if stream else 0)
    if stream:
        assert result["events"] >= 500 * DELTAS


def test_a_paced_stream_is_written_piece_by_piece(lab):
    before = lab.counters()
    result = result_of(lab.load(lab.url("messages", True, "paced"), "-n", "20", "-c", "10",
                                *map(str, checks("messages", True)), fmt="messages", stream=True))
    assert result["requests"] == 20
    after = lab.after(before, 20)
    assert after["pieces"] - before["pieces"] == 20 * PIECES
    assert after["streams"] - before["streams"] == 20


def test_idle_streams_stay_open_until_the_generator_ends(lab):
    file = lab.folder / "idle.json"
    file.write_bytes(bodies.body("chat", "m", True))
    command = [servers.TOOLS / "load", "--hold", "-c", "50", "--body", file, lab.url("chat", True, "idle")]
    with subprocess.Popen([str(part) for part in command], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                          text=True) as holder:
        assert holder.stdout.readline() == "holding 50\n"
        holder.stdin.close()
        result = json.loads(holder.stdout.read())
    assert holder.returncode == 0
    assert (result["held"], result["requests"], result["errors"]) == (50, 0, 0)


def test_large_bodies_arrive_whole(lab):
    result = result_of(lab.load(lab.url("chat"), "-n", "50", "-c", "3", *checks("chat", False), large=True))
    assert result["requests"] == 50


def test_the_open_loop_keeps_its_rate(lab):
    before = lab.counters()["requests"]
    result = result_of(lab.load(lab.url("gemini"), "-r", "200", "-n", "100", "-d", "30", fmt="gemini"))
    assert result["total_requests"] == 100
    assert lab.counters()["requests"] - before == 100


def test_the_tls_listener_answers_the_same(lab):
    import ssl
    import urllib.request
    context = ssl.create_default_context(cafile=lab.cert[0])
    url = "https://127.0.0.1:%s/v1/messages" % lab.ports["tls"]
    plain = servers.request_once(lab.url("messages"), [], bodies.body("messages", "m", False))[1]
    request = urllib.request.Request(url, bodies.body("messages", "m", False))
    with urllib.request.urlopen(request, context=context, timeout=60) as answer:
        assert answer.read() == plain


def test_an_unknown_path_is_404_and_the_generator_reports_it(lab):
    done = lab.load("http://127.0.0.1:%s/nothing" % lab.ports["once"], "-n", "3", "-c", "1")
    assert done.returncode == 1
    assert json.loads(done.stdout)["errors"] == 3
    assert "wrong status (status 404" in done.stderr


@pytest.mark.parametrize("url", ["http://10.1.2.3:80/", "http://192.0.2.1:80/x", "https://127.0.0.1:443/",
                                 "http://localhost:80/", "http://127.0.0.1:99999/"])
def test_only_loopback_is_loaded(lab, url):
    done = lab.load(url, "-n", "1")
    assert (done.returncode, done.stdout) == (2, "")


class Liar(http.server.BaseHTTPRequestHandler):
    """Answers that a generator must not count."""
    protocol_version = "HTTP/1.1"
    answers = {
        "/short": b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{}",
        "/unended": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n9\r\ndata: 1\n\n\r\n",
        "/no-marker": b"HTTP/1.1 200 OK\r\nContent-Length: 18\r\n\r\ndata: 1\n\ndata: 2\n\n",
        "/early-marker": b"HTTP/1.1 200 OK\r\nContent-Length: 23\r\n\r\ndata: [DONE]\n\ndata: 2\n\n",
        "/too-much": b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}{}",
        "/not-http": b"hello there, this is not HTTP at all\r\n\r\n",
        "/bad-chunk": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        "/few": b"HTTP/1.1 200 OK\r\nContent-Length: 14\r\n\r\ndata: [DONE]\n\n",
    }

    def do_GET(self):
        self.wfile.write(self.answers[self.path])
        self.wfile.flush()
        self.connection.shutdown(socket.SHUT_WR)
        self.close_connection = True

    def log_message(self, *args):
        pass


@pytest.fixture(scope="module")
def liar():
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Liar)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield "http://127.0.0.1:%d" % server.server_port
    server.shutdown()
    server.server_close()


@pytest.mark.parametrize("path, why", [
    ("/short", "cut"), ("/unended", "cut"), ("/no-marker", "end marker"), ("/early-marker", "end marker"),
    ("/too-much", "after the answer"), ("/not-http", "not HTTP"), ("/bad-chunk", "not HTTP"),
    ("/few", "too few events")])
def test_a_false_answer_is_an_error(lab, liar, path, why):
    options = ["-n", "1", "-c", "1", "--timeout", "60"]
    if path in ("/no-marker", "/early-marker", "/few"):
        options += ["--end", "[DONE]"]
    if path == "/few":
        options += ["--events", "2"]
    done = lab.load(liar + path, *options, body=False)
    assert done.returncode == 1, done.stdout
    assert json.loads(done.stdout)["requests"] == 0
    assert why in done.stderr


def test_every_bar_and_scenario_reaches_the_report(tmp_path):
    import report
    import workloads
    settings = workloads.Settings(folder=tmp_path)
    results = {cell: [fake_round(cell)] for cells in workloads.CELLS.values() for cell in cells}
    others = {
        "idle-streams": {"sluice": {"bytes_each": 5000.0}}, "idle-memory": {"rss_kb": 9000},
        "active-streams": {"chat->chat": {"rss_kb": 20000}, "messages->chat": {"rss_kb": 40000}},
        "threads": {"ratio": 1.9, "method": "throughput"}, "size": {"bytes": 4 << 20},
        "cold-start": {"best_ms": 40.0, "origin": "store"},
    }
    data = report.write(tmp_path, tmp_path / "page.md", settings, "bench/run", "2026-01-01", results, {}, others)
    passed = {bar["what"]: bar["passed"] for bar in data["bars"]}
    passed.pop("Request log at 10 million records: slowest query")  # from runs of their own, if there were any
    for what in [what for what in passed if what.startswith("Dashboard")]:
        passed.pop(what)
    assert len(passed) == 15 and None not in passed.values()
    # sluice costs 1.3 times nginx in fake_round: judged by each bar's own limit
    assert passed["JSON 1 KB, translated: CPU per request"]
    assert not passed["JSON 1 KB, same format: CPU per request"]
    assert not passed["1 000 active streams: resident memory"]  # the larger of the two decides
    page = (tmp_path / "page.md").read_text()
    counted = [bar["passed"] for bar in data["bars"]]
    assert page.count("**pass**") == counted.count(True) and page.count("**miss**") == counted.count(False)


def test_a_missing_pair_leaves_its_bar_unjudged(tmp_path):
    import report
    import workloads
    results = {cell: [fake_round(cell)] for cell in workloads.CELLS["json-cross"]}
    gone = next(cell for cell in results if cell.server == "sluice")
    results[gone] = []
    rows = {row[0]: row for row in report.bars(results, {})}
    assert rows["JSON 1 KB, translated: CPU per request"][3] is None


def fake_round(cell):
    cost = 13.0 if cell.server == "sluice" else 10.0
    return {"cpu_us": cost, "per_cpu_second": 1e6 / cost, "per_second": 1000.0,
            "latency_us": {"p50": cost, "p99": 2 * cost}}
