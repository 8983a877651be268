"""Traces: the caller's context is taken up and passed on, and a collector gets spans and metrics that its own decoder takes."""
import base64
import collections
import http.server
import json
import re
import threading

import pytest
from conftest import basic_config
from formats import FORMATS
from formats.common import Ask, Turn
from gateway import Sluice, wait_for
from google.protobuf import json_format
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from test_metrics import ADMIN, scrape, total, with_admin
from upstream import dump, failure, stream
from upstream import http as http_reply

CHAT = FORMATS["chat"]
TRACE, PARENT = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
SAMPLED = {"traceparent": "00-%s-%s-01" % (TRACE, PARENT), "tracestate": "rojo=1"}


def decoded(message, body):
    """By the protobuf definitions: an unknown field or a number of the wrong kind is an error. Ids are hex in OTLP's JSON."""
    def ids(v):
        if isinstance(v, dict):
            return {k: base64.b64encode(bytes.fromhex(x)).decode() if k in ("traceId", "spanId", "parentSpanId") else ids(x)
                    for k, x in v.items()}
        return [ids(x) for x in v] if isinstance(v, list) else v

    return json_format.ParseDict(ids(json.loads(body)), message())


def values(attributes):
    out = {}
    for a in attributes:
        kind = a.value.WhichOneof("value")
        out[a.key] = [v.string_value for v in a.value.array_value.values] if kind == "array_value" else getattr(a.value, kind)
    return out


class Collector:
    def __init__(self):
        self.requests, self.answers = [], collections.deque()
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self):
                body = self.rfile.read(int(self.headers["content-length"]))
                status, more = outer.answers.popleft() if outer.answers else (200, {})
                outer.requests.append((self.path, dict(self.headers), body, status))
                self.send_response(status)
                for k, v in more.items():
                    self.send_header(k, v)
                self.send_header("content-length", "2")
                self.end_headers()
                self.wfile.write(b"{}")

            def log_message(self, *_):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.origin = "http://127.0.0.1:%d" % self.server.server_port
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def stop(self):
        self.server.shutdown()
        self.server.server_close()

    def taken(self, path):
        return [body for p, _, body, status in list(self.requests) if p == path and status == 200]

    def spans(self):
        out = []
        for body in self.taken("/v1/traces"):
            for rs in decoded(ExportTraceServiceRequest, body).resource_spans:
                resource = values(rs.resource.attributes)
                out += [(resource, s) for ss in rs.scope_spans for s in ss.spans]
        return out

    def metrics(self):
        return {m.name: m for body in self.taken("/v1/metrics")
                for rm in decoded(ExportMetricsServiceRequest, body).resource_metrics for sm in rm.scope_metrics for m in sm.metrics}


@pytest.fixture
def collector():
    c = Collector()
    yield c
    c.stop()


@pytest.fixture
def traced(start_sluice, scripted, upstream, collector):
    def start(env=None, **server):
        config = with_admin(basic_config(scripted.origin))
        config["models"]["two"] = {"targets": [{"provider": "chat", "upstream_model": "a"}, {"provider": "anthropic", "upstream_model": "b"}]}
        config["server"].update({"otlp_endpoint": collector.origin, "otlp_interval_ms": 50, "otlp_metrics_interval_ms": 100, **server})
        return start_sluice(config, key=ADMIN, env=env)

    return start


def ask(s, model="to-chat", headers=None, **more):
    return s.post("/v1/chat/completions", CHAT.request(Ask(model=model, **more)), headers=headers)


def spans_of(collector, n):
    return wait_for(lambda: (found := collector.spans()) and len(found) >= n and found, "%d spans are exported" % n)


def by_kind(spans, kind):
    return [s for _, s in spans if s.kind == kind]


SERVER, CLIENT = 2, 3


def test_a_request_is_a_span_with_its_attempt(traced, collector, upstream):
    s = traced()
    r = ask(s, headers={**SAMPLED, "X-Request-Id": "req-of-the-test"})
    assert r.status_code == 200
    spans = spans_of(collector, 2)
    resource, server = next((r, s) for r, s in spans if s.kind == SERVER)
    [client] = by_kind(spans, CLIENT)
    assert resource["service.name"] == "sluice" and resource["service.version"]
    assert server.trace_id.hex() == client.trace_id.hex() == TRACE
    assert server.parent_span_id.hex() == PARENT and client.parent_span_id == server.span_id and server.trace_state == "rojo=1"
    assert server.start_time_unix_nano <= client.start_time_unix_nano <= client.end_time_unix_nano <= server.end_time_unix_nano
    a = values(server.attributes)
    assert server.name == "chat to-chat" and a["gen_ai.operation.name"] == "chat" and a["gen_ai.request.model"] == "to-chat"
    assert a["gen_ai.response.model"] == "chat-model" and a["gen_ai.provider.name"] == "openai-compatible"
    assert a["gen_ai.usage.input_tokens"] == Turn().usage.input and a["gen_ai.usage.output_tokens"] == Turn().usage.output
    assert a["gen_ai.response.finish_reasons"] == ["stop"] and a["http.response.status_code"] == 200
    assert a["sluice.request.id"] == "req-of-the-test" and a["sluice.key.id"] == "ad000001" and "error.type" not in a
    c = values(client.attributes)
    assert client.name == "chat chat-model" and c["sluice.upstream"] == "chat" and c["http.response.status_code"] == 200
    assert c["server.address"] == "127.0.0.1" and c["server.port"] > 0
    assert server.status.code == 0 == client.status.code
    logged = wait_for(lambda: (r := s.get("/sluice/v1/requests/req-of-the-test")).status_code == 200 and r.json(), "it is in the log")
    assert logged["trace_id"] == TRACE
    seen = upstream.last
    assert seen.header("traceparent") == "00-%s-%s-01" % (TRACE, client.span_id.hex()) and seen.header("tracestate") == "rojo=1"


def test_what_was_asked_for_and_who_answered(traced, collector, upstream):
    """By whatever format, whole and streamed; the answer's own name of its model, and none without an answer."""
    s = traced(otlp_metrics=False)
    for client, fmt in FORMATS.items():
        for up, is_stream in [(up, is_stream) for up in {client: 1, "anthropic": 1, "google": 1} for is_stream in (False, True)]:
            async def script(conn, request, other=FORMATS[up]):
                play = stream(other.events(Turn(), "u-2026", True), other.stream_type) if other.wants_stream(request) else http_reply(200, dump(other.reply(Turn(), "u-2026")))
                await play(conn, request)

            upstream.play(script)
            given, name = Ask(model="to-" + up, stream=is_stream, temperature=0.5, top_p=0.25, max_tokens=77), "req-asked-%s-%s-%d" % (client, up, is_stream)
            r = s.post(fmt.path(given), fmt.request(given), headers={"X-Request-Id": name})
            assert r.status_code == 200, r.text
            a = span_named(collector, name)
            assert (a["gen_ai.request.temperature"], a["gen_ai.request.top_p"], a["gen_ai.request.max_tokens"]) == (0.5, 0.25, 77), (name, a)
            assert a["gen_ai.response.model"] == "u-2026", (name, a)
    upstream.play(failure(CHAT, 400, "no"))
    assert ask(s, headers={"X-Request-Id": "req-refused"}).status_code == 400
    a = span_named(collector, "req-refused")
    assert "gen_ai.response.model" not in a and "gen_ai.request.top_p" not in a and a["gen_ai.request.model"] == "to-chat"


def span_named(collector, request_id):
    """The attributes of a request's span."""
    return wait_for(lambda: next((a for _, x in collector.spans() if x.kind == SERVER and (a := values(x.attributes))["sluice.request.id"] == request_id), None),
                    "its span is exported")


def test_failed_attempts_and_failover(traced, collector, upstream):
    s = traced()
    upstream.next(failure(CHAT, 503, "busy"))
    r = ask(s, "two", stream=True)
    assert r.status_code == 200 and CHAT.read_stream(r.content).finish == "stop"
    spans = spans_of(collector, 3)
    [server], clients = by_kind(spans, SERVER), sorted(by_kind(spans, CLIENT), key=lambda s: s.start_time_unix_nano)
    assert not server.parent_span_id and server.trace_id != bytes(16)
    first, second = (values(c.attributes) for c in clients)
    assert first["error.type"] == "overload" and first["http.response.status_code"] == 503 and clients[0].status.code == 2
    assert second["sluice.upstream"] == "anthropic" and second["http.request.resend_count"] == 1 and "error.type" not in second
    assert values(server.attributes)["sluice.attempts"] == 2
    assert [r.header("traceparent").split("-")[2] for r in upstream.requests] == [c.span_id.hex() for c in clients]
    assert re.search(r"event=upstream\.failed .*trace_id=%s" % server.trace_id.hex(), s.output())
    assert ask(s, "nobody").status_code == 404
    spans = spans_of(collector, 4)
    lost = by_kind(spans, SERVER)[-1]
    assert values(lost.attributes)["error.type"] == "model_not_found" and lost.status.code == 2


def test_the_caller_decides(traced, collector, upstream):
    """What it does not sample is not recorded, but the context goes on as it came."""
    s = traced()
    given = "00-%s-%s-00" % (TRACE, PARENT)
    assert ask(s, headers={"traceparent": given}).status_code == 200
    assert upstream.last.header("traceparent") == given
    assert ask(s, headers={"traceparent": "00-nonsense"}).status_code == 200  # as if there were none: a trace of our own
    assert re.fullmatch(r"00-[0-9a-f]{32}-[0-9a-f]{16}-01", upstream.last.header("traceparent"))
    spans = spans_of(collector, 2)
    assert all(s.trace_id.hex() != TRACE for _, s in spans)


def test_without_a_collector(start_sluice, scripted, upstream):
    s = start_sluice(with_admin(basic_config(scripted.origin)), key=ADMIN)
    assert ask(s, headers=SAMPLED).status_code == 200
    assert upstream.last.header("traceparent") == SAMPLED["traceparent"] and upstream.last.header("tracestate") == "rojo=1"
    assert ask(s).status_code == 200 and upstream.last.header("traceparent") is None
    for name in ("trace_propagate", "trace_context"):
        assert s.call("PATCH", "/sluice/v1/settings/" + name, {"value": False}).status_code == 200
        assert ask(s, headers=SAMPLED).status_code == 200
        assert upstream.last.header("traceparent") is None
        assert s.call("PATCH", "/sluice/v1/settings/" + name, {"value": None}).status_code == 200


def test_sampling(traced, collector, upstream):
    s = traced(otlp_sample_ppm=0, otlp_metrics=False)
    for _ in range(5):
        assert ask(s).status_code == 200
    assert ask(s, headers=SAMPLED).status_code == 200
    spans_of(collector, 2)
    s.stop()
    assert {x.trace_id.hex() for _, x in collector.spans()} == {TRACE}


def test_metrics_are_sent(traced, collector, upstream):
    s = traced()
    for _ in range(3):
        assert ask(s).status_code == 200
    upstream.play(failure(CHAT, 400, "no"))
    assert ask(s).status_code == 400
    s.stop()  # what was counted last is sent at the end
    m = collector.metrics()
    h = m["gen_ai.server.request.duration"]
    assert h.unit == "s" and h.histogram.aggregation_temporality == 2
    [p] = [p for p in h.histogram.data_points if "error.type" not in values(p.attributes)]
    [failed] = [p for p in h.histogram.data_points if "error.type" in values(p.attributes)]
    assert failed.count == 1 and values(failed.attributes)["outcome"] == "error" and values(p.attributes)["outcome"] == "ok"
    assert p.count == 3 == sum(p.bucket_counts) and len(p.bucket_counts) == len(p.explicit_bounds) + 1
    assert values(p.attributes)["gen_ai.request.model"] == "to-chat" and values(p.attributes)["sluice.upstream"] == "chat"
    [p] = [p for p in m["sluice.requests"].sum.data_points if values(p.attributes)["http.response.status_code"] == "200"]
    assert p.as_double == 3 and m["sluice.requests"].sum.is_monotonic and p.start_time_unix_nano < p.time_unix_nano
    assert m["process.resident_memory"].unit == "By" and m["process.resident_memory"].gauge.data_points[0].as_double > 1 << 20


def test_a_collector_that_is_busy_gets_it_later(traced, collector, upstream):
    collector.answers.extend([(503, {"Retry-After": "0"}), (429, {}), (200, {})])
    s = traced(otlp_metrics=False)
    assert ask(s).status_code == 200
    spans = spans_of(collector, 2)
    assert len(spans) == 2 and [status for *_, status in collector.requests] == [503, 429, 200]
    m = scrape(s)
    assert total(m, "sluice_otlp_failures_total") == 2 and total(m, "sluice_otlp_dropped_total") == 0
    wait_for(lambda: total(scrape(s), "sluice_otlp_sent_total", signal="traces") == 2, "they are counted")
    wait_for(lambda: "otlp.failed" in s.output() and "otlp.recovered" in s.output(), "both are logged")


def test_one_that_refuses_is_not_asked_again(traced, collector, upstream):
    collector.answers.append((400, {}))
    s = traced(otlp_metrics=False)
    assert ask(s).status_code == 200
    wait_for(lambda: total(scrape(s), "sluice_otlp_dropped_total", signal="traces") == 2, "they are given up")
    assert len(collector.requests) == 1


def test_none_listening_costs_nothing_but_the_spans(start_sluice, scripted, upstream):
    config = with_admin(basic_config(scripted.origin))
    config["server"].update({"otlp_endpoint": "http://127.0.0.1:1", "otlp_interval_ms": 50, "otlp_timeout_ms": 200})
    s = start_sluice(config, key=ADMIN)
    for _ in range(20):
        assert ask(s).status_code == 200
    wait_for(lambda: "otlp.failed" in s.output(), "it is said")
    assert s.output().count("otlp.failed") == 1
    s.stop()  # and in time


def test_headers_come_from_a_file_that_nobody_lists(start_sluice, scripted, upstream, collector, tmp_path):
    secret = tmp_path / "headers"
    secret.write_text("# for the collector\nauthorization: Basic c2VjcmV0LWNhbmFyeQ==\nx-tenant: me\n")
    config = with_admin(basic_config(scripted.origin))
    config["server"].update({"otlp_endpoint": collector.origin + "/", "otlp_interval_ms": 50, "otlp_headers_file": str(secret),
                             "otlp_service_name": "front"})
    s = start_sluice(config, key=ADMIN)
    assert ask(s).status_code == 200
    [resource] = {r["service.name"] for r, _ in spans_of(collector, 2)}
    assert resource == "front"
    headers = collector.requests[0][1]
    assert headers["authorization"] == "Basic c2VjcmV0LWNhbmFyeQ==" and headers["x-tenant"] == "me"
    assert headers["content-type"] == "application/json"
    assert "c2VjcmV0LWNhbmFyeQ" not in s.output() + s.get("/sluice/v1/settings").text + s.get("/metrics").text
    assert problems(s) == []
    assert s.call("PATCH", "/sluice/v1/settings/otlp_headers_file", {"value": str(tmp_path / "gone")}).status_code == 200
    wait_for(lambda: problems(s), "it is told that nothing goes out without them")
    assert str(tmp_path / "gone") in problems(s)[0]["message"] and problems(s)[0]["severity"] == "warning"
    assert s.call("PATCH", "/sluice/v1/settings/otlp_headers_file", {"value": str(secret)}).status_code == 200
    wait_for(lambda: problems(s) == [], "it goes out again")


def problems(s):
    return s.get("/sluice/v1/problems?kind=telemetry_unsent").json()["data"]


def test_the_standard_environment(start_sluice, scripted, upstream, collector):
    config = with_admin(basic_config(scripted.origin))
    env = {"OTEL_EXPORTER_OTLP_ENDPOINT": collector.origin, "OTEL_EXPORTER_OTLP_HEADERS": "x-key=a%20b,x-other=c",
           "OTEL_SERVICE_NAME": "env-name", "OTEL_RESOURCE_ATTRIBUTES": "deployment.environment.name=test,team=a%2Cb",
           "OTEL_METRICS_EXPORTER": "none", "OTEL_BSP_SCHEDULE_DELAY": "50"}
    s = start_sluice(config, key=ADMIN, env=env)
    assert ask(s).status_code == 200
    resource = spans_of(collector, 2)[0][0]
    assert resource["service.name"] == "env-name" and resource["deployment.environment.name"] == "test" and resource["team"] == "a,b"
    assert collector.requests[0][1]["x-key"] == "a b" and collector.requests[0][1]["x-other"] == "c"
    s.stop()
    assert not collector.taken("/v1/metrics")
    off = start_sluice(config, key=ADMIN, env={**env, "OTEL_SDK_DISABLED": "true"})
    n = len(collector.requests)
    assert ask(off).status_code == 200
    off.stop()
    assert len(collector.requests) == n


def test_a_prompt_never_gets_into_a_trace(traced, collector, upstream):
    s = traced()
    assert ask(s, messages=[("user", "prompt-canary-7f3a")]).status_code == 200
    spans_of(collector, 2)
    s.stop()
    everything = b"".join(body for _, _, body, _ in collector.requests)
    for secret in (b"prompt-canary", ADMIN.encode(), b"upstream-secret", b"scripted upstream"):
        assert secret not in everything
